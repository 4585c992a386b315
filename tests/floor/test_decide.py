"""A deployed model on a floor: a small network with random weights, exported as any other."""

import numpy as np
import pytest
import torch

from genba.errors import ConfigError, GenbaError, PassportError
from genba.floor.admission import objections
from genba.floor.controller import plan_for
from genba.floor.decide import RULES, best_of, decider
from genba.floor.draw import draw_change
from genba.machines.factory.tasks import SHORTAGE
from genba.model.config import debug
from genba.model.world_action_model import WorldActionModel
from genba.runtime.executor import Executor
from genba.runtime.export import export_bundle
from genba.runtime.loop import run_episode
from genba.runtime.recorder import Recorder
from genba.spec.episode import EpisodeMetadata
from genba.spec.statistics import episode_statistics


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    facts, env = SHORTAGE.embodiment, SHORTAGE.make_env()
    recorder = Recorder(facts)
    executor = Executor(SHORTAGE.policies["atc"](env), facts, enforce_deadline=False)
    run_episode(env, executor, seed=1, max_steps=2, recorder=recorder)
    episode = recorder.episode(EpisodeMetadata(episode_id="one", embodiment_id=facts.id))
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bundles") / "factory"
    model = WorldActionModel(debug(), [facts])
    export_bundle(model, facts, episode_statistics(facts, episode), folder, provenance={"recipe": "test"})
    return folder


def test_a_bundle_decides_on_a_floor_of_another_size_and_its_plans_are_admissible(bundle, plant):
    who = decider(str(bundle), acts=False)
    assert who.name == "bundle factory"
    rng = np.random.default_rng(0)
    for number in range(4):
        plant.report(f"e{number}", draw_change(rng, plant.state))
        planned = who.decide(plant.state, deadline_s=0.2)
        assert plant.write(plan_for(plant.state, *planned, decision_id=f"d{number}")).outcome == "accepted"


def test_a_bundle_that_nobody_vouches_for_does_not_act_on_a_floor(bundle, tmp_path):
    with pytest.raises(PassportError, match="no bundle acts on it unchecked; name the machine's trust folder"):
        decider(str(bundle))
    with pytest.raises(GenbaError, match=r"passport|trust"):
        decider(str(bundle), trust=tmp_path)


@pytest.mark.parametrize("name", [*RULES, "search"])
def test_every_named_policy_makes_plans_that_may_go_into_force(plant, name):
    plant.report("a", draw_change(np.random.default_rng(1), plant.state))
    state = plant.state
    planned = best_of(state, decider(name).decide(state, deadline_s=0.1))
    assert objections(state, plan_for(state, *planned, decision_id="d")) == []


def test_an_unknown_policy_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="did you mean 'search'"):
        decider("serch")
