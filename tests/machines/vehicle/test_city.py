"""Real crossings: a car of the measured demand becomes the ego before the light, and everything is where the net says."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from genba.errors import SimulatorError
from genba.machines.vehicle.bicycle import FRONT_M
from genba.machines.vehicle.city import CityEnv, load_city
from genba.machines.vehicle.city_process import FARTHEST_M, NEAREST_M
from genba.machines.vehicle.simulator import GREEN, RED
from genba.registry import HELD_OUT_TASKS, task

# Found, not imported: its package wants a SUMO of its own.
if importlib.util.find_spec("sumo_rl") is None:
    pytest.skip("real crossings come with the extra 'maps'", allow_module_level=True)


@pytest.fixture(scope="module", params=["cologne1", "ingolstadt1"])
def env(request):
    env = CityEnv(request.param)
    yield env
    env.close()


def test_the_ego_begins_on_its_route_before_the_light(env):
    for seed in (3, 4):
        env.reset(seed)
        world = env.world
        # The front bumper lies on the lane's centre line, as SUMO drives; the rear axle follows it in bends.
        assert abs(world.lateral_m) < 1.0
        assert NEAREST_M - 1.0 <= world.stop_line_m <= FARTHEST_M + 1.0
        assert world.colour in (RED, 2, GREEN)
        assert len(world.objects) > 0 and len(np.unique(world.objects[:, 0])) == len(world.objects)
        # Around the light: the front at most 85 m of way before it, across the junction at most as far again.
        assert np.hypot(world.ego.x_m, world.ego.y_m) < FARTHEST_M + FRONT_M + 40.0
        assert world.path.goal_m > world.path.stop_m + 35.0


def test_the_same_seed_is_the_same_scene_and_another_is_another(env):
    env.reset(5)
    first = env.world.objects.copy()
    env.reset(6)
    other = env.world.objects.copy()
    env.reset(5)
    np.testing.assert_array_equal(env.world.objects, first)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_ingolstadt_is_held_out_and_cologne_is_not():
    assert "vehicle/ingolstadt1@1" in HELD_OUT_TASKS and not task("vehicle/ingolstadt1@1").train_seeds
    assert "vehicle/cologne1@1" not in HELD_OUT_TASKS and task("vehicle/cologne1@1").train_seeds


def test_a_crossing_that_no_wheel_carries_is_refused_by_name():
    with pytest.raises(SimulatorError, match=r"the crossing nowhere1 comes with sumo-rl; install it with: pip install"):
        load_city("nowhere1")
