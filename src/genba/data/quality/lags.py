"""How far apart in time two streams tell the same, and whether that can be known at all.

Any rise looks like any other rise at some distance, and a motion that repeats itself looks like itself. So two signals tell
the same at a lag only if their changes agree there too, in both halves of the episode, better than by chance and clearly
better than at any other lag; and two streams are apart only if all their signals that tell name one lag. Read next:
``alignment``, which blames a clock.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import NormalDist

import numpy as np

from genba.data.quality.series import Series, seconds
from genba.data.quality.thresholds import Thresholds
from genba.spec.episode import ACTION

#: How far apart signals are looked for and the least that there must be of them, in steps of the series, and the most pairs
#: of signals that are compared.
MAX_LAG_STEPS, MIN_STEPS, MAX_PAIRS = 40, 30, 400

#: Steps over which a change is taken: over more, every rise is alike; over fewer, noise hides it.
CHANGE_STEPS = 2

#: In each half of the episode: the least share of the changes' energy, and how well they must agree there.
HALF_SHARE, HALF_CORRELATION = 0.1, 0.5

#: How many times what disagrees at the lag must disagree at any other peak and without a lag.
CLEARLY = 2.0

#: How often signals of two streams that have nothing to do with each other may agree so well by chance, somewhere.
CHANCE = 0.1

#: Units whose equality says nothing about what is measured.
_VAGUE_UNITS = frozenset({"", "id", "s", "1", "count"})


def find_lags(series: Series, thresholds: Thresholds) -> dict[tuple[str, str], float]:
    """Return (stream, stream) -> seconds by which the second tells the same later; only of those that surely do."""
    told: dict[tuple[str, str], list[float]] = defaultdict(list)
    if len(series.values) < MIN_STEPS:
        return {}
    pairs = _pairs(series)
    between = [(series.columns[i].stream, series.columns[j].stream) for i, j in pairs]
    num_pairs = Counter(between)
    for (i, j), streams in zip(pairs, between, strict=True):
        lag = find_lag(series.values[:, i], series.values[:, j], thresholds, num_pairs[streams])
        if lag is not None:
            told[streams].append(seconds(series, lag))
    return {streams: float(np.median(lags)) for streams, lags in told.items() if np.ptp(lags) <= thresholds.lag_s}


def find_lag(one: np.ndarray, other: np.ndarray, thresholds: Thresholds, num_pairs: int = 1) -> float | None:
    """Return by how many steps ``other`` tells the same later than ``one``; None where that cannot be known.

    Args:
        one: ``[step]``.
        other: ``[step]``.
        thresholds: how well they must agree.
        num_pairs: pairs of signals of the same two streams that are tried: the more, the sooner two agree by chance.
    """
    one, other = one.astype(np.float64), other.astype(np.float64)
    reach = min(MAX_LAG_STEPS, len(one) // 3)
    found = correlations(_changes(one), _changes(other), reach)
    at = int(found.argmax())
    agreement = found[at]
    if agreement < thresholds.same_change or not 0 < at < len(found) - 1:
        return None
    inner = found[1:-1]
    peaks = 1 + np.flatnonzero((inner >= found[:-2]) & (inner >= found[2:]))
    others = {float(found[peak]) for peak in peaks if abs(peak - at) > 1}
    if abs(at - reach) > 1:
        others.add(float(found[reach]))
    if 1 - max(others, default=-1.0) < CLEARLY * (1 - agreement):
        return None
    before, after = found[at - 1], found[at + 1]
    bend = before - 2 * agreement + after
    lag = at - reach + (0.5 * (before - after) / bend if bend < 0 else 0.0)
    steps = np.arange(max(0, int(np.ceil(-lag))), len(one) - max(0, int(np.ceil(lag))))
    one, other = one[steps], np.interp(steps + lag, np.arange(len(other)), other)
    if correlations(one, other, 0)[0] < thresholds.same_correlation:
        return None
    one, other = _changes(one), _changes(other)
    is_chance = _chance(one, other, agreement, num_pairs, len(found)) > CHANCE
    return None if is_chance or not _halves_agree(one, other) else lag


def correlations(one: np.ndarray, other: np.ndarray, reach: int) -> np.ndarray:
    """Return the correlation of two signals ``[step]`` for every lag of ``other`` from ``-reach`` to ``reach``.

    Each is taken over the steps that both have at that lag; 0 where one of them is constant there.
    """
    one, other = one - one.mean(), other - other.mean()
    size = 1 << (len(one) + reach).bit_length()
    lags = np.arange(-reach, reach + 1)
    cross = np.fft.irfft(np.conj(np.fft.rfft(one, size)) * np.fft.rfft(other, size), size)[lags]
    common = len(one) - np.abs(lags)
    sums, squares = [], []
    for values, first in ((one, np.maximum(-lags, 0)), (other, np.maximum(lags, 0))):
        total, square = (np.concatenate([[0.0], np.cumsum(v)]) for v in (values, values**2))
        part = total[first + common] - total[first]
        inside = square[first + common] - square[first] - part**2 / common
        sums.append(part)
        # What rounding leaves of a signal that stands still is not its movement.
        squares.append(np.where(inside > 1e-9 * square[-1], inside, 0.0))
    scale = np.sqrt(squares[0] * squares[1])
    return np.divide(cross - sums[0] * sums[1] / common, scale, out=np.zeros(len(lags)), where=scale > 0)


def _changes(values: np.ndarray) -> np.ndarray:
    return values[CHANGE_STEPS:] - values[:-CHANGE_STEPS]


def _chance(one: np.ndarray, other: np.ndarray, agreement: float, num_pairs: int, num_lags: int) -> float:
    """Return in how many of so many pairs and lags two signals that have nothing to do with each other agree as well.

    Smooth signals have fewer independent samples than steps, and as many fewer lags that differ.

    Source: Bartlett 1935, "Some aspects of the time-correlation problem in regard to tests of significance": the
    effective number of samples; Fisher 1921, "On the probable error of a coefficient of correlation deduced from a small sample":
    artanh(r) is normal with a standard deviation of 1 / sqrt(n - 3).
    """
    both = _resemblance(one) * _resemblance(other)
    number = len(one) / max(1.0, 1 + 2 * float(both.sum()))
    # Where all that happens is one event there are fewer still: of Gaussian changes a third as many carry the energy.
    number *= min(1.0, 3 * _busy(one), 3 * _busy(other))
    deviations = float(np.arctanh(min(agreement, 1 - 1e-9)) * np.sqrt(max(number - 3, 0.0)))
    return NormalDist().cdf(-deviations) * num_pairs * max(1.0, num_lags * number / len(one))


def _busy(values: np.ndarray) -> float:
    """Return the share of steps that carry a signal's energy: 1 where all carry as much, 1 / steps where one carries all."""
    energy = (values - values.mean()) ** 2
    return float(energy.sum() ** 2 / (len(values) * (energy**2).sum()))


