"""Reads KITTI: drives as the car recorded them, and single annotated frames of the object benchmark.

A **drive** is a folder with ``image_00`` to ``image_03``, ``velodyne_points`` and ``oxts``, each with ``data/`` and a
``timestamps.txt``: every stream has the capture times that stand there, to the nanosecond, in the recorder's local time read as
UTC. A line without a file (the set has some) is left out and said so in the log. Calibration is taken from the files of the
day, beside the drive.

**Frames** lie in ``velodyne``, ``image_2``, ``image_3``, ``label_2`` and ``calib``, or all in one folder, and share a number. Each is an
episode of its own, at time 0: the benchmark states no time. Tracklets of drives (XML) are not read. Read next: ``kitti_text``, the
labels and calibrations.

Source: Geiger et al., "Vision meets Robotics: The KITTI Dataset", IJRR 32 (2013); Geiger et al., "Are we ready for
Autonomous Driving? The KITTI Vision Benchmark Suite", CVPR 2012; the development kits' readme files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genba.data.readers.boxes import box_dimensions
from genba.data.readers.geodesy import earth_from_start, earth_position, in_start
from genba.data.readers.image_files import image_size, read_bytes, read_frames
from genba.data.readers.kitti_text import (
    CATEGORIES,
    LABEL_DIMENSIONS,
    OXTS,
    OXTS_DIMENSIONS,
    calibration_of_day,
    read_calibration,
    read_labels,
    read_numbers,
    read_times,
    texts_of_frame,
)
from genba.data.readers.log_facts import EMBODIMENT_OPTION, given_facts, held_to, named_by_facts, narrow
from genba.data.readers.options import provenance
from genba.data.readers.point_files import check_reach, read_rows
from genba.errors import FormatError, ReaderError
from genba.spec.embodiment import CameraChannel, Control, Dimension, Embodiment, EntitiesChannel, PointsChannel
from genba.spec.embodiment import TelemetryChannel as Telemetry
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.streams import Stream, ragged

#: Folders of a drive with pictures, and of the benchmark, and what their channels are called.
DRIVE_CAMERAS = ("image_00", "image_01", "image_02", "image_03")
FRAME_CAMERAS = ("image_2", "image_3")
VELODYNE = "velodyne_points"

#: Velodyne HDL-64E: 120 m, 1.333 million returns a second, ten turns a second.
RANGE_MAX_M = 120.0
MAX_POINTS = 150_000

_LOG = logging.getLogger(__name__)


class KittiReader:
    """Drives and annotated frames of KITTI."""

    name = "kitti"
    description = "a drive of KITTI's raw data, or a folder of frames of its object benchmark"
    options: Mapping[str, str] = {"embodiment": EMBODIMENT_OPTION}

    def __init__(self) -> None:
        # Every frame needs the facts of the folder: those of the last one are kept, with its frames.
        self._kept: tuple[Any, dict[str, _Frame], Embodiment] | None = None

    def recognises(self, path: Path) -> bool:
        """Say whether ``path`` is a drive (streams with ``timestamps.txt``) or holds frames of points."""
        try:
            return _is_drive(Path(path)) or bool(_frames(Path(path), at_most=1))
        except OSError:
            return False

    def embodiment(self, path: Path, **options: Any) -> Embodiment:
        """Return the facts of the car: those given, else what the log has of its sensors, with its pictures' sizes."""
        return given_facts(self.name, options.get("embodiment")) or self._folder(Path(path))[1]

    def parts(self, path: Path, **options: Any) -> list[str]:
        """Return the numbers of the frames; one empty name for a drive."""
        return [""] if _is_drive(Path(path)) else list(self._folder(Path(path))[0])

    def read(self, path: Path, **options: Any) -> Iterator[Episode]:
        """Yield a drive's one episode, or one per frame.

        Args:
            path: the drive's folder, or the one that holds the frames or their folders.
            options: ``part``: only this frame. ``embodiment``: the facts to hold the log to. ``owner``, ``site``,
                ``jurisdiction``, ``agreement``: those of the published data set by default.

        Raises:
            FormatError: a file that is damaged, or whose content the data set does not allow.
        """
        path, options = Path(path), dict(options)
        part = options.pop("part", None) or None
        given = provenance(
            self, options, owner="KIT and TTI-C", site="Karlsruhe", jurisdiction="DE", agreement="CC-BY-NC-SA-3.0"
        )
        facts = self.embodiment(path, **options)
        if _is_drive(path):
            made = iter([self._drive(path, facts)])
        else:
            frames = self._folder(path)[0]
            if part is not None and part not in frames:
                raise ReaderError(f"{path}: no frame {part!r}")
            made = (self._frame(path, facts, frame) for frame in (frames.values() if part is None else [frames[part]]))
        for metadata, streams in made:
            episode = Episode(dataclasses.replace(metadata, **given), streams)
            yield held_to(facts, episode, path, given=bool(options.get("embodiment")))

    def _folder(self, path: Path) -> tuple[dict[str, _Frame], Embodiment]:
        if _is_drive(path):
            return {}, self._derived(path, [])
        folders = [f for f in (path, *(path / name for name in ("velodyne", *FRAME_CAMERAS))) if f.is_dir()]
        state = [(folder, folder.stat().st_mtime_ns) for folder in folders]
        if self._kept is None or self._kept[0] != state:
            frames = _frames(path)
            self._kept = (state, {frame.name: frame for frame in frames}, self._derived(path, frames))
        return self._kept[1:]

    def _derived(self, path: Path, frames: list[_Frame]) -> Embodiment:
        if _is_drive(path):
            names = [name for name in DRIVE_CAMERAS if (path / name / "timestamps.txt").is_file()]
            sizes = {name: {image_size(f)} for name in names if (f := next(_files(path / name, ".png"), None))}
            has_points, has_boxes = (path / VELODYNE / "timestamps.txt").is_file(), False
            has_oxts = (path / "oxts" / "timestamps.txt").is_file()
        else:
            sizes = {}
            for camera in FRAME_CAMERAS:
                if found := {image_size(frame.images[camera]) for frame in frames if camera in frame.images}:
                    sizes[camera] = found
            has_points, has_boxes, has_oxts = True, True, False
        cameras = [
            CameraChannel(name=_channel(name, size, several), rate_hz=10, frame=name, history_s=0.1, height=size[0], width=size[1])
            for name, several in sizes.items()
            for size in sorted(several)
        ]  # fmt: skip
        reflectance = Dimension(name="intensity", unit="1", low=0, high=1)
        points = PointsChannel(
            name="velodyne", rate_hz=10, frame="velodyne", history_s=0.1, max_points=MAX_POINTS,
            range_max_m=RANGE_MAX_M, attribute=(reflectance,),
        )  # fmt: skip
        boxes = EntitiesChannel(
            name="boxes", rate_hz=0, frame="rectified", max_rows=256,
            dimension=box_dimensions(len(CATEGORIES), 200.0, *LABEL_DIMENSIONS),
        )  # fmt: skip
        pose = Telemetry(name="oxts", rate_hz=10, frame="start", history_s=0.5, dimension=OXTS_DIMENSIONS)
        facts = Embodiment(
            id="log/kitti@1",
            description="The car of KITTI as this log has it; boxes: " + ", ".join(CATEGORIES) + ".",
            control=Control(period_s=0.1, deadline_s=0.1),
            telemetry=(pose,) if has_oxts else (),
            camera=tuple(cameras),
            points=(points,) if has_points else (),
            entities=(boxes,) if has_boxes else (),
            frames=("start", "velodyne", "rectified", *sizes),
        )
        return named_by_facts("kitti", facts)

    def _drive(self, path: Path, facts: Embodiment) -> tuple[EpisodeMetadata, dict[str, Stream]]:
        digest, streams = hashlib.sha256(), {}
        calibration = calibration_of_day(path.parent, digest)
        if (path / "oxts" / "timestamps.txt").is_file():
            files, times_ns = _timed(path / "oxts", (".txt",), digest)
            rows = np.stack([read_numbers(file, len(OXTS), digest) for file in files])
            place_m = earth_position(np.deg2rad(rows[:, 0]), np.deg2rad(rows[:, 1]), rows[:, 2])
            try:
                start = earth_from_start(place_m[0])
            except ValueError as error:
                raise FormatError(files[0], str(error)) from error
            calibration["earth_from_start"] = tuple(start.ravel().tolist())
            streams["oxts"] = Stream(times_ns, narrow(np.concatenate([in_start(start, place_m), rows[:, 3:]], 1)))
        if (path / VELODYNE / "timestamps.txt").is_file():
            # Synchronised drives hold sweeps as float32, the others as text.
            files, times_ns = _timed(path / VELODYNE, (".bin", ".txt"), digest)
            streams["velodyne"] = ragged(times_ns, [_sweep(file, digest) for file in files])
        for camera in facts.camera:
            if (path / camera.name / "timestamps.txt").is_file():
                files, times_ns = _timed(path / camera.name, (".png",), digest)
                streams[camera.name] = Stream(times_ns, read_frames(files, camera.height, camera.width, digest))
        episode_id = f"{facts.id}/{digest.hexdigest()[:12]}"
        return EpisodeMetadata(
            episode_id=episode_id,
            embodiment_id=facts.id,
            policy="human",
            calibration=calibration,
            source=f"kitti drive {path.name}",
        ), streams

    def _frame(self, path: Path, facts: Embodiment, frame: _Frame) -> tuple[EpisodeMetadata, dict[str, Stream]]:
        digest, at = hashlib.sha256(), np.zeros(1, np.int64)
        streams = {"velodyne": ragged(at, [_sweep(frame.points, digest)])}
        labels, calibrations = texts_of_frame(frame.texts)
        if labels is not None:
            streams["boxes"] = ragged(at, [read_labels(labels, digest)])
        calibration: dict[str, tuple[float, ...]] = {}
        for file in calibrations:
            calibration |= read_calibration(file, digest)
        sizes = {camera: image_size(file) for camera, file in frame.images.items()}
        for camera in facts.camera:
            for name, size in sizes.items():
                if camera.name in (name, _channel(name, size, {size, (0, 0)})) and size == (
                    camera.height,
                    camera.width,
                ):
                    streams[camera.name] = Stream(at, read_frames([frame.images[name]], *size, digest))
                    sizes.pop(name)
                    break
        for name, size in sizes.items():
            raise ReaderError(
                f"{frame.images[name]}: got {size[0]} x {size[1]} pixels, for which {facts.id} has no camera"
            )
        episode_id = f"{facts.id}/{digest.hexdigest()[:12]}"
        return EpisodeMetadata(
            episode_id=episode_id,
            embodiment_id=facts.id,
            policy="human",
            calibration=calibration,
            source=f"kitti frame {frame.name} of {path.name}",
        ), streams


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    #: six digits
    name: str
    points: Path
    #: camera -> file
    images: Mapping[str, Path]
    #: labels and calibrations
    texts: tuple[Path, ...]


