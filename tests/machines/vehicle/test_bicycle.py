"""The car's motion against circles, ramps and the friction circle."""

from __future__ import annotations

import math

import pytest

from genba.machines.vehicle.bicycle import (
    ACTUATOR_LAG_S,
    GRAVITY_MPS2,
    MAX_STEERING_RATE_RADPS,
    MU,
    WHEELBASE_M,
    BicycleState,
    advance,
)


def test_constant_steering_drives_a_circle_of_radius_wheelbase_over_tangent():
    steering, speed, dt_s = 0.3, 4.0, 0.02
    radius_m = WHEELBASE_M / math.tan(steering)  # 9.05 m
    state = BicycleState(0.0, 0.0, 0.0, speed, 0.0, steering)
    for _ in range(round(math.pi * radius_m / speed / dt_s)):  # half a circle
        state = advance(state, 0.0, steering, dt_s)
    # After half a circle to the left the car is one diameter to the left, facing back.
    assert state.y_m == pytest.approx(2 * radius_m, rel=1e-3)
    assert abs(state.x_m) < speed * dt_s
    assert abs(state.heading_rad) == pytest.approx(math.pi, abs=speed * dt_s / radius_m)


def test_drive_follows_a_command_with_the_lag_of_its_actuator():
    # First order: after one time constant 1 - 1/e of the command, whatever the steps.
    for steps in (1, 5, 50):
        state = BicycleState(0.0, 0.0, 0.0, 5.0)
        for _ in range(steps):
            state = advance(state, 2.0, 0.0, ACTUATOR_LAG_S / steps)
        assert state.acceleration_mps2 == pytest.approx(2.0 * (1 - math.exp(-1)))


def test_steering_moves_no_faster_than_its_rate_limit():
    state = advance(BicycleState(0.0, 0.0, 0.0, 5.0), 0.0, 0.6, 0.1)
    assert state.steering_rad == pytest.approx(MAX_STEERING_RATE_RADPS * 0.1)
    assert advance(state, 0.0, 0.1, 0.1).steering_rad == pytest.approx(0.1)


def test_brakes_stop_the_car_and_do_not_reverse_it():
    state = BicycleState(0.0, 0.0, 0.0, 1.0, -8.0)
    for _ in range(20):
        state = advance(state, -8.0, 0.0, 0.02)
    assert state.speed_mps == 0.0
    # v^2 / (2 a) = 1 / 16 m.
    assert state.x_m == pytest.approx(1 / 16, abs=0.005)


def test_sideways_acceleration_stays_inside_the_friction_circle():
    speed, steering = 20.0, 0.3  # would need 20^2 * tan(0.3) / 2.8 = 44 m/s^2
    state = advance(BicycleState(0.0, 0.0, 0.0, speed, 0.0, steering), 0.0, steering, 0.02)
    assert state.yaw_rate_radps * speed == pytest.approx(MU * GRAVITY_MPS2)
    gentle = 0.05  # needs 20^2 * tan(0.05) / 2.8 = 7.1 m/s^2 of 8.8
    state = advance(BicycleState(0.0, 0.0, 0.0, speed, 0.0, gentle), 0.0, gentle, 0.02)
    assert state.yaw_rate_radps == pytest.approx(speed * math.tan(gentle) / WHEELBASE_M)
