"""The tables of a nuScenes-style set: JSON lists of rows that point to each other by tokens, checked as they are followed.

It knows the schema and nothing of what the files hold; a row that lacks a key, points nowhere or leads out of the set's folder is
a ``FormatError`` naming the table and the row. Read next: ``nuscenes``, which makes episodes of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from genba.data.readers.image_files import read_bytes
from genba.errors import FormatError

REQUIRED = ("scene", "sample", "sample_data", "ego_pose", "calibrated_sensor", "sensor", "log")
OPTIONAL = ("sample_annotation", "instance", "category", "visibility", "map")

MODALITIES = ("camera", "lidar", "radar")

#: The latest time, in microseconds, whose nanoseconds fit int64 with room to add.
_TIME_MAX_US = (1 << 62) // 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Sensor:
    """A sensor of the car; its name is the table's in lower case, e.g. ``lidar_top``."""

    name: str
    modality: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """One file that a sensor wrote."""

    time_ns: int
    path: Path
    #: pixels of a camera's frame, else 0
    height: int
    width: int
    #: the sensor on the car: quaternion, translation in metres, intrinsics (3 x 3, row by row; empty but for cameras)
    mounting: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]
    pose: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """One annotated thing at one sample, in the map's frame; ``size_m`` is width, length, height."""

    instance: str
    category: int
    translation_m: tuple[float, ...]
    size_m: tuple[float, ...]
    quaternion: tuple[float, ...]
    #: returns inside: lidar's, radar's
    num_points: tuple[float, ...]
    #: the number of its visibility class, NaN where unknown
    visibility: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Log:
    """What a scene was cut from."""

    name: str
    location: str
    maps: tuple[Path, ...]


def versions(path: Path) -> list[str]:
    """Return the names of the folders of ``path`` that hold every table that is needed."""
    if not path.is_dir():
        return []
    folders = [folder for folder in path.iterdir() if (folder / "sample_data.json").is_file()]
    return sorted(f.name for f in folders if all((f / f"{table}.json").is_file() for table in REQUIRED))


