"""Where the data of a run stayed: a summary of its trust folder, as plain values that go into the run's record.

What it counts can be counted again from the files that it names. It verifies nothing: ``genba audit verify`` does.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from genba.trust.decisions import KIND
from genba.trust.folder import EGRESS_FOLDER, TrustFolder
from genba.trust.ledger import ENTRIES, Entry
from genba.trust.sandbox.log import read_log
from genba.trust.sandbox.policy import LOOPBACK


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
    counts: Counter[str] = Counter()
    hosts: set[str] = set()
    for path in sorted((trust.path / EGRESS_FOLDER).glob("*.jsonl")):
        for line in read_log(path):
            if line["event"] == "start":
                counts["runs"] += 1
                counts["unenforced"] += not line["is_enforced"]
            elif line["event"] == "attempt":
                counts[line["decision"]] += line.get("repeated", 1)
                host = line["address"].rpartition(":")[0].strip("[]")
                if (
                    line["decision"] == "allowed"
                    and line["operation"] == "connect"
                    and _is_other(line["address"], host)
                ):
                    hosts.add(host)
    names = ("runs", "unenforced", "allowed", "refused")
    return {name: counts[name] for name in names} | {"hosts": sorted(hosts)}


def _is_other(address: str, host: str) -> bool:
    return not address.startswith("unix") and host not in LOOPBACK
