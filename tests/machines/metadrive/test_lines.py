"""A line across a road is found where it is, and one beside a lane is none."""

import math

import numpy as np
import pytest

from genba.machines.metadrive import lines
from genba.machines.metadrive.lines import continuous_lines, crossings, is_shut
from genba.machines.metadrive.route import find_route

from .test_route import Straight, route

TWO = [Straight(0, 0, 50), Straight(0, -3.5, 50)]


def test_a_line_across_one_lane_is_touched_a_car_s_half_width_before_it():
    # across the left lane's middle at x = 20; the right lane's middle is 3.5 - 1 m away from its end
    across = np.array([[20.0, y] for y in np.arange(-1.0, 1.01, 0.25)])
    ((left, right),) = crossings(route(TWO), across)
    # at 19.5 m it is 0.5 m away, at 19.0 m it is 1 m away; the car reaches 0.926 + 0.0375 m
    assert left == 19.5
    assert math.isinf(right)
    assert not is_shut([[left, right]])


def test_a_road_is_shut_where_no_lane_is_left():
    across = np.array([[20.0, y] for y in np.arange(-5.0, 1.01, 0.25)])
    assert is_shut(crossings(route(TWO), across))
    # a line along the lanes' own edge, 1.75 m beside their middles
    beside = np.array([[x, 1.75] for x in np.arange(0, 50, 0.25)])
    assert crossings(route(TWO), beside) == [[math.inf, math.inf]]
    assert crossings(route(TWO), np.empty((0, 2))) == [[math.inf, math.inf]]


@pytest.mark.parametrize(("scene", "shut"), [(5000, True), (5004, False)])
def test_the_packages_scenes(env, scene, shut):
    env.reset(scene)
    found = continuous_lines(env.world)
    assert is_shut(crossings(find_route(env.world.agent.navigation), found)) == shut
    # The edges of the lane in which the car stands are among them or beyond: 1.75 m from its middle at the least.
    nearest_m = np.linalg.norm(found - np.array(env.world.agent.position), axis=1).min()
    assert 1.75 - 0.05 < nearest_m < 12.0
    assert lines.REACH_M < 1.0
