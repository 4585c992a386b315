"""One small real model for both toys, exported once for every test that needs something deployed."""

from __future__ import annotations

import functools
from pathlib import Path

import torch
import toy

from genba.model.config import debug
from genba.model.world_action_model import WorldActionModel
from genba.runtime.executor import Executor
from genba.runtime.export import ExportReport, export_bundle
from genba.runtime.loop import run_episode
from genba.runtime.recorder import Recorder
from genba.spec.episode import EpisodeMetadata
from genba.spec.statistics import Statistics, episode_statistics


@functools.cache
def toy_statistics() -> dict[str, Statistics]:
    """Of one expert episode of each toy, by embodiment."""
    found = {}
    for task in (toy.CART, toy.LINES):
        env, recorder = task.make_env(), Recorder(task.embodiment)
        executor = Executor(task.policies["expert"](env), task.embodiment, enforce_deadline=False)
        run_episode(env, executor, seed=1, max_steps=task.max_steps, recorder=recorder)
        metadata = EpisodeMetadata(episode_id="toy", embodiment_id=task.embodiment.id)
        found[task.embodiment.id] = episode_statistics(task.embodiment, recorder.episode(metadata))
    return found


@functools.cache
def toy_model() -> WorldActionModel:
    """The debug preset with weights that are not its neutral start, for both toys."""
    torch.manual_seed(0)
    model = WorldActionModel(debug(), [toy.CART_FACTS, toy.LINES_FACTS])
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.1)
    return model


@functools.cache
def toy_bundles(folder: Path) -> dict[str, ExportReport]:
    """Export for both toys once; embodiment id -> the export's report."""
    return {
        facts.id: export_bundle(
            toy_model(),
            facts,
            toy_statistics()[facts.id],
            folder / facts.id.replace("/", "-"),
            provenance={"recipe": "test"},
        )
        for facts in (toy.CART_FACTS, toy.LINES_FACTS)
    }
