"""A world model's surprise: none where nothing changes, the same however it is batched, and blind to what comes later."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from genba.data.deviations import deviation_facts
from genba.data.readers.skab import EMBODIMENT_ID
from genba.data.vault import Vault
from genba.data.windows import WindowSource
from genba.model.config import preset
from genba.model.world_action_model import WorldActionModel
from genba.spec.embodiment import load_embodiment
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.normalise import Normalizer
from genba.spec.statistics import Statistics, measure
from genba.spec.streams import dense
from genba.spec.units import SECOND_NS
from genba.train import surprise as module
from genba.train.recipe import recipe
from genba.train.surprise import surprise, watch

FACTS = deviation_facts(load_embodiment(EMBODIMENT_ID))
HORIZON = FACTS.control.horizon


def recording(values, times_s=None):
    times_s = np.arange(len(values)) if times_s is None else times_s
    stream = dense(np.asarray(times_s, np.int64) * SECOND_NS, values)
    return Episode(EpisodeMetadata(episode_id=f"{FACTS.id}/one", embodiment_id=FACTS.id), {"bench": stream})


def source_of(folder, episode):
    vault = Vault.open(folder, create=True)
    vault.keep_embodiment(FACTS)
    vault.append(episode)
    numbers = measure(np.random.default_rng(0).normal(0, 1, (1000, 8)))
    return WindowSource(vault, FACTS, Normalizer(FACTS, Statistics(FACTS.id, {"bench": numbers})), vault.entries())


@pytest.fixture
def model():
    torch.manual_seed(0)
    return WorldActionModel(preset("debug"), [FACTS])


def test_a_world_that_stands_still_surprises_nobody_who_expects_that(model, tmp_path):
    # Untrained, a world head foretells no change. From second 100 on the bench stands elsewhere.
    values = np.ones((200, 8))
    values[100:] = -1
    found = surprise(model, source_of(tmp_path / "vault", recording(values)), np.arange(200))
    # A window is a minute, of which the newest quarter is foretold: 15 s, seen whole from second 14 on.
    newest = 15
    assert (found[newest : 100 - HORIZON] < 1e-9).all()
    # What was foretold before 100 for 100 or later was wrong, and so until the whole quarter of now has changed too.
    assert (found[100 - HORIZON : 100 + newest - 1] > 1e-3).all()
    assert (found[100 + newest : 200 - HORIZON] < 1e-9).all()
    # What nobody lived to see.
    assert np.isnan(found[200 - HORIZON :]).all() and np.isfinite(found[: 200 - HORIZON]).all()


def test_surprise_is_the_same_however_it_is_batched_and_leaves_the_model_as_it_was(model, tmp_path, monkeypatch):
    with torch.no_grad():
        for parameter in model.parts_of(FACTS.id).world.change.parameters():
            parameter.normal_()
    source = source_of(tmp_path / "vault", recording(np.random.default_rng(1).normal(0, 1, (40, 8))))
    model.train()
    whole = surprise(model, source, np.arange(30))
    monkeypatch.setattr(module, "BATCH", 7)
    np.testing.assert_allclose(surprise(model, source, np.arange(30)), whole, rtol=1e-4)
    assert model.training and len(surprise(model, source, np.arange(0))) == 0


def test_what_comes_later_surprises_nobody_before(tmp_path):
    rng = np.random.default_rng(0)
    chosen = replace(recipe("debug"), num_steps=2, evaluate_every=2, checkpoint_every=2)
    # Seconds are missing, as in real recordings.
    times_s = np.cumsum(rng.integers(1, 3, 160))
    first, second = rng.normal(0, 1, (2, 160, 8))
    changed = first.copy()
    changed[120:] += 5
    found = [
        watch([recording(one, times_s), recording(second)], FACTS, chosen, tmp_path / str(i), num_normal=100)
        for i, one in enumerate((first, changed))
    ]
    (before, other), (after, same) = found
    assert len(before) == 160 and np.isnan(before[times_s - times_s[0] < HORIZON]).all()
    assert np.isfinite(before[times_s - times_s[0] >= HORIZON]).all()
    np.testing.assert_array_equal(before[:120], after[:120])
    np.testing.assert_array_equal(other, same)
    # For as long as what was foretold had not seen the change.
    changing = (times_s > times_s[119]) & (times_s <= times_s[120] + HORIZON)
    assert changing.sum() >= 5 and (after[changing] > before[changing]).all()
