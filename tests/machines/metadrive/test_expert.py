"""The teacher's rules, each by a number that can be worked out, and a scene that it drives to the end."""

import math

import numpy as np
import pytest

from genba.errors import SpecError
from genba.machines.metadrive import expert
from genba.machines.metadrive.expert import Planner

from .conftest import play

STRAIGHT = np.stack([0.5 * np.arange(90), np.zeros(90), np.zeros(90)], 1)


def clear(others, speed):
    """The speed that is clear at 9 m/s allowed, everybody going straight on."""
    return expert.clear_speed(STRAIGHT, others, expert.forecast(others, [None] * len(others)), speed, 9.0)


def other(x, y, heading=0.0, speed=0.0):
    return np.array([[x, y, heading, speed, 4.5, 1.9]])


def test_a_bend_is_driven_at_the_speed_of_its_sideways_acceleration():
    radius = 20.0
    turn = 0.5 * np.arange(90) / radius
    circle = np.stack([radius * np.sin(turn), radius * (1 - np.cos(turn)), turn], 1)
    assert expert.bend_speed(circle) == pytest.approx(math.sqrt(2.5 * radius), rel=0.02)
    assert expert.bend_speed(STRAIGHT) > expert.SPEED_MPS


def test_nobody_is_met_on_an_empty_road():
    assert clear(np.empty((0, 6)), 5.0) == 9.0


def test_it_slows_for_who_crosses_and_not_for_who_has_crossed():
    # At 9 m/s it is at 18 m after 2 s, where a car from the right at 5 m/s that is 10 m away will be then.
    crossing = other(18.0, -10.0, math.pi / 2, 5.0)
    assert clear(crossing, 9.0) < 9.0
    gone = other(18.0, 10.0, math.pi / 2, 5.0)
    assert clear(gone, 9.0) == 9.0


def test_who_comes_from_behind_in_the_same_lane_is_not_fled_from():
    assert clear(other(-8.0, 0.0, 0.0, 12.0), 5.0) == 9.0


@pytest.mark.parametrize(("speed", "wanted", "sign"), [(5.0, 6.0, 1), (6.0, 5.0, -1), (0.5, 0.0, -1)])
def test_the_throttle_has_the_sign_of_what_is_missing(speed, wanted, sign):
    assert np.sign(expert.throttle(speed, wanted)) == sign
    assert -1.0 <= expert.throttle(speed, wanted) <= 1.0


def test_another_machine_is_refused():
    with pytest.raises(SpecError, match="got a str, expected a MetaDriveEnv"):
        Planner("a lathe")


def test_it_arrives(env):
    steps = play(env, Planner(env), 5004)
    trace = env.trace()
    assert steps[-1].terminated and trace["arrive_dest"][-1]
    assert not trace["out_of_road"].any() and not trace["crash_vehicle"].any()
