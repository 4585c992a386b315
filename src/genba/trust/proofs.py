"""Proofs about a ledger that travel without it: that an entry is in it, and that it only grew since a head was seen.

A proof is a table of plain values that anyone may check offline with public keys alone. Checking the whole folder is
``audit``'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from genba.errors import LedgerError, SignatureError
from genba.trust.audit import verify
from genba.trust.dsse import Envelope
from genba.trust.heads import PAYLOAD_TYPE, Head, check_growth, head_of, newest_head, read_line, read_lines
from genba.trust.ledger import ENTRIES, HEADS, Entry, identity
from genba.trust.merkle import Tree, leaf_hash, verify_inclusion
from genba.trust.signing import PublicKey, TrustStore

PROOF_FORMAT = "genba-inclusion@1"
GROWTH_FORMAT = "genba-growth@1"


def prove(folder: Path | str, number: int) -> dict[str, Any]:
    """Return the proof that an entry is in the ledger under its newest head, as a table that travels alone.

    Raises:
        LedgerError: no such entry, none of it signed yet, or a ledger that does not hold.
    """
    return prove_all(folder, [number])[0]


def prove_all(folder: Path | str, numbers: Iterable[int]) -> list[dict[str, Any]]:
    """Return the proofs of several entries, as ``prove`` does each, at the price of checking the ledger once.

    Raises:
        LedgerError: as ``prove`` says.
    """
    folder = Path(folder)
    _demand_sound(folder)
    lines = read_lines(folder / ENTRIES)
    envelope = newest_head(folder / HEADS)
    size = head_of(envelope, place=str(folder / HEADS)).size
    tree = Tree(leaf_hash(line) for line in lines[:size])
    proofs = []
    for number in numbers:
        if not 0 <= number < len(lines):
            raise LedgerError(f"{folder}: no entry {number}, expected 0 to {len(lines) - 1}")
        proofs.append(
            {
                "entry": lines[number].decode(),
                "first": lines[0].decode(),
                "format": PROOF_FORMAT,
                "head": envelope.to_bytes().decode(),
                "number": number,
                "path": [step.hex() for step in tree.inclusion(number)],
            }
        )
    return proofs


def check_proof(proof: dict[str, Any], trust: TrustStore | None, *, place: str) -> tuple[Entry, Head, tuple[str, ...]]:
    """Return the entry that a proof is for, the head that it is under, and who signed that.

    Args:
        proof: what ``prove`` returned.
        trust: whose keys are believed; by default the keeper's as the proof itself names it.
        place: what the proof is, for errors.

    Raises:
        LedgerError: the proof does not hold.
        SignatureError: nobody trusted signed its head.
    """
    try:
        if proof["format"] != PROOF_FORMAT:
            raise ValueError(f"format {proof['format']!r}, expected {PROOF_FORMAT!r}")
        line, first, number = proof["entry"].encode(), proof["first"].encode(), proof["number"]
        path = [bytes.fromhex(step) for step in proof["path"]]
        data = proof["head"].encode()
        if type(number) is not int or len(proof) != 6:
            raise TypeError("expected a number and nothing more")
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise LedgerError(f"{place}: not a proof of an entry ({error!r})") from error
    envelope, head = read_line(data, place=f"{place}: head")
    ledger, key = identity(first, place=place)
    if head.ledger != ledger:
        raise LedgerError(f"{place}: a head of ledger {head.ledger}, but an entry of ledger {ledger}")
    signers = _signed_by_keeper(envelope, key, trust, f"{place}: head")
    if not verify_inclusion(leaf_hash(line), number, head.size, path, head.root):
        raise LedgerError(f"{place}: entry {number} is not in the ledger of {head.size} entries that the head signs")
    entry = Entry.parse(line, place=f"{place}: entry {number}")
    return entry, head, signers


def prove_growth(folder: Path | str, seen: tuple[Envelope, Head]) -> dict[str, Any]:
    """Return the proof that the ledger under its newest head continues the one under the head that was seen.

    Raises:
        LedgerError: it does not, or the ledger does not hold.
    """
    folder = Path(folder)
    _demand_sound(folder, seen)
    envelope = newest_head(folder / HEADS)
    size = head_of(envelope, place=str(folder / HEADS)).size
    tree = Tree(leaf_hash(line) for line in read_lines(folder / ENTRIES)[:size])
    path = [step.hex() for step in tree.consistency(seen[1].size, size)]
    first, new = read_lines(folder / ENTRIES)[0].decode(), envelope.to_bytes().decode()
    return {"first": first, "format": GROWTH_FORMAT, "new": new, "path": path, "seen": seen[1].root.hex()}


def check_growth_proof(
    proof: dict[str, Any], seen: tuple[Envelope, Head], trust: TrustStore, *, place: str
) -> tuple[Envelope, Head]:
    """Return the newer head, which a proof of growth shows to continue the one that was seen.

    Raises:
        LedgerError: the proof does not hold.
        SignatureError: nobody trusted signed the newer head.
    """
    try:
        if proof["format"] != GROWTH_FORMAT or len(proof) != 5:
            raise ValueError(f"format {proof['format']!r}, expected {GROWTH_FORMAT!r} and five fields")
        path, data = [bytes.fromhex(step) for step in proof["path"]], proof["new"].encode()
        first = proof["first"].encode()
        if bytes.fromhex(proof["seen"]) != seen[1].root:
            raise ValueError("made for another head than the one that was seen")
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise LedgerError(f"{place}: not a proof of growth ({error!r})") from error
    envelope, head = read_line(data, place=f"{place}: new head")
    ledger, key = identity(first, place=place)
    if ledger != seen[1].ledger:
        raise LedgerError(f"{place}: begins ledger {ledger}, the head that was seen is of {seen[1].ledger}")
    _signed_by_keeper(envelope, key, trust, f"{place}: new head")
    check_growth(seen[1], head, path, place=place)
    return envelope, head


def _signed_by_keeper(envelope: Envelope, key: PublicKey, trust: TrustStore | None, place: str) -> tuple[str, ...]:
    """Return who signed a head, the keeper among them: partners who are trusted as witnesses cannot vouch alone."""
    believed = trust.keys if trust else {key.id: key}
    signers = envelope.signers(believed, payload_type=PAYLOAD_TYPE, place=place)
    if key.id not in signers:
        raise SignatureError(f"{place}: not signed by the ledger's keeper {key.id}, or that key is not trusted")
    return tuple(trust.name(s) if trust else s for s in signers)


def _demand_sound(folder: Path, seen: tuple[Envelope, Head] | None = None) -> None:
    findings = verify(folder, seen=seen)
    if not findings.holds:
        problem = findings.problems[0]
        raise LedgerError(f"{problem.place}: {problem.message}; nothing is proved from it")
