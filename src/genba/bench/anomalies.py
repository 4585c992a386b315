"""Scores of anomaly detectors by the definitions of the Skoltech Anomaly Benchmark, and how a score becomes an alarm.

``count`` is outlier detection: every sample is anomalous or not, and so is every alarm. ``changes`` and ``nab`` are changepoint detection: where the
alarm begins or ends is what was found. Both are summed over recordings before anything is divided. Written from the
benchmark's description and its own evaluation; nothing of its code is here. Read next: ``control_charts``, the classical detectors.

Source: Katser and Kozitsin, "Skoltech Anomaly Benchmark (SKAB)", 2020, doi 10.34740/KAGGLE/DSV/1693952, evaluation of its second leaderboard
    (the first 400 samples of a recording are the training part and are not scored; windows of 60 s to the right of a changepoint).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from genba.bench.metrics import NUM_RESAMPLES, Interval
from genba.errors import DataError
from genba.spec.units import to_ns

#: How long after a changepoint finding it counts, seconds.
CHANGE_WINDOW_S = 60.0
#: Profile -> what a false and a missed changepoint cost; a found one is worth at most 1.
PROFILES = {"standard": (-0.11, -1.0), "low FP": (-0.22, -1.0), "low FN": (-0.11, -2.0)}


@dataclass(frozen=True, slots=True)
class Counts:
    """Samples by what they were and whether there was an alarm."""

    num_found: int = 0
    num_false: int = 0
    num_missed: int = 0
    num_quiet: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.num_found + other.num_found,
            self.num_false + other.num_false,
            self.num_missed + other.num_missed,
            self.num_quiet + other.num_quiet,
        )

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 0 to 1; NaN where nothing was anomalous and nothing alarmed."""
        return _share(2 * self.num_found, 2 * self.num_found + self.num_false + self.num_missed)

    @property
    def false_alarm_rate(self) -> float:
        """Share of normal samples with an alarm."""
        return _share(self.num_false, self.num_false + self.num_quiet)

    @property
    def missed_alarm_rate(self) -> float:
        """Share of anomalous samples without one."""
        return _share(self.num_missed, self.num_missed + self.num_found)


@dataclass(frozen=True, slots=True)
class Changes:
    """What was found of a recording's changepoints."""

    #: for each one found, how far into its window: 0 at once, 1 at the end
    found: tuple[float, ...] = ()
    num_missed: int = 0
    num_false: int = 0

    def __add__(self, other: Changes) -> Changes:
        return Changes(self.found + other.found, self.num_missed + other.num_missed, self.num_false + other.num_false)


@dataclass(frozen=True, slots=True)
class Score:
    """What came of a detector's alarms on one recording, or on several together."""

    counts: Counts = field(default_factory=Counts)
    changes: Changes = field(default_factory=Changes)

    def __add__(self, other: Score) -> Score:
        return Score(self.counts + other.counts, self.changes + other.changes)

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Score:
        """Return what ``dataclasses.asdict`` had made a table of, also where that went through JSON."""
        found = table["changes"]
        return cls(Counts(**table["counts"]), Changes(tuple(found["found"]), found["num_missed"], found["num_false"]))


def alarms(scores: np.ndarray, *, num_normal: int, num_mean: int, quantile: float) -> np.ndarray:
    """Return where the mean of the last scores is above what it was in the normal beginning: bool ``[sample]``.

    Args:
        scores: ``[sample]``, higher where less is as usual; NaN where there is none, at the start and after a gap: there the last mean stands.
        num_normal: how many samples are the beginning.
        num_mean: how many scores are averaged; before there are as many, there is no alarm.
        quantile: of the beginning's means, 0 to 1: the limit.

    Raises:
        DataError: the beginning is too short for one mean.
    """
    known = np.isfinite(scores)
    if known[:num_normal].sum() < num_mean:
        raise DataError(
            f"got {int(known[:num_normal].sum())} scores in the beginning, expected at least {num_mean} to average"
        )
    sums = np.cumsum(np.concatenate([[0.0], scores[known]]))
    means = np.concatenate([np.full(num_mean, -math.inf), (sums[num_mean:] - sums[:-num_mean]) / num_mean])
    # How many scores there were until each sample; before the first whole mean that is -inf.
    latest = means[np.cumsum(known)]
    beginning = latest[:num_normal]
    return latest > np.quantile(beginning[np.isfinite(beginning)], quantile)


