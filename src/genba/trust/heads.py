"""Signed tree heads: what a ledger's keeper vouches for, and what partners who watch it countersign.

A head says: this ledger, so many entries, this root, at this time, after those heads (the digest of every line of
``heads.jsonl`` before it). It is signed by the keeper's key. A partner who has checked that the ledger only grew since the
head it saw last adds a line with the same head and its own signature; from then on the keeper cannot show it another past.
Two heads of one size with different roots are a split view, and both signatures prove it.

Entries and files are ``ledger``'s; checking a whole folder is ``audit``'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genba.errors import LedgerError
from genba.trust.dsse import Envelope, payload_of, sign
from genba.trust.merkle import HASH_BYTES, verify_consistency
from genba.trust.signing import SigningKey

FORMAT = "genba-head@1"
PAYLOAD_TYPE = "application/vnd.genba.head+json"


@dataclass(frozen=True, slots=True)
class Head:
    """What a head says."""

    ledger: str
    """The ledger's id: the digest of its first line."""
    size: int
    """How many entries it covers."""
    root: bytes
    """The root over them, 32 bytes."""
    time_ns: int
    """When it was signed, ns since 1970, UTC."""
    before: str
    """The digest of every line of the file of heads before the one where it was first signed."""


def sign_head(head: Head, key: SigningKey) -> Envelope:
    """Return the head, signed."""
    table = {
        "before": head.before,
        "format": FORMAT,
        "ledger": head.ledger,
        "root": head.root.hex(),
        "size": head.size,
        "time_ns": head.time_ns,
    }
    return sign(PAYLOAD_TYPE, table, key)


def head_of(envelope: Envelope, *, place: str) -> Head:
    """Return the head that an envelope holds; signatures are not verified here.

    Raises:
        SignatureError: the payload is not canonical.
        LedgerError: it is not a head in this format.
    """
    table = payload_of(envelope, place=place)
    if envelope.payload_type != PAYLOAD_TYPE or table.get("format") != FORMAT:
        raise LedgerError(f"{place}: {table.get('format')!r} of type {envelope.payload_type!r}, expected a {FORMAT!r}")
    try:
        root = bytes.fromhex(table["root"])
        head = Head(table["ledger"], table["size"], root, table["time_ns"], table["before"])
    except (KeyError, ValueError, TypeError) as error:
        raise LedgerError(f"{place}: not a head ({error!r})") from error
    numbers = (head.size, head.time_ns)
    if len(root) != HASH_BYTES or any(type(n) is not int or n < 0 for n in numbers) or not head.size or len(table) != 6:
        raise LedgerError(f"{place}: not a head (size {head.size!r}, time {head.time_ns!r}, root of {len(root)} bytes)")
    return head


def read_line(line: bytes, *, place: str) -> tuple[Envelope, Head]:
    """Read a line of a file of heads, without its end.

    Raises:
        LedgerError, SignatureError: it is not a head, naming ``place``.
    """
    envelope = Envelope.from_bytes(line, place=place)
    return envelope, head_of(envelope, place=place)


def read_head(path: Path | str) -> tuple[Envelope, Head]:
    """Read a file that holds one head, e.g. the one that a partner kept.

    Raises:
        LedgerError: it cannot be read or is not a head.
        SignatureError: it is no envelope.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise LedgerError(f"{path}: could not read the head: {error.strerror}") from error
    return read_line(data.removesuffix(b"\n"), place=str(path))


def check_growth(old: Head, new: Head, path: Sequence[bytes], *, place: str) -> None:
    """Check by a consistency proof that the ledger under ``new`` is the one under ``old``, with entries added.

    Raises:
        LedgerError: another ledger, fewer entries, a time that goes back, a split view, or a proof that does not hold.
    """
    if old.ledger != new.ledger:
        raise LedgerError(f"{place}: a head of ledger {new.ledger}, expected {old.ledger}")
    if new.size < old.size:
        raise LedgerError(f"{place}: {new.size} entries, but {old.size} were signed before: entries were taken away")
    if new.time_ns < old.time_ns:
        raise LedgerError(
            f"{place}: a head of {new.size} entries signed at {new.time_ns} ns, before the one of {old.size} at "
            f"{old.time_ns} ns: the clock was set back"
        )
    if new.size == old.size and new.root != old.root:
        raise LedgerError(
            f"{place}: a split view: two heads over {old.size} entries have the roots {old.root.hex()} and "
            f"{new.root.hex()}; the keeper shows different entries to different readers"
        )
    if not verify_consistency(old.size, new.size, path, old.root, new.root):
        raise LedgerError(
            f"{place}: the head over {new.size} entries does not continue the one over {old.size}: earlier entries were "
            f"changed, or the proof is not for these heads"
        )


def newest_head(path: Path) -> Envelope:
    """Return the newest head with every signature that its lines carry; it is not verified here.

    Raises:
        LedgerError: there is none.
    """
    newest: Envelope | None = None
    for number, line in enumerate(read_lines(path)):
        envelope, head = read_line(line, place=f"{path}: line {number + 1}")
        if newest is not None and newest.payload == envelope.payload:
            known = {s.key_id for s in newest.signatures}
            more = tuple(s for s in envelope.signatures if s.key_id not in known)
            newest = Envelope(newest.payload_type, newest.payload, (*newest.signatures, *more))
        elif newest is None or head.size >= head_of(newest, place=str(path)).size:
            newest = envelope
    if newest is None:
        raise LedgerError(f"{path}: no signed head; sign one: genba audit heads --sign")
    return newest


def read_lines(path: Path) -> list[bytes]:
    """Return a file's whole lines without their ends; what follows the last end of line is left out.

    Raises:
        LedgerError: it cannot be read.
    """
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise LedgerError(f"{path}: could not read it: {error.strerror}") from error
