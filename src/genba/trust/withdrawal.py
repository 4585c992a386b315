"""Withdrawal on paper: an owner's signed request, the ledger's entries, and the receipt that shows what was done.

Two entries of kind ``withdrawal`` frame it: one when it begins, before anything is touched, and one when it is done, which
names the receipt's digest. The receipt is a DSSE envelope: whose data set, what was destroyed, which models were revoked, from
which checkpoint training may go on, what is out of reach, and the proof that the first entry is in the ledger. It holds no
content and no name of another owner. ``check_receipt`` needs public keys alone.

Doing it is ``genba.data.withdraw``'s business.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genba.errors import LedgerError, SignatureError
from genba.trust.audit import read_entries
from genba.trust.dsse import Envelope, payload_of, sign
from genba.trust.heads import Head
from genba.trust.ledger import Entry, Ledger
from genba.trust.proofs import check_proof
from genba.trust.signing import SigningKey, TrustStore

RECEIPT_FORMAT, RECEIPT_TYPE = "genba-withdrawal-receipt@1", "application/vnd.genba.withdrawal-receipt+json"
REQUEST_FORMAT, REQUEST_TYPE = "genba-withdrawal-request@1", "application/vnd.genba.withdrawal-request+json"
KIND, BEGUN, DONE = "withdrawal", "begun", "done"

RECEIPT_FIELDS = frozenset(
    {"format", "owner", "dataset", "party", "site", "ledger", "entry", "request", "time_ns", "keys", "vaults", "denied"}
    | {"models", "undecided", "clean", "purged_weights", "revocations", "out_of_reach", "proof"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """A receipt that holds."""

    said: dict[str, Any]
    """What it says, by ``RECEIPT_FIELDS``."""
    digest: str
    """Of what it says."""
    signers: tuple[str, ...]
    """Who signed it, by name."""
    entry: Entry
    """The ledger's entry with which the withdrawal began."""
    head: Head
    """The signed head under which the entry is."""


def make_request(owner: str, dataset: str, *, ledger: str, key: SigningKey) -> Envelope:
    """Return an owner's signed request to withdraw a data set.

    Args:
        owner: whose data set, by the name under which the keeper's trust store has ``key``.
        dataset: which.
        ledger: id of the ledger of whom it is asked: nobody else can be asked with it.
        key: the owner's.
    """
    table = {
        "dataset": dataset,
        "format": REQUEST_FORMAT,
        "ledger": ledger,
        "nonce": os.urandom(16).hex(),
        "owner": owner,
        "time_ns": time.time_ns(),
    }
    return sign(REQUEST_TYPE, table, key)


def check_request(envelope: Envelope, owner: str, dataset: str, *, ledger: str, trust: TrustStore, place: str) -> None:
    """Refuse a request that the owner did not sign for this data set and this ledger.

    Raises:
        SignatureError: it was forged, altered, is another's, or is meant for someone else.
    """
    signers = [trust.name(one) for one in envelope.signers(trust.keys, payload_type=REQUEST_TYPE, place=place)]
    table = payload_of(envelope, place=place)
    expected = {"format": REQUEST_FORMAT, "owner": owner, "dataset": dataset, "ledger": ledger}
    for name, value in expected.items():
        if table.get(name) != value:
            raise SignatureError(f"{place}: {name}: got {table.get(name)!r}, expected {value!r}")
    if owner not in signers:
        raise SignatureError(
            f"{place}: signed by {', '.join(signers)}, expected {owner!r}: only its owner withdraws a data set by request"
        )


def begin(ledger: Ledger, owner: str, dataset: str, *, request: str) -> Entry:
    """Enter a withdrawal, unless it is entered already; return its entry.

    Raises:
        LedgerError: as ``Ledger.append`` says.
    """
    found = find(ledger, owner, dataset)
    body = {"dataset": dataset, "event": BEGUN, "owner": owner, "request": request}
    return found[0] if found else ledger.append(KIND, body)


