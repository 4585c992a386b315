"""What the ledger and the trust folder say: entries, heads, proofs, decisions and their policies, rules, egress, withdrawals.

Files are taken over as they are, and then judged as the pack has them, so that whoever is handed the pack finds the same. A part that is
absent is listed as missing, one that does not hold as a problem. Models are in ``models``, data in ``datasets``.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genba.errors import GenbaError
from genba.report.egress import EgressRun, egress_runs
from genba.report.evidence.absent import WITHDRAWALS
from genba.report.evidence.folder import PackFolder
from genba.trust import audit, revocation
from genba.trust.agreements import AGREEMENT_FOLDER, SITES_FILE, OwnerAgreements
from genba.trust.audit import Findings
from genba.trust.decisions import KIND as DECISION
from genba.trust.digest import canonical_json, digest_bytes, digest_file
from genba.trust.durable import locked
from genba.trust.folder import EGRESS_FOLDER, POLICY_FOLDER, REVOCATION_FILE, TrustFolder
from genba.trust.heads import read_lines
from genba.trust.ledger import ENTRIES, HEADS, LOCK, PASSPORTS, SET_ASIDE, Entry
from genba.trust.odrl import to_odrl
from genba.trust.proofs import prove_all
from genba.trust.revocation import Revocations
from genba.trust.sandbox.log import num_lines_of
from genba.trust.signing import PUBLIC_SUFFIX, TrustStore
from genba.trust.withdrawal import Receipt, read_receipt

#: entries that others than the keeper have something in; decisions and admissions are too many, any of them: genba audit prove
PROVED = ("witness", "read", "egress", "passport", "withdrawal", "revocation")
LEDGER, KEYS, RULES, PROOFS = "ledger", "keys", "rules", "proofs"
DECISIONS_FILE, CHECK_FILE, EGRESS_FILE = "decisions.jsonl", "ledger-check.json", "egress.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedRun:
    """A confined command's run, and where it is recorded."""

    run: EgressRun
    log: str
    """The log in the pack."""
    digest: str
    """Of the whole log."""
    entry: int | None
    """Number of the ledger's entry that names the log as it is; None where none does."""

    def row(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self.run) | {"log": self.log, "digest": self.digest, "entry": self.entry}


@dataclass(frozen=True, kw_only=True, slots=True)
class Records:
    """What was found, for the other parts and for the page."""

    findings: Findings
    entries: tuple[Entry, ...]
    owners: tuple[OwnerAgreements, ...]
    policies: dict[str, str]
    """Their text by their hash."""
    egress: tuple[LoggedRun, ...]
    receipts: tuple[Receipt, ...]
    revocations: Revocations | None

    def of_kind(self, kind: str) -> list[Entry]:
        """Return the ledger's entries of one kind."""
        return [entry for entry in self.entries if entry.kind == kind]


def collect(pack: PackFolder, ledger: Path, store: TrustStore, trust: TrustFolder | None) -> Records:
    """Put the records of a ledger, and of the trust folder around it, into a pack.

    Args:
        ledger: the ledger's folder.
        store: whose keys are believed.
        trust: the trust folder; None where there is a ledger alone.
    """
    for name, key in sorted((store.names[one], key) for one, key in store.keys.items()):
        pack.add(f"{KEYS}/{name}{PUBLIC_SUFFIX}", key.pem())
    findings, entries = _ledger(pack, ledger, store)
    if trust is None:
        pack.miss(
            "agreements, sites, policies, egress logs, revoked models and withdrawals",
            "only a ledger was given",
            "--trust TRUST",
        )
    return Records(
        findings=findings,
        entries=entries,
        owners=_rules(pack, trust) if trust else (),
        policies=_decisions(pack, entries, trust),
        egress=_egress(pack, entries, trust) if trust else (),
        receipts=_withdrawals(pack, store, trust) if trust else (),
        revocations=_revocations(pack, store, trust) if trust else None,
    )


