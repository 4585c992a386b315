"""The texts of KITTI: time stamps, GNSS and inertial samples, labels, calibrations. Read next: ``kitti``.

Matrices keep what they are in their names: ``image_2_from_rectified`` (``P2``, 3 x 4, row by row), ``rectified_from_camera``
(``R0_rect``, 3 x 3), ``camera_from_velodyne`` and ``velodyne_from_imu`` (3 x 4). What a day's files say beyond these stands under
its own name behind the file's, e.g. ``calib_cam_to_cam.D_02``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genba.data.readers.boxes import multiply
from genba.data.readers.image_files import read_bytes
from genba.data.readers.log_facts import narrow
from genba.errors import FormatError
from genba.spec.embodiment import Dimension
from genba.spec.units import SECOND_NS

#: Kinds of boxes in the order of their numbers; a DontCare has no box in space, only its rectangle in the picture.
CATEGORIES = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc", "DontCare")

#: What a label says beyond its box; the rectangle is in pixels of image 2.
LABEL_DIMENSIONS = (
    Dimension(name="truncation", unit="1", low=0, high=1),
    Dimension(name="occlusion", unit="id", low=0, high=3, categories=4),
    Dimension(name="observation_angle", unit="rad", low=-np.pi, high=np.pi),
    *(Dimension(name=name, unit="count", low=-4096, high=4096) for name in ("left", "top", "right", "bottom")),
    Dimension(name="score", unit="1", low=-1000, high=1000),
)

_SPEED = {"unit": "m/s", "low": -100.0, "high": 100.0}
_ACCELERATION = {"unit": "m/s^2", "low": -100.0, "high": 100.0}
_RATE = {"unit": "rad/s", "low": -10.0, "high": 10.0}
_ANGLE = {"unit": "rad", "low": -2 * np.pi, "high": 2 * np.pi}

#: The thirty numbers of an OXTS sample in their order: the set's names, and ours with unit and limits.
OXTS: dict[str, tuple[str, dict[str, Any]]] = {
    # Latitude and longitude in degrees and altitude become a place in the level frame at the start.
    "lat": ("x", {"unit": "m", "low": -100_000.0, "high": 100_000.0}),
    "lon": ("y", {"unit": "m", "low": -100_000.0, "high": 100_000.0}),
    "alt": ("z", {"unit": "m", "low": -10_000.0, "high": 10_000.0}),
    "roll": ("roll", _ANGLE),
    "pitch": ("pitch", _ANGLE),
    "yaw": ("yaw", _ANGLE),
    "vn": ("velocity_north", _SPEED),
    "ve": ("velocity_east", _SPEED),
    "vf": ("velocity_forward", _SPEED),
    "vl": ("velocity_left", _SPEED),
    "vu": ("velocity_up", _SPEED),
    "ax": ("acceleration_x", _ACCELERATION),
    "ay": ("acceleration_y", _ACCELERATION),
    "az": ("acceleration_z", _ACCELERATION),
    "af": ("acceleration_forward", _ACCELERATION),
    "al": ("acceleration_left", _ACCELERATION),
    "au": ("acceleration_up", _ACCELERATION),
    "wx": ("angular_rate_x", _RATE),
    "wy": ("angular_rate_y", _RATE),
    "wz": ("angular_rate_z", _RATE),
    "wf": ("angular_rate_forward", _RATE),
    "wl": ("angular_rate_left", _RATE),
    "wu": ("angular_rate_up", _RATE),
    "posacc": ("position_accuracy", {"unit": "m", "low": 0.0, "high": 1000.0}),
    "velacc": ("velocity_accuracy", {"unit": "m/s", "low": 0.0, "high": 1000.0}),
    "navstat": ("navigation_status", {"unit": "count", "low": -1.0, "high": 255.0}),
    "numsats": ("num_satellites", {"unit": "count", "low": -1.0, "high": 255.0}),
    "posmode": ("position_mode", {"unit": "count", "low": -1.0, "high": 255.0}),
    "velmode": ("velocity_mode", {"unit": "count", "low": -1.0, "high": 255.0}),
    "orimode": ("orientation_mode", {"unit": "count", "low": -1.0, "high": 255.0}),
}

OXTS_DIMENSIONS = tuple(Dimension(name=name, **facts) for name, facts in OXTS.values())

#: A matrix as the set names it -> (as it is kept, numbers).
_MATRICES = {
    **{f"P{i}": (f"image_{i}_from_rectified", 12) for i in range(4)},
    **{f"P_rect_0{i}": (f"image_{i}_from_rectified", 12) for i in range(4)},
    "R0_rect": ("rectified_from_camera", 9),
    "R_rect_00": ("rectified_from_camera", 9),
    "Tr_velo_to_cam": ("camera_from_velodyne", 12),
    "Tr_imu_to_velo": ("velodyne_from_imu", 12),
}

_DAY_FILES = {
    "calib_velo_to_cam": "camera_from_velodyne",
    "calib_imu_to_velo": "velodyne_from_imu",
    "calib_cam_to_cam": "",
}

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?")


def read_times(path: Path, digest: Any) -> np.ndarray:
    """Return the times of a ``timestamps.txt``: int64 ``[line]``, nanoseconds, the local time read as UTC.

    Raises:
        FormatError: naming the line that is no time, or that is before the one above.
    """
    times_ns: list[int] = []
    for number, line in _lines(path, digest):
        match = _TIME.fullmatch(line)
        try:
            if match is None:
                raise ValueError("expected YYYY-MM-DD hh:mm:ss.nnnnnnnnn")
            second = np.datetime64("{}-{}-{}T{}:{}:{}".format(*match.groups()[:6]), "s").astype(np.int64)
        except ValueError as error:
            raise FormatError(path, f"line {number}: got {line[:40]!r}, no time ({error})") from error
        times_ns.append(int(second) * SECOND_NS + int((match.group(7) or "0").ljust(9, "0")))
        if abs(times_ns[-1]) >= 1 << 62 or (len(times_ns) > 1 and times_ns[-1] < times_ns[-2]):
            raise FormatError(
                path, f"line {number}: got a time before the line above, expected times that never decrease"
            )
    return np.array(times_ns, np.int64)


def read_numbers(path: Path, count: int, digest: Any) -> np.ndarray:
    """Return a file's one line of ``count`` numbers: float64.

    Raises:
        FormatError: another count, or something that is no finite number.
    """
    lines = list(_lines(path, digest))
    if len(lines) != 1:
        raise FormatError(path, f"got {len(lines)} lines, expected one of {count} numbers")
    return _numbers(path, 1, lines[0][1].split(), count)


def texts_of_frame(files: Sequence[Path]) -> tuple[Path | None, list[Path]]:
    """Tell labels from calibrations by their first word: a kind of thing, or a matrix's name or number."""
    labels, calibrations = None, []
    for file in files:
        first = next(iter(read_bytes(file).split()), b"").decode("utf-8", "replace")
        if first.endswith(":") or re.fullmatch(r"[-+.\deE]+", first):
            calibrations.append(file)
        else:
            labels = file
    return labels, calibrations


