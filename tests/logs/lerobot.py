"""Small LeRobotDatasets, v3.0 and v2.1, made by hand with PyArrow and PyAV: nothing of Genba takes part.

Every frame of the camera ``top`` carries its number in the data set as black and white squares, so a test can say which
frame it got whatever the codec did to it.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from genba.data.video_files import scheduling_kept

HEIGHT, WIDTH, RATE_HZ = 64, 96, 20
LENGTHS = (7, 5, 9)
TASKS = ("lift the box", "箱を置く")

#: Feature -> dtype, shape, names; images are added by ``info``.
FEATURES: dict[str, tuple[str, list[int], Any]] = {
    "observation.state": ("float32", [3], {"motors": ["x", "y", "Gripper.pos"]}),
    "observation.pose": ("float64", [2, 2], None),
    "observation.count": ("int64", [1], None),
    "observation.contact": ("bool", [2], ["left", "right"]),
    "observation.note": ("string", [1], None),
    "next.reward": ("float32", [1], None),
    "next.success": ("bool", [1], None),
    "action": ("float32", [2], ["dx", "dy"]),
}


def write_log(folder: Path, seed: int = 0) -> tuple[Path, dict[str, object]]:
    """Make a v3.0 data set of three episodes with a video and an image per frame; return it and no options."""
    return write_v3(folder / "dataset", seed), {}


def write_v3(root: Path, seed: int = 0, *, codec: str = "libx264", options: dict[str, str] | None = None) -> Path:
    """Make a v3.0 data set: all episodes in one table and one video."""
    tables = [_table(seed, episode) for episode in range(len(LENGTHS))]
    _write_tables(root / "data/chunk-000/file-000.parquet", tables)
    numbers = range(sum(LENGTHS))
    write_video(root / "videos/observation.images.top/chunk-000/file-000.mp4", numbers, codec, options or {"g": "4"})
    (root / "meta/episodes/chunk-000").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(episode_rows()), root / "meta/episodes/chunk-000/file-000.parquet")
    tasks = pa.table({"task_index": list(range(len(TASKS))), "__index_level_0__": list(TASKS)})
    pq.write_table(tasks, root / "meta/tasks.parquet")
    chunk = "chunk-{chunk_index:03d}/file-{file_index:03d}"
    _write_info(
        root,
        codebase_version="v3.0",
        data_path=f"data/{chunk}.parquet",
        video_path=f"videos/{{video_key}}/{chunk}.mp4",
    )
    return root


def write_v21(root: Path, seed: int = 0) -> Path:
    """Make a v2.1 data set: a table and a video per episode."""
    first = 0
    for episode, length in enumerate(LENGTHS):
        _write_tables(root / f"data/chunk-000/episode_{episode:06d}.parquet", [_table(seed, episode)])
        path = root / f"videos/chunk-000/observation.images.top/episode_{episode:06d}.mp4"
        write_video(path, range(first, first + length), "libx264", {"g": "2"})
        first += length
    (root / "meta").mkdir(exist_ok=True)
    _write_lines(root / "meta/tasks.jsonl", [{"task_index": i, "task": task} for i, task in enumerate(TASKS)])
    rows = [{"episode_index": i, "tasks": [task_of(i)], "length": length} for i, length in enumerate(LENGTHS)]
    _write_lines(root / "meta/episodes.jsonl", rows)
    _write_info(
        root,
        codebase_version="v2.1",
        data_path="data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        video_path="videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    )
    return root


def values(seed: int, episode: int) -> dict[str, np.ndarray]:
    """Return every number of an episode: feature -> ``[frames, ...]`` in the type that is stored."""
    rng, length = np.random.default_rng([seed, episode]), LENGTHS[episode]
    state = rng.normal(size=(length, 3)).astype(np.float32)
    state[1, 2] = np.nan
    return {
        "observation.state": state,
        "observation.pose": rng.normal(size=(length, 2, 2)),
        "observation.count": rng.integers(0, 1000, length),
        "observation.contact": rng.random((length, 2)) < 0.5,
        "next.reward": rng.random(length).astype(np.float32),
        "next.success": np.arange(length) == length - 1,
        "action": rng.normal(size=(length, 2)).astype(np.float32),
    }


def wrist(seed: int, episode: int, frame: int) -> np.ndarray:
    """Return an image of the camera whose frames are stored as PNG."""
    return np.random.default_rng([seed, episode, frame]).integers(0, 256, (8, 10, 3), np.uint8)


def task_of(episode: int) -> str:
    """Return what was to be done in an episode."""
    return TASKS[episode % len(TASKS)]


def picture(number: int) -> np.ndarray:
    """Return an image whose 16 squares are the bits of ``number``."""
    squares = np.array([(number >> i) & 1 for i in range(16)], np.uint8).reshape(4, 4) * 255
    grey = np.kron(squares, np.ones((HEIGHT // 4, WIDTH // 4), np.uint8))
    return np.stack([grey] * 3, axis=-1)


def number_in(image: np.ndarray) -> int:
    """Invert ``picture`` for an image that went through a codec."""
    centres = image[HEIGHT // 8 :: HEIGHT // 4, WIDTH // 8 :: WIDTH // 4, 0].ravel() > 127
    return int(sum(1 << i for i, bit in enumerate(centres) if bit))


def write_video(path: Path, numbers: range, codec: str, options: dict[str, str]) -> None:
    """Write a video whose frames are the pictures of ``numbers``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE_HZ, options=options)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        with scheduling_kept():
            container.start_encoding()
        for i, number in enumerate(numbers):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, RATE_HZ)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def episode_rows() -> list[dict[str, Any]]:
    """Return what a v3.0 data set says of its episodes."""
    rows, first = [], 0
    for index, length in enumerate(LENGTHS):
        video = {
            "chunk_index": 0,
            "file_index": 0,
            "from_timestamp": first / RATE_HZ,
            "to_timestamp": (first + length) / RATE_HZ,
        }
        rows.append(
            {
                "episode_index": index,
                "tasks": [task_of(index)],
                "length": length,
                "data/chunk_index": 0,
                "data/file_index": 0,
                "dataset_from_index": first,
                "dataset_to_index": first + length,
                **{f"videos/observation.images.top/{name}": value for name, value in video.items()},
            }
        )
        first += length
    return rows


