"""Reads LeRobotDataset v3.0 and v2.1 with NumPy, PyArrow and PyAV alone.

A data set that any tool wrote is read from its base tables: one sample per frame and feature, at ``frame_index / fps``
from the episode's start (the format has no other clock). Names: ``observation.`` and ``images.`` are dropped,
arrays are flattened in the order of memory, and units are ``1`` because the format states none. ``next.*`` (rewards,
ends) is what followed the frame's action, so it is stamped one frame later: nothing is seen before it happened. A
data set that Genba wrote has side tables (``lerobot_streams``), from which its episodes come back as they were.

Read next: ``lerobot_layout``, what a data set says about itself; ``writers.lerobot``.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from genba.data.readers import robot_facts
from genba.data.readers.lerobot_layout import (
    INFO,
    EpisodeEntry,
    Feature,
    Layout,
    format_errors,
    looks_like_dataset,
    read_layout,
)
from genba.data.readers.lerobot_streams import (
    PROVENANCE,
    has_side_tables,
    native_embodiment,
    native_episodes,
    recorded_terms,
)
from genba.data.readers.lerobot_tables import EpisodeTables, column, numbers, whole_numbers
from genba.data.readers.log_facts import EMBODIMENT_OPTION, held_to
from genba.data.readers.options import PROVENANCE as TERMS
from genba.data.readers.options import provenance
from genba.data.video_files import VideoFile, decode_picture
from genba.errors import FormatError, ReaderError
from genba.spec.embodiment import (
    ActionDimension,
    ActionSpace,
    CameraChannel,
    Embodiment,
    InstructionChannel,
    TelemetryChannel,
)
from genba.spec.episode import ACTION, Episode, EpisodeMetadata
from genba.spec.streams import Stream
from genba.spec.units import SECOND_NS

#: How far the ``timestamp`` column may be from ``frame_index / fps``, in seconds: LeRobot's own tolerance.
TIMESTAMP_TOLERANCE_S = 1e-4

#: A feature of more numbers per frame than this is a picture or a map, not telemetry.
MAX_DIMENSIONS = 1024

#: The most bytes of decoded frames that one episode may ask for.
MAX_EPISODE_BYTES = 8 << 30

_LOG = logging.getLogger(__name__)


class LeRobotReader:
    """Data sets in LeRobot's layout."""

    name = "lerobot"
    description = "a LeRobotDataset v3.0 or v2.1: a folder with meta/info.json, data and videos"
    options: Mapping[str, str] = {
        "embodiment": EMBODIMENT_OPTION,
        "streams": "native: from Genba's side tables; base: from LeRobot's own tables (default: native where there are)",
    }

    def recognises(self, path: Path) -> bool:
        """Say whether ``path`` is a folder whose ``meta/info.json`` is a LeRobotDataset's."""
        return looks_like_dataset(Path(path))

    def embodiment(self, path: Path, **options: Any) -> Embodiment:
        """Return the facts of the machine: as Genba wrote them, as the user gives them, or derived from all values.

        Raises:
            FormatError: a file that the layout does not allow.
            ReaderError: an option does not fit the data set.
        """
        path = Path(path)
        provenance(self, options)
        if _is_native(path, options):
            return native_embodiment(path)
        return _facts(read_layout(path), options).embodiment

    def read(self, path: Path, **options: Any) -> Iterator[Episode]:
        """Yield every episode, in order.

        Args:
            path: the data set's folder.
            options: ``embodiment``, ``streams``; ``owner``, ``site``, ``jurisdiction``, ``agreement``: whose it is (a
                data set does not say, but for one that Genba wrote).

        Raises:
            FormatError: a file is missing or damaged, or two of them disagree; with file and numbers.
            ReaderError: an option does not fit the data set.
        """
        path = Path(path)
        given = provenance(self, options, **recorded_terms(path))
        if _is_native(path, options):
            terms = {name: str(options[name]) for name in TERMS if options.get(name)}
            yield from native_episodes(path, terms)
            return
        layout = read_layout(path)
        facts = _facts(layout, options)
        facts.report()
        tables, videos = EpisodeTables(), _Videos()
        try:
            for entry in layout.episodes:
                episode = _read_episode(layout, facts, entry, tables, videos, given)
                if options.get("embodiment"):
                    episode = held_to(facts.embodiment, episode, path, given=True)
                yield episode
        finally:
            tables.close()


