"""What tests of the bench share: a sink, and a deployed policy for the cart."""

from __future__ import annotations

import exported
import pytest


class ListSink:
    """A sink that keeps episodes in memory."""

    def __init__(self) -> None:
        self.episodes = []

    def append(self, episode) -> None:
        self.episodes.append(episode)


@pytest.fixture
def sink():
    """An empty sink."""
    return ListSink()


@pytest.fixture(scope="session")
def toy_bundles(tmp_path_factory):
    """Embodiment id -> the report of its export."""
    # one folder for every test package of this process, so that it is exported once
    return exported.toy_bundles(tmp_path_factory.getbasetemp() / "toy-bundles")


@pytest.fixture
def bundle(toy_bundles):
    """The cart's bundle."""
    return toy_bundles["toy/cart@1"].path
