"""Reads one minute of the comma2k19 data set: raw CAN frames and a DBC become a car's telemetry, beside what the recorder sensed.

A log is a folder with ``processed_log/CAN/raw_can/{t,src,address,data}``: NumPy arrays without extension, one entry per
frame. ``t`` is seconds since the recorder's start, ``src`` the bus (0 is the powertrain; from 128 on, what the recorder
itself sent). Every message keeps its own clock. Frames that the recorder wrote out of order are sorted, and said so in
the log; a clock that starts again is refused.

Where they are there, these are read too, each on its own clock, whose seconds are the same: the recorder's inertial sensors, the
fixes of both satellite receivers, the car's radar and the pose. Places and speeds are kept in the level frame at the first pose
(``geodesy``); the calibration says where that is, and when ``utc`` begins. Not read: uncalibrated inertial samples (the gyroscope's are
the sum of two that are), and the satellites' raw ranges, which float32 cannot hold. Read next: ``toyota_rav4.toml``, the facts.

Source: Schafer et al., "A Commute in Data: The comma2k19 Dataset", arXiv 1812.05752; code and data under MIT.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genba.data.readers.boxes import multiply, unit_quaternion
from genba.data.readers.dbc import CompiledMessage, Dbc
from genba.data.readers.geodesy import earth_from_start, earth_position, in_start
from genba.data.readers.image_files import read_bytes
from genba.data.readers.log_facts import held_to, narrow
from genba.data.readers.npy import load_array
from genba.data.readers.options import provenance
from genba.errors import FormatError, ReaderError
from genba.spec.embodiment import Embodiment, load_embodiment
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.streams import Stream
from genba.spec.units import SECOND_NS

EMBODIMENT_ID = "vehicle/toyota-can@2"
FRAMES = "processed_log/CAN/raw_can"
POWERTRAIN_BUS = 0

#: Channel -> the folders whose values stand side by side in it, numbers in each, and the size in SI of their unit.
INERTIAL: dict[str, tuple[tuple[str, ...], float]] = {
    "accelerometer": (("processed_log/IMU/accelerometer",), 1.0),
    "gyroscope": (("processed_log/IMU/gyro", "processed_log/IMU/gyro_bias"), 1.0),
    "magnetometer": (("processed_log/IMU/magnetometer",), 1e-6),
}
#: Channel -> folder of its fixes: latitude and longitude in degrees, m/s, milliseconds of UTC, altitude in m, bearing in degrees.
RECEIVERS = {"gnss_ublox": "processed_log/GNSS/live_gnss_ublox", "gnss_qcom": "processed_log/GNSS/live_gnss_qcom"}
#: Metres ahead and to the left, relative m/s, two that are never there, the track's address, whether it is new.
RADAR = "processed_log/CAN/radar"
#: Earth-centred places in m, speeds in m/s, quaternions (earth from device) at the times of the camera's frames.
POSE = "global_pose"

#: Tracks of one radar cycle come within 3 ms, cycles every 50 ms.
RADAR_CYCLE_S = 0.02
#: The address of the radar's first track.
RADAR_ADDRESS = 0x210

#: A clock that jumps back by more was started again; less is frames of several buses merged out of order.
REORDER_S = 1.0

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    """The message that fills a channel."""

    message: str
    #: the unit that the DBC must state, for each dimension
    units: tuple[str, ...]
    #: for each dimension of the channel, the signals whose sum it is
    signals: tuple[tuple[str, ...], ...]


#: Channel -> where it comes from.
SOURCES: dict[str, _Source] = {
    # The angle comes as a coarse value and a fraction.
    "steering_angle": _Source(
        message="STEER_ANGLE_SENSOR",
        units=("deg", "deg/s"),
        signals=(("STEER_ANGLE", "STEER_FRACTION"), ("STEER_RATE",)),
    ),
    "wheel_speeds": _Source(
        message="WHEEL_SPEEDS",
        units=("km/h",) * 4,
        signals=(("WHEEL_SPEED_FL",), ("WHEEL_SPEED_FR",), ("WHEEL_SPEED_RL",), ("WHEEL_SPEED_RR",)),
    ),
    "speed": _Source(message="SPEED", units=("km/h",), signals=(("SPEED",),)),
    "motion": _Source(
        message="KINEMATICS",
        units=("deg/s", "m/s^2", "m/s^2"),
        signals=(("YAW_RATE",), ("ACCEL_X",), ("ACCEL_Y",)),
    ),
}

#: The DBC's unit -> its size in SI.
_SI = {"deg": math.pi / 180, "deg/s": math.pi / 180, "km/h": 1 / 3.6, "m/s^2": 1.0}


class Comma2k19Reader:
    """Logs of a 2017 Toyota RAV4 as raw CAN frames."""

    name = "comma2k19"
    description = "a folder of the comma2k19 data set: raw CAN frames of a 2017 Toyota RAV4"
    options: Mapping[str, str] = {"dbc": "the car's message definitions (required)"}

    def recognises(self, path: Path) -> bool:
        """Say whether ``path`` is a log: a folder with the four arrays of raw frames."""
        return all((Path(path) / FRAMES / name).is_file() for name in ("t", "src", "address", "data"))

    def embodiment(self, path: Path, **options: Any) -> Embodiment:
        """Return the registered facts of the car."""
        return load_embodiment(EMBODIMENT_ID)

    def read(self, path: Path, **options: Any) -> Iterator[Episode]:
        """Yield the one episode of a log.

        Args:
            path: the log's folder.
            options: ``dbc`` (required): the car's message definitions. ``owner``, ``site``, ``jurisdiction``,
                ``agreement``: whose it is and where it was recorded; those of the published data set by default.

        Raises:
            ReaderError: an array is missing or does not fit, the DBC is not this car's, or the clock starts again.
        """
        given = provenance(
            self, options, owner="comma.ai", site="California 280", jurisdiction="US-CA", agreement="MIT"
        )
        if options.get("dbc") is None:
            raise ReaderError(f"{path}: raw CAN frames need the car's message definitions; give them with --dbc FILE")
        path, facts, digest = Path(path), self.embodiment(path), hashlib.sha256()
        frames = _read_frames(path, digest)
        dbc = Dbc(options["dbc"])
        streams = {
            channel: _read_channel(frames, dbc.message(source.message), source) for channel, source in SOURCES.items()
        }
        streams |= _read_inertial(path, digest)
        if (path / RADAR / "t").is_file():
            streams["radar"] = _read_radar(path / RADAR, digest)
        placed, calibration = _read_places(path, digest)
        metadata = EpisodeMetadata(
            # Named by its content: the same log imported twice is refused by the vault.
            episode_id=f"{EMBODIMENT_ID}/comma2k19/{digest.hexdigest()[:12]}",
            embodiment_id=facts.id,
            **given,
            policy="human",
            calibration=calibration,
            source=f"comma2k19 {path.name} with {dbc.path.name}",
        )
        yield held_to(facts, Episode(metadata, {**streams, **placed}), path)


@dataclass(frozen=True, slots=True, eq=False)
class _Frames:
    path: Path
    #: int64 ``[frame]``, rising
    times_ns: np.ndarray
    #: int64 ``[frame]``
    bus: np.ndarray
    address: np.ndarray
    #: uint8 ``[frame, byte]``
    data: np.ndarray


def _read_frames(path: Path, digest: Any) -> _Frames:
    arrays = {name: _load(path / FRAMES / name, digest) for name in ("t", "src", "address", "data")}
    t, data = arrays["t"], arrays["data"]
    for name, array in arrays.items():
        if array.shape != t.shape or array.ndim != 1:
            raise FormatError(path / FRAMES / name, f"got {list(array.shape)}, expected [{len(t)}] as in t")
    if not len(t) or data.dtype.kind != "S" or any(arrays[name].dtype.kind not in "iu" for name in ("src", "address")):
        raise FormatError(path / FRAMES, f"got {len(t)} frames of {data.dtype}, expected some, of bytes")
    times_ns, order = _clock(path / FRAMES / "t", t, "frame")
    bytes_ = np.ascontiguousarray(data).view(np.uint8).reshape(len(data), data.dtype.itemsize)
    return _Frames(path, times_ns, arrays["src"][order], arrays["address"][order], bytes_[order])


def _clock(path: Path, t: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Return rising times in ns and the order that makes them rise.

    Raises:
        FormatError: times that are no numbers, or a clock that starts again.
    """
    if t.ndim != 1 or t.dtype.kind not in "iuf" or not (np.abs(t) < 1e9).all():
        raise FormatError(path, f"got {t.dtype}{list(t.shape)}, expected finite times in seconds")
    times_ns = np.rint(t * SECOND_NS).astype(np.int64)
    back_s = float(-np.diff(t).min(initial=0.0))
    if back_s > REORDER_S:
        at = int(np.diff(t).argmin())
        raise FormatError(
            path,
            f"got a clock that jumps back by {back_s:.3f} s after {what} {at}, expected at most {REORDER_S} s; the "
            f"recorder was started again: split the log there",
        )
    order = np.argsort(times_ns, kind="stable")
    if back_s > 0:
        moved = int((order != np.arange(len(order))).sum())
        _LOG.warning("%s: %d of %d %ss were out of order, by up to %.6f s; sorted", path, moved, len(t), what, back_s)
    return times_ns[order], order


