"""Crossings that others drew: a car of their demand becomes the ego before the light, and everything is where the net says."""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from genba.errors import SimulatorError
from genba.machines.vehicle.bicycle import FRONT_M
from genba.machines.vehicle.city import MOST_AHEAD, CityEnv, load_city
from genba.machines.vehicle.city_process import FARTHEST_M, NEAREST_M
from genba.machines.vehicle.network import sumo_home
from genba.machines.vehicle.simulator import DARK, GREEN, RED
from genba.machines.vehicle.traffic import KIND, LENGTH, X, Y
from genba.machines.vehicle.traffic_process import CAR, TRUCK
from genba.registry import HELD_OUT_TASKS, task


@pytest.fixture(scope="module", params=["cologne1", "ingolstadt1", "rilsa1", "rilsa3"])
def env(request):
    # Found, not imported: its package wants a SUMO of its own.
    if not request.param.startswith("rilsa") and importlib.util.find_spec("sumo_rl") is None:
        pytest.skip("real crossings come with the extra 'maps'")
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
        # In example 3 one approach turns left at a flashing arrow, which reads as no light.
        assert world.colour in ((DARK, RED, 2, GREEN) if env.name == "rilsa3" else (RED, 2, GREEN))
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


@pytest.mark.parametrize("name", ["ingolstadt1", "rilsa1", "rilsa3"])
def test_all_but_cologne_are_held_out(name):
    assert f"vehicle/{name}@1" in HELD_OUT_TASKS and not task(f"vehicle/{name}@1").train_seeds
    assert "vehicle/cologne1@1" not in HELD_OUT_TASKS and task("vehicle/cologne1@1").train_seeds


@pytest.mark.parametrize(("name", "cars", "trucks"), [("rilsa1", 2170 - 176, 176), ("rilsa3", 2715 - 183, 183)])
def test_the_guideline_s_demand_is_what_its_script_writes_and_its_lights_are_its_own(name, cars, trucks):
    # The guideline's vehicles of an hour, all movements together, and each one's share of lorries, rounded down.
    city = load_city(name)
    flows = ElementTree.parse(city.route_file).getroot().findall("flow")
    numbers = {
        kind: sum(int(flow.attrib["number"]) for flow in flows if flow.get("type") == kind) for kind in ("PKW", "LKW")
    }
    assert numbers == {"PKW": cars, "LKW": trucks}
    # The script lies in the wheel, what it writes does not.
    assert city.net_file.is_relative_to(sumo_home()) and not city.route_file.is_relative_to(sumo_home())
    assert [path.is_relative_to(sumo_home()) for path in city.additional_files] == [True, True]


def test_a_lorry_of_the_guideline_is_a_truck_and_at_most_four_cars_are_before_the_ego():
    env = CityEnv("rilsa1")
    try:
        kinds: set[tuple[float, float]] = set()
        for seed in range(4):
            env.reset(seed)
            objects, world = env.world.objects, env.world
            kinds |= {(kind, length_m) for kind, length_m in objects[:, [KIND, LENGTH]].tolist()}
            heading = world.path.at(world.along_m)[2]
            offset = objects[:, [X, Y]] - world.path.at(world.along_m)[:2]
            ahead = offset @ [np.cos(heading), np.sin(heading)] + objects[:, LENGTH] / 2  # of the front bumper
            aside = np.abs(offset @ [-np.sin(heading), np.cos(heading)])
            # lanes are 3.3 m apart; from the rear axle to the line it is 3.7 m more than from the front bumper
            assert ((ahead > FRONT_M) & (ahead < world.stop_line_m + FRONT_M) & (aside < 1.5)).sum() <= MOST_AHEAD
        assert kinds == {(CAR, 5.0), (TRUCK, 15.0)}
    finally:
        env.close()


def test_a_crossing_that_no_wheel_carries_is_refused_by_name():
    with pytest.raises(SimulatorError, match=r"the crossing nowhere1 comes with sumo-rl; install it with: pip install"):
        load_city("nowhere1")
