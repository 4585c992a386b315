"""What learnt from withdrawn data is found by what was read and revoked; training goes on from before it, without it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from carts import GUEST, KEEPER, MACHINE, give

from genba.cli.bundle import export_run
from genba.data.affected import find_models, last_clean
from genba.data.vault import Vault
from genba.data.withdraw import Scope, plan, withdraw
from genba.errors import PassportError
from genba.runtime.bundle import Bundle
from genba.runtime.clearance import clear
from genba.spec.statistics import Statistics
from genba.train import checkpoint
from genba.train.data import TrainingData, prepare
from genba.train.loop import train
from genba.train.recipe import recipe
from genba.trust import passport
from genba.trust.audit import read_entries, verify
from genba.trust.folder import SAMPLES, TrustFolder
from genba.trust.keys import FileKeys
from genba.trust.machine import MachineTrust
from genba.trust.withdrawal import read_receipt

#: 8 windows per train step
RECIPE = replace(recipe("debug"), num_steps=12, checkpoint_every=3, evaluate_every=12, evaluate_batches=1, keep=9)
AGREEMENT = """
owner = "{owner}"
[[agreements]]
id = "{owner}-1"
datasets = ["{dataset}"]
parties = ["Sample Works Research"]
purposes = ["train", "evaluate", "deploy"]
machines = ["toy/cart@1"]
jurisdictions = ["JP-23"]
sites = ["nagoya-lab"]
from = 2026-04-01
until = 2099-03-31
"""


def data_of(vault: Vault, start: Path | None = None) -> TrainingData:
    stored = checkpoint.read_manifest(start)["statistics"] if start else {}
    frozen = {name: Statistics.from_json(table) for name, table in stored.items()}
    return prepare(vault, [MACHINE], RECIPE, frozen or None)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which steps 3 and 6 know the keeper's data only, 9 and 12 the guest's too; and two children of it."""
    folder = tmp_path_factory.mktemp("models")
    agreements = []
    for owner, dataset in (KEEPER, GUEST):
        agreements.append(folder / f"{owner}.toml")
        agreements[-1].write_text(AGREEMENT.format(owner=owner, dataset=dataset))
    trust = TrustFolder.create(
        folder / "trust",
        party="Sample Works Research",
        site="nagoya-lab",
        sites_from=SAMPLES / "sites.toml",
        agreements_from=agreements,
    )
    vault = Vault.open(folder / "vault", create=True, embodiments=[MACHINE], keys=FileKeys(folder / "keys"))
    give(vault, KEEPER, range(5))
    run = folder / "runs" / "one"
    train(RECIPE, data_of(vault), run, trust=trust, stop_at=6)
    give(vault, GUEST, range(10, 15))
    train(RECIPE, data_of(vault, run / "step_000006"), run, trust=trust)
    # The children train on the keeper's data alone; one begins with weights that know the guest's.
    alone = Vault.open(folder / "alone", create=True, embodiments=[MACHINE], keys=FileKeys(folder / "keys"))
    give(alone, KEEPER, range(5))
    for name, step in (("tainted", 12), ("sound", 6)):
        start = run / f"step_{step:06d}"
        short = replace(RECIPE, num_steps=3)
        train(short, data_of(alone, start), folder / "runs" / name, trust=trust, start_from=start)
    return folder


@pytest.fixture
def place(before: Path, tmp_path: Path) -> Path:
    """A copy to withdraw from."""
    shutil.copytree(before, tmp_path / "place")
    return tmp_path / "place"


def opened(place: Path) -> tuple[TrustFolder, Vault, Scope]:
    vault = Vault.open(place / "vault", embodiments=[MACHINE], keys=FileKeys(place / "keys"))
    return TrustFolder.open(place / "trust"), vault, Scope(keys=vault.keys, vaults=(vault,), runs=(place / "runs",))


