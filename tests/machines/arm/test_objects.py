"""The drawn objects stay in the ranges that the task states."""

import dataclasses

import numpy as np
import pytest

from genba.machines.arm.objects import PRESSED_AT_CRUSH_M, draw_object


def test_the_same_seed_draws_the_same_object_and_another_seed_another():
    assert draw_object(7) == draw_object(7)
    assert draw_object(7) != draw_object(8)


def test_objects_stay_in_their_ranges():
    things = [draw_object(seed) for seed in range(500)]
    assert all(0.08 <= thing.mass_kg <= 1.0 for thing in things)
    assert all(0.3 <= thing.friction <= 1.0 for thing in things)
    assert all(1.5 <= thing.crush_load_n / thing.required_force_n <= 3.0 for thing in things)
    # Pressed at its crush load, each side gives way by less than half of the narrowest box (15 mm).
    assert all(thing.crush_load_n / thing.stiffness_npm <= PRESSED_AT_CRUSH_M + 1e-12 for thing in things)
    # Half pour: binomial, n = 500, p = 0.5 has standard deviation 11.2; four of them are 45.
    assert abs(sum(thing.pour_factor > 1 for thing in things) - 250) <= 45
    # Log-uniform: the median mass is the geometric mean of the ends, sqrt(0.08 * 1.0) = 0.283 kg.
    assert np.median([thing.mass_kg for thing in things]) == pytest.approx(0.283, rel=0.15)


def test_required_force_is_what_coulomb_asks_of_two_pads():
    thing = dataclasses.replace(
        draw_object(0), mass_kg=0.5, pour_factor=1.4, friction=0.7, shake_mps2=2.0, strength=2.0
    )
    # 0.5 kg * 1.4 * (9.80665 + 2.0) m/s^2 / (2 * 0.7) = 5.903325 N
    assert thing.required_force_n == pytest.approx(5.903325)
    assert thing.crush_load_n == pytest.approx(11.80665)
