"""Checks of streams against one another: clocks that drift or are shifted, streams that begin late, end early or lose samples.

Two sources: where streams begin and end, and how far apart two tell the same (``lags``). Read next: ``sensors``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np

from genba.data.quality.clocks import check_epoch, find_jumps
from genba.data.quality.episode import EpisodeMeasure, middle
from genba.data.quality.findings import Finding
from genba.data.quality.lags import find_lags
from genba.data.quality.measures import StreamMeasure
from genba.data.quality.thresholds import Thresholds
from genba.spec.units import SECOND_NS, to_ns


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
    """Find streams that tell the same as others earlier or later; where only two can be compared, both are named."""
    late_s: dict[str, list[float]] = defaultdict(list)
    others: dict[str, set[str]] = defaultdict(set)
    in_time: Counter[str] = Counter()
    for (one, other), lag_s in find_lags(measure.series, thresholds).items():
        if told & {one, other}:
            continue
        if abs(lag_s) <= thresholds.lag_s:
            in_time.update((one, other))
            continue
        for stream, by_s, against in ((one, -lag_s, other), (other, lag_s, one)):
            late_s[stream].append(by_s)
            others[stream].add(against)
    score = {stream: len(by_s) - in_time[stream] for stream, by_s in late_s.items()}
    for stream, by_s in late_s.items():
        if score[stream] == max(score.values()):
            why = f"{', '.join(sorted(others[stream]))} tells the same at another time"
            yield _offset(measure.streams[stream], float(np.median(by_s)), why)


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
