"""Reads nuScenes-style folders: one episode per scene, samples and sweeps at each sensor's own clock.

A set is a folder with one folder of tables for each version (``v1.0-mini/scene.json`` ...) beside ``samples/``, ``sweeps/`` and
``maps/``. Lidar sweeps are float32 ``x, y, z, intensity, ring``, radar sweeps PCD, camera frames JPEG; each at the time stamp of its
``sample_data`` row (microseconds of capture). The car's pose stands at every one of those moments (``map_from_base``), annotated
boxes at the samples' (two a second), in the map's frame as they are recorded. The map is named with its digest in the
episode's ``source``, not copied. The CAN bus extension and lidar segmentation are not read. Read next: ``nuscenes_tables``.

Source: Caesar et al., "nuScenes: A multimodal dataset for autonomous driving", CVPR 2020; schema as published with the data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from genba.data.readers.boxes import box_dimensions, places, quaternion_dimensions, transform
from genba.data.readers.image_files import read_frames
from genba.data.readers.log_facts import EMBODIMENT_OPTION, given_facts, held_to, named_by_facts, narrow
from genba.data.readers.nuscenes_tables import Sensor, Tables, versions
from genba.data.readers.options import provenance
from genba.data.readers.point_files import check_reach, read_pcd, read_rows
from genba.errors import FormatError, ReaderError, nearest
from genba.spec.embodiment import CameraChannel, Control, Dimension, Embodiment, EntitiesChannel, PointsChannel
from genba.spec.embodiment import TelemetryChannel as Telemetry
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.streams import Stream, ragged
from genba.trust.digest import digest_file

#: Farther than any sensor on a car of such a set sees.
RANGE_MAX_M = 300.0

#: Bytes of a point: five float32; a radar's fields, packed.
LIDAR_BYTES, RADAR_BYTES = 20, 43

LIDAR_ATTRIBUTES = (
    Dimension(name="intensity", unit="1", low=0, high=255),
    Dimension(name="ring", unit="id", low=0, high=255, categories=256),
)

#: The radar's own names; cross sections stay decibels of a square metre, a ratio; the states are the sensor's class numbers.
RADAR_ATTRIBUTES = (
    Dimension(name="dyn_prop", unit="id", low=0, high=7, categories=8),
    Dimension(name="id", unit="count", low=-32768, high=32767),
    Dimension(name="rcs", unit="1", low=-128, high=128),
    *(Dimension(name=name, unit="m/s", low=-200, high=200) for name in ("vx", "vy", "vx_comp", "vy_comp")),
    Dimension(name="is_quality_valid", unit="id", low=0, high=1, categories=2),
    *(
        Dimension(name=name, unit="count", low=-128, high=255)
        for name in ("ambig_state", "x_rms", "y_rms", "invalid_state", "pdh0", "vx_rms", "vy_rms")
    ),
)

_RADAR_FIELDS = ("x", "y", "z", *(dimension.name for dimension in RADAR_ATTRIBUTES))

#: The beginning of a log's location -> whose law applies there.
_JURISDICTIONS = {"singapore": "SG", "boston": "US-MA"}


class NuScenesReader:
    """Scenes of a nuScenes-style folder."""

    name = "nuscenes"
    description = "a nuScenes-style folder: tables in JSON, lidar, radar and camera files"
    options: Mapping[str, str] = {
        "version": "the folder of tables, where there are several, e.g. v1.0-mini",
        "embodiment": EMBODIMENT_OPTION,
    }

    def __init__(self) -> None:
        # Tables are large and every scene needs them: those of the last folder are kept, with the facts that they give.
        self._kept: tuple[Any, Tables] | None = None
        self._facts: tuple[Tables, Embodiment] | None = None

    def recognises(self, path: Path) -> bool:
        """Say whether ``path`` holds at least one version's tables."""
        try:
            return bool(versions(Path(path)))
        except OSError:
            return False

    def embodiment(self, path: Path, **options: Any) -> Embodiment:
        """Return the facts of the cars: those given, else what the tables and the files say of their sensors."""
        if given := given_facts(self.name, options.get("embodiment")):
            return given
        tables = self._tables(Path(path), options.get("version"))
        if self._facts is None or self._facts[0] is not tables:
            self._facts = (tables, _derived(tables))
        return self._facts[1]

    def parts(self, path: Path, **options: Any) -> list[str]:
        """Return the names of the scenes."""
        return sorted(self._tables(Path(path), options.get("version")).scenes)

    def read(self, path: Path, **options: Any) -> Iterator[Episode]:
        """Yield one episode per scene.

        Args:
            path: the folder that holds the tables' folder, ``samples`` and ``sweeps``.
            options: ``part``: only this scene. ``version``: which tables. ``embodiment``: the facts to hold the scenes to.
                ``owner``, ``site``, ``jurisdiction``, ``agreement``: the site is the log's by default.

        Raises:
            FormatError: a table or a file that is damaged or holds what the format does not allow.
            ReaderError: no such version or scene.
        """
        options = dict(options)
        part = options.pop("part", None)
        provenance(self, options)
        facts = self.embodiment(path, **options)
        tables = self._tables(Path(path), options.get("version"))
        if part is not None and part not in tables.scenes:
            raise ReaderError(f"{path}: no scene {part!r}{nearest(part, tables.scenes)}")
        for scene in sorted(tables.scenes) if part is None else [part]:
            metadata, streams = _scene(tables, scene, facts)
            where = {"site": metadata.site, "jurisdiction": metadata.jurisdiction}
            given = provenance(self, options, **where)
            fields = {name: getattr(metadata, name) for name in EpisodeMetadata.__dataclass_fields__} | given
            episode = Episode(EpisodeMetadata(**fields), streams)
            yield held_to(facts, episode, Path(path), given=bool(options.get("embodiment")))

    def _tables(self, path: Path, version: str | None) -> Tables:
        found = versions(path)
        if version is None and len(found) > 1:
            raise ReaderError(f"{path}: got tables of {', '.join(found)}; say which with option version")
        if version is not None and version not in found:
            raise ReaderError(f"{path}: no tables of version {version!r}{nearest(version, found)}")
        if not found:
            raise FormatError(path, "got no folder of tables, expected e.g. v1.0-mini/scene.json")
        folder = path / (version or found[0])
        state = (folder, tuple((f.name, f.stat().st_mtime_ns, f.stat().st_size) for f in sorted(folder.glob("*.json"))))
        if self._kept is None or self._kept[0] != state:
            self._kept = (state, Tables(path, folder))
        return self._kept[1]


