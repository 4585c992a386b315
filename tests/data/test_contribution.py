"""How well losses tell two groups apart: against counted pairs, and with an interval that says what few episodes can show."""

import numpy as np
import pytest

from genba.data.contribution import auc


def test_it_is_the_share_of_pairs_in_order_and_a_tie_counts_half():
    # Pairs (1, 2) and (1, 3) are in order, (3, 2) is not, (3, 3) is a tie: 2.5 of 4.
    assert auc([1.0, 3.0], [2.0, 3.0]).value == 2.5 / 4


def test_too_few_episodes_show_nothing():
    for members, held_back in (([1.0], [2.0, 3.0]), ([1.0, 2.0], []), ([], [])):
        found = auc(members, held_back)
        assert (found.value, found.low, found.high) == (None, None, None)
        assert (found.num_members, found.num_held_back) == (len(members), len(held_back))


def test_where_nothing_leaks_the_interval_covers_a_half_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(60):
        found = auc(rng.normal(size=20), rng.normal(size=15), seed=seed)
        assert found.low is not None and found.high is not None and found.low < found.value < found.high
        covered += found.low <= 0.5 <= found.high
    # 95 % of 60 are 57; fewer than 50 would be 4 standard deviations (1.7) off.
    assert covered >= 50


def test_more_episodes_make_the_interval_narrower():
    rng = np.random.default_rng(1)
    few, many = (auc(rng.normal(size=n), rng.normal(0.5, size=n)) for n in (10, 160))
    assert few.high is not None and few.low is not None and many.high is not None and many.low is not None
    # By the root of 16, four times, give or take half.
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(4, rel=0.5)