def _frames(path: Path, at_most: int = 0) -> list[_Frame]:
    """Return the frames below ``path`` by their numbers; of a flat folder only those with a picture or a text beside."""
    nested = (path / "velodyne").is_dir()
    out = []
    for points in _files(path / "velodyne" if nested else path, ".bin", nested=False):
        if len(points.stem) != 6:
            continue
        if nested:
            images = {camera: path / camera / f"{points.stem}.png" for camera in FRAME_CAMERAS}
            texts = [path / folder / f"{points.stem}.txt" for folder in ("label_2", "calib")]
        else:
            images, texts = {"image_2": points.with_suffix(".png")}, [points.with_suffix(".txt")]
        there = {camera: file for camera, file in images.items() if file.is_file()}
        found = tuple(file for file in texts if file.is_file())
        if there or found:
            out.append(_Frame(points.stem, points, there, found))
        if at_most and len(out) >= at_most:
            break
    return out


def _is_drive(path: Path) -> bool:
    return any((path / name / "timestamps.txt").is_file() for name in (*DRIVE_CAMERAS, VELODYNE, "oxts"))


def _channel(camera: str, size: tuple[int, int], several: set[tuple[int, int]]) -> str:
    """Return a camera's channel; where its pictures have several sizes (as the benchmark's do), one for each."""
    return camera if len(several) == 1 else f"{camera}_{size[0]}x{size[1]}"


