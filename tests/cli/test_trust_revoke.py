"""Revoking a model by hand: what is named is refused from then on, by everyone whom the list reaches, and nothing is taken back."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import shutil
from pathlib import Path

import pytest
from cleared import KEY, PARENT, Case, make_case, passport
from governed import sample_trust
from typer.testing import CliRunner

from genba.cli.trust import app
from genba.errors import ConfigError, PassportError, SignatureError, StorageError
from genba.runtime.bundle import Bundle
from genba.runtime.clearance import Clearance, clear
from genba.trust import passport as passports
from genba.trust.audit import read_entries, verify
from genba.trust.digest import digest_bytes
from genba.trust.folder import TrustFolder
from genba.trust.machine import MachineTrust
from genba.trust.passport import in_words
from genba.trust.revoking import revoke_models

REASON = "it dropped [three] boxes"
WEIGHTS = passport().weights


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def case(shared: Path, tmp_path: Path) -> Case:
    """A bundle, and a machine that takes it and believes the lab that made it."""
    return make_case(shared, tmp_path / "case")


@pytest.fixture
def trust(tmp_path: Path, case: Case) -> TrustFolder:
    """A steward's trust folder, which believes the lab, and whose lists the machine believes."""
    made = sample_trust(tmp_path / "trust")
    (made.path / "partners" / "lab.pub").write_bytes(KEY.public.pem())
    (case.machine / "partners" / "steward.pub").write_bytes(made.signing_key.public.pem())
    return made