def _load(path: Path, digest: Any) -> np.ndarray:
    """Load an array, and add its file to the log's digest.

    Raises:
        FormatError: it is missing, not an array, of Python objects, or cut.
    """
    digest.update(read_bytes(path))
    return load_array(path)


def _read_values(
    folder: Path, width: int, digest: Any, *, times: str = "t", values: str = "value"
) -> tuple[np.ndarray, np.ndarray]:
    """Return a stream's times in ns and its values: float64 ``[sample, width]``."""
    t, found = _load(folder / times, digest), _load(folder / values, digest)
    if found.shape != (*t.shape, width) or found.dtype.kind not in "iuf" or (np.abs(found) > 1e30).any():
        raise FormatError(
            folder / values, f"got {found.dtype}{list(found.shape)}, expected numbers [{len(t)}, {width}] as in {times}"
        )
    times_ns, order = _clock(folder / times, t, "sample")
    return times_ns, found[order].astype(np.float64)


def _read_inertial(path: Path, digest: Any) -> dict[str, Stream]:
    streams = {}
    for channel, (folders, si) in INERTIAL.items():
        if not all((path / folder / "t").is_file() for folder in folders):
            continue
        parts = [_read_values(path / folder, 3, digest) for folder in folders]
        for folder, (times_ns, _) in zip(folders, parts, strict=True):
            if not np.array_equal(times_ns, parts[0][0]):
                raise FormatError(path / folder / "t", f"got times of their own, expected those of {folders[0]}")
        streams[channel] = Stream(parts[0][0], narrow(np.concatenate([values for _, values in parts], 1) * si))
    return streams


