"""Checks of an episode against the others of its machine: rates, units, dead sensors, missing streams, outliers.

Of every episode a few kilobytes are kept, its profile; "usual" is the middle of the others' profiles, never of its own. Read
next: ``duplicates``, which asks whether it is one of the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from genba.data.quality.episode import EpisodeMeasure
from genba.data.quality.findings import Finding
from genba.data.quality.thresholds import Thresholds
from genba.data.quality.units import FACTORS
from genba.spec.embodiment import Embodiment, InstructionChannel
from genba.spec.units import SECOND_NS

#: Episodes of one machine differ by less than this.
GREAT_FACTOR = 12.0

#: A rate is also held against the others' own spread: so many times their median deviation.
RATE_SPREAD = 8.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """What is kept of an episode."""

    episode_id: str
    embodiment: Embodiment
    start_ns: int
    end_ns: int
    #: stream -> (first, last, samples, mean period without gaps, median interval), times in ns
    clocks: dict[str, tuple[int, int, int, float, float]]
    #: (stream, dimension) -> (mean, standard deviation, low, high) and the unit
    levels: dict[tuple[str, str], tuple[float, float, float, float]]
    units: dict[tuple[str, str], str]
    #: (stream, dimension) -> root mean square change from step to step of the series
    changes: dict[tuple[str, str], float]
    calibration: frozenset[str]


def profile(measure: EpisodeMeasure) -> Profile:
    """Keep what comparing needs."""
    clocks, levels, units = {}, {}, {}
    for name, stream in measure.streams.items():
        clock = stream.clock
        gaps = [b - a for a, b in clock.longest if b - a > 5 * max(clock.median_ns, 1.0)]
        period_ns = (clock.span_ns - sum(gaps)) / max(clock.num_samples - 1 - len(gaps), 1)
        clocks[name] = (clock.first_ns, clock.last_ns, clock.num_samples, period_ns, clock.median_ns)
        named = {d.name: d for d in getattr(measure.channel(name), "dimensions", ())}
        for column in stream.columns:
            dimension = named.get(column.name)
            if dimension is not None and not dimension.categories and np.isfinite(column.mean):
                levels[name, column.name] = (column.mean, column.std, column.low, column.high)
                units[name, column.name] = dimension.unit
    changes = {}
    for i, column in enumerate(measure.series.columns):
        key, values = (column.stream, column.dimension), measure.series.values[:, i]
        if len(values) > 1 and np.isfinite(values).all():
            changes[key] = float(np.sqrt(np.mean(np.diff(values.astype(np.float64)) ** 2)))
        if key not in levels and not column.unit and column.dimension and np.isfinite(values).all() and len(values) > 1:
            levels[key] = (float(values.mean()), float(values.std()), float(values.min()), float(values.max()))
            units[key] = "m" if column.dimension == "range" else ""
    return Profile(
        episode_id=measure.metadata.episode_id,
        embodiment=measure.embodiment,
        start_ns=measure.start_ns,
        end_ns=measure.end_ns,
        clocks=clocks,
        levels=levels,
        units=units,
        changes=changes,
        calibration=frozenset(measure.metadata.calibration),
    )


def check_peers(own: Profile, others: list[Profile], thresholds: Thresholds) -> Iterator[Finding]:
    """Find in what an episode differs from ``others`` of its machine."""
    yield from _missing(own, others, thresholds)
    if len(others) < thresholds.min_peers:
        return
    usual_s = float(np.median([o.end_ns - o.start_ns for o in others])) / SECOND_NS
    if (own.end_ns - own.start_ns) / SECOND_NS < thresholds.short_share * usual_s:
        message = f"got {(own.end_ns - own.start_ns) / SECOND_NS:.3f} s, expected about {usual_s:.3f} s as the others"
        yield _finding("too short", own, "", "", message, "leave it out, or join it to what it was cut from")
    for key in sorted({k for o in others for k in o.calibration} - own.calibration):
        if sum(key in o.calibration for o in others) >= 0.8 * len(others):
            stream = _sensor_of(key, own)
            message = f"got no {key}, which the others have"
            yield _finding("calibration", own, stream, "", message, "add its calibration when importing")
    if (
        sum(o.start_ns > 946_684_800 * SECOND_NS for o in others) >= 0.8 * len(others)
        and own.start_ns < SECOND_NS * 1e8
    ):
        message = f"got a start at {own.start_ns / SECOND_NS:.0f} s, expected Unix time as the others"
        yield _finding("epoch", own, "", "", message, "import it again with the clock's epoch set right")
    yield from _rates(own, others, thresholds)
    yield from _levels(own, others, thresholds)


def _missing(own: Profile, others: list[Profile], thresholds: Thresholds) -> Iterator[Finding]:
    facts = own.embodiment
    kinds = {type(c) for c in (*facts.channels, *facts.relation) if c.name in own.clocks}
    for channel in (*facts.channels, *facts.relation):
        if channel.name in own.clocks or isinstance(channel, InstructionChannel):
            continue
        lacking = sum(channel.name not in o.clocks for o in others)
        # Where few others can tell, a log without any picture is one without pictures; one of two cameras is missing.
        enough = len(others) >= thresholds.min_peers
        if lacking <= 0.2 * len(others) and (enough or type(channel) in kinds):
            message = f"got no sample of {channel.name}, which the machine's facts name"
            yield _finding("missing stream", own, channel.name, "", message, "look for it in the log; import it again")


def _rates(own: Profile, others: list[Profile], thresholds: Thresholds) -> Iterator[Finding]:
    for name, (first, last, count, period_ns, median_ns) in own.clocks.items():
        channel = next((c for c in own.embodiment.channels if c.name == name), None)
        told = [o.clocks[name] for o in others if name in o.clocks and o.clocks[name][2] >= thresholds.min_samples]
        rate_hz = getattr(channel, "rate_hz", 0.0)
        if not rate_hz or count < thresholds.min_samples or len(told) < thresholds.min_peers:
            continue
        periods = np.array([t[3] for t in told])
        usual = float(np.median(periods))
        spread = float(np.median(np.abs(periods - usual)))
        # One sample more or less at the ends moves a short stream's mean by this.
        grain = 0.5 * usual / max(count - 1, 1) * (median_ns != period_ns)
        off = period_ns - usual
        if abs(off) <= max(thresholds.rate_tolerance_peers * usual, RATE_SPREAD * spread, grain):
            continue
        interval = float(np.median([t[4] for t in told]))
        if abs((median_ns - interval) - off) < 0.5 * abs(off):
            message = (
                f"got a clock that runs {abs(off) / usual:.2%} {'slow' if off > 0 else 'fast'} against other episodes"
            )
            advice = "map its times onto the other streams' clock when importing"
            yield _timed("clock drift", name, first, last, 1.0, message, advice)
        else:
            message = (
                f"got a sample every {period_ns / SECOND_NS:.5f} s, expected {usual / SECOND_NS:.5f} s as in others"
            )
            advice = "import the log again; look for samples dropped or sent twice"
            yield _timed("frame count", name, first, last, min(abs(off) / usual, 1.0), message, advice)


def _levels(own: Profile, others: list[Profile], thresholds: Thresholds) -> Iterator[Finding]:
    for key, (mean, std, low, high) in own.levels.items():
        told = np.array([o.levels[key] for o in others if key in o.levels])
        if len(told) < thresholds.min_peers:
            continue
        stream, dimension = key
        unit, is_entity = own.units[key], stream in {c.name for c in own.embodiment.entities}
        levels = np.hypot(told[:, 0], told[:, 1])
        level = float(np.hypot(mean, std))
        alive = told[:, 1] > 0
        if std == 0 and mean and alive.mean() >= 0.8 and not is_entity and low == high:
            message = f"got {mean:g} {unit} throughout, expected it to change as in the others"
            advice = "check the sensor and its cable; leave the dimension out of this episode"
            yield _finding("frozen", own, stream, dimension, message, advice)
            continue
        found = _other_unit(level, levels, unit, thresholds)
        if key in own.changes:
            changes = np.array([o.changes[key] for o in others if key in o.changes])
            quicker = _other_unit(own.changes[key], changes, unit, thresholds)
            if found is None and quicker is not None and _is_great(quicker[0]):
                found = quicker
            elif (
                found is not None
                and not _is_great(found[0])
                and (quicker != found or len(told) < thresholds.outlier_peers)
            ):
                # A factor of 2 or 4 is also how much episodes differ: it must show in the changes too, against many.
                found = None
        if found is not None:
            factor, name = found
            message = f"got a level of {level:.4g} {unit}, {factor:.4g} times what the others say: these are {name}"
            advice = "import it again with the unit converted to SI at the reader"
            yield _finding("unit", own, stream, dimension, message, advice)
            continue
        if unit == "K" and mean < told[:, 2].min() and told[:, 2].min() <= mean + 273.15 <= told[:, 3].max():
            message = f"got {mean:.4g} K, expected about {mean + 273.15:.4g} K as the others: degrees Celsius"
            advice = "import it again with the unit converted to SI at the reader"
            yield _finding("unit", own, stream, dimension, message, advice)
            continue
        if len(told) < thresholds.outlier_peers or is_entity:
            continue
        least, most = float(told[:, 2].min()), float(told[:, 3].max())
        # What is nearly constant in an episode differs between episodes as it likes: three times as far apart is unlike.
        between = float(np.ptp(told[:, 0]))
        margin = max(thresholds.outlier_margin * (most - least), 3 * between)
        spreads = told[:, 1]
        away = most > least and not least - margin <= mean <= most + margin
        wild = spreads.max() > 0 and std > thresholds.outlier_spread * spreads.max()
        if away or wild:
            message = (
                f"got {mean:.4g} +- {std:.3g} {unit}, expected between {least:.4g} and {most:.4g} with at most "
                f"+- {spreads.max():.3g} as in {len(told)} others"
            )
            yield _finding(
                "outlier", own, stream, dimension, message, "look at it: genba data view; leave it out if wrong"
            )


def _sensor_of(key: str, own: Profile) -> str:
    """Return the stream that a calibration is of: the one it names, or whose frame it names; empty for neither."""
    sensors = (*own.embodiment.camera, *own.embodiment.points)
    frames = {c.frame: c.name for c in sensors if c.name in own.clocks and c.frame != "none"}
    named = next((s for s in own.clocks if s in key), "")
    return named or next((name for frame, name in frames.items() if frame in key), "")


def _is_great(factor: float) -> bool:
    """Say whether a factor is beyond how much episodes of one machine differ."""
    return max(factor, 1 / factor) > GREAT_FACTOR


def _other_unit(level: float, levels: np.ndarray, unit: str, thresholds: Thresholds) -> tuple[float, str] | None:
    if len(levels) < thresholds.min_peers:
        return None
    least, most = float(levels.min()), float(levels.max())
    if not least > 0 or 0.6 * least < level < most / 0.6:
        return None
    # Within what the others say, give or take how far they are apart.
    # A great factor is not mistaken for chance, so more room is given: 14 % for 3.6, 50 % for 57, a half or double for 1000.
    fits = {}
    for factor, name in FACTORS.get(unit, {}).items():
        room = max(1 + thresholds.unit_tolerance, max(factor, 1 / factor) ** 0.1)
        if least / room <= level / factor <= most * room:
            fits[factor] = name
    if not fits:
        return None
    usual = float(np.median(levels))
    factor = min(fits, key=lambda f: abs(np.log(level / f / usual)))
    return factor, fits[factor]


def _finding(kind: str, own: Profile, stream: str, dimension: str, message: str, advice: str) -> Finding:
    first, last = own.clocks[stream][:2] if stream in own.clocks else (own.start_ns, own.end_ns)
    return Finding(
        kind=kind, stream=stream, dimension=dimension, start_ns=first, end_ns=last, share=1.0, message=message,
        advice=advice,
    )  # fmt: skip


def _timed(kind: str, stream: str, first: int, last: int, share: float, message: str, advice: str) -> Finding:
    return Finding(kind=kind, stream=stream, start_ns=first, end_ns=last, share=share, message=message, advice=advice)
