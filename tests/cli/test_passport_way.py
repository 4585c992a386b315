"""A passport on its way: from a run over three owners' data, in checkpoint and bundle, to the machine that asks for it."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from random_episodes import random_episode
from toy import CART
from typer.testing import CliRunner

from genba import registry
from genba.bench.results import Result
from genba.bench.rollout import roll_out
from genba.cli import audit, bench, bundle, train, trust
from genba.data.vault import Vault
from genba.errors import BundleError, CheckpointError, LedgerError, PassportError, PermissionDeniedError, SignatureError
from genba.runtime.bundle import Bundle
from genba.runtime.clearance import clear
from genba.spec.episode import Episode
from genba.train import checkpoint
from genba.train.passport import read_set
from genba.train.reissue import reissue
from genba.trust import passport as passports
from genba.trust import withdrawal
from genba.trust.audit import read_entries
from genba.trust.audit import verify as verify_ledger
from genba.trust.folder import TrustFolder
from genba.trust.machine import MachineTrust
from genba.trust.passport import Passport
from genba.trust.requests import Holding
from genba.trust.revocation import Revoked, revoke
from genba.trust.revoking import revoke_models
from genba.trust.sources import read_sources

SITES = """
[[sites]]
id = "lab"
operator = "lab-co"
jurisdiction = "JP-23"
evidence = { statement = "lease", digest = "DIGEST", dated = 2020-01-01 }
[[sites]]
id = "plant"
operator = "lab-co"
jurisdiction = "JP-40"
evidence = { statement = "lease", digest = "DIGEST", dated = 2020-01-01 }
""".replace("DIGEST", f"sha256:{'0' * 64}")
AGREEMENT = """
owner = "{owner}"
[[agreements]]
id = "{owner}-terms"
datasets = ["grip"]
parties = ["lab-co"]
purposes = {purposes}
{machines}
jurisdictions = ["JP"]
sites = {sites}
from = 2020-01-01
until = {until}
"""
#: owner -> where its agreement allows a model to be, and its last day; all allow the cart
OWNERS = {
    "amber": ('["lab", "plant"]', "2999-12-31"),
    "birch": ('["lab", "plant"]', "2888-12-31"),
    "chestnut": ('["lab"]', "2999-12-31"),
}
#: 2889-01-01, 00:00 UTC: the day after the first of the agreements ends; 919 years after 1970, of which 230 - 9 + 3 are leap years
UNTIL_NS = (919 * 365 + 224) * 86400 * 10**9


def make_trust(folder: Path, **changes: str) -> TrustFolder:
    """A trust folder of lab-co at the lab; ``changes`` gives an owner's agreement as text instead."""
    given = folder.parent / f"{folder.name}-facts"
    given.mkdir(parents=True)
    (given / "sites.toml").write_text(SITES)
    for owner, (sites, until) in OWNERS.items():
        text = AGREEMENT.format(
            owner=owner, purposes='["train", "deploy"]', machines='machines = ["toy/cart@1"]', sites=sites, until=until
        )
        (given / f"{owner}.toml").write_text(changes.get(owner, text))
    agreements = [given / f"{owner}.toml" for owner in OWNERS]
    return TrustFolder.create(
        folder, party="lab-co", site="lab", sites_from=given / "sites.toml", agreements_from=agreements
    )


@dataclasses.dataclass
class Way:
    """Everything on the way, once."""

    trust: TrustFolder
    vault: Path
    run: Path
    bundle: Path
    machine: Path


