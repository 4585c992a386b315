"""Numbers with their uncertainty: a share with its Wilson interval, a mean with its bootstrap interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: two-sided 95 % of a normal distribution
Z_95 = 1.959963984540054
NUM_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the 95 % interval around it, in the unit of what was measured."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}]"


def wilson(num_successes: int, num_trials: int) -> Interval:
    """Return the share of successes with its 95 % Wilson score interval; from 0 to 1 where nothing was tried.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference", without continuity
        correction.
    """
    if not 0 <= num_successes <= num_trials:
        raise ValueError(f"num_successes: got {num_successes}, expected between 0 and num_trials ({num_trials})")
    if num_trials == 0:
        return Interval(math.nan, 0.0, 1.0)
    n, share, z2 = num_trials, num_successes / num_trials, Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # at 0 and n the bound is exactly the share; rounding must not say otherwise
    return Interval(share, min(max(0.0, centre - half), share), max(min(1.0, centre + half), share))


def mean_interval(values: Sequence[float] | np.ndarray, *, seed: int = 0) -> Interval:
    """Return the mean of ``values`` with its 95 % percentile bootstrap interval; NaN are left out.

    With fewer than two numbers the interval is unbounded.

    Source: Efron and Tibshirani 1993, "An introduction to the bootstrap", section 13.3, 2000 resamples, seeded.
    """
    kept = np.asarray(values, np.float64)
    kept = kept[np.isfinite(kept)]
    if len(kept) < 2:
        return Interval(float(kept[0]) if len(kept) else math.nan, -math.inf, math.inf)
    rng = np.random.default_rng(seed)
    means = kept[rng.integers(0, len(kept), (NUM_RESAMPLES, len(kept)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(kept.mean()), float(low), float(high))


def share_or_mean(values: Sequence[float] | np.ndarray) -> Interval:
    """Return the Wilson interval where every number is 0 or 1, else the bootstrap interval of the mean.

    A bootstrap of nothing but zeros says that zero is certain, which twenty episodes without a collision do not show.
    """
    kept = np.asarray(values, np.float64)
    kept = kept[np.isfinite(kept)]
    if len(kept) and bool(np.isin(kept, (0.0, 1.0)).all()):
        return wilson(int(kept.sum()), len(kept))
    return mean_interval(kept)


def paired_difference(
    ours: Sequence[float] | np.ndarray, theirs: Sequence[float] | np.ndarray, *, seed: int = 0
) -> Interval:
    """Return the mean of ``ours - theirs`` over the same worlds, with its bootstrap interval.

    Two policies met the same seeds, so what is common to both cancels: the interval is tighter than two separate ones.
    """
    return mean_interval(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64), seed=seed)
