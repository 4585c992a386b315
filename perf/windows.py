"""Print how many training windows per CPU-second one core cuts, for the three kinds of machine.

    python perf/windows.py [--vault DIR]

Random episodes of the right sizes are stored in a temporary vault and read back as a training run reads them (the
present and the next observation and every target). With ``--vault`` the embodiments of a recorded vault are measured
instead. Nothing is asserted: the numbers depend on the machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from random_episodes import random_episode

from genba.config import read_toml_text
from genba.data.vault import Vault
from genba.data.windows import WindowSource
from genba.spec.embodiment import Embodiment
from genba.spec.normalise import Normalizer

_HEAD = """
description = "For measuring."
frames = ["base"]
[control]
period_s = {period}
deadline_s = {period}
chunk_length = 8
execute_length = 2
horizon = 5
"""
_FORCE = '[[action.continuous]]\nname = "force"\nunit = "N"\nlow = -1.0\nhigh = 1.0\n'
_TELEMETRY = """
[[telemetry]]
name = "sensor_{i}"
rate_hz = 200.0
frame = "base"
history_s = 0.64
dimension = [{{ name = "value", unit = "N", low = -1.0, high = 1.0, repeat = 6 }}]
"""
_POINTS = """
[[points]]
name = "lidar"
rate_hz = 10.0
frame = "base"
history_s = 0.4
max_points = 1600
range_max_m = 60.0
"""
_ENTITIES = """
[[entities]]
name = "orders"
rate_hz = 0.0
frame = "none"
max_rows = 200
dimension = [
  { name = "family", unit = "id", low = 0, high = 7, categories = 8 },
  { name = "due", unit = "s", low = -4e6, high = 4e6, scale = "symlog", linear_below = 14400, repeat = 14 },
]
[[entities]]
name = "lines"
rate_hz = 0.0
frame = "none"
max_rows = 10
dimension = [{ name = "free_in", unit = "s", low = 0, high = 4e5, scale = "symlog", linear_below = 3600 }]
[[relation]]
name = "processing_time"
source = "orders"
target = "lines"
unit = "s"
low = 0.0
high = 2e5
scale = "symlog"
linear_below = 3600
[[action.choice]]
name = "sequence"
kind = "rank"
over = "orders"
[[action.choice]]
name = "line"
kind = "assign"
over = "lines"
for_each = "orders"
allowed_by = "processing_time"
"""

#: name -> embodiment, windows per batch
KINDS = {
    "telemetry: 4 channels x 128 samples x 6": (
        'id = "perf/arm@1"\n' + _HEAD.format(period=0.02) + "".join(_TELEMETRY.format(i=i) for i in range(4)) + _FORCE,
        64,
    ),
    "points: 4 sweeps x about 800": ('id = "perf/car@1"\n' + _HEAD.format(period=0.1) + _POINTS + _FORCE, 32),
    "entities: about 100 of 200 rows x 15, relation x 10": (
        'id = "perf/factory@1"\n'
        + _HEAD.format(period=14400.0).replace("chunk_length = 8\nexecute_length = 2\n", "")
        + _ENTITIES,
        8,
    ),
}


def measure(vault: Vault, embodiment: Embodiment, batch_size: int, seconds: float = 4.0) -> tuple[float, float, int]:
    """Return milliseconds to build the source, CPU milliseconds per batch, and the number of windows."""
    begin = time.process_time()
    normalizer = Normalizer(embodiment, vault.statistics(embodiment.id))
    source = WindowSource(vault, embodiment, normalizer, vault.entries(embodiment_id=embodiment.id))
    build_s = time.process_time() - begin
    rng = np.random.default_rng(0)
    source.batch(rng.integers(0, len(source), batch_size))
    begin, count = time.process_time(), 0
    while time.process_time() - begin < seconds:
        source.batch(rng.integers(0, len(source), batch_size))
        count += 1
    return 1e3 * build_s, 1e3 * (time.process_time() - begin) / count, len(source)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vault", type=Path, help="measure the embodiments of this vault instead")
    parser.add_argument("--batch", type=int, default=32, help="windows per batch with --vault")
    arguments = parser.parse_args()
    print(f"{'':55} {'build ms':>9} {'ms/batch':>9} {'windows/CPU-s':>14} {'windows':>8}")
    if arguments.vault:
        vault = Vault.open(arguments.vault)
        for embodiment_id in vault.catalog.embodiment_ids():
            _report(embodiment_id, vault, vault.embodiment(embodiment_id), arguments.batch)
        return
    for name, (text, batch_size) in KINDS.items():
        embodiment = read_toml_text(text, Embodiment, where=name)
        with tempfile.TemporaryDirectory() as folder:
            vault = Vault.open(folder, create=True, embodiments=[embodiment])
            for seed in range(8):
                vault.append(random_episode(embodiment, seed, num_steps=100, missing=0.0))
            _report(f"{name}, batch {batch_size}", vault, embodiment, batch_size)


def _report(name: str, vault: Vault, embodiment: Embodiment, batch_size: int) -> None:
    build_ms, batch_ms, num_windows = measure(vault, embodiment, batch_size)
    rate = batch_size / batch_ms * 1e3
    print(f"{name:55} {build_ms:9.1f} {batch_ms:9.2f} {rate:14,.0f} {num_windows:8}")


if __name__ == "__main__":
    main()