def score(times_ns: np.ndarray, anomalous: np.ndarray, changepoints: np.ndarray, alarmed: np.ndarray) -> Score:
    """Return what came of a recording's alarms; times are int64 ``[sample]``, all others bool ``[sample]``."""
    return Score(count(anomalous, alarmed), changes(times_ns, changepoints, alarmed))


def count(anomalous: np.ndarray, alarmed: np.ndarray) -> Counts:
    """Count the samples of one recording; both are bool ``[sample]``."""
    return Counts(
        int((anomalous & alarmed).sum()),
        int((~anomalous & alarmed).sum()),
        int((anomalous & ~alarmed).sum()),
        int((~anomalous & ~alarmed).sum()),
    )


def changes(times_ns: np.ndarray, changepoints: np.ndarray, alarmed: np.ndarray) -> Changes:
    """Find a recording's changepoints by where the alarm begins or ends.

    Each changepoint has a window of ``CHANGE_WINDOW_S`` after it; one that would begin within the last one begins at its end. The first change of the
    alarm within a window finds it, further ones there count as nothing, and those outside of every window are false.

    Args:
        times_ns: int64 ``[sample]``.
        changepoints, alarmed: bool ``[sample]``.
    """
    changed = times_ns[np.flatnonzero(np.diff(alarmed.astype(np.int8), prepend=0))]
    windows: list[tuple[int, int]] = []
    for begin in times_ns[changepoints].tolist():
        end = begin + to_ns(CHANGE_WINDOW_S)
        windows.append((max(begin, windows[-1][1]) if windows else begin, end))
    found, within = [], np.zeros(len(changed), np.bool_)
    for begin, end in windows:
        inside = (changed >= begin) & (changed <= end)
        within |= inside
        if inside.any():
            found.append(float(changed[inside][0] - begin) / (end - begin))
    return Changes(tuple(found), len(windows) - len(found), int((~within).sum()))


def nab(found: Changes) -> dict[str, float]:
    """Return the score of each profile: 100 where every changepoint is found at once and nothing else, 0 for no alarm at all.

    Source: Lavin and Ahmad 2015, "Evaluating Real-time Anomaly Detection Algorithms: the Numenta Anomaly Benchmark", with the benchmark's own form of
        the sigmoid, which is exactly 1 at the window's beginning and the price of a false one at its end.
    """
    number = len(found.found) + found.num_missed
    scores = {}
    for name, (false, missed) in PROFILES.items():
        worth = sum(
            (1 - false) / 2 * (1 - math.tanh(math.pi * (place - 0.5)) / math.tanh(math.pi / 2)) + false
            for place in found.found
        )
        value = worth + false * found.num_false + missed * found.num_missed
        scores[name] = 100 * _share(value - missed * number, number - missed * number)
    return scores


def f1_interval(recordings: Sequence[Sequence[Counts]], others: Sequence[Sequence[Counts]] = ()) -> Interval:
    """Return the F1 of all recordings together, mean over seeds, or how much more it is than another detector's.

    The interval is the 95 % percentile bootstrap over recordings; both detectors meet the same ones.

    Args:
        recordings: for each, its counts by seed.
        others: the same of another detector; none to compare with none.
    """
    drawn = np.random.default_rng(0).integers(0, len(recordings), (NUM_RESAMPLES, len(recordings)))
    everything = np.arange(len(recordings))[None]
    value, spread = _f1(recordings, everything)[0], _f1(recordings, drawn)
    if others:
        value, spread = value - _f1(others, everything)[0], spread - _f1(others, drawn)
    low, high = np.quantile(spread, [0.025, 0.975])
    return Interval(float(value), float(low), float(high))


def _f1(recordings: Sequence[Sequence[Counts]], drawn: np.ndarray) -> np.ndarray:
    """Return the F1 of each row of ``drawn`` ``[resample, recording]``, mean over seeds; 0 where nothing was there to find."""
    numbers = np.array([[(one.num_found, one.num_false + one.num_missed) for one in seeds] for seeds in recordings])
    found, wrong = np.moveaxis(numbers[drawn].sum(1), -1, 0)
    return (2 * found / np.maximum(2 * found + wrong, 1)).mean(1)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
