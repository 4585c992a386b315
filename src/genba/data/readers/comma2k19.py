"""Reads one minute of the comma2k19 data set: raw CAN frames and a DBC become a car's telemetry.

A log is a folder with ``processed_log/CAN/raw_can/{t,src,address,data}``: NumPy arrays without extension, one entry per
frame. ``t`` is seconds since the recorder's start, ``src`` the bus (0 is the powertrain; from 128 on, what the recorder
itself sent). Every message keeps its own clock. Frames that the recorder wrote out of order are sorted, and said so in
the log; a clock that starts again is refused. Read next: ``toyota_rav4.toml``, the facts of the car.

Source: Schafer et al., "A Commute in Data: The comma2k19 Dataset", arXiv 1812.05752; code and data under MIT.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genba.data.readers.dbc import CompiledMessage, Dbc
from genba.data.readers.npy import load_array
from genba.data.readers.options import provenance
from genba.errors import FormatError, ReaderError
from genba.spec.embodiment import Embodiment, load_embodiment
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.streams import Stream
from genba.spec.units import SECOND_NS

EMBODIMENT_ID = "vehicle/toyota-can@1"
FRAMES = "processed_log/CAN/raw_can"
POWERTRAIN_BUS = 0

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
        frames = _read_frames(Path(path))
        dbc = Dbc(options["dbc"])
        streams = {
            channel: _read_channel(frames, dbc.message(source.message), source) for channel, source in SOURCES.items()
        }
        yield Episode(
            EpisodeMetadata(
                # Named by its content: the same log imported twice is refused by the vault.
                episode_id=f"{EMBODIMENT_ID}/comma2k19/{frames.digest[:12]}",
                embodiment_id=load_embodiment(EMBODIMENT_ID).id,
                **given,
                policy="human",
                source=f"comma2k19 {Path(path).name} with {dbc.path.name}",
            ),
            streams,
        )


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
    digest: str


def _read_frames(path: Path) -> _Frames:
    state, arrays = hashlib.sha256(), {}
    for name in ("t", "src", "address", "data"):
        arrays[name] = load_array(path / FRAMES / name)
        state.update((path / FRAMES / name).read_bytes())
    t, data = arrays["t"], arrays["data"]
    for name, array in arrays.items():
        if array.ndim != 1 or array.shape != t.shape or (name != "data" and array.dtype.kind not in "iuf"):
            raise FormatError(
                path / FRAMES / name, f"got {array.dtype}{list(array.shape)}, expected {list(t.shape)} as in t"
            )
    # Beyond 30 years a count of nanoseconds is near its end, and nobody records for so long.
    if not len(t) or not (np.abs(t.astype(np.float64)) < 1e9).all() or data.dtype.kind != "S":
        raise FormatError(
            path / FRAMES, f"got {len(t)} frames of {data.dtype}, expected some, of bytes, with times below 1e9 s"
        )
    t = t.astype(np.float64)
    times_ns = np.rint(t * SECOND_NS).astype(np.int64)
    back_s = float(-np.diff(t).min(initial=0.0))
    if back_s > REORDER_S:
        at = int(np.diff(t).argmin())
        raise ReaderError(
            f"{path / FRAMES / 't'}: got a clock that jumps back by {back_s:.3f} s after frame {at}, expected at most "
            f"{REORDER_S} s; the recorder was started again: split the log there"
        )
    order = np.argsort(times_ns, kind="stable")
    if back_s > 0:
        moved = int((order != np.arange(len(order))).sum())
        _LOG.warning("%s: %d of %d frames were out of order, by up to %.6f s; sorted", path, moved, len(order), back_s)
    bytes_ = np.ascontiguousarray(data).view(np.uint8).reshape(len(data), data.dtype.itemsize)
    return _Frames(
        path, times_ns[order], arrays["src"][order], arrays["address"][order], bytes_[order], state.hexdigest()
    )


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
