"""What a LeRobotDataset says about itself, v3.0 and v2.1: features, tasks, episodes and the files that hold them.

Everything that two places of a data set say alike is compared: totals against episodes, episodes against tables. It
reads JSON and Parquet and trusts neither: a path may not leave the data set, a count is held against the size of its
file before room is made. It does not read frames or values (``lerobot`` does).

Source: LeRobotDataset v3.0 as written by lerobot 0.6.1, and v2.1 as its converter reads it (Hugging Face, Apache-2.0).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from genba.errors import FormatError, ReaderError

VERSIONS = ("v3.0", "v2.1")
INFO, TASKS, TASKS_V21 = "meta/info.json", "meta/tasks.parquet", "meta/tasks.jsonl"
EPISODES, EPISODES_V21 = "meta/episodes", "meta/episodes.jsonl"

#: Columns that every data set has beside its features.
BOOKKEEPING = ("timestamp", "frame_index", "episode_index", "index", "task_index")

NUMERIC = frozenset(
    ("bool", "float16", "float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
)

#: The most bytes of a JSON file, and the most rows that a Parquet file may claim per byte of it (a row counts its frame and
#: its time, which no encoding brings below a few bits).
MAX_JSON_BYTES, MAX_ROWS_PER_BYTE = 1 << 28, 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Feature:
    """One signal of a data set."""

    key: str
    #: a name of ``NUMERIC``, ``"video"``, ``"image"``, ``"string"`` or ``"language"``
    dtype: str
    shape: tuple[int, ...]
    #: a name for each number of one sample, in the order of its memory
    names: tuple[str, ...] = ()
    #: of images: whether their one channel is a distance
    is_depth: bool = False

    @property
    def is_numeric(self) -> bool:
        """Whether its samples are numbers."""
        return self.dtype in NUMERIC

    @property
    def is_picture(self) -> bool:
        """Whether its samples are images, in a video or one by one."""
        return self.dtype in ("video", "image")

    @property
    def size(self) -> int:
        """Numbers of one sample."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoPart:
    """Where an episode's frames of one camera are."""

    file: Path
    start_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class EpisodeEntry:
    """What a data set says of one episode."""

    index: int
    length: int
    tasks: tuple[str, ...]
    data_file: Path
    #: number of its first frame in the whole data set
    first_row: int
    videos: Mapping[str, VideoPart]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """What a data set says about itself."""

    root: Path
    version: str
    robot_type: str
    rate_hz: float
    features: tuple[Feature, ...]
    tasks: Mapping[int, str]
    episodes: tuple[EpisodeEntry, ...]


def looks_like_dataset(root: Path) -> bool:
    """Say whether ``root`` is a LeRobotDataset of any version; never raises."""
    try:
        info = _read_json(root / INFO)
    except (ReaderError, OSError, ValueError):
        return False
    return isinstance(info, dict) and isinstance(info.get("codebase_version"), str) and "features" in info


def read_layout(root: Path) -> Layout:
    """Read ``meta``.

    Raises:
        FormatError: a file is missing, is not what the layout says, or two of them disagree.
        ReaderError: a version that is not read.
    """
    info_path = root / INFO
    info = _read_json(info_path)
    if not isinstance(info, dict):
        raise FormatError(info_path, f"got a {type(info).__name__}, expected an object")
    version = info.get("codebase_version")
    if version not in VERSIONS:
        raise ReaderError(
            f"{info_path}: got codebase_version {version!r}, expected {' or '.join(VERSIONS)}; convert the data set "
            f"with LeRobot's own scripts"
        )
    rate_hz = _number(info_path, info, "fps", least=0.0)
    if rate_hz <= 0 or rate_hz > 1e6:
        raise FormatError(info_path, f"fps: got {rate_hz}, expected more than 0 and at most a million")
    robot_type = info.get("robot_type") or "unknown"
    if not is_text(robot_type):
        raise FormatError(info_path, f"robot_type: got {robot_type!r}, expected text")
    features = _features(info_path, info.get("features"))
    read_tasks, read_episodes = (_tasks_v3, _episodes_v3) if version == "v3.0" else (_tasks_v21, _episodes_v21)
    layout = Layout(
        root=root,
        version=version,
        robot_type=robot_type,
        rate_hz=rate_hz,
        features=features,
        tasks=read_tasks(root),
        episodes=tuple(read_episodes(root, info, features)),
    )
    _compare_totals(info_path, info, layout)
    return layout


