"""Reads one log of the Argoverse 2 sensor data set: sweeps, cameras, the car's pose, annotated boxes, calibration.

A log is a folder with ``city_SE3_egovehicle.feather``, ``calibration/``, and, where they were downloaded,
``sensors/lidar/<ns>.feather``, ``sensors/cameras/<name>/<ns>.jpg``, ``annotations.feather`` and ``map/``. Every time is the
capture time in nanoseconds on the log's own clock; a sweep's is its reference time, to which the set has moved its points, and each
point says when after it it was measured. The map is named with its digest in the episode's ``source``, not copied. Read next:
``argoverse2.toml``, the facts of the cars.

Source: Wilson et al., "Argoverse 2: Next Generation Datasets for Self-Driving Perception and Forecasting", NeurIPS 2021
Datasets and Benchmarks; the layout as published with the data, whose licence is CC BY-NC-SA 4.0.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from genba.config import read_toml_text
from genba.data.readers.boxes import places, transform
from genba.data.readers.image_files import read_bytes, read_frames
from genba.data.readers.log_facts import held_to, narrow
from genba.data.readers.options import provenance
from genba.data.readers.point_files import check_reach
from genba.errors import FormatError
from genba.spec.embodiment import Embodiment
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.streams import Stream, ragged
from genba.trust.digest import digest_file

POSES = "city_SE3_egovehicle.feather"
ANNOTATIONS = "annotations.feather"
EXTRINSICS = "calibration/egovehicle_SE3_sensor.feather"
INTRINSICS = "calibration/intrinsics.feather"
LIDAR = "sensors/lidar"
CAMERAS = "sensors/cameras"

#: Kinds of boxes in the order of their numbers.
CATEGORIES = (
    "ANIMAL", "ARTICULATED_BUS", "BICYCLE", "BICYCLIST", "BOLLARD", "BOX_TRUCK", "BUS", "CONSTRUCTION_BARREL",
    "CONSTRUCTION_CONE", "DOG", "LARGE_VEHICLE", "MESSAGE_BOARD_TRAILER", "MOBILE_PEDESTRIAN_CROSSING_SIGN",
    "MOTORCYCLE", "MOTORCYCLIST", "OFFICIAL_SIGNALER", "PEDESTRIAN", "RAILED_VEHICLE", "REGULAR_VEHICLE", "SCHOOL_BUS",
    "SIGN", "STOP_SIGN", "STROLLER", "TRAFFIC_LIGHT_TRAILER", "TRUCK", "TRUCK_CAB", "VEHICULAR_TRAILER", "WHEELCHAIR",
    "WHEELED_DEVICE", "WHEELED_RIDER",
)  # fmt: skip

_POSE = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")
_INTRINSICS = ("fx_px", "fy_px", "cx_px", "cy_px", "k1", "k2", "k3")
_BOX = ("tx_m", "ty_m", "tz_m", "length_m", "width_m", "height_m", "qw", "qx", "qy", "qz", "num_interior_pts")

#: The code of a city in the map's name -> whose law applies there.
_CITIES = {"ATX": "US-TX", "DTW": "US-MI", "MIA": "US-FL", "PAO": "US-CA", "PIT": "US-PA", "WDC": "US-DC"}


class Argoverse2Reader:
    """Sensor logs of Argoverse 2."""

    name = "argoverse2"
    description = "a log of the Argoverse 2 sensor data set: lidar, cameras, pose, annotated boxes"
    options: Mapping[str, str] = {}

    def recognises(self, path: Path) -> bool:
        """Say whether ``path`` is a log: a folder with the car's poses and where its sensors sit."""
        try:
            return all((Path(path) / name).is_file() for name in (POSES, EXTRINSICS))
        except OSError:
            return False

    def embodiment(self, path: Path, **options: Any) -> Embodiment:
        """Return the facts of the data set's cars, the same for every log."""
        text = importlib.resources.files("genba.data.readers").joinpath("argoverse2.toml").read_text(encoding="utf-8")
        return read_toml_text(text, Embodiment, where="argoverse2.toml")

    def read(self, path: Path, **options: Any) -> Iterator[Episode]:
        """Yield the one episode of a log.

        Args:
            path: the log's folder.
            options: ``owner``, ``site``, ``jurisdiction``, ``agreement``: those of the published data set by default.

        Raises:
            FormatError: a file that is damaged or holds what the data set does not allow.
        """
        path, facts = Path(path), self.embodiment(path)
        maps = sorted(file for file in path.glob("map/*") if file.is_file())
        city = next((m.group(1) for file in maps if (m := re.search(r"_{4}([A-Z]{3})_city_", file.name))), "")
        where = {"site": city or "unknown", "jurisdiction": _CITIES.get(city, "US")}
        given = provenance(self, options, owner="Argoverse", agreement="CC-BY-NC-SA-4.0", **where)
        digest = hashlib.sha256()
        streams = {"ego_pose": _read_poses(path / POSES, digest)}
        if (path / ANNOTATIONS).is_file():
            streams["boxes"] = _read_boxes(path / ANNOTATIONS, digest)
        if sweeps := _by_time(path / LIDAR, ".feather"):
            streams["lidar"] = _read_sweeps(sweeps, facts.points[0].range_max_m, digest)
        calibration = _read_calibration(path, digest)
        for camera in facts.camera:
            if frames := _by_time(path / CAMERAS / camera.name, ".jpg"):
                values = read_frames([file for _, file in frames], camera.height, camera.width, digest)
                streams[camera.name] = Stream(np.array([time for time, _ in frames], np.int64), values)
        digests = "".join(f"; {file.relative_to(path).as_posix()} {digest_file(file)}" for file in maps)
        metadata = EpisodeMetadata(
            episode_id=f"{facts.id}/{digest.hexdigest()[:12]}",
            embodiment_id=facts.id,
            **given,
            policy="human",
            calibration=calibration,
            source=f"argoverse2 {path.name}{digests}",
        )
        yield held_to(facts, Episode(metadata, streams), path)