def states(place: Path) -> dict[str, str]:
    trust, _, scope = opened(place)
    found = find_models(trust, *GUEST, runs=scope.runs, bundles=scope.bundles)
    return {str(m.path.relative_to(place / "runs")): m.state for m in found}


EXPECTED = {
    "one/step_000003": "clean",
    "one/step_000006": "clean",
    "one/step_000009": "affected",
    "one/step_000012": "affected",
    "sound/step_000003": "clean",
    "tainted/step_000003": "affected",
}


def test_models_are_told_apart_by_what_was_read_and_by_what_they_began_with(place: Path):
    assert states(place) == EXPECTED


def test_without_passports_the_read_records_tell_the_same(place: Path):
    for path in (place / "runs").rglob(passport.FILE):
        path.unlink()
    assert states(place) == EXPECTED


def test_a_record_that_was_changed_or_is_not_in_the_ledger_never_makes_a_model_clean(place: Path):
    for path in (place / "runs").rglob(passport.FILE):
        path.unlink()
    run = place / "runs" / "one"
    # The record of step 6, which knows nothing of the guest, in the place of that of step 12; and a byte of step 3's.
    shutil.copy(run / "step_000006" / "reads.json", run / "step_000012" / "reads.json")
    record = run / "step_000003" / "reads.json"
    record.write_bytes(record.read_bytes().replace(b'"windows":24', b'"windows":25'))
    (run / "step_000006" / "reads.json").unlink()
    found = states(place)
    assert [found[f"one/step_{n:06d}"] for n in (3, 6, 9, 12)] == ["undecided", "undecided", "affected", "undecided"]
    assert found["sound/step_000003"] == "clean"


def test_what_is_affected_is_revoked_and_training_goes_on_from_before_it_without_it(place: Path):
    trust, vault, scope = opened(place)
    done = withdraw(trust, *GUEST, scope)
    run = place / "runs" / "one"
    affected = [path for path, state in EXPECTED.items() if state == "affected"]
    assert sorted(m["path"] for m in done.said["models"]) == sorted(str(place / "runs" / p) for p in affected)
    clean = run / "step_000006"
    assert done.said["clean"] == {str(run): str(clean), str(place / "runs" / "tainted"): ""}
    # Each by its passport and by its weights; the list is in the ledger, and nobody goes on from what it names.
    revoked = trust.revocations()
    assert revoked is not None and (revoked.number, len(revoked.revoked)) == (1, 2 * len(affected))
    assert done.said["revocations"] == {"digest": revoked.digest, "number": 1}
    bodies = [e.body for e in read_entries(trust.ledger.folder) if e.kind == "revocation"]
    named = {one.digest: one.reason for one in revoked.revoked}
    assert bodies == [{"digest": revoked.digest, "number": 1, "revoked": named, "withdrawal": done.said["entry"]}]
    with pytest.raises(PassportError, match=r"was revoked: an owner withdrew data that it was trained on"):
        train(RECIPE, data_of(vault, run / "step_000009"), place / "no", trust=trust, resume_from=run / "step_000009")
    # On from step 6, on what remains: to the step that was wanted, and nothing of the guest's is read for anything.
    model = train(RECIPE, data_of(vault, clean), place / "new", trust=trust, resume_from=clean)
    reads = checkpoint.reads_of(place / "new" / "step_000012")
    assert reads is not None and reads.is_complete and reads.step == 12
    assert {shard.owner for shard in reads.shards} == {"keeper"}
    assert reads.windows_by_owner == {KEEPER: 12 * 8}
    lines = [json.loads(line) for line in (place / "new" / "metrics.jsonl").read_text().splitlines()]
    assert min(line["step"] for line in lines) == 6
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    again = find_models(trust, *GUEST, runs=[place / "new"])
    assert {m.state for m in again} == {"clean"} and last_clean(again)[place / "new"].step == 12
    trust.sign_head()
    assert verify(trust.ledger.folder, trust=trust.trust_store).holds
    assert plan(trust, *GUEST, scope).is_done