def decision_lines(entries: Iterable[Entry]) -> bytes:
    """Return the decisions among a ledger's entries, a line each."""
    return b"".join(entry.line() + b"\n" for entry in entries if entry.kind == DECISION)


def check_table(findings: Findings, path: Path) -> dict[str, Any]:
    """Return what a check of the pack's ledger found, as it is stored.

    Args:
        findings: what was found.
        path: the pack's, which what is stored does not name.
    """
    return {
        "countersigned": findings.witnessed,
        "keeper": findings.keeper,
        "ledger": findings.ledger,
        "problems": [
            {name: value.replace(f"{path}/", "") for name, value in asdict(problem).items()}
            for problem in findings.problems
        ],
        "root": findings.root.hex(),
        "signed_size": findings.signed_size,
        "size": findings.size,
        "witnesses": findings.witnesses,
    }


def read_entries(folder: Path) -> tuple[Entry, ...]:
    """Return the entries of a ledger that are in their form; those that are not, a check of it names."""
    found = []
    for number, line in enumerate(read_lines(folder / ENTRIES) if (folder / ENTRIES).is_file() else []):
        with contextlib.suppress(GenbaError):
            found.append(Entry.parse(line, place=str(number)))
    return tuple(found)


def _ledger(pack: PackFolder, ledger: Path, store: TrustStore) -> tuple[Findings, tuple[Entry, ...]]:
    with _standing_still(ledger):
        files = [ledger / ENTRIES, ledger / HEADS, *_in(ledger / PASSPORTS), *_in(ledger / SET_ASIDE)]
        for file in files:
            if file.is_file():
                pack.copy(f"{LEDGER}/{file.relative_to(ledger).as_posix()}", file)
    folder = pack.path / LEDGER
    findings, entries = audit.verify(folder, trust=store), read_entries(folder)
    for problem in findings.problems:
        pack.doubt(problem.place.replace(f"{pack.path}/", ""), f"{problem.kind}: {problem.message}")
    pack.add_json(CHECK_FILE, check_table(findings, pack.path))
    pack.add(DECISIONS_FILE, decision_lines(entries))
    numbers = [entry.number for entry in entries if entry.kind in PROVED]
    if not findings.holds:
        pack.miss("proofs of single entries", "the ledger does not hold", "genba audit verify LEDGER")
    elif not numbers:
        pack.miss(
            "proofs of single entries", f"the ledger has no entry of kind {', '.join(PROVED[:-1])} or {PROVED[-1]}"
        )
    else:
        for proof in prove_all(folder, numbers):
            pack.add(f"{PROOFS}/{proof['number']:06d}.json", canonical_json(proof))
    if not findings.witnesses:
        pack.miss(
            "countersignatures", "no partner is a witness: the keeper vouches alone", "genba audit witness, countersign"
        )
    for key, named in sorted(findings.witnesses.items()):
        name = store.name(key) if key in store.keys else named
        if findings.witnessed.get(name, -1) < findings.signed_size:
            signed = findings.witnessed.get(name)
            done = "none of the heads" if signed is None else f"a head over {signed} entries"
            pack.miss(
                f"the countersignature of {name} over the newest head",
                f"{name} has countersigned {done}, the newest covers {findings.signed_size}",
                "genba audit countersign",
            )
    return findings, entries


def _decisions(pack: PackFolder, entries: Iterable[Entry], trust: TrustFolder | None) -> dict[str, str]:
    texts = dict[str, str]()
    for path in _in(trust.path / POLICY_FOLDER) if trust else []:
        name, data = f"{POLICY_FOLDER}/{path.name}", path.read_bytes()
        if digest_bytes(data) != f"sha256:{path.stem}":
            pack.doubt(name, f"its digest is {digest_bytes(data)}: it was altered since it was kept; left out")
        elif (text := _policies_of(data)) is None:
            pack.doubt(name, "not policies as a trust folder keeps them; left out")
        else:
            pack.add(name, data)
            texts[f"sha256:{path.stem}"] = text
    if not any(entry.kind == DECISION for entry in entries):
        pack.miss("decisions", "the ledger has none: nothing was asked under these rules")
    return texts


