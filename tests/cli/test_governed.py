"""From the command line: a trust folder, vaults under it, and what is said to whoever has none."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from governed import ARM, FLEET, MACHINE, PARTY, PUBLIC, episode, trust_folder

from genba.data.vault import Vault
from genba.trust.audit import verify
from genba.trust.folder import TrustFolder
from genba.trust.sandbox.support import missing


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rules but those that a test names, no line is broken, and a kernel that can confine commands."""
    if lacking := missing():
        pytest.skip(f"this kernel cannot enforce: {lacking}")
    monkeypatch.setenv("GENBA_TRUST", "")
    monkeypatch.setenv("COLUMNS", "400")


@pytest.fixture
def trust(tmp_path: Path) -> TrustFolder:
    return trust_folder(tmp_path / "trust")


def filled(path: Path, *whose: tuple[str, str, str]) -> Vault:
    """An open vault that keeps the cart's facts, with two episodes of each."""
    vault = Vault.open(path, create=True)
    vault.keep_embodiment(MACHINE)
    for one in whose:
        for seed in range(2):
            vault.append(episode(seed, one))
    return vault


def genba(*arguments: str) -> tuple[int, str]:
    """Run a command as people do: under rules it is run again, confined, so a process of its own is needed."""
    done = subprocess.run([sys.executable, "-m", "genba.cli.main", *arguments], capture_output=True, text=True)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_init_says_what_comes_next_and_show_shows_it(tmp_path):
    folder = str(tmp_path / "trust")
    status, text = genba("trust", "init", folder, "--party", PARTY, "--site", "nagoya-lab")
    assert status == 0 and "until then everything is refused" in text and "genba trust govern VAULT" in text
    status, text = genba("trust", "show", folder)
    assert status == 2 and "sites.toml: no such file" in text
    folder = str(tmp_path / "samples")
    status, text = genba("trust", "init", folder, "--party", PARTY, "--site", "nagoya-lab", "--samples")
    assert status == 0 and "export GENBA_TRUST=" in text
    status, text = genba("trust", "show", folder)
    assert status == 0 and f"party {PARTY} site nagoya-lab in JP-23" in text and "(4 agreements)" in text


def test_an_open_vault_says_that_nobody_asks(tmp_path):
    vault = filled(tmp_path / "vault", FLEET)
    said = "open vault: nobody asks owners' agreements here"
    assert said in genba("data", "list", "--vault", str(vault.path))[1]
    assert said in genba("data", "show", "driving/000", "--vault", str(vault.path))[1]


def test_govern_puts_a_vault_under_rules_and_heads_are_signed(tmp_path, trust):
    vault = filled(tmp_path / "vault", FLEET, ARM)
    status, text = genba("trust", "govern", str(vault.path), "--trust", str(trust.path))
    assert status == 0, text
    assert "2 episodes of Sample Arm Works/grip under sample-arm-2026" in text and "4 episodes sealed anew" in text
    status, text = genba("data", "list", "--vault", str(vault.path))
    assert status == 2 and "PermissionDeniedError" in text and "--trust or $GENBA_TRUST" in text
    command = ("data", "--trust", str(trust.path), "show", "driving/000", "--vault", str(vault.path))
    status, text = genba(*command)
    assert status == 0 and f"governed vault: {PARTY} at nagoya-lab, ledger" in text
    found = verify(trust.path / "ledger", trust=trust.trust_store)
    # The ledger's name, two admissions, one reading, what the confined command tried to reach: all under a head.
    assert found.holds and found.size == found.signed_size == 5


def test_govern_names_what_no_agreement_covers(tmp_path, trust):
    vault = filled(tmp_path / "vault", FLEET, ("Sample Stranger", "x", "none"))
    status, text = genba("trust", "govern", str(vault.path), "--trust", str(trust.path))
    assert status == 2 and "1 of 2 data sets are covered by no agreement" in text and "Sample Stranger/x" in text
    assert not (vault.path / "governed.toml").exists()


def test_a_log_is_imported_under_an_agreement_or_refused(tmp_path, trust, monkeypatch):
    log = tmp_path / "log"
    open_vault = filled(tmp_path / "open", FLEET)
    status, text = genba(
        "data",
        "export",
        str(log),
        "--format",
        "parquet",
        "--vault",
        str(open_vault.path),
        "--episode",
        "driving/000",
    )
    assert status == 0, text
    monkeypatch.setenv("GENBA_TRUST", str(trust.path))
    vault = str(tmp_path / "vault")
    status, text = genba(
        "data",
        "import",
        str(log),
        "--vault",
        vault,
        "--owner",
        "Sample Fleet",
        "--workers",
        "1",
        "--dataset",
        "parking",
        "--agreement",
        "sample-fleet-training",
    )
    assert status == 1 and "it is not about data set 'parking', only driving" in text, text
    assert "governed vault" in text and "0 episodes stored" in text
    status, text = genba(
        "data",
        "import",
        str(log),
        "--vault",
        vault,
        "--owner",
        "Sample Fleet",
        "--dataset",
        "driving",
        "--agreement",
        "sample-fleet-training",
    )
    assert status == 0 and "1 episodes stored" in text, text
    assert verify(trust.path / "ledger", trust=trust.trust_store).holds


def test_train_refuses_by_name_and_leaves_out_what_it_was_told_to(tmp_path, trust):
    vault = filled(tmp_path / "vault", FLEET, PUBLIC)
    assert genba("trust", "govern", str(vault.path), "--trust", str(trust.path))[0] == 0
    run = ("train", "--trust", str(trust.path), "run", "--vault", str(vault.path), "--recipe", "debug", "--steps", "1")
    status, text = genba(*run, "--out", str(tmp_path / "run"))
    assert status == 2 and "1 of 2 data sets may not be trained on" in text and "Sample Factory/shifts-public" in text
    assert not list(tmp_path.glob("run/step_*"))
    status, text = genba(*run, "--out", str(tmp_path / "run"), "--leave-out-refused")
    assert status == 0 and "left out: 2 episodes: Sample Factory/shifts-public" in text, text
    manifest = json.loads((tmp_path / "run" / "step_000001" / "run.json").read_text())
    assert [one["dataset"] for one in manifest["left_out"]] == ["shifts-public"]
    found = verify(trust.path / "ledger", trust=trust.trust_store)
    assert found.holds and found.size == found.signed_size
