"""One small real model, exported once for all tests of the runtime."""

from __future__ import annotations

import pytest
import torch
import toy

from genba.model.config import debug
from genba.model.world_action_model import WorldActionModel
from genba.runtime.executor import Executor
from genba.runtime.export import export_bundle
from genba.runtime.loop import run_episode
from genba.runtime.recorder import Recorder
from genba.spec.episode import EpisodeMetadata
from genba.spec.statistics import episode_statistics


@pytest.fixture(scope="session")
def statistics():
    """Of one expert episode of each toy, by embodiment."""
    found = {}
    for task in (toy.CART, toy.LINES):
        env, recorder = task.make_env(), Recorder(task.embodiment)
        executor = Executor(task.policies["expert"](env), task.embodiment, enforce_deadline=False)
        run_episode(env, executor, seed=1, max_steps=task.max_steps, recorder=recorder)
        metadata = EpisodeMetadata(episode_id="toy", embodiment_id=task.embodiment.id)
        found[task.embodiment.id] = episode_statistics(task.embodiment, recorder.episode(metadata))
    return found


@pytest.fixture(scope="session")
def model():
    """The debug preset with weights that are not its neutral start, for both toys."""
    torch.manual_seed(0)
    model = WorldActionModel(debug(), [toy.CART_FACTS, toy.LINES_FACTS])
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.1)
    return model


@pytest.fixture(scope="session")
def bundles(tmp_path_factory, model, statistics):
    """Embodiment id -> the export's report."""
    folder = tmp_path_factory.mktemp("bundles")
    return {
        facts.id: export_bundle(
            model, facts, statistics[facts.id], folder / facts.id.replace("/", "-"), provenance={"recipe": "test"}
        )
        for facts in (toy.CART_FACTS, toy.LINES_FACTS)
    }
