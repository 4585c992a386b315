"""Print what asking owners' agreements costs: windows and stored episodes per CPU-second, governed beside open.

    python perf/governed.py [--repeats 15]

The same random episodes of a small machine (twelve sensors of six values at 200 Hz) go into an open and into a governed vault,
and the same windows come out of both, in turns. A ratio's interval is that of the mean over the repeats (Student's t, 95 %).
Opening asks; cutting windows looks at a clock. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from governed import FLEET, trust_folder
from random_episodes import random_episode

from genba.config import read_toml_text
from genba.data.vault import Vault
from genba.data.windows import WindowSource
from genba.spec.embodiment import Embodiment
from genba.spec.episode import Episode
from genba.spec.normalise import Normalizer
from genba.trust.folder import TrustFolder
from genba.trust.keys import FileKeys
from genba.trust.requests import Holding

MACHINE = """
id = "perf/sensors@1"
description = "For measuring."
frames = ["base"]
[control]
period_s = 0.04
deadline_s = 0.04
chunk_length = 8
execute_length = 2
horizon = 5
[[action.continuous]]
name = "force"
unit = "N"
low = -1.0
high = 1.0
""" + "".join(
    f"""
[[telemetry]]
name = "sensor_{i}"
rate_hz = 200.0
frame = "base"
history_s = 0.64
dimension = [{{ name = "value", unit = "N", low = -1.0, high = 1.0, repeat = 6 }}]
"""
    for i in range(12)
)
#: Student's t for 95 %, by degrees of freedom
_T95 = {4: 2.776, 9: 2.262, 14: 2.145, 19: 2.093, 29: 2.045}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15, choices=[count + 1 for count in _T95])
    repeats = parser.parse_args().repeats
    os.environ.pop("GENBA_TRUST", None)
    embodiment = read_toml_text(MACHINE, Embodiment, where="perf/governed.py")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        trust, keys = trust_folder(root / "trust"), FileKeys(root / "keys")
        episodes = [random_episode(embodiment, seed, num_steps=100, missing=0.0) for seed in range(8)]
        owner, dataset, agreement = FLEET
        owned = [
            Episode(replace(e.metadata, owner=owner, dataset=dataset, agreement=agreement), e.streams) for e in episodes
        ]

        def fresh(name: str, rules: TrustFolder | None) -> Vault:
            return Vault.open(
                root / name, create=True, embodiments=[embodiment], keys=keys, trust=rules, purpose="train"
            )

        counted = iter(range(10**6))

        def store(rules: TrustFolder | None) -> Callable[[], int]:
            def run() -> int:
                vault = fresh(f"vault-{next(counted)}", rules)
                for episode in owned:
                    vault.append(episode)
                return len(owned)

            return run

        vaults = {"open": fresh("open", None), "governed": fresh("governed", trust)}
        for vault in vaults.values():
            for episode in owned:
                vault.append(episode)
        rng = np.random.default_rng(0)
        sources = {}
        for name, vault in vaults.items():
            normalizer = Normalizer(embodiment, vault.statistics(embodiment.id))
            sources[name] = WindowSource(vault, embodiment, normalizer, vault.entries(), memory_bytes=0)
        batches = [rng.integers(0, len(sources["open"]), 64) for _ in range(10)]

        def cut(source: WindowSource) -> Callable[[], int]:
            return lambda: sum(len(source.batch(batch)["action.mask"]) for batch in batches)

        def anew(rules: TrustFolder | None, name: str) -> Callable[[], int]:
            def run() -> int:
                vault = fresh(name, rules)
                for entry in vault.entries():
                    vault.shard(entry)
                return len(owned)

            return run

        _compare("windows", cut(sources["open"]), cut(sources["governed"]), repeats)
        _compare("episodes stored", store(None), store(trust), repeats)
        _compare("episodes opened, vault opened first", anew(None, "open"), anew(trust, "governed"), repeats)
        gate = vaults["governed"].gate
        assert gate is not None
        began = time.process_time()
        for _ in range(100_000):
            gate.check()
        print(f"a look at the clock: {(time.process_time() - began) * 10:.2f} us")
        began = time.process_time()
        for _ in range(50):
            vaults["governed"].gate_to(trust).require("read", Holding(*FLEET))
        print(
            f"a question that is asked and recorded, rules read anew: {(time.process_time() - began) / 50 * 1e3:.2f} ms"
        )


def _compare(name: str, open_: Callable[[], int], governed: Callable[[], int], repeats: int) -> None:
    rates: dict[str, list[float]] = {"open": [], "governed": []}
    for turn in range(repeats + 1):
        order = [("open", open_), ("governed", governed)]
        # Whoever comes second finds warmer caches: turns are taken.
        for key, run in order if turn % 2 else order[::-1]:
            began = time.process_time()
            count = run()
            if turn:
                rates[key].append(count / (time.process_time() - began))
    ratios = np.array(rates["governed"]) / np.array(rates["open"])
    half = _T95[repeats - 1] * float(ratios.std(ddof=1)) / math.sqrt(repeats)
    print(
        f"{name}: open {np.median(rates['open']):,.0f}, governed {np.median(rates['governed']):,.0f} per CPU-second; "
        f"governed / open {ratios.mean():.3f} +- {half:.3f}"
    )


if __name__ == "__main__":
    main()
