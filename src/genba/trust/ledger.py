"""The append-only log of what was decided, admitted, read and made: entries on disk, and appending to them.

A ledger is a folder. ``entries.jsonl`` holds one entry per line, as canonical JSON; a line's bytes are a leaf of the hash tree
(``merkle``). ``heads.jsonl`` holds signed tree heads (``heads``). Entry 0 names the ledger and the public key of whoever keeps
it. Entries are only ever added, under a lock, by any number of processes; each is on disk before ``append`` returns.

What a crash left half-written has no end of line. It is moved below ``set-aside``, never dropped, and a ``recovered`` entry
says so. Whether a ledger was tampered with is for ``audit`` to find; here only what a signed head contradicts is refused, so
that nobody builds on it. Opening reads the whole file once, in memory that grows with the logarithm of its length.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genba.errors import LedgerError, nearest
from genba.trust.digest import canonical_json, digest_bytes
from genba.trust.dsse import Envelope
from genba.trust.durable import locked, sync_folder, write_whole
from genba.trust.heads import Head, head_of, read_line, read_lines, sign_head
from genba.trust.merkle import Frontier, leaf_hash
from genba.trust.signing import PublicKey, SigningKey

FORMAT = "genba-ledger@1"
ENTRIES, HEADS, SET_ASIDE, LOCK = "entries.jsonl", "heads.jsonl", "set-aside", "lock"
PASSPORTS = "passports"

#: what an entry may record
KINDS = {
    "ledger": "the first entry: the ledger's name and its keeper's key",
    "witness": "a partner who countersigns heads, and its key",
    "recovered": "what a crash left half-written was set aside",
    "admission": "data was admitted, refused or re-admitted",
    "decision": "a rule was asked and answered, with the policy's hash",
    "run": "a training, evaluation or import began or ended",
    "read": "what a run really read, by root",
    "egress": "what a run tried to reach, by digest of its log",
    "passport": "a model's passport was signed",
    "key": "an owner's key was made, rotated or destroyed",
    "withdrawal": "data was withdrawn",
    "revocation": "a list of revoked models was signed",
}

#: a clock may be set back by this much (by NTP, say): the time then stands still until it has caught up
CLOCK_TOLERANCE_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its place, when it was made (ns since 1970, UTC), what it records, and the record."""

    number: int
    time_ns: int
    kind: str
    body: dict[str, Any]

    def line(self) -> bytes:
        """Return the entry as it is stored and hashed, without the end of line."""
        return canonical_json({"body": self.body, "kind": self.kind, "number": self.number, "time_ns": self.time_ns})

    @classmethod
    def parse(cls, line: bytes, *, place: str) -> Entry:
        """Read a line.

        Raises:
            LedgerError: it is not an entry in its canonical form.
        """
        try:
            table = json.loads(line)
            entry = cls(table["number"], table["time_ns"], table["kind"], table["body"])
            if type(entry.number) is not int or type(entry.time_ns) is not int or not isinstance(entry.body, dict):
                raise TypeError("number and time_ns must be integers and body a table")
            if entry.kind not in KINDS:
                raise ValueError(f"unknown kind {entry.kind!r}{nearest(str(entry.kind), KINDS)}")
            if entry.line() != line:
                raise ValueError("not in its canonical form")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise LedgerError(f"{place}: not an entry ({error!r})") from error
        return entry