@pytest.fixture(scope="module")
def way(tmp_path_factory) -> Way:
    """Two episodes of each owner, a run of four train steps with a stop after two, a bundle, and a machine at the lab."""
    folder = tmp_path_factory.mktemp("way")
    keeper = make_trust(folder / "trust")
    vault = Vault.open(folder / "vault", create=True)
    vault.keep_embodiment(CART.embodiment)
    for seed in range(6):
        episode = random_episode(CART.embodiment, seed)
        owner = list(OWNERS)[seed // 2]
        named = dataclasses.replace(episode.metadata, owner=owner, dataset="grip", agreement=f"{owner}-terms")
        vault.append(Episode(named, episode.streams))
    made = Way(keeper, folder / "vault", folder / "run", folder / "bundle", folder / "machine")
    train_run(made, "--stop-at", "2")
    train_run(made)
    export(made.run, made.bundle, "--trust", str(keeper.path))
    call(
        trust.app,
        "machine",
        made.machine,
        *("--party", "lab-co", "--site", "lab", "--believe", keeper.path / "partners" / "lab-co.pub"),
    )
    return made


def call(app, *arguments) -> str:
    done = CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "4000"})
    if isinstance(done.exception, Exception):
        raise done.exception
    assert done.exit_code in (0, 1), done.output
    return done.output


def train_run(way: Way, *more, out: Path | None = None, keeper: TrustFolder | None = None) -> str:
    share = ("--share", "2 owner=amber", "--share", "1")
    given = ("--vault", way.vault, "--out", out or way.run, "--recipe", "debug", "--steps", "4", *share)
    return call(train.app, "run", *given, "--trust", (keeper or way.trust).path, *more)


def export(run: Path, out: Path, *more) -> str:
    return call(bundle.app, "export", run, "--embodiment", "toy/cart@1", "--out", out, *more)


def drive(path: Path, machine: Path | None = None, **more) -> Result:
    return roll_out("toy:CART", path, seeds=[1_000_000], workers=0, trust=machine, progress=False, **more)


def passport_of(way: Way, folder: Path) -> Passport:
    envelope = passports.read(folder / "passport.json")
    found, signers = passports.verify(envelope, way.trust.trust_store, place=str(folder))
    assert signers == ("lab-co",)
    return found


def test_a_run_ends_in_a_passport_that_says_what_it_was_made_from(way):
    newest = way.run / "step_000004"
    found = passport_of(way, newest)
    record = checkpoint.reads_of(newest)
    assert found.reads == record.root
    # one data set of each owner, one agreement each, no parent
    assert (len(found.datasets), len(found.agreements), found.parents, found.egress) == (3, 3, (), "")
    assert found.trained_on == read_set(newest, found).commitment.digest
    assert read_sources(newest) == tuple(Holding(owner, "grip", f"{owner}-terms") for owner in sorted(OWNERS))
    # all allow the cart; chestnut only the lab; birch's ends first
    assert (found.deploy.embodiments, found.deploy.sites) == (("toy/cart@1",), ("lab",))
    assert found.deploy.until_ns == UNTIL_NS
    assert found.config["recipe"]["num_steps"] == 4 and found.seeds == {"recipe": 0}
    assert found.code["digest"].startswith("sha256:") and "numpy" in found.environment


def test_each_checkpoint_has_one_of_its_own_weights_and_all_stand_in_a_ledger_that_holds(way):
    first, last = (passport_of(way, way.run / f"step_{step:06d}") for step in (2, 4))
    assert first.weights != last.weights
    kept = {entry.body["digest"] for entry in read_entries(way.trust.path / "ledger") if entry.kind == "passport"}
    assert kept == {passports.read(way.run / f"step_{step:06d}" / "passport.json").digest for step in (2, 4)}
    findings = verify_ledger(way.trust.path / "ledger", trust=way.trust.trust_store)
    assert [p.message for p in findings.problems if "no head covers" not in p.message] == []


def test_it_names_no_owner(way):
    text = passports.read(way.bundle / "passport.json").payload.decode() + (way.bundle / "trained_on.json").read_text()
    assert not [owner for owner in OWNERS if owner in text]
    # the recipe's share of amber stands in it blinded
    (share, _) = passport_of(way, way.bundle).config["recipe"]["shares"]
    assert len(bytes.fromhex(share["owner"])) == 32


