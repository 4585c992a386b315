"""The conditions: in the scene and seen by the LiDAR, the same for the same seed, and closed to training."""

from __future__ import annotations

import math

import numpy as np
import pytest

from genba.bench.collect import collect
from genba.errors import ConfigError
from genba.machines.vehicle import bicycle
from genba.machines.vehicle.bicycle import BicycleState, advance
from genba.machines.vehicle.conditions import (
    CONDITIONS,
    FIRST_ID,
    LOW_MU,
    RUNNER_START_M,
    Body,
    draw_bodies,
    made_way,
)
from genba.machines.vehicle.expert import GapExpert, plan_along
from genba.machines.vehicle.network import load_road
from genba.machines.vehicle.scenario import draw_scenario
from genba.machines.vehicle.simulator import VehicleEnv
from genba.machines.vehicle.traffic_process import PERSON
from genba.machines.vehicle.verifier import verify
from genba.registry import task
from genba.spec.action import Action
from genba.spec.episode import Episode
from genba.spec.observation import Observation

BY_NAME = {condition.name: condition for condition in CONDITIONS}
NOBODY = np.zeros((0, 8))
SEED = 1_000_000


class Kept:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.episodes: list[Episode] = []

    def append(self, episode: Episode) -> None:
        self.episodes.append(episode)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_no_seed_of_a_condition_may_be_collected_for_training(name):
    found = task(f"vehicle/{name}@1")
    assert len(found.test_seeds) == 100 and len(found.train_seeds) == 0
    kept = Kept()
    for seed in (0, SEED):
        with pytest.raises(ConfigError, match="it has no train seeds, nothing is collected"):
            collect(task=found.id, policy="gap", seeds=[seed], sink=kept)
    assert kept.episodes == []


@pytest.mark.parametrize("name", ["jaywalker", "blocked-lane", "stopped-in-box", "occluded-pedestrian"])
def test_whoever_the_condition_adds_is_in_the_scene_and_returns_the_beams(name):
    env = VehicleEnv(BY_NAME[name])
    try:
        policy, step = GapExpert(env), env.reset(SEED)
        seen = False
        while not (seen or step.terminated or step.truncated):
            step = env.step(policy.act(Observation(env.embodiment.id, step.time_ns, {})).at(step.time_ns))
            added = env.world.objects[:, 0] >= FIRST_ID
            assert added.any()
            seen = bool(env.world.visible[added].any())
        assert seen
    finally:
        env.close()


def test_the_lidar_is_silent_for_two_seconds_of_every_four():
    env = VehicleEnv(BY_NAME["lidar-drop-out"])
    try:
        step, speaks = env.reset(SEED), []
        for _ in range(80):
            speaks.append("lidar" in step.samples)
            assert {"telemetry", "route", "signal"} <= set(step.samples)
            step = env.step(Action(np.array([-3.0, 0.0], np.float32)))
        assert speaks == ([True] * 20 + [False] * 20) * 2
    finally:
        env.close()


def test_low_friction_bounds_braking_to_mu_g():
    state = BicycleState(0.0, 0.0, 0.0, 10.0)
    for _ in range(50):
        state = advance(state, -8.0, 0.0, 0.02, LOW_MU)
    assert state.acceleration_mps2 == pytest.approx(-0.25 * 9.81)


def test_a_walker_starts_when_both_would_arrive_together_and_not_for_a_car_that_stands():
    # 4 m to walk at 1 m/s takes 4 s; at 10 m/s the front bumper (3.7 m before the axle) is 40 m short then.
    walker = Body(FIRST_ID, PERSON, (0.0, 0.0), 0.0, 1.0, conflict_along_m=100.0, reach_m=4.0)
    walker.advance(0.1, 100.0 - bicycle.FRONT_M - 40.1, 10.0, NOBODY)
    assert walker.gone_m < 0 and walker.row()[5] == 0.0
    walker.advance(0.1, 100.0 - bicycle.FRONT_M - 5.0, 0.0, NOBODY)
    assert walker.gone_m < 0
    walker.advance(0.1, 100.0 - bicycle.FRONT_M - 39.9, 10.0, NOBODY)
    assert walker.gone_m == pytest.approx(0.1) and walker.row()[5] == 1.0


def test_a_body_waits_for_a_car_in_its_way():
    walker = Body(FIRST_ID, PERSON, (0.0, 0.0), 0.0, 1.0, gone_m=0.0)
    # Half of 0.5 m and of 4.5 m and 0.3 s at 1 m/s: it stops where less than 2.8 m lie between the middles.
    for x, gone in ((2.7, 0.0), (2.9, 0.1)):
        walker.gone_m = 0.0
        walker.advance(0.1, 0.0, 5.0, np.array([[1, 0, x, 0.0, 0.0, 0.0, 4.5, 1.8]]))
        assert walker.gone_m == pytest.approx(gone)


@pytest.mark.parametrize("way", sorted(load_road().paths))
def test_the_child_s_truck_leaves_a_metre_to_the_car_and_the_runner_meets_the_route(way):
    path = load_road().paths[way]
    bodies, standing = draw_bodies(BY_NAME["occluded-pedestrian"], SEED, path, way[1])
    x, y = (standing[0].x_m, standing[0].y_m) if standing else bodies[1].start
    # Half of the car's 1.85 m, 1 m, and half of the truck's 2.4 m to the right of the route.
    near_m = float(np.argmin(np.hypot(path.points[:, 0] - x, path.points[:, 1] - y))) * 0.5
    assert path.project(x, y, near_m)[1] == pytest.approx(-(0.925 + 1.0 + 1.2), abs=0.01)
    (runner,), _ = draw_bodies(BY_NAME["red-light-runner"], SEED, path, way[1])
    meets_x, meets_y = runner.start[0] + runner.reach_m, runner.start[1]
    route_x, route_y, _, _ = path.at(runner.conflict_along_m)
    assert math.hypot(meets_x - route_x, meets_y - route_y) < 0.5 and runner.start[0] == -RUNNER_START_M