def _compare_totals(path: Path, info: Mapping[str, Any], layout: Layout) -> None:
    row = 0
    for position, episode in enumerate(layout.episodes):
        if episode.index != position:
            raise FormatError(path, f"got episode_index {episode.index} at place {position}, expected 0, 1, 2, ...")
        if episode.first_row != row:
            raise FormatError(
                path,
                f"episode {episode.index}: got dataset_from_index {episode.first_row}, expected {row}, where the episode "
                f"before ends",
            )
        row += episode.length
    found = {"total_episodes": len(layout.episodes), "total_frames": row}
    for key, value in found.items():
        if key in info and info[key] != value:
            raise FormatError(path, f"{key}: got {info[key]!r}, expected {value} as the list of episodes says")


def _features(path: Path, table: Any) -> tuple[Feature, ...]:
    if not isinstance(table, dict) or not table:
        raise FormatError(path, f"features: got {type(table).__name__}, expected an object with at least one feature")
    out = []
    for key, entry in table.items():
        if key in BOOKKEEPING:
            continue
        if not is_text(key) or not 0 < len(key) <= 200 or "\0" in key:
            raise FormatError(path, f"features: got a feature named {key[:40]!r}, expected 1 to 200 characters of text")
        dtype = entry.get("dtype") if isinstance(entry, dict) else None
        if not isinstance(dtype, str) or (
            dtype not in NUMERIC and dtype not in ("video", "image", "string", "language")
        ):
            raise FormatError(path, f"features.{key}.dtype: got {dtype!r}, expected a number type, video, image, ...")
        shape = entry.get("shape")
        if dtype in ("string", "language"):
            shape = [1]
        whole = isinstance(shape, list) and all(type(n) is int and 0 < n < 1 << 31 for n in shape)
        if not whole or not 1 <= len(shape) <= 5 or math.prod(shape) >= 1 << 31:
            raise FormatError(path, f"features.{key}.shape: got {shape!r}, expected one to five positive sizes")
        # v2.1 calls it video_info.
        info = next((v for v in (entry.get("info"), entry.get("video_info")) if isinstance(v, dict)), {})
        is_depth = bool(info.get("is_depth_map") or info.get("video.is_depth_map"))
        if dtype in ("video", "image"):
            shape = _picture_shape(path, key, shape, entry.get("names"))
            names: tuple[str, ...] = ()
        else:
            names = _value_names(key, tuple(shape), entry.get("names"))
        out.append(Feature(key=key, dtype=dtype, shape=tuple(shape), names=names, is_depth=is_depth))
    return tuple(out)


def _picture_shape(path: Path, key: str, shape: list[int], names: Any) -> list[int]:
    """Return height, width, channels, in whichever order the data set says them."""
    if len(shape) != 3:
        raise FormatError(path, f"features.{key}.shape: got {shape}, expected height, width and channels")
    said = [str(name).lower() for name in names] if isinstance(names, list) else []
    channels_first = said[0].startswith("channel") if said else shape[2] > 4 >= shape[0]
    return [*shape[1:], shape[0]] if channels_first else shape


def _value_names(key: str, shape: tuple[int, ...], names: Any) -> tuple[str, ...]:
    """Return a name for each number: those of the data set where they fit, else the feature's with its place."""
    size = math.prod(shape)
    while isinstance(names, dict) and len(names) == 1:
        names = next(iter(names.values()))
    if isinstance(names, dict):
        # Either {"x": 0, "y": 1} or groups of names.
        lists = [value if isinstance(value, list) else [name] for name, value in names.items()]
        names = [item for part in lists for item in part]
    if isinstance(names, list) and len(names) == size and all(isinstance(name, str | int) for name in names):
        return tuple(str(name) for name in names)
    if size > 1 << 16:
        return ()
    short = key.rpartition(".")[2]
    if shape == (1,):
        return (short,)
    return tuple(f"{short}_{'_'.join(map(str, place))}" for place in np.ndindex(shape))


def _tasks_v3(root: Path) -> dict[int, str]:
    path = root / TASKS
    table = read_table(path)
    if "task_index" not in table.column_names:
        raise FormatError(path, f"got columns {table.column_names}, expected task_index and task")
    # pandas writes its index under this name where it has none.
    text = next((name for name in ("task", "__index_level_0__") if name in table.column_names), "")
    if not text:
        raise FormatError(path, f"got columns {table.column_names}, expected task_index and task")
    with format_errors(path, "tasks"):
        pairs = zip(table.column("task_index").to_pylist(), table.column(text).to_pylist(), strict=True)
        return _tasks(path, list(pairs))


