"""Scores of anomaly detectors: counted by hand, and the rule that makes an alarm of a score."""

import math
from dataclasses import asdict

import numpy as np
import pytest

from genba.bench.anomalies import Changes, Counts, Score, alarms, changes, count, f1_interval, nab, score
from genba.bench.metrics import Interval
from genba.errors import DataError
from genba.spec.units import SECOND_NS


def marks(length, *where):
    out = np.zeros(length, np.bool_)
    out[list(where)] = True
    return out


def test_rates_are_shares_of_the_samples_that_were_normal_or_anomalous():
    # Ten samples, four anomalous; alarms at three of these and at two of the six others.
    found = count(marks(10, 2, 3, 4, 5), marks(10, 3, 4, 5, 6, 7))
    assert found == Counts(num_found=3, num_false=2, num_missed=1, num_quiet=4)
    assert found.false_alarm_rate == 2 / 6 and found.missed_alarm_rate == 1 / 4
    # Precision 3/5, recall 3/4: F1 = 2 * 3 / (5 + 4).
    assert found.f1 == pytest.approx(2 / (5 / 3 + 4 / 3))
    assert math.isnan(count(marks(3), marks(3)).f1)


def test_a_change_of_the_alarm_finds_the_changepoint_before_it():
    times_ns = np.arange(400) * SECOND_NS
    # It begins 15 s after the changepoint at 100 and ends 30 s after that at 200: a quarter and half of the windows.
    alarmed = np.zeros(400, np.bool_)
    alarmed[115:230] = True
    assert changes(times_ns, marks(400, 100, 200), alarmed) == Changes((0.25, 0.5), 0, 0)
    # Before a changepoint, or more than a minute after it, a change is false, and the changepoint missed.
    assert changes(times_ns, marks(400, 116, 169), alarmed) == Changes((), 2, 2)
    # Two changes in one window are one.
    assert changes(times_ns, marks(400, 100), marks(400, 115)) == Changes((0.25,), 0, 0)
    # An alarm that is there from the first sample has begun there.
    assert changes(times_ns, marks(400, 100), np.ones(400, np.bool_)) == Changes((), 1, 1)


def test_windows_that_overlap_are_cut_where_the_first_ends():
    times_ns = np.arange(400) * SECOND_NS
    alarmed = np.zeros(400, np.bool_)
    alarmed[145:] = True
    # 100 to 160, and 130 to 190 begins at 160: the change at 145 is the first one's alone.
    assert changes(times_ns, marks(400, 100, 130), alarmed) == Changes((0.75,), 1, 0)


def test_nab_is_100_for_a_perfect_detector_and_0_for_none():
    for profile in nab(Changes()).values():
        assert math.isnan(profile)
    assert nab(Changes((0.0, 0.0), 0, 0)) == pytest.approx({"standard": 100, "low FP": 100, "low FN": 100})
    assert nab(Changes((), 2, 0)) == pytest.approx({"standard": 0, "low FP": 0, "low FN": 0})
    # One of two found in the middle of its window, where it is worth half-way between 1 and a false one's price; one missed, one false.
    # standard: worth (1 - 0.11) / 2 = 0.445, score 0.445 - 1 - 0.11 = -0.665 between -2 and 2.
    # low FP: 0.39 - 1 - 0.22 = -0.83 between -2 and 2; low FN: 0.445 - 2 - 0.11 = -1.665 between -4 and 2.
    expected = {"standard": 100 * 1.335 / 4, "low FP": 100 * 1.17 / 4, "low FN": 100 * 2.335 / 6}
    assert nab(Changes((0.5,), 1, 1)) == pytest.approx(expected)


def test_found_at_the_end_of_its_window_a_change_is_worth_no_more_than_a_false_one():
    # -0.11 between -1 and 1.
    assert nab(Changes((1.0,), 0, 0))["standard"] == pytest.approx(100 * 0.89 / 2)


def test_scores_of_recordings_add_up_and_survive_json():
    times_ns = np.arange(100) * SECOND_NS
    one = score(times_ns, marks(100, 10, 11), marks(100, 10), marks(100, 11, 40))
    # Alarms at 11 and 40, one sample each: begun and ended at 11, 12, 40, 41; the window of 10 reaches to 70.
    assert one == Score(Counts(1, 1, 1, 97), Changes((1 / 60,), 0, 0))
    assert Score.from_json(asdict(one)) == one
    assert one + one == Score(Counts(2, 2, 2, 194), Changes((1 / 60, 1 / 60), 0, 0))


def test_an_alarm_is_a_mean_above_the_beginnings_quantile():
    scores = np.array([math.nan, 1, 3, 1, 3, 2, 2, 10, 2, 2, 2, 2])
    # Means of two: 2 2 2 2.5 2 in the beginning, then 6 6 2 ...; the greatest there is 2.5.
    found = alarms(scores, num_normal=7, num_mean=2, quantile=1.0)
    assert np.flatnonzero(found).tolist() == [7, 8]
    # The median there is 2: only what is above it, not what equals it.
    assert np.flatnonzero(alarms(scores, num_normal=7, num_mean=2, quantile=0.5)).tolist() == [5, 7, 8]


def test_where_there_is_no_score_the_last_mean_stands():
    scores = np.array([1.0, 1, 1, 1, 10, math.nan, math.nan, 1, 1, 1])
    # Means of two at 4 and 7 are 5.5; between them nothing is known, and the alarm goes on.
    assert np.flatnonzero(alarms(scores, num_normal=4, num_mean=2, quantile=1.0)).tolist() == [4, 5, 6, 7]


def test_what_comes_later_changes_no_alarm_before():
    rng = np.random.default_rng(0)
    scores = rng.exponential(1.0, 200)
    changed = scores.copy()
    changed[150:] += 50
    before = alarms(scores, num_normal=100, num_mean=10, quantile=0.99)
    after = alarms(changed, num_normal=100, num_mean=10, quantile=0.99)
    assert (before[:150] == after[:150]).all() and after[160:].all()


def test_a_beginning_shorter_than_one_mean_is_refused():
    with pytest.raises(DataError, match="got 9 scores in the beginning, expected at least 10 to average"):
        alarms(np.ones(50), num_normal=9, num_mean=10, quantile=0.99)


def test_the_interval_of_f1_is_over_recordings():
    good, bad = Counts(10, 0, 0, 10), Counts(0, 0, 10, 10)
    # All alike: no spread. One of two: 20 found twice over and 10 missed together, from 0 to 1 alone.
    assert f1_interval([[good], [good]]) == Interval(1.0, 1.0, 1.0)
    assert f1_interval([[good], [bad]]) == Interval(20 / 30, 0.0, 1.0)
    # Means over seeds come before the interval.
    assert f1_interval([[good, bad], [good, bad]]) == Interval(0.5, 0.5, 0.5)


def test_two_detectors_are_compared_on_the_same_recordings():
    easy, hard = Counts(10, 0, 0, 10), Counts(0, 0, 10, 10)
    # However unlike the recordings are: two that do the same on each differ by nothing.
    assert f1_interval([[easy], [hard]], [[easy], [hard]]) == Interval(0.0, 0.0, 0.0)
    # Better by 1 on one of two alike, 0 or 1 for each drawn alone: 20/30 against 0.
    assert f1_interval([[easy], [hard]], [[hard], [hard]]) == Interval(20 / 30, 0.0, 1.0)
