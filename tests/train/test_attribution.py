"""Owners' parts add up to the whole gradient, foretell what a small step does, and measuring them changes no run."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from carts import GUEST, KEEPER, MACHINE, give

from genba.data.contribution import ATTRIBUTION_FILE, read_traced, shares
from genba.data.mixture import Mixture, Share
from genba.data.vault import Vault
from genba.data.windows import WindowSource
from genba.errors import DataError
from genba.model.world_action_model import WorldActionModel
from genba.train import checkpoint
from genba.train.attribution import LEAKAGE_WINDOWS, leakage, trace, window_loss
from genba.train.contribution import leakage_of
from genba.train.data import TrainingData, prepare
from genba.train.loop import train
from genba.train.optimizer import make_optimizer
from genba.train.recipe import Recipe, recipe

RECIPE = replace(recipe("debug"), num_steps=6, checkpoint_every=3, evaluate_every=6, evaluate_batches=1)


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    found = Vault.open(tmp_path_factory.mktemp("attribution") / "vault", create=True, embodiments=[MACHINE])
    give(found, KEEPER, range(6))
    give(found, GUEST, range(20, 23))
    return found


@pytest.fixture
def data(vault: Vault) -> TrainingData:
    return prepare(vault, [MACHINE], RECIPE)


def held_loss(model: WorldActionModel, data: TrainingData, chosen: Recipe, step: int) -> float:
    (source,) = data.evaluation.sources.values()
    indices = data.evaluation.indices(MACHINE.id, step)
    with torch.no_grad():
        return float(window_loss(model, data, chosen, MACHINE.id, source, indices, step, torch.device("cpu")))


def measured(data: TrainingData, chosen: Recipe, *, step: int = 4):
    torch.manual_seed(0)
    model = WorldActionModel(chosen.model, [MACHINE])
    optimizer = make_optimizer(model, chosen)
    reads = data.reads(start=0, rank=0, world_size=1, previous=None)
    return model, trace(model, optimizer, chosen, data, reads, step=step, before=0), reads


def test_a_small_step_along_all_parts_does_what_they_add_up_to(data: TrainingData):
    """With every window of every owner in its sample, the parts are the gradient of the windows as they were used."""
    chosen = replace(RECIPE, attribute_windows=10_000)
    model, traced, _ = measured(data, chosen)
    assert set(traced.plain) == {"keeper", "guest"} and sum(traced.windows.values()) == 4 * 8
    before = held_loss(model.eval(), data, chosen, 4)
    # Walk against the sum of the parts: the loss weighted by how many windows of each owner were used.
    (source,) = data.training.sources.values()
    owners = np.repeat([e.metadata.owner for e in source.entries], np.diff(source.bounds))
    total = torch.zeros(())
    for owner, count in traced.windows.items():
        loss = window_loss(
            model, data, chosen, MACHINE.id, source, np.flatnonzero(owners == owner), 4, torch.device("cpu")
        )
        total = total + loss * count / 32
        assert traced.loss[owner] == pytest.approx(float(loss.detach()))
    gradient = torch.autograd.grad(total, list(model.parameters()), allow_unused=True)
    step = 1e-4
    with torch.no_grad():
        for parameter, g in zip(model.parameters(), gradient, strict=True):
            if g is not None:
                parameter -= step * g
    foretold = sum(traced.plain.values()) / (traced.learning_rate * traced.num_steps) * step
    # To first order: what is left over is of the order of the step times the curvature, a few per cent here.
    assert before - held_loss(model, data, chosen, 4) == pytest.approx(foretold, rel=0.05)


def test_measuring_changes_nothing_of_a_run_and_is_entered_as_read(vault: Vault, data: TrainingData, tmp_path: Path):
    without = train(RECIPE, data, tmp_path / "without")
    traced = replace(RECIPE, attribute_windows=4)
    with_it = train(traced, prepare(vault, [MACHINE], traced), tmp_path / "with")
    for one, other in zip(without.parameters(), with_it.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    reads = [checkpoint.reads_of(tmp_path / name / "step_000006") for name in ("without", "with")]
    assert reads[0] is not None and reads[1] is not None
    assert reads[0].windows_by_owner == reads[1].windows_by_owner
    evaluated = [sum(w.windows for w in one.windows if w.counted == "evaluated") for one in reads if one]
    # At each of two checkpoints a held-back batch of 8 and 4 windows of each of two owners.
    assert evaluated[1] - evaluated[0] == 2 * (8 + 2 * 4)


def test_a_resumed_runs_records_are_those_of_one_that_never_stopped(vault: Vault, tmp_path: Path):
    traced = replace(RECIPE, attribute_windows=4)
    train(traced, prepare(vault, [MACHINE], traced), tmp_path / "whole")
    train(traced, prepare(vault, [MACHINE], traced), tmp_path / "halves", stop_at=3)
    train(traced, prepare(vault, [MACHINE], traced), tmp_path / "halves")
    whole, halves = (read_traced(tmp_path / name, until=6) for name in ("whole", "halves"))
    assert [one.step for one in whole] == [3, 6]
    assert whole == halves
    # A record that a break left beyond the newest checkpoint does not count.
    assert [one.step for one in read_traced(tmp_path / "whole", until=5)] == [3]


def test_an_owner_that_a_share_leaves_out_has_no_part(vault: Vault):
    left_out = replace(RECIPE, shares=(Share(weight=0, owner="guest"), Share(weight=1)), attribute_windows=4)
    _, traced, _ = measured(prepare(vault, [MACHINE], left_out), left_out)
    assert traced.windows == {"keeper": 32} and set(traced.adam) == {"keeper"}


def test_before_the_first_step_adam_has_no_step_and_its_parts_are_the_plain_ones(data: TrainingData):
    _, traced, _ = measured(data, replace(RECIPE, attribute_windows=4))
    assert traced.adam == traced.plain


def test_contributions_count_what_was_read_and_parts_add_up(vault: Vault, tmp_path: Path):
    traced = replace(RECIPE, attribute_windows=8)
    train(traced, prepare(vault, [MACHINE], traced), tmp_path / "run")
    path = tmp_path / "run" / "step_000006"
    reads = checkpoint.reads_of(path)
    assert reads is not None
    told = leakage_of(path, vault, reads)
    found = {s.owner: s for s in shares(vault, reads, read_traced(tmp_path / "run", until=6), told, [MACHINE.id])}
    assert {o: s.episodes for o, s in found.items()} == {"keeper": 6, "guest": 3}
    assert sum(s.windows for s in found.values()) == 6 * 8
    for part in ("window_share", "loss_share", "attribution", "attribution_adam"):
        assert sum(getattr(s, part) for s in found.values()) == pytest.approx(1)
    assert found["keeper"].bytes == sum(e.size_bytes for e in vault.entries() if e.metadata.owner == "keeper")
    assert found["keeper"].hours == pytest.approx(
        sum(e.duration_s for e in vault.entries() if e.metadata.owner == "keeper") / 3600
    )


class Parrot(torch.nn.Module):
    """Has no loss on the batches that it knows, and one on all others."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing, self.known = torch.nn.Parameter(torch.zeros(1)), set[bytes]()
        self.asked: list[bytes] = []

    def forward(self, name: str, batch: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
        assert len(batch["action.values"]) <= LEAKAGE_WINDOWS
        self.asked.append(batch["action.values"].numpy().tobytes())
        return {"total": torch.tensor(0.0 if self.asked[-1] in self.known else 1.0)}


def test_a_model_that_knows_its_episodes_by_heart_is_found_out(vault: Vault, data: TrainingData):
    (source,) = data.training.sources.values()
    keepers = [e for e in source.entries if e.metadata.owner == "keeper"]
    sides = [
        Mixture({MACHINE.id: WindowSource(vault, MACHINE, source.normalizer, entries)}, {MACHINE.id: 1}, 0)
        for entries in (keepers[:3], keepers[3:])
    ]
    halves, shards, parrot = (
        replace(data, training=sides[0], evaluation=sides[1]),
        {e.digest for e in keepers},
        Parrot(),
    )
    found = leakage(parrot, halves, RECIPE, shards)["keeper"]
    # It knows nothing yet: every pair is a tie.
    assert (found.value, found.low, found.high, found.num_members, found.num_held_back) == (
        0.5,
        0.5,
        0.5,
        3,
        len(keepers) - 3,
    )
    parrot.known.update(parrot.asked[:3])
    found = leakage(parrot, halves, RECIPE, shards)["keeper"]
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)
    # What was given for training and never trained on is on neither side.
    assert leakage(parrot, halves, RECIPE, {keepers[0].digest})["keeper"].num_members == 1


def test_a_line_that_is_no_record_is_named(tmp_path: Path):
    (tmp_path / ATTRIBUTION_FILE).write_text(json.dumps({"step": 1}) + "\n")
    with pytest.raises(DataError, match=r"attribution.jsonl: line 1: not a record of attribution"):
        read_traced(tmp_path, until=9)
