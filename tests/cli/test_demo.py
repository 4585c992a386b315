"""The whole job, as small as it gets and confined: every stage does its part, and what is done is not done again."""

import json
import os
import subprocess
import sys
import textwrap
from collections import Counter

from genba.bench.results import Result
from genba.cli import demo
from genba.data.vault import Vault
from genba.runtime.bundle import Bundle
from genba.trust.audit import read_entries, verify
from genba.trust.folder import TrustFolder
from genba.trust.keys import FileKeys
from genba.trust.sandbox.support import missing

ARM = "arm/grip@1"


#: One machine, two demonstrations, two train steps, one correction; the line is started again inside, these words with it.
SMALLEST = """
    import dataclasses, sys
    from genba.cli import demo, main
    share = demo.QUICK.shares["arm/grip@1"]
    share = dataclasses.replace(
        share, demonstrations=2, corrections=1, episodes=1, batch=4, compared=("fixed_4n",)
    )
    demo.QUICK = dataclasses.replace(demo.QUICK, correct_at=(1,), steps=2, shares={"arm/grip@1": share})
    sys.argv[1:] = ["demo", "--quick", "--processes", "1", "--out", sys.argv[1]]
    main.main()
"""


def run(out, keys):
    # Where the kernel cannot enforce the demo runs open and says so; where it can, the override changes nothing.
    environment = os.environ | {"GENBA_KEYS": str(keys), "GENBA_SANDBOX_UNENFORCED": "1"}
    command = [sys.executable, "-c", textwrap.dedent(SMALLEST), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_stage_is_done_once_and_the_run_can_be_gone_on_with(tmp_path):
    out, keys = tmp_path / "run", tmp_path / "keys"
    run(out, keys)
    trust = TrustFolder.open(tmp_path / "run-trust")
    vault = Vault.open(out / "vault", trust=trust, keys=FileKeys(keys))
    assert {e.metadata.owner for e in vault.entries()} == {"Sample Arm Works"}
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
    assert demo.QUICK.cut_short[0] in page
    assert "Sample Arm Works" in page
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
    run(out, keys)
    # SQLite touches its file when it is opened to be made sure of; everything else stands as it stood.
    changed = {p.name for p, at in kept.items() if p.stat().st_mtime_ns != at}
    assert changed <= {"catalog.sqlite"}

    # Each start is one run in the ledger, enforced where the kernel can, and every kind of use was asked for.
    entries = read_entries(trust.path / "ledger")
    assert Counter(one.kind for one in entries if one.kind in ("egress", "passport")) == {"egress": 2, "passport": 2}
    assert [one.body["is_enforced"] for one in entries if one.kind == "egress"] == [not missing()] * 2
    acts = {one.body["request"]["act"] for one in entries if one.kind == "decision" and one.body["allowed"]}
    assert {"admit", "read", "train", "export", "deploy"} <= acts
    assert verify(trust.path / "ledger", trust=trust.trust_store).holds
    assert result.passport.startswith("checked: ")
