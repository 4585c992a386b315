"""LeRobot's own reader and writer, run by another Python that has lerobot; see ``test_lerobot_official``.

    PYTHON lerobot_official.py write FOLDER TRUTH.npz CODEC   make a data set with LeRobotDataset.create
    PYTHON lerobot_official.py read FOLDER TRUTH.npz BACKEND  read every frame of a data set

Needs nothing of Genba. What was written or read is left in TRUTH.npz, each feature under its key.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

HEIGHT, WIDTH, RATE_HZ = 64, 96, 20

#: (frames, tasks): the second episode changes its task half way
EPISODES = ((23, ["lift"]), (17, ["lift", "put down"]), (31, ["push the ラベル"]))

FEATURES = {
    "observation.state": {"dtype": "float32", "shape": (3,), "names": ["x", "y", "gripper.pos"]},
    "observation.wide": {"dtype": "float64", "shape": (2,), "names": {"axes": ["a", "b"]}},
    "observation.count": {"dtype": "int64", "shape": (1,), "names": None},
    "observation.small": {"dtype": "uint8", "shape": (2,), "names": None},
    "observation.contact": {"dtype": "bool", "shape": (1,), "names": None},
    "observation.touch": {"dtype": "float32", "shape": (2, 3), "names": None},
    "observation.block": {"dtype": "float32", "shape": (2, 1, 2), "names": None},
    "observation.note": {"dtype": "string", "shape": (1,), "names": None},
    "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
    "action": {"dtype": "float32", "shape": (2,), "names": ["dx", "dy"]},
    "observation.images.top": {"dtype": "video", "shape": (HEIGHT, WIDTH, 3), "names": ["height", "width", "channels"]},
    "observation.images.wrist": {
        "dtype": "image",
        "shape": (HEIGHT, WIDTH, 3),
        "names": ["height", "width", "channels"],
    },
}


def picture(number: int) -> np.ndarray:
    """Return an image that carries its number: the bits of ``number`` as black or white squares."""
    bits = [(number >> i) & 1 for i in range(16)]
    squares = np.array(bits, np.uint8).reshape(4, 4) * 255
    grey = np.kron(squares, np.ones((HEIGHT // 4, WIDTH // 4), np.uint8))
    return np.stack([grey, 255 - grey, grey], axis=-1)


def frame(rng: np.random.Generator, number: int) -> dict[str, object]:
    """Return one frame's values."""
    return {
        "observation.state": rng.normal(size=3).astype(np.float32),
        "observation.wide": rng.normal(size=2),
        "observation.count": np.array([number * 1000], np.int64),
        "observation.small": rng.integers(0, 256, 2).astype(np.uint8),
        "observation.contact": np.array([number % 3 == 0]),
        "observation.touch": rng.normal(size=(2, 3)).astype(np.float32),
        "observation.block": rng.normal(size=(2, 1, 2)).astype(np.float32),
        "observation.note": f"note {number}",
        "next.reward": np.array([number / 10], np.float32),
        "action": rng.normal(size=2).astype(np.float32),
        "observation.images.top": picture(number),
        "observation.images.wrist": rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8),
    }


def write(folder: Path, truth: Path, codec: str) -> None:
    """Make a data set as LeRobot's users do."""
    from lerobot.configs import RGBEncoderConfig
    from lerobot.datasets import LeRobotDataset

    dataset = LeRobotDataset.create(
        "local/official",
        fps=RATE_HZ,
        features=FEATURES,
        root=folder,
        robot_type="test arm",
        use_videos=True,
        rgb_encoder=RGBEncoderConfig(vcodec=codec),
    )
    rng, number, kept = np.random.default_rng(0), 0, {}
    for length, tasks in EPISODES:
        for i in range(length):
            values = frame(rng, number)
            for key, value in values.items():
                kept.setdefault(key, []).append(value)
            dataset.add_frame({**values, "task": tasks[i * len(tasks) // length]})
            number += 1
        dataset.save_episode(parallel_encoding=False)
    dataset.finalize()
    np.savez(truth, **{key: np.stack(values) for key, values in kept.items() if key != "observation.note"})


def read(folder: Path, truth: Path, backend: str) -> None:
    """Read every frame of a data set as LeRobot's users do."""
    from lerobot.datasets import LeRobotDataset

    dataset = LeRobotDataset("local/any", root=folder, video_backend=backend, return_uint8=True)
    kept: dict[str, list[object]] = {}
    for i in range(len(dataset)):
        for key, value in dataset[i].items():
            kept.setdefault(key, []).append(value if isinstance(value, str) else np.asarray(value))
    about = {
        "lerobot": version("lerobot"),
        "backend": backend,
        "fps": dataset.meta.fps,
        "num_episodes": dataset.num_episodes,
        "num_frames": dataset.num_frames,
        "robot_type": dataset.meta.robot_type,
        "tasks": sorted(dataset.meta.tasks.index),
        "stats": {
            key: {name: np.asarray(value).tolist() for name, value in entry.items()}
            for key, entry in dataset.meta.stats.items()
        },
    }
    np.savez(truth, about=json.dumps(about), **{key: np.stack(values) for key, values in kept.items()})


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"write": write, "read": read}[command](*map(Path, arguments[:2]), arguments[2])