def _resemblance(values: np.ndarray) -> np.ndarray:
    """Return how a signal correlates with itself 1, 2, ... steps later, up to half of it: towards 0 where little is left."""
    values, size = values - values.mean(), 1 << (2 * len(values)).bit_length()
    found = np.fft.irfft(np.abs(np.fft.rfft(values, size)) ** 2, size)
    return found[1 : len(values) // 2] / found[0]


def _halves_agree(one: np.ndarray, other: np.ndarray) -> bool:
    energy, half = (one - one.mean()) ** 2, len(one) // 2
    return all(
        energy[part].sum() >= HALF_SHARE * energy.sum()
        and correlations(one[part], other[part], 0)[0] >= HALF_CORRELATION
        for part in (slice(half), slice(half, None))
    )


def _pairs(series: Series) -> list[tuple[int, int]]:
    """Return pairs of columns of one unit in different streams, the first ones of every two streams before further ones."""
    moving = [
        i
        for i, column in enumerate(series.columns)
        if series.known[i]
        and column.unit not in _VAGUE_UNITS
        and column.stream != ACTION
        and np.ptp(series.values[:, i]) > 0
    ]
    ranked: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for i in moving:
        for j in moving:
            one, other = series.columns[i], series.columns[j]
            if j < i and one.stream != other.stream and one.unit == other.unit:
                ranked[one.stream, other.stream].append((i, j))
    found = [(rank, pair) for pairs in ranked.values() for rank, pair in enumerate(pairs)]
    return [pair for _, pair in sorted(found)][:MAX_PAIRS]
