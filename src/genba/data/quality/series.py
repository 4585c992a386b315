"""An episode's signals on one coarse grid: what comparing streams, units and episodes needs, and no more.

A telemetry dimension keeps its mean over each step; a point cloud its count, centre and mean range; a picture the grey of
sixteen fields; a set of rows its count and means. Empty steps are filled from their neighbours. Read next: ``alignment``,
``units`` and ``duplicates``, which compare columns of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genba.data.quality.samples import EpisodeView, StreamView
from genba.spec.embodiment import (
    CameraChannel,
    Embodiment,
    EntitiesChannel,
    InstructionChannel,
    PointsChannel,
    TelemetryChannel,
)
from genba.spec.episode import ACTION
from genba.spec.streams import Stream
from genba.spec.units import SECOND_NS, to_ns

#: The grid's step for machines that are faster, in seconds, and the most steps (an episode of 29 hours at 0.1 s).
STEP_S, MAX_STEPS = 0.1, 1 << 20

#: Rows and columns of fields that a picture is looked at in.
FIELDS = 4


@dataclass(frozen=True, slots=True)
class Column:
    """What a column of the series is."""

    stream: str
    dimension: str
    unit: str


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """float32 ``[step, column]`` from ``start_ns`` on, NaN in columns that have no value at all."""

    start_ns: int
    step_ns: int
    columns: tuple[Column, ...]
    values: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Say which columns have a value: bool ``[column]``."""
        return np.asarray(np.isfinite(self.values).all(0))


def grid_step_ns(embodiment: Embodiment) -> int:
    """Return the step for a machine: the same for each of its episodes, so that they can be compared."""
    rates = [rate for channel in embodiment.channels if (rate := float(getattr(channel, "rate_hz", 0.0))) > 0]
    return to_ns(max(STEP_S, 1 / max(rates) if rates else embodiment.control.period_s))


def make_series(view: EpisodeView, start_ns: int, end_ns: int) -> Series:
    """Put every stream of ``view`` on a grid from ``start_ns`` to ``end_ns``.

    Raises:
        CorruptShardError: bytes that do not decode.
    """
    step_ns = grid_step_ns(view.embodiment)
    steps = min(max((end_ns - start_ns) // step_ns, 0) + 1, MAX_STEPS)
    columns: list[Column] = []
    values: list[np.ndarray] = []
    for stream in view.streams.values():
        found = _columns(view, stream)
        if not found or not len(stream.times_ns):
            continue
        sums, counts = np.zeros((steps, len(found))), np.zeros((steps, len(found)))
        for _, part in stream.pieces():
            at = (part.times_ns - start_ns) // step_ns
            inside = (at >= 0) & (at < steps)
            if inside.any():
                features = _features(stream, part)[inside]
                _add(sums, counts, at[inside], features)
        columns += found
        values.append(_fill(sums, counts))
    joined = np.concatenate(values, 1).astype(np.float32) if values else np.zeros((steps, 0), np.float32)
    return Series(start_ns, int(step_ns), tuple(columns), joined)


def _columns(view: EpisodeView, stream: StreamView) -> list[Column]:
    match stream.channel:
        case TelemetryChannel() as channel:
            return [Column(stream.name, d.name, d.unit) for d in channel.dimensions]
        case EntitiesChannel() as channel:
            return [Column(stream.name, name, "") for name in ("", *(d.name for d in channel.dimensions))]
        case PointsChannel():
            return [Column(stream.name, name, "") for name in ("count", "x", "y", "z", "range")]
        case CameraChannel():
            return [Column(stream.name, f"field_{i}", "") for i in range(FIELDS * FIELDS)]
    if stream.name == ACTION:
        return [Column(ACTION, d.name, d.unit) for d in view.embodiment.action.continuous]
    return []


def _features(stream: StreamView, part: Stream) -> np.ndarray:
    """Return ``[samples, column]`` float64."""
    if isinstance(stream.channel, CameraChannel):
        # A few pixels of each field tell one picture from another.
        grey = part.values[:, ::2, ::2].mean(-1, dtype=np.float32)
        bands = np.array_split(grey, FIELDS, 1)
        return np.stack([f.mean((1, 2)) for band in bands for f in np.array_split(band, FIELDS, 2)], 1).astype(float)
    if part.splits is None:
        return part.values.astype(np.float64)
    rows = part.values.astype(np.float64)
    if isinstance(stream.channel, PointsChannel):
        rows = np.concatenate([rows[:, :3], np.linalg.norm(rows[:, :3], axis=1, keepdims=True)], 1)
    assert not isinstance(stream.channel, InstructionChannel)
    counts = np.diff(part.splits)
    known = np.isfinite(rows)
    sums = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(np.where(known, rows, 0.0), 0)])
    seen = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(known, 0)])
    total, number = (np.diff(c[part.splits], axis=0) for c in (sums, seen))
    means = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    return np.concatenate([counts[:, None].astype(np.float64), means], 1)


def _add(sums: np.ndarray, counts: np.ndarray, at: np.ndarray, features: np.ndarray) -> None:
    known = np.isfinite(features)
    first = np.flatnonzero(np.append(True, at[1:] != at[:-1]))
    sums[at[first]] += np.add.reduceat(np.where(known, features, 0.0), first)
    counts[at[first]] += np.add.reduceat(known.astype(np.float64), first)


def _fill(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    steps = np.arange(len(sums))
    out = np.full(sums.shape, np.nan)
    for i in range(sums.shape[1]):
        known = counts[:, i] > 0
        if known.any():
            out[:, i] = np.interp(steps, steps[known], sums[known, i] / counts[known, i])
    return out


def seconds(series: Series, steps: float) -> float:
    """Return a number of steps in seconds."""
    return steps * series.step_ns / SECOND_NS
