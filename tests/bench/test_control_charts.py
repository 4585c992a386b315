"""Control charts: limits against closed forms, distances by hand, planted faults found where they are."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from genba.bench.control_charts import (
    CONFIDENCE,
    distances,
    persistence_errors,
    q_limit,
    t_squared,
    t_squared_and_q,
    t_squared_limit,
)
from genba.spec.units import SECOND_NS


@pytest.mark.parametrize("num_samples", [20, 400])
def test_the_limit_of_two_numbers_has_a_closed_form(num_samples):
    # With two numbers F's tail is (1 + 2 x / d) ** (-d / 2), so its quantile is d / 2 * (tail ** (-2 / d) - 1).
    n, d = num_samples, num_samples - 2
    quantile = d / 2 * ((1 - CONFIDENCE) ** (-2 / d) - 1)
    assert t_squared_limit(2, n) == pytest.approx(2 * (n - 1) * (n + 1) / (n * (n - 2)) * quantile, rel=1e-4)


def test_the_limit_of_one_component_is_wilson_and_hilfertys():
    # The remainder is variance * chi-squared of 1, whose cube root is nearly normal: mean 1 - 2/9, variance 2/9.
    normal = NormalDist().inv_cdf(CONFIDENCE)
    assert q_limit(np.array([3.0])) == pytest.approx(3 * (1 - 2 / 9 + normal * math.sqrt(2 / 9)) ** 3)


def test_a_distance_is_in_the_normal_covariance_and_a_sensor_that_stands_still_is_left_out():
    # Two independent sensors: +-1 and +-10, so variances 4/3 and 400/3 of four samples, and one that never moves.
    normal = np.array([[1.0, 10, 7], [1, -10, 7], [-1, 10, 7], [-1, -10, 7]])
    # In standard deviations (1 and 10) they are alike: (2, 0) and (0, 20) are both 2 away, squared over 4/3.
    assert distances(normal, np.array([[2.0, 0, 7], [0, 20, 9]])).tolist() == pytest.approx([3.0, 3.0])


def test_charts_find_what_breaks_a_correlation_and_are_quiet_before():
    rng = np.random.default_rng(0)
    cause = rng.normal(0, 1, (1000, 1))
    values = np.concatenate([cause, cause, cause, rng.normal(0, 1, (1000, 1))], 1) + rng.normal(0, 0.1, (1000, 4))
    # No sensor leaves its own range; the third no longer goes with the first two.
    values[800:, 2] = rng.normal(0, 1, 200)
    for chart in (t_squared, t_squared_and_q):
        found = chart(values[:400], values[400:])
        # Of a median of five, three must have broken.
        assert not found[:402].any() and found[402:].mean() > 0.5


def test_persistence_is_compared_with_the_newest_sample_that_is_old_enough():
    # Seconds 0, 1, 2, 5, 6; two seconds before these is nothing, nothing, 0, 2 and 2 (4 was not heard).
    times_ns = np.array([0, 1, 2, 5, 6]) * SECOND_NS
    values = np.array([[0.0, 0], [1, 0], [2, 0], [3, 2], [2, 0]])
    found = persistence_errors(times_ns, values, 2 * SECOND_NS)
    # Means over two sensors: (4 + 0) / 2, (1 + 4) / 2, 0.
    np.testing.assert_array_equal(found, [math.nan, math.nan, 2.0, 2.5, 0.0])
