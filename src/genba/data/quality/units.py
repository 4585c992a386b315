"""Checks of units by what must hold between signals: a place's change is its speed, speed times yaw rate is lateral
acceleration, a quaternion has length one, gravity is 9.8 m/s^2, two speeds of one car are one speed.

A relation that holds up to a known factor (57.3, 3.6, 1000) is a wrong unit; one that does not hold at all says nothing.
Comparison with other episodes of the machine is in ``peers``. Read next: ``bookkeeping``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np

from genba.data.quality.episode import EpisodeMeasure
from genba.data.quality.findings import Finding
from genba.data.quality.series import Column, Series
from genba.data.quality.thresholds import Thresholds
from genba.spec.episode import ACTION
from genba.spec.units import SECOND_NS

#: SI unit -> factor by which its numbers are too great in another unit -> that unit.
#: Source: BIPM, The International System of Units (9th edition, 2019), and Table 8 there for units outside it.
FACTORS: dict[str, dict[float, str]] = {
    "rad": {180 / math.pi: "degrees"},
    "rad/s": {180 / math.pi: "degrees per second", 30 / math.pi: "revolutions per minute"},
    "m": {1e3: "millimetres", 1e2: "centimetres", 1e-3: "kilometres", 1 / 0.3048: "feet"},
    "m/s": {3.6: "km/h", 1 / 0.44704: "mph", 1e3: "mm/s", 3.6 / 1.852: "knots"},
    "m/s^2": {1 / 9.80665: "g", 1e3 / 9.80665: "thousandths of g"},
    "Pa": {1e-2: "mbar", 1e-3: "kPa", 1e-5: "bar", 1e-6: "MPa"},
    "N": {1e3: "mN", 1e-3: "kN", 1 / 9.80665: "kgf"},
    "N*m": {1e3: "mN*m"},
    "kg": {1e3: "grams"},
    "A": {1e3: "mA"},
    "V": {1e3: "mV"},
    "W": {1e3: "mW", 1e-3: "kW"},
    "L/s": {60.0: "L/min", 3.6: "m^3/h"},
}

#: Water freezes at 273.15 K; nothing that moves works below this.
COLDEST_K = 150.0

#: How exactly a factor must be met between two signals, and how well the signals must agree.
RELATION_TOLERANCE, RELATION_CORRELATION, COPY_CORRELATION = 0.04, 0.95, 0.995

#: The most relations that are looked at.
MAX_RELATIONS = 400

#: Names of what turns and is told within one turn.
HEADINGS = ("yaw", "heading", "roll", "pitch", "course", "bearing")

Term = tuple[tuple[int, ...], np.ndarray]


def check_units(measure: EpisodeMeasure, thresholds: Thresholds) -> Iterator[Finding]:
    """Find dimensions whose numbers make sense in another unit only."""
    blamed: set[tuple[str, str]] = set()
    for finding in (*_alone(measure), *_related(measure)):
        if (finding.stream, finding.dimension) not in blamed:
            blamed.add((finding.stream, finding.dimension))
            yield finding


def unit_finding(measure: EpisodeMeasure, stream: str, dimension: str, message: str) -> Finding:
    """Make the finding that a dimension is in another unit."""
    clock = measure.streams[stream].clock
    return Finding(
        kind="unit", stream=stream, dimension=dimension, start_ns=clock.first_ns, end_ns=clock.last_ns, share=1.0,
        message=message, advice="import it again with the unit converted to SI at the reader",
    )  # fmt: skip


def _alone(measure: EpisodeMeasure) -> Iterator[Finding]:
    """What a stream tells by itself."""
    series = measure.series
    for i, column in enumerate(series.columns):
        values = series.values[:, i]
        if not series.known[i]:
            continue
        middle, reach = float(np.median(values)), float(np.abs(values).max())
        if column.unit == "K" and middle < COLDEST_K:
            message = (
                f"got {middle:.4g} K in the middle: these are degrees Celsius, expected about {middle + 273.15:.4g} K"
            )
            yield unit_finding(measure, column.stream, column.dimension, message)
        if column.unit == "rad" and reach > 20 and any(word in column.dimension for word in HEADINGS):
            message = f"got a heading of {reach:.4g} rad, expected within a few turns: these are degrees"
            yield unit_finding(measure, column.stream, column.dimension, message)
        if column.unit == "Pa" and any(
            w in f"{column.stream}.{column.dimension}" for w in ("baro", "ambient", "atmos")
        ):
            unit = next((u for f, u in FACTORS["Pa"].items() if 0.5 < middle / f / 101_325 < 1.1), "")
            if unit:
                message = f"got {middle:.4g} Pa of air, expected about 101325 Pa: these are {unit}"
                yield unit_finding(measure, column.stream, column.dimension, message)
    for stream in dict.fromkeys(column.stream for column in series.columns):
        at = {c.dimension: i for i, c in enumerate(series.columns) if c.stream == stream and series.known[i]}
        for names in _sets(at, "wxyz"):
            if any(series.columns[at[n]].unit != "1" for n in names):
                continue
            norm = np.linalg.norm(series.values[:, [at[n] for n in names]], axis=1)
            if abs(float(np.median(norm)) - 1) > 0.02:
                message = f"got a quaternion of length {float(np.median(norm)):.4g}, expected 1"
                yield unit_finding(measure, stream, names[0], message)
        for names in _sets(at, "xyz"):
            columns = [at[n] for n in names]
            if any(series.columns[i].unit != "m/s^2" for i in columns):
                continue
            norm = np.linalg.norm(series.values[:, columns], axis=1)
            middle = float(np.median(norm))
            if abs(middle - 1) < 0.06 and float(np.quantile(norm, 0.9) - np.quantile(norm, 0.1)) < 0.5:
                message = (
                    f"got an acceleration of {middle:.3g} m/s^2 in the middle, expected gravity's 9.8: these are g"
                )
                for name in names:
                    yield unit_finding(measure, stream, name, message)


def _sets(at: dict[str, int], axes: str) -> Iterator[tuple[str, ...]]:
    """Yield names that differ in nothing but the axis they end with, e.g. acceleration_x, _y and _z."""
    for name in at:
        stem = name[: -len(axes[0])]
        if name.endswith(axes[0]) and (axes != "xyz" or f"{stem}w" not in at):
            names = tuple(stem + axis for axis in axes)
            if all(n in at for n in names):
                yield names


def _related(measure: EpisodeMeasure) -> Iterator[Finding]:
    """What signals tell of one another; blame goes to the one that most of its relations accuse."""
    series = measure.series
    if len(series.values) < 30:
        return
    accused: dict[int, list[tuple[str, str]]] = {}
    cleared: Counter[int] = Counter()
    for left, right, what, least in _relations(series):
        slope = _slope(left[1], right[1], least)
        if slope is None:
            continue
        if abs(slope - 1) < 0.2:
            cleared.update((*left[0], *right[0]))
            continue
        for at, ratio in ((left, slope), (right, 1 / slope)):
            for i in at[0]:
                for factor, unit in FACTORS.get(series.columns[i].unit, {}).items():
                    if abs(ratio / factor - 1) < RELATION_TOLERANCE:
                        text = f"got {what} off by a factor of {ratio:.4g}, expected 1: these are {unit}"
                        accused.setdefault(i, []).append((unit, text))
    if not accused:
        return
    score = {i: len(texts) - 2 * cleared[i] for i, texts in accused.items()}
    worst = max(score.values())
    for i, texts in accused.items():
        if score[i] == worst and worst > 0:
            column = series.columns[i]
            yield unit_finding(measure, column.stream, column.dimension, texts[0][1])


def _relations(series: Series) -> Iterator[tuple[Term, Term, str, float]]:
    """Yield (left, right, in words, least correlation): terms that should be equal, with the columns each is made of."""
    columns, found = series.columns, 0
    values = np.nan_to_num(series.values.astype(np.float64))
    rates = np.gradient(values, series.step_ns / SECOND_NS, axis=0) if len(values) > 1 else values
    for i, one in enumerate(columns):
        for j, other in enumerate(columns):
            if found >= MAX_RELATIONS:
                return
            if i != j and _is_rate(one, other):
                found += 1
                text = f"{one.stream}.{one.dimension}'s change per second and {other.stream}.{other.dimension}"
                yield ((i,), rates[:, i]), ((j,), values[:, j]), text, RELATION_CORRELATION
            if i < j and one.unit == other.unit and one.unit in ("rad", "rad/s", "m/s", "m/s^2"):
                found += 1
                text = f"{one.stream}.{one.dimension} and {other.stream}.{other.dimension}"
                least = RELATION_CORRELATION if ACTION in (one.stream, other.stream) else COPY_CORRELATION
                if least == COPY_CORRELATION or one.dimension == other.dimension:
                    yield ((i,), values[:, i]), ((j,), values[:, j]), text, COPY_CORRELATION
    at = {unit: [i for i, c in enumerate(columns) if c.unit == unit and c.stream != ACTION] for unit in FACTORS}
    for i in at["m"]:
        stem = columns[i].dimension[:-1]
        j = next((k for k in at["m"] if columns[k] == Column(columns[i].stream, f"{stem}y", "m")), None)
        if columns[i].dimension.endswith("x") and j is not None and not stem.endswith("point_"):
            way = np.hypot(rates[:, i], rates[:, j])
            for k in at["m/s"]:
                text = f"the way along {columns[i].stream} per second and {columns[k].stream}.{columns[k].dimension}"
                yield ((i, j), way), ((k,), np.abs(values[:, k])), text, RELATION_CORRELATION
    turning = [
        (v, w, a)
        for v in at["m/s"]
        for w in at["rad/s"]
        for a in at["m/s^2"]
        if "yaw" in columns[w].dimension and columns[a].dimension.endswith("y")
    ]
    for v, w, a in turning[:50]:
        text = f"{columns[a].stream}.{columns[a].dimension} and speed times yaw rate"
        yield ((a,), values[:, a]), ((v, w), values[:, v] * values[:, w]), text, RELATION_CORRELATION


def _is_rate(one: Column, other: Column) -> bool:
    if (one.unit, other.unit) not in (("m", "m/s"), ("rad", "rad/s"), ("m/s", "m/s^2")):
        return False
    return ACTION not in (one.stream, other.stream)


def _slope(left: np.ndarray, right: np.ndarray, least: float) -> float | None:
    """Return how many times ``right`` is ``left``, or None where they do not agree."""
    left, right = left - left.mean(), right - right.mean()
    scale = float(np.sqrt((left @ left) * (right @ right)))
    if not scale > 1e-12 or float(left @ right) / scale < least:
        return None
    # The ratio of the spreads: noise on either side pulls it less than a regression's slope.
    return float(np.sqrt((left @ left) / (right @ right)))
