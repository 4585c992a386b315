"""A lag is named where two signals tell the same, and where they only look alike it is not."""

import numpy as np
import pytest

from genba.data.quality.lags import correlations, find_lag, find_lags
from genba.data.quality.series import Column, Series
from genba.data.quality.thresholds import Thresholds

STEP_NS = 100_000_000


def wander(seed, count=240):
    """Random numbers, smoothed over about half a second: no part looks like another."""
    values = np.random.default_rng(seed).normal(size=count + 20)
    return np.convolve(values, np.hanning(9), "valid")[:count]


def rise(at, count=90, steps=12):
    """From 0 to 1 once, in ``steps`` steps around ``at``."""
    return 0.5 * (1 + np.tanh((np.arange(count) - at) / (steps / 4)))


def series(**streams):
    """A series of one stream per name, each with the signals given."""
    columns = tuple(Column(name, f"d{i}", "m") for name, signals in streams.items() for i in range(len(signals)))
    values = np.stack([signal for signals in streams.values() for signal in signals], 1).astype(np.float32)
    return Series(0, STEP_NS, columns, values)


@pytest.mark.parametrize("late", [-23, -1, 0, 7, 31])
def test_signal_that_tells_the_same_later_is_found_by_as_much(late):
    whole = wander(0)
    # other[t] = one[t - late].
    one, other = whole[40:200], whole[40 - late : 200 - late]
    assert find_lag(one, other, Thresholds()) == pytest.approx(late, abs=0.05)


def test_lag_between_two_steps_is_found():
    whole = wander(0)
    halfway = 0.5 * (whole[40:200] + whole[39:199])
    assert find_lag(whole[40:200], halfway, Thresholds()) == pytest.approx(0.5, abs=0.1)


def test_one_rise_is_not_another():
    # Twelve steps later and a little slower, in the middle of what both have: their changes agree to 0.99, in both halves.
    one, other = rise(39), rise(51, steps=14)
    before, after = np.diff(one[:78]), np.diff(other[12:])
    assert min(correlations(before[part], after[part], 0)[0] for part in (slice(39), slice(39, None))) > 0.99
    assert find_lag(one, other, Thresholds()) is None


def test_motion_that_repeats_itself_names_no_lag():
    # Twenty steps long: 5 later is 15 earlier.
    time = np.arange(200)
    one, other = np.sin(2 * np.pi * time / 20), np.sin(2 * np.pi * (time - 5) / 20)
    assert find_lag(one, other, Thresholds()) is None


def test_signals_that_have_nothing_to_do_with_each_other_name_no_lag():
    paths = [np.cumsum(wander(seed, 60)) for seed in range(40)]
    assert [find_lag(one, other, Thresholds()) for one, other in zip(paths[:20], paths[20:], strict=True)] == [
        None
    ] * 20


def test_streams_whose_signals_name_different_lags_are_not_judged():
    first, second = wander(1), wander(2)
    agree = series(a=[first[30:200], second[30:200]], b=[first[20:190], second[20:190]])
    assert find_lags(agree, Thresholds()) == {("b", "a"): pytest.approx(-1.0, abs=0.01)}
    # The one 1 s later, the other 2.5 s.
    differ = series(a=[first[30:200], second[30:200]], b=[first[20:190], second[5:175]])
    assert find_lags(differ, Thresholds()) == {}


def test_correlations_are_those_of_the_common_steps():
    one, other = wander(3, 50) + 100, wander(4, 50)
    found = correlations(one, other, 10)
    for lag in range(-10, 11):
        a, b = one[max(0, -lag) : 50 - max(0, lag)], other[max(0, lag) : 50 - max(0, -lag)]
        assert found[lag + 10] == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-9)
    assert correlations(np.ones(50), other, 3).tolist() == [0.0] * 7
