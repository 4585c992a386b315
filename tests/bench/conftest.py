"""The debug model exported for the cart, for tests of the bench that need a deployed policy."""

from __future__ import annotations

import pytest
import torch
import toy

from genba.bench.collect import collect
from genba.model.config import debug
from genba.model.world_action_model import WorldActionModel
from genba.runtime.export import export_bundle
from genba.spec.statistics import episode_statistics


class ListSink:
    """A sink that keeps episodes in memory."""

    def __init__(self) -> None:
        self.episodes = []

    def append(self, episode) -> None:
        self.episodes.append(episode)


@pytest.fixture
def sink():
    return ListSink()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    kept = ListSink()
    collect("toy:CART", policy="expert", seeds=[0], sink=kept, workers=0, progress=False)
    torch.manual_seed(0)
    model = WorldActionModel(debug(), [toy.CART_FACTS])
    path = tmp_path_factory.mktemp("bench") / "cart"
    statistics = episode_statistics(toy.CART_FACTS, kept.episodes[0])
    export_bundle(model, toy.CART_FACTS, statistics, path, provenance={"recipe": "test"}, flow_steps=2)
    return path
