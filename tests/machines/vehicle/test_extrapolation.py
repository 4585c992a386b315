"""Forecasts without learning, by hand: two cars, one that speeds up in a bend and one that brakes to a stop."""

from __future__ import annotations

import math

import numpy as np
import pytest

from genba.machines.vehicle.extrapolation import (
    Going,
    Steering,
    constant_acceleration,
    kinematic_bicycle,
    persistence,
    slopes,
)

GOING = Going(
    speed_mps=np.array([10.0, 1.0]),
    wheel_rad=np.array([0.32, 0.0]),
    yaw_rate_radps=np.array([0.05, 0.0]),
    acceleration_mps2=np.array([2.0, -3.0]),
    wheel_rate_radps=np.array([0.1, -0.2]),
    yaw_acceleration_radps2=np.array([0.01, 0.0]),
)


def test_persistence_keeps_everything():
    found = persistence(GOING, 2.0)
    assert found.speed_mps.tolist() == [10.0, 1.0]
    assert found.wheel_rad.tolist() == [0.32, 0.0] and found.yaw_rate_radps.tolist() == [0.05, 0.0]


def test_constant_acceleration_goes_on_changing_and_stops_at_standstill():
    found = constant_acceleration(GOING, 0.5)
    # 10 + 0.5 * 2; 1 - 0.5 * 3 would be backwards.
    assert found.speed_mps.tolist() == [11.0, 0.0]
    assert found.wheel_rad == pytest.approx([0.37, -0.1])
    assert found.yaw_rate_radps == pytest.approx([0.055, 0.0])


def test_a_bicycle_turns_with_the_speed_it_then_has():
    steering = Steering(wheelbase_m=2.5, ratio=16.0, wheel_offset_rad=0.16, yaw_offset_radps=-0.01)
    found = kinematic_bicycle(GOING, 1.0, steering)
    # 12 m/s, road wheels at (0.32 - 0.16) / 16 = 0.01 rad; the other stands still.
    assert found.speed_mps.tolist() == [12.0, 0.0] and found.wheel_rad.tolist() == [0.32, 0.0]
    assert found.yaw_rate_radps == pytest.approx([12 * math.tan(0.01) / 2.5 - 0.01, -0.01])


def test_a_slope_is_the_least_squares_line_of_the_time_before_and_never_of_what_comes():
    times_ns = np.arange(0, 2_000_000_000, 100_000_000)
    values = np.where(times_ns <= 1_000_000_000, 3.0 * times_ns / 1e9, 100.0)
    assert slopes(times_ns, values, np.array([700_000_000, 1_000_000_000]), over_s=0.5) == pytest.approx([3.0, 3.0])