def test_the_bundle_carries_the_checkpoints_passport_and_the_weights_in_it(way):
    read = Bundle.read(way.bundle)
    assert (way.bundle / "passport.json").read_bytes() == (way.run / "step_000004" / "passport.json").read_bytes()
    assert passport_of(way, way.bundle).weights == f"sha256:{read.weights_digest}"
    assert {"passport.json", "trained_on.json"} < set(read.files)
    assert not (way.bundle / "sources.json").exists()


def test_every_owner_was_asked_for_the_export_and_the_answers_stand_in_the_ledger(way):
    asked = [
        e.body for e in read_entries(way.trust.path / "ledger") if e.body.get("request", {}).get("act") == "export"
    ]
    assert [one["request"]["owner"] for one in asked[:3]] == sorted(OWNERS)
    assert all(one["allowed"] and one["request"]["embodiment"] == "toy/cart@1" for one in asked[:3])


def test_the_machine_runs_it_and_says_so(way):
    result = drive(way.bundle, way.machine)
    digest = passports.read(way.bundle / "passport.json").digest
    assert result.passport == f"checked: {digest}, released by lab-co"
    assert (result.control["refusals"], result.control["num_steps"]) == ({}, 60)


def test_without_a_trust_folder_only_this_projects_simulators_are_driven(way, monkeypatch, tmp_path):
    with pytest.raises(PassportError, match=r"not a simulator of this project, so no bundle acts on it unchecked"):
        drive(way.bundle)
    assert drive(way.bundle, allow_unchecked=True).passport == "not checked (no --trust)"
    monkeypatch.setitem(registry.TASKS, "toy/cart-task@1", "toy:CART")
    with pytest.raises(PassportError, match=r"name the machine's trust folder \(--trust"):
        call(bench.app, "toy/cart-task@1", "--policy", way.bundle, "--episodes", 1, "--workers", 0)
    given = ("--policy", way.bundle, "--episodes", 1, "--workers", 0, "--out", tmp_path / "result.json")
    said = call(bench.app, "toy/cart-task@1", *given, "--trust", way.machine)
    assert "checked: sha256:" in said
    assert Result.read(tmp_path / "result.json").passport.startswith("checked: sha256:")
    # an expert is no model: nobody asks for its passport
    assert roll_out("toy:CART", "expert", seeds=[1_000_000], workers=0, progress=False).passport == ""


def test_a_machine_at_another_site_refuses_and_a_worker_says_so_too(way, tmp_path):
    shutil.copytree(way.machine, tmp_path / "machine")
    text = (tmp_path / "machine" / "party.toml").read_text()
    (tmp_path / "machine" / "party.toml").write_text(text.replace('"lab"', '"plant"'))
    with pytest.raises(PassportError, match=r"do not allow site 'plant'; allowed: lab"):
        drive(way.bundle, tmp_path / "machine")


def test_a_machine_of_a_party_that_is_in_no_agreement_refuses_until_every_owner_lists_it(way, renewal, tmp_path):
    machine = tmp_path / "machine"
    call(
        trust.app,
        "machine",
        machine,
        *("--party", "plant-co", "--site", "lab", "--believe", way.trust.path / "partners" / "lab-co.pub"),
    )
    with pytest.raises(PassportError, match=r"do not allow party 'plant-co'; allowed: lab-co"):
        drive(way.bundle, machine)
    # Two of three owners are not enough.
    for number, owner in enumerate(OWNERS):
        renewal.agree(owner, parties='["lab-co", "plant-co"]')
        reissue(renewal.trust, renewal.path)
        parties = passport_of(way, renewal.path).deploy.parties
        assert parties == (("lab-co", "plant-co") if number == 2 else ("lab-co",))
    export(renewal.path, tmp_path / "bundle", "--trust", renewal.trust.path)
    assert drive(tmp_path / "bundle", machine).passport.startswith("checked: sha256:")


