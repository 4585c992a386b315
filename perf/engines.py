"""Print what one decision costs through ONNX Runtime and through eager PyTorch, side by side on one thread.

    python perf/engines.py [--preset tiny] [--embodiment arm/panda-grip@1 ...] [--rounds 200]

Both run the same untrained weights on the same random observation; rounds alternate, so that whatever else the
computer does falls on both. Times are CPU time of this process. Nothing is asserted: the numbers depend on the machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from genba.model.config import preset
from genba.model.world_action_model import WorldActionModel
from genba.registry import EMBODIMENTS
from genba.runtime.bundle import Bundle
from genba.runtime.engine import OnnxEngine, integrate
from genba.runtime.export import export_bundle
from genba.runtime.torch_engine import TorchEngine
from genba.spec.embodiment import Embodiment, load_embodiment
from genba.spec.episode import ACTION
from genba.spec.statistics import ChannelStatistics, Statistics


def flat_statistics(embodiment: Embodiment) -> Statistics:
    """Return statistics that leave numbers as they are."""
    sizes = {c.name: len(c.dimensions) for c in (*embodiment.telemetry, *embodiment.entities)}
    sizes |= {relation.name: 1 for relation in embodiment.relation}
    if embodiment.action.continuous:
        sizes[ACTION] = len(embodiment.action.continuous)
    ones = {name: np.ones(size) for name, size in sizes.items()}
    return Statistics(
        embodiment.id, {name: ChannelStatistics(one, 0 * one, one, -one, one) for name, one in ones.items()}
    )


def measure(embodiment: Embodiment, preset_name: str, rounds: int, flow_steps: int) -> None:
    """Print both engines' p50 and p99 of one decision."""
    torch.manual_seed(0)
    model = WorldActionModel(preset(preset_name), [embodiment]).eval()
    statistics = flat_statistics(embodiment)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle"
        export_bundle(model, embodiment, statistics, path, provenance={}, flow_steps=flow_steps)
        engines = {"onnx": OnnxEngine(Bundle.read(path)), "torch": TorchEngine(model, embodiment, statistics)}
        golden = engines["onnx"].bundle.golden()
    inputs = {name.removeprefix("packed/"): array for name, array in golden.items() if name.startswith("packed/")}
    shape = (1, embodiment.control.chunk_length, len(embodiment.action.continuous))
    times: dict[str, list[float]] = {name: [] for name in engines}
    for i in range(rounds + 5):
        for name, engine in engines.items():
            began = time.process_time()
            memory = engine.encode(inputs)
            if embodiment.action.continuous:
                integrate(engine, np.zeros(shape, np.float32), memory, flow_steps)
            if i >= 5:
                times[name].append((time.process_time() - began) * 1e3)
    p50 = {name: np.percentile(t, 50) for name, t in times.items()}
    for name, t in times.items():
        print(f"{embodiment.id:28} {name:6} p50 {p50[name]:7.3f} ms   p99 {np.percentile(t, 99):7.3f} ms")
    print(f"{'':28} eager takes {p50['torch'] / p50['onnx']:.2f} times as long")


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--embodiment", action="append", help="may be repeated; by default every machine with a task")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--flow-steps", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.embodiment or [
        i for i in EMBODIMENTS if not i.startswith(("vehicle/toyota", "factory/skab"))
    ]:
        measure(load_embodiment(name), arguments.preset, arguments.rounds, arguments.flow_steps)


if __name__ == "__main__":
    main()