def _read_poses(path: Path, digest: Any) -> Stream:
    table = _columns(path, {"timestamp_ns": np.int64} | dict.fromkeys(_POSE, np.float64), digest)
    if (np.diff(table["timestamp_ns"]) < 0).any():
        at = int(np.diff(table["timestamp_ns"]).argmin())
        raise FormatError(path, f"row {at + 1}: got a time before the row above, expected a clock that never goes back")
    return Stream(table["timestamp_ns"], narrow(np.stack([table[name] for name in _POSE], -1)))


def _read_boxes(path: Path, digest: Any) -> Stream:
    kinds = {"timestamp_ns": np.int64, "track_uuid": np.str_, "category": np.str_} | dict.fromkeys(_BOX, np.float64)
    table = _columns(path, kinds, digest)
    tracks, known = places(table["track_uuid"]), {name: i for i, name in enumerate(CATEGORIES)}
    for row, name in enumerate(table["category"]):
        if name not in known:
            raise FormatError(path, f"row {row}: got category {name!r}, expected one of the data set's 30")
    labels = [[known[name] for name in table["category"]], [tracks[name] for name in table["track_uuid"]]]
    rows = narrow(np.stack([*np.array(labels, np.float64), *(table[name] for name in _BOX)], -1))
    order = np.argsort(table["timestamp_ns"], kind="stable")
    times_ns, firsts = np.unique(table["timestamp_ns"][order], return_index=True)
    return Stream(times_ns, rows[order], np.append(firsts, len(rows)).astype(np.int64))


def _read_sweeps(sweeps: list[tuple[int, Path]], range_max_m: float, digest: Any) -> Stream:
    kinds = dict.fromkeys(("x", "y", "z"), np.float32) | dict.fromkeys(
        ("intensity", "laser_number", "offset_ns"), np.int64
    )
    samples = []
    for _, file in sweeps:
        table = _columns(file, kinds, digest)
        offset_s = table["offset_ns"] / 1e9
        columns = [*(table[name] for name in ("x", "y", "z", "intensity", "laser_number")), offset_s]
        points = narrow(np.stack(columns, -1))
        check_reach(file, points, range_max_m, 0)
        samples.append(points)
    return ragged([time for time, _ in sweeps], samples)


def _read_calibration(path: Path, digest: Any) -> dict[str, tuple[float, ...]]:
    """Return ``base_from_<sensor>`` (4 x 4, row by row) and ``<camera>.intrinsics`` (fx, fy, cx, cy in pixels, k1 to k3)."""
    kinds = {"sensor_name": np.str_} | dict.fromkeys(_POSE, np.float64)
    table, out = _columns(path / EXTRINSICS, kinds, digest), {}
    for i, sensor in enumerate(table["sensor_name"]):
        pose = [float(table[name][i]) for name in _POSE]
        out[f"base_from_{_printable(path / EXTRINSICS, sensor)}"] = transform(pose[:4], pose[4:])
    if (path / INTRINSICS).is_file():
        table = _columns(path / INTRINSICS, {"sensor_name": np.str_} | dict.fromkeys(_INTRINSICS, np.float64), digest)
        for i, sensor in enumerate(table["sensor_name"]):
            name = _printable(path / INTRINSICS, sensor)
            out[f"{name}.intrinsics"] = tuple(float(table[column][i]) for column in _INTRINSICS)
    return out


def _printable(path: Path, name: str) -> str:
    if not name.isprintable():
        raise FormatError(path, f"got sensor {name!r}, expected a readable name")
    return name


def _by_time(folder: Path, suffix: str) -> list[tuple[int, Path]]:
    """Return (time in ns, file) of every file that is named by its time, in the order of time."""
    found = []
    for file in folder.glob(f"*{suffix}"):
        if not file.stem.isdecimal() or len(file.stem) > 18:
            raise FormatError(file, "got a name that is no time in nanoseconds")
        found.append((int(file.stem), file))
    return sorted(found)


def _columns(path: Path, kinds: Mapping[str, type], digest: Any) -> dict[str, Any]:
    """Read the named columns of a feather file: NumPy arrays of their kind, lists where strings."""
    data = read_bytes(path)
    digest.update(data)
    try:
        table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
        missing = [name for name in kinds if name not in table.column_names]
        if missing:
            raise FormatError(path, f"got columns {', '.join(table.column_names)}, expected also {', '.join(missing)}")
        table = table.select(list(kinds))
        # Arrow trusts the offsets that a file states; only this looks at them.
        table.validate(full=True)
        if any(column.null_count for column in table.columns):
            raise FormatError(path, "got empty cells, expected a value in each")
        return {name: _values(table[name], kind) for name, kind in kinds.items()}
    except (pa.ArrowException, OSError, ValueError, TypeError, MemoryError) as error:
        raise FormatError(path, f"not a feather file of the data set ({error})") from error


def _values(column: pa.ChunkedArray, kind: type) -> Any:
    if kind is np.str_:
        return column.cast(pa.string()).to_pylist()
    values = column.to_numpy()
    if values.dtype.kind not in "iuf" or (kind is np.int64 and values.dtype.kind == "f"):
        raise ValueError(f"got {column.type} where numbers of {kind.__name__} are expected")
    return values.astype(kind)
