"""``genba audit pack`` from the command line: made by the party, checked by an auditor with public keys alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from audited import MADE_NS, Party, make_party

from genba.cli.main import main
from genba.trust.ledger import Ledger
from genba.trust.signing import SigningKey

MADE = "2026-11-01T09:00:00+09:00"


@pytest.fixture(scope="module")
def party(tmp_path_factory) -> Party:
    return make_party(tmp_path_factory.mktemp("party"))


@pytest.fixture(autouse=True)
def place(monkeypatch, party):
    """Nothing is named by the environment but the party's keys."""
    monkeypatch.delenv("GENBA_TRUST", raising=False)
    monkeypatch.delenv("GENBA_VAULT", raising=False)
    monkeypatch.setenv("GENBA_KEYS", str(party.trust.path.parent / "keys"))
    monkeypatch.setenv("COLUMNS", "2000")


def genba(capsys, *arguments: object, status: int = 0) -> str:
    """Run ``genba audit pack`` and return what it said."""
    with pytest.raises(SystemExit) as ended:
        main(["audit", "pack", *(str(a) for a in arguments)])
    said = capsys.readouterr()
    assert ended.value.code == status, said
    return said.out + said.err


def everything(party: Party) -> list[object]:
    folders = ["--runs", party.runs, "--bundles", party.bundles, "--vault", party.vault.path]
    return ["--trust", party.trust.path, *folders, "--made", MADE]


def test_a_party_packs_everything_and_an_auditor_checks_it_elsewhere(party, capsys, tmp_path):
    said = genba(capsys, "--out", tmp_path / "pack", *everything(party))
    assert f"signed by key {party.trust.signing_key.public.id}" in said
    assert (
        "missing: metadata of Sample Arm Works/reach: none of the vaults that were named holds it (--vault VAULT)"
        in said
    )
    # 09:00 in Japan is midnight, UTC.
    manifest = json.loads((tmp_path / "pack" / "manifest.json").read_bytes())
    assert manifest["predicate"]["made_ns"] == MADE_NS
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(tmp_path / "pack", elsewhere / "pack")
    shutil.copytree(party.trust.path / "partners", elsewhere / "keys")
    said = genba(capsys, "--check", elsewhere / "pack", "--trust", elsewhere / "keys")
    assert "signed by Sample Works Research" in said and said.rstrip().endswith("it holds")
    assert "missing: the egress log of" in said and "only --trust shows" not in said
    assert "whose they are, only --trust shows" in genba(capsys, "--check", elsewhere / "pack")
    assert "it holds" in genba(capsys, "--check", elsewhere / "pack", "--trust", party.trust.path)
    (elsewhere / "pack" / "decisions.jsonl").write_text("")
    said = genba(capsys, "--check", elsewhere / "pack", "--trust", elsewhere / "keys", status=1)
    assert (
        "decisions.jsonl: its digest is" in said and "decisions.jsonl: it is not what the ledger's entries say" in said
    )
    assert said.rstrip().endswith("2 problems: it does not hold")
    said = genba(capsys, "--out", tmp_path / "pack", *everything(party), status=2)
    assert "exists; a pack is never changed: name another folder" in said


def test_the_same_command_gives_the_same_bytes(party, capsys, tmp_path):
    for name in ("one", "two"):
        genba(capsys, "--out", tmp_path / name, *everything(party))
    names = {path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()}
    assert len(names) > 40
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_what_does_not_hold_is_packed_and_ends_with_status_1(party, capsys, tmp_path):
    shutil.copytree(party.trust.path, tmp_path / "trust")
    log = tmp_path / "trust" / "egress" / "run-1.jsonl"
    log.write_bytes(log.read_bytes().replace(b"203.0.113.9", b"203.0.113.8"))
    said = genba(capsys, "--out", tmp_path / "pack", "--trust", tmp_path / "trust", status=1)
    assert "does not hold: egress/run-1.jsonl: its digest is" in said
    said = genba(capsys, "--check", tmp_path / "pack", "--trust", tmp_path / "trust", status=1)
    assert "as the pack itself says: egress/run-1.jsonl: its digest is" in said


def test_words_of_a_pack_cannot_drive_the_terminal_of_whoever_checks_it(party, capsys, tmp_path):
    genba(capsys, "--out", tmp_path / "pack", *everything(party))
    (tmp_path / "pack" / "evil\x1b[2Jname").write_text("")
    said = genba(capsys, "--check", tmp_path / "pack", status=1)
    assert "\x1b" not in said and "evil\\x1b[2Jname: the manifest does not name it" in said


def test_a_ledger_alone_is_packed_with_public_keys_and_a_key_to_sign(capsys, tmp_path):
    key = SigningKey.create(tmp_path / "plant")
    (tmp_path / "keys").mkdir()
    shutil.copy(tmp_path / "plant.pub", tmp_path / "keys" / "plant.pub")
    Ledger.create(tmp_path / "ledger", "plant", key)
    keys = ["--trust", tmp_path / "keys", "--ledger", tmp_path / "ledger"]
    said = genba(capsys, "--out", tmp_path / "pack", *keys, status=2)
    assert "not a trust folder (no party.toml); name --ledger and --key too" in said
    said = genba(capsys, "--out", tmp_path / "pack", *keys, "--key", tmp_path / "plant")
    assert "missing: agreements, sites, policies, egress logs" in said
    assert "signed by plant" in genba(capsys, "--check", tmp_path / "pack", "--trust", tmp_path / "keys")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "got both or neither, expected --out FOLDER or --check FOLDER"),
        (["--out", "a", "--check", "b"], "got both or neither, expected --out FOLDER or --check FOLDER"),
        (["--out", "a"], "no trust folder; name one with --trust"),
        (["--check", "nowhere"], "nowhere/keys: no public keys"),
    ],
)
def test_what_is_asked_wrongly_is_refused(capsys, arguments: list[str], words: str):
    assert words in genba(capsys, *arguments, status=2)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ("yesterday", "got 'yesterday', expected a time such as 2026-11-24T18:00:00Z"),
        ("2026-11-01T09:00:00", "which says no time zone"),
    ],
)
def test_a_time_that_says_nothing_definite_is_refused(party, capsys, tmp_path: Path, made: str, words: str):
    said = genba(capsys, "--out", tmp_path / "pack", "--trust", party.trust.path, "--made", made, status=2)
    assert words in said and not (tmp_path / "pack").exists()
