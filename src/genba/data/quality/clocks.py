"""Checks of single clocks: the wrong epoch or unit, gaps, jumps forwards and backwards.

A gap and a jump forwards look the same in a clock. They differ in what comes after: behind a gap samples are missing, so the
stream still ends with the others; behind a jump none are, so it ends late by as much. Read next: ``alignment``.
"""

from __future__ import annotations

from collections.abc import Iterator

from genba.data.quality.episode import EpisodeMeasure, middle
from genba.data.quality.findings import Finding
from genba.data.quality.measures import CROWD, ClockMeasure, StreamMeasure
from genba.data.quality.thresholds import Thresholds
from genba.spec.units import SECOND_NS

#: 2000-01-01 and 2100-01-01 in Unix nanoseconds: a clock between them counts from 1970.
YEAR_2000_NS, YEAR_2100_NS = 946_684_800 * SECOND_NS, 4_102_444_800 * SECOND_NS

#: A stream this far from the others, and this many of the episode's durations, is of another epoch.
EPOCH_NS, EPOCH_SPANS = 3600 * SECOND_NS, 10

#: What times may have been taken for nanoseconds: factor -> their unit.
TIME_UNITS = {1e9: "seconds", 1e6: "milliseconds", 1e3: "microseconds", 100.0: "tenths of microseconds"}


def check_epoch(measure: EpisodeMeasure, thresholds: Thresholds) -> Iterator[Finding]:
    """Find times in another unit than nanoseconds, and streams whose clock counts from another moment."""
    for stream in measure.streams.values():
        clock, others = stream.clock, _others(measure, stream)
        if clock.first_ns < 0 or clock.last_ns > YEAR_2100_NS:
            yield _epoch(stream, f"got times from {clock.first_ns} ns, expected ones between 0 and the year 2100")
            continue
        rate_hz = measure.rate_hz(stream.name)
        if rate_hz and clock.num_samples >= thresholds.min_samples and clock.span_ns:
            ratio = SECOND_NS / rate_hz / (clock.span_ns / (clock.num_samples - 1))
            unit = next((u for factor, u in TIME_UNITS.items() if 0.5 < ratio / factor < 2), "")
            if unit:
                yield _epoch(
                    stream,
                    f"got {rate_hz * ratio:.3g} Hz, expected {rate_hz:g} Hz: these are {unit} taken for nanoseconds",
                )
                continue
        if others:
            start_ns = middle([o.first_ns for o in others], lower=True)
            far_ns = abs(clock.first_ns - start_ns)
            longest_ns = max(clock.span_ns, *(o.span_ns for o in others))
            if far_ns > max(EPOCH_NS, EPOCH_SPANS * longest_ns):
                yield _epoch(
                    stream,
                    f"got a clock {far_ns / SECOND_NS:.0f} s from the other streams', expected one epoch per episode",
                )