def test_resumed_elsewhere_is_resumed_in_place(place: Path):
    trust, vault, _ = opened(place)
    run = place / "runs" / "one"
    whole = train(
        RECIPE, data_of(vault, run / "step_000006"), place / "elsewhere", trust=trust, resume_from=run / "step_000006"
    )
    stored = checkpoint.read_manifest(run / "step_000012")
    assert checkpoint.read_manifest(place / "elsewhere" / "step_000012")["statistics"] == stored["statistics"]
    (one, other) = (
        passport.verify(passport.read(p / "step_000012" / passport.FILE), trust.trust_store, place="p")[0]
        for p in (run, place / "elsewhere")
    )
    assert one.weights == other.weights and whole is not None


def test_weights_go_where_that_is_asked_and_a_run_found_later_is_revoked_later(place: Path):
    trust, _, scope = opened(place)
    first = withdraw(trust, *GUEST, replace(scope, runs=(place / "runs" / "one",)))
    kept = list((place / "runs" / "one").rglob("*.distcp"))
    assert len({path.parent for path in kept}) == 4 and first.said["purged_weights"] == []
    second = withdraw(trust, *GUEST, scope, purge_weights=True)
    assert second.is_new and second.said["revocations"]["number"] == 2
    assert {path.parent.name for path in (place / "runs").rglob("*.distcp")} == {"step_000003", "step_000006"}
    assert {str(p.parent.parent.name) for p in (place / "runs").rglob("*.distcp")} == {"one", "sound"}
    # The records stay: they are the evidence.
    assert states(place) == EXPECTED
    assert not withdraw(trust, *GUEST, scope, purge_weights=True).is_new
    assert read_receipt(second.receipt, trust.trust_store).said["entry"] == first.said["entry"]


def test_a_machine_refuses_the_bundle_of_an_affected_model_and_takes_that_of_a_clean_one(place: Path):
    trust, _, scope = opened(place)
    for name, step in (("late", 12), ("early", 6)):
        found = place / "runs" / "one" / f"step_{step:06d}"
        export_run(found, [MACHINE.id], {MACHINE.id: place / "bundles" / name}, trust=trust)
    (public,) = (trust.path / "partners").glob("*.pub")
    machine = MachineTrust.create(place / "machine", party=trust.party, site=trust.site, believe=[public])
    for name in ("late", "early"):
        assert clear(Bundle.read(place / "bundles" / name), machine, record=False)
    done = withdraw(trust, *GUEST, replace(scope, bundles=(place / "bundles",)))
    bundles = [m for m in done.said["models"] if m["kind"] == "bundle"]
    assert [m["path"] for m in bundles] == [str(place / "bundles" / "late")] and bundles[0]["weights"]
    assert done.said["undecided"] == []
    # The newest list goes to the machine, as every list does.
    shutil.copy(trust.revocation_path, machine.path)
    with pytest.raises(PassportError, match="was revoked: an owner withdrew data that it was trained on"):
        clear(Bundle.read(place / "bundles" / "late"), machine, record=False)
    assert clear(Bundle.read(place / "bundles" / "early"), machine, record=False)
    # Without its passport a bundle is known by its weights, which are those of an affected checkpoint.
    (place / "bundles" / "late" / passport.FILE).unlink()
    (found,) = [
        m for m in find_models(trust, *GUEST, runs=scope.runs, bundles=[place / "bundles"]) if m.path.name == "late"
    ]
    assert (found.state, found.passport) == ("affected", "") and "the same weights as" in found.reason


def test_files_that_only_have_the_names_of_checkpoints_and_bundles_are_none(place: Path):
    trust, _, _ = opened(place)
    (place / "other").mkdir()
    (place / "other" / "run.json").write_text('{"stages": []}')
    (place / "other" / "manifest.json").write_text('["no table"]')
    assert find_models(trust, *GUEST, runs=[place / "other"], bundles=[place / "other"]) == []