class Tables:
    """The tables of one version, followed from scenes."""

    def __init__(self, root: Path, folder: Path) -> None:
        """Read every table.

        Raises:
            FormatError: a table that is not a list of rows with tokens, or rows that point nowhere.
        """
        self.root, self.folder = root, folder
        self._rows = {table: self._load(table) for table in (*REQUIRED, *OPTIONAL)}
        #: kinds of boxes by name, in the order of their numbers
        self.categories = sorted(self._text("category", token, "name") for token in self._rows["category"])
        if len(set(self.categories)) != len(self.categories):
            raise FormatError(self._file("category"), "got two categories of one name, expected distinct names")
        #: whether anything is annotated
        self.annotations = bool(self._rows["sample_annotation"])
        #: scene name -> token
        self.scenes = {self._text("scene", token, "name"): token for token in self._rows["scene"]}
        if len(self.scenes) != len(self._rows["scene"]):
            raise FormatError(self._file("scene"), "got two scenes of one name, expected distinct names")
        self._mountings = {token: self._mounting(token) for token in self._rows["calibrated_sensor"]}
        self._recordings: dict[str, dict[str, list[Recording]]] = {token: {} for token in self._rows["scene"]}
        #: sensor name -> sensor, of every sensor that recorded something
        self.sensors: dict[str, Sensor] = {}
        self._boxes: dict[str, dict[tuple[int, str], list[Box]]] = {token: {} for token in self._rows["scene"]}
        self._place()

    def recordings(self, scene: str) -> Mapping[str, list[Recording]]:
        """Return a scene's files by sensor name, in the order of time."""
        return self._recordings[self.scenes[scene]]

    def boxes(self, scene: str) -> Mapping[tuple[int, str], list[Box]]:
        """Return a scene's boxes by (time in ns, sample's token); samples without any have an empty list."""
        return self._boxes[self.scenes[scene]]

    def poses(self, scene: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the car's poses at every recording: int64 ``[pose]``, and quaternion and place, ``[pose, 7]``."""
        tokens = {row.pose for rows in self.recordings(scene).values() for row in rows}
        found = sorted(
            (
                self._time_ns("ego_pose", token),
                token,
                (*self._numbers("ego_pose", token, "rotation", 4), *self._numbers("ego_pose", token, "translation", 3)),
            )
            for token in tokens
        )
        rows = np.array([row for _, _, row in found], np.float64).reshape(-1, 7)
        return np.array([time_ns for time_ns, _, _ in found], np.int64), rows

    def log(self, scene: str) -> Log:
        """Return what is known of the log that a scene was cut from."""
        token = self._text("scene", self.scenes[scene], "log_token")
        maps = []
        for row in self._rows["map"]:
            if token in self._get("map", row, "log_tokens", list):
                path = self._path("map", row)
                maps += [path] if path.is_file() else []
        name, location = (self._text("log", token, key, empty=True) for key in ("logfile", "location"))
        return Log(name=name, location=location, maps=tuple(sorted(maps)))

    def _place(self) -> None:
        """Sort recordings and boxes under their scenes."""
        scene_of = {token: self._text("sample", token, "scene_token") for token in self._rows["sample"]}
        for token, scene in scene_of.items():
            self._row("scene", scene, "sample", token)
            self._boxes[scene][self._time_ns("sample", token), token] = []
        for token, row in self._rows["sample_data"].items():
            sample = self._text("sample_data", token, "sample_token")
            self._row("sample", sample, "sample_data", token)
            mounting = self._text("sample_data", token, "calibrated_sensor_token")
            sensor = self._sensor(self._text("calibrated_sensor", mounting, "sensor_token"))
            self.sensors[sensor.name] = sensor
            size = [row.get(key) if sensor.modality == "camera" else 0 for key in ("height", "width")]
            if not all(isinstance(pixels, int) and 0 <= pixels < 1 << 16 for pixels in size):
                raise self._wrong("sample_data", token, "height and width", size, "pixels of a frame")
            recording = Recording(
                time_ns=self._time_ns("sample_data", token),
                path=self._path("sample_data", token),
                height=size[0] or 0,
                width=size[1] or 0,
                mounting=self._mountings[mounting],
                pose=self._text("sample_data", token, "ego_pose_token"),
            )
            self._recordings[scene_of[sample]].setdefault(sensor.name, []).append(recording)
        self.sensors = dict(sorted(self.sensors.items()))
        for scene, by_sensor in self._recordings.items():
            if not by_sensor:
                raise FormatError(self._file("scene"), f"row {scene!r}: got no sample_data of it, expected some")
            for rows in by_sensor.values():
                rows.sort(key=lambda row: (row.time_ns, row.path))
        for token in self._rows["sample_annotation"]:
            sample = self._text("sample_annotation", token, "sample_token")
            self._row("sample", sample, "sample_annotation", token)
            at = (self._time_ns("sample", sample), sample)
            self._boxes[scene_of[sample]][at].append(self._box(token))
        for by_sample in self._boxes.values():
            for boxes in by_sample.values():
                boxes.sort(key=lambda box: box.instance)

    def _box(self, token: str) -> Box:
        table = "sample_annotation"
        instance = self._text(table, token, "instance_token")
        category = self._text("category", self._text("instance", instance, "category_token"), "name")
        row = self._row(table, token, table, token)
        visibility = str(row.get("visibility_token") or "")
        num_points = [row.get(key, -1) for key in ("num_lidar_pts", "num_radar_pts")]
        if not all(isinstance(number, int) and abs(number) < 1 << 31 for number in num_points):
            raise self._wrong(table, token, "num_lidar_pts and num_radar_pts", num_points, "counts")
        return Box(
            instance=instance,
            category=self.categories.index(category),
            translation_m=self._numbers(table, token, "translation", 3),
            size_m=self._numbers(table, token, "size", 3),
            quaternion=self._numbers(table, token, "rotation", 4),
            num_points=tuple(float(number) for number in num_points),
            visibility=float(visibility) if re.fullmatch(r"[0-9]{1,3}", visibility) else float("nan"),
        )

    def _sensor(self, token: str) -> Sensor:
        channel, modality = (self._text("sensor", token, key) for key in ("channel", "modality"))
        name = re.sub(r"[^a-z0-9]+", "_", channel.lower()).strip("_")
        if modality not in MODALITIES or not name:
            raise self._wrong(
                "sensor", token, "channel and modality", [channel, modality], "one of camera, lidar, radar"
            )
        known = self.sensors.get(name)
        if name in ("ego_pose", "boxes", "base", "map") or (known is not None and known.modality != modality):
            raise self._wrong("sensor", token, "channel", channel, "a name of its own")
        return Sensor(name=name, modality=modality)

    def _mounting(self, token: str) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
        table = "calibrated_sensor"
        rows = self._get(table, token, "camera_intrinsic", list)
        flat = [value for row in rows for value in (row if isinstance(row, list) else [row])]
        if len(flat) not in (0, 9):
            raise self._wrong(table, token, "camera_intrinsic", len(flat), "9 numbers or none")
        intrinsics = tuple(self._number(table, token, "camera_intrinsic", value) for value in flat)
        return self._numbers(table, token, "rotation", 4), self._numbers(table, token, "translation", 3), intrinsics

    def _path(self, table: str, token: str) -> Path:
        name = self._text(table, token, "filename")
        parts = PurePosixPath(name)
        # A hostile set must not read other files of this computer.
        if parts.is_absolute() or ".." in parts.parts or "\\" in name or len(name.encode()) > 255:
            raise self._wrong(table, token, "filename", name, "a path inside the set's folder")
        return self.root / name

    def _time_ns(self, table: str, token: str) -> int:
        time_us = self._get(table, token, "timestamp", int)
        if isinstance(time_us, bool) or not 0 <= time_us < _TIME_MAX_US:
            raise self._wrong(table, token, "timestamp", str(time_us)[:40], "microseconds")
        return time_us * 1000

    def _numbers(self, table: str, token: str, key: str, count: int) -> tuple[float, ...]:
        values = self._get(table, token, key, list)
        if len(values) != count:
            raise self._wrong(table, token, key, f"{len(values)} values", f"{count} numbers")
        return tuple(self._number(table, token, key, value) for value in values)

    def _number(self, table: str, token: str, key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e100:
            raise self._wrong(table, token, key, str(value)[:40], "a number")
        return float(value)

    def _text(self, table: str, token: str, key: str, *, empty: bool = False) -> str:
        value = self._get(table, token, key, str)
        if not value.isprintable() or not (value or empty):
            raise self._wrong(table, token, key, value[:40], "a readable text")
        return value

    def _get(self, table: str, token: str, key: str, kind: type) -> Any:
        value = self._row(table, token, table, token).get(key)
        if not isinstance(value, kind):
            raise self._wrong(table, token, key, type(value).__name__, kind.__name__)
        return value

    def _row(self, table: str, token: str, from_table: str, from_token: str) -> dict[str, Any]:
        if token not in self._rows[table]:
            raise FormatError(
                self._file(from_table), f"row {from_token!r}: points to {table} {token!r}, which is not there"
            )
        return self._rows[table][token]

    def _load(self, table: str) -> dict[str, dict[str, Any]]:
        path = self._file(table)
        if table in OPTIONAL and not path.is_file():
            return {}
        try:
            rows = json.loads(read_bytes(path))
            by_token = {str(row["token"]): dict(row) for row in rows}
        # A table nested without end exhausts the parser's stack.
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise FormatError(path, f"not a list of rows with tokens ({type(error).__name__}: {error})") from error
        if len(by_token) != len(rows):
            raise FormatError(path, f"got {len(rows)} rows with {len(by_token)} tokens, expected one token each")
        return by_token

    def _file(self, table: str) -> Path:
        return self.folder / f"{table}.json"

    def _wrong(self, table: str, token: str, key: str, got: Any, expected: str) -> FormatError:
        return FormatError(self._file(table), f"row {token!r}: {key}: got {got!r}, expected {expected}")