def _policies_of(data: bytes) -> str | None:
    try:
        text = json.loads(data)["policies"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return text if isinstance(text, str) else None


def _rules(pack: PackFolder, trust: TrustFolder) -> tuple[OwnerAgreements, ...]:
    for path in [trust.path / SITES_FILE, *_in(trust.path / AGREEMENT_FOLDER)]:
        if path.is_file():
            pack.copy(f"{RULES}/{path.relative_to(trust.path).as_posix()}", path)
    try:
        owners = trust.rules.owners
    except GenbaError as error:
        pack.miss(
            "agreements that can be read", str(error).replace(f"{trust.path}/", ""), "genba trust agreements check"
        )
        return ()
    for number, one in enumerate(owners):
        pack.add(f"{RULES}/odrl/{number:02d}.jsonld", to_odrl(one).encode())
    return owners


def _egress(pack: PackFolder, entries: Iterable[Entry], trust: TrustFolder) -> tuple[LoggedRun, ...]:
    entered = {str(entry.body.get("log")): entry for entry in entries if entry.kind == "egress"}
    found: list[LoggedRun] = []
    logs = _in(trust.path / EGRESS_FOLDER)
    for path in logs:
        name = f"{EGRESS_FOLDER}/{path.name}"
        pack.copy(name, path)
        entry, digest = entered.get(name), digest_file(pack.path / name)
        if entry is None:
            pack.miss(f"the ledger's entry of {name}", "the run has not ended, or was cut off before it was entered")
        elif not num_lines_of(pack.path / name, str(entry.body.get("digest"))):
            pack.doubt(name, f"its digest is {digest}, entry {entry.number} names {entry.body.get('digest')}")
            entry = None
        try:
            runs = egress_runs(pack.path / name)
        except GenbaError as error:
            pack.doubt(name, error)
            continue
        found += [LoggedRun(run=run, log=name, digest=digest, entry=entry.number if entry else None) for run in runs]
    if not logs:
        pack.miss("egress logs", "no command ran confined under this trust folder", "genba ... --trust TRUST")
    pack.add_json(EGRESS_FILE, [run.row() for run in found])
    return tuple(found)


def _withdrawals(pack: PackFolder, store: TrustStore, trust: TrustFolder) -> tuple[Receipt, ...]:
    found = []
    for path in sorted((trust.path / WITHDRAWALS).glob("*/receipt-*.json")):
        name = f"{WITHDRAWALS}/{path.parent.name}/{path.name}"
        pack.copy(name, path)
        try:
            found.append(read_receipt(pack.path / name, store))
        except GenbaError as error:
            pack.doubt(name, error)
    return tuple(found)


def _revocations(pack: PackFolder, store: TrustStore, trust: TrustFolder) -> Revocations | None:
    if not trust.revocation_path.is_file():
        return None
    pack.copy(REVOCATION_FILE, trust.revocation_path)
    try:
        return revocation.read(pack.path / REVOCATION_FILE, store)
    except GenbaError as error:
        pack.doubt(REVOCATION_FILE, error)
        return None


@contextlib.contextmanager
def _standing_still(ledger: Path) -> Iterator[None]:
    """Keep others from appending, where this host may write there; elsewhere it is a copy, to which nobody appends."""
    with contextlib.ExitStack() as stack:
        if os.access(ledger / LOCK, os.W_OK):
            stack.enter_context(locked(ledger / LOCK))
        yield


def _in(folder: Path) -> list[Path]:
    """Return the files of a folder by name, without hidden ones; none where there is no folder."""
    return sorted(path for path in folder.glob("*") if path.is_file() and not path.name.startswith("."))
