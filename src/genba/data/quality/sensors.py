"""Checks of single sensors: values that stand still, pile up at a limit, or are missing.

A machine at rest is no broken sensor: a repetition counts only where the sensor usually changes from sample to sample, and
where something else on the machine goes on changing meanwhile. Read next: ``units``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from genba.data.quality.episode import EpisodeMeasure
from genba.data.quality.findings import Finding
from genba.data.quality.measures import ColumnMeasure, StreamMeasure
from genba.data.quality.runs import Run
from genba.data.quality.thresholds import Thresholds
from genba.spec.embodiment import CameraChannel, EntitiesChannel, PointsChannel, TelemetryChannel
from genba.spec.units import SECOND_NS, to_ns

#: Units of what is exactly zero when a machine rests, or when nothing is asked of it.
RESTING_UNITS = frozenset({"m/s", "m/s^2", "rad/s", "1/m", "N", "N*m", "A", "V", "W", "L/s", "1", "count"})

#: A signal that changes less than this share of its usual is at rest.
RESTING = 0.1

#: A change so many times the usual greatest one (99th percentile) is a jump.
JUMP = 6.0

#: A share of turns above which a signal carries noise of its own, which never stands still.
NOISY = 0.25

#: A share of repetitions above which a signal is a command or a state, not a measurement.
COMMAND_REPEATS = 0.5


def check_frozen(measure: EpisodeMeasure, thresholds: Thresholds) -> Iterator[Finding]:
    """Find sensors that repeat a value, a picture or a sweep while the machine goes on."""
    for stream in measure.streams.values():
        channel = measure.channel(stream.name)
        if isinstance(channel, CameraChannel | PointsChannel):
            least = thresholds.frozen_pictures
            if _is_frozen(stream, stream.frozen, stream.next_frozen, least, thresholds) and _goes_on(
                measure, stream, stream.frozen
            ):
                yield _frozen(stream, "", stream.frozen, "samples")
        elif isinstance(channel, TelemetryChannel):
            yield from _frozen_numbers(measure, stream, channel, thresholds)


def _frozen_numbers(
    measure: EpisodeMeasure, stream: StreamMeasure, channel: TelemetryChannel, thresholds: Thresholds
) -> Iterator[Finding]:
    measured = [
        column
        for column, dimension in zip(stream.columns, channel.dimensions, strict=True)
        if not dimension.categories and dimension.unit != "s" and _cannot_rest(column, dimension.unit)
    ]
    whole = stream.frozen
    missing = all(column.missing.length >= 0.9 * whole.length for column in stream.columns)
    if (
        len(measured) > 1
        and not missing
        and whole.length < stream.clock.num_samples
        and _is_frozen(stream, whole, stream.next_frozen, thresholds.frozen_rows, thresholds)
        and _goes_on(measure, stream, whole)
    ):
        yield _frozen(stream, "", whole, "samples")
        return
    for column in measured:
        run, least = column.frozen, thresholds.frozen_samples
        if _is_limit(column):
            continue
        if _is_frozen(stream, run, column.next_frozen, least, thresholds) and _goes_on(measure, stream, run):
            yield _frozen(stream, column.name, run, f"values of {column.frozen_value:g}")


def _is_limit(column: ColumnMeasure) -> bool:
    """Say whether the longest repetition is at an end of the range that is reached again, or without a jump: a limit."""
    if column.frozen_value == 0 or column.frozen_value not in (column.low, column.high):
        return False
    again = column.at_low if column.frozen_value == column.low else column.at_high
    return again > column.frozen.length or column.frozen_jump <= JUMP * column.usual_step


def _cannot_rest(column: ColumnMeasure, unit: str) -> bool:
    """Say whether a repetition of this signal is no rest: it is noisy, or it jumped into or out of the repetition."""
    outside = column.repeated * (column.num_rows - 1) - column.frozen.length
    if column.low == column.high or outside > COMMAND_REPEATS * (column.num_rows - column.frozen.length):
        return False
    jumped = column.frozen_jump > JUMP * column.usual_step
    if column.frozen_value == 0 and unit in RESTING_UNITS:
        return jumped
    return jumped or column.reversed > NOISY


def check_saturated(measure: EpisodeMeasure, thresholds: Thresholds) -> Iterator[Finding]:
    """Find dimensions whose values pile up at their least or greatest."""
    for stream in measure.streams.values():
        channel = measure.channel(stream.name)
        if not isinstance(channel, TelemetryChannel):
            continue
        for column, dimension in zip(stream.columns, channel.dimensions, strict=True):
            if dimension.categories or column.low == column.high or column.repeated > COMMAND_REPEATS:
                continue
            for value, count, run, near, limit in (
                (column.low, column.at_low, column.low_run, column.near_low, dimension.low),
                (column.high, column.at_high, column.high_run, column.near_high, dimension.high),
            ):
                if not value or (run == column.frozen and not _is_limit(column)):
                    continue
                share = count / max(column.num_rows, 1)
                at_limit = abs(value - limit) <= 1e-3 * (dimension.high - dimension.low)
                piled = count > max(3 * near, thresholds.saturated_samples) and share >= thresholds.saturated_share
                # Of noise that is clipped only single samples stand at the limit, but many of them.
                if piled and (
                    run.length >= thresholds.saturated_samples or at_limit or count >= thresholds.saturated_count
                ):
                    yield Finding(
                        kind="saturation", stream=stream.name, dimension=column.name, start_ns=run.start_ns,
                        end_ns=run.end_ns, share=share,
                        message=f"got {count} samples of exactly {value:.6g} {dimension.unit}, {run.length} in a row, and "
                        f"{near} just beside it",
                        advice="raise the sensor's range or its gain; treat these values as limits, not measurements",
                    )  # fmt: skip


def check_missing(measure: EpisodeMeasure, thresholds: Thresholds) -> Iterator[Finding]:
    """Find dimensions with many values missing, or with long runs of them."""
    for stream in measure.streams.values():
        if isinstance(measure.channel(stream.name), EntitiesChannel):
            continue
        for column in stream.columns:
            share, run = column.num_missing / max(column.num_rows, 1), column.missing
            long = run.length >= thresholds.min_samples and run.end_ns - run.start_ns >= to_ns(thresholds.missing_run_s)
            if share > thresholds.missing_share or long:
                yield Finding(
                    kind="not a number", stream=stream.name, dimension=column.name, start_ns=run.start_ns,
                    end_ns=run.end_ns, share=share,
                    message=f"got {column.num_missing} of {column.num_rows} values missing or infinite, {run.length} in a "
                    f"row",
                    advice="look for the sensor's outage; leave the dimension out where it is never measured",
                )  # fmt: skip


def _is_frozen(stream: StreamMeasure, run: Run, after: Run, least: int, thresholds: Thresholds) -> bool:
    lasts_s = (run.end_ns - run.start_ns + stream.clock.median_ns) / SECOND_NS
    spread = thresholds.frozen_spread * max(after.length, 1)
    return run.length >= max(least, spread) and lasts_s >= thresholds.frozen_s


def _goes_on(measure: EpisodeMeasure, stream: StreamMeasure, run: Run) -> bool:
    """Say whether any other sensor changes as usual during the run; True where there is no other."""
    series = measure.series
    first, last = ((t - series.start_ns) // series.step_ns for t in (run.start_ns, run.end_ns))
    others = [
        i
        for i, column in enumerate(series.columns)
        if series.known[i] and column.stream not in (stream.name, "action") and column.unit not in ("id", "s")
    ]
    if not others:
        return True
    moves = np.abs(np.diff(series.values[:, others], axis=0))
    during = moves[max(int(first), 0) : max(int(last), int(first) + 1)]
    if not len(during):
        return True
    usual = moves.mean(0) if len(moves) else np.zeros(0)
    moving = usual > 0
    return not moving.any() or bool((during.mean(0)[moving] > RESTING * usual[moving]).any())


def _frozen(stream: StreamMeasure, dimension: str, run: Run, what: str) -> Finding:
    return Finding(
        kind="frozen", stream=stream.name, dimension=dimension, start_ns=run.start_ns, end_ns=run.end_ns,
        share=run.length / stream.clock.num_samples,
        message=f"got {run.length} identical {what} in a row, {(run.end_ns - run.start_ns) / SECOND_NS:.3f} s long",
        advice="cut it out; check the driver for a buffer that is sent again",
    )  # fmt: skip
