"""Worlds that may be trained on: each seed one of its own, and none of them what a condition holds out."""

from __future__ import annotations

import numpy as np
import pytest

from genba.machines.vehicle import bicycle
from genba.machines.vehicle.bicycle import MU
from genba.machines.vehicle.conditions import CONDITIONS, FIRST_ID, PRIORITY_CAR_RATE_HZ, SIZES_M
from genba.machines.vehicle.expert import GapExpert
from genba.machines.vehicle.geometry import corners, distance_to_segments
from genba.machines.vehicle.kerb import FIRST_PARKED_ID, place, with_free_pavements
from genba.machines.vehicle.network import LANE_WIDTH_M, load_road
from genba.machines.vehicle.scenario import draw_scenario
from genba.machines.vehicle.simulator import VehicleEnv
from genba.machines.vehicle.traffic_process import TRUCK
from genba.machines.vehicle.varied import CAR_RATES_HZ, MINOR_SHARE, PERSON_FACTORS, vary
from genba.machines.vehicle.verifier import verify
from genba.registry import HELD_OUT_TASKS, task
from genba.spec.observation import Observation

SEEDS = range(400)


@pytest.fixture(scope="module")
def env():
    env = VehicleEnv(vary)
    yield env
    env.close()


def test_it_may_be_trained_on_and_its_test_seeds_may_not():
    varied = task("vehicle/varied@1")
    assert varied.id not in HELD_OUT_TASKS and len(varied.train_seeds) == 1_000_000
    assert set(varied.test_seeds).isdisjoint(varied.train_seeds)


def test_a_seed_is_one_world_and_others_are_others(env):
    assert vary(3) == vary(3)
    assert len({vary(seed).person_rate_hz for seed in SEEDS}) == len(SEEDS)
    env.reset(3)
    first = env.world.objects.copy()
    env.reset(4)
    assert env.condition == vary(4)
    env.reset(3)
    assert env.condition == vary(3)
    np.testing.assert_array_equal(env.world.objects, first)


def test_no_world_is_one_that_a_condition_holds_out():
    worlds = [vary(seed) for seed in SEEDS]
    for held_out in CONDITIONS:
        for world in worlds:
            differs = (
                held_out.event != world.event == "none",
                held_out.mu < world.mu == MU,
                held_out.lidar_drops_out and not world.lidar_drops_out,
                held_out.is_signal_off and not world.is_signal_off,
                held_out.control != world.control == "signalised",
                held_out.control == "allway_stop" != world.control,
                # where there is no light, the fullest arm carries 0.6 of the dense road's cars or less
                bool(held_out.car_rates_hz)
                and max(world.car_rates_hz.values()) <= 0.6 * max(held_out.car_rates_hz.values()),
            )
            assert any(differs), held_out.name
    assert CAR_RATES_HZ["priority"][1] <= 0.6 * PRIORITY_CAR_RATE_HZ


def test_the_worlds_reach_from_sparse_to_dense_with_a_light_and_without():
    worlds = [vary(seed) for seed in SEEDS]
    people = np.array([world.person_rate_hz for world in worlds]) / 0.16
    # 200 worlds of each control: some come within a tenth of either end; an arm has at least half of the world's level.
    for control, (least_hz, most_hz) in CAR_RATES_HZ.items():
        fullest_hz = [max(world.car_rates_hz.values()) for world in worlds if world.control == control]
        assert 0.5 * least_hz <= min(fullest_hz) < 1.1 * least_hz and 0.9 * most_hz < max(fullest_hz) <= most_hz
    # 400 draws come within a twentieth of the ends.
    assert PERSON_FACTORS[0] <= people.min() < 0.315 and 2.85 < people.max() <= PERSON_FACTORS[1]
    without = [world for world in worlds if world.control == "priority"]
    assert 150 < len(without) < 250  # 200, and five standard deviations of 10
    for world in without:
        rates = world.car_rates_hz
        # A minor arm has at most 0.4 of the level, a main one at least 0.5 of it.
        assert max(rates["n"], rates["s"]) <= MINOR_SHARE / 0.5 * min(rates["e"], rates["w"])
    trucks = [vehicle.kind == TRUCK for world in worlds for vehicle in world.parked]
    assert 0.3 < np.mean(trucks) < 0.5 and any(not world.parked for world in worlds)


def test_who_is_parked_stands_beside_every_lane_clear_of_the_crossings_and_of_each_other():
    road = load_road()
    for seed in SEEDS[:60]:
        middles = []
        for parked in vary(seed).parked:
            x, y, heading = place(parked, road)
            length_m, width_m = SIZES_M[parked.kind]
            assert width_m == parked.width_m
            points = corners(x, y, heading, length_m / 2, width_m / 2)
            nearest_m = min(distance_to_segments(*point, road.segments) for point in points)
            # As drawn, and so off the lane whose edge is 1.6 m from its middle.
            assert (
                nearest_m == pytest.approx(bicycle.WIDTH_M / 2 + parked.gap_m, abs=0.02)
                and nearest_m > LANE_WIDTH_M / 2
            )
            # Half a truck is 4 m: it begins 8 m past the junction, and ends where nobody sets out (30 m before it).
            assert parked.from_junction_m - length_m / 2 >= (31.0 if parked.side == "in" else 8.0)
            middles.append((x, y))
        for i, middle in enumerate(middles):
            assert all(np.hypot(*np.subtract(middle, other)) > 8.0 for other in middles[:i])


def test_nobody_walks_through_a_parked_vehicle():
    seed = next(seed for seed in SEEDS if any(vehicle.side == "out" for vehicle in vary(seed).parked))
    parked, scenario = vary(seed).parked, draw_scenario(seed)
    closed = {vehicle.arm for vehicle in parked if vehicle.side == "out"}
    left = with_free_pavements(scenario, parked).persons
    assert left == tuple(person for person in scenario.persons if person.target not in closed) != scenario.persons
    assert with_free_pavements(scenario, ()) == scenario


@pytest.mark.parametrize("control", ["signalised", "priority"])
def test_the_expert_crosses_and_who_is_parked_never_moves(env, control):
    seed = next(seed for seed in SEEDS if vary(seed).control == control and vary(seed).parked)
    expert, step = GapExpert(env), env.reset(seed)
    ids = FIRST_PARKED_ID + np.arange(len(vary(seed).parked))
    first = env.world.objects[np.isin(env.world.objects[:, 0], ids)].copy()
    assert len(first) == len(ids) and (env.world.objects[:, 0] >= FIRST_ID).sum() == len(ids)
    while not (step.terminated or step.truncated):
        step = env.step(expert.act(Observation(env.embodiment.id, step.time_ns, {})).at(step.time_ns))
    np.testing.assert_array_equal(env.world.objects[np.isin(env.world.objects[:, 0], ids)], first)
    assert verify(env.trace())["success"] == 1.0
