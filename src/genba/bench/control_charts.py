"""Detectors without learning to be compared with: multivariate control charts, and the error of guessing that nothing changes.

A chart is fitted to the normal beginning of a recording and gives an alarm per later sample. Limits and smoothing are those of the Skoltech Anomaly
Benchmark's leaderboard: a confidence of 0.999, a running median of 5, twice the limit for T-squared without components.

Source: Hotelling 1947, "Multivariate quality control"; Jackson and Mudholkar 1979, "Control procedures for residuals associated with principal component
    analysis", Technometrics 21, eq. 3.2 and 3.4.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.999
NUM_MEDIAN = 5
#: Share of the variance that the kept components explain.
EXPLAINED = 0.85


def t_squared(normal: np.ndarray, watched: np.ndarray) -> np.ndarray:
    """Return where the distance from the normal mean, in the metric of the normal covariance, is too large: bool ``[sample]``.

    Args:
        normal, watched: ``[sample, sensor]``.
    """
    moving = int((normal.std(0) > 0).sum())
    return _running_median(distances(normal, watched)) > 2 * t_squared_limit(moving, len(normal))


def t_squared_and_q(normal: np.ndarray, watched: np.ndarray) -> np.ndarray:
    """Return where the distance within the principal components, or what they leave over, is too large: bool ``[sample]``.

    Args:
        normal, watched: ``[sample, sensor]``.
    """
    reference, values = _standardised(normal, watched)
    variances, directions = np.linalg.eigh(np.cov(reference.T))
    variances, directions = variances[::-1], directions[:, ::-1]
    count = int(np.searchsorted(np.cumsum(variances) / variances.sum(), EXPLAINED, side="right")) + 1
    kept = directions[:, :count]
    distance = _quadratic(values @ kept, np.diag(1 / variances[:count]))
    alarmed = _running_median(distance) > t_squared_limit(count, len(reference))
    if count < len(variances):
        left = np.square(values - values @ kept @ kept.T).sum(1)
        alarmed |= _running_median(left) > q_limit(variances[count:])
    return alarmed


def distances(normal: np.ndarray, watched: np.ndarray) -> np.ndarray:
    """Return T-squared itself, float64 ``[sample]``, of ``watched`` ``[sample, sensor]`` as ``t_squared`` takes it."""
    reference, values = _standardised(normal, watched)
    return _quadratic(values, np.linalg.inv(np.cov(reference.T)))


def persistence_errors(times_ns: np.ndarray, values: np.ndarray, horizon_ns: int) -> np.ndarray:
    """Return the mean squared change of the sensors since a horizon ago: float64 ``[sample]``, NaN where there is no such sample.

    Args:
        times_ns: int64 ``[sample]``.
        values: ``[sample, sensor]``, in comparable units.
        horizon_ns: how long before; the newest sample at least so old is taken.
    """
    before = np.searchsorted(times_ns, times_ns - horizon_ns, side="right") - 1
    errors = np.square(values - values[np.maximum(before, 0)]).mean(1)
    return np.where(before >= 0, errors, math.nan)


def t_squared_limit(num_numbers: int, num_samples: int) -> float:
    """Return the limit of a new sample's T-squared, where mean and covariance of so many numbers come from so many samples."""
    m, n = num_numbers, num_samples
    return m * (n - 1) * (n + 1) / (n * (n - m)) * _f_quantile(CONFIDENCE, m, n - m)


def q_limit(variances: np.ndarray) -> float:
    """Return the limit of the squared remainder, from the variances of the components that were left out."""
    first, second, third = (float((variances**power).sum()) for power in (1, 2, 3))
    h = 1 - 2 * first * third / (3 * second**2)
    normal = NormalDist().inv_cdf(CONFIDENCE)
    return first * (normal * math.sqrt(2 * second * h * h) / first + second * h * (h - 1) / first**2 + 1) ** (1 / h)


def _standardised(normal: np.ndarray, watched: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both in standard deviations of the first, without the sensors that do not move there."""
    mean, std = normal.mean(0), normal.std(0)
    moving = std > 0
    return (normal[:, moving] - mean[moving]) / std[moving], (watched[:, moving] - mean[moving]) / std[moving]


def _quadratic(values: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return np.einsum("ij,jk,ik->i", values, matrix, values)


def _running_median(values: np.ndarray) -> np.ndarray:
    """Return the median of the last samples; NaN, which alarms nobody, before there are as many."""
    out = np.full(len(values), math.nan)
    if len(values) >= NUM_MEDIAN:
        out[NUM_MEDIAN - 1 :] = np.median(np.lib.stride_tricks.sliding_window_view(values, NUM_MEDIAN), axis=1)
    return out


def _f_quantile(share: float, first: int, second: int) -> float:
    """Return the quantile of Fisher's F distribution, by adding up its density on a grid of the root, where it has no pole."""
    root = np.linspace(0, 8, 80_001)
    logarithm = (
        math.lgamma((first + second) / 2)
        - math.lgamma(first / 2)
        - math.lgamma(second / 2)
        + first / 2 * math.log(first / second)
    )
    x = root[1:] ** 2
    density = 2 * np.exp(
        logarithm + (first - 1) * np.log(root[1:]) - (first + second) / 2 * np.log1p(first * x / second)
    )
    below = np.cumsum((np.concatenate([[density[0]], density[:-1]]) + density) / 2) * (root[1] - root[0])
    return float(np.interp(share, below, x))
