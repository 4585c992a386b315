"""The commands around a withdrawal: they ask, list, do, say what is out of reach, and check receipts on other machines."""

import json
import shutil
from pathlib import Path

import pytest
from governed import sample_trust
from typer.testing import CliRunner
from withdrawing import EVERYTHING, FLEET, WORKS, owned

from genba.cli.main import main
from genba.cli.trust import app
from genba.data.vault import Vault
from genba.spec.embodiment import load_embodiment
from genba.trust.folder import TrustFolder
from genba.trust.signing import SigningKey

runner = CliRunner()


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GENBA_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("COLUMNS", "300")
    sample_trust(tmp_path / "trust")
    embodiment = load_embodiment(EVERYTHING)
    vault = Vault.open(tmp_path / "vault", create=True)
    vault.keep_embodiment(embodiment)
    vault.append(owned(embodiment, 0, FLEET))
    vault.append(owned(embodiment, 1, WORKS))
    return tmp_path


def call(*arguments: object, answer: str = ""):
    return runner.invoke(app, [str(a) for a in arguments], input=answer)


def withdraw(place: Path, *more: object, answer: str = ""):
    return call("withdraw", *FLEET, "--vault", place / "vault", "--trust", place / "trust", *more, answer=answer)


def episodes(place: Path) -> list[str]:
    return [e.episode_id for e in Vault.open(place / "vault").entries()]


def test_a_dry_run_and_a_no_do_nothing(place):
    said = withdraw(place, "--dry-run")
    assert said.exit_code == 0, said.output
    assert "1 episodes" in said.output and "Nothing was done" in said.output
    assert withdraw(place, answer="n\n").exit_code == 1
    assert len(episodes(place)) == 2 and not (place / "trust/withdrawals").exists()


def test_it_is_done_after_a_yes_and_its_receipt_is_checked_with_public_keys_alone(place, tmp_path):
    said = withdraw(place, answer="y\n")
    assert said.exit_code == 0, said.output
    assert episodes(place) == ["works/lines/000001"]
    (receipt,) = (place / "trust/withdrawals").glob("*/receipt.json")
    assert str(receipt) in said.output
    # Elsewhere, with the keeper's public key and nothing else.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(receipt, elsewhere)
    shutil.copytree(place / "trust/partners", elsewhere / "partners")
    shutil.rmtree(place / "trust")
    checked = call("receipt", elsewhere / "receipt.json", "--trust", elsewhere / "partners")
    assert checked.exit_code == 0, checked.output
    for words in (
        "2026 of fleet was withdrawn",
        "signed by Sample Works Research",
        "keys destroyed: fleet/2026",
        "1 episodes",
    ):
        assert words in checked.output


def test_done_before_it_asks_nothing_and_says_so(place):
    assert withdraw(place, "--yes").exit_code == 0
    again = withdraw(place)
    assert again.exit_code == 0, again.output
    assert "Withdrawn before" in again.output and "nothing was changed" in again.output


def test_a_forged_receipt_is_refused_in_one_line(place, capsys):
    withdraw(place, "--yes")
    (receipt,) = (place / "trust/withdrawals").glob("*/receipt.json")
    table = json.loads(receipt.read_bytes())
    table["payload"] = table["payload"][:-8] + "AAAAAAA="
    receipt.write_text(json.dumps(table, sort_keys=True, separators=(",", ":")))
    with pytest.raises(SystemExit, match="2"):
        main(["trust", "receipt", str(receipt), "--trust", str(place / "trust")])
    assert "SignatureError" in capsys.readouterr().err


def test_an_owners_request_is_written_once_and_honoured(place):
    key = SigningKey.create(place / "fleet")
    (place / "trust/partners/fleet.pub").write_bytes(key.public.pem())
    ledger = TrustFolder.open(place / "trust").ledger.id
    asked = [
        "request-withdrawal",
        *FLEET,
        "--key",
        place / "fleet",
        "--ledger",
        ledger,
        "--out",
        place / "request.json",
    ]
    assert call(*asked).exit_code == 0
    with pytest.raises(SystemExit, match="2"):
        main(["trust", *map(str, asked)])
    said = withdraw(place, "--yes", "--request", place / "request.json")
    assert said.exit_code == 0, said.output
    assert episodes(place) == ["works/lines/000001"]


def test_exports_that_were_allowed_are_named_as_out_of_reach(place):
    request = {"act": "export", "owner": FLEET[0], "dataset": FLEET[1]}
    entry = TrustFolder.open(place / "trust").ledger.append("decision", {"allowed": True, "request": request})
    said = withdraw(place, "--yes")
    assert f"Out of reach: exports that the ledger's entries {entry.number} allowed" in said.output
