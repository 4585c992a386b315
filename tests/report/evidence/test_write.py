"""A pack holds what its parts say, the same bytes each time; what is absent is listed, and what does not hold is named."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
from audited import MADE_NS, WEIGHTS, Party, given_by
from governed import ARM, FACTORY, FLEET, MACHINE
from random_episodes import random_episode

from genba.data.vault import Vault
from genba.errors import ConfigError, DataError
from genba.report.evidence.check import check_pack
from genba.report.evidence.write import Given, Made, write_pack
from genba.trust import passport as passports
from genba.trust.audit import verify
from genba.trust.ledger import Ledger
from genba.trust.passport import Passport
from genba.trust.sandbox.log import EgressLog
from genba.trust.sandbox.policy import Policy
from genba.trust.signing import SigningKey, TrustStore
from genba.trust.withdrawal import begin


def files_of(pack: Path) -> dict[str, bytes]:
    return {path.relative_to(pack).as_posix(): path.read_bytes() for path in pack.rglob("*") if path.is_file()}


def missing(made: Made) -> list[str]:
    return [f"{one.what}: {one.why}" for one in made.missing]


def test_every_part_is_there_and_only_what_cannot_be_is_missing(whole):
    patterns = (
        r"index\.html",
        r"manifest\.json",
        r"manifest\.dsse\.json",
        r"party\.json",
        r"keys/Sample Fleet\.pub",
        r"ledger/entries\.jsonl",
        r"ledger/heads\.jsonl",
        r"ledger/passports/[0-9a-f]{64}\.json",
        r"ledger-check\.json",
        r"proofs/000001\.json",
        r"decisions\.jsonl",
        r"policies/[0-9a-f]{64}\.json",
        r"rules/sites\.toml",
        r"rules/agreements/sample-fleet\.toml",
        r"rules/odrl/02\.jsonld",
        r"egress/run-1\.jsonl",
        r"egress\.json",
        r"revocations\.json",
        r"withdrawals/[0-9a-f]+/receipt-1\.json",
        r"models/[0-9a-f]{16}/(passport|reads|trained_on|sources|bom\.cdx|training-content)\.json",
        r"models/[0-9a-f]{16}/bundle-0-[0-9a-f]{8}/(manifest|release)\.json",
        r"datasets/00-00[01]/croissant\.json",
        r"requirements\.json",
    )
    names = files_of(whole.path)
    for pattern in patterns:
        assert any(re.fullmatch(pattern, name) for name in names), pattern
    assert all(
        any(re.fullmatch(pattern, name) for pattern in patterns) or name.startswith(("keys/", "rules/", "proofs/"))
        for name in names
    )
    assert whole.problems == ()
    # Agreements name data sets that nobody recorded, one was withdrawn, and one model was trained unconfined.
    kept = "none of the vaults that were named holds it"
    assert [one for one in missing(whole) if "egress" not in one] == [
        f"metadata of {ARM[0]}/reach: {kept}",
        f"metadata of {FACTORY[0]}/shifts: it was withdrawn: its receipt is here",
        f"metadata of {FACTORY[0]}/shifts-public: {kept}",
    ]
    assert len(missing(whole)) == 4 and "it was made unconfined" in missing(whole)[3]


def test_the_same_records_and_time_give_the_same_bytes(party, whole, tmp_path):
    again = write_pack(given_by(party), tmp_path / "again")
    assert files_of(again.path) == files_of(whole.path)
    later = write_pack(given_by(party, made_ns=MADE_NS + 10**9), tmp_path / "later")
    # What states the time: the page, the manifest and its signature, and each model's bill.
    differing = {name for name, data in files_of(later.path).items() if data != files_of(whole.path)[name]}
    assert {name.rpartition("/")[2] for name in differing} == {
        "index.html",
        "manifest.json",
        "manifest.dsse.json",
        "bom.cdx.json",
    }


def test_no_private_key_no_blinding_key_and_no_data_is_in_it(party, whole):
    everything = b"\n".join(files_of(whole.path).values())
    blinding = [path.read_text().strip() for path in (party.trust.path / "keys" / "blinding").iterdir()]
    assert len(blinding) == 3
    for secret in (*blinding, "PRIVATE KEY"):
        assert secret.encode() not in everything
    # An Arrow file begins and ends so.
    assert b"ARROW1" not in everything


def test_what_the_ledger_of_the_pack_says_is_verified_from_the_pack_alone(party, whole):
    found = verify(whole.path / "ledger", trust=TrustStore.load(whole.path / "keys"), required=["Sample Fleet"])
    assert found.holds and found.size == party.trust.ledger.size
    said = json.loads((whole.path / "ledger-check.json").read_bytes())
    assert said["countersigned"] == {"Sample Fleet": found.size} and said["problems"] == []
    # Everything but the ledger itself, the five decisions and the destroyed key is proved singly.
    assert len(list((whole.path / "proofs").iterdir())) == found.size - 1 - 5 - 1


def test_decisions_name_policies_whose_text_has_that_digest(whole):
    bodies = [json.loads(line)["body"] for line in (whole.path / "decisions.jsonl").read_bytes().splitlines()]
    # Three data sets were admitted, one reading was allowed and one refused.
    assert [body["allowed"] for body in bodies] == [True, True, True, True, False]
    (policy,) = (whole.path / "policies").iterdir()
    assert {body["policy_hash"] for body in bodies} == {f"sha256:{hashlib.sha256(policy.read_bytes()).hexdigest()}"}
    assert "forbid (principal, action, resource)" in json.loads(policy.read_bytes())["policies"]


def test_policies_that_nobody_kept_are_missing_and_altered_ones_are_named(changed, repack):
    (policy,) = (changed.trust.path / "policies").iterdir()
    policy.write_bytes(policy.read_bytes() + b" ")
    changed.trust.ledger.append("decision", {"allowed": True, "policy_hash": "sha256:" + "0" * 64})
    changed.trust.sign_head()
    made = repack(changed)
    assert [one.place for one in made.problems] == [f"policies/{policy.name}"]
    assert "it was altered since it was kept; left out" in made.problems[0].message
    texts = [one for one in missing(made) if one.startswith("the text of policies")]
    assert f"the text of policies sha256:{'0' * 64}: 1 decisions" in texts[0]
    assert f"the text of policies sha256:{policy.stem}: 5 decisions" in texts[1]


def test_a_file_that_is_no_policies_is_left_out_and_named(changed, repack):
    for data in (b"[]", b"not JSON", b'{"policies":1}'):
        (changed.trust.path / "policies" / f"{hashlib.sha256(data).hexdigest()}.json").write_bytes(data)
    made = repack(changed)
    assert [one.message for one in made.problems] == ["not policies as a trust folder keeps them; left out"] * 3
    assert len(list((made.path / "policies").iterdir())) == 1


def test_a_machines_decision_is_made_by_its_passport_which_the_ledger_keeps(changed, repack):
    digest = passports.read(changed.bundles / "cart" / "passport.json").digest
    changed.trust.ledger.append("decision", {"allowed": True, "policy_hash": digest})
    changed.trust.sign_head()
    assert not [one for one in missing(repack(changed)) if one.startswith("the text of policies")]


def test_a_ledger_that_does_not_hold_is_packed_and_named_and_proves_nothing(changed, repack):
    entries = changed.trust.path / "ledger" / "entries.jsonl"
    lines = entries.read_bytes().splitlines(keepends=True)
    entries.write_bytes(b"".join([*lines[:4], *lines[5:], b'{"half']))
    made = repack(changed)
    assert (made.path / "ledger" / "entries.jsonl").read_bytes() == entries.read_bytes()
    assert any(
        one.place == "ledger/entries.jsonl: entry 4" and "it says that it is entry 5" in one.message
        for one in made.problems
    )
    assert any("half-written" in one.message for one in made.problems)
    assert "proofs of single entries: the ledger does not hold" in missing(made)
    assert not (made.path / "proofs").exists()
    # A check finds the same again, and that the pack is the one that was signed.
    found = check_pack(made.path, changed.trust.trust_store)
    assert {one.message for one in found.problems} == {
        one.message for one in made.problems if one.place.startswith("ledger/")
    }


def test_a_partner_who_has_not_countersigned_the_newest_head_is_missing(changed, repack):
    size = changed.trust.ledger.size
    changed.trust.ledger.append("run", {"began": True})
    changed.trust.sign_head()
    assert (
        f"the countersignature of Sample Fleet over the newest head: Sample Fleet has countersigned a head over {size} entries, the "
        f"newest covers {size + 1}" in missing(repack(changed))
    )


def test_a_ledger_alone_is_packed_and_the_rest_is_missing(tmp_path):
    key = SigningKey.create(tmp_path / "key")
    Ledger.create(tmp_path / "ledger", "plant", key)
    store = TrustStore({"plant": key.public})
    given = Given(ledger=tmp_path / "ledger", store=store, key=key, made_ns=MADE_NS)
    made = write_pack(given, tmp_path / "pack")
    assert made.problems == () and check_pack(made.path, given.store).holds
    whats = [one.what for one in made.missing]
    for what in (
        "agreements, sites, policies, egress logs, revoked models and withdrawals",
        "decisions",
        "proofs of single entries",
        "countersignatures",
        "metadata of data sets",
        "models",
        "checkpoints and their read records",
        "bundles and their releases",
    ):
        assert what in whats, what


def test_without_vaults_and_folders_of_models_they_are_missing_and_the_ledgers_passports_are_there(party, repack):
    made = repack(party, vaults=(), runs=(), bundles=())
    assert made.problems == ()
    assert f"metadata of {FLEET[0]}/driving: no vault was named" in missing(made)
    assert "checkpoints and their read records: no folder of runs was named" in missing(made)
    assert len(list((made.path / "models").iterdir())) == 2
    assert sum(one.startswith("whose data models/") for one in missing(made)) == 2


def test_an_egress_log_that_changed_or_is_gone_is_named(changed, repack, tmp_path):
    log = changed.trust.path / "egress" / "run-1.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    # The refusals are taken out.
    log.write_bytes(b"".join(line for line in lines if b"refused" not in line))
    made = repack(changed)
    assert [one.place for one in made.problems] == ["egress/run-1.jsonl"]
    assert re.search(r"its digest is sha256:\w+, entry \d+ names sha256:", made.problems[0].message)
    assert any(one.startswith("the egress log of models/") and "no log had this digest" in one for one in missing(made))
    shutil.rmtree(made.path)
    log.rename(log.with_name("run-2.jsonl"))
    made = repack(changed)
    assert (
        "the ledger's entry of egress/run-2.jsonl: the run has not ended, or was cut off before it was entered"
        in missing(made)
    )
    assert any(one.startswith("egress/run-1.jsonl: entry") for one in missing(made))
    shutil.rmtree(made.path)
    log.with_name("run-2.jsonl").write_bytes(b"[]\n")
    made = repack(changed)
    assert [one.message for one in made.problems] == ["line 1: expected a whole JSON object with its run"]
    shutil.rmtree(made.path)
    for line in (b'{"run":"x"}\n', b'{"run":"x","time_ns":"now"}\n', b'{"run":"x","time_ns":1,"event":"attempt"}\n'):
        log.with_name("run-2.jsonl").write_bytes(line)
        made = repack(changed)
        assert [one.message[:20] for one in made.problems] == [
            "not an egress log (K" if b"now" not in line else "not an egress log (T"
        ]
        shutil.rmtree(made.path)


def newest(changed: Party, name: str) -> Path:
    return changed.runs / name / "step_000002"


def test_papers_that_do_not_fit_their_passport_are_named(changed, repack):
    one, other = newest(changed, "arm-and-fleet"), newest(changed, "fleet-and-factory")
    shutil.copy(other / "reads.json", one / "reads.json")
    shutil.copy(other / "trained_on.json", one / "trained_on.json")
    messages = [problem.message for problem in repack(changed).problems]
    assert len(messages) == 2
    assert re.match(r"its root is sha256:\w+, the passport says sha256:", messages[0])
    assert re.match(r"it is the set sha256:\w+, the passport commits to sha256:", messages[1])


def test_a_passport_by_a_stranger_and_a_model_without_one_are_named(changed, repack):
    path = newest(changed, "arm-and-fleet")
    stranger = dataclasses.replace(plain_passport(), weights=WEIGHTS["arm and fleet"]).signed(SigningKey.generate())
    (path / "passport.json").write_bytes(stranger.to_bytes())
    (newest(changed, "fleet-and-factory") / "passport.json").unlink()
    made = repack(changed)
    assert [one.place for one in made.problems] == ["runs/arm-and-fleet/step_000002/passport.json"]
    assert "expected one of 2 trusted keys" in made.problems[0].message
    for name in ("arm-and-fleet", "fleet-and-factory"):
        assert (
            f"the passport of runs/{name}/step_000002: it has none that holds: nobody signed what it was made from"
            in missing(made)
        )


def plain_passport() -> Passport:
    return Passport(
        weights=WEIGHTS["arm and fleet"], made_ns=1, code={}, environment={}, config={}, seeds={}, hardware={}
    )


def test_a_passport_and_a_record_that_are_in_no_ledger_are_missing_there(changed, repack):
    path = newest(changed, "arm-and-fleet")
    made_elsewhere = plain_passport().signed(changed.trust.signing_key)
    (path / "passport.json").write_bytes(made_elsewhere.to_bytes())
    made = repack(changed, bundles=())
    place = "runs/arm-and-fleet/step_000002"
    assert (
        f"the ledger's entry of the passport of {place}: no entry of this ledger names {made_elsewhere.digest}"
        in missing(made)
    )


def test_a_bundle_that_was_changed_or_not_released_is_named(changed, repack):
    bundle = changed.bundles / "cart"
    (bundle / "encoder.onnx").write_bytes(b"another")
    made = repack(changed)
    assert [one.place for one in made.problems] == ["bundles/cart"] and "encoder.onnx: got sha256:" in made.problems[
        0
    ].message
    (bundle / "encoder.onnx").write_bytes(b"encoder.onnx")
    shutil.rmtree(made.path)
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    (bundle / "manifest.json").write_text(json.dumps(manifest | {"provenance": {"by": "another"}}))
    made = repack(changed)
    assert [one.place for one in made.problems] == ["bundles/cart/release.json"]
    assert "released with manifest sha256:" in made.problems[0].message
    (bundle / "release.json").unlink()
    shutil.rmtree(made.path)
    assert "the release of bundles/cart: it was exported without a trust folder" in missing(repack(changed))


def test_a_damaged_checkpoint_is_named_and_the_others_are_packed(changed, repack):
    path = newest(changed, "arm-and-fleet") / "run.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"embodiments": {MACHINE.id: {"id": 1}}}))
    other = newest(changed, "fleet-and-factory") / "run.json"
    other.write_text(json.dumps(json.loads(other.read_bytes()) | {"model": [1]}))
    made = repack(changed)
    assert [one.place for one in made.problems] == [
        "runs/arm-and-fleet/step_000002",
        "runs/fleet-and-factory/step_000002",
    ]
    assert "embodiments.toy/cart@1" in made.problems[0].message and "expected tables" in made.problems[1].message
    assert len(list((made.path / "models").iterdir())) == 2


def test_a_withdrawal_that_is_not_done_and_a_receipt_that_is_gone_or_changed_are_named(changed, repack):
    begin(changed.trust.ledger, FLEET[0], FLEET[1], request="")
    changed.trust.sign_head()
    (receipt,) = changed.trust.path.glob("withdrawals/*/receipt-1.json")
    data = receipt.read_bytes()
    receipt.write_bytes(data.replace(b'"sig":"', b'"sig":"AAAA')[: len(data)])
    made = repack(changed)
    assert [one.place for one in made.problems] == [f"withdrawals/{receipt.parent.name}/receipt-1.json"]
    assert any(
        one.startswith("the receipt of the withdrawal of 'driving' of 'Sample Fleet': it was begun")
        for one in missing(made)
    )
    assert any(
        re.match(r"receipt sha256:\w+: entry \d+ of the ledger names it, and it is not here", one)
        for one in missing(made)
    )


def test_a_list_of_revoked_models_that_nobody_signed_is_named(changed, repack):
    path = changed.trust.revocation_path
    path.write_bytes(path.read_bytes()[:-30])
    assert [one.place for one in repack(changed).problems] == ["revocations.json"]


def test_agreements_that_cannot_be_read_are_packed_and_missing_as_what_they_mean(changed, repack):
    file = changed.trust.path / "agreements" / "sample-fleet.toml"
    file.write_text(file.read_text() + "unknown = 1\n")
    made = repack(changed)
    assert (made.path / "rules" / "agreements" / "sample-fleet.toml").read_bytes() == file.read_bytes()
    assert any(one.startswith("agreements that can be read: agreements/sample-fleet.toml") for one in missing(made))


def test_an_open_vault_is_missing_its_rules(party, tmp_path, repack):
    vault = Vault.open(tmp_path / "open", create=True, embodiments=[MACHINE], keys=party.vault.keys)
    vault.append(random_episode(MACHINE, 0, num_steps=20))
    made = repack(party, vaults=(vault,))
    assert "rules before genba/default: its vault is open: nothing asks an agreement before it is read" in missing(made)


def test_nothing_is_overwritten_and_nothing_half_made_is_left(party, whole, tmp_path):
    with pytest.raises(ConfigError, match="exists; a pack is never changed"):
        write_pack(given_by(party), whole.path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="the pack could not be made"):
        write_pack(given_by(party), tmp_path / "file" / "pack")
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault" / "catalog.sqlite").write_bytes(b"no catalog" * 100)
    broken = Vault(tmp_path / "vault", keys=party.vault.keys)
    with pytest.raises(DataError, match="not a catalog"):
        write_pack(given_by(party, vaults=(broken,)), tmp_path / "packs" / "pack")
    assert list((tmp_path / "packs").iterdir()) == []


def test_two_folders_of_runs_of_one_name_are_told_apart(party, repack, tmp_path):
    for number in range(2):
        place = tmp_path / str(number) / "runs" / "alone" / "step_000001"
        place.mkdir(parents=True)
        (place / "run.json").write_text(json.dumps({"architecture": "x", "step": 1}))
    made = repack(party, runs=(tmp_path / "0" / "runs", tmp_path / "1" / "runs"))
    for name in ("runs-0", "runs-1"):
        assert any(one.startswith(f"the passport of {name}/alone/step_000001: it has none") for one in missing(made))


def test_a_log_that_grew_since_it_was_entered_still_begins_with_what_was_entered(changed, repack):
    log = EgressLog(changed.trust.path / "egress" / "run-1.jsonl", run="run-2")
    log.start(["genba"], Policy(), is_enforced=False, warning="NOTHING IS ENFORCED")
    log.close()
    made = repack(changed)
    assert made.problems == ()
    rows = json.loads((made.path / "egress.json").read_bytes())
    assert [(row["run"], row["is_enforced"], row["status"]) for row in rows] == [
        ("run-1", True, 0),
        ("run-2", False, None),
    ]
    assert check_pack(made.path, changed.trust.trust_store).holds
