"""The environment: determinism, clocks, sensors against the truth, and errors that name what is missing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from genba.errors import SimulatorError
from genba.machines.vehicle import traffic as traffic_module
from genba.machines.vehicle.expert import GapExpert
from genba.machines.vehicle.network import load_road
from genba.machines.vehicle.scenario import draw_scenario
from genba.machines.vehicle.simulator import LIDAR_AGE_NS, SIGNAL_AGE_NS, VehicleEnv
from genba.machines.vehicle.traffic import Traffic
from genba.spec.action import Action
from genba.spec.conformance import check_env
from genba.spec.protocols import Env, Policy
from genba.spec.units import to_ns


def test_it_meets_the_contract_and_the_same_seed_gives_the_same_world(env: VehicleEnv):
    assert isinstance(env, Env)
    policy = GapExpert(env)
    assert isinstance(policy, Policy)
    check_env(env, policy, seed=3, num_steps=60)


def test_another_process_gives_the_same_world_and_another_seed_another(env: VehicleEnv):
    first = env.reset(7)
    other = VehicleEnv()
    try:
        again = other.reset(7)
        np.testing.assert_array_equal(first.samples["lidar"].values, again.samples["lidar"].values)
        np.testing.assert_array_equal(env.world.objects, other.world.objects)
    finally:
        other.close()
    different = env.reset(8)
    assert not np.array_equal(first.samples["telemetry"].values, different.samples["telemetry"].values)


def test_every_channel_speaks_on_its_own_clock(env: VehicleEnv):
    env.reset(1)
    step = env.step(Action(np.array([0.0, 0.0], np.float32)))
    times = {name: stream.times_ns.tolist() for name, stream in step.samples.items()}
    assert times["telemetry"] == [step.time_ns - to_ns(0.02) * (4 - i) for i in range(5)]
    assert times["lidar"] == [step.time_ns - LIDAR_AGE_NS]
    assert times["signal"] == [step.time_ns - SIGNAL_AGE_NS]
    assert times["route"] == [step.time_ns]


def test_the_route_shows_where_the_road_goes_in_the_car_s_frame(env: VehicleEnv):
    step = env.reset(1)
    names = [d.name for d in env.embodiment.channel("route").dimensions]
    route = dict(zip(names, step.samples["route"].values[0].tolist(), strict=True))
    world = env.world
    # On a straight approach, on the lane's centre line, waypoints lie 3 m apart straight ahead.
    assert [route[f"waypoint_x_{i}"] for i in range(10)] == pytest.approx([3.0 * (i + 1) for i in range(10)], abs=0.05)
    assert max(abs(route[f"waypoint_y_{i}"]) for i in range(10)) < 0.5
    assert route["distance_to_stop_line"] == pytest.approx(-14.9 - (world.ego.y_m + 3.7), abs=1e-3)
    assert abs(route["lateral_error"]) < 0.2


def test_lidar_returns_lie_on_something_that_is_there(env: VehicleEnv):
    env.reset(4)
    for _ in range(20):
        step = env.step(Action(np.array([0.0, 0.0], np.float32)))
    world, points = env.world, step.samples["lidar"].values.astype(float)
    ego = world.ego
    # The sweep is 20 ms old: the car was 0.02 v back.
    x = ego.x_m - 0.02 * ego.speed_mps * math.cos(ego.heading_rad) + 1.4 * math.cos(ego.heading_rad)
    y = ego.y_m - 0.02 * ego.speed_mps * math.sin(ego.heading_rad) + 1.4 * math.sin(ego.heading_rad)
    c, s = math.cos(ego.heading_rad), math.sin(ego.heading_rad)
    px, py = x + points[:, 0] * c - points[:, 1] * s, y + points[:, 0] * s + points[:, 1] * c
    nearest = np.full(len(points), np.inf)
    boxes = [(o[2], o[3], o[4], o[6] / 2, o[7] / 2) for o in world.objects]
    boxes += [(27.0 * i, 27.0 * j, 0.0, 14.0, 14.0) for i in (-1, 1) for j in (-1, 1)]
    for bx, by, heading, half_length, half_width in boxes:
        u = np.abs((px - bx) * math.cos(heading) + (py - by) * math.sin(heading)) - half_length
        v = np.abs(-(px - bx) * math.sin(heading) + (py - by) * math.cos(heading)) - half_width
        nearest = np.minimum(nearest, np.hypot(np.maximum(u, 0), np.maximum(v, 0)))
    # Noise of 2 cm (five standard deviations) and up to 0.02 s of an object's acceleration and turning.
    assert len(points) > 50 and nearest.max() < 0.25


def test_the_light_is_the_one_of_the_ego_s_lane_and_its_age_grows(env: VehicleEnv):
    for seed in range(6):
        step = env.reset(seed)
        colour, distance_m, age_s = step.samples["signal"].values[0]
        cycle_s = (draw_scenario(seed).cycle_s + 5.0) % 42.0
        # The programme of the ego's arm: 16 s green, 3 s yellow, then red.
        assert colour == (3 if cycle_s < 16 else 2 if cycle_s < 19 else 1)
        assert age_s == pytest.approx(min(cycle_s - {3: 0, 2: 16, 1: 19}[int(colour)], 30.0), abs=0.11)
        assert distance_m > 20.0


def test_scenarios_are_a_function_of_the_seed_and_use_every_manoeuvre():
    assert draw_scenario(5) == draw_scenario(5)
    assert {draw_scenario(seed).manoeuvre for seed in range(20)} == {"left", "straight", "right"}


def test_the_ego_s_paths_join_their_lanes_without_a_jump():
    for (manoeuvre, _), path in load_road().paths.items():
        steps = np.linalg.norm(np.diff(path.points[:, :2], axis=0), axis=1)
        assert steps.max() < 0.56 and steps.min() > 0.4, manoeuvre
        turned = path.points[-1, 2] - path.points[0, 2]
        assert turned == pytest.approx(
            {"left": math.pi / 2, "straight": 0.0, "right": -math.pi / 2}[manoeuvre], abs=1e-3
        )


def test_a_step_before_a_reset_says_so():
    with pytest.raises(SimulatorError, match="call reset"):
        VehicleEnv().step(Action(np.zeros(2, np.float32)))


def test_a_process_that_dies_becomes_an_error_that_names_the_system_packages(monkeypatch):
    traffic = Traffic()
    traffic.reset(draw_scenario(0))
    assert traffic._process is not None
    traffic._process.kill()
    with pytest.raises(SimulatorError, match="libgl1"):
        traffic.step(0.0, 0.0, 0.0, 0.0)
    assert traffic._process is None
    # It starts anew on the next reset.
    traffic.reset(draw_scenario(0))
    traffic.close()


def test_an_error_inside_sumo_reaches_the_caller_in_words(monkeypatch):
    class Elsewhere:
        net_file = "/nowhere/intersection.net.xml"

    monkeypatch.setattr(traffic_module, "load_road", lambda control: Elsewhere)
    traffic = Traffic()
    with pytest.raises(SimulatorError, match="nowhere"):
        traffic.reset(draw_scenario(0))