class _Facts:
    """The machine, and which feature becomes which channel."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.left_out: dict[str, str] = {}
        #: channel -> feature
        self.telemetry: dict[str, Feature] = {}
        self.cameras: dict[str, Feature] = {}
        self.actions: list[Feature] = []
        #: number of tasks where the task changes within an episode, else 0
        self.num_tasks = 0
        self.embodiment: Embodiment
        signals: list[Feature] = []
        for feature in layout.features:
            reason = _reason_to_leave_out(feature)
            if reason:
                self.left_out[feature.key] = reason
            elif feature.is_numeric and (feature.key == ACTION or feature.key.startswith(f"{ACTION}.")):
                self.actions.append(feature)
            else:
                signals.append(feature)
        # Reserved first, so that a feature of the same name gets another.
        names = robot_facts.distinct_names(["instruction", "task", *(_short(feature.key) for feature in signals)])[2:]
        for name, feature in zip(names, signals, strict=True):
            (self.cameras if feature.is_picture else self.telemetry)[name] = feature

    def columns(self) -> list[str]:
        """Columns of the base tables that are read."""
        keys = [f.key for f in (*self.telemetry.values(), *self.actions)]
        return [*keys, *(f.key for f in self.cameras.values() if f.dtype == "image")]

    def report(self) -> None:
        """Say by name what is left out."""
        for key, reason in self.left_out.items():
            _LOG.warning("%s: feature %s is left out: %s", self.layout.root, key, reason)


def _reason_to_leave_out(feature: Feature) -> str:
    if feature.is_depth:
        return "a depth map, for which there is no channel"
    if feature.is_picture:
        if feature.shape[2] not in (1, 3):
            return f"an image of {feature.shape[2]} channels, neither grey nor RGB"
        return "an image of fewer than 8 pixels a side" if min(feature.shape[:2]) < 8 else ""
    if not feature.is_numeric:
        return f"{feature.dtype} per frame; the instruction comes from the task"
    return f"{feature.size} numbers per frame, more than {MAX_DIMENSIONS}" if feature.size > MAX_DIMENSIONS else ""


def _short(key: str) -> str:
    key = key.removeprefix("observation.")
    return key.removeprefix("images.") or key


def _facts(layout: Layout, options: Mapping[str, Any]) -> _Facts:
    """Derive the machine's facts from the features and from every value."""
    facts = _Facts(layout)
    ranges = _scan(layout, facts)
    longest = max((len(task.encode()) for task in layout.tasks.values()), default=0)
    try:
        machine = Embodiment(
            id="log/unnamed@1",
            description=f"Derived from a LeRobotDataset of {layout.robot_type}; units and limits are not stated.",
            control=robot_facts.control(layout.rate_hz),
            action=ActionSpace(continuous=_action_dimensions(facts, ranges)),
            telemetry=_telemetry(facts, ranges),
            camera=tuple(
                CameraChannel(name=name, height=feature.shape[0], width=feature.shape[1], **_clock(layout.rate_hz))
                for name, feature in facts.cameras.items()
            ),
            instruction=(InstructionChannel(name="instruction", max_bytes=max(64, longest)),) if longest else (),
        )
    except ValueError as error:
        raise FormatError(
            layout.root / INFO, f"not the facts of a machine ({error}); left out: {facts.left_out or 'nothing'}"
        ) from error
    derived = robot_facts.named_by_content(f"lerobot {layout.robot_type}", machine)
    facts.embodiment = robot_facts.given_or_derived(layout.root, options.get("embodiment"), derived)
    return facts


def _clock(rate_hz: float) -> dict[str, Any]:
    return {"rate_hz": rate_hz, "history_s": 1 / rate_hz, "frame": "none"}


def _telemetry(facts: _Facts, ranges: robot_facts.Ranges) -> tuple[TelemetryChannel, ...]:
    clock = _clock(facts.layout.rate_hz)
    channels = []
    for name, feature in facts.telemetry.items():
        limits = [(0.0, 1.0)] * feature.size if feature.dtype == "bool" else ranges.limits(feature.key)
        dimension = robot_facts.dimensions(feature.names, limits)
        channels.append(TelemetryChannel(name=name, dimension=dimension, **clock))
    if facts.num_tasks:
        dimension = robot_facts.dimensions(["task"], [(0.0, float(facts.num_tasks - 1))])
        channels.append(TelemetryChannel(name="task", dimension=dimension, **clock))
    return tuple(channels)


def _action_dimensions(facts: _Facts, ranges: robot_facts.Ranges) -> tuple[ActionDimension, ...]:
    names: list[str] = []
    limits: list[tuple[float, float]] = []
    for feature in facts.actions:
        prefix = feature.key.removeprefix(ACTION).removeprefix(".")
        names += [f"{prefix}.{name}" if prefix else name for name in feature.names]
        limits += ranges.limits(feature.key)
    return robot_facts.action_dimensions(names, limits)


