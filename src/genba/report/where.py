"""Where the data of a run stayed: a summary of its trust folder, as plain values that go into the run's record.

What it counts can be counted again from the files that it names. It verifies nothing: ``genba audit verify`` does.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from genba.report.egress import egress_runs
from genba.trust.decisions import KIND
from genba.trust.folder import EGRESS_FOLDER, TrustFolder
from genba.trust.ledger import ENTRIES, Entry


def where_data_stayed(trust: TrustFolder) -> dict[str, Any]:
    """Return who owns the data, what was decided, what was tried, and where that is recorded.

    Raises:
        GenbaError: the trust folder's files do not fit.
    """
    rules, ledger = trust.rules, trust.ledger
    decisions: Counter[str] = Counter()
    with (ledger.folder / ENTRIES).open("rb") as file:
        for number, line in enumerate(file):
            entry = Entry.parse(line.rstrip(b"\n"), place=f"{ledger.folder / ENTRIES}: entry {number}")
            if entry.kind == KIND:
                decisions["allowed" if entry.body["allowed"] else "refused"] += 1
    return {
        "party": trust.party,
        "site": trust.site,
        "jurisdiction": rules.sites[trust.site].jurisdiction,
        "folder": trust.path.name,
        "owners": [
            {
                "owner": owner.owner,
                "agreement": one.id,
                "datasets": list(one.datasets),
                "purposes": list(one.purposes),
                "jurisdictions": list(one.jurisdictions),
                "until": one.valid_until.isoformat(),
            }
            for owner in rules.owners
            for one in owner.agreements
        ],
        "decisions": {"allowed": decisions["allowed"], "refused": decisions["refused"]},
        "egress": _egress(trust),
        "ledger": {"size": ledger.size, "root": ledger.root.hex(), "key": ledger.key.id},
    }


def _egress(trust: TrustFolder) -> dict[str, Any]:
    runs = [run for path in sorted((trust.path / EGRESS_FOLDER).glob("*.jsonl")) for run in egress_runs(path)]
    return {
        "runs": len(runs),
        "unenforced": sum(not run.is_enforced for run in runs),
        "allowed": sum(run.allowed for run in runs),
        "refused": sum(run.refused for run in runs),
        "hosts": sorted({host for run in runs for host in run.hosts}),
    }
