"""Checking a ledger from its files alone: what ``genba audit verify`` does.

``verify`` reads a folder as a stranger: every entry, their order, the tail, every head and countersignature, every passport
kept beside it. It changes nothing, needs no network, and names each thing that does not hold. Whose keys are believed is the
caller's choice: a trust store, or, without one, the keys that the ledger itself names, which proves that it holds together
but not whose it is.

What the files alone cannot show: entries that were never made, and a newest head (with all entries after the one before it)
that was removed whole together with them. Against that partners keep the heads they countersigned: pass one as ``seen``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from genba.errors import GenbaError, LedgerError
from genba.trust.digest import digest_file
from genba.trust.dsse import Envelope
from genba.trust.heads import PAYLOAD_TYPE, Head, newest_head, read_line, read_lines
from genba.trust.ledger import ENTRIES, HEADS, PASSPORTS, SET_ASIDE, Entry, identity
from genba.trust.merkle import Frontier, leaf_hash
from genba.trust.passport import PAYLOAD_TYPE as PASSPORT_TYPE
from genba.trust.signing import PublicKey, SigningKey, TrustStore


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that does not hold."""

    kind: str
    """``entry``, ``order``, ``time``, ``tail``, ``head``, ``signature``, ``passport``, ``set aside`` or ``ledger``."""
    place: str
    message: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What a check of a whole ledger found."""

    problems: tuple[Problem, ...]
    ledger: str
    """The ledger's id, or nothing where it could not be read."""
    keeper: str
    """Who keeps it, by name in the trust store or by key."""
    size: int
    root: bytes
    signed_size: int
    """How many entries the newest sound head covers."""
    witnesses: dict[str, str]
    """The partners that entries name, by their keys' ids."""
    witnessed: dict[str, int]
    """How many entries each partner's countersignatures cover, by name or key."""

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


def verify(
    folder: Path | str,
    *,
    trust: TrustStore | None = None,
    seen: tuple[Envelope, Head] | None = None,
    required: Collection[str] = (),
) -> Findings:
    """Check everything in a ledger's folder.

    Args:
        folder: the ledger's.
        trust: whose keys are believed; by default those that the ledger names.
        seen: a head of it that was kept elsewhere: the ledger must continue it.
        required: names of partners who must have countersigned the newest head; without a trust store these are the names
            that the keeper gave them.
    """
    return _Check(Path(folder), trust).run(seen, required)


def read_entries(folder: Path | str) -> list[Entry]:
    """Return every entry of a ledger, unverified but each in its form.

    Raises:
        LedgerError: one is not in its form, or there is no ledger.
    """
    path = Path(folder) / ENTRIES
    return [Entry.parse(line, place=f"{path}: entry {number}") for number, line in enumerate(read_lines(path))]


def countersign(
    folder: Path | str, key: SigningKey, *, seen: tuple[Envelope, Head] | None, trust: TrustStore
) -> Envelope:
    """Check a ledger as the partner who holds ``key`` and return its newest head with that partner's signature alone.

    Args:
        folder: the ledger's, or a copy.
        key: the partner's.
        seen: the head that this partner signed last, None the first time.
        trust: whose keys the partner believes; the keeper's must be there.

    Raises:
        LedgerError: the ledger does not hold, or does not continue what was seen.
    """
    findings = verify(folder, trust=trust, seen=seen)
    if not findings.holds:
        problem = findings.problems[0]
        raise LedgerError(f"{problem.place}: {problem.message}; not countersigned")
    if key.public.id not in findings.witnesses:
        raise LedgerError(f"{folder}: no entry names key {key.public.id} as a witness; enter it: genba audit witness")
    newest = newest_head(Path(folder) / HEADS)
    return Envelope(newest.payload_type, newest.payload, ()).signed_by(key)


