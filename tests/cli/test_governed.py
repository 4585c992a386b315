"""From the command line: a trust folder, vaults under it, and what is said to whoever has none."""

import json
from pathlib import Path

import pytest
from governed import ARM, FLEET, MACHINE, PARTY, PUBLIC, episode, trust_folder

from genba.cli.main import main
from genba.data.vault import Vault
from genba.trust.audit import verify
from genba.trust.folder import TrustFolder


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rules but those that a test names, no line is broken, and commands run in this process: confining is tested elsewhere."""
    monkeypatch.setenv("GENBA_TRUST", "")
    monkeypatch.setattr("genba.cli.confined.is_sandboxed", lambda: True)
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


def genba(capsys, *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out = capsys.readouterr()
    return int(ended.value.code or 0), " ".join((out.out + out.err).split())


def test_init_says_what_comes_next_and_show_shows_it(capsys, tmp_path):
    folder = str(tmp_path / "trust")
    status, text = genba(capsys, "trust", "init", folder, "--party", PARTY, "--site", "nagoya-lab")
    assert status == 0 and "until then everything is refused" in text and "genba trust govern VAULT" in text
    status, text = genba(capsys, "trust", "show", folder)
    assert status == 2 and "sites.toml: no such file" in text
    folder = str(tmp_path / "samples")
    status, text = genba(capsys, "trust", "init", folder, "--party", PARTY, "--site", "nagoya-lab", "--samples")
    assert status == 0 and "export GENBA_TRUST=" in text
    status, text = genba(capsys, "trust", "show", folder)
    assert status == 0 and f"party {PARTY} site nagoya-lab in JP-23" in text and "(4 agreements)" in text


def test_an_open_vault_says_that_nobody_asks(capsys, tmp_path):
    vault = filled(tmp_path / "vault", FLEET)
    said = "open vault: nobody asks owners' agreements here"
    assert said in genba(capsys, "data", "list", "--vault", str(vault.path))[1]
    assert said in genba(capsys, "data", "show", "driving/000", "--vault", str(vault.path))[1]


def test_govern_puts_a_vault_under_rules_and_heads_are_signed(capsys, tmp_path, trust):
    vault = filled(tmp_path / "vault", FLEET, ARM)
    status, text = genba(capsys, "trust", "govern", str(vault.path), "--trust", str(trust.path))
    assert status == 0, text
    assert "2 episodes of Sample Arm Works/grip under sample-arm-2026" in text and "4 episodes sealed anew" in text
    status, text = genba(capsys, "data", "list", "--vault", str(vault.path))
    assert status == 2 and "PermissionDeniedError" in text and "--trust or $GENBA_TRUST" in text
    command = ("data", "--trust", str(trust.path), "show", "driving/000", "--vault", str(vault.path))
    status, text = genba(capsys, *command)
    assert status == 0 and f"governed vault: {PARTY} at nagoya-lab, ledger" in text
    found = verify(trust.path / "ledger", trust=trust.trust_store)
    # The ledger's name, two admissions, one reading: all under a head.
    assert found.holds and found.size == found.signed_size == 4


def test_govern_names_what_no_agreement_covers(capsys, tmp_path, trust):
    vault = filled(tmp_path / "vault", FLEET, ("Sample Stranger", "x", "none"))
    status, text = genba(capsys, "trust", "govern", str(vault.path), "--trust", str(trust.path))
    assert status == 2 and "1 of 2 data sets are covered by no agreement" in text and "Sample Stranger/x" in text
    assert not (vault.path / "governed.toml").exists()


def test_a_log_is_imported_under_an_agreement_or_refused(capsys, tmp_path, trust, monkeypatch):
    log = tmp_path / "log"
    open_vault = filled(tmp_path / "open", FLEET)
    status, text = genba(
        capsys,
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
        capsys,
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
        capsys,
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


def test_train_refuses_by_name_and_leaves_out_what_it_was_told_to(capsys, tmp_path, trust):
    vault = filled(tmp_path / "vault", FLEET, PUBLIC)
    assert genba(capsys, "trust", "govern", str(vault.path), "--trust", str(trust.path))[0] == 0
    run = ("train", "--trust", str(trust.path), "run", "--vault", str(vault.path), "--recipe", "debug", "--steps", "1")
    status, text = genba(capsys, *run, "--out", str(tmp_path / "run"))
    assert status == 2 and "1 of 2 data sets may not be trained on" in text and "Sample Factory/shifts-public" in text
    assert not list(tmp_path.glob("run/step_*"))
    status, text = genba(capsys, *run, "--out", str(tmp_path / "run"), "--leave-out-refused")
    assert status == 0 and "left out: 2 episodes: Sample Factory/shifts-public" in text, text
    manifest = json.loads((tmp_path / "run" / "step_000001" / "run.json").read_text())
    assert [one["dataset"] for one in manifest["left_out"]] == ["shifts-public"]
    found = verify(trust.path / "ledger", trust=trust.trust_store)
    assert found.holds and found.size == found.signed_size
