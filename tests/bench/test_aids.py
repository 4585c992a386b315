"""What stands beside a policy: the guard with a bundle, otherwise as asked and said in the result's name."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import toy

from genba.bench import conditions
from genba.bench.conditions import measure_conditions
from genba.bench.rollout import choose_aids, roll_out
from genba.errors import ConfigError
from genba.spec.action import Action
from genba.spec.protocols import Verdict

SEEDS = range(1_000_000, 1_000_003)


class Still:
    """Says no to everything."""

    def reset(self) -> None:
        """Nothing is kept."""

    def check(self, action, observation):
        return Verdict(Action(np.zeros(1, np.float32)), ("own:still",))


class Blind:
    """Shows the policy nothing of the goal."""

    def reset(self) -> None:
        """Nothing is kept."""

    def see(self, observation):
        streams = {name: stream for name, stream in observation.streams.items() if name != "goal"}
        return dataclasses.replace(observation, streams=streams), observation


AIDED = dataclasses.replace(toy.CART, make_guard=Still, make_router=Blind)


@pytest.fixture(autouse=True)
def aided(monkeypatch):
    monkeypatch.setattr(toy, "AIDED", AIDED, raising=False)


def measure(policy, task="toy:AIDED", **options):
    return roll_out(task, policy, seeds=SEEDS, workers=0, progress=False, **options)


def test_a_bundle_has_the_guard_and_a_result_says_where_that_is_otherwise(bundle):
    aided = measure(bundle, allow_unchecked=True)
    bare = measure(bundle, allow_unchecked=True, guard=False, way_round=True)
    num_steps = aided.control["num_steps"]
    assert aided.policy == "model" and aided.control["interventions"]["own:still"] == num_steps
    assert bare.policy == "model without guard with way round"
    assert "own:still" not in bare.control["interventions"]
    masked = measure(bundle, allow_unchecked=True, guard=False, masked=["goal"])
    assert masked.policy == "model without goal and guard"


def test_a_task_s_own_policy_does_without_unless_asked():
    usual, guarded = measure("zero"), measure("zero", guard=True)
    assert usual.policy == "zero" and not usual.control["interventions"]
    assert guarded.policy == "zero with guard"
    assert guarded.control["interventions"] == {"own:still": guarded.control["num_steps"]}


def test_what_a_task_does_not_have_is_neither_on_nor_off():
    with pytest.raises(
        ConfigError, match=r"toy/reach@1: guard: got off, expected nothing: this task has no guard of its own"
    ):
        measure("zero", task="toy:CART", guard=False)
    with pytest.raises(ConfigError, match=r"way round: got on, expected nothing"):
        choose_aids(toy.CART, is_bundle=True, way_round=True)
    assert choose_aids(toy.CART, is_bundle=True).words() == ""


def test_conditions_keep_results_with_and_without_apart(monkeypatch, tmp_path):
    monkeypatch.setattr(conditions, "tasks_of", lambda machine: ["toy:AIDED"])
    names = [
        path.name
        for options in ({}, {"guard": True, "way_round": False})
        for path, _ in measure_conditions("cart", ["zero"], tmp_path, episodes=2, workers=0, progress=False, **options)
    ]
    assert names == ["zero.json", "zero-with-guard.json"]