class _Check:
    """One pass over entries and one over heads; each method names what it found."""

    def __init__(self, folder: Path, trust: TrustStore | None) -> None:
        self._folder, self._trust = folder, trust
        self._problems: list[Problem] = []
        self._frontier = Frontier()
        self._roots: dict[int, bytes] = {}
        self._witnesses: dict[str, tuple[str, PublicKey]] = {}
        self._passports: dict[str, int] = {}
        self._ledger, self._time_ns = "", 0
        self._key: PublicKey | None = None

    def run(self, seen: tuple[Envelope, Head] | None, required: Collection[str]) -> Findings:
        entries, heads = self._folder / ENTRIES, self._folder / HEADS
        if not entries.is_file():
            self._find("ledger", str(entries), "no such file; expected the folder of a ledger")
            return self._findings(0, {})
        parsed = self._parse_heads(heads)
        self._read_entries(entries, {head.size for _, head, _ in parsed} | ({seen[1].size} if seen else set()))
        signed, witnessed = self._check_heads(heads, parsed)
        if signed < self._frontier.size:
            self._find(
                "tail",
                str(entries),
                f"entries {signed} to {self._frontier.size - 1} are covered by no sound head: nobody vouches for them; if "
                f"they are yours, sign: genba audit heads --sign",
            )
        if seen is not None:
            self._check_seen(seen[0], seen[1])
        for name in required:
            if witnessed.get(name, -1) < signed:
                self._find(
                    "signature", str(heads), f"{name!r} has countersigned {witnessed.get(name, 0)} of {signed} entries"
                )
        self._check_passports()
        return self._findings(signed, witnessed)

    def _findings(self, signed: int, witnessed: dict[str, int]) -> Findings:
        size, root = self._frontier.size, self._frontier.root()
        names = {key_id: name for key_id, (name, _) in self._witnesses.items()}
        keeper = self._name(self._key.id) if self._key else ""
        return Findings(tuple(self._problems), self._ledger, keeper, size, root, signed, names, witnessed)

    def _find(self, kind: str, place: str, message: str) -> None:
        self._problems.append(Problem(kind, place, message))

    def _read_entries(self, path: Path, sizes: set[int]) -> None:
        with path.open("rb") as file:
            for number, line in enumerate(file):
                place = f"{path}: entry {number}"
                if not line.endswith(b"\n"):
                    self._find("tail", place, f"half-written: {len(line)} bytes without an end of line")
                    break
                line = line[:-1]
                self._frontier.add(leaf_hash(line))
                if self._frontier.size in sizes:
                    self._roots[self._frontier.size] = self._frontier.root()
                try:
                    entry = Entry.parse(line, place=place)
                    if number == 0:
                        self._ledger, self._key = identity(line, place=str(path))
                    self._check_entry(entry, number, place)
                except GenbaError as error:
                    self._find("entry", place, str(error).removeprefix(f"{place}: "))

    def _check_entry(self, entry: Entry, number: int, place: str) -> None:
        if entry.number != number:
            self._find("order", place, f"it says that it is entry {entry.number}: entries were moved, added or removed")
        if entry.time_ns < self._time_ns:
            self._find(
                "time", place, f"made at {entry.time_ns} ns, the one before at {self._time_ns} ns: time went back"
            )
        self._time_ns = max(self._time_ns, entry.time_ns)
        if entry.kind == "ledger" and number:
            self._find("entry", place, "a second beginning: expected it as entry 0 only")
        elif entry.kind == "witness":
            key = PublicKey.from_text(str(entry.body.get("key")), place=place)
            self._witnesses[key.id] = (str(entry.body.get("name")), key)
        elif entry.kind == "passport":
            self._passports[str(entry.body.get("digest"))] = number
        elif entry.kind == "recovered":
            aside = self._folder / SET_ASIDE / Path(str(entry.body.get("set_aside"))).name
            if not aside.is_file():
                self._find("set aside", place, f"{aside} is gone; expected what a crash left half-written")
            elif digest_file(aside) != entry.body.get("digest"):
                self._find("set aside", place, f"{aside} was changed since it was set aside")

    def _parse_heads(self, path: Path) -> list[tuple[Envelope, Head, int]]:
        """Return each sound line's envelope, head and number, and check the order in which they follow each other."""
        if not path.is_file():
            self._find("head", str(path), "no such file: nobody vouches for any entry")
            return []
        state, found, firsts, lines = hashlib.sha256(), [], set[bytes](), set[bytes]()
        for number, line in enumerate(path.read_bytes().split(b"\n")[:-1]):
            place = f"{path}: line {number + 1}"
            try:
                envelope, head = read_line(line, place=place)
            except GenbaError as error:
                self._find("head", place, str(error).removeprefix(f"{place}: "))
            else:
                if line in lines:
                    self._find("head", place, "a line that stands above already: it was put here again")
                lines.add(line)
                if envelope.payload not in firsts:
                    firsts.add(envelope.payload)
                    if head.before != f"sha256:{state.hexdigest()}":
                        self._find("head", place, "the heads before it are not those before which it was signed")
                found.append((envelope, head, number))
            state.update(line + b"\n")
        if rest := path.read_bytes().rpartition(b"\n")[2]:
            self._find("tail", str(path), f"half-written: {len(rest)} bytes without an end of line")
        return found

    def _check_heads(self, path: Path, parsed: list[tuple[Envelope, Head, int]]) -> tuple[int, dict[str, int]]:
        signed, witnessed, previous = 0, dict[str, int](), None
        believed, kept = self._believed(), set[bytes]()
        for envelope, head, number in parsed:
            place = f"{path}: line {number + 1}"
            try:
                if head.ledger != self._ledger:
                    raise LedgerError(f"a head of ledger {head.ledger}, this is {self._ledger}")
                if head.size > self._frontier.size:
                    raise LedgerError(
                        f"signed over {head.size} entries, here are {self._frontier.size}: it was cut off"
                    )
                if self._roots[head.size] != head.root:
                    raise LedgerError(
                        f"the first {head.size} entries are not those that were signed: one was changed, added, removed or "
                        f"moved"
                    )
                if previous is not None:
                    self._check_order(previous, head)
                signers = envelope.signers(believed, payload_type=PAYLOAD_TYPE, place="head")
                strangers = [s.key_id for s in envelope.signatures if s.key_id not in believed]
                if strangers:
                    raise LedgerError(f"countersigned by unknown key {strangers[0]}; expected one that is trusted")
                if self._key is not None and self._key.id in signers:
                    kept.add(envelope.payload)
                    signed = max(signed, head.size)
                elif envelope.payload not in kept:
                    raise LedgerError("its keeper did not sign it before others countersigned it")
            except GenbaError as error:
                self._find("head", place, str(error))
                continue
            previous = head
            for signer in signers:
                if self._key is None or signer != self._key.id:
                    name = self._name(signer)
                    witnessed[name] = max(head.size, witnessed.get(name, head.size))
        return signed, witnessed

    def _check_order(self, previous: Head, head: Head) -> None:
        if head.size < previous.size and head.time_ns >= previous.time_ns:
            raise LedgerError(f"over {head.size} entries, the one before it over {previous.size}")
        if head.size >= previous.size and head.time_ns < previous.time_ns:
            raise LedgerError(
                f"signed at {head.time_ns} ns, the one before it at {previous.time_ns} ns: time went back"
            )

    def _check_seen(self, envelope: Envelope, seen: Head) -> None:
        place = "the head that was seen"
        try:
            if seen.ledger != self._ledger:
                raise LedgerError(f"it is of ledger {seen.ledger}, this is {self._ledger}")
            # By the keeper: a partner alone cannot accuse it of another past.
            keeper = {self._key.id: self._key} if self._key else {}
            envelope.signers(keeper, payload_type=PAYLOAD_TYPE, place=place)
            if seen.size > self._frontier.size:
                raise LedgerError(
                    f"it covers {seen.size} entries, here are {self._frontier.size}: entries were taken away"
                )
            if self._roots[seen.size] != seen.root:
                raise LedgerError(
                    f"a split view: its root over {seen.size} entries is {seen.root.hex()}, here it is "
                    f"{self._roots[seen.size].hex()}"
                )
        except GenbaError as error:
            self._find("head", place, str(error).removeprefix(f"{place}: "))

    def _check_passports(self) -> None:
        # Only what was signed and where it is entered; what a passport says is for whoever uses the model.
        kept, believed = set[str](), self._believed()
        for path in sorted((self._folder / PASSPORTS).glob("*.json")):
            try:
                envelope = Envelope.from_bytes(path.read_bytes(), place=str(path))
                envelope.signers(believed, payload_type=PASSPORT_TYPE, place=str(path))
            except OSError as error:
                self._find("passport", str(path), f"could not read it: {error.strerror}")
                continue
            except GenbaError as error:
                self._find("passport", str(path), str(error).removeprefix(f"{path}: "))
                continue
            if envelope.digest not in self._passports:
                self._find("passport", str(path), "no entry of the ledger names it")
            kept.add(envelope.digest)
        for digest, number in self._passports.items():
            if digest not in kept:
                self._find(
                    "passport", f"{self._folder / ENTRIES}: entry {number}", f"its passport {digest} is not sound"
                )

    def _believed(self) -> Mapping[str, PublicKey]:
        if self._trust:
            return self._trust.keys
        keeper = {self._key.id: self._key} if self._key else {}
        return keeper | {key_id: key for key_id, (_, key) in self._witnesses.items()}

    def _name(self, key_id: str) -> str:
        if self._trust:
            return self._trust.name(key_id)
        return self._witnesses[key_id][0] if key_id in self._witnesses else key_id