def test_a_dark_light_sends_nothing_and_shows_no_colour():
    env = VehicleEnv(BY_NAME["signal-off"])
    try:
        step = env.reset(SEED)
        for _ in range(5):
            assert "signal" not in step.samples and {"lidar", "telemetry", "route"} <= set(step.samples)
            assert env.world.colour == 0
            step = env.step(Action(np.array([0.0, 0.0], np.float32)))
    finally:
        env.close()


def test_the_priority_road_has_no_light_and_more_cars_than_the_minor_one():
    road, signalised = load_road("priority"), load_road()
    assert road.net_file != signalised.net_file and "<tlLogic" not in road.net_file.read_text()
    assert "<tlLogic" in signalised.net_file.read_text()
    for way, path in signalised.paths.items():  # the same place within 2 mm (and 1/m)
        np.testing.assert_allclose(road.paths[way].points, path.points, atol=2e-3)
    rates = BY_NAME["dense-priority-road"].car_rates_hz
    entered = dict.fromkeys("nesw", 0)
    for seed in range(30):
        for car in draw_scenario(seed, rates).cars:
            entered[car.origin] += car.position_m < 0
    # 30 schedules of 86 s: 439 cars at 0.17 per second, 103 at 0.04; five standard deviations are 105 and 51.
    for arm, expected in (("e", 439), ("w", 439), ("n", 103), ("s", 103)):
        assert abs(entered[arm] - expected) < 5 * math.sqrt(expected)


def test_at_an_all_way_stop_no_channel_tells_of_the_sign_and_who_knows_of_it_stops_and_gets_its_turn():
    env = VehicleEnv(BY_NAME["all-way-stop"])
    try:
        expert, outcomes = GapExpert(env), []
        for knows in (False, True):
            step, has_stood = env.reset(SEED), not knows
            while not (step.terminated or step.truncated):
                world = env.world
                assert world.colour == 0 and step.samples["signal"].values[-1, 0] == 0
                action = expert.act(Observation(env.embodiment.id, step.time_ns, {})).at(step.time_ns)
                has_stood |= world.ego.speed_mps < 0.3 and world.stop_line_m < 2.7
                if not has_stood:
                    stop_m = world.path.stop_m - 1.0
                    halt = plan_along(
                        world.path, world.along_m, world.lateral_m, world.ego.speed_mps, world.objects, stop_m
                    )
                    action = Action(np.array([halt, action.continuous[1]], np.float32))
                step = env.step(action)
            outcomes.append(verify(env.trace()))
        assert [outcome["ran_stop"] for outcome in outcomes] == [1.0, 0.0]
        assert [outcome["success"] for outcome in outcomes] == [1.0, 1.0]
    finally:
        env.close()


def test_nobody_waits_for_ever_for_a_car_that_stands_in_the_junction():
    road, condition = load_road(), BY_NAME["stopped-in-box"]
    path, scenario = road.paths["straight", 1], draw_scenario(SEED)
    bodies, (standing,) = draw_bodies(condition, SEED, path, 1)
    left = {(car.origin, car.target) for car in made_way(condition, scenario, [standing], bodies, road.ways).cars}
    assert ("s", "n") not in left  # it stands on that very way
    middle_x = standing.x_m - 2.25 * math.cos(standing.heading_rad)
    middle_y = standing.y_m - 2.25 * math.sin(standing.heading_rad)
    for way in left:
        nearest_m = min(np.hypot(line[:, 0] - middle_x, line[:, 1] - middle_y).min() for line in road.ways[way])
        assert nearest_m > 1.8  # two half widths of 0.9 m
    assert left  # the others still drive


def test_a_fire_engine_s_arm_is_cleared_and_the_other_arms_are_as_they_were():
    road, condition, scenario = load_road(), BY_NAME["emergency-vehicle"], draw_scenario(SEED)
    for (manoeuvre, lane), path in road.paths.items():
        bodies, _ = draw_bodies(condition, SEED, path, lane)
        # The ego goes right into the eastbound road; straight and left it crosses or joins the westbound one.
        arm = "w" if manoeuvre == "right" else "e"
        assert bodies[0].start[0] == (-RUNNER_START_M if arm == "w" else RUNNER_START_M)
        kept = made_way(condition, scenario, [], bodies, road.ways).cars
        assert kept == tuple(car for car in scenario.cars if car.origin != arm) != scenario.cars


@pytest.mark.parametrize("seed", range(SEED, SEED + 5))
def test_the_cyclist_leaves_a_hand_s_breadth_to_a_car_that_keeps_to_its_lane(seed):
    for (_, lane), path in load_road().paths.items():
        (cyclist,), _ = draw_bodies(BY_NAME["wrong-way-cyclist"], seed, path, lane)
        _, lateral_m = path.project(*cyclist.start, path.goal_m + 12.0)
        # Half of 1.85 m and of 0.6 m are 1.225 m.
        assert 0.12 < -lateral_m - 1.225 < 0.58
