"""The teacher succeeds, labels any state, reacts to what is seen only; the baselines differ from it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from genba.machines.vehicle.baselines import ConstantSpeed, idm
from genba.machines.vehicle.expert import GapExpert, plan_acceleration
from genba.machines.vehicle.simulator import GREEN, RED, VehicleEnv
from genba.machines.vehicle.traffic_process import CAR, PERSON
from genba.machines.vehicle.verifier import verify
from genba.spec.action import Action
from genba.spec.observation import Observation


def drive(env: VehicleEnv, policy, seed: int, max_steps: int = 800):
    step = env.reset(seed)
    policy.reset(seed)
    for _ in range(max_steps):
        if step.terminated or step.truncated:
            break
        step = env.step(policy.act(Observation(env.embodiment.id, step.time_ns, {})).at(step.time_ns))
    return step


@pytest.mark.parametrize("seed", [0, 1, 2, 9])
def test_the_expert_crosses_and_the_verifier_agrees(env: VehicleEnv, seed: int):
    step = drive(env, GapExpert(env), seed)
    outcome = verify(env.trace())
    assert step.terminated and outcome["success"] == 1.0, outcome


@pytest.mark.parametrize(("seed", "how"), [(1, "ran_red"), (4, "collided")])
def test_constant_speed_fails_and_simulator_and_verifier_agree_on_the_end(env: VehicleEnv, seed: int, how: str):
    step = drive(env, ConstantSpeed(env), seed)
    outcome = verify(env.trace())
    assert step.terminated and outcome["success"] == 0.0 and outcome[how] == 1.0


def test_the_expert_labels_any_state_that_another_steers_into(env: VehicleEnv):
    expert, random = GapExpert(env), np.random.default_rng(0)
    step, low, high = env.reset(11), [-8.0, -0.6], [3.0, 0.6]
    for _ in range(80):
        if step.terminated:
            break
        label = expert.act(Observation(env.embodiment.id, step.time_ns, {})).at(step.time_ns)
        again = expert.act(Observation(env.embodiment.id, step.time_ns, {})).at(step.time_ns)
        assert label is not None and again is not None
        assert np.all(label.continuous >= low) and np.all(label.continuous <= high)
        np.testing.assert_array_equal(label.continuous, again.continuous)
        step = env.step(Action(random.uniform([-3, -0.2], [3, 0.2]).astype(np.float32)))


def test_it_stops_for_red_and_not_for_green(env: VehicleEnv):
    env.reset(0)
    path = env.world.path
    near = dataclasses.replace(
        env.world,
        ego=dataclasses.replace(env.world.ego, speed_mps=8.0),
        along_m=path.stop_m - 3.7 - 15.0,
        objects=env.world.objects[:0],
        visible=env.world.visible[:0],
    )
    # Standing 2.5 m before the line from 8 m/s takes 64 / (2 * 12.5) = 2.56 m/s^2.
    assert plan_acceleration(dataclasses.replace(near, colour=RED)) == pytest.approx(-64 / 25 * 1.05)
    assert plan_acceleration(dataclasses.replace(near, colour=GREEN)) > 0


def row(kind: int, x: float, y: float, heading: float, speed: float) -> np.ndarray:
    size = (0.5, 0.5) if kind == PERSON else (4.5, 1.8)
    return np.array([[1.0, kind, x, y, heading, speed, *size]])


@pytest.mark.parametrize("kind", [CAR, PERSON])
def test_it_brakes_for_who_stands_in_the_lane_if_the_lidar_sees_them(env: VehicleEnv, kind: int):
    env.reset(0)
    # At 9 m/s, below the cruising speed, a free road lets the car speed up.
    world = dataclasses.replace(env.world, colour=GREEN, ego=dataclasses.replace(env.world.ego, speed_mps=9.0))
    x, y, heading, _ = world.path.at(world.along_m + 22.0)
    there = dataclasses.replace(world, objects=row(kind, x, y, heading, 0.0), visible=np.array([True]))
    hidden = dataclasses.replace(there, visible=np.array([False]))
    empty = dataclasses.replace(world, objects=world.objects[:0], visible=world.visible[:0])
    assert plan_acceleration(there) < -1.0
    assert plan_acceleration(hidden) == plan_acceleration(empty) > 0


def test_the_forecast_yields_to_crossing_traffic_and_the_driver_model_does_not(env: VehicleEnv):
    env.reset(0)
    world = env.world
    # 20 m from the point where somebody will cross: at 9 m/s we are there in 2.2 s, and so are they.
    x, y, _, _ = world.path.at(world.along_m + 20.0)
    crossing = dataclasses.replace(
        world,
        ego=dataclasses.replace(world.ego, speed_mps=9.0),
        colour=GREEN,
        objects=row(CAR, x + 20.0, y, np.pi, 9.0),
        visible=np.array([True]),
    )
    assert plan_acceleration(crossing) < 0
    assert plan_acceleration(crossing, forecast=False) > 0


def test_idm_is_named_for_what_it_is(env: VehicleEnv):
    assert idm(env).name == "idm"