def test_a_bundle_that_is_revoked_or_altered_is_not_driven(way, tmp_path):
    machine, copy = shutil.copytree(way.machine, tmp_path / "machine"), shutil.copytree(way.bundle, tmp_path / "bundle")
    keeper = TrustFolder(shutil.copytree(way.trust.path, tmp_path / "trust"))
    said = call(trust.app, "revoke", way.bundle, "--reason", "it dropped boxes", "--trust", keeper.path, "--yes")
    assert said.startswith(f"{passports.read(way.bundle / 'passport.json').digest}: passport of 20")
    shutil.copy(keeper.revocation_path, machine)
    with pytest.raises(PassportError, match=r"passport sha256:\w+ was revoked: it dropped boxes"):
        drive(way.bundle, machine)
    # Nor is anything more made from what it was made from: the weights are revoked, wherever they are.
    with pytest.raises(PassportError, match=r"was revoked: it dropped boxes"):
        export(way.run, tmp_path / "again", "--trust", keeper.path)
    data = bytearray((copy / "encoder.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "encoder.onnx").write_bytes(data)
    with pytest.raises(BundleError, match=r"encoder.onnx: got sha256"):
        drive(copy, way.machine)


def test_a_stranger_s_machine_does_not_believe_it(way, tmp_path):
    other = make_trust(tmp_path / "other")
    with pytest.raises(PassportError, match="expected one of 1 trusted keys"):
        drive(way.bundle, other.path)
    said = call(bundle.app, "show", way.bundle, "--trust", other.path)
    assert "passport: refused at lab:" in said


def test_a_person_can_read_it(way):
    said = call(audit.app, "passport", way.bundle, "--trust", way.machine)
    for words in (
        "signed by    lab-co",
        "may run on toy/cart@1 at lab, before 2889-01-01T00:00:00+00:00",
        "trained from nothing",
        "3 could be read: sha256:",
        "ran unconfined",
    ):
        assert words in said
    assert "may run on toy/cart@1 at lab" in call(
        audit.app, "passport", way.run / "step_000002", "--trust", way.trust.path
    )
    assert "passport: holds at lab, released by lab-co; may run" in call(
        bundle.app, "show", way.bundle, "--trust", way.machine
    )
    assert "whether it holds is said with --trust" in call(bundle.app, "show", way.bundle)


def test_the_evidence_of_the_whole_way_is_packed_and_holds(way, tmp_path):
    given = ("--trust", way.trust.path, "--vault", way.vault, "--runs", way.run, "--bundles", way.bundle)
    said = call(audit.app, "pack", "--out", tmp_path / "pack", *given)
    assert "does not hold" not in said
    # The run was not confined and its vault asks nobody; no partner watches the ledger, and old checkpoints are kept.
    missing = [line.removeprefix("missing: ") for line in said.splitlines() if line.startswith("missing: ")]
    assert sum("rules before" in line for line in missing) == len(OWNERS)
    assert sum("it was made unconfined" in line for line in missing) == 2
    assert {line.partition(":")[0] for line in missing} >= {"countersignatures", "egress logs"} and len(missing) == len(
        OWNERS
    ) + 4
    assert "it holds" in call(audit.app, "pack", "--check", tmp_path / "pack", "--trust", way.trust.path)
    newest = tmp_path / "pack" / "models" / passports.read(way.run / "step_000004" / "passport.json").digest[7:23]
    assert len(list(newest.glob("bundle-0-*/release.json"))) == 1
    data = [one for one in json.loads((newest / "bom.cdx.json").read_bytes())["components"] if one["type"] == "data"]
    assert [one["group"] for one in data] == sorted(OWNERS)


@pytest.mark.parametrize("where", ["bundle", "run/step_000004"])
def test_an_owner_in_and_one_not_in_are_told_apart(way, where, tmp_path):
    folder = way.bundle.parent / where
    blinding = way.trust.path / "keys" / "blinding"
    for dataset, answer in (
        ("", "trained on: amber"),
        ("grip", "trained on: amber / grip"),
        ("reach", "not trained on"),
    ):
        given = ("--owner", "amber", "--blinding", blinding / "amber", "--dataset", dataset)
        assert call(audit.app, "trained-on", folder, "--trust", way.machine, *given).startswith(answer)
    call(audit.app, "key", tmp_path / "dogwood", "--blinding")
    given = ("--owner", "dogwood", "--blinding", tmp_path / "dogwood")
    assert call(audit.app, "trained-on", folder, "--trust", way.machine, *given) == "not trained on: dogwood\n"


def test_a_bundle_without_a_passport_says_that_it_has_none_and_is_refused(way, tmp_path):
    copy = shutil.copytree(way.bundle, tmp_path / "bundle")
    manifest = json.loads((copy / "manifest.json").read_text())
    for name in ("passport.json", "trained_on.json"):
        manifest["files"].pop(name)
        (copy / name).unlink()
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert "passport: none: only this project's simulators" in call(bundle.app, "show", copy)
    with pytest.raises(PassportError, match=r"passport.json: no passport; .*train and export with a trust folder"):
        drive(copy, way.machine)


def test_a_run_without_a_trust_folder_makes_none_and_says_what_to_do(way, tmp_path):
    given = ("--vault", way.vault, "--out", tmp_path / "run", "--recipe", "debug", "--steps", "1")
    assert "no passport: without a trust folder" in call(train.app, "run", *given)
    assert not (tmp_path / "run" / "step_000001" / "passport.json").exists()
    # nor is one made for it later, nor anything gone on from it
    with pytest.raises(PassportError, match="no passport; expected the signed record that the training run made"):
        export(tmp_path / "run", tmp_path / "later", "--trust", way.trust.path)
    with pytest.raises(PassportError, match="no passport; expected the signed record that the training run made"):
        train_run(way, "--start-from", tmp_path / "run", out=tmp_path / "next")
    assert not (tmp_path / "later").exists()


def test_what_was_made_under_agreements_is_not_exported_without_asking_them(way, tmp_path):
    with pytest.raises(PermissionDeniedError, match="they decide on an export: name the trust folder with --trust"):
        export(way.run, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_an_agreement_that_does_not_allow_deployment_stops_the_export_and_allows_no_place(way, tmp_path):
    birch = AGREEMENT.format(owner="birch", purposes='["train"]', machines="", sites='["lab"]', until="2999-12-31")
    keeper = make_trust(tmp_path / "trust", birch=birch)
    said = train_run(way, out=tmp_path / "run", keeper=keeper)
    assert "signed for lab-co" in said
    found, _ = passports.verify(
        passports.read(tmp_path / "run" / "step_000004" / "passport.json"), keeper.trust_store, place="run"
    )
    assert (found.deploy.embodiments, found.deploy.sites) == ((), ())
    with pytest.raises(
        PermissionDeniedError, match=r"export by lab-co is refused.*birch/grip for toy/cart@1: birch-terms: purposes"
    ):
        export(tmp_path / "run", tmp_path / "bundle", "--trust", keeper.path)
    assert not (tmp_path / "bundle").exists()
    asked = [e.body for e in read_entries(keeper.path / "ledger") if e.body.get("request", {}).get("act") == "export"]
    assert {one["request"]["owner"]: one["allowed"] for one in asked} == {
        "amber": True,
        "birch": False,
        "chestnut": True,
    }


def test_a_run_that_starts_from_a_model_carries_everything_that_model_was_made_from(way, tmp_path):
    # chestnut's data is left out here; it is in the parent's weights all the same
    shares = ("--share", "0 owner=chestnut", "--share", "1")
    given = ("--vault", way.vault, "--out", tmp_path / "run", "--recipe", "debug", "--steps", "1", *shares)
    call(train.app, "run", *given, "--start-from", way.run, "--trust", way.trust.path)
    parent, child = passport_of(way, way.run / "step_000004"), passport_of(way, tmp_path / "run" / "step_000001")
    assert child.parents == (parent.weights,)
    assert set(read_set(way.run / "step_000004", parent).blinded) <= set(
        read_set(tmp_path / "run" / "step_000001", child).blinded
    )
    assert child.deploy == parent.deploy
    assert read_sources(tmp_path / "run" / "step_000001") == read_sources(way.run / "step_000004")
    # where the parent is revoked, nothing of it is gone on from or exported
    listed = [Revoked(digest=parent.weights, reason="an owner withdrew", time_ns=1)]
    keeper = TrustFolder(shutil.copytree(way.trust.path, tmp_path / "trust"))
    (keeper.path / "revocations.json").write_bytes(revoke(None, listed, keeper.signing_key, now_ns=2).to_bytes())
    with pytest.raises(PassportError, match=rf"parent {parent.weights} was revoked: an owner withdrew"):
        export(tmp_path / "run", tmp_path / "bundle", "--trust", keeper.path)
    with pytest.raises(PassportError, match=rf"weights {parent.weights} was revoked"):
        train_run(way, "--start-from", way.run, out=tmp_path / "next", keeper=keeper)


def test_a_checkpoint_of_which_a_paper_was_altered_is_neither_exported_nor_gone_on_from(way, tmp_path):
    for name, message in (
        ("passport.json", r"passport.json: (not a|the signature|signed by)"),
        ("trained_on.json", r"trained_on.json: (the set is|no set|not a set|the claims)"),
        ("sources.json", r"sources.json: whose data .* is not known"),
    ):
        run = shutil.copytree(way.run, tmp_path / name)
        path = run / "step_000004" / name
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises((PassportError, SignatureError), match=message):
            export(run, tmp_path / "bundle", "--trust", way.trust.path)
        with pytest.raises((PassportError, SignatureError), match=message):
            train_run(way, "--start-from", run, out=tmp_path / f"next-{name}")
    assert not (tmp_path / "bundle").exists()


def test_the_passport_of_another_checkpoint_does_not_go_with_these_weights(way, tmp_path):
    run = shutil.copytree(way.run, tmp_path / "run")
    for name in ("passport.json", "trained_on.json"):
        shutil.copyfile(run / "step_000002" / name, run / "step_000004" / name)
    with pytest.raises(PassportError, match=r"the passport is for weights sha256:\w+, these are sha256:\w+"):
        export(run, tmp_path / "bundle", "--trust", way.trust.path)


def test_what_nobody_agreed_on_gets_no_passport(way, tmp_path):
    keeper = make_trust(tmp_path / "trust")
    (keeper.path / "agreements" / "chestnut.toml").unlink()
    with pytest.raises(PassportError, match=r"chestnut/grip: no agreement 'chestnut-terms' of this owner is known"):
        train_run(way, out=tmp_path / "run", keeper=keeper)
    # before the first train step
    assert not (tmp_path / "run").exists()


@dataclasses.dataclass
class Renewal:
    """A copy of the way's last checkpoint and of its trust folder, whose agreements an owner may change."""

    path: Path
    trust: TrustFolder

    def agree(
        self,
        owner: str,
        *,
        purposes: str = '["train", "deploy"]',
        parties: str = '["lab-co"]',
        sites: str = "",
        until: str = "",
    ) -> None:
        stood = OWNERS[owner]
        machines = 'machines = ["toy/cart@1"]' if "deploy" in purposes else ""
        text = AGREEMENT.format(
            owner=owner, purposes=purposes, machines=machines, sites=sites or stood[0], until=until or stood[1]
        )
        text = text.replace('parties = ["lab-co"]', f"parties = {parties}")
        (self.trust.path / "agreements" / f"{owner}.toml").write_text(text)

    def refused(self, message: str, error: type[Exception] = PermissionDeniedError, **at: Any) -> None:
        """Make sure that there is no new passport, for this reason."""
        before, kept = (self.path / "passport.json").read_bytes(), passports_in(self.trust)
        with pytest.raises(error, match=message):
            reissue(TrustFolder(self.trust.path, **at), self.path)
        assert (self.path / "passport.json").read_bytes() == before
        assert passports_in(self.trust) == kept


def passports_in(keeper: TrustFolder) -> list[dict[str, str]]:
    return [one.body for one in read_entries(keeper.path / "ledger") if one.kind == "passport"]


@pytest.fixture
def renewal(way: Way, tmp_path: Path) -> Renewal:
    keeper = TrustFolder(shutil.copytree(way.trust.path, tmp_path / "trust"))
    return Renewal(Path(shutil.copytree(way.run / "step_000004", tmp_path / "run" / "step_000004")), keeper)


def test_a_renewed_agreement_lengthens_the_passport_and_the_same_weights_run_on(way, renewal, tmp_path):
    old = passports.read(renewal.path / "passport.json")
    renewal.agree("birch", until="2999-12-31")
    said = call(trust.app, "reissue", renewal.path.parent, "--trust", renewal.trust.path)
    new = passports.read(renewal.path / "passport.json")
    assert f"replaces {old.digest}" in said and f"passport {new.digest} may run on toy/cart@1 at lab" in said
    before, after = passport_of(way, way.run / "step_000004"), passport_of(way, renewal.path)
    # Only when it was made, what allows it and until when are others: two agreements stand as they stood.
    assert (
        dataclasses.replace(after, made_ns=before.made_ns, agreements=before.agreements, deploy=before.deploy) == before
    )
    assert len(set(before.agreements) & set(after.agreements)) == 2 and len(after.agreements) == 3
    # 3000-01-01: 1030 years after 1970, of which 257 - 10 + 3 are leap years (2000, 2400 and 2800 are among the 250)
    assert after.deploy == dataclasses.replace(before.deploy, until_ns=(1030 * 365 + 250) * 86400 * 10**9)
    # The ledger names both, keeps both, and holds.
    assert passports_in(renewal.trust)[-1] == {"digest": new.digest, "replaces": old.digest}
    kept = renewal.trust.path / "ledger" / "passports"
    assert {f"sha256:{path.stem}" for path in kept.iterdir()} >= {old.digest, new.digest}
    assert verify_ledger(renewal.trust.path / "ledger", trust=way.trust.trust_store).holds
    # A year after the first bundle's end the machine takes the one that is exported now.
    export(renewal.path, tmp_path / "bundle", "--trust", renewal.trust.path)
    late_ns = UNTIL_NS + 365 * 86400 * 10**9
    machine = MachineTrust(shutil.copytree(way.machine, tmp_path / "machine"), clock=lambda: late_ns)
    with pytest.raises(PassportError, match=f"an agreement ended at {UNTIL_NS} ns"):
        clear(Bundle.read(way.bundle), machine, record=False)
    cleared = clear(Bundle.read(tmp_path / "bundle"), machine, record=False)
    assert (cleared.digest, cleared.passport.weights) == (new.digest, before.weights)
    # Under the same agreements there is nothing more to do.
    again = reissue(renewal.trust, renewal.path)
    assert (again.replaces, again.digest) == ("", new.digest) and passports_in(renewal.trust)[-1][
        "digest"
    ] == new.digest


def test_every_owner_is_asked_anew_and_one_no_is_enough(renewal):
    after_birch_ended = UNTIL_NS + 1
    renewal.refused(r"birch/grip: birch-terms: until: it expired after 2888-12-31", clock=lambda: after_birch_ended)
    asked = [one.body for one in read_entries(renewal.trust.path / "ledger")][-3:]
    assert [(one["request"]["act"], one["request"]["owner"], one["allowed"]) for one in asked] == [
        ("train", "amber", True),
        ("train", "birch", False),
        ("train", "chestnut", True),
    ]


def test_what_an_owner_does_not_allow_any_more_is_not_made_anew(renewal):
    renewal.agree("birch", purposes='["evaluate", "deploy"]')
    renewal.refused(r"birch/grip: birch-terms: purposes: 'train' serves purpose 'train'; allowed: evaluate, deploy")
    renewal.agree("birch", purposes='["train"]')
    renewal.refused(r"may run nowhere: .* ask the owners for the purpose 'deploy'")
    # chestnut allows the lab only: no site is left that both allow
    renewal.agree("birch", sites='["plant"]')
    renewal.refused(r"birch/grip: birch-terms: sites: lab: not allowed; allowed: plant")
    (renewal.trust.path / "agreements" / "birch.toml").unlink()
    renewal.refused(r"birch/grip: birch-terms: agreement: no agreement of 'birch' is known")


def test_a_narrower_agreement_makes_a_narrower_passport(renewal):
    renewal.agree("amber", until="2777-12-31")
    done = reissue(renewal.trust, renewal.path)
    # 2778-01-01: 808 years after 1970, of which 202 - 8 + 2 are leap years
    assert done.replaces and done.passport.deploy.until_ns == (808 * 365 + 196) * 86400 * 10**9


def test_an_owner_who_has_withdrawn_is_not_asked_and_what_is_revoked_stays_so(renewal):
    renewal.agree("birch", until="2999-12-31")
    entry = withdrawal.begin(renewal.trust.ledger, "birch", "grip", request="")
    renewal.refused(rf"birch/grip: withdrawn \(ledger entry {entry.number}\)$")
    assert [one.kind for one in read_entries(renewal.trust.path / "ledger")][-1] == "withdrawal"
    weights = passports.verify(passports.read(renewal.path / "passport.json"), renewal.trust.trust_store, place="p")[
        0
    ].weights
    revoke_models(renewal.trust, [weights], reason="it dropped boxes")
    renewal.refused(f"weights {weights} was revoked: it dropped boxes", PassportError)


def test_only_who_issued_a_passport_makes_it_anew(renewal, tmp_path):
    other = make_trust(tmp_path / "other")
    shutil.copy(renewal.trust.path / "partners" / "lab-co.pub", other.path / "partners" / "who-trained.pub")
    with pytest.raises(PassportError, match=r"is not in ledger .*; expected one that was issued here"):
        reissue(other, renewal.path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "sources.json",
            (b'["birch","grip","birch-terms"],', b""),
            r"does not name birch/grip under birch-terms, which",
        ),
        (
            "sources.json",
            (b"genba-sources@1", b"genba-sources@2"),
            r"whose data this checkpoint was made from is not known",
        ),
        ("trained_on.json", (b'"blinded":["', b'"blinded":["00'), r"no set|not a set|the set is"),
        ("reads.json", (b'"step":4', b'"step":5'), r"what was read until this checkpoint is not known"),
        ("passport.json", (b'"payload":"ey', b'"payload":"ez'), r"passport\.json"),
    ],
)
def test_papers_that_were_changed_make_no_new_ones(renewal, name, change, message):
    renewal.agree("birch", until="2999-12-31")
    data, kept = (renewal.path / name).read_bytes(), passports_in(renewal.trust)
    assert change[0] in data
    (renewal.path / name).write_bytes(data.replace(*change))
    with pytest.raises((PassportError, CheckpointError, LedgerError), match=message):
        reissue(renewal.trust, renewal.path)
    assert passports_in(renewal.trust) == kept


def test_another_checkpoints_records_are_not_taken_for_its_own(way, renewal):
    for name in ("reads.json", "run.json"):
        shutil.copy(way.run / "step_000002" / name, renewal.path / name)
    renewal.refused(r"its record of what was read has root sha256:\w+, the passport says sha256:", PassportError)
