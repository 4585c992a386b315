"""Statistics in the form of LeRobotDataset v3.0: per feature min, max, mean, std, count and five quantiles.

Per episode they are exact (LeRobot's own quantiles come from histograms); of the whole data set they are put together
from the episodes' as LeRobot does it, so quantiles of the whole are a mean of quantiles. Missing numbers (NaN) are left
aside, which LeRobot, that knows none, does not do.

Source: lerobot 0.6.1, ``compute_stats`` (Hugging Face, Apache-2.0): names, shapes, sampling of images.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}

#: statistic -> values; ``count`` int64 ``[1]``, the rest float64 ``[size]`` or, of images, ``[3, 1, 1]``
FeatureStatistics = dict[str, np.ndarray]


def of_numbers(values: np.ndarray) -> FeatureStatistics:
    """Return the statistics of one episode's ``values`` ``[rows, size]``; NaN where a column has no number."""
    values = np.asarray(values, np.float64)
    with warnings.catch_warnings():
        # A column without any number has no statistics, which NaN says.
        warnings.simplefilter("ignore", RuntimeWarning)
        found = {
            "min": np.nanmin(values, axis=0),
            "max": np.nanmax(values, axis=0),
            "mean": np.nanmean(values, axis=0),
            "std": np.nanstd(values, axis=0),
            "count": np.array([len(values)], np.int64),
        }
        quantiles = np.nanquantile(values, list(QUANTILES.values()), axis=0)
    return {**found, **dict(zip(QUANTILES, quantiles, strict=True))}


def of_images(frames: Iterable[np.ndarray], count: int) -> FeatureStatistics:
    """Return the statistics of ``count`` sampled frames, per channel, of values between 0 and 1.

    They come from counts of the 256 values, so they are exact for the pixels that were looked at.
    """
    counts = np.zeros((3, 256), np.int64)
    for frame in frames:
        # Large images are looked at on a grid of about 150 pixels, as LeRobot does.
        height, width = frame.shape[:2]
        step = max(height, width) // 150 if max(height, width) >= 300 else 1
        for channel in range(3):
            counts[channel] += np.bincount(frame[::step, ::step, channel].ravel(), minlength=256)
    levels, total = np.arange(256) / 255, counts.sum(1)
    mean = counts @ levels / total
    rising = np.cumsum(counts, axis=1)
    found = {
        "min": np.array([levels[row > 0][0] for row in counts]),
        "max": np.array([levels[row > 0][-1] for row in counts]),
        "mean": mean,
        "std": np.sqrt(np.maximum(counts @ levels**2 / total - mean**2, 0.0)),
    }
    for name, share in QUANTILES.items():
        found[name] = np.array([levels[np.searchsorted(row, share * row[-1])] for row in rising])
    shaped = {name: value.reshape(3, 1, 1) for name, value in found.items()}
    return {**shaped, "count": np.array([count], np.int64)}


def sampled(length: int) -> np.ndarray:
    """Return which of ``length`` frames LeRobot looks at for statistics: length^0.75 of them, 100 to 10,000."""
    count = max(min(100, length), min(int(length**0.75), 10_000))
    return np.round(np.linspace(0, length - 1, count)).astype(np.int64)


class Total:
    """The statistics of a data set, put together episode by episode; never more than a few numbers per feature."""

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, np.ndarray]] = {}

    def add(self, feature: str, statistics: FeatureStatistics) -> None:
        """Take in one episode's statistics of a feature."""
        count, mean = float(statistics["count"][0]), statistics["mean"]
        known = ~np.isnan(mean)
        weight = np.where(known, count, 0.0)
        square = statistics["std"] ** 2 + mean**2
        sums = {name: np.where(known, statistics[name], 0.0) * count for name in ("mean", *QUANTILES)}
        sums["square"] = np.where(known, square, 0.0) * count
        sums["weight"], sums["count"] = weight, np.array([count])
        if feature not in self._sums:
            self._sums[feature] = {**sums, "min": statistics["min"], "max": statistics["max"]}
            return
        held = self._sums[feature]
        for name, value in sums.items():
            held[name] = held[name] + value
        held["min"], held["max"] = np.fmin(held["min"], statistics["min"]), np.fmax(held["max"], statistics["max"])

    def to_json(self) -> dict[str, dict[str, object]]:
        """Return the content of ``meta/stats.json``; 0 where a number was missing throughout, as JSON has no NaN."""
        out = {}
        for feature, held in self._sums.items():
            weight = np.maximum(held["weight"], 1.0)
            mean = held["mean"] / weight
            found = {
                "min": np.nan_to_num(held["min"]),
                "max": np.nan_to_num(held["max"]),
                "mean": mean,
                "std": np.sqrt(np.maximum(held["square"] / weight - mean**2, 0.0)),
                **{name: held[name] / weight for name in QUANTILES},
            }
            out[feature] = {name: value.tolist() for name, value in found.items()}
            out[feature]["count"] = [int(held["count"][0])]
        return out
