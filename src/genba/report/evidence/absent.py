"""What the ledger names and a pack does not hold: found again by whoever checks it, so that nothing is left out in silence.

It looks at names and digests alone; whether what is here holds is judged elsewhere.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from genba.data.affected import READS_FILE
from genba.errors import GenbaError, SignatureError
from genba.report.evidence.folder import Missing
from genba.trust import passport as passports
from genba.trust.decisions import KIND as DECISION
from genba.trust.dsse import payload_of
from genba.trust.folder import EGRESS_FOLDER, POLICY_FOLDER
from genba.trust.ledger import Entry
from genba.trust.sandbox.log import lengths_of
from genba.trust.withdrawal import BEGUN, DONE, read_envelope
from genba.trust.withdrawal import KIND as WITHDRAWAL

MODELS, WITHDRAWALS = "models", "withdrawals"


def absent(path: Path, entries: Iterable[Entry]) -> list[Missing]:
    """Return what a ledger's entries name and a pack does not hold.

    Args:
        path: the pack.
        entries: of its ledger.
    """
    entries = tuple(entries)
    return [*_policies(path, entries), *_logs(path, entries), *_receipts(path, entries), *_papers(path, entries)]


def _policies(path: Path, entries: Iterable[Entry]) -> Iterator[Missing]:
    # A machine decides by a passport, which the ledger keeps.
    entered = {str(entry.body.get("digest")) for entry in entries if entry.kind == "passport"}
    kept = {f"sha256:{file.stem}" for file in (path / POLICY_FOLDER).glob("*.json")}
    named = Counter(str(entry.body.get("policy_hash")) for entry in entries if entry.kind == DECISION)
    for policy in sorted(named.keys() - kept - entered):
        yield Missing(
            what=f"the text of policies {policy}",
            why=f"{named[policy]} decisions were made by them, and no file has this digest: they were made before policies were kept, by a "
            f"machine from a passport that is not in this ledger, or elsewhere",
        )


def _logs(path: Path, entries: Iterable[Entry]) -> Iterator[Missing]:
    # Compared by name: what an entry names is never opened.
    here = {file.relative_to(path).as_posix() for file in path.rglob("*.jsonl")}
    named = {str(entry.body.get("log")): entry.number for entry in entries if entry.kind == "egress"}
    for log in sorted(named.keys() - here):
        yield Missing(what=log, why=f"entry {named[log]} of the ledger names this egress log, and it is not here")


def _receipts(path: Path, entries: Iterable[Entry]) -> Iterator[Missing]:
    kept = set[str]()
    for file in (path / WITHDRAWALS).glob("*/*.json"):
        # Whether it holds is judged elsewhere; here it counts as the one that it says it is.
        with contextlib.suppress(SignatureError):
            kept.add(read_envelope(file).digest)
    events = [entry for entry in entries if entry.kind == WITHDRAWAL]
    done = {entry.body.get("entry") for entry in events if entry.body.get("event") == DONE}
    for entry in events:
        if entry.body.get("event") == BEGUN and entry.number not in done:
            yield Missing(
                what=f"the receipt of the withdrawal of {entry.body.get('dataset')!r} of {entry.body.get('owner')!r}",
                why=f"it was begun (entry {entry.number}) and is not done",
                mend="genba trust withdraw OWNER DATASET: it goes on",
            )
        elif entry.body.get("event") == DONE and entry.body.get("receipt") not in kept:
            yield Missing(
                what=f"receipt {entry.body.get('receipt')}",
                why=f"entry {entry.number} of the ledger names it, and it is not here",
            )


def _papers(path: Path, entries: Iterable[Entry]) -> Iterator[Missing]:
    for digest in sorted({str(entry.body.get("digest")) for entry in entries if entry.kind == "passport"}):
        if not (path / model_name(digest) / passports.FILE).is_file():
            yield Missing(
                what=f"the papers of passport {digest}",
                why="the ledger names it, and it does not hold or is not here",
            )
    named = {file: _named_by(file) for file in sorted((path / MODELS).glob(f"*/{passports.FILE}"))}
    wanted = {egress for _, egress in named.values()}
    logged = {digest for log in (path / EGRESS_FOLDER).glob("*.jsonl") for digest in lengths_of(log, wanted)}
    for file, (reads, egress) in named.items():
        name = file.parent.relative_to(path).as_posix()
        if reads and not file.with_name(READS_FILE).is_file():
            yield Missing(what=f"the read record of {name}", why=f"its passport names root {reads}", mend="--runs RUNS")
        if egress and egress not in logged:
            yield Missing(
                what=f"the egress log of {name}", why=f"its passport names {egress}, and no log had this digest"
            )


def _named_by(file: Path) -> tuple[str, str]:
    """Return the read record's root and the egress log's digest that a passport names; whether it holds is judged elsewhere."""
    try:
        said = payload_of(passports.read(file), place=file.name)["predicate"]
        return str(said["reads"]), str(said["egress"])
    except (GenbaError, KeyError, TypeError):
        return "", ""


def model_name(digest: str) -> str:
    """Return the folder in a pack of the model that a passport is about."""
    return f"{MODELS}/{digest.removeprefix('sha256:')[:16]}"