def _scan(layout: Layout, facts: _Facts) -> robot_facts.Ranges:
    """Go through every number once: limits, and whether tasks change within an episode."""
    ranges, tables = robot_facts.Ranges(), EpisodeTables()
    features = [*facts.telemetry.values(), *facts.actions]
    columns = [*(feature.key for feature in features), "task_index"]
    for entry in layout.episodes:
        table = tables.rows(entry.data_file, entry.index, columns)
        _check_length(entry, table.num_rows)
        for feature in features:
            values, _ = numbers(entry.data_file, table, feature, what=f"episode {entry.index}")
            ranges.add(feature.key, values)
        tasks = whole_numbers(entry.data_file, table, "task_index")
        unknown = sorted(set(tasks.tolist()) - set(layout.tasks))
        if unknown:
            raise FormatError(
                entry.data_file,
                f"episode {entry.index}: got task_index {unknown[0]}, expected one of the {len(layout.tasks)} tasks",
            )
        if bool((tasks != tasks[0]).any()):
            facts.num_tasks = max(layout.tasks, default=0) + 1
    tables.close()
    return ranges


def _read_episode(
    layout: Layout,
    facts: _Facts,
    entry: EpisodeEntry,
    tables: EpisodeTables,
    videos: _Videos,
    given: Mapping[str, Any],
) -> Episode:
    what, file = f"episode {entry.index}", entry.data_file
    table = tables.rows(file, entry.index, [*facts.columns(), "timestamp", "frame_index", "index", "task_index"])
    _check_length(entry, table.num_rows)
    times_ns = _times(layout, entry, table)
    later_ns = times_ns + round(SECOND_NS / layout.rate_hz)
    tasks = whole_numbers(file, table, "task_index")
    spoken = list(dict.fromkeys(layout.tasks[int(task)] for task in tasks))
    if not set(spoken) <= set(entry.tasks):
        raise FormatError(
            file, f"{what}: got tasks {spoken}, expected of {list(entry.tasks)} as in the list of episodes"
        )
    state = hashlib.sha256("\n".join(spoken).encode())
    streams: dict[str, Stream] = {}
    for name, feature in facts.telemetry.items():
        values = _values(table, entry, feature, state)
        streams[name] = Stream(later_ns if feature.key.startswith("next.") else times_ns, values)
    if facts.num_tasks:
        streams["task"] = Stream(times_ns, tasks.astype(np.float32)[:, None])
    if facts.actions:
        values = np.concatenate([_values(table, entry, feature, state) for feature in facts.actions], axis=1)
        streams[ACTION] = Stream(times_ns, values)
    for name, feature in facts.cameras.items():
        values = (
            _video_frames(layout, entry, feature, videos, state)
            if feature.dtype == "video"
            else _image_frames(table, entry, feature, state)
        )
        streams[name] = Stream(times_ns, values)
    left_out = f"; left out: {', '.join(facts.left_out)}" if facts.left_out else ""
    metadata = EpisodeMetadata(
        # Named by its content, not by its place: the same episode in a data set that grew is found again.
        episode_id=f"{facts.embodiment.id}/{state.hexdigest()[:16]}",
        embodiment_id=facts.embodiment.id,
        **given,
        instruction=spoken[0],
        outcome=_outcome(table, facts),
        source=f"LeRobotDataset {layout.version} {layout.root.name}, episode {entry.index}{left_out}",
    )
    if len(spoken) > 1:
        _LOG.warning(
            "%s: %s has the tasks %s; the first is its instruction, channel task says when", file, what, spoken
        )
    return Episode(metadata, streams)


def _check_length(entry: EpisodeEntry, found: int) -> None:
    if found != entry.length:
        raise FormatError(
            entry.data_file, f"episode {entry.index}: got {found} rows, expected {entry.length} as its length says"
        )


def _times(layout: Layout, entry: EpisodeEntry, table: pa.Table) -> np.ndarray:
    """Return the time of each frame, after comparing the columns that count frames with each other."""
    file, what = entry.data_file, f"episode {entry.index}"
    for name, first in (("frame_index", 0), ("index", entry.first_row)):
        found = whole_numbers(file, table, name)
        wrong = np.nonzero(found != first + np.arange(entry.length))[0]
        if len(wrong):
            row = int(wrong[0])
            raise FormatError(file, f"{what}: row {row}: got {name} {found[row]}, expected {first + row}")
    stamps_s, _ = numbers(file, table, Feature(key="timestamp", dtype="float32", shape=(1,)), what=what)
    expected_s = np.arange(entry.length) / layout.rate_hz
    # A float32 second is itself rough once an episode is long.
    room_s = TIMESTAMP_TOLERANCE_S + np.spacing(expected_s.astype(np.float32))
    wrong = np.nonzero(~(np.abs(stamps_s[:, 0] - expected_s) <= room_s))[0]
    if len(wrong):
        row = int(wrong[0])
        raise FormatError(
            file,
            f"{what}: row {row}: got timestamp {stamps_s[row, 0]:.6f} s, expected {expected_s[row]:.6f} s: frame_index / "
            f"fps ({layout.rate_hz:g})",
        )
    return np.rint(np.arange(entry.length) * (SECOND_NS / layout.rate_hz)).astype(np.int64)


