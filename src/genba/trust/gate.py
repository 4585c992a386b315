"""The gate: asks the rules before data is used, once for each kind of use, and again before an answer can have changed.

A ``Gate`` stands before everything that one process does with one vault, by one party at one site, for one purpose. An
answer holds for ``RENEW_S`` and not beyond midnight (UTC), when agreements begin and end; then the rules are read again and it is
asked anew, so that a long run notices that an agreement expired or was ended. Each answer is in the ledger.

``GatedKeys`` stands before owners' keys: what was stored under a ledger's rules is sealed and opened only after asking. Where
that is made certain is ``genba.data.shard``, the only place where keys and shards meet.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, Literal

from genba.errors import ConfigError, PermissionDeniedError, nearest
from genba.trust.decide import NS_PER_S
from genba.trust.folder import TrustFolder
from genba.trust.keys import KeyProvider
from genba.trust.requests import PURPOSES, Holding, Request

#: how long an answer holds at most, s
RENEW_S = 600
_DAY_NS = 86_400 * NS_PER_S


class Gate:
    """Asks for one process, and remembers the answers for a while. Threads may share it."""

    def __init__(self, trust: TrustFolder, *, purpose: str = "", endpoints: Iterable[str] = ()) -> None:
        """Ask nothing yet.

        Args:
            trust: whose rules and ledger.
            purpose: what data is read for, one of ``PURPOSES``; empty where none is read.
            endpoints: every endpoint of the storage that holds the data.

        Raises:
            ConfigError: an unknown purpose.
        """
        if purpose and purpose not in PURPOSES:
            raise ConfigError(
                f"purpose: got {purpose!r}, expected one of {', '.join(PURPOSES)}{nearest(purpose, PURPOSES)}"
            )
        self.trust, self.purpose, self.endpoints = trust, purpose, tuple(endpoints)
        self._begin()

    def __getstate__(self) -> dict[str, Any]:
        return {"trust": self.trust, "purpose": self.purpose, "endpoints": self.endpoints}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.RLock()
        #: what was asked -> why it was refused, empty where it was allowed
        self._answers: dict[tuple[str, Holding], str] = {}
        #: the answers hold from the first to the second time, ns since 1970
        self._since_ns = self._until_ns = 0
        self._ended = ""

    @property
    def ledger_id(self) -> str:
        """Id of the ledger whose rules these are."""
        return self.trust.ledger.id

    def require(self, act: str, holding: Holding) -> None:
        """Ask, unless the answer is known and still holds.

        Args:
            act: one of ``ACTS``; ``read`` is for this gate's purpose.
            holding: whose data, which, under which agreement.

        Raises:
            PermissionDeniedError: it is refused.
            GenbaError: it could not be decided or not be recorded; nothing is allowed then.
        """
        if reason := self.refusal(act, holding):
            raise PermissionDeniedError(reason)

    def refusal(self, act: str, holding: Holding) -> str:
        """Return why something is refused, empty where it is allowed.

        Raises:
            GenbaError: it could not be decided or not be recorded.
        """
        with self._lock:
            if not self._holds():
                self._renew()
            key = (act, holding)
            if key not in self._answers:
                self._answers[key] = self._ask(act, holding)
            return self._answers[key]

    def check(self) -> None:
        """Check that everything that was allowed in this process still is; cheap where answers hold.

        Raises:
            PermissionDeniedError: something no longer is, now or when it was checked before.
            GenbaError: it could not be decided or not be recorded.
        """
        if not self._holds():
            with self._lock:
                if not self._holds():
                    self._renew()
        if self._ended:
            raise PermissionDeniedError(self._ended)

    def _holds(self) -> bool:
        # Not before the answers were given either: a clock that was set back is for the gatekeeper to judge.
        return self._since_ns <= self.trust.now_ns() < self._until_ns

    def _renew(self) -> None:
        granted = [key for key, reason in self._answers.items() if not reason]
        self.trust.renew()
        now_ns = self.trust.now_ns()
        answers = {key: self._ask(*key) for key in granted}
        self._ended = self._ended or next(filter(None, answers.values()), "")
        # Only now: what could not be decided is asked again, not taken for answered or forgotten.
        self._answers = answers
        self._since_ns, self._until_ns = now_ns, min(now_ns + RENEW_S * NS_PER_S, (now_ns // _DAY_NS + 1) * _DAY_NS)

    def _ask(self, act: str, holding: Holding) -> str:
        if act == "read" and not self.purpose:
            return (
                f"{holding.owner}/{holding.dataset}: nobody said what it is read for; expected one of {', '.join(PURPOSES)}: "
                f"Vault.open(..., purpose=...)"
            )
        try:
            request = Request(
                act=act,
                party=self.trust.party,
                owner=holding.owner,
                dataset=holding.dataset,
                agreement=holding.agreement,
                sites=(self.trust.site,),
                endpoints=self.endpoints,
                purpose=self.purpose if act == "read" else "",
            )
        except ValueError as error:
            return f"{holding.owner}/{holding.dataset}: {act} cannot be asked for: {error}; say whose data it is, and under which agreement"
        try:
            self.trust.gatekeeper.require(request)
        except PermissionDeniedError as error:
            return str(error)
        return ""


class GatedKeys:
    """Owners' keys behind a gate."""

    def __init__(self, keys: KeyProvider, gate: Gate, *, act: Literal["read", "keep", "withdraw"] = "read") -> None:
        """Ask nothing yet.

        Args:
            keys: where they are.
            gate: whom to ask.
            act: what shards are opened for. ``withdraw`` asks nobody, because the owner has spoken: it is in the ledger as a
                withdrawal.
        """
        self._keys, self.gate, self.act = keys, gate, act

    def to_open(self, holding: Holding) -> KeyProvider:
        """Return what unwraps the data keys of a holding's shards.

        Raises:
            PermissionDeniedError: the rules refuse it.
        """
        if self.act != "withdraw":
            self.gate.require(self.act, holding)
        return self._keys

    def to_seal(self, holding: Holding) -> KeyProvider:
        """Return what wraps the data keys of a holding's new shards.

        Raises:
            PermissionDeniedError: the rules refuse it.
        """
        self.gate.require("admit" if self.act == "read" else "keep", holding)
        return self._keys