def _tasks_v21(root: Path) -> dict[int, str]:
    path = root / TASKS_V21
    return _tasks(path, [(row.get("task_index"), row.get("task")) for row in _read_json_lines(path)])


def _tasks(path: Path, pairs: list[tuple[Any, Any]]) -> dict[int, str]:
    tasks: dict[int, str] = {}
    for index, text in pairs:
        if type(index) is not int or index < 0 or not is_text(text) or index in tasks:
            raise FormatError(path, f"got task {index!r}: {text!r}, expected a distinct number and a sentence")
        tasks[index] = text
    return tasks


def _episodes_v3(root: Path, info: Mapping[str, Any], features: tuple[Feature, ...]) -> Iterator[EpisodeEntry]:
    videos = [feature.key for feature in features if feature.dtype == "video"]
    columns = ["episode_index", "tasks", "length", "data/chunk_index", "data/file_index"]
    columns += ["dataset_from_index", "dataset_to_index"]
    columns += [
        f"videos/{key}/{name}"
        for key in videos
        for name in ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
    ]
    paths = sorted((root / EPISODES).glob("*/*.parquet"))
    if not paths:
        raise FormatError(root / EPISODES, "got no file, expected chunk-*/file-*.parquet with a row per episode")
    rows: list[tuple[Path, dict[str, Any]]] = []
    for path in paths:
        table = read_table(path, columns)
        with format_errors(path, "episodes"):
            rows += [(path, row) for row in table.to_pylist()]
    rows.sort(key=lambda item: _whole(item[0], item[1], "episode_index"))
    for path, row in rows:
        index = _whole(path, row, "episode_index")
        length, first = _whole(path, row, "length"), _whole(path, row, "dataset_from_index")
        place = f"episode {index}"
        if length < 1 or _whole(path, row, "dataset_to_index") - first != length:
            raise FormatError(
                path,
                f"{place}: got dataset_from_index {first} to {row['dataset_to_index']} and length {length}, expected as "
                f"many rows as its length, and at least 1",
            )
        data = {
            "chunk_index": _whole(path, row, "data/chunk_index"),
            "file_index": _whole(path, row, "data/file_index"),
        }
        parts = {}
        for key in videos:
            at = {name: _whole(path, row, f"videos/{key}/{name}") for name in ("chunk_index", "file_index")}
            start_s, end_s = (_number(path, row, f"videos/{key}/{name}_timestamp") for name in ("from", "to"))
            file = _file(root, info, "video_path", video_key=key, **at)
            parts[key] = VideoPart(file=file, start_s=start_s, end_s=end_s)
        yield EpisodeEntry(
            index=index,
            length=length,
            tasks=_sentences(path, row),
            data_file=_file(root, info, "data_path", **data),
            first_row=first,
            videos=parts,
        )


