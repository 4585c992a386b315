"""The teacher is the package's script for the episode's task, bounded to what the machine accepts."""

import warnings

import numpy as np
import pytest

pytest.importorskip("metaworld", reason="Meta-World is not installed: pip install 'genba[metaworld]'")

from metaworld.policies import ENV_POLICY_MAP

from genba.errors import SpecError
from genba.machines.metaworld.expert import Scripted
from genba.machines.metaworld.simulator import MetaWorldEnv
from genba.machines.metaworld.task_list import MT10, MT50
from genba.spec.observation import Observation

from .conftest import play


@pytest.mark.parametrize("seed", range(10))
def test_it_says_what_the_tasks_script_says(env, seed):
    env.reset(seed)
    answer = Scripted(env).act(Observation(env.embodiment.id, 0, {})).continuous
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = ENV_POLICY_MAP[MT10[seed]]().get_action(env.raw)
    assert np.array_equal(answer[0], np.clip(said, -1, 1).astype(np.float32))


@pytest.mark.parametrize("seed", [1_000_000, 1_000_003, 1_000_005, 1_000_008])
def test_it_succeeds_on_easy_tasks(env, seed):
    assert play(env, seed)[0][-1].terminated


def test_no_script_remembers_so_that_any_state_can_be_labelled():
    """A student's states may come in any order, and be asked about twice: each is answered as if it were the first."""
    world = MetaWorldEnv(MT50)  # the scripts only look into it: no world is made
    # Hand and things within a few centimetres, where an answer is less than the greatest step and a small change shows.
    states = np.random.default_rng(0).uniform(-0.1, 0.1, (20, 39))

    def ask(expert: Scripted, raw: np.ndarray) -> np.ndarray:
        world.raw = raw
        return expert.act(Observation(world.embodiment.id, 0, {})).continuous

    expert = Scripted(world)
    for world.name in MT50:
        forwards, raws = [], states.copy()
        for raw in raws:
            forwards.append(ask(expert, raw))
            np.testing.assert_array_equal(ask(expert, raw), forwards[-1], err_msg=world.name)
        np.testing.assert_array_equal([ask(expert, raw) for raw in raws[::-1]], forwards[::-1], err_msg=world.name)
        np.testing.assert_array_equal(raws, states)


def test_another_machine_is_refused():
    with pytest.raises(SpecError, match="got a str, expected a MetaWorldEnv"):
        Scripted("a lathe")