def finish(ledger: Ledger, begun: Entry, receipt: Envelope) -> None:
    """Enter that a withdrawal is done, once for each receipt.

    Raises:
        LedgerError: as ``Ledger.append`` says.
    """
    body = {"entry": begun.number, "event": DONE, "receipt": receipt.digest}
    if not any(one.kind == KIND and one.body == body for one in read_entries(ledger.folder)):
        ledger.append(KIND, body)


def find(ledger: Ledger, owner: str, dataset: str) -> list[Entry]:
    """Return the entries that begin the withdrawal of a data set; one, or none where it was not withdrawn."""
    whose = {"dataset": dataset, "event": BEGUN, "owner": owner}
    return [
        one
        for one in read_entries(ledger.folder)
        if one.kind == KIND and {name: one.body.get(name) for name in whose} == whose
    ]


def exports(ledger: Ledger, owner: str, dataset: str) -> list[Entry]:
    """Return the decisions that let data of a data set leave: whoever has that is told by people, not by this program."""
    whose = ("export", owner, dataset)
    return [one for one in read_entries(ledger.folder) if one.kind == "decision" and _allows(one.body, whose)]


def sign_receipt(said: dict[str, Any], key: SigningKey) -> Envelope:
    """Return a receipt, signed.

    Args:
        said: every field of ``RECEIPT_FIELDS`` but ``format``.
        key: whose who did it.
    """
    table = said | {"format": RECEIPT_FORMAT}
    assert table.keys() == RECEIPT_FIELDS, table.keys() ^ RECEIPT_FIELDS
    return sign(RECEIPT_TYPE, table, key)


def read_envelope(path: Path | str) -> Envelope:
    """Read a request's or a receipt's file, unverified.

    Raises:
        SignatureError: it is missing, or no envelope.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise SignatureError(f"{path}: could not be read: {error.strerror}") from error
    return Envelope.from_bytes(data.removesuffix(b"\n"), place=str(path))


def read_receipt(path: Path | str, trust: TrustStore) -> Receipt:
    """Read a receipt's file and check it.

    Raises:
        SignatureError: it is missing, or not signed by anyone trusted, or altered.
        LedgerError: what it shows of the ledger does not hold.
    """
    return check_receipt(read_envelope(path), trust, place=str(path))


def check_receipt(envelope: Envelope, trust: TrustStore, *, place: str) -> Receipt:
    """Return a receipt that holds, offline.

    Raises:
        SignatureError: nobody trusted signed it, or it was altered.
        LedgerError: it is no receipt, or its entry is not in the ledger under the head that it shows.
    """
    signers = envelope.signers(trust.keys, payload_type=RECEIPT_TYPE, place=place)
    table = payload_of(envelope, place=place)
    if table.get("format") != RECEIPT_FORMAT or table.keys() != RECEIPT_FIELDS:
        raise LedgerError(f"{place}: format {table.get('format')!r}, expected {RECEIPT_FORMAT!r} and its fields")
    proof = table["proof"]
    if not isinstance(proof, dict):
        raise LedgerError(f"{place}: no proof of the ledger's entry")
    entry, head, _ = check_proof(proof, trust, place=f"{place}: proof")
    expected = {"dataset": table["dataset"], "event": BEGUN, "owner": table["owner"], "request": table["request"]}
    if entry.kind != KIND or entry.body != expected:
        raise LedgerError(f"{place}: its proof is of another entry ({entry.kind} {entry.body}), expected {expected}")
    if entry.number != table["entry"] or head.ledger != table["ledger"]:
        raise LedgerError(f"{place}: says entry {table['entry']} of {table['ledger']}, its proof is of another")
    return Receipt(said=table, digest=envelope.digest, signers=tuple(map(trust.name, signers)), entry=entry, head=head)


def _allows(body: dict[str, Any], whose: tuple[str, str, str]) -> bool:
    request = body.get("request")
    if body.get("allowed") is not True or not isinstance(request, dict):
        return False
    return (request.get("act"), request.get("owner"), request.get("dataset")) == whose
