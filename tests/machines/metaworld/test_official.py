"""The package's own evaluation judges a policy that sees what a machine would have sensed, and counts what it says it counts."""

import warnings

import numpy as np
import pytest

pytest.importorskip("metaworld", reason="Meta-World is not installed: pip install 'genba[metaworld]'")

from metaworld.policies import ENV_POLICY_MAP

from genba.errors import ConfigError
from genba.machines.metaworld.official import Agent, evaluate
from genba.machines.metaworld.task_list import INSTRUCTIONS
from genba.spec.action import Action, ActionChunk, single


class Rebuilt:
    """The package's script on an observation that is put together again from the channel ``scene``."""

    name = "rebuilt"

    def __init__(self, task):
        self.task, self.script = task, ENV_POLICY_MAP[task]()

    def reset(self, seed):
        self.asked = 0

    def act(self, observation):
        self.asked += 1
        assert observation.instruction == INSTRUCTIONS[self.task]
        rows = np.nan_to_num(observation.streams["scene"].values)
        assert len(rows) == min(2, self.asked)
        raw = np.concatenate([rows[-1, :18], rows[0, :18], rows[-1, 18:]])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            command = np.clip(self.script.get_action(raw), -1, 1).astype(np.float32)
        return single(observation.time_ns, 0.0125, Action(command))


class Constant:
    """Answers with a chunk whose four actions are told apart, and says how often it was asked."""

    name = "constant"

    def __init__(self):
        self.num_asked = 0

    def reset(self, seed):
        pass

    def act(self, observation):
        self.num_asked += 1
        return ActionChunk(observation.time_ns, 0.0125, np.full((4, 4), 0.1 * self.num_asked, np.float32))


def test_scripts_succeed_on_what_a_machine_would_have_sensed():
    names = ("drawer-close-v3", "window-open-v3")
    assert evaluate(Rebuilt, names, seed=42, num_episodes=3) == {"drawer-close-v3": 3, "window-open-v3": 3}


def test_a_policy_that_does_nothing_succeeds_never():
    class Still(Constant):
        def act(self, observation):
            return single(observation.time_ns, 0.0125, Action(np.zeros(4, np.float32)))

    assert evaluate(lambda name: Still(), ("drawer-close-v3",), seed=42, num_episodes=2) == {"drawer-close-v3": 0}


def test_it_is_not_asked_for_episodes_that_do_not_count():
    policy = Constant()
    agent = Agent(["reach-v3"], [policy], num_episodes=1)
    agent.reset(np.array([True]))
    row = np.ones((1, 39))
    assert agent.eval_action(row)[0, 0] == pytest.approx(0.1)
    assert agent.eval_action(row)[0, 0] == pytest.approx(0.2)
    agent.reset(np.array([True]))
    assert not agent.eval_action(row).any()
    assert policy.num_asked == 2


def test_a_seed_that_the_package_would_take_for_none_is_refused():
    with pytest.raises(ConfigError, match="seed: got 0, expected at least 1"):
        evaluate(Rebuilt, ("reach-v3",), seed=0, num_episodes=1)


def test_an_unknown_task_is_answered_with_its_nearest():
    with pytest.raises(ConfigError, match=r"no task 'reach-v2'; did you mean 'reach-v3'\?"):
        evaluate(Rebuilt, ("reach-v2",), seed=42, num_episodes=1)
