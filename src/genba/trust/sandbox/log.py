"""The egress log: one JSON line per attempt, written before the attempt is answered, never rewritten.

Every line carries the run it belongs to, so several runs may share a file. A run begins with a ``start`` line (the command,
the policy with its digest, whether anything is enforced) and ends with an ``end`` line (exit status, counts); one
without an ``end`` was cut off. Attempts that repeat within a second become one further line with ``repeated``. The file
is only ever appended to; that nobody changes it later is the ledger's business, not this file's.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from genba.errors import DataError, SandboxError, StorageError
from genba.trust.digest import digest_bytes, digest_json
from genba.trust.sandbox.decide import Decision
from genba.trust.sandbox.policy import Policy

#: ``line``: on disk before the attempt is answered. ``end``: in the kernel's hands at once, on disk when the run ends.
Sync = Literal["line", "end"]
SYNCS: tuple[str, ...] = get_args(Sync)

#: How many refusals are answered at once; after that, one every ``REFUSAL_PAUSE_S``. A command that is refused in a
#: loop would otherwise fill the disk with evidence of it.
FREE_REFUSALS, REFUSAL_PAUSE_S = 1000, 0.05
_REPEAT_S = 1.0


class EgressLog:
    """Appends the lines of one run to a file."""

    def __init__(self, path: Path, *, sync: Sync = "line", run: str = "") -> None:
        """Open ``path`` for appending, made with its folder's rights for the owner alone.

        Raises:
            SandboxError: it cannot be opened; without a log nothing is run.
        """
        self.path, self.run = path, run or uuid.uuid4().hex
        self.counts: Counter[str] = Counter()
        self._sync = sync
        self._last: tuple[Any, ...] = ()
        self._last_s, self._repeated = 0.0, 0
        self._lock = threading.Lock()
        try:
            # Not through a link: whoever may write the folder could make it lead elsewhere.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
            self._file = os.open(path, flags, 0o600)
        except OSError as error:
            raise SandboxError(f"{path}: {error.strerror}; expected a log file that can be appended to") from error

    def start(self, command: list[str], policy: Policy, *, is_enforced: bool, **facts: Any) -> None:
        """Write the line that a run begins with."""
        plain = dataclasses.asdict(policy)
        self._write(
            event="start",
            command=command,
            is_enforced=is_enforced,
            policy_digest=digest_json(plain),
            policy=plain,
            **facts,
        )

    def attempt(self, operation: str, decision: Decision, *, process: int, program: str) -> None:
        """Write one attempt; an attempt that repeats the last within a second is counted, not written again."""
        with self._lock:
            self._attempt(operation, decision, process, program)

    def _attempt(self, operation: str, decision: Decision, process: int, program: str) -> None:
        verdict = "allowed" if decision.is_allowed else "refused"
        self.counts[verdict] += 1
        same = (operation, verdict, decision.address, decision.reason, process)
        now_s = time.monotonic()
        if same == self._last and now_s - self._last_s < _REPEAT_S:
            self._repeated += 1
            return
        self.flush()
        self._last, self._last_s = same, now_s
        self._write(
            event="attempt",
            process=process,
            program=program,
            operation=operation,
            address=decision.address,
            decision=verdict,
            reason=decision.reason,
        )

    def flush(self) -> None:
        """Write how often the last attempt was repeated, where it was."""
        if self._repeated:
            operation, verdict, address, reason, process = self._last
            self._write(
                event="attempt",
                process=process,
                operation=operation,
                address=address,
                decision=verdict,
                reason=reason,
                repeated=self._repeated,
            )
        self._last, self._repeated = (), 0

    def end(self, status: int, reason: str = "") -> None:
        """Write the line that a run ends with, and put everything on disk."""
        self.flush()
        self._write(
            event="end", status=status, reason=reason, allowed=self.counts["allowed"], refused=self.counts["refused"]
        )
        os.fsync(self._file)

    def close(self) -> None:
        """Close the file; what was written stays."""
        os.close(self._file)

    def _write(self, **line: Any) -> None:
        line = {"time_ns": time.time_ns(), "run": self.run, **line}
        # ASCII alone: names come from the confined command and must not look like something else in a terminal.
        data = (json.dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n").encode()
        try:
            if os.write(self._file, data) != len(data):
                raise StorageError(
                    f"{self.path}: the disk took only a part of a line; without a log the command is stopped"
                )
            if self._sync == "line":
                os.fsync(self._file)
        except OSError as error:
            raise StorageError(f"{self.path}: {error.strerror}; without a log the command is stopped") from error


def read_log(path: Path, run: str = "") -> Iterator[dict[str, Any]]:
    """Yield the lines of a log, all or those of one run.

    Raises:
        DataError: a line is not what this module writes.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; expected an egress log") from error
    with file:
        for number, text in enumerate(file, start=1):
            try:
                line = json.loads(text)
            except ValueError as error:
                raise DataError(f"{path}: line {number}: {error}; expected one JSON object per line") from error
            if not isinstance(line, dict) or "run" not in line or not text.endswith(b"\n"):
                raise DataError(f"{path}: line {number}: expected a whole JSON object with its run")
            if not run or line["run"] == run:
                yield line


def egress_digest(path: Path) -> str:
    """Return the digest of a log's whole lines up to now: what a run's passport names, and the ledger when the run has ended.

    Raises:
        DataError: the log cannot be read.
    """
    return digest_bytes(_whole_lines(path))


def num_lines_of(path: Path, digest: str) -> int:
    """Return how many lines a log had when it had this digest; 0 where it never had.

    Raises:
        DataError: the log cannot be read.
    """
    return lengths_of(path, {digest}).get(digest, 0)


def lengths_of(path: Path, digests: Collection[str]) -> dict[str, int]:
    """Return how many lines a log had when it had each of these digests; those that it never had are left out.

    Raises:
        DataError: the log cannot be read.
    """
    state, found = hashlib.sha256(), dict[str, int]()
    for number, line in enumerate(_whole_lines(path).splitlines(keepends=True), start=1):
        state.update(line)
        if (digest := f"sha256:{state.hexdigest()}") in digests:
            found[digest] = number
    return found


def _whole_lines(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; expected an egress log") from error
    return data[: data.rfind(b"\n") + 1]