def _episodes_v21(root: Path, info: Mapping[str, Any], features: tuple[Feature, ...]) -> Iterator[EpisodeEntry]:
    path = root / EPISODES_V21
    chunks_size = info.get("chunks_size", 1000)
    if type(chunks_size) is not int or chunks_size < 1:
        raise FormatError(root / INFO, f"chunks_size: got {chunks_size!r}, expected at least 1")
    rate_hz, first = _number(root / INFO, info, "fps"), 0
    for row in sorted(_read_json_lines(path), key=lambda row: _whole(path, row, "episode_index")):
        index, length = _whole(path, row, "episode_index"), _whole(path, row, "length")
        if length < 1:
            raise FormatError(path, f"episode {index}: got length {length}, expected at least 1")
        at = {"episode_index": index, "episode_chunk": index // chunks_size}
        parts = {
            feature.key: VideoPart(
                file=_file(root, info, "video_path", video_key=feature.key, **at), start_s=0.0, end_s=length / rate_hz
            )
            for feature in features
            if feature.dtype == "video"
        }
        yield EpisodeEntry(
            index=index,
            length=length,
            tasks=_sentences(path, row),
            data_file=_file(root, info, "data_path", **at),
            first_row=first,
            videos=parts,
        )
        first += length


def _file(root: Path, info: Mapping[str, Any], template: str, **values: int | str) -> Path:
    """Return the path that a template of ``info.json`` gives; it may not leave the data set."""
    text, info_path = info.get(template), root / INFO
    if not isinstance(text, str):
        raise FormatError(info_path, f"{template}: got {text!r}, expected a path with {', '.join(values)} in braces")

    def fill(match: re.Match[str]) -> str:
        name, digits = match.group(1), match.group(2)
        if name not in values:
            raise FormatError(info_path, f"{template}: got {match.group(0)}, expected one of {', '.join(values)}")
        return f"{values[name]:0{int(digits)}d}" if digits else str(values[name])

    # Only {name} and {name:03d}: a template is data, and str.format would follow attributes and any width.
    filled = re.sub(r"\{(\w+)(?::0?(\d)d)?\}", fill, text)
    parts = PurePosixPath(filled)
    if parts.is_absolute() or ".." in parts.parts or any(c in filled for c in "{}\0\\"):
        raise FormatError(info_path, f"{template}: got {filled!r}, expected a path inside the data set")
    return root / parts


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a whole Parquet file of ``meta``.

    Raises:
        FormatError: it is missing, damaged or lacks a column.
    """
    with format_errors(path, "a Parquet file"), open_parquet(path) as file:
        missing = [name for name in columns or () if name not in file.schema_arrow.names]
        if missing:
            raise FormatError(
                path, f"got no column {missing[0]!r}, expected it as well as {file.schema_arrow.names[:8]}"
            )
        table = file.read(columns)
        return table if columns is None else table.select(columns)


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a Parquet file whose footer claims no more rows than its size allows.

    Raises:
        FormatError: it is missing, damaged, or claims too much.
    """
    with format_errors(path, "a Parquet file"):
        size_bytes = path.stat().st_size
        file = pq.ParquetFile(path, memory_map=True)
        if not 0 <= file.metadata.num_rows <= size_bytes * MAX_ROWS_PER_BYTE:
            raise FormatError(path, f"got {file.metadata.num_rows} rows in {size_bytes} bytes, expected far fewer")
        return file


@contextmanager
def format_errors(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a library raises about ``path`` into a ``FormatError``."""
    try:
        yield
    except FileNotFoundError as error:
        raise FormatError(path, "no such file, expected it as the data set says") from error
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise FormatError(path, f"not {what} that can be read ({_first_line(error)})") from error
    except (OverflowError, MemoryError, RecursionError, NotImplementedError, AttributeError) as error:
        raise FormatError(path, f"not {what} that can be read ({_first_line(error)})") from error


def _read_json(path: Path) -> Any:
    with format_errors(path, "JSON"):
        if path.stat().st_size > MAX_JSON_BYTES:
            raise FormatError(path, f"got {path.stat().st_size} bytes, expected at most {MAX_JSON_BYTES}")
        return json.loads(path.read_bytes())


def _read_json_lines(path: Path) -> list[dict[str, Any]]:
    with format_errors(path, "JSON, one object per line,"):
        if path.stat().st_size > MAX_JSON_BYTES:
            raise FormatError(path, f"got {path.stat().st_size} bytes, expected at most {MAX_JSON_BYTES}")
        rows = []
        for number, line in enumerate(path.read_bytes().splitlines()):
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise FormatError(path, f"line {number + 1}: got a {type(row).__name__}, expected an object")
                rows.append(row)
        return rows


def _whole(path: Path, row: Mapping[str, Any], key: str) -> int:
    value = row.get(key)
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise FormatError(path, f"{key}: got {value!r}, expected a whole number of at least 0")
    return value


def _number(path: Path, row: Mapping[str, Any], key: str, *, least: float = -math.inf) -> float:
    value: Any = row.get(key)
    # Whole numbers first: one of a thousand digits is no float.
    fits = abs(value) < 1 << 53 if type(value) is int else type(value) is float and math.isfinite(value)
    if not fits or value < least:
        raise FormatError(path, f"{key}: got {value!r}, expected a finite number")
    return float(value)


def _sentences(path: Path, row: Mapping[str, Any]) -> tuple[str, ...]:
    tasks = row.get("tasks")
    if not isinstance(tasks, list) or not all(is_text(task) for task in tasks):
        raise FormatError(path, f"tasks: got {tasks!r}, expected a list of sentences")
    return tuple(tasks)


def is_text(value: object) -> bool:
    """Say whether ``value`` is text that UTF-8 can hold: JSON's escapes can say half a character."""
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)


def _first_line(error: BaseException) -> str:
    lines: Iterable[str] = str(error).splitlines()
    return next(iter(lines), type(error).__name__)