def read_labels(path: Path, digest: Any) -> np.ndarray:
    """Return a frame's labels as rows of boxes in the rectified camera's frame (x right, y down, z ahead): float32.

    Raises:
        FormatError: naming the line that is no label.
    """
    rows = []
    for number, line in _lines(path, digest):
        kind, *words = line.split()
        if kind not in CATEGORIES or len(words) not in (14, 15):
            raise FormatError(
                path,
                f"line {number}: got {kind[:40]!r} and {len(words)} numbers, expected a kind of thing and 14 or 15",
            )
        (truncation, occlusion, alpha, *rectangle, height, width, length, x, y, z, turn, score) = _numbers(
            path, number, [*words, "nan"][:15], 15
        )
        box = [x, y - height / 2, z, length, width, height, *_upright(turn)]
        if kind == "DontCare":
            box, truncation, occlusion, alpha = [np.nan] * 10, np.nan, np.nan, np.nan
        elif truncation < 0:
            # Results instead of labels: -1 says that it was not estimated.
            truncation, occlusion = np.nan, np.nan
        rows.append([CATEGORIES.index(kind), np.nan, *box, truncation, occlusion, alpha, *rectangle, score])
    return narrow(rows) if rows else np.zeros((0, 12 + len(LABEL_DIMENSIONS)), np.float32)


