"""What one pass over an episode notes down, so that the checks are small functions of small numbers.

Per stream: its clock, and for each dimension range, repetitions, what is missing and what stands at the extremes. Memory
is bounded by a piece of a stream, whatever the episode's length. Nothing is judged here. Read next: ``series``, the same
signals on one coarse grid; ``clocks`` and ``sensors``, which judge.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from genba.data.quality.marks import Marks, hash_samples, take_marks
from genba.data.quality.runs import Run, Runs, changes
from genba.data.quality.samples import StreamView
from genba.spec.streams import Stream

#: How many of the longest intervals are kept, and samples over which crowding is seen.
NUM_LONGEST, CROWD = 32, 10

#: Intervals that medians and percentiles are taken from, evenly over the stream.
NUM_INTERVALS = 100_000

#: Times looked at together.
_PIECE = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockMeasure:
    """A stream's clock."""

    num_samples: int
    first_ns: int
    last_ns: int
    #: median and 99th percentile of the intervals, and how long ten of them take where the clock runs (90th percentile)
    median_ns: float
    p99_ns: float
    crowd_ns: float
    #: the longest intervals, longest first
    longest: tuple[tuple[int, int], ...]
    #: where ten samples took the least time
    crowded: tuple[int, int]
    crowded_ns: int
    #: the longest run of one time stamp
    still: Run

    @property
    def span_ns(self) -> int:
        """Time from the first to the last sample."""
        return self.last_ns - self.first_ns


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnMeasure:
    """One dimension's values."""

    name: str
    num_rows: int
    num_missing: int
    missing: Run
    low: float
    high: float
    mean: float
    std: float
    #: share of samples that equal the one before, and share of changes that turn back: near 0 where smooth, 2/3 in noise
    repeated: float
    reversed: float
    #: the longest repetitions, and the value of the longest
    frozen: Run
    next_frozen: Run
    frozen_value: float
    #: change into and out of the longest repetition, and the greatest usual change (99.9th percentile) outside
    frozen_jump: float
    usual_step: float
    #: samples at the lowest and highest value, the longest run there, and samples just beside it: within a tenth of the
    #: usual change, or at the next value of a coarse sensor
    at_low: int
    at_high: int
    low_run: Run
    high_run: Run
    near_low: int
    near_high: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamMeasure:
    """One stream."""

    name: str
    clock: ClockMeasure
    columns: tuple[ColumnMeasure, ...]
    #: longest and second-longest run of identical samples
    frozen: Run
    next_frozen: Run
    #: digest of the values and of the times since the first
    digest: str
    #: by which a copy of a part is known again
    marks: Marks


def measure_clock(times_ns: np.ndarray) -> ClockMeasure:
    """Measure a clock of at least one sample, int64 ``[samples]``."""
    total, still = len(times_ns), Runs()
    at, spread = _evenly(total - 1), _evenly(total - CROWD)
    intervals = (times_ns[at + 1] - times_ns[at]).astype(np.float64) if total > 1 else np.zeros(1)
    crowds = (times_ns[spread + CROWD] - times_ns[spread]) if total > CROWD else np.zeros(1)
    longest: list[tuple[int, int, int]] = []
    crowded, crowded_ns = (int(times_ns[0]), int(times_ns[0])), -1
    for start in range(0, total, _PIECE):
        piece = times_ns[start : start + _PIECE + 1]
        gaps = np.diff(piece)
        longest += [(int(gaps[i]), int(piece[i]), int(piece[i + 1])) for i in np.argsort(gaps)[-NUM_LONGEST:]]
        longest = sorted(longest, reverse=True)[:NUM_LONGEST]
        body = times_ns[start : start + _PIECE]
        begins = changes(body, times_ns[start - 1] if start else None)
        still.update(begins, np.ones(len(body), bool), body)
        lap = times_ns[start : start + _PIECE + CROWD]
        if len(lap) > CROWD:
            spans = lap[CROWD:] - lap[:-CROWD]
            i = int(spans.argmin())
            if crowded_ns < 0 or spans[i] < crowded_ns:
                crowded, crowded_ns = (int(lap[i]), int(lap[i + CROWD])), int(spans[i])
    return ClockMeasure(
        num_samples=total,
        first_ns=int(times_ns[0]),
        last_ns=int(times_ns[-1]),
        median_ns=float(np.median(intervals)),
        # The lower one: of fewer than a hundred the greatest, which may be a gap, is left out.
        p99_ns=float(np.quantile(intervals, 0.99, method="lower")),
        crowd_ns=float(np.quantile(crowds, 0.9)),
        longest=tuple((a, b) for _, a, b in longest),
        crowded=crowded,
        crowded_ns=max(crowded_ns, 0),
        still=still.finish().longest,
    )


