"""An embodiment with every modality, and random batches of it."""

import pytest
import torch
from batches import EVERYTHING, random_batch, random_inputs

from genba.model.config import preset
from genba.model.world_action_model import WorldActionModel
from genba.spec.embodiment import Embodiment, load_embodiment


@pytest.fixture(scope="session")
def everything() -> Embodiment:
    return load_embodiment(EVERYTHING)


@pytest.fixture
def model(everything: Embodiment) -> WorldActionModel:
    torch.manual_seed(0)
    return WorldActionModel(preset("debug"), [everything])


@pytest.fixture
def make_inputs(everything: Embodiment):
    """Make random packed inputs: ``make_inputs(batch, seed=...)``."""
    return lambda batch, seed: random_inputs(everything, batch, seed)


@pytest.fixture
def make_batch(everything: Embodiment):
    """Make a random training batch: ``make_batch(batch, seed=..., flow_samples=2)``."""
    return lambda batch, seed, flow_samples=2: random_batch(everything, batch, seed, flow_samples)