def _table(seed: int, episode: int) -> pa.Table:
    length, first = LENGTHS[episode], sum(LENGTHS[:episode])
    arrays = {key: _array(value) for key, value in values(seed, episode).items()}
    arrays["observation.note"] = pa.array([f"note {i}" for i in range(length)])
    blobs = [{"bytes": _png(wrist(seed, episode, i)), "path": f"frame-{i:06d}.png"} for i in range(length)]
    arrays["observation.images.wrist"] = pa.array(blobs)
    steps = np.arange(length)
    arrays["timestamp"] = pa.array((steps / RATE_HZ).astype(np.float32))
    arrays["frame_index"] = pa.array(steps)
    arrays["episode_index"] = pa.array(np.full(length, episode))
    arrays["index"] = pa.array(first + steps)
    arrays["task_index"] = pa.array(np.full(length, TASKS.index(task_of(episode))))
    return pa.table(arrays)


def _array(value: np.ndarray) -> pa.Array:
    if value.ndim == 1:
        return pa.array(value)
    if value.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(value.ravel()), value.shape[1])
    return pa.array(value.tolist())


def _png(image: np.ndarray) -> bytes:
    codec = av.CodecContext.create("png", "w")
    codec.height, codec.width = image.shape[:2]
    codec.pix_fmt, codec.time_base = "rgb24", Fraction(1, 1)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    return b"".join(bytes(packet) for part in (frame, None) for packet in codec.encode(part))


def _write_tables(path: Path, tables: list[pa.Table]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _write_info(root: Path, **said: str) -> None:
    features: dict[str, Any] = {
        key: {"dtype": dtype, "shape": shape, "names": names} for key, (dtype, shape, names) in FEATURES.items()
    }
    sides = ["height", "width", "channels"]
    features["observation.images.top"] = {"dtype": "video", "shape": [HEIGHT, WIDTH, 3], "names": sides}
    features["observation.images.wrist"] = {"dtype": "image", "shape": [8, 10, 3], "names": sides}
    for name in ("timestamp", "frame_index", "episode_index", "index", "task_index"):
        features[name] = {"dtype": "float32" if name == "timestamp" else "int64", "shape": [1], "names": None}
    info = {
        **said,
        "robot_type": "toy_arm",
        "fps": RATE_HZ,
        "total_episodes": len(LENGTHS),
        "total_frames": sum(LENGTHS),
        "total_tasks": len(TASKS),
        "chunks_size": 1000,
        "splits": {"train": f"0:{len(LENGTHS)}"},
        "features": features,
    }
    (root / "meta").mkdir(parents=True, exist_ok=True)
    (root / "meta/info.json").write_text(json.dumps(info), encoding="utf-8")
