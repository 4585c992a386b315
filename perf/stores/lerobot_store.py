"""LeRobotDataset, in its own Python: run by ``measure`` as a process that is asked for measurements line by line.

    PYTHON perf/stores/lerobot_store.py SET FOLDER NUM_EPISODES [build]

What differs from the set, because the format has it so: one frame rate for everything, so joints, sensors and CAN are the
samples nearest to the 15 Hz of the cameras (16 of each per window instead of 500, 50 and 100); no point clouds; frames
are video in the library's default codec (AV1, two frames per group), which is lossy. What is measured is its own
``__getitem__`` with ``delta_timestamps``, frames as uint8. For telemetry alone there is a second data set without
cameras, since the first decodes a frame per camera whatever is asked for; both are measured.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Nothing is to be asked of a server, nor told to one.
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_DATASETS_OFFLINE": "1"}

import numpy as np
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from mixed_set import CAMERA_HZ, CAMERAS, DENSE, SIZE, TELEMETRY, Source, frames

FPS = int(CAMERA_HZ)
_AROUND = [k / FPS for k in range(-(FPS // 2), FPS // 2 + 2)]
_CAMERAS = {"sparse": [-8 / FPS, 0.0], "dense": [k / FPS for k in range(1 - DENSE, 1)], "telemetry": [0.0]}


def build(set_folder: Path, seed: int, num_episodes: int, folder: Path) -> None:
    """Write both data sets through the library."""
    telemetry = {
        f"observation.{name}": {
            "dtype": "float32",
            "shape": (columns,),
            "names": [f"{name}_{i}" for i in range(columns)],
        }
        for name, (columns, _) in TELEMETRY.items()
    }
    pictures = {
        f"observation.images.{camera}": {
            "dtype": "video",
            "shape": (SIZE, SIZE, 3),
            "names": ["height", "width", "channels"],
        }
        for camera in CAMERAS
    }
    for name, features in (("with_cameras", telemetry | pictures), ("telemetry", telemetry)):
        if (folder / f"{name}.whole").exists():
            continue
        shutil.rmtree(folder / name, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        dataset = LeRobotDataset.create(f"local/{name}", FPS, features, root=folder / name, use_videos=True)
        for episode in range(num_episodes):
            source = Source(set_folder, episode)
            clock = source.times(CAMERAS[0])
            rows = {}
            for channel in TELEMETRY:
                times = source.times(channel)
                after = np.clip(times.searchsorted(clock), 1, len(times) - 1)
                near = np.where(clock - times[after - 1] <= times[after] - clock, after - 1, after)
                rows[channel] = source.values(channel)[near]
            shown = {c: frames(seed, episode, c, len(clock)) for c in CAMERAS} if name == "with_cameras" else {}
            for i in range(len(clock)):
                frame: dict[str, Any] = {f"observation.{c}": rows[c][i] for c in TELEMETRY}
                frame |= {f"observation.images.{c}": shown[c][i] for c in shown}
                dataset.add_frame(frame | {"task": "mixed"})
            dataset.save_episode()
        dataset.finalize()
        (folder / f"{name}.whole").touch()


def open_set(folder: Path, kind: str) -> LeRobotDataset:
    """Open a data set as a training run would for windows of this kind."""
    alone = kind == "telemetry alone"
    deltas = {f"observation.{name}": _AROUND for name in TELEMETRY}
    if not alone:
        deltas |= {f"observation.images.{camera}": _CAMERAS[kind] for camera in CAMERAS}
    name = "telemetry" if alone else "with_cameras"
    return LeRobotDataset(f"local/{name}", root=folder / name, delta_timestamps=deltas, return_uint8=True)


def main() -> None:
    """Build if asked to; then answer ``kind seconds seed`` lines with windows and CPU seconds."""
    set_folder, folder, num_episodes, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    began = time.process_time()
    build(set_folder, seed, num_episodes, folder)
    spent = time.process_time() - began
    sets = {kind: open_set(folder, kind) for kind in ("sparse", "dense", "telemetry", "telemetry alone")}
    first = sets["dense"][60]
    shape = tuple(first[f"observation.images.{CAMERAS[0]}"].shape)
    assert shape == (DENSE, 3, SIZE, SIZE), shape
    assert first["observation.joints"].shape == (len(_AROUND), TELEMETRY["joints"][0])
    packages = ("lerobot", "torch", "torchcodec", "av", "datasets", "numpy", "pyarrow")
    said = {"build_cpu_s": spent, "versions": {p: version(p) for p in packages}, "python": sys.version.split()[0]}
    said["video_backend"] = sets["sparse"]._video_backend
    said["video"] = sets["sparse"].meta.features[f"observation.images.{CAMERAS[0]}"].get("info")
    print(json.dumps(said, default=str), flush=True)
    for line in sys.stdin:
        kind, seconds, draw = json.loads(line)
        rng, dataset, count = np.random.default_rng(draw), sets[kind], 0
        spots = rng.integers(0, len(dataset), 100_000).tolist()
        began = time.process_time()
        while count == 0 or time.process_time() - began < seconds:
            dataset[spots[count]]
            count += 1
        print(json.dumps([count, time.process_time() - began]), flush=True)


if __name__ == "__main__":
    main()