def _evenly(count: int) -> np.ndarray:
    """Return at most ``NUM_INTERVALS`` of the numbers below ``count``, evenly."""
    if count <= NUM_INTERVALS:
        return np.arange(max(count, 0))
    return np.linspace(0, count - 1, NUM_INTERVALS).astype(np.int64)


def measure_stream(view: StreamView) -> StreamMeasure:
    """Measure a stream of at least one sample.

    Raises:
        CorruptShardError: bytes that do not decode.
    """
    columns = [_Column(name) for name in view.dimensions]
    # A state for each, so that the digest does not depend on where pieces end.
    clock, rows, values = (hashlib.blake2b(digest_size=16) for _ in range(3))
    frozen, samples = Runs(), []
    first_ns, last = int(view.times_ns[0]), None
    for _, part in view.pieces():
        clock.update((part.times_ns - first_ns).tobytes())
        if part.splits is not None:
            rows.update(np.diff(part.splits).tobytes())
        values.update(np.ascontiguousarray(part.values).tobytes())
        samples.append(hash_samples(part))
        begins = _differs(part, last)
        frozen.update(begins, np.ones(len(part), bool), part.times_ns)
        last = np.array(part.sample(-1))
        for i, column in enumerate(columns):
            column.update(part.values[:, i], _row_times(part))
    for _, part in view.pieces() if columns else ():
        for i, column in enumerate(columns):
            column.update_extremes(part.values[:, i], _row_times(part))
    frozen.finish()
    return StreamMeasure(
        name=view.name,
        clock=measure_clock(view.times_ns),
        columns=tuple(column.finish() for column in columns),
        frozen=frozen.longest,
        next_frozen=frozen.second,
        digest="-".join(state.hexdigest() for state in (clock, rows, values)),
        marks=take_marks(samples, view.times_ns),
    )