def _values(table: pa.Table, entry: EpisodeEntry, feature: Feature, state: Any) -> np.ndarray:
    values, inexact = numbers(entry.data_file, table, feature, what=f"episode {entry.index}")
    if inexact:
        _LOG.warning(
            "%s: %s of episode %d: %d whole numbers beyond 2**24 are rounded to float32",
            entry.data_file,
            feature.key,
            entry.index,
            inexact,
        )
    state.update(feature.key.encode() + np.ascontiguousarray(values).tobytes())
    return values


def _video_frames(layout: Layout, entry: EpisodeEntry, feature: Feature, videos: _Videos, state: Any) -> np.ndarray:
    part, what = entry.videos[feature.key], f"episode {entry.index}"
    video = videos.open(part.file)
    if (video.height, video.width) != feature.shape[:2]:
        raise FormatError(
            part.file,
            f"got {video.height} x {video.width} pixels, expected {feature.shape[0]} x {feature.shape[1]} as info.json says",
        )
    length_s = entry.length / layout.rate_hz
    if abs(part.end_s - part.start_s - length_s) > 0.5 / layout.rate_hz:
        raise FormatError(
            part.file,
            f"{what}: got from_timestamp {part.start_s:.6f} s to to_timestamp {part.end_s:.6f} s, expected "
            f"{length_s:.6f} s for {entry.length} rows at {layout.rate_hz:g} Hz",
        )
    if layout.version == "v2.1" and len(video) != entry.length:
        raise FormatError(part.file, f"{what}: got {len(video)} frames, expected {entry.length} as its length says")
    _check_room(part.file, entry, feature)
    values, digest = video.frames(part.start_s, layout.rate_hz, entry.length, what=what)
    state.update(feature.key.encode() + digest)
    return values


def _image_frames(table: pa.Table, entry: EpisodeEntry, feature: Feature, state: Any) -> np.ndarray:
    """Return the images of a column: structs of ``bytes`` and ``path``, or bytes alone."""
    file, what = entry.data_file, f"{feature.key} of episode {entry.index}"
    height, width, _ = feature.shape
    with format_errors(file, "a Parquet file"):
        array = column(table, feature.key)
        if pa.types.is_struct(array.type):
            array = array.field("bytes").slice(array.offset, len(array)) if array.offset else array.field("bytes")
        blobs = array.to_pylist()
    _check_room(file, entry, feature)
    frames = []
    for i, blob in enumerate(blobs):
        if not isinstance(blob, bytes):
            raise FormatError(file, f"{what}: frame {i}: got no bytes, expected an image within the table")
        state.update(blob)
        try:
            frames.append(decode_picture(blob, height, width))
        except ValueError as error:
            raise FormatError(file, f"{what}: frame {i}: {error}") from error
    return np.stack(frames)


def _check_room(file: Path, entry: EpisodeEntry, feature: Feature) -> None:
    size_bytes = entry.length * feature.shape[0] * feature.shape[1] * 3
    if size_bytes > MAX_EPISODE_BYTES:
        raise FormatError(
            file,
            f"{feature.key} of episode {entry.index}: got {entry.length} frames of {feature.shape[0]} x "
            f"{feature.shape[1]}, {size_bytes} bytes, expected at most {MAX_EPISODE_BYTES}; split the episode",
        )


def _outcome(table: pa.Table, facts: _Facts) -> dict[str, float]:
    """Return whether the task was done, where the data set says it per frame."""
    for name, feature in facts.telemetry.items():
        if feature.key == "next.success" and feature.size == 1:
            values, _ = numbers(facts.layout.root, table, feature, what=name)
            return {"success": float(np.nanmax(values))} if not np.isnan(values).all() else {}
    return {}


class _Videos:
    """The video files opened last; a file that holds many episodes is looked through once."""

    def __init__(self) -> None:
        self._files: dict[Path, VideoFile] = {}

    def open(self, path: Path) -> VideoFile:
        if path not in self._files:
            if len(self._files) >= 32:
                self._files.pop(next(iter(self._files)))
            self._files[path] = VideoFile(path)
        return self._files[path]


def _is_native(path: Path, options: Mapping[str, Any]) -> bool:
    has_streams = has_side_tables(path)
    wanted = options.get("streams") or ("native" if has_streams else "base")
    if wanted not in ("native", "base"):
        raise ReaderError(f"{path}: option streams: got {wanted!r}, expected 'native' or 'base'")
    if wanted == "native" and not has_streams:
        raise ReaderError(f"{path}: option streams: got 'native', but there is no {PROVENANCE}; expected 'base'")
    if wanted == "native" and options.get("embodiment"):
        raise ReaderError(f"{path}: option embodiment: the data set brings its own facts; add the option streams=base")
    return wanted == "native"