def read_calibration(path: Path, digest: Any) -> dict[str, tuple[float, ...]]:
    """Return a frame's matrices by name; one bare matrix of 12 or 16 numbers is the projection to image 2.

    Raises:
        FormatError: naming the line that is no matrix.
    """
    out: dict[str, tuple[float, ...]] = {}
    for number, line in _lines(path, digest):
        key, _, rest = line.rpartition(":")
        words = rest.split()
        if not key and len(words) in (12, 16):
            out["image_2_from_rectified"] = tuple(_numbers(path, number, words, len(words)).tolist()[:12])
            continue
        if key not in _MATRICES:
            raise FormatError(path, f"line {number}: got matrix {key[:40]!r}, expected one of {', '.join(_MATRICES)}")
        name, count = _MATRICES[key]
        out[name] = tuple(_numbers(path, number, words, count).tolist())
    return out


def calibration_of_day(folder: Path, digest: Any) -> dict[str, tuple[float, ...]]:
    """Return what the three calibration files of a day say, as far as they are there.

    Raises:
        FormatError: naming the line that holds no numbers.
    """
    out: dict[str, tuple[float, ...]] = {}
    for stem, transform in _DAY_FILES.items():
        path, found = folder / f"{stem}.txt", {}
        if not path.is_file():
            continue
        for number, line in _lines(path, digest):
            key, _, rest = line.partition(":")
            # The day of the calibration is the one entry that is no number.
            if key != "calib_time":
                words = rest.split()
                found[key] = _numbers(path, number, words, len(words))
        if transform:
            turn, shift = found.pop("R", np.zeros(0)), found.pop("T", np.zeros(0))
            if (turn.size, shift.size) != (9, 3):
                raise FormatError(path, f"got R of {turn.size} and T of {shift.size} numbers, expected 9 and 3")
            out[transform] = tuple(np.concatenate([turn.reshape(3, 3), shift[:, None]], 1).ravel().tolist())
        for key, values in found.items():
            name, count = _MATRICES.get(key, (f"{stem}.{key}", values.size))
            if values.size != count:
                raise FormatError(path, f"got {values.size} numbers in {key}, expected {count}")
            out[name] = tuple(values.tolist())
    return out


def _upright(turn_rad: float) -> np.ndarray:
    """Return the quaternion of a box turned by ``turn_rad`` about the camera's downward y.

    Unturned, its length is along x, and its up (z) is the camera's -y: a quarter turn about x.
    """
    half = np.sqrt(0.5)
    about_y = np.array([np.cos(turn_rad / 2), 0.0, np.sin(turn_rad / 2), 0.0])
    return multiply(about_y, np.array([half, half, 0.0, 0.0]))


def _lines(path: Path, digest: Any) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line without its ends) of every line that is not empty."""
    data = read_bytes(path)
    digest.update(data)
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), start=1):
        if line.strip():
            yield number, line.strip()


def _numbers(path: Path, line: int, words: Sequence[str], count: int) -> np.ndarray:
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError as error:
        raise FormatError(path, f"line {line}: {error}, expected {count} numbers") from error
    if numbers.size != count or (np.abs(numbers) > 1e30).any():
        raise FormatError(path, f"line {line}: got {numbers.size} numbers, expected {count}, none of them beyond 1e30")
    return numbers