def call(*arguments: object, answer: str = "") -> str:
    done = CliRunner().invoke(app, [str(one) for one in arguments], input=answer, env={"COLUMNS": "4000"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def revoke(trust: TrustFolder, what: object, *more: object, reason: str = REASON) -> str:
    return call("revoke", what, "--reason", reason, "--trust", trust.path, *(more or ["--yes"]))


def entered(trust: TrustFolder) -> list[dict]:
    return [one.body for one in read_entries(trust.ledger.folder) if one.kind == "revocation"]


def digest_of(case: Case) -> str:
    return passports.read(case.bundle / passports.FILE).digest


def look(trust: TrustFolder, case: Case) -> None:
    """Carry the newest list to the machine, and let it look at the bundle."""
    shutil.copy(trust.revocation_path, case.machine)
    clear(Bundle.read(case.bundle), MachineTrust(case.machine), record=False)


def test_a_machine_takes_a_bundle_until_the_list_that_revokes_it_arrives(trust: TrustFolder, case: Case):
    digest = digest_of(case)
    running = Clearance(Bundle.read(case.bundle), passport().signed(KEY), MachineTrust(case.machine))
    said = revoke(trust, case.bundle)
    assert running.look_again() == ""
    with pytest.raises(PassportError, match=rf"passport {digest} was revoked: it dropped \[three\] boxes"):
        look(trust, case)
    # What acts already stops when it next looks.
    assert f"passport {digest} was revoked" in running.look_again()
    assert f"revoked {digest} since" in said and f"revoked {WEIGHTS} since" in said
    # Both are named in the list and in the ledger, under a signed head.
    found = trust.revocations()
    assert found is not None and {one.digest for one in found.revoked} == {digest, WEIGHTS}
    assert entered(trust) == [
        {"digest": found.digest, "number": 1, "revoked": dict.fromkeys(sorted([digest, WEIGHTS]), REASON)}
    ]
    audit = verify(trust.ledger.folder, trust=trust.trust_store)
    assert audit.holds and audit.signed_size == audit.size


@pytest.mark.parametrize("what", ["weights", "parent", "passport", "file"])
def test_what_is_named_alone_is_revoked_alone_and_the_machine_says_which(trust: TrustFolder, case: Case, what: str):
    digest = digest_of(case)
    given = {"weights": WEIGHTS, "parent": PARENT, "passport": digest, "file": case.bundle / "passport.json"}[what]
    revoke(trust, given)
    expected = digest if what == "file" else str(given)
    found = trust.revocations()
    assert found is not None and [one.digest for one in found.revoked] == [expected]
    named = "passport" if what == "file" else what
    with pytest.raises(PassportError, match=f"{named} {expected} was revoked: it dropped"):
        look(trust, case)


def test_a_bundle_without_a_passport_is_revoked_by_its_weights(trust: TrustFolder, case: Case):
    manifest = json.loads((case.bundle / "manifest.json").read_text())
    del manifest["files"]["passport.json"]
    (case.bundle / "manifest.json").write_text(json.dumps(manifest))
    (case.bundle / "passport.json").unlink()
    revoke(trust, case.bundle)
    assert list(entered(trust)[0]["revoked"]) == [WEIGHTS]


def test_nothing_is_revoked_without_a_yes(trust: TrustFolder, case: Case):
    said = call("revoke", case.bundle, "--reason", REASON, "--trust", trust.path, answer="n\n")
    assert "in no passport of this ledger" in said and "Revoke for good?" in said
    assert not trust.revocation_path.exists() and entered(trust) == []
    look_at = call("revocations", "--trust", trust.path)
    assert look_at == "nothing is revoked\n"


def test_done_before_it_changes_nothing_and_keeps_the_first_reason(trust: TrustFolder, case: Case):
    revoke(trust, case.bundle)
    before, size = trust.revocation_path.read_bytes(), trust.ledger.size
    said = revoke(trust, case.bundle, "--trust", trust.path, reason="another reason")
    assert "Revoked before:" in said and REASON in said and "another reason" not in said
    assert trust.revocation_path.read_bytes() == before and TrustFolder(trust.path).ledger.size == size


def test_a_later_list_keeps_what_was_revoked_before_and_all_is_shown(trust: TrustFolder, case: Case):
    trust.ledger.enter_passport(passport().signed(KEY))
    revoke(trust, WEIGHTS)
    revoke(trust, PARENT, reason="its parent too")
    found = trust.revocations()
    assert found is not None and found.number == 2
    lines = call("revocations", "--trust", trust.path).splitlines()
    assert lines[0].startswith("list 2 of ") and lines[0].endswith(found.digest)
    for digest, of, reason in ((WEIGHTS, "weights of the passport sha256:", REASON), (PARENT, "", "its parent too")):
        (line,) = [one for one in lines if digest in one]
        one = found.find(digest)
        assert one is not None
        assert line.startswith(in_words(one.time_ns)) and of in line and line.rstrip().endswith(reason)
    # A machine's folder tells it too, and a list that was altered is not shown.
    shutil.copy(trust.revocation_path, case.machine)
    assert PARENT in call("revocations", "--trust", case.machine)
    data = bytearray(trust.revocation_path.read_bytes())
    data[len(data) // 2] ^= 1
    trust.revocation_path.write_bytes(data)
    with pytest.raises(SignatureError, match=r"revocations\.json"):
        call("revocations", "--trust", trust.path)


@pytest.mark.parametrize(
    ("what", "reason", "error", "message"),
    [
        ("sha256:12", REASON, ConfigError, "sha256:12: got neither sha256:<64 hex digits> nor a checkpoint, a bundle"),
        ("nowhere", REASON, ConfigError, "nowhere: got neither"),
        (digest_bytes(b"x"), "", SignatureError, "for '', expected sha256:<64 hex digits> and a reason"),
    ],
)
def test_what_cannot_be_revoked_is_refused_with_the_reason(
    trust: TrustFolder, what: str, reason: str, error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        revoke(trust, what, reason=reason)
    assert not trust.revocation_path.exists() and entered(trust) == []


def test_papers_that_do_not_hold_are_revoked_by_digest_only(trust: TrustFolder, case: Case, tmp_path: Path):
    shutil.copytree(case.bundle, tmp_path / "strange")
    (trust.path / "partners" / "lab.pub").unlink()
    with pytest.raises(PassportError, match=r"1 trusted keys.*Revoke it by the digest of its weights"):
        revoke(trust, tmp_path / "strange")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PassportError, match=r"no passport; .*Revoke it by the digest of its weights"):
        revoke(trust, tmp_path / "empty")


def test_a_passport_for_other_weights_than_the_bundles_is_not_guessed_about(trust: TrustFolder, case: Case):
    other = digest_bytes(b"other weights")
    case.give(dataclasses.replace(passport(), weights=other))
    with pytest.raises(PassportError, match=f"for weights {other}, the bundle's are {WEIGHTS}: put together from two"):
        revoke(trust, case.bundle)


def test_a_break_between_list_and_ledger_is_mended_by_the_same_command(
    trust: TrustFolder, case: Case, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(type(trust.ledger), "append", full)
        with pytest.raises(
            StorageError, match=r"revocations.json: .*No space left on device; free some space and revoke"
        ):
            revoke_models(trust, [WEIGHTS], reason=REASON)
    # The list that was signed holds, and the ledger learns of it.
    with pytest.raises(PassportError, match=f"weights {WEIGHTS} was revoked"):
        look(trust, case)
    assert entered(trust) == []
    revoke(trust, WEIGHTS, reason="said again")
    assert [one["revoked"] for one in entered(trust)] == [{WEIGHTS: REASON}]


def _revoke_some(path: Path, name: str) -> None:
    for number in range(4):
        revoke_models(TrustFolder(path), [digest_bytes(f"{name}{number}".encode())], reason=name)


def test_of_two_that_revoke_at_once_neither_is_forgotten(trust: TrustFolder):
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=_revoke_some, args=(trust.path, name)) for name in ("one", "other")]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    found = trust.revocations()
    assert found is not None and (found.number, len(found.revoked)) == (8, 8)
    assert sorted(one["number"] for one in entered(TrustFolder(trust.path))) == list(range(1, 9))