def _derived(tables: Tables) -> Embodiment:
    cameras, points, frames = [], [], ["base", "map"]
    for sensor in tables.sensors.values():
        rows = [row for scene in tables.scenes for row in tables.recordings(scene).get(sensor.name, [])]
        times_us = np.sort(np.array([row.time_ns // 1000 for row in rows], np.int64))
        gap_us = float(np.median(np.diff(times_us))) if len(times_us) > 1 else 0.0
        rate_hz = float(max(1, round(1e6 / gap_us))) if gap_us > 0 else 1.0
        frames.append(sensor.name)
        if sensor.modality == "camera":
            sizes = {(row.height, row.width) for row in rows}
            if len(sizes) != 1 or min(min(sizes)) < 8:
                raise FormatError(
                    tables.folder / "sample_data.json",
                    f"{sensor.name}: got frames of sizes {sorted(sizes)}, expected one size",
                )
            height, width = sizes.pop()
            cameras.append(
                CameraChannel(
                    name=sensor.name, rate_hz=rate_hz, frame=sensor.name, history_s=0.1, height=height, width=width
                )
            )
        else:
            is_lidar = sensor.modality == "lidar"
            # A power of two, so that sets of the same car mostly agree.
            num_bytes = max((row.path.stat().st_size for row in rows if row.path.is_file()), default=0)
            room = max(128, num_bytes // (LIDAR_BYTES if is_lidar else RADAR_BYTES))
            points.append(
                PointsChannel(
                    name=sensor.name, rate_hz=rate_hz, frame=sensor.name, history_s=0.1,
                    max_points=1 << (room - 1).bit_length(), range_max_m=RANGE_MAX_M,
                    attribute=LIDAR_ATTRIBUTES if is_lidar else RADAR_ATTRIBUTES,
                )
            )  # fmt: skip
    pose = Telemetry(
        name="ego_pose", rate_hz=100, frame="map", history_s=0.1,
        dimension=(*quaternion_dimensions(), *(Dimension(name=n, unit="m", low=-100_000, high=100_000) for n in "xyz")),
    )  # fmt: skip
    boxes = EntitiesChannel(
        name="boxes", rate_hz=2, frame="map", max_rows=1024,
        dimension=box_dimensions(
            max(2, len(tables.categories)), 100_000.0,
            *(Dimension(name=name, unit="count", low=-1, high=1_000_000) for name in ("num_lidar_points", "num_radar_points")),
            Dimension(name="visibility", unit="count", low=0, high=255),
        ),
    )  # fmt: skip
    kinds = f"; boxes: {', '.join(tables.categories)}" if tables.categories else ""
    facts = Embodiment(
        id="log/nuscenes@1",
        description=f"A car of a nuScenes-style set{kinds}.",
        control=Control(period_s=0.1, deadline_s=0.1),
        telemetry=(pose,),
        camera=tuple(cameras),
        points=tuple(points),
        entities=(boxes,) if tables.annotations else (),
        frames=tuple(frames),
    )
    return named_by_facts("nuscenes", facts)


def _scene(tables: Tables, scene: str, facts: Embodiment) -> tuple[EpisodeMetadata, dict[str, Stream]]:
    digest, streams = hashlib.sha256(), {}
    recordings = tables.recordings(scene)
    calibration: dict[str, tuple[float, ...]] = {}
    for name, rows in recordings.items():
        sensor = tables.sensors[name]
        mountings = {row.mounting for row in rows}
        if len(mountings) > 1:
            where = tables.folder / "calibrated_sensor.json"
            raise FormatError(
                where, f"{scene}: got {len(mountings)} calibrations of {name}, expected one for the scene"
            )
        quaternion, translation_m, intrinsics = mountings.pop()
        calibration[f"base_from_{name}"] = transform(quaternion, translation_m)
        if intrinsics:
            calibration[f"{name}.intrinsics"] = intrinsics
        times_ns = np.array([row.time_ns for row in rows], np.int64)
        paths = [row.path for row in rows]
        if sensor.modality == "camera":
            size = (rows[0].height, rows[0].width)
            streams[name] = Stream(times_ns, read_frames(paths, *size, digest))
        else:
            streams[name] = ragged(times_ns, [_sweep(path, sensor, digest) for path in paths])
    poses = tables.poses(scene)
    streams["ego_pose"] = Stream(poses[0], narrow(poses[1]))
    if tables.annotations:
        streams["boxes"] = _boxes(tables, scene)
    for name in ("ego_pose", "boxes"):
        if name in streams:
            digest.update(streams[name].times_ns.tobytes())
            digest.update(np.ascontiguousarray(streams[name].values).tobytes())
    log = tables.log(scene)
    maps = "".join(f"; {file.relative_to(tables.root).as_posix()} {digest_file(file)}" for file in log.maps)
    jurisdiction = next((law for place, law in _JURISDICTIONS.items() if log.location.startswith(place)), "unknown")
    metadata = EpisodeMetadata(
        episode_id=f"{facts.id}/{digest.hexdigest()[:12]}",
        embodiment_id=facts.id,
        site=log.location or "unknown",
        jurisdiction=jurisdiction,
        policy="human",
        calibration=calibration,
        source=f"nuscenes {tables.folder.name} {scene}, log {log.name}{maps}",
    )
    return metadata, streams


def _sweep(path: Path, sensor: Sensor, digest: Any) -> np.ndarray:
    if sensor.modality == "lidar":
        points, width_bytes = read_rows(path, 5, digest).astype(np.float32), LIDAR_BYTES
    else:
        points, width_bytes = narrow(read_pcd(path, _RADAR_FIELDS, digest)), 0
        # A radar says that it saw nothing by one point of NaN.
        if len(points) and np.isnan(points[0]).any():
            points = points[:0]
    check_reach(path, points, RANGE_MAX_M, width_bytes)
    return points


def _boxes(tables: Tables, scene: str) -> Stream:
    times_ns, samples = [], []
    tracks = places([box.instance for boxes in tables.boxes(scene).values() for box in boxes])
    for (time_ns, _), boxes in sorted(tables.boxes(scene).items()):
        rows = [
            [
                box.category, tracks[box.instance], *box.translation_m,
                box.size_m[1], box.size_m[0], box.size_m[2], *box.quaternion, *box.num_points, box.visibility,
            ]
            for box in boxes
        ]  # fmt: skip
        times_ns.append(time_ns)
        samples.append(narrow(rows) if rows else np.zeros((0, 15), np.float32))
    return ragged(times_ns, samples)
