"""Intervals against published and derived numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genba.bench.metrics import mean_interval, paired_difference, share_or_mean, wilson


def test_wilson_solves_its_own_equation():
    # the bounds p are where (share - p)^2 = z^2 p (1 - p) / n
    for successes, n in ((3, 10), (47, 50), (1, 200)):
        interval = wilson(successes, n)
        for p in (interval.low, interval.high):
            assert (successes / n - p) ** 2 == pytest.approx(1.959963984540054**2 * p * (1 - p) / n)


def test_wilson_of_none_and_all_is_not_certain():
    # at 0 of n the upper bound is z^2 / (n + z^2): 3.8415 / 13.8415 = 0.27753 for n = 10
    assert wilson(0, 10).low == 0.0
    assert wilson(0, 10).high == pytest.approx(0.27753, abs=1e-5)
    assert wilson(10, 10).low == pytest.approx(1 - 0.27753, abs=1e-5)
    assert wilson(10, 10).high == 1.0
    nothing = wilson(0, 0)
    assert math.isnan(nothing.mean)
    assert (nothing.low, nothing.high) == (0.0, 1.0)
    with pytest.raises(ValueError, match="got 3, expected between 0 and num_trials"):
        wilson(3, 2)


@given(st.integers(0, 60), st.integers(1, 60))
def test_wilson_holds_its_share_and_stays_between_0_and_1(successes, more):
    interval = wilson(successes, successes + more)
    assert 0.0 <= interval.low <= interval.mean <= interval.high <= 1.0


def test_the_bootstrap_interval_is_that_of_the_normal_law_for_many_numbers():
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    interval = mean_interval(values)
    half = 1.96 * values.std() / 20  # sqrt(400) = 20
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.15 * half)
    assert mean_interval(values) == interval


def test_one_number_has_no_interval_and_missing_ones_are_left_out():
    assert mean_interval([2.0, math.nan]).mean == 2.0
    assert mean_interval([2.0]).high == math.inf
    assert math.isnan(mean_interval([]).mean)


def test_no_event_in_twenty_episodes_is_a_share_with_doubt_but_a_mean_of_other_numbers_is_a_mean():
    assert share_or_mean([0.0] * 20) == wilson(0, 20)
    assert share_or_mean([0.0, 0.5]) == mean_interval([0.0, 0.5])


def test_pairs_cancel_what_both_policies_met():
    worlds = np.random.default_rng(0).normal(0, 10, 50)
    difference = paired_difference(worlds + 1.0, worlds)
    assert (difference.low, difference.mean, difference.high) == pytest.approx((1.0, 1.0, 1.0))
