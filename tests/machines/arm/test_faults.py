"""What goes wrong on the real simulator ends in the machine's fault action, never in a crash, and the episode says why."""

import numpy as np
import pytest

from genba.bench.collect import collect
from genba.machines.arm import tasks
from genba.machines.arm.baselines import Reactive
from genba.machines.arm.simulator import GripEnv
from genba.runtime.executor import Executor
from genba.runtime.loop import run_episode
from genba.spec.action import Action, ActionChunk, single
from genba.spec.streams import Stream

#: Counted from the episode's start, so that the pads have felt something before.
FAULT_NS = 1_000_000_000


class Broken(GripEnv):
    """The arm with a touch channel that breaks after a second."""

    def __init__(self, how):
        super().__init__()
        self._how = how

    def step(self, action):
        step = super().step(action)
        touch = step.samples.get("touch")
        if touch is None or step.time_ns < FAULT_NS:
            self._last_felt = None if touch is None else touch.values[-1:]
            return step
        values = {
            "nan": np.full_like(touch.values, np.nan),
            "stuck": np.repeat(self._last_felt, len(touch), axis=0),
            "stale": None,
        }[self._how]
        samples = {name: stream for name, stream in step.samples.items() if name != "touch"}
        if values is not None:
            samples["touch"] = Stream(touch.times_ns, values)
        return type(step)(step.time_ns, samples, terminated=step.terminated)


@pytest.mark.parametrize("how", ["nan", "stuck", "stale"])
def test_a_touch_channel_that_breaks_stops_the_hand_and_keeps_the_grip(how):
    env = Broken(how)
    executor = Executor(Reactive(), env.embodiment)
    run = run_episode(env, executor, seed=7, max_steps=130)
    assert run.log.interventions[f"touch:{how}"] > 0
    trace = env.trace()
    # 0.1 s until a stuck channel is one, 5 control periods (0.1 s) until a silent one is; 0.1 s more to be sure.
    after = trace["control.time_ns"] > FAULT_NS + 200_000_000
    assert after.sum() > 30
    assert np.isfinite(trace["control.grip_command_n"]).all()
    np.testing.assert_array_equal(trace["control.hand_speed_mps"][after], 0.0)
    held_n = trace["control.grip_command_n"][after]
    assert held_n[0] > 0.4
    np.testing.assert_allclose(held_n, held_n[0], rtol=1e-6)


def test_a_working_arm_is_never_taken_for_a_broken_one():
    env = GripEnv()
    run = run_episode(env, Executor(Reactive(), env.embodiment), seed=7, max_steps=400)
    assert not [why for why in run.log.interventions if why.startswith("touch")]
    assert run.terminated


class Wild:
    """Commands what no gripper can do."""

    name = "wild"

    def reset(self, seed: int) -> None:
        pass

    def act(self, observation) -> ActionChunk:
        return single(observation.time_ns, 0.02, Action(np.array([1e6, np.nan], np.float32)))


def test_an_action_outside_the_limits_is_bounded_and_the_recorded_episode_says_so(monkeypatch):
    monkeypatch.setattr(
        tasks,
        "WILD",
        tasks.replace(tasks.GRIP, policies={**tasks.GRIP.policies, "wild": lambda env: Wild()}),
        raising=False,
    )
    kept = []

    class Sink:
        append = staticmethod(kept.append)

    collect("genba.machines.arm.tasks:WILD", policy="wild", seeds=[3], sink=Sink(), workers=0, progress=False)
    (episode,) = kept
    outcome = episode.metadata.outcome
    assert outcome["crushed"] == 1.0
    for why in ("grip_force:limit", "grip_force:rate", "hand_speed:finite"):
        assert outcome[f"guard.{why}"] > 0
    told = episode.streams["action"].values
    # From the light touch of 0.4 N by at most 400 N/s for 20 ms: 8.4 N, then 8 N more each step, to 70 N at the most.
    np.testing.assert_allclose(told[:2, 0], [8.4, 16.4], rtol=1e-3)
    assert told[:, 0].max() <= 70.0
    np.testing.assert_array_equal(told[:, 1], 0.0)
