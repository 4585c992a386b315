"""Writes episodes as a LeRobotDataset v3.0: what LeRobot can hold for LeRobot, everything beside it for Genba.

**Base tables.** One row per control step, in which every channel shows its newest sample (``control_steps``).
``observation.state`` holds all telemetry (names ``channel.dimension``), or there is one feature per channel where one of them is
itself called ``state``; ``observation.images.<camera>`` are videos; ``action`` is what the machine was told; the instruction is
the task. The time stamps of such rows are made up by the format: ``step / fps``.

**Side tables** (``readers.lerobot_streams``). LeRobot knows one rate and no ragged data, so every stream goes there as it is,
camera frames as PNG: ``readers.lerobot`` gives back the same episodes, bit for bit. Points, entities, relations, choices and
labels are only there. ``streams/_clock`` says for each row of the base tables when it was and how old what it shows.

Videos are H.264 at constant quality 18, 4:2:0, a key frame every 2 frames, without B-frames, made by PyAV: every reader
decodes that, and any frame is at most one away from a key frame. ``codec`` chooses another, of ``video_files.CODECS``.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from genba.config import to_toml
from genba.data.layout import metadata_to_json
from genba.data.readers.lerobot_layout import BOOKKEEPING, EPISODES, INFO, TASKS
from genba.data.readers.lerobot_streams import CLOCK, FACTS, FOLDER, FORMAT, PROVENANCE, stream_table
from genba.data.video_files import CODECS, VideoWriter
from genba.data.writers import lerobot_statistics
from genba.data.writers.control_steps import control_steps, newest_samples, sampled_streams
from genba.data.writers.lerobot_statistics import FeatureStatistics
from genba.errors import DataError, StorageError, nearest
from genba.spec.conformance import check_episode
from genba.spec.embodiment import CameraChannel, Embodiment, TelemetryChannel
from genba.spec.episode import ACTION, Episode
from genba.spec.units import SECOND_NS, to_ns
from genba.trust.digest import digest_file

#: Files of one chunk folder, and the bytes after which the next file is begun; LeRobot's own values.
CHUNKS_SIZE, DATA_FILE_MB, VIDEO_FILE_MB = 1000, 100, 200

#: Episodes that ``meta/episodes`` takes at once.
EPISODES_PER_GROUP = 100


class LeRobotWriter:
    """Data sets in LeRobot's layout."""

    name = "lerobot"
    description = (
        "LeRobotDataset v3.0: one row per control step and H.264 videos; LeRobot does not see point clouds, entities and "
        "choices nor rates beyond the control rate, which are kept beside its tables for Genba"
    )

    def __init__(
        self,
        *,
        rate_hz: int | None = None,
        codec: str = "h264",
        keyframe_every: int = 2,
        data_file_mb: int = DATA_FILE_MB,
        video_file_mb: int = VIDEO_FILE_MB,
    ) -> None:
        """Choose how base tables and videos are written.

        Args:
            rate_hz: rows per second; None for one row per control step.
            codec: a name of ``video_files.CODECS``; ``h264-lossless`` keeps every pixel.
            keyframe_every: frames from one key frame to the next.
            data_file_mb: size after which the next table is begun.
            video_file_mb: size after which the next video is begun.

        Raises:
            DataError: no such codec, or a number below 1.
        """
        if codec not in CODECS:
            raise DataError(f"codec: got {codec!r}{nearest(codec, CODECS)}")
        if keyframe_every < 1 or data_file_mb < 1 or video_file_mb < 1 or (rate_hz is not None and rate_hz < 1):
            raise DataError(
                f"rate_hz, keyframe_every, data_file_mb, video_file_mb: got {rate_hz}, {keyframe_every}, {data_file_mb}, "
                f"{video_file_mb}, expected at least 1"
            )
        self.rate_hz, self.codec, self.keyframe_every = rate_hz, codec, keyframe_every
        self.data_file_mb, self.video_file_mb = data_file_mb, video_file_mb

    def write(self, path: Path, embodiment: Embodiment, episodes: Iterable[Episode]) -> None:
        """Write ``episodes`` to the folder ``path``, which must not exist yet; whole or not at all.

        Raises:
            DataError: no episode, one without a row, or a control rate that the format cannot state.
            SpecError: an episode that does not fit its embodiment.
            StorageError: the disk refused; nothing is left behind.
        """
        path = Path(path)
        if path.exists():
            raise DataError(f"{path}: is there already; choose another folder or remove it")
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
        try:
            temporary.mkdir(parents=True)
            dataset = _Dataset(self, temporary, embodiment)
            for episode in episodes:
                check_episode(embodiment, episode)
                dataset.add(episode)
            dataset.finish()
            _sync(temporary)
            temporary.rename(path)
            _sync_folder(path.parent)
        except OSError as error:
            raise StorageError(
                f"{path}: could not write the data set: {error.strerror or error}; nothing of it is left behind; free some "
                f"space or choose another folder"
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


class _Dataset:
    """A data set being written."""

    def __init__(self, choices: LeRobotWriter, root: Path, embodiment: Embodiment) -> None:
        self.choices, self.root, self.embodiment = choices, root, embodiment
        self.rate_hz, self.step_ns = _rate(embodiment, choices.rate_hz)
        self.signals = _signals(embodiment)
        #: the cameras that the first episode has; every episode must have them
        self.cameras: list[CameraChannel] | None = None
        self.videos: dict[str, _Videos] = {}
        limit_bytes = choices.data_file_mb << 20
        self.data = _Tables(root / "data", limit_bytes)
        self.clock = _Tables(root / FOLDER / CLOCK, limit_bytes)
        self.streams: dict[str, _Tables] = {}
        self.episode_rows = _Tables(root / EPISODES, limit_bytes)
        self.waiting: list[dict[str, Any]] = []
        self.tasks: dict[str, int] = {}
        self.total = lerobot_statistics.Total()
        self.records: list[dict[str, Any]] = []
        self.num_rows = 0

    def add(self, episode: Episode) -> None:
        """Append one episode."""
        index = len(self.records)
        self._check_cameras(episode)
        streams = sampled_streams(self.embodiment, episode)
        times_ns = control_steps(episode, streams, self.step_ns)
        shown = newest_samples(streams, times_ns)
        columns = self._columns(episode, shown, index, times_ns)
        statistics = {key: lerobot_statistics.of_numbers(values) for key, values in columns.items()}
        place = self.data.write(_base_table(columns))
        row: dict[str, Any] = {
            "episode_index": index,
            "tasks": [episode.metadata.instruction],
            "length": len(times_ns),
            "data/chunk_index": place[0],
            "data/file_index": place[1],
            "dataset_from_index": self.num_rows,
            "dataset_to_index": self.num_rows + len(times_ns),
        }
        for camera in self.cameras or ():
            key, frames = f"observation.images.{camera.name}", episode.streams[camera.name].values
            row |= self.videos[camera.name].add(key, (frames[i] for i in shown[camera.name]))
            looked_at = lerobot_statistics.sampled(len(times_ns))
            statistics[key] = lerobot_statistics.of_images(
                (frames[i] for i in shown[camera.name][looked_at]), len(looked_at)
            )
        for key, found in statistics.items():
            self.total.add(key, found)
        self._add_side_tables(episode, shown, index, times_ns)
        self._add_episode_row(row, statistics)
        samples = {name: len(stream) for name, stream in sorted(episode.streams.items())}
        self.records.append({"metadata": metadata_to_json(episode.metadata), "samples": samples})
        self.num_rows += len(times_ns)

    def finish(self) -> None:
        """Write what is said about the whole, and close every file."""
        if not self.records:
            raise DataError(f"{self.embodiment.id}: got no episode, expected at least one")
        self._flush_episode_rows()
        for tables in (self.data, self.clock, self.episode_rows, *self.streams.values()):
            tables.close()
        for videos in self.videos.values():
            videos.close()
        _write_json(self.root / INFO, self._info())
        _write_json(self.root / "meta/stats.json", self.total.to_json())
        pq.write_table(_task_table(self.tasks), self.root / TASKS)
        (self.root / FACTS).write_text(to_toml(self.embodiment), encoding="utf-8")
        _write_json(self.root / PROVENANCE, self._provenance())

    def _check_cameras(self, episode: Episode) -> None:
        found = [c for c in self.embodiment.camera if len(episode.streams.get(c.name, ()))]
        if self.cameras is None:
            self.cameras = found
            choices = self.choices
            self.videos = {camera.name: _Videos(self.root, camera, choices, self.rate_hz) for camera in found}
        if found != self.cameras:
            raise DataError(
                f"{episode.metadata.episode_id}: got frames of {[c.name for c in found]}, expected "
                f"{[c.name for c in self.cameras]} as in the first episode: LeRobot's videos have a frame for every row; "
                f"write such episodes into data sets of their own"
            )

    def _columns(
        self, episode: Episode, shown: Mapping[str, np.ndarray], index: int, times_ns: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return the base table: feature -> ``[rows, size]``, or ``[rows]`` for LeRobot's own columns."""
        rows, columns = len(times_ns), {}
        for key, channels in self.signals.items():
            parts = [
                episode.streams[c.name].values[shown[c.name]]
                if c.name in shown
                else np.full((rows, len(c.dimensions)), np.nan, np.float32)
                for c in channels
            ]
            columns[key] = np.concatenate(parts, axis=1)
        if self.embodiment.action.continuous:
            size = len(self.embodiment.action.continuous)
            columns[ACTION] = (
                episode.streams[ACTION].values[shown[ACTION]]
                if ACTION in shown
                else np.full((rows, size), np.nan, np.float32)
            )
        steps = np.arange(rows, dtype=np.int64)
        task = self.tasks.setdefault(episode.metadata.instruction, len(self.tasks))
        own = ((steps / self.rate_hz).astype(np.float32), steps, np.full(rows, index), self.num_rows + steps)
        for name, values in zip(BOOKKEEPING, (*own, np.full(rows, task)), strict=True):
            columns[name] = values[:, None]
        return columns

    def _add_side_tables(
        self, episode: Episode, shown: Mapping[str, np.ndarray], index: int, times_ns: np.ndarray
    ) -> None:
        clock = {
            "episode_index": pa.array(np.full(len(times_ns), index, np.int64)),
            "frame_index": pa.array(np.arange(len(times_ns), dtype=np.int64)),
            "t_ns": pa.array(np.ascontiguousarray(times_ns)),
        }
        channels = [*self.embodiment.telemetry, *(self.cameras or ())]
        names = [c.name for c in channels] + ([ACTION] if self.embodiment.action.continuous else [])
        for name in names:
            clock[f"t_ns/{name}"] = (
                pa.array(episode.streams[name].times_ns[shown[name]])
                if name in shown
                else pa.nulls(len(times_ns), pa.int64())
            )
        self.clock.write(pa.table(clock))
        for name, stream in episode.streams.items():
            if name == CLOCK:
                raise DataError(
                    f"{episode.metadata.episode_id}: got a stream named {CLOCK!r}, which is the clock's own name"
                )
            if name not in self.streams:
                self.streams[name] = _Tables(self.root / FOLDER / name, self.choices.data_file_mb << 20)
            self.streams[name].write(stream_table(index, stream))

    def _add_episode_row(self, row: dict[str, Any], statistics: Mapping[str, FeatureStatistics]) -> None:
        for key, found in statistics.items():
            row |= {f"stats/{key}/{name}": value.tolist() for name, value in found.items()}
        self.waiting.append(row)
        if len(self.waiting) >= EPISODES_PER_GROUP:
            self._flush_episode_rows()

    def _flush_episode_rows(self) -> None:
        if not self.waiting:
            return
        chunk, file = self.episode_rows.place()
        for row in self.waiting:
            row |= {"meta/episodes/chunk_index": chunk, "meta/episodes/file_index": file}
        self.episode_rows.write(pa.Table.from_pylist(self.waiting))
        self.waiting = []

    def _info(self) -> dict[str, Any]:
        features: dict[str, Any] = {}
        for key, channels in self.signals.items():
            names = [f"{c.name}.{d.name}" if len(channels) > 1 else d.name for c in channels for d in c.dimensions]
            features[key] = {"dtype": "float32", "shape": [len(names)], "names": names}
        for camera in self.cameras or ():
            features[f"observation.images.{camera.name}"] = {
                "dtype": "video",
                "shape": [camera.height, camera.width, 3],
                "names": ["height", "width", "channels"],
                "info": self.videos[camera.name].info(),
            }
        if self.embodiment.action.continuous:
            names = [d.name for d in self.embodiment.action.continuous]
            features[ACTION] = {"dtype": "float32", "shape": [len(names)], "names": names}
        for name in BOOKKEEPING:
            features[name] = {"dtype": "float32" if name == "timestamp" else "int64", "shape": [1], "names": None}
        chunk = "chunk-{chunk_index:03d}/file-{file_index:03d}"
        return {
            "codebase_version": "v3.0",
            "robot_type": self.embodiment.id,
            "fps": self.rate_hz,
            "total_episodes": len(self.records),
            "total_frames": self.num_rows,
            "total_tasks": len(self.tasks),
            "chunks_size": CHUNKS_SIZE,
            "data_files_size_in_mb": self.choices.data_file_mb,
            "video_files_size_in_mb": self.choices.video_file_mb,
            "splits": {"train": f"0:{len(self.records)}"},
            "data_path": f"data/{chunk}.parquet",
            "video_path": f"videos/{{video_key}}/{chunk}.mp4" if self.cameras else None,
            "features": features,
        }

    def _provenance(self) -> dict[str, Any]:
        terms = {
            name: sorted({record["metadata"][key] for record in self.records})
            for name, key in (
                ("owners", "owner"),
                ("sites", "site"),
                ("jurisdictions", "jurisdiction"),
                ("agreements", "agreement"),
                ("sources", "source"),
            )
        }
        files = sorted(p for p in self.root.rglob("*") if p.is_file())
        return {
            "format": FORMAT,
            "embodiment_id": self.embodiment.id,
            **terms,
            "base": {
                "rows": "the newest sample of every channel at each control step",
                "rate_hz": self.rate_hz,
                "codec": self.choices.codec,
            },
            "files": {p.relative_to(self.root).as_posix(): digest_file(p) for p in files},
            "episodes": self.records,
        }


class _Tables:
    """Parquet files of one folder: a row group per table given, a new file once one has reached its size."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes
        self._number = 0
        self._sink: pa.NativeFile | None = None
        self._writer: pq.ParquetWriter | None = None
        self._schema: pa.Schema | None = None

    def place(self) -> tuple[int, int]:
        """Return the chunk and file that the next table goes into."""
        if self._sink is not None and self._sink.tell() >= self.limit_bytes:
            self.close()
            self._number += 1
        return divmod(self._number, CHUNKS_SIZE)

    def write(self, table: pa.Table) -> tuple[int, int]:
        """Append a table as one row group; return its chunk and file."""
        place = self.place()
        if self._schema is None:
            self._schema = table.schema
        if self._writer is None:
            path = self.folder / f"chunk-{place[0]:03d}" / f"file-{place[1]:03d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._sink = pa.OSFile(str(path), "wb")
            self._writer = pq.ParquetWriter(self._sink, self._schema, compression="snappy")
        self._writer.write_table(table.select(self._schema.names).cast(self._schema), row_group_size=max(len(table), 1))
        return place

    def close(self) -> None:
        """End the file that is open."""
        if self._writer is not None and self._sink is not None:
            self._writer.close()
            self._sink.close()
        self._writer = self._sink = None


class _Videos:
    """The video files of one camera."""

    def __init__(self, root: Path, camera: CameraChannel, choices: LeRobotWriter, rate_hz: int) -> None:
        self.root, self.camera, self.choices, self.rate_hz = root, camera, choices, rate_hz
        self._number = 0
        self._writer: VideoWriter | None = None
        self.pixel_format = ""

    def add(self, key: str, frames: Iterable[np.ndarray]) -> dict[str, Any]:
        """Append the frames of one episode; return what its row says of them."""
        limit_bytes = self.choices.video_file_mb << 20
        if self._writer is not None and self._writer.written_bytes() >= limit_bytes:
            self.close()
            self._number += 1
        chunk, file = divmod(self._number, CHUNKS_SIZE)
        if self._writer is None:
            path = self.root / "videos" / key / f"chunk-{chunk:03d}" / f"file-{file:03d}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = VideoWriter(
                path,
                codec=self.choices.codec,
                rate_hz=self.rate_hz,
                height=self.camera.height,
                width=self.camera.width,
                keyframe_every=self.choices.keyframe_every,
            )
            self.pixel_format = self._writer.pixel_format
        start_s, end_s = self._writer.add_episode(frames)
        return {
            f"videos/{key}/chunk_index": chunk,
            f"videos/{key}/file_index": file,
            f"videos/{key}/from_timestamp": start_s,
            f"videos/{key}/to_timestamp": end_s,
        }

    def info(self) -> dict[str, Any]:
        """Return what ``info.json`` says of the videos."""
        return {
            "video.height": self.camera.height,
            "video.width": self.camera.width,
            "video.codec": self.choices.codec.partition("-")[0],
            "video.pix_fmt": self.pixel_format,
            "video.fps": self.rate_hz,
            "video.channels": 3,
            "video.g": self.choices.keyframe_every,
            "has_audio": False,
            "is_depth_map": False,
        }

    def close(self) -> None:
        """End the file that is open."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None


def _rate(embodiment: Embodiment, asked_hz: int | None) -> tuple[int, int]:
    """Return rows per second and nanoseconds from row to row."""
    if asked_hz is not None:
        return asked_hz, round(SECOND_NS / asked_hz)
    exact_hz = 1 / embodiment.control.period_s
    rate_hz = round(exact_hz)
    if rate_hz < 1 or abs(exact_hz - rate_hz) > 1e-3 * rate_hz:
        raise DataError(
            f"{embodiment.id}: got a control period of {embodiment.control.period_s:g} s, which is no whole number of rows "
            f"per second, the only rate that LeRobot knows; give rate_hz"
        )
    return rate_hz, to_ns(embodiment.control.period_s)


def _signals(embodiment: Embodiment) -> dict[str, list[TelemetryChannel]]:
    """Return which telemetry goes into which feature."""
    channels = list(embodiment.telemetry)
    if any(channel.name == "state" for channel in channels):
        return {f"observation.{channel.name}": [channel] for channel in channels}
    return {"observation.state": channels} if channels else {}


def _base_table(columns: Mapping[str, np.ndarray]) -> pa.Table:
    arrays = {}
    for key, values in columns.items():
        items = pa.array(np.ascontiguousarray(values).reshape(-1))
        arrays[key] = items if values.shape[1] == 1 else pa.FixedSizeListArray.from_arrays(items, values.shape[1])
    return pa.table(arrays)


def _task_table(tasks: Mapping[str, int]) -> pa.Table:
    """Return the tasks as pandas would write them with the sentence as index, which is how LeRobot looks them up."""
    table = pa.table({"task_index": pa.array(list(tasks.values()), pa.int64()), "task": pa.array(list(tasks))})
    kinds = (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": n, "field_name": n, "pandas_type": kind, "numpy_type": stored, "metadata": None}
            for n, kind, stored in kinds
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    return table.replace_schema_metadata({b"pandas": json.dumps(pandas).encode()})


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _sync(root: Path) -> None:
    """Have everything under ``root`` on the disk before its name says that it is whole."""
    for path in sorted(root.rglob("*"), reverse=True):
        _sync_folder(path)
    _sync_folder(root)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
