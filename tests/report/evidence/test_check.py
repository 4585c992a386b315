"""A pack that was changed, by whoever, is found out from its files; one that was made honestly holds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from audited import MADE_NS, given_by

from genba.errors import LedgerError, SignatureError
from genba.report.evidence.check import check_pack
from genba.report.evidence.folder import json_bytes
from genba.report.evidence.manifest import MANIFEST, SIGNED, read_statement, statement
from genba.report.evidence.write import write_pack
from genba.trust.digest import digest_bytes
from genba.trust.dsse import Envelope
from genba.trust.ledger import Ledger
from genba.trust.passport import PAYLOAD_TYPE
from genba.trust.proofs import prove
from genba.trust.signing import SigningKey, TrustStore
from genba.trust.withdrawal import read_envelope


@pytest.fixture
def pack(whole, tmp_path) -> Path:
    """A copy that the test may change."""
    shutil.copytree(whole.path, tmp_path / "pack")
    return tmp_path / "pack"


def places(pack: Path, store: TrustStore | None = None) -> list[str]:
    return [one.place for one in check_pack(pack, store).problems]


def sign_again(pack: Path, key: SigningKey) -> None:
    """Make the manifest anew over what is there now, and sign it: what whoever made the pack could do."""
    names = [path.relative_to(pack).as_posix() for path in sorted(pack.rglob("*")) if path.is_file()]
    names = [name for name in names if name not in (MANIFEST, SIGNED)]
    said = json_bytes(statement(pack, names, made_ns=MADE_NS, missing=[], problems=[]))
    (pack / MANIFEST).write_bytes(said)
    (pack / SIGNED).write_bytes(Envelope(PAYLOAD_TYPE, said, ()).signed_by(key).to_bytes() + b"\n")


def test_a_pack_as_it_was_made_holds_with_ones_own_keys_and_says_who_made_it_of_what(party, whole):
    found = check_pack(whole.path, party.trust.trust_store)
    assert found.holds and found.signers == ("Sample Works Research",)
    assert found.made_ns == MADE_NS and found.stated == ()
    assert [one["what"] for one in found.missing] == [one.what for one in whole.missing]
    # All but the manifest and its signature.
    assert found.num_files == whole.num_files - 2
    assert check_pack(whole.path).holds


def test_a_byte_that_was_changed_is_found_in_every_file(party, whole, pack):
    store = party.trust.trust_store
    for path in sorted(pack.rglob("*")):
        # The manifest's own bytes have a test of their own: many of them make it no manifest at all.
        if not path.is_file() or (path.name == MANIFEST and path.parent == pack):
            continue
        data, name = path.read_bytes(), path.relative_to(pack).as_posix()
        changed = bytearray(data)
        changed[len(data) // 2] ^= 1
        path.write_bytes(changed)
        assert name in places(pack, store), name
        path.write_bytes(data)
    assert places(pack, store) == []


def test_a_file_that_was_added_taken_away_or_made_a_link_is_found(party, pack):
    (pack / "added.txt").write_text("trust me")
    assert places(pack) == ["added.txt"]
    (pack / "added.txt").unlink()
    odrl = pack / "rules" / "odrl" / "00.jsonld"
    odrl.rename(pack.parent / "odrl")
    assert places(pack) == ["rules/odrl/00.jsonld"]
    odrl.symlink_to(pack.parent / "odrl")
    assert places(pack) == ["rules/odrl/00.jsonld"] * 2
    assert "a link, expected a file" in check_pack(pack).problems[0].message


def test_a_pack_that_a_stranger_made_anew_is_signed_by_nobody_who_is_believed(party, pack):
    stranger = SigningKey.generate()
    (pack / "decisions.jsonl").write_bytes(b"")
    for key in (pack / "keys").iterdir():
        key.unlink()
    (pack / "keys" / "Sample Works Research.pub").write_bytes(stranger.public.pem())
    sign_again(pack, stranger)
    found = check_pack(pack, party.trust.trust_store)
    assert found.signers == () and SIGNED in [one.place for one in found.problems]
    assert "expected one of 2 trusted keys" in next(one.message for one in found.problems if one.place == SIGNED)


def test_a_manifest_is_signed_byte_for_byte(party, pack):
    table = json.loads((pack / MANIFEST).read_bytes())
    table["predicate"]["missing"] = []
    (pack / MANIFEST).write_bytes(json_bytes(table))
    assert places(pack) == [SIGNED]
    (pack / SIGNED).unlink()
    assert "nobody vouches for this pack" in check_pack(pack).problems[0].message


def test_whoever_signs_cannot_say_otherwise_than_the_records(party, whole, pack):
    """The maker itself changes one thing and signs anew: the records contradict it."""
    key, model = party.trust.signing_key, next(pack.glob("models/*/bundle-*")).parent

    def drop_refusals() -> Path:
        path = pack / "decisions.jsonl"
        path.write_bytes(b"".join(line for line in path.read_bytes().splitlines(True) if b'"allowed":true' in line))
        return path

    def call_it_sound() -> Path:
        path = pack / "ledger-check.json"
        path.write_bytes(path.read_bytes().replace(b'"size": 1', b'"size": 2', 1))
        return path

    def soften_policies() -> Path:
        (path,) = (pack / "policies").iterdir()
        path.write_bytes(path.read_bytes().replace(b"forbid", b"permit"))
        return path

    def cut_egress() -> Path:
        path = pack / "egress" / "run-1.jsonl"
        path.write_bytes(b"".join(line for line in path.read_bytes().splitlines(True) if b"refused" not in line))
        return path

    def exchange_reads() -> Path:
        (other,) = (path for path in pack.glob("models/*/reads.json") if path.parent != model)
        shutil.copy(other, model / "reads.json")
        return model / "passport.json"

    def exchange_set() -> Path:
        (other,) = (path for path in pack.glob("models/*/trained_on.json") if path.parent != model)
        shutil.copy(other, model / "trained_on.json")
        return model / "passport.json"

    def change_bundle() -> Path:
        (path,) = model.glob("bundle-*/manifest.json")
        path.write_bytes(path.read_bytes().replace(b'"noise": "zero"', b'"noise": "gaussian"'))
        return path.with_name("release.json")

    def forget_revocations() -> Path:
        (pack / "revocations.json").write_bytes(b"{}")
        return pack / "revocations.json"

    def prove_another() -> Path:
        other = Ledger.create(pack.parent / "other", "other", key)
        (pack / "proofs" / "000001.json").write_text(json.dumps(prove(other.folder, 0)))
        return pack / "proofs" / "000001.json"

    def shorten_ledger() -> Path:
        path = pack / "ledger" / "entries.jsonl"
        path.write_bytes(b"".join(path.read_bytes().splitlines(True)[:-1]))
        return pack / "ledger-check.json"

    changes: tuple[Callable[[], Path], ...] = (
        drop_refusals,
        call_it_sound,
        soften_policies,
        cut_egress,
        exchange_reads,
        exchange_set,
        change_bundle,
        forget_revocations,
        prove_another,
        shorten_ledger,
    )
    for change in changes:
        found = change().relative_to(pack).as_posix()
        sign_again(pack, key)
        assert found in places(pack, party.trust.trust_store), change.__name__
        shutil.rmtree(pack)
        shutil.copytree(whole.path, pack)


def test_what_did_not_hold_when_it_was_made_is_said_again(changed, tmp_path):
    log = changed.trust.path / "egress" / "run-1.jsonl"
    log.write_bytes(log.read_bytes().replace(b"203.0.113.9", b"203.0.113.8"))
    made = write_pack(given_by(changed), tmp_path / "pack")
    found = check_pack(made.path, changed.trust.trust_store)
    assert [one["place"] for one in found.stated] == ["egress/run-1.jsonl"]
    assert [one.place for one in found.problems] == ["egress/run-1.jsonl"]


def test_records_that_are_not_in_their_form_are_named_and_break_nothing(party, pack):
    for name in ("proofs/000001.json", "ledger-check.json"):
        (pack / name).write_bytes(b"[")
    model = next(pack.glob("models/*/bundle-*"))
    (model / "manifest.json").write_text("{}")
    sign_again(pack, party.trust.signing_key)
    messages = {one.place: one.message for one in check_pack(pack, party.trust.trust_store).problems}
    assert set(messages) == {
        "proofs/000001.json",
        "ledger-check.json",
        (model / "release.json").relative_to(pack).as_posix(),
    }
    assert all(message.startswith("cannot be read (") for message in messages.values())


def test_what_was_left_out_on_purpose_is_found_by_what_the_ledger_names(party, whole, pack):
    store, key = party.trust.trust_store, party.trust.signing_key
    (policy,) = (pack / "policies").iterdir()
    receipt = next(pack.glob("withdrawals/*/*.json"))
    digest = read_envelope(receipt).digest
    one, other = sorted(path for path in (pack / "models").iterdir())
    for path in (policy, receipt, pack / "egress" / "run-1.jsonl", one / "reads.json"):
        path.unlink()
    shutil.rmtree(other)
    sign_again(pack, key)
    found = {one.place: one.message for one in check_pack(pack, store).problems}
    passport = next(path.stem for path in (pack / "ledger" / "passports").iterdir() if path.stem[:16] == other.name)
    expected = {
        f"the text of policies sha256:{policy.stem}",
        f"receipt {digest}",
        "egress/run-1.jsonl",
        f"the read record of models/{one.name}",
        f"the papers of passport sha256:{passport}",
    }
    # Only one of the two runs was confined.
    assert set(found) - {f"the egress log of models/{one.name}"} == expected
    assert all(message.endswith("and the pack does not list it as missing") for message in found.values())


def test_a_log_that_an_entry_names_outside_the_pack_is_not_opened(changed, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    body = {"log": f"../{secret.name}", "digest": digest_bytes(b"y"), "run": "evil"}
    changed.trust.ledger.append("egress", body)
    # What another kind of entry says of a log is not what the log is judged by.
    changed.trust.ledger.append("run", body | {"log": "egress/run-1.jsonl"})
    changed.trust.sign_head()
    made = write_pack(given_by(changed), tmp_path / "pack")
    assert check_pack(made.path, changed.trust.trust_store).holds
    assert f"../{secret.name}" in [one.what for one in made.missing]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"predicateType": "urn:genba:release:1"}, "expected 'urn:genba:evidence-pack:1'"),
        ({"subject": [{"name": "a", "digest": {"sha256": "0"}}] * 2}, "a file stands twice"),
        ({"subject": [{"name": "a"}]}, "KeyError"),
        ({"predicate": {"made_ns": 1.5, "missing": [], "problems": []}}, "expected ns since 1970"),
        ({"predicate": {"made_ns": 2**63, "missing": [], "problems": []}}, "expected ns since 1970"),
        ({"predicate": {"made_ns": 1, "missing": [{"what": "x"}], "problems": []}}, "KeyError"),
        ({"predicate": {"made_ns": 1, "missing": [], "problems": [{"place": 1, "message": ""}]}}, "place and message"),
    ],
)
def test_what_is_no_manifest_is_refused(whole, change, words):
    table = json.loads((whole.path / MANIFEST).read_bytes())
    with pytest.raises(LedgerError, match=f"here: not the manifest of an evidence pack .*{words}"):
        read_statement(json_bytes(table | change), place="here")


def test_a_folder_that_is_no_pack_is_refused(tmp_path):
    with pytest.raises(SignatureError, match="no public keys"):
        check_pack(tmp_path)
    with pytest.raises(LedgerError, match="expected an evidence pack"):
        check_pack(tmp_path, TrustStore({}))