class _Column:
    """Reduces one dimension, piece by piece; ``update`` all pieces first, then ``update_extremes``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows = self.missing_rows = self.repeats = self.turns = self.moves = 0
        self.total = self.squares = 0.0
        # Sums are taken from the first value on: a place far from the origin would drown its own spread.
        self.origin = np.nan
        self.low, self.high, self.least_step = np.inf, -np.inf, np.inf
        self.missing, self.equal = Runs(), Runs()
        self.last: np.float64 | None = None
        self.last_missing: np.bool_ | None = None
        self.steps: list[np.ndarray] = []
        self.counts = [0, 0, 0, 0]
        self.ends = (Runs(), Runs())
        self.last_ends: list[np.bool_ | None] = [None, None]
        self.frozen_value, self.jump = np.nan, 0.0
        self._before = np.nan

    def update(self, column: np.ndarray, times_ns: np.ndarray) -> None:
        values = column.astype(np.float64)
        known = np.isfinite(values)
        self.rows += len(values)
        self.missing_rows += int((~known).sum())
        self.missing.update(changes(~known, self.last_missing), ~known, times_ns)
        begins = changes(values, self.last)
        self.equal.update(begins, known, times_ns)
        self.repeats += int((~begins).sum())
        if len(values):
            self.last, self.last_missing = values[-1], ~known[-1]
        kept = values[known]
        if not len(kept):
            return
        self.low, self.high = min(self.low, float(kept.min())), max(self.high, float(kept.max()))
        self.origin = float(kept[0]) if np.isnan(self.origin) else self.origin
        self.total += float((kept - self.origin).sum())
        self.squares += float(((kept - self.origin) ** 2).sum())
        moved = np.diff(kept)
        moved = moved[moved != 0]
        self.moves += max(len(moved) - 1, 0)
        self.turns += int((moved[1:] * moved[:-1] < 0).sum())
        moved = np.abs(moved)
        self.least_step = min(self.least_step, float(moved.min(initial=np.inf)))
        self.steps.append(np.sort(moved)[:: max(1, len(moved) // 10_000)])

    def update_extremes(self, column: np.ndarray, times_ns: np.ndarray) -> None:
        values = column.astype(np.float64)
        steps = np.concatenate(self.steps) if self.steps else np.zeros(0)
        usual = 0.1 * float(np.median(steps)) if len(steps) else 0.0
        coarse = 1.5 * self.least_step if np.isfinite(self.least_step) else 0.0
        beside = max(min(usual, 0.05 * (self.high - self.low)), coarse)
        for i, at in enumerate((values == self.low, values == self.high)):
            self.counts[i] += int(at.sum())
            self.ends[i].update(changes(at, self.last_ends[i]), at, times_ns)
            if len(at):
                self.last_ends[i] = at[-1]
        self.counts[2] += int(((values > self.low) & (values <= self.low + beside)).sum())
        self.counts[3] += int(((values < self.high) & (values >= self.high - beside)).sum())
        run = self.equal.finish().longest
        inside = np.flatnonzero((times_ns >= run.start_ns) & (times_ns <= run.end_ns))
        if run.length > 1 and len(inside):
            self.frozen_value = float(values[inside[-1]])
            around = values[max(int(inside[0]) - 1, 0) : int(inside[-1]) + 2]
            self.jump = max(self.jump, float(np.nanmax(np.abs(around - self.frozen_value), initial=0.0)))
            if inside[0] == 0 and np.isfinite(self._before):
                self.jump = max(self.jump, abs(float(self._before) - self.frozen_value))
        self._before = values[-1] if len(values) else self._before

    def finish(self) -> ColumnMeasure:
        known = self.rows - self.missing_rows
        mean = self.total / known if known else np.nan
        steps = np.concatenate(self.steps) if self.steps else np.zeros(0)
        ends = [runs.finish().longest for runs in self.ends]
        return ColumnMeasure(
            name=self.name,
            num_rows=self.rows,
            num_missing=self.missing_rows,
            missing=self.missing.finish().longest,
            low=self.low,
            high=self.high,
            mean=mean + self.origin,
            std=float(np.sqrt(max(self.squares / known - mean**2, 0.0))) if known else np.nan,
            repeated=self.repeats / max(self.rows - 1, 1),
            reversed=self.turns / max(self.moves, 1),
            frozen=self.equal.longest,
            next_frozen=self.equal.second,
            frozen_value=self.frozen_value,
            frozen_jump=self.jump,
            usual_step=float(np.quantile(steps, 0.99)) if len(steps) else 0.0,
            at_low=self.counts[0],
            at_high=self.counts[1],
            low_run=ends[0],
            high_run=ends[1],
            near_low=self.counts[2],
            near_high=self.counts[3],
        )


def _row_times(part: Stream) -> np.ndarray:
    return part.times_ns if part.splits is None else np.repeat(part.times_ns, np.diff(part.splits))


def _differs(part: Stream, last: np.ndarray | None) -> np.ndarray:
    """Say for each sample whether it differs from the one before: bool ``[samples]``; NaN equals NaN."""
    out = np.ones(len(part), bool)
    if part.splits is None and len(part) > 1:
        flat = np.ascontiguousarray(part.values).reshape(len(part), -1)
        # Compared as bits, so that NaN equals itself.
        bits = flat.view(np.uint32) if flat.dtype == np.float32 else flat
        out[1:] = (bits[1:] != bits[:-1]).any(1)
    else:
        for i in range(1, len(part)):
            out[i] = not _same(part.sample(i), part.sample(i - 1))
    if last is not None:
        out[0] = not _same(part.sample(0), last)
    return out


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))