def _files(folder: Path, *suffixes: str, nested: bool = True) -> Iterator[Path]:
    """Yield the files of a stream that are named by a number."""
    folder = folder / "data" if nested else folder
    if folder.is_dir():
        yield from (
            f for f in sorted(folder.iterdir()) if f.suffix in suffixes and f.stem.isdecimal() and len(f.stem) < 19
        )


def _timed(folder: Path, suffixes: tuple[str, ...], digest: Any) -> tuple[list[Path], np.ndarray]:
    """Return a stream's files and their times: file ``n`` has line ``n`` of ``timestamps.txt``."""
    times_ns = read_times(folder / "timestamps.txt", digest)
    files = list(_files(folder, *suffixes))
    numbers = np.array([int(file.stem) for file in files], np.int64)
    if not files or numbers[-1] >= len(times_ns):
        last = files[-1] if files else folder / "data"
        raise FormatError(last, f"got {len(files)} files, expected some, each with one of {len(times_ns)} time stamps")
    if len(files) < len(times_ns):
        _LOG.warning(
            "%s: %d of %d time stamps have no file; left out", folder, len(times_ns) - len(files), len(times_ns)
        )
    return files, times_ns[numbers]


def _sweep(path: Path, digest: Any) -> np.ndarray:
    if path.suffix == ".bin":
        points = read_rows(path, 4, digest).astype(np.float32)
        check_reach(path, points, RANGE_MAX_M, 16)
        return points
    data = read_bytes(path)
    digest.update(data)
    try:
        points = narrow(np.array(data.split(), np.float64).reshape(-1, 4))
    except ValueError as error:
        raise FormatError(path, f"not four numbers for each point ({error})") from error
    check_reach(path, points, RANGE_MAX_M, 0)
    return points
