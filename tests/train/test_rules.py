"""Training asks every owner, refuses by name, and leaves out only where that was asked for."""

import json
import multiprocessing
import os
import signal
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from governed import ARM, FLEET, MACHINE, PUBLIC, decisions, episode, governed_vault, opened, trust_folder

from genba.data.affected import find_models
from genba.data.vault import Vault
from genba.errors import PermissionDeniedError
from genba.train import checkpoint
from genba.train.data import prepare
from genba.train.loop import train
from genba.train.recipe import Recipe, recipe
from genba.trust import passport as passports
from genba.trust.audit import read_entries, verify
from genba.trust.folder import TrustFolder
from genba.trust.ledger import Entry, Ledger

RECIPE = replace(recipe("debug"), num_steps=2, evaluate_batches=1)


@pytest.fixture
def trust(tmp_path: Path) -> TrustFolder:
    return trust_folder(tmp_path / "trust")


def test_each_owner_is_asked_once_for_training_and_once_for_reading(trust, tmp_path):
    vault = opened(governed_vault(tmp_path / "vault", trust, FLEET, ARM), "train")
    before = len(decisions(trust))
    train(RECIPE, prepare(vault, [MACHINE], RECIPE), tmp_path / "run", trust=trust)
    assert sorted(decisions(trust)[before:]) == [
        ("read", "Sample Arm Works", "train", True),
        ("read", "Sample Fleet", "train", True),
        ("train", "Sample Arm Works", "", True),
        ("train", "Sample Fleet", "", True),
    ]
    reads = checkpoint.reads_of(tmp_path / "run" / "step_000002")
    assert reads is not None
    assert reads.agreements == tuple(sorted([FLEET, ARM]))


def test_each_checkpoint_enters_its_root_in_the_ledger(trust, tmp_path):
    recipe = replace(RECIPE, checkpoint_every=1)
    vault = opened(governed_vault(tmp_path / "vault", trust, FLEET), "train")
    train(recipe, prepare(vault, [MACHINE], recipe), tmp_path / "run", trust=trust)
    lines = [json.loads(line) for line in (trust.path / "ledger" / "entries.jsonl").read_text().splitlines()]
    entered = [line["body"] for line in lines if line["kind"] == "read"]
    kept = [checkpoint.reads_of(tmp_path / "run" / f"step_{step:06d}") for step in (1, 2)]
    assert [(body["step"], body["root"]) for body in entered] == [(reads.step, reads.root) for reads in kept if reads]
    assert len(entered) == 2


def test_what_may_not_be_trained_on_is_refused_with_owner_data_set_agreement_and_reason(trust, tmp_path):
    vault = opened(governed_vault(tmp_path / "vault", trust, FLEET, PUBLIC), "train")
    with pytest.raises(
        PermissionDeniedError, match=r"1 of 2 data sets may not be trained on.*--leave-out-refused"
    ) as said:
        prepare(vault, [MACHINE], RECIPE)
    assert (
        "Sample Factory/shifts-public: train by Sample Works Research is refused: sample-factory-abroad: purposes: 'train' "
        "serves purpose 'train'; allowed: evaluate" in str(said.value)
    )


def test_leaving_out_trains_on_the_rest_alone_and_says_so_in_the_checkpoint(trust, tmp_path):
    vault = opened(governed_vault(tmp_path / "vault", trust, FLEET, PUBLIC, each=3), "train")
    data = prepare(vault, [MACHINE], RECIPE, leave_out_refused=True)
    (left_out,) = data.left_out
    assert (left_out.owner, left_out.dataset, left_out.num_episodes) == ("Sample Factory", "shifts-public", 3)
    train(RECIPE, data, tmp_path / "run", extra={"left_out": [asdict(left_out)]})
    reads = checkpoint.reads_of(tmp_path / "run" / "step_000002")
    assert reads is not None
    assert {owner for owner, *_ in reads.shards_of("opened", "statistics", "trained", "evaluated")} == {"Sample Fleet"}
    # Not even through the statistics does what was left out shape the weights.
    alone = opened(governed_vault(tmp_path / "alone", trust, FLEET, each=3), "train")
    assert data.statistics[MACHINE.id].to_json() == alone.statistics(MACHINE.id).to_json()
    assert checkpoint.read_manifest(tmp_path / "run" / "step_000002")["left_out"] == [asdict(left_out)]


def test_in_an_open_vault_nobody_is_asked(tmp_path, monkeypatch):
    monkeypatch.delenv("GENBA_TRUST", raising=False)
    vault = Vault.open(tmp_path / "vault", create=True, embodiments=[MACHINE])
    for seed in range(2):
        vault.append(episode(seed, PUBLIC))
    assert prepare(vault, [MACHINE], RECIPE).left_out == ()


def _train_until(kind: str, trust: TrustFolder, vault: Vault, run: Path, recipe: Recipe) -> None:
    """Train, and die like a power cut as soon as the second entry of ``kind`` is on disk."""
    entered = [0]
    append = Ledger.append

    def append_and_die(self: Ledger, what: str, body: Mapping[str, Any]) -> Entry:
        entry = append(self, what, body)
        entered[0] += what == kind
        if entered[0] == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return entry

    Ledger.append = append_and_die  # type: ignore[method-assign]
    train(recipe, prepare(vault, [MACHINE], recipe), run, trust=trust)


def _without_reads(trust: TrustFolder) -> list[str]:
    """Digests of the passports that stand in the ledger before the record of reads that they name."""
    known, found = set[str](), []
    for entry in read_entries(trust.path / "ledger"):
        if entry.kind == "read":
            known.add(entry.body["root"])
        elif entry.kind == "passport":
            kept = trust.ledger.passport_path(entry.body["digest"])
            said, _ = passports.verify(passports.read(kept), trust.trust_store, place=str(kept))
            found += [] if said.reads in known else [entry.body["digest"]]
    return found


@pytest.mark.parametrize("kind", ["read", "passport"])
def test_killed_at_a_checkpoint_a_run_leaves_no_passport_without_its_reads_and_resumes(trust, tmp_path, kind):
    recipe = replace(RECIPE, checkpoint_every=1)
    vault = opened(governed_vault(tmp_path / "vault", trust, FLEET), "train")
    run = tmp_path / "run"
    dying = multiprocessing.get_context("fork").Process(target=_train_until, args=(kind, trust, vault, run, recipe))
    dying.start()
    dying.join()
    assert dying.exitcode == -signal.SIGKILL
    trust = TrustFolder(trust.path)
    kinds = [one.kind for one in read_entries(trust.path / "ledger")]
    # The first checkpoint is whole; of the second one or both entries are there, and no checkpoint.
    assert (kinds.count("read"), kinds.count("passport")) == ((2, 1) if kind == "read" else (2, 2))
    assert checkpoint.newest(run) == run / "step_000001"
    assert _without_reads(trust) == []
    train(recipe, prepare(vault, [MACHINE], recipe), run, trust=trust)
    assert _without_reads(trust) == []
    models = find_models(trust, "Sample Arm Works", "grip", runs=[run])
    assert [(one.step, one.state) for one in models] == [(1, "clean"), (2, "clean")]
    assert verify(trust.path / "ledger", trust=trust.trust_store).holds
