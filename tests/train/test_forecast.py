"""A world model's forecast in the machine's units: an untrained model foretells the present, a trained change adds to it."""

import numpy as np
import pytest
import torch
from batches import EVERYTHING
from random_episodes import random_episode

from genba.data.vault import Vault
from genba.data.windows import WindowSource
from genba.model.config import preset
from genba.model.world_action_model import WorldActionModel
from genba.spec.embodiment import load_embodiment
from genba.spec.normalise import Normalizer
from genba.spec.units import to_ns
from genba.train import forecast as module
from genba.train.forecast import forecast


@pytest.fixture
def machine(tmp_path):
    facts = load_embodiment(EVERYTHING)
    vault = Vault.open(tmp_path / "vault", create=True)
    vault.keep_embodiment(facts)
    for seed in range(2):
        vault.append(random_episode(facts, seed, missing=0.0))
    source = WindowSource(vault, facts, Normalizer(facts, vault.statistics(facts.id)), vault.entries())
    torch.manual_seed(0)
    return WorldActionModel(preset("debug"), [facts]), source, vault


def test_a_model_whose_world_stands_still_foretells_the_newest_sample(machine):
    model, source, vault = machine
    indices = np.arange(len(source))[4:]
    found = forecast(model, source, indices)
    plain = [c for c in source.embodiment.telemetry if not any(d.categories for d in c.dimensions)]
    num_heard = 0
    assert set(found) == {channel.name for channel in plain} and plain
    for channel in plain:
        for i, index in enumerate(indices.tolist()):
            episode_id, time_ns = source.locate(index)
            stream = vault.read(episode_id).streams[channel.name]
            at = stream.until(time_ns) - 1
            # As long as a window reaches, and half a sample's time.
            heard = at >= 0 and time_ns - stream.times_ns[at] < to_ns(channel.history_s + 0.5 / channel.rate_hz)
            newest = stream.values[at] if heard else np.full(len(channel.dimensions), np.nan)
            num_heard += heard
            # Normalised numbers are float32 and bounded to 8 standard deviations, which these keep to.
            np.testing.assert_allclose(found[channel.name][i], newest, rtol=1e-4, atol=1e-4)
    # The episodes have gaps; most windows hear something.
    assert 2 * num_heard > len(indices)


def test_a_forecast_is_the_same_however_it_is_batched_and_leaves_the_model_as_it_was(machine, monkeypatch):
    model, source, _ = machine
    with torch.no_grad():
        for parameter in model.parts_of(source.embodiment.id).world.change.parameters():
            parameter.normal_()
    model.train()
    indices = np.arange(8)
    whole = forecast(model, source, indices)
    monkeypatch.setattr(module, "BATCH", 3)
    parts = forecast(model, source, indices)
    for name, values in whole.items():
        np.testing.assert_allclose(parts[name], values, rtol=1e-4, atol=1e-5)
    assert model.training
