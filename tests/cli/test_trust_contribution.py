"""From a run to what each owner contributed, and from a withdrawal to the run that goes on without it: by the commands alone."""

import json
import shlex
from pathlib import Path

import pytest
from carts import GUEST, KEEPER, MACHINE, give
from typer.testing import CliRunner

from genba.cli.train import app as train_app
from genba.cli.trust import app as trust_app
from genba.data.vault import Vault
from genba.train import checkpoint
from genba.trust.folder import SAMPLES, TrustFolder

AGREEMENT = """
owner = "{owner}"
[[agreements]]
id = "{owner}-1"
datasets = ["{dataset}"]
parties = ["Sample Works Research"]
purposes = ["train", "evaluate"]
jurisdictions = ["JP-23"]
sites = ["nagoya-lab"]
from = 2026-04-01
until = 2099-03-31
"""

runner = CliRunner()


def call(app, *arguments: object):
    found = runner.invoke(app, [str(a) for a in arguments])
    assert found.exit_code == 0, found.output
    return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GENBA_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("COLUMNS", "300")
    agreements = []
    for owner, dataset in (KEEPER, GUEST):
        agreements.append(tmp_path / f"{owner}.toml")
        agreements[-1].write_text(AGREEMENT.format(owner=owner, dataset=dataset))
    TrustFolder.create(
        tmp_path / "trust",
        party="Sample Works Research",
        site="nagoya-lab",
        sites_from=SAMPLES / "sites.toml",
        agreements_from=agreements,
    )
    vault = Vault.open(tmp_path / "vault", create=True)
    vault.keep_embodiment(MACHINE)
    give(vault, KEEPER, range(5))
    return tmp_path


def train(place: Path, *more: object):
    common = ("--vault", place / "vault", "--trust", place / "trust", "--recipe", "debug", "--steps", 4)
    return call(train_app, "run", *common, *more)


def test_what_each_owner_contributed_is_shown_marked_and_written(place: Path):
    give(Vault.open(place / "vault"), GUEST, range(10, 13))
    train(place, "--out", place / "run", "--attribute", 4)
    arguments = (place / "run", "--vault", place / "vault", "--out", place / "contribution.json")
    shown = call(trust_app, "contribution", *arguments).output
    heading, _, numbers = shown.partition("\nowner ")
    assert heading.startswith(f"What each owner's data contributed to {place / 'run' / 'step_000004'}, 4 train steps\n")
    assert "~ estimates: between owners whose data are alike they tell nothing" in heading
    assert "keeper" in numbers and "guest" in numbers and "too few" in numbers
    table = json.loads((place / "contribution.json").read_bytes())
    assert {one["owner"]: one["episodes"] for one in table["owners"]} == {"keeper": 5, "guest": 3}
    assert "attribution" in table["estimated"] and "windows" in table["counted"]
    # 4 train steps of 8 windows.
    assert sum(one["windows"] for one in table["owners"]) == 32
    assert sum(one["attribution_adam"] for one in table["owners"]) == pytest.approx(1)


def test_the_command_that_a_withdrawal_prints_goes_on_without_what_was_withdrawn(place: Path):
    train(place, "--out", place / "run", "--stop-at", 2)
    give(Vault.open(place / "vault"), GUEST, range(10, 13))
    train(place, "--out", place / "run")
    # The same as what was stopped after two steps: the checkpoint before the guest is kept.
    said = call(
        trust_app,
        "withdraw",
        *GUEST,
        "--trust",
        place / "trust",
        "--vault",
        place / "vault",
        "--runs",
        place / "run",
        "--yes",
    ).output
    (line,) = [line.strip() for line in said.splitlines() if line.strip().startswith("genba train run")]
    words = shlex.split(line)[3:]
    assert words[words.index("--resume-from") + 1] == str(place / "run" / "step_000002")
    train(place, *words)
    reads = checkpoint.reads_of(Path(words[words.index("--out") + 1]) / "step_000004")
    assert reads is not None and reads.is_complete
    assert {shard.owner for shard in reads.shards} == {"keeper"}
