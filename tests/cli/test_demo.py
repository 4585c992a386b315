"""The whole job, as small as it gets: every stage does its part, and what is done is not done again."""

import dataclasses
import json

import pytest

from genba.bench.results import Result
from genba.cli import demo
from genba.data.vault import Vault
from genba.runtime.bundle import Bundle

ARM = "arm/grip@2"


@pytest.fixture(scope="module")
def smallest():
    """One machine, two demonstrations, two train steps, one correction."""
    share = dataclasses.replace(
        demo.QUICK.shares[ARM], demonstrations=2, corrections=1, episodes=1, batch=4, compared=("fixed_4n",)
    )
    return dataclasses.replace(demo.QUICK, correct_at=(1,), steps=2, shares={ARM: share})


def test_every_stage_is_done_once_and_the_run_can_be_gone_on_with(smallest, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "QUICK", smallest)
    out = tmp_path / "run"
    demo.demo(out=out, quick=True, processes=1)
    vault = Vault.open(out / "vault")
    # Two demonstrations and one correction, of which the expert's come from worlds 0 and 1, the model's from world 2.
    assert sorted((e.metadata.policy, e.metadata.seed) for e in vault.entries()) == [
        ("expert", 0),
        ("expert", 1),
        ("model", 2),
    ]
    bundle = Bundle.read(out / "bundles" / "step_000002" / ARM)
    result = Result.read(out / "results" / ARM / "model.json")
    assert result.weights_digest == bundle.weights_digest
    assert list(result.seeds) == [1_000_000]
    assert (out / "results" / ARM / "fixed_4n.json").is_file()
    page = (out / "report.html").read_text()
    assert ARM in page
    assert smallest.cut_short[0] in page
    stages = json.loads((out / "run.json").read_text())["stages"]
    assert [stage["name"] for stage in stages] == [
        "Collect demonstrations",
        "Train one model on all machines, to step 1",
        "Export bundles of step 1",
        "Let the model of step 1 act and be corrected",
        "Train on, to step 2",
        "Export bundles",
        "Measure in closed loop",
        "Make the report",
    ]

    kept = {
        p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.name not in ("run.json", "report.html")
    }
    demo.demo(out=out, quick=True, processes=1)
    # SQLite touches its file when it is opened to be made sure of; everything else stands as it stood.
    changed = {p.name for p, at in kept.items() if p.stat().st_mtime_ns != at}
    assert changed <= {"catalog.sqlite"}
