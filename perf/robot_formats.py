"""Print what it costs to write and read episodes as LeRobotDataset and as HDF5.

    python perf/robot_formats.py [--episodes 4] [--steps 200] [--side 160] [--codec h264]
                                 [--lerobot-python VENV/bin/python]

Every episode has two cameras of smooth moving pictures, 14 joints at ten times the control rate of 20 Hz and actions. Times are
CPU time; a frame is one camera's image. With ``--lerobot-python`` the official reader goes through the same data set frame by
frame (``dataset[i]`` in order, PyAV), in its own process; what differs: it also makes tensors. Nothing is asserted: the
numbers depend on the machine.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from genba.data.readers.hdf5 import Hdf5Reader
from genba.data.readers.lerobot import LeRobotReader
from genba.data.writers.hdf5 import Hdf5Writer
from genba.data.writers.lerobot import LeRobotWriter
from genba.spec.embodiment import (
    ActionDimension,
    ActionSpace,
    CameraChannel,
    Control,
    Dimension,
    Embodiment,
    TelemetryChannel,
)
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.streams import Stream

RATE_HZ, CAMERAS = 20, ("left", "right")

OFFICIAL = """
import sys, time
from lerobot.datasets import LeRobotDataset
dataset = LeRobotDataset("local/any", root=sys.argv[1], video_backend="pyav")
started = time.process_time()
for i in range(len(dataset)):
    dataset[i]
print(time.process_time() - started)
"""


def machine(side: int) -> Embodiment:
    """Return the facts of a made robot with two cameras of ``side`` pixels."""
    clock = {"frame": "none", "history_s": 0.1}
    return Embodiment(
        id="perf/two-cameras@1",
        description="A made robot.",
        control=Control(period_s=1 / RATE_HZ, deadline_s=1 / RATE_HZ),
        telemetry=(
            TelemetryChannel(
                name="joints",
                rate_hz=10.0 * RATE_HZ,
                dimension=(Dimension(name="angle", unit="rad", low=-4, high=4, repeat=14),),
                **clock,
            ),
        ),
        camera=tuple(
            CameraChannel(name=name, rate_hz=float(RATE_HZ), height=side, width=side, **clock) for name in CAMERAS
        ),
        action=ActionSpace(
            continuous=tuple(ActionDimension(name=f"angle_{i}", unit="rad", low=-4, high=4) for i in range(14))
        ),
    )


def episode(facts: Embodiment, seed: int, steps: int, side: int) -> Episode:
    """Return an episode whose pictures are waves that move, with a little noise."""
    rng = np.random.default_rng(seed)
    times_ns = np.arange(steps, dtype=np.int64) * (10**9 // RATE_HZ)
    fast_ns = np.arange(10 * steps, dtype=np.int64) * (10**8 // RATE_HZ)
    rows, columns = np.mgrid[0:side, 0:side] / side
    streams = {
        "joints": Stream(fast_ns, rng.uniform(-3, 3, (len(fast_ns), 14)).astype(np.float32)),
        "action": Stream(times_ns, rng.uniform(-3, 3, (steps, 14)).astype(np.float32)),
    }
    for name in CAMERAS:
        waves = [np.sin(6 * rows + 0.1 * i + rng.random()) * np.cos(5 * columns + 0.07 * i) for i in range(steps)]
        noise = rng.normal(0, 2, (steps, side, side, 3))
        pictures = (127 + 100 * np.stack(waves)[..., None] + noise).clip(0, 255).astype(np.uint8)
        streams[name] = Stream(times_ns, pictures)
    metadata = EpisodeMetadata(episode_id=f"{facts.id}/{seed}", embodiment_id=facts.id)
    return Episode(metadata, streams)


def measure(what: str, num_frames: int, work: Callable[[], object]) -> None:
    """Run ``work`` and print its CPU time and the frames per CPU-second."""
    started = time.process_time()
    work()
    spent_s = time.process_time() - started
    print(f"{what:34} {spent_s:8.2f} s  {num_frames / spent_s:8.0f} frames/s")


def main() -> None:
    """Measure both formats on the same episodes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--side", type=int, default=160)
    parser.add_argument("--codec", default="h264")
    parser.add_argument("--lerobot-python", default="")
    given = parser.parse_args()
    facts = machine(given.side)
    episodes = [episode(facts, seed, given.steps, given.side) for seed in range(given.episodes)]
    frames = given.episodes * given.steps * len(CAMERAS)
    with tempfile.TemporaryDirectory() as folder:
        dataset, file = Path(folder) / "dataset", Path(folder) / "episodes.hdf5"
        lerobot, hdf5 = LeRobotReader(), Hdf5Reader()
        measure(
            "write lerobot, side tables and all",
            frames,
            lambda: LeRobotWriter(codec=given.codec).write(dataset, facts, episodes),
        )
        measure("read lerobot, base tables", frames, lambda: list(lerobot.read(dataset, streams="base")))
        measure("read lerobot, side tables (PNG)", frames, lambda: list(lerobot.read(dataset)))
        measure("write hdf5", frames, lambda: Hdf5Writer().write(file, facts, episodes))
        measure("read hdf5", frames, lambda: list(hdf5.read(file)))
        sizes = {
            path.name: sum(f.stat().st_size for f in (path.rglob("*") if path.is_dir() else [path]) if f.is_file())
            for path in (dataset / "videos", dataset / "streams", file)
        }
        print("MB:", {name: round(size / 1e6, 1) for name, size in sizes.items()})
        if given.lerobot_python:
            done = subprocess.run(
                [given.lerobot_python, "-c", OFFICIAL, str(dataset)], capture_output=True, text=True, check=True
            )
            spent_s = float(done.stdout)
            print(f"{'official reader, dataset[i]':34} {spent_s:8.2f} s  {frames / spent_s:8.0f} frames/s")


if __name__ == "__main__":
    main()
