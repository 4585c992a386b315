"""A confined command's side of the clerk: a ledger, a gatekeeper and a signing key that ask instead of doing.

``TrustFolder`` hands them out where ``$GENBA_CLERK`` names the socket of the process outside. Reading the ledger and the rules
needs nobody: those files may be read within. Every request is one connection, so that forked and threaded callers do not meet.

Read next: ``clerk``, which answers.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genba import errors
from genba.errors import GenbaError, LedgerError, PermissionDeniedError
from genba.trust.cedar import CompiledRules
from genba.trust.decide import Decision
from genba.trust.decisions import Gatekeeper
from genba.trust.dsse import Envelope
from genba.trust.heads import Head
from genba.trust.ledger import Entry, Ledger
from genba.trust.requests import Request
from genba.trust.signing import PublicKey, SigningKey

VARIABLE = "GENBA_CLERK"
#: the longest message, in bytes: a passport is a few thousand
MAX_BYTES = 1 << 26
_LENGTH = struct.Struct("<I")


class ClerkClient:
    """Asks the clerk of one trust folder. It holds no connection."""

    def __init__(self, path: str, folder: Path) -> None:
        self.path, self.folder = path, folder

    @classmethod
    def of(cls, folder: Path) -> ClerkClient | None:
        """Return who answers for a trust folder where this process is confined, None where it is not."""
        path = os.environ.get(VARIABLE)
        return cls(path, folder) if path else None

    def ask(self, what: str, **facts: Any) -> dict[str, Any]:
        """Ask, and return the answer.

        Raises:
            PermissionDeniedError: nobody answers, or it is nothing that a confined command may ask for.
            GenbaError: what the clerk raised.
        """
        try:
            with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rwb") as file:
                connection.connect(self.path)
                send(file, {"ask": what, "folder": str(self.folder), **facts})
                answer = receive(file)
        except (OSError, ValueError) as error:
            raise PermissionDeniedError(
                f"{self.folder}: nobody answers for it at {self.path} (${VARIABLE}): {error}; what must be decided or recorded "
                f"is not done without that"
            ) from error
        if "error" in answer:
            kind = getattr(errors, str(answer["error"]), GenbaError)
            raise kind(answer["message"])
        return answer


class ClerkLedger(Ledger):
    """Read here, written by the clerk."""

    def __init__(self, folder: Path, clerk: ClerkClient) -> None:
        self._clerk = clerk
        super().__init__(folder)

    def append_all(self, records: list[tuple[str, Mapping[str, Any]]]) -> list[Entry]:
        """Have entries added.

        Raises:
            LedgerError: as ``Ledger.append`` says.
            PermissionDeniedError: a kind that a confined command does not enter, or nobody answers.
        """
        plain = [[kind, dict(body)] for kind, body in records]
        try:
            # What would arrive otherwise than it was (a tuple, a key that is a number) is refused, as it is without a clerk.
            if json.loads(json.dumps(plain, allow_nan=False)) != plain:
                raise TypeError("it would read back otherwise: expected tables with string keys, and lists")
        except (TypeError, ValueError) as error:
            raise LedgerError(f"{self.folder}: an entry of kind {plain[0][0]!r} cannot be stored ({error})") from error
        return self._entered(self._clerk.ask("append", records=plain))

    def enter_passport(self, envelope: Envelope, *, replaces: str = "") -> Entry:
        """Have a model's passport kept and entered.

        Raises:
            SignatureError: it is not signed by the ledger's keeper.
            LedgerError: as ``Ledger.append`` says.
            PermissionDeniedError: it replaces another: that is decided outside of a command.
        """
        if replaces:
            raise PermissionDeniedError(f"{self.folder}: a confined command replaces no passport")
        return self._entered(self._clerk.ask("passport", envelope=envelope.to_bytes().decode()))[0]

    def sign_head(self, key: SigningKey) -> Head:
        """Have a head signed over everything that is in the ledger.

        Raises:
            LedgerError: as ``Ledger.sign_head`` says.
        """
        size = self._clerk.ask("head")["size"]
        self._catch_up()
        return self._heads[size]

    def countersign(self, envelope: Envelope) -> None:
        """Refuse: a partner does this, and not within a command.

        Raises:
            PermissionDeniedError: always.
        """
        raise PermissionDeniedError(f"{self.folder}: a confined command adds no countersignature")

    def _entered(self, answer: dict[str, Any]) -> list[Entry]:
        self._catch_up()
        return [Entry.parse(line.encode(), place=f"{self.folder}: the clerk's answer") for line in answer["lines"]]


class ClerkGatekeeper(Gatekeeper):
    """Asks the clerk, who decides by the rules as they are outside and records the answer."""

    def __init__(self, compiled: CompiledRules, clerk: ClerkClient) -> None:
        self.compiled, self._clerk = compiled, clerk
        # Who asks anew has just read the rules again.
        clerk.ask("renew")

    def decide(self, request: Request) -> Decision:
        """Have a request decided and recorded.

        Raises:
            GenbaError: it could not be decided or not be recorded; nothing is allowed then.
        """
        body = self._clerk.ask("decide", request=request.body())
        return Decision(body["allowed"], tuple(body["reasons"]), request, body["policy_hash"], body["now_ns"])


class ClerkKey(SigningKey):
    """Signs passports, by the clerk; it holds no secret."""

    def __init__(self, public: PublicKey, clerk: ClerkClient) -> None:
        self.public, self._clerk = public, clerk

    def sign(self, data: bytes) -> bytes:
        """Have a passport signed.

        Raises:
            PermissionDeniedError: it is none.
        """
        answer = self._clerk.ask("sign", data=base64.b64encode(data).decode())
        return base64.b64decode(answer["signature"])


def send(file: Any, table: Mapping[str, Any]) -> None:
    """Write one message to a binary file."""
    data = json.dumps(table).encode()
    file.write(_LENGTH.pack(len(data)) + data)
    file.flush()


def receive(file: Any) -> dict[str, Any]:
    """Read one message from a binary file.

    Raises:
        ValueError: it is none.
    """
    head = file.read(_LENGTH.size)
    length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
    if not 0 < length <= MAX_BYTES:
        raise ValueError("no answer" if not head else f"a message of {length} bytes")
    table = json.loads(file.read(length))
    if not isinstance(table, dict):
        raise ValueError("not a table")
    return table
