"""One channel of a message log as it is read: what is learnt of it over the whole log, and its samples per episode.

A log is read twice. The first time a track takes note of times, names, sizes and ranges, in a few numbers per sample; the
facts of its channel follow from that. The second time it fills the arrays of an episode whose size is known. Large
arrays (camera frames) lie in a temporary file rather than in memory. Read next: ``message_log``, which drives both.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from genba.data.readers.message_pieces import DIMENSION_LIMIT, Numbers, Pictures, Piece, Sweeps, Transforms
from genba.errors import ReaderError
from genba.spec.embodiment import (
    ActionDimension,
    CameraChannel,
    Dimension,
    PointsChannel,
    TelemetryChannel,
)
from genba.spec.streams import Stream
from genba.spec.units import SECOND_NS

#: A clock that jumps back by more was started again; less is messages of several senders merged out of order.
REORDER_S = 1.0

#: A capture time further from the log time comes from another clock.
CLOCK_APART_S = 60.0

#: Beyond this float32 cannot tell 0.06 apart; a number that goes further is stored from an origin.
EXACT_BELOW = 1e6

#: Arrays above this lie in a temporary file.
MEMORY_BYTES = 64 << 20

#: How far back a decision looks where nobody says: seconds of telemetry, but no more samples than this; samples of
#: cameras and points.
HISTORY_S, HISTORY_LIMIT, HISTORY_SAMPLES = 0.2, 256, 2

_FLOAT32_LIMIT = 3e38


@dataclass(slots=True)
class _Range:
    """What a number was over a log."""

    unit: str
    low: float = math.inf
    high: float = -math.inf
    first: float = math.nan
    is_exact: bool = True
    num_infinite: int = 0

    def add(self, values: np.ndarray) -> None:
        finite = values[np.abs(values) < _FLOAT32_LIMIT]
        self.num_infinite += int(np.isinf(values).sum())
        if not len(finite):
            return
        if math.isnan(self.first):
            self.first = float(finite[0])
        self.low, self.high = min(self.low, float(finite.min())), max(self.high, float(finite.max()))
        self.is_exact = self.is_exact and bool((finite.astype(np.float32) == finite).all())

    @property
    def origin(self) -> float:
        """What is subtracted before the number is rounded to float32."""
        far = max(abs(self.low), abs(self.high)) > EXACT_BELOW and math.isfinite(self.low)
        return self.first if far and not self.is_exact else 0.0

    def limits(self, origin: float) -> tuple[float, float]:
        """Return limits that hold every value with a tenth to spare, on round numbers."""
        if self.low > self.high:
            return -1.0, 1.0
        low, high = self.low - origin, self.high - origin
        far = round_up(1.1 * max(abs(low), abs(high)))
        return (0.0 if low >= 0 else -far), (0.0 if high <= 0 and low < 0 else far)


@dataclass(slots=True, eq=False)
class Track:
    """One channel: a topic's only one, or one of several (a pair of frames)."""

    topic: str
    schema: str
    sub: str
    kind: type = Numbers
    #: channel name, given once all tracks are known
    name: str = ""
    frames: set[str] = field(default_factory=set)
    ranges: dict[str, _Range] = field(default_factory=dict)
    #: name -> its numbers in every message, None once they changed
    constants: dict[str, tuple[float, ...] | None] = field(default_factory=dict)
    transform: tuple[float, ...] | None = None
    sizes: set[tuple[int, int]] = field(default_factory=set)
    attributes: tuple[str, ...] = ()
    max_points: int = 0
    range_max_m: float = 0.0
    #: why something of it is not held: path -> reason
    unheld: dict[str, str] = field(default_factory=dict)
    #: int64 ``[samples]``, rising, once ``settle`` was called
    times_ns: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    is_stamped: bool = True
    #: columns that are held, once ``settle`` was called
    _held: list[str] = field(default_factory=list)
    _arrivals: list[np.ndarray] = field(default_factory=list)
    _log_ns: list[np.ndarray] = field(default_factory=list)
    _stamp_ns: list[np.ndarray] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The topic and what of it, for people."""
        return f"{self.topic} ({self.sub})" if self.sub else self.topic

    @property
    def is_static(self) -> bool:
        """Whether it is calibration only: a static transform, or numbers that never change."""
        return self.kind is Transforms or (self.kind is Numbers and not self._held)

    @property
    def columns(self) -> dict[str, str]:
        """The dimensions or attributes of its channel by name, and which column each is."""
        return {column.replace("#", "_"): column for column in self._held}

    @property
    def origins(self) -> dict[str, float]:
        """Column -> what its stored values are counted from, where that is not 0."""
        if self.kind is not Numbers:
            return {}
        # A place on the earth in radians: float32 would round it to 0.4 m.
        places = {n for n in ("latitude", "longitude") if self.schema.endswith(("NavSatFix", "LocationFix"))}
        origins = {name: self.ranges[name].first if name in places else self.ranges[name].origin for name in self._held}
        return {name: origin for name, origin in origins.items() if origin and math.isfinite(origin)}

    def survey(self, piece: Piece, arrivals: np.ndarray, log_ns: np.ndarray) -> None:
        """Take note of what a piece holds.

        Args:
            piece: samples of this track.
            arrivals: int64 ``[n]``, which message of its topic each sample comes from, counted over the log.
            log_ns: int64 ``[n]``.

        Raises:
            ReaderError: a camera whose size changes, or clouds whose fields do.
        """
        self._arrivals.append(arrivals)
        self._log_ns.append(log_ns)
        if piece.stamp_ns is None:
            self.is_stamped = False
        else:
            self._stamp_ns.append(piece.stamp_ns)
        self.frames.add(piece.frame)
        self.kind = type(piece.content)
        match piece.content:
            case Numbers(columns, constants):
                self._survey_numbers(columns, constants)
            case Pictures(frames):
                self.sizes |= {(frame.height, frame.width) for frame in frames}
                if len(self.sizes) > 1:
                    shown = " and ".join(f"{width} x {height}" for height, width in sorted(self.sizes))
                    raise ReaderError(f"{self.topic}: got images of {shown} pixels, expected one size; leave it out")
            case Sweeps(sweeps, attributes):
                if self.max_points and attributes != self.attributes:
                    raise ReaderError(
                        f"{self.topic}: got clouds with {attributes} and with {self.attributes}, expected the same; "
                        f"leave it out"
                    )
                self.attributes = attributes
                self._survey_sweeps(sweeps)
            case Transforms(values):
                last = tuple(float(v) for v in values[-1])
                if self.transform not in (None, last) or not (values == values[-1]).all():
                    self.unheld["earlier values"] = "a static transform that changed; the last one counts"
                # Messages of one length come together, so pieces need not come in the order of the log.
                if arrivals[-1] >= max(int(known[-1]) for known in self._arrivals):
                    self.transform = last

    def settle(self, clock: str) -> int:
        """Decide for one clock and put the samples in its order.

        Args:
            clock: ``"auto"``, ``"capture"`` or ``"log"``.

        Returns:
            How many samples were out of order.

        Raises:
            ReaderError: the clock jumps back too far, or the messages carry no capture time and one was asked for.
        """
        self._held = [column for column in self.ranges if self._is_held(column)]
        for column in self._held:
            if self.ranges[column].num_infinite:
                self.unheld[column] = f"{self.ranges[column].num_infinite} infinite values became NaN"
        if len(self.frames) > 1:
            self.unheld["frame_id"] = f"it changes: {', '.join(sorted(self.frames))}"
        # Messages of one length are decoded together: back to the order of the log.
        arrived = np.argsort(np.concatenate(self._arrivals), kind="stable")
        log_ns = np.concatenate(self._log_ns)[arrived]
        if self.is_static:
            self._arrivals, self._log_ns, self._stamp_ns = [], [], []
            return 0
        times_ns = log_ns
        if self.is_stamped and clock != "log":
            stamp_ns = np.concatenate(self._stamp_ns)[arrived]
            apart_s = float(np.abs(stamp_ns - log_ns).max(initial=0)) / SECOND_NS
            is_set = bool((stamp_ns > 0).all())
            if (clock == "capture" and is_set) or (is_set and apart_s <= CLOCK_APART_S):
                times_ns = stamp_ns
            elif clock == "auto":
                why = f"up to {apart_s:.0f} s from the log's" if is_set else "not set"
                self.unheld["capture time"] = f"{why}; the log time is used"
        if times_ns is log_ns and clock == "capture":
            raise ReaderError(f"{self.label}: got messages without a capture time; leave it out or use clock=log")
        self.is_stamped = times_ns is not log_ns
        self._arrivals, self._log_ns, self._stamp_ns = [], [], []
        back_ns = -np.diff(times_ns)
        if len(back_ns) and back_ns.max() > REORDER_S * SECOND_NS:
            at = int(back_ns.argmax())
            raise ReaderError(
                f"{self.label}: got a clock that jumps back by {back_ns[at] / SECOND_NS:.3f} s after sample {at}, "
                f"expected at most {REORDER_S} s; the recorder was started again, or the log was played in a loop"
            )
        order = np.argsort(times_ns, kind="stable")
        self.times_ns = times_ns[order]
        return int((order != np.arange(len(order))).sum())

    @property
    def rate_hz(self) -> float:
        """The nominal rate: of the median gap, to two digits."""
        gaps_ns = np.diff(self.times_ns)
        gap_ns = float(np.median(gaps_ns)) if len(gaps_ns) else 0.0
        if gap_ns <= 0 and len(gaps_ns):
            gap_ns = float(gaps_ns.mean())
        return 1.0 if gap_ns <= 0 else float(f"{SECOND_NS / gap_ns:.2g}")

    def frame(self) -> str:
        """Return the frame of its values, or ``"none"``."""
        return (next(iter(self.frames)) or "none") if len(self.frames) == 1 else "none"

    def channel(self) -> TelemetryChannel | CameraChannel | PointsChannel:
        """Return the facts of its channel."""
        rate_hz, frame = self.rate_hz, self.frame()
        if self.kind is Pictures:
            ((height, width),) = self.sizes
            return CameraChannel(
                name=self.name,
                rate_hz=rate_hz,
                frame=frame,
                history_s=HISTORY_SAMPLES / rate_hz,
                height=height,
                width=width,
            )
        if self.kind is Sweeps:
            return PointsChannel(
                name=self.name,
                rate_hz=rate_hz,
                frame=frame,
                history_s=HISTORY_SAMPLES / rate_hz,
                max_points=max(1, int(round_up(1.1 * self.max_points))),
                range_max_m=round_up(1.1 * self.range_max_m) or 1.0,
                attribute=tuple(self._dimension(name) for name in self.columns),
            )
        return TelemetryChannel(
            name=self.name,
            rate_hz=rate_hz,
            frame=frame,
            history_s=max(min(HISTORY_S, HISTORY_LIMIT / rate_hz), 1 / rate_hz),
            dimension=tuple(self._dimension(name) for name in self.columns),
        )

    def actions(self) -> tuple[ActionDimension, ...]:
        """Return its dimensions as actions that the machine accepts; a safe stop is 0."""
        found = [self._dimension(name) for name in self.columns]
        return tuple(ActionDimension(name=d.name, unit=d.unit, low=d.low, high=d.high, on_fault="hold") for d in found)

    def calibration(self) -> dict[str, tuple[float, ...]]:
        """Return what never changes: a static transform, constants and origins."""
        if self.transform is not None:
            return {self.sub: self.transform}
        constants = {name: value for name, value in self.constants.items() if value is not None}
        out = {f"{self.name}.{name}": value for name, value in constants.items()}
        names = {column: name for name, column in self.columns.items()}
        return out | {f"{self.name}.{names[column]}.origin": (origin,) for column, origin in self.origins.items()}

    def _dimension(self, name: str) -> Dimension:
        column = self.columns[name]
        low, high = self.ranges[column].limits(self.origins.get(column, 0.0))
        return Dimension(name=name, unit=self.ranges[column].unit, low=low, high=high)

    def _is_held(self, name: str) -> bool:
        """Numbers that never change are calibration; attributes that float32 would blur are left out."""
        base = name.rpartition("#")[0]
        if base and self.constants.get(base) is not None:
            return False
        found = self.ranges[name]
        if self.kind is Sweeps and not found.is_exact:
            farthest = max(abs(found.low), abs(found.high))
            blur = np.spacing(np.float32(farthest)) / 2
            if farthest > EXACT_BELOW and blur > 1e-6 * (found.high - found.low):
                self.unheld[name] = f"float32 would round it by up to {blur:g}"
                return False
        return True

    def _survey_numbers(
        self, columns: Mapping[str, tuple[str, np.ndarray]], constants: Mapping[str, np.ndarray]
    ) -> None:
        for name, values in constants.items():
            first = tuple(float(v) for v in values[0])
            same = bool(((values == values[0]) | (np.isnan(values) & np.isnan(values[0]))).all())
            known = self.constants.setdefault(name, first)
            if known is not None and (not same or not np.array_equal(known, first, equal_nan=True)):
                self.constants[name] = None
        for name, unit, values in _all_columns(columns, constants):
            if name not in self.ranges:
                if len(self.ranges) >= 2 * DIMENSION_LIMIT:
                    self.unheld[name] = f"beyond {2 * DIMENSION_LIMIT} dimensions"
                    continue
                self.ranges[name] = _Range(unit)
            self.ranges[name].add(values)

    def _survey_sweeps(self, sweeps: list[np.ndarray]) -> None:
        for points in sweeps:
            self.max_points = max(self.max_points, len(points))
            if len(points):
                self.range_max_m = max(self.range_max_m, float(np.sqrt((points[:, :3] ** 2).sum(1).max())))
            for i, name in enumerate(self.attributes, start=3):
                self.ranges.setdefault(name, _Range("1")).add(points[:, i])


class Collector:
    """Fills one track's samples of one episode."""

    def __init__(self, track: Track, count: int, columns: list[str]) -> None:
        """Make room.

        Args:
            track: what it is of.
            count: how many samples will come.
            columns: which, in the order of the channel's dimensions or attributes.
        """
        self._track, self._columns, self._count, self._at = track, columns, count, 0
        self._times_ns, self._arrivals = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._sweeps: list[np.ndarray] = []
        self._values = np.zeros((0,), np.float32)
        if track.kind is Pictures:
            ((height, width),) = track.sizes
            self._values = room((count, height, width, 3), np.uint8)
        elif track.kind is Numbers:
            self._values = room((count, len(columns)), np.float32)

    def add(self, content: object, chosen: np.ndarray, arrivals: np.ndarray, times_ns: np.ndarray) -> None:
        """Add the chosen samples of a piece.

        Args:
            content: the piece's.
            chosen: int64 ``[n]``, which of its samples.
            arrivals: int64 ``[n]``, which message of its topic each comes from.
            times_ns: int64 ``[n]``.
        """
        to = slice(self._at, self._at + len(chosen))
        self._times_ns[to], self._arrivals[to] = times_ns, arrivals
        match content:
            case Numbers(columns, constants):
                given = {name: values for name, _, values in _all_columns(columns, constants)}
                for i, name in enumerate(self._columns):
                    if name in given:
                        values = given[name][chosen] - self._track.origins.get(name, 0.0)
                        self._values[to, i] = np.where(np.abs(values) < _FLOAT32_LIMIT, values, np.nan)
                    else:
                        self._values[to, i] = np.nan
            case Pictures(frames):
                for at, i in enumerate(chosen, start=self._at):
                    self._values[at] = frames[i].decode()
            case Sweeps(sweeps, attributes):
                keep = [0, 1, 2, *(3 + attributes.index(name) for name in self._columns)]
                for i in chosen:
                    points = sweeps[i][:, keep]
                    points[np.abs(points) >= _FLOAT32_LIMIT] = np.nan
                    self._sweeps.append(points.astype(np.float32))
        self._at += len(chosen)

    def stream(self) -> Stream:
        """Return the samples in the order of their times; those of one time stay as they stand in the log."""
        assert self._at == self._count, "the second reading gives what the first counted"
        order = np.lexsort((self._arrivals, self._times_ns))
        is_sorted = bool((order == np.arange(len(order))).all())
        times_ns = self._times_ns if is_sorted else self._times_ns[order]
        if self._track.kind is not Sweeps:
            return Stream(times_ns, self._values if is_sorted else self._values[order])
        sweeps = [self._sweeps[i] for i in order]
        splits = np.concatenate([[0], np.cumsum([len(sweep) for sweep in sweeps])]).astype(np.int64)
        return Stream(times_ns, np.concatenate(sweeps), splits)