class Ledger:
    """Appends entries to a folder and signs heads over them."""

    def __init__(self, folder: Path | str) -> None:
        """Open a ledger that exists.

        Raises:
            LedgerError: there is none, or a signed head contradicts the entries.
        """
        self.folder = Path(folder)
        self._frontier, self._offset, self._time_ns = Frontier(), 0, 0
        self._last_line = b""
        self._heads: dict[int, Head] = {}
        self._heads_offset, self._heads_state, self._heads_time_ns = 0, hashlib.sha256(), 0
        if not (self.folder / ENTRIES).exists():
            raise LedgerError(f"{self.folder}: no ledger here (no {ENTRIES}); make one: genba audit init")
        self._catch_up()
        if not self._frontier.size:
            raise LedgerError(
                f"{self.folder}: no first entry, making it was interrupted; remove the folder and make it again"
            )
        with (self.folder / ENTRIES).open("rb") as file:
            first = file.readline().rstrip(b"\n")
        self.id, self.key = identity(first, place=str(self.folder / ENTRIES))

    @classmethod
    def create(cls, folder: Path | str, name: str, key: SigningKey) -> Ledger:
        """Make a ledger that ``key`` keeps.

        Raises:
            LedgerError: the folder has entries already, or cannot be written.
        """
        folder = Path(folder)
        body = {"format": FORMAT, "key": key.public.text, "name": name}
        entry = Entry(0, time.time_ns(), "ledger", body)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder / LOCK):
                if (folder / ENTRIES).exists():
                    raise LedgerError(f"{folder}: a ledger is here already; open it, or name another folder")
                _append(folder / ENTRIES, entry.line() + b"\n")
        except OSError as error:
            raise LedgerError(f"{folder}: could not make a ledger: {error.strerror}") from error
        ledger = cls(folder)
        ledger.sign_head(key)
        return ledger

    @property
    def size(self) -> int:
        """How many entries there are, as far as this process has seen."""
        return self._frontier.size

    @property
    def root(self) -> bytes:
        """The root over them."""
        return self._frontier.root()

    def append(self, kind: str, body: Mapping[str, Any]) -> Entry:
        """Add one entry, which is on disk when this returns.

        Raises:
            LedgerError: an unknown kind, a body that is not plain, a clock that was set back, a disk that refuses, or a
                ledger that was changed by something else than appending. Nothing was added then.
        """
        return self.append_all([(kind, body)])[0]

    def append_all(self, records: list[tuple[str, Mapping[str, Any]]]) -> list[Entry]:
        """Add several entries at the price of one, in order and without others between.

        Raises:
            LedgerError: as ``append`` says; nothing was added then.
        """
        for kind, _ in records:
            if kind not in KINDS or kind == "ledger":
                raise LedgerError(f"{self.folder}: no entries of kind {kind!r}{nearest(kind, set(KINDS) - {'ledger'})}")
        with self._writing():
            self._catch_up(mend=True)
            return self._add(records)

    def passport_path(self, digest: str) -> Path:
        """Return where a passport that was entered is kept, by its digest."""
        return self.folder / PASSPORTS / f"{digest.removeprefix('sha256:')}.json"

    def enter_passport(self, envelope: Envelope, *, replaces: str = "") -> Entry:
        """Keep a model's passport beside the entries, and enter its digest.

        Args:
            replaces: digest of the passport whose place it takes; empty for the first of its weights.

        Raises:
            LedgerError: as ``append`` says.
        """
        path = self.passport_path(envelope.digest)
        try:
            # First the file, whole and on disk: an entry never names what is not there.
            write_whole(path, envelope.to_bytes(), replace=True)
        except OSError as error:
            raise LedgerError(f"{path}: could not keep the passport: {error.strerror}") from error
        return self.append("passport", {"digest": envelope.digest} | ({"replaces": replaces} if replaces else {}))

    def sign_head(self, key: SigningKey) -> Head:
        """Sign a head over everything that is in the ledger, unless the newest head is that already.

        Raises:
            LedgerError: another key keeps this ledger, the clock was set back, or as ``append`` says.
        """
        if key.public.id != self.key.id:
            raise LedgerError(f"{self.folder}: kept by key {self.key.id}, got key {key.public.id} for its head")
        with self._writing():
            self._catch_up(mend=True)
            if (newest := self._heads.get(self.size)) is not None:
                return newest
            time_ns = self._now(max(self._time_ns, self._heads_time_ns))
            head = Head(self.id, self.size, self.root, time_ns, f"sha256:{self._heads_state.hexdigest()}")
            _append(self.folder / HEADS, sign_head(head, key).to_bytes() + b"\n")
            self._new_heads()
            return head

    def countersign(self, envelope: Envelope) -> None:
        """Add a line with one of this ledger's heads as a partner signed it; who may do so, ``audit`` checks.

        Raises:
            LedgerError: it is not a head of this ledger, or as ``append`` says.
        """
        head = head_of(envelope, place=f"{self.folder}: countersignature")
        with self._writing():
            self._catch_up(mend=True)
            if self._heads.get(head.size) != head:
                raise LedgerError(
                    f"{self.folder}: a countersignature of a head over {head.size} entries that is not here"
                )
            # Once only: the same line again would look as if somebody had put it there.
            if envelope.to_bytes() not in read_lines(self.folder / HEADS):
                _append(self.folder / HEADS, envelope.to_bytes() + b"\n")
                self._new_heads()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with locked(self.folder / LOCK):
                yield
        except OSError as error:
            raise LedgerError(f"{self.folder}: could not write: {error.strerror}; what was there is intact") from error

    def _add(self, records: list[tuple[str, Mapping[str, Any]]]) -> list[Entry]:
        time_ns, entries, lines = self._now(self._time_ns), [], []
        for kind, body in records:
            entry = Entry(self.size + len(entries), time_ns, kind, dict(body))
            try:
                line = entry.line()
                # What does not read back the same (a tuple, a key that is a number) is refused rather than changed.
                if Entry.parse(line, place="").body != entry.body:
                    raise TypeError("it would read back otherwise: expected tables with string keys, and lists")
            except (ValueError, TypeError, RecursionError) as error:
                raise LedgerError(f"{self.folder}: an entry of kind {kind!r} cannot be stored ({error})") from error
            entries.append(entry)
            lines.append(line)
        _append(self.folder / ENTRIES, b"".join(line + b"\n" for line in lines))
        for line in lines:
            self._take(line)
        self._time_ns = time_ns
        return entries

    def _now(self, last_ns: int) -> int:
        now_ns = time.time_ns()
        if now_ns < last_ns - CLOCK_TOLERANCE_NS:
            raise LedgerError(
                f"{self.folder}: the clock was set back: it shows {now_ns} ns, the last record was made at {last_ns} ns, "
                f"{(last_ns - now_ns) / 1e9:.0f} s later; set the clock right"
            )
        return max(now_ns, last_ns)

    def _catch_up(self, *, mend: bool = False) -> None:
        """Take in what others appended; under the lock also set aside what is half-written."""
        fresh = self._new_heads()
        path = self.folder / ENTRIES
        if path.stat().st_size < self._offset:
            raise LedgerError(f"{path}: {path.stat().st_size} bytes, there were {self._offset}: it was cut off")
        with path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._take(line[:-1])
                self._check(fresh.pop(self.size, None))
        if self._last_line:
            last = Entry.parse(self._last_line, place=f"{path}: entry {self.size - 1}")
            self._time_ns = max(self._time_ns, last.time_ns)
        self._check(fresh.pop(self.size, None))
        for head in fresh.values():
            if head.size > self.size:
                raise LedgerError(
                    f"{path}: {self.size} entries, but a head was signed over {head.size}: it was cut off; nothing is added "
                    f"to it. See: genba audit verify"
                )
        if mend:
            self._set_aside(path, self._offset)
            self._set_aside(self.folder / HEADS, self._heads_offset)

    def _new_heads(self) -> dict[int, Head]:
        """Take in the heads that were added since, whole lines only, and return them by size."""
        path, fresh = self.folder / HEADS, dict[int, Head]()
        if not path.exists():
            return fresh
        with path.open("rb") as file:
            file.seek(self._heads_offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                _, head = read_line(line[:-1], place=f"{path}: at byte {self._heads_offset}")
                self._heads_offset += len(line)
                self._heads_state.update(line)
                self._heads_time_ns = max(self._heads_time_ns, head.time_ns)
                if head.size not in self._heads:
                    self._heads[head.size] = fresh[head.size] = head
        return fresh

    def _take(self, line: bytes) -> None:
        self._frontier.add(leaf_hash(line))
        self._offset += len(line) + 1
        self._last_line = line

    def _check(self, head: Head | None) -> None:
        if head is not None and head.root != self.root:
            raise LedgerError(
                f"{self.folder / ENTRIES}: the first {head.size} entries are not those that a head was signed over: they "
                f"were changed; nothing is added to it. See: genba audit verify"
            )

    def _set_aside(self, path: Path, end: int) -> None:
        """Move what follows the last end of line into a file of its own, and enter that."""
        if not path.exists():
            return
        with path.open("r+b") as file:
            file.seek(end)
            fragment = file.read()
            if not fragment:
                return
            self._now(self._time_ns)
            digest = digest_bytes(fragment)
            aside = self.folder / SET_ASIDE
            aside.mkdir(exist_ok=True)
            name = f"{path.stem}-at-{end}-{digest[-12:]}.part"
            # First the copy, whole and on disk; only then is it taken away here.
            with (aside / name).open("wb") as copy:
                copy.write(fragment)
                copy.flush()
                os.fsync(copy.fileno())
            file.truncate(end)
            os.fsync(file.fileno())
        self._add([("recovered", {"bytes": len(fragment), "digest": digest, "file": path.name, "set_aside": name})])


def identity(first_line: bytes, *, place: str) -> tuple[str, PublicKey]:
    """Return a ledger's id (the digest of its first line) and its keeper's key.

    Raises:
        LedgerError: the line is not the first of a ledger in this format.
        SignatureError: what it names is no key.
    """
    entry = Entry.parse(first_line, place=f"{place}: entry 0")
    if entry.kind != "ledger" or entry.body.get("format") != FORMAT:
        raise LedgerError(
            f"{place}: entry 0 is of kind {entry.kind!r} and format {entry.body.get('format')!r}, expected 'ledger' and "
            f"{FORMAT!r}"
        )
    return digest_bytes(first_line), PublicKey.from_text(str(entry.body.get("key")), place=f"{place}: entry 0")


def _append(path: Path, data: bytes) -> None:
    is_new = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    size = os.fstat(descriptor).st_size
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError:
        # A disk that is full takes some lines and not others: all or none are kept.
        os.ftruncate(descriptor, size)
        raise
    finally:
        os.close(descriptor)
    if is_new:
        sync_folder(path.parent)