def find_jumps(measure: EpisodeMeasure, thresholds: Thresholds) -> tuple[list[Finding], list[Finding]]:
    """Return (jumps, gaps) of every steady stream."""
    steady = measure.steady(thresholds.min_samples)
    limit_ns = {s.name: _limit_ns(s.clock, measure.rate_hz(s.name), thresholds) for s in steady}
    silent = {s.name: [(a, b) for a, b in s.clock.longest if b - a > limit_ns[s.name]] for s in steady}
    jumps, gaps = [], []
    # What all streams share shows in the one that would tell the shortest silence, and in every other that could tell it.
    closest = min(steady, key=lambda s: limit_ns[s.name], default=None)
    shared = []
    for gap in silent[closest.name] if closest else []:
        telling = [s.name for s in steady if s is not closest and limit_ns[s.name] < 0.8 * (gap[1] - gap[0])]
        if telling and all(any(_overlap(gap, other) > 0.5 for other in silent[name]) for name in telling):
            shared.append(gap)
    for start_ns, end_ns in shared:
        jumps.append(
            _jump(
                "", start_ns, end_ns, (end_ns - start_ns) / max(measure.span_ns, 1),
                f"every stream is silent for {(end_ns - start_ns) / SECOND_NS:.3f} s: the recorder was paused, or its clock set",
            )
        )  # fmt: skip
    for stream in steady:
        clock, name = stream.clock, stream.name
        own = [gap for gap in silent[name] if not any(_overlap(gap, other) > 0.5 for other in shared)]
        # The fastest tell best when the recording ended.
        others = [o.clock for o in sorted(steady, key=lambda o: -measure.rate_hz(o.name)) if o is not stream][:3]
        late_ns = clock.last_ns - middle([o.last_ns for o in others], lower=False) if others else 0
        for start_ns, end_ns in own:
            length_ns, share = end_ns - start_ns, (end_ns - start_ns) / max(measure.span_ns, 1)
            text = (
                f"got {length_ns / SECOND_NS:.3f} s between two samples, expected {clock.median_ns / SECOND_NS:.4f} s"
            )
            slack_ns = min(max(3 * clock.p99_ns, 0.2 * length_ns), 0.4 * length_ns)
            if abs(late_ns - length_ns) <= slack_ns:
                jumps.append(
                    _jump(name, start_ns, end_ns, share, f"{text}; nothing is missing: the clock was set ahead")
                )
            else:
                gaps.append(
                    Finding(
                        kind="gap", stream=name, start_ns=start_ns, end_ns=end_ns, share=min(share, 1.0), message=text,
                        advice="cut the episode here, or leave windows across it out",
                    )
                )  # fmt: skip
        # Of a stream that loses samples ten take longer where more are lost: the facts' rate is the other measure.
        usual_ns = min(clock.crowd_ns, CROWD * SECOND_NS / measure.rate_hz(name))
        if clock.crowded_ns < thresholds.crowded_share * usual_ns and clock.still.length < 5:
            jumps.append(
                _jump(
                    name, *clock.crowded, CROWD / clock.num_samples,
                    f"got ten samples within {clock.crowded_ns / SECOND_NS:.4f} s, expected "
                    f"{usual_ns / SECOND_NS:.4f} s: the clock was set back",
                )
            )  # fmt: skip
        if clock.still.length >= 5:
            jumps.append(
                _jump(
                    name, clock.still.start_ns, clock.still.end_ns, clock.still.length / clock.num_samples,
                    f"got {clock.still.length} samples with one time, expected rising times: the clock stood still or was "
                    f"set back",
                )
            )  # fmt: skip
    return jumps, gaps


def _limit_ns(clock: ClockMeasure, rate_hz: float, thresholds: Thresholds) -> float:
    """Return from what length on a silence of the stream is one."""
    period_ns = max(clock.median_ns, SECOND_NS / rate_hz)
    # A stream with very many gaps has them in its own percentile; 20 periods are a gap whatever the others are.
    return max(thresholds.gap_periods * period_ns, min(thresholds.gap_spread * clock.p99_ns, 20 * period_ns))


def _others(measure: EpisodeMeasure, stream: StreamMeasure) -> list[ClockMeasure]:
    return [s.clock for s in measure.streams.values() if s is not stream]


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> float:
    both = min(one[1], other[1]) - max(one[0], other[0])
    return both / max(one[1] - one[0], other[1] - other[0], 1)


def _epoch(stream: StreamMeasure, message: str) -> Finding:
    return Finding(
        kind="epoch", stream=stream.name, start_ns=stream.clock.first_ns, end_ns=stream.clock.last_ns, share=1.0,
        message=message, advice="import it again with the clock's unit and epoch set right",
    )  # fmt: skip


def _jump(stream: str, start_ns: int, end_ns: int, share: float, message: str) -> Finding:
    return Finding(
        kind="clock jump", stream=stream, start_ns=start_ns, end_ns=end_ns, share=min(share, 1.0), message=message,
        advice="split the episode here; use the recorder's monotonic clock",
    )  # fmt: skip
