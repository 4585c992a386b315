"""The oracle arrives where the gap planner waits for ever, by bending the route and no further than it must."""

from __future__ import annotations

import numpy as np
import pytest

from genba.machines.vehicle.conditions import CONDITIONS
from genba.machines.vehicle.expert import GapExpert
from genba.machines.vehicle.network import load_road
from genba.machines.vehicle.oracle import Oracle, bend
from genba.machines.vehicle.simulator import VehicleEnv
from genba.machines.vehicle.traffic_process import CAR
from genba.machines.vehicle.verifier import verify
from genba.spec.observation import Observation

BY_NAME = {condition.name: condition for condition in CONDITIONS}


def drive(env: VehicleEnv, policy, seed: int) -> dict[str, float]:
    step = env.reset(seed)
    policy.reset(seed)
    while not (step.terminated or step.truncated):
        step = env.step(policy.act(Observation(env.embodiment.id, step.time_ns, {})).at(step.time_ns))
    return verify(env.trace())


@pytest.mark.parametrize("name", ["blocked-lane", "stopped-in-box"])
def test_it_passes_a_vehicle_that_stands_for_ever_and_the_gap_planner_does_not(name):
    env = VehicleEnv(BY_NAME[name])
    try:
        assert drive(env, Oracle(env), 0)["success"] == 1.0
        assert drive(env, GapExpert(env), 0)["timed_out"] == 1.0
    finally:
        env.close()


def test_where_nobody_stands_for_ever_it_is_the_gap_planner_with_true_state(env: VehicleEnv):
    oracle, gap = Oracle(env), GapExpert(env, look_all=True)
    step = env.reset(3)
    for _ in range(60):
        observation = Observation(env.embodiment.id, step.time_ns, {})
        action = oracle.act(observation).at(step.time_ns)
        np.testing.assert_array_equal(action.continuous, gap.act(observation).at(step.time_ns).continuous)
        step = env.step(action)


def test_a_bend_leaves_room_to_who_stands_and_ends_on_the_route(env: VehicleEnv):
    env.reset(0)
    world, path = env.world, env.world.path
    middle_m = path.goal_m - 15.0
    x, y, heading, _ = path.at(middle_m)
    there = np.array([[9002.0, CAR, x, y, heading, 0.0, 4.5, 1.8]])
    bent = bend(world, there, there, load_road())
    assert bent is not None
    aside = np.hypot(*(bent.points - path.points)[:, :2].T)
    # Half of 1.85 m and of 1.8 m and 0.5 m of room are 2.325 m; shifts come in steps of 0.4 m: 2.4 m it is.
    assert aside.max() == pytest.approx(2.4, abs=1e-6)
    beside = np.abs(np.arange(len(aside)) * 0.5 - middle_m) < 2.25
    assert aside[beside].min() == pytest.approx(2.4, abs=1e-6)
    assert aside[int((world.along_m + 1) / 0.5)] == 0.0
    assert bend(world, there, wall(x, y), load_road()) is None


def wall(x: float, y: float) -> np.ndarray:
    """A body of 40 m by 40 m: nothing gets past it."""
    return np.array([[9003.0, CAR, x, y, 0.0, 0.0, 40.0, 40.0]])
