"""Sensors that lie: within one control step the guard takes over, the car stops on the road, and the record says why."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from genba.machines.vehicle.lidar_planner import LidarPlanner
from genba.machines.vehicle.simulator import VehicleEnv
from genba.machines.vehicle.verifier import verify
from genba.runtime.executor import Executor
from genba.runtime.loop import run_episode
from genba.runtime.recorder import Recorder
from genba.spec.action import Action
from genba.spec.episode import EpisodeMetadata
from genba.spec.protocols import Step
from genba.spec.streams import Stream, ragged
from genba.spec.units import SECOND_NS

#: the control step at whose end the sensor begins to lie; the car does 9 m/s then
BROKEN_FROM = 30
SEED = 0


class Broken:
    """The simulator with a sensor that lies from ``BROKEN_FROM`` on."""

    def __init__(
        self, env: VehicleEnv, lie: Callable[[dict[str, Stream], dict[str, Stream]], dict[str, Stream]]
    ) -> None:
        self.embodiment = env.embodiment
        self._env, self._lie = env, lie
        self.speeds_mps: list[float] = []
        self.told: list[np.ndarray] = []

    def reset(self, seed: int) -> Step:
        step = self._env.reset(seed)
        self._before = dict(step.samples)
        return step

    def step(self, action: Action | None) -> Step:
        step = self._env.step(action)
        assert action is not None and action.continuous is not None
        self.told.append(action.continuous)
        self.speeds_mps.append(self._env.world.ego.speed_mps)
        if len(self.told) < BROKEN_FROM:
            self._before = dict(step.samples)
            return step
        return dataclasses.replace(step, samples={**step.samples, **self._lie(dict(step.samples), self._before)})

    def trace(self) -> dict[str, np.ndarray]:
        return self._env.trace()

    def instruction(self) -> str:
        return ""

    def close(self) -> None:
        """The environment is the fixture's."""

    @property
    def world(self):
        raise AssertionError("a planner with sensors only looked into the simulator")


def empty(now, before):
    return {"lidar": ragged(now["lidar"].times_ns, [now["lidar"].values[:0]])}


def frozen(now, before):
    return {"lidar": ragged(now["lidar"].times_ns, [before["lidar"].sample(-1)])}


def clock_back(now, before):
    return {"lidar": dataclasses.replace(now["lidar"], times_ns=now["lidar"].times_ns - 10 * SECOND_NS)}


def not_a_number(now, before):
    values = now["telemetry"].values.copy()
    values[:, 0] = np.nan
    return {"telemetry": dataclasses.replace(now["telemetry"], values=values)}


def silent(now, before):
    return {"lidar": Stream(now["lidar"].times_ns[:0], now["lidar"].values[:0], np.zeros(1, np.int64))}


@pytest.mark.parametrize(
    ("lie", "reason"),
    [(empty, "lidar:empty"), (frozen, "lidar:stuck"), (clock_back, "lidar:back"), (not_a_number, "telemetry:nan")],
)
def test_a_sensor_that_lies_stops_the_car_within_one_control_step_and_the_record_says_why(env: VehicleEnv, lie, reason):
    broken, steps = Broken(env, lie), 80
    executor = Executor(LidarPlanner(broken), broken.embodiment, enforce_deadline=False)
    recorder = Recorder(broken.embodiment)
    run = run_episode(broken, executor, seed=SEED, max_steps=steps, recorder=recorder)
    assert run.num_steps == steps
    # What was sensed at the end of step 30 is answered by the very next action: 4 m/s^2 of braking, wheels held.
    assert broken.speeds_mps[BROKEN_FROM - 1] > 5.0
    assert broken.told[BROKEN_FROM - 1][0] > -4.0
    for told in broken.told[BROKEN_FROM:]:
        assert told[0] == -4.0 and told[1] == pytest.approx(broken.told[BROKEN_FROM - 1][1], abs=1e-6)
    assert run.log.interventions[reason] == steps - BROKEN_FROM
    assert run.log.num_guarded == steps - BROKEN_FROM
    # Samples of a clock that jumped back are left out, so that channel falls silent too: 2.5 s later it is stale as well.
    assert set(run.log.interventions) == ({reason, "lidar:stale"} if lie is clock_back else {reason})
    # From at most 11 m/s, 4 m/s^2 stop the car within 2.8 s, and 0.2 s for its brakes.
    stopped = broken.speeds_mps[BROKEN_FROM + 30 :]
    assert max(stopped) == 0.0
    outcome = verify(env.trace())
    assert outcome["collided"] == outcome["off_road"] == outcome["ran_red"] == 0.0
    episode = recorder.episode(EpisodeMetadata(episode_id="broken", embodiment_id=broken.embodiment.id))
    assert all((np.diff(stream.times_ns) >= 0).all() for stream in episode.streams.values())


def test_silence_is_bridged_by_the_policy_for_two_and_a_half_seconds_and_not_longer(env: VehicleEnv):
    broken = Broken(env, silent)
    executor = Executor(LidarPlanner(broken), broken.embodiment, enforce_deadline=False)
    run = run_episode(broken, executor, seed=SEED, max_steps=80)
    # The newest sweep is 20 ms old at step 29; at step 54 it is 2.52 s old, beyond 2.5 s.
    first = BROKEN_FROM - 1 + 25
    assert run.log.interventions == {"lidar:stale": 80 - first}
    assert all(told[0] == -4.0 for told in broken.told[first:])
    assert broken.told[first - 1][0] != -4.0
