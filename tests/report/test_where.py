"""Where the data stayed: what was decided and tried is counted from the files, and the page says it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from genba.cli.demo_trust import demo_trust
from genba.report.page import render
from genba.report.run import RunRecord, read_run
from genba.report.where import where_data_stayed
from genba.trust.folder import TrustFolder
from genba.trust.requests import Request
from genba.trust.sandbox.decide import Decision
from genba.trust.sandbox.log import EgressLog
from genba.trust.sandbox.policy import Policy


@pytest.fixture
def trust(tmp_path: Path) -> TrustFolder:
    """A trust folder in which two requests were allowed and one refused, and one run tried four things."""
    made = demo_trust(tmp_path / "demo-run")
    allowed = Request(
        act="read",
        party=made.party,
        owner="Sample Fleet",
        dataset="driving",
        agreement="sample-fleet-demo",
        sites=(made.site,),
        purpose="train",
    )
    for request in (allowed, allowed, dataclasses.replace(allowed, party="Sample Overseas Hosting")):
        made.gatekeeper.decide(request)
    (made.path / "egress").mkdir()
    log = EgressLog(made.path / "egress" / "one.jsonl", run="one")
    log.start(["command"], Policy(), is_enforced=True)
    for operation, address, is_allowed in (
        ("connect", "127.0.0.1:40000", True),
        ("connect", "unix:/tmp/clerk", True),
        ("connect", "10.1.0.5:443", True),
        ("connect", "203.0.113.9:443", False),
    ):
        decision = Decision(is_allowed=is_allowed, reason="test", address=address)
        log.attempt(operation, decision, process=1, program="python")
    log.end(0)
    log.close()
    return made


def test_decisions_and_attempts_are_counted_from_the_files(trust: TrustFolder):
    found = where_data_stayed(trust)
    assert found["decisions"] == {"allowed": 2, "refused": 1}
    # Loopback and sockets of this host are no other host; what was refused was not reached.
    assert found["egress"] == {"runs": 1, "unenforced": 0, "allowed": 3, "refused": 1, "hosts": ["10.1.0.5"]}
    assert [one["owner"] for one in found["owners"]] == ["Sample Arm Works", "Sample Factory", "Sample Fleet"]
    # The ledger's first entry and three decisions.
    assert found["ledger"]["size"] == 4
    assert found["ledger"]["root"] == trust.ledger.root.hex()


def test_page_says_where_the_data_stayed_and_how_to_verify_it(trust: TrustFolder, tmp_path: Path):
    RunRecord(trust=where_data_stayed(trust)).write(tmp_path / "run")
    text = render(read_run(tmp_path / "run"))
    for words in (
        "Every part of this ran confined by the kernel at demo-host (JP)",
        "Sample Arm Works",
        "2 allowed, 1 refused",
        "hosts reached: 10.1.0.5",
        trust.ledger.root.hex(),
        "genba audit verify demo-run-trust/ledger --trust demo-run-trust/partners",
    ):
        assert words in text, words


def test_page_says_so_where_nothing_was_enforced_or_nobody_asked(trust: TrustFolder, tmp_path: Path):
    log = EgressLog(trust.path / "egress" / "two.jsonl", run="two")
    log.start(["command"], Policy(), is_enforced=False, warning="NOTHING IS ENFORCED")
    log.close()
    RunRecord(trust=where_data_stayed(trust)).write(tmp_path / "run")
    text = render(read_run(tmp_path / "run"))
    assert "Nothing was enforced in 1 of 2 runs" in text
    assert "ran confined by the kernel" not in text
    RunRecord().write(tmp_path / "other")
    assert "nobody asked owners' agreements" in render(read_run(tmp_path / "other")).replace("&#39;", "'")