def room(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Return an array of zeros: in memory, or in a temporary file that goes with it where it is large.

    Raises:
        ReaderError: no room for it on the disk.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= MEMORY_BYTES:
        return np.zeros(shape, dtype)
    try:
        with tempfile.TemporaryFile(prefix="genba-") as file:
            file.truncate(size)
            return np.memmap(file, dtype=dtype, mode="r+", shape=shape)
    except OSError as error:
        raise ReaderError(
            f"no room for {size / 1e9:.1f} GB of decoded frames in {tempfile.gettempdir()} ({error}); cut the log with "
            f"length=SECONDS or name other topics"
        ) from error


def round_up(value: float) -> float:
    """Return the least of 1, 2 and 5 times a power of ten that is not below ``value``; 1 for what is as good as 0."""
    if value < 1e-30:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    # 1e-9: a product like 1.1 * 10 / 1.1 must not be taken for more than it is.
    return next((digit * power for digit in (1, 2, 5) if value <= digit * power * (1 + 1e-9)), 10 * power)


def _all_columns(
    columns: Mapping[str, tuple[str, np.ndarray]], constants: Mapping[str, np.ndarray]
) -> list[tuple[str, str, np.ndarray]]:
    """Return columns and the parts of constants (``name#i``, until it is known whether they change)."""
    out = [(name, unit, values) for name, (unit, values) in columns.items()]
    for name, values in constants.items():
        out += [(f"{name}#{i}", "1", values[:, i]) for i in range(values.shape[1])]
    return out