def _read_radar(folder: Path, digest: Any) -> Stream:
    times_ns, values = _read_values(folder, 7, digest)
    begins = np.flatnonzero(np.diff(times_ns, prepend=times_ns[:1] - SECOND_NS) > RADAR_CYCLE_S * SECOND_NS)
    splits = np.append(begins, len(times_ns)).astype(np.int64)
    delay_s = (times_ns - np.repeat(times_ns[begins], np.diff(splits))) / SECOND_NS
    ahead, left, speed, _, _, address, is_new = values.T
    rows = np.stack([address - RADAR_ADDRESS, ahead, left, speed, is_new, delay_s], -1)
    return Stream(times_ns[begins], narrow(rows), splits)


def _read_places(path: Path, digest: Any) -> tuple[dict[str, Stream], dict[str, tuple[float, ...]]]:
    """Return the pose and the receivers' fixes in the level frame at the first of them, and the transforms to the earth."""
    poses, fixes = None, {}
    if (path / POSE / "frame_times").is_file():
        read = functools.partial(_read_values, path / POSE, digest=digest, times="frame_times")
        times_ns, positions = read(3, values="frame_positions")
        poses = (times_ns, positions, read(3, values="frame_velocities")[1], read(4, values="frame_orientations")[1])
    for channel, folder in RECEIVERS.items():
        if (path / folder / "t").is_file():
            times_ns, fix = _read_values(path / folder, 6, digest)
            fixes[channel] = (times_ns, earth_position(np.deg2rad(fix[:, 0]), np.deg2rad(fix[:, 1]), fix[:, 4]), fix)
    known = [found[1][0] for found in (poses, *fixes.values()) if found is not None and len(found[1])]
    if not known:
        return {}, {}
    try:
        start = earth_from_start(known[0])
    except ValueError as error:
        raise FormatError(path, f"the first place: {error}") from error
    streams: dict[str, Stream] = {}
    calibration = {"earth_from_start": tuple(start.ravel().tolist())}
    if poses is not None:
        times_ns, positions, velocities, quaternions = poses
        start_from_earth = unit_quaternion(start[:3, :3].T)
        turns = multiply(start_from_earth, quaternions)
        streams["pose"] = Stream(
            times_ns, narrow(np.concatenate([turns, in_start(start, positions), velocities @ start[:3, :3]], 1))
        )
    for channel, (times_ns, positions, fix) in fixes.items():
        if len(fix):
            first_utc_s = calibration.setdefault("utc_start_s", (float(fix[0, 3]) / 1e3,))[0]
            more = np.stack([fix[:, 2], np.deg2rad(fix[:, 5]), fix[:, 3] / 1e3 - first_utc_s], -1)
            streams[channel] = Stream(times_ns, narrow(np.concatenate([in_start(start, positions), more], 1)))
    return streams, calibration


def _read_channel(frames: _Frames, message: CompiledMessage, source: _Source) -> Stream:
    what = f"{message.place}: message {message.name} (0x{message.frame_id:X})"
    of_message = frames.address == message.frame_id
    here = of_message & (frames.bus == POWERTRAIN_BUS)
    if not here.any():
        elsewhere = np.unique(frames.bus[of_message]).tolist()
        found = f"on buses {elsewhere} only" if elsewhere else "on no bus"
        raise ReaderError(
            f"{what}: got its frames {found} in {frames.path}, expected some on bus {POWERTRAIN_BUS}; "
            f"is it this car's DBC?"
        )
    if frames.data.shape[1] < message.length:
        raise ReaderError(
            f"{what}: got frames of {frames.data.shape[1]} bytes in {frames.path}, expected {message.length}; "
            f"is it this car's DBC?"
        )
    data, columns = frames.data[here], []
    for names, unit in zip(source.signals, source.units, strict=True):
        signals = [message.signal(name) for name in names]
        for signal in signals:
            if signal.unit != unit:
                raise ReaderError(f"{what}: signal {signal.name}: got unit {signal.unit!r}, expected {unit!r}")
        columns.append(sum(signal.decode(data) for signal in signals) * _SI[unit])
    return Stream(frames.times_ns[here], np.stack(columns, -1).astype(np.float32))
