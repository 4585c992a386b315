"""Two episodes are nearly the same only where every stream says so, while it moves."""

import numpy as np
import pytest

from genba.data.quality.duplicates import compare
from genba.data.quality.series import Column, Series
from genba.data.quality.thresholds import Thresholds

COLUMNS = (Column("wheels", "speed", "m/s"), Column("lidar", "range", "m"))


def series(speed, range_m):
    return Series(0, 100_000_000, COLUMNS, np.stack([speed, range_m], 1).astype(np.float32))


def wander(seed):
    return np.convolve(np.random.default_rng(seed).normal(size=120), np.hanning(9), "valid")[:100]


def test_copied_part_is_found_with_its_steps_and_difference():
    whole = series(wander(0), wander(1))
    part = Series(0, whole.step_ns, COLUMNS, whole.values[25:95])
    # The part's step 0 is the whole's 25.
    assert compare(whole, part, 25, Thresholds()) == (70, 0.0, 0)


def test_difference_is_that_of_the_stream_that_differs_most():
    speed, range_m = wander(0), wander(1)
    spread = np.std(range_m)
    steps, difference, first = compare(series(speed, range_m), series(speed, range_m + 0.1 * spread), 0, Thresholds())
    # A tenth of the spread everywhere, as a share of what a Gaussian's middle is of its spread (0.67); a little less at
    # the best of the fractions.
    assert (steps, first) == (100, 0)
    assert 0.1 < difference <= 0.1 / 0.67 + 1e-3


def test_same_way_through_other_surroundings_is_no_copy():
    assert compare(series(wander(0), wander(1)), series(wander(0), wander(2)), 0, Thresholds()) is None


def test_standing_still_together_is_no_copy():
    # Both stand for 70 of 100 steps; before that they go their own ways.
    moving = np.arange(100) < 30
    one, other = (series(wander(seed) * moving, wander(seed + 5) * moving) for seed in (1, 2))
    still = np.median(np.abs(one.values - other.values), 0)
    assert still.tolist() == [0.0, 0.0]
    assert compare(one, other, 0, Thresholds()) is None


@pytest.mark.parametrize("lag", [60, -60])
def test_less_than_half_in_common_is_not_compared(lag):
    whole = series(wander(0), wander(1))
    assert compare(whole, whole, lag, Thresholds()) is None
    assert compare(whole, whole, 0, Thresholds()) == (100, 0.0, 0)
