"""Checks of streams against one another: clocks that drift or are shifted, streams that begin late, end early or lose samples.

Two sources: where streams begin and end, and, between signals that tell the same (a wheel's and a car's speed), how far
apart they tell it. Read next: ``sensors``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from genba.data.quality.clocks import check_epoch, find_jumps
from genba.data.quality.episode import EpisodeMeasure, middle
from genba.data.quality.findings import Finding
from genba.data.quality.measures import StreamMeasure
from genba.data.quality.series import seconds
from genba.data.quality.thresholds import Thresholds
from genba.spec.units import SECOND_NS, to_ns

#: How far apart signals are looked for and the least that there must be of them, in steps of the series, and the most pairs
#: of signals that are compared.
MAX_LAG_STEPS, MIN_STEPS, MAX_PAIRS = 40, 60, 48


def check_times(measure: EpisodeMeasure, thresholds: Thresholds) -> Iterator[Finding]:
    """Find what is wrong with the clocks. A clock that is of another epoch or jumps is not judged any further."""
    found = list(check_epoch(measure, thresholds))
    jumps, gaps = find_jumps(measure, thresholds)
    broken = {finding.stream for finding in found}
    jumps = [finding for finding in jumps if finding.stream not in broken]
    gaps = [finding for finding in gaps if finding.stream not in broken]
    broken |= {finding.stream for finding in jumps}
    yield from (*found, *jumps, *gaps)
    edges = []
    for stream in measure.steady(thresholds.min_samples):
        if stream.name not in broken:
            edges += _edges(measure, stream, thresholds)
    if len(measure.steady(thresholds.min_samples)) == 2 and len(edges) == 2:
        # Of two clocks that differ nobody can say which is wrong: one finding, for the later one.
        edges = [max(edges, key=lambda finding: finding.start_ns)]
    yield from edges
    told = {finding.stream for finding in edges} | broken
    yield from _lags(measure, thresholds, told)
    yield from _sparse(measure, thresholds)


def _edges(measure: EpisodeMeasure, stream: StreamMeasure, thresholds: Thresholds) -> list[Finding]:
    clock, rate_hz = stream.clock, measure.rate_hz(stream.name)
    others = [o.clock for o in measure.steady(thresholds.min_samples) if o is not stream]
    period_ns, ratio = _mean_period_ns(stream, thresholds), 1.0
    relative = period_ns * rate_hz / SECOND_NS
    found = []
    if others:
        start_ns = middle([o.first_ns for o in others], lower=True)
        end_ns = middle([o.last_ns for o in others], lower=False)
        late_ns, over_ns, span = clock.first_ns - start_ns, clock.last_ns - end_ns, max(end_ns - start_ns, 1)
        near_ns = max(5 * SECOND_NS / rate_hz, to_ns(thresholds.edge_s))
        far_ns = max(near_ns, thresholds.edge_share * span)
        shifted = min(abs(late_ns), abs(over_ns)) > near_ns and (late_ns > 0) == (over_ns > 0)
        if shifted and abs(late_ns - over_ns) <= max(3 * SECOND_NS / rate_hz, 0.2 * abs(late_ns)):
            return [_offset(stream, late_ns / SECOND_NS, "it begins and ends by as much")]
        ratio = clock.span_ns / span
        if abs(late_ns) <= near_ns < abs(over_ns) and abs(relative - ratio) <= 0.3 * abs(ratio - 1):
            return [
                _drift(stream, ratio - 1, f"its {clock.num_samples} samples take {clock.span_ns / SECOND_NS:.3f} s")
            ]
        for missing_ns, where, edge in (
            (late_ns, "begins {:.3f} s after", (start_ns, clock.first_ns)),
            (-over_ns, "ends {:.3f} s before", (clock.last_ns, end_ns)),
        ):
            if missing_ns > far_ns:
                found.append(
                    _count(stream, *edge, missing_ns / span, f"it {where.format(missing_ns / SECOND_NS)} the others")
                )
    off = abs(relative - 1) > thresholds.rate_tolerance
    # Losing samples leaves the usual interval as it is, and where a stream ends is known to a sample or two.
    slack, usual = 0.3 * abs(relative - 1), clock.median_ns * rate_hz / SECOND_NS
    grain = 2 * period_ns / max(clock.span_ns, 1)
    if off and others and abs(relative - ratio) <= slack + grain and abs(usual - relative) <= slack:
        return [_drift(stream, ratio - 1, f"its {clock.num_samples} samples take {clock.span_ns / SECOND_NS:.3f} s")]
    if off:
        wanted = round(clock.span_ns / SECOND_NS * rate_hz) + 1
        message = f"got {clock.num_samples} samples, expected about {wanted} at {rate_hz:g} Hz"
        share = min(abs(1 - 1 / relative), 1.0)
        found.append(_count(stream, clock.first_ns, clock.last_ns, share, message))
    return found


def _sparse(measure: EpisodeMeasure, thresholds: Thresholds) -> Iterator[Finding]:
    """Find steady streams with next to no sample where there is time for many."""
    for stream in measure.streams.values():
        rate_hz, count = measure.rate_hz(stream.name), stream.clock.num_samples
        wanted = measure.span_ns / SECOND_NS * rate_hz
        if rate_hz and count < thresholds.min_samples <= wanted / 3:
            share = 1 - count / wanted
            message = f"got {count} samples, expected about {wanted:.0f} at {rate_hz:g} Hz"
            yield _count(stream, measure.start_ns, measure.end_ns, share, message)


def _mean_period_ns(stream: StreamMeasure, thresholds: Thresholds) -> float:
    """Return the mean interval without the gaps."""
    clock = stream.clock
    limit_ns = thresholds.gap_periods * clock.median_ns
    gaps = [b - a for a, b in clock.longest if b - a > limit_ns]
    return (clock.span_ns - sum(gaps)) / max(clock.num_samples - 1 - len(gaps), 1)


def _lags(measure: EpisodeMeasure, thresholds: Thresholds, told: set[str]) -> Iterator[Finding]:
    """Find streams that tell the same as others earlier or later; of only two, both are named."""
    series, votes = measure.series, {}
    if len(series.values) < MIN_STEPS:
        return
    for i, j in _pairs(measure):
        if told & {series.columns[i].stream, series.columns[j].stream}:
            continue
        whole = best_lag(series.values[:, i], series.values[:, j])
        if whole is None or whole[1] < thresholds.same_correlation or whole[1] - whole[2] < 0.005:
            continue
        third = len(series.values) // 3
        parts = [best_lag(series.values[at, i], series.values[at, j]) for at in (slice(third), slice(-third, None))]
        lags = [part[0] for part in parts if part is not None and part[1] >= thresholds.same_correlation]
        change = abs(lags[1] - lags[0]) if len(lags) == 2 else 0.0
        lag_s = seconds(series, whole[0])
        if abs(lag_s) > thresholds.lag_s and seconds(series, change) <= thresholds.lag_s / 2:
            # Positive: the second tells it later.
            for k, late_s in ((i, -lag_s), (j, lag_s)):
                votes.setdefault(series.columns[k].stream, []).append((late_s, series.columns[i + j - k].stream))
    worst = max((len(v) for v in votes.values()), default=0)
    for name, heard in votes.items():
        if len(heard) == worst:
            late_s = float(np.median([late for late, _ in heard]))
            others = ", ".join(sorted({other for _, other in heard}))
            yield _offset(measure.streams[name], late_s, f"{others} tells the same at another time")


def _pairs(measure: EpisodeMeasure) -> list[tuple[int, int]]:
    columns, known = measure.series.columns, measure.series.known
    spread = np.where(known, np.std(np.where(known, measure.series.values, 0.0), 0), 0.0)
    pairs = [
        (i, j)
        for i, one in enumerate(columns)
        for j, other in enumerate(columns[:i])
        if one.stream != other.stream and one.unit == other.unit and one.unit not in ("", "id", "s", "1", "count")
        if spread[i] > 0 and spread[j] > 0 and "action" not in (one.stream, other.stream)
    ]
    return pairs[:MAX_PAIRS]


def best_lag(one: np.ndarray, other: np.ndarray) -> tuple[float, float, float] | None:
    """Return (steps by which ``other`` is later, correlation there, correlation without any), or None if one is constant."""
    reach = min(MAX_LAG_STEPS, len(one) // 4)
    found = []
    for lag in range(-reach, reach + 1):
        a = one[max(0, -lag) : len(one) - max(0, lag)].astype(np.float64)
        b = other[max(0, lag) : len(other) - max(0, -lag)].astype(np.float64)
        a, b = a - a.mean(), b - b.mean()
        scale = float(np.sqrt((a @ a) * (b @ b)))
        if not scale > 0:
            return None
        found.append(float(a @ b) / scale)
    best = int(np.argmax(found))
    shift = 0.0
    if 0 < best < len(found) - 1:
        before, at, after = found[best - 1 : best + 2]
        bend = before - 2 * at + after
        shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return best - reach + shift, found[best], found[reach]


def _offset(stream: StreamMeasure, late_s: float, why: str) -> Finding:
    return Finding(
        kind="clock offset", stream=stream.name, start_ns=stream.clock.first_ns, end_ns=stream.clock.last_ns, share=1.0,
        message=f"got a clock that is {abs(late_s):.3f} s {'late' if late_s > 0 else 'early'} against the others: {why}",
        advice="subtract the offset when importing, or record with synchronised clocks",
    )  # fmt: skip


def _drift(stream: StreamMeasure, relative: float, why: str) -> Finding:
    return Finding(
        kind="clock drift", stream=stream.name, start_ns=stream.clock.first_ns, end_ns=stream.clock.last_ns, share=1.0,
        message=f"got a clock that runs {abs(relative):.2%} {'slow' if relative > 0 else 'fast'} against the others: {why}",
        advice="map its times onto the other streams' clock when importing",
    )  # fmt: skip


def _count(stream: StreamMeasure, start_ns: int, end_ns: int, share: float, message: str) -> Finding:
    return Finding(
        kind="frame count", stream=stream.name, start_ns=start_ns, end_ns=end_ns, share=min(share, 1.0), message=message,
        advice="import the log again; if the samples were never recorded, cut the episode to where all streams are",
    )  # fmt: skip
