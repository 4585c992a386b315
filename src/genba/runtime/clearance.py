"""Clearance: whether a bundle may act on a machine, asked before it does and at least once a minute while it does.

``clear`` refuses with an error: the bundle's release and passport must hold, for these weights, this machine, this site, who runs
it and this day, and nothing of it be revoked. A ``Clearance`` then looks again in a thread of its own, since reading and verifying take
longer than a control step allows; what it finds is a value that the ``executor`` looks at, never an exception. Whoever could not look
for three turns does not know any more, and refuses.

Without a machine's trust folder nothing is checked, which only this project's own simulators allow; ``bench`` decides that.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from genba.errors import GenbaError, PassportError
from genba.runtime.bundle import MANIFEST, Bundle
from genba.trust import passport as passports
from genba.trust import release
from genba.trust.digest import digest_file
from genba.trust.dsse import Envelope
from genba.trust.machine import MachineTrust
from genba.trust.passport import Passport
from genba.trust.signing import TrustStore

#: most time between two looks, in seconds
EVERY_S = 60.0
#: turns without an answer after which nothing is known any more
MOST_TURNS = 3
#: a file may be half-written just when it is looked at: looks before that counts, and the time between them, in seconds
TRIES, PAUSE_S = 3, 0.5


def clear(bundle: Bundle, trust: MachineTrust, *, record: bool = True) -> Clearance:
    """Return the clearance of a bundle that may act on its machine here and now.

    Args:
        bundle: what shall act.
        trust: what the machine believes.
        record: whether to enter the decision, either way, into the ledger, where there is one.

    Raises:
        PassportError: its passport or release is missing, altered, of other weights, revoked, from the future, or does not
            allow this machine, this site, who runs it or this day.
        SignatureError: the list of revoked models is missing, altered or an older one.
        GenbaError: it cannot be decided, or not be recorded; nothing may run then.
    """
    digest = ""
    try:
        envelope = passports.read(bundle.path / passports.FILE)
        digest = envelope.digest
        clearance = Clearance(bundle, envelope, trust)
    except GenbaError as error:
        if record:
            enter(bundle, trust, digest, str(error), is_allowed=False)
        raise
    if record:
        reason = str(clearance.passport.deploy)
        enter(bundle, trust, digest, reason, is_allowed=True)
    return clearance


def enter(bundle: Bundle, trust: MachineTrust, passport: str, reason: str, *, is_allowed: bool) -> None:
    """Enter a decision about a bundle into the ledger, where there is one.

    Args:
        passport: digest of its passport, empty where there is none that can be read.
        reason: why, in words.

    Raises:
        LedgerError: there is a ledger that cannot be written.
    """
    trust.record(
        passport=passport,
        weights=weights_of(bundle),
        embodiment=bundle.embodiment.id,
        reasons=[reason],
        is_allowed=is_allowed,
    )


def released_by(bundle: Bundle, passport: str, trust: TrustStore) -> tuple[str, ...]:
    """Return who released a bundle with this passport, once everything in it is what was released.

    Args:
        passport: digest of the passport's payload.

    Raises:
        PassportError: nobody trusted did, or it was changed since.
    """
    if passports.FILE not in bundle.files:
        raise PassportError(f"{bundle.path / MANIFEST}: files: got no {passports.FILE}; export the bundle again")
    path = bundle.path / release.FILE
    return release.check(
        release.read(path),
        trust,
        manifest=digest_file(bundle.path / MANIFEST),
        passport=passport,
        weights=weights_of(bundle),
        place=str(path),
    )


def weights_of(bundle: Bundle) -> str:
    """Return the digest of a bundle's weights as a passport writes it."""
    return f"sha256:{bundle.weights_digest}"


class Clearance:
    """One bundle's leave to act; a context in which it is looked at again and again."""

    def __init__(
        self,
        bundle: Bundle,
        envelope: Envelope,
        trust: MachineTrust,
        *,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Check everything once.

        Args:
            bundle: what shall act, its files checked against its manifest.
            envelope: its passport.
            trust: what the machine believes.
            every_s: time between two looks, in seconds.
            clock: monotonic seconds.

        Raises:
            GenbaError: as ``clear`` says.
        """
        self._bundle, self._envelope, self._trust = bundle, envelope, trust
        self._every_s, self._clock = every_s, clock
        self.released_by = released_by(bundle, envelope.digest, trust.trust_store)
        self.passport: Passport = self._look()
        self.digest = envelope.digest
        self._refusal, self._looked_s = "", self._clock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def refusal(self) -> str:
        """Why it may not act any more, empty where it may; what was refused once stays refused."""
        if not self._refusal and self._clock() - self._looked_s > MOST_TURNS * self._every_s:
            self._refusal = f"{self._place}: could not be looked at for {MOST_TURNS * self._every_s:g} s"
        return self._refusal

    def look_again(self) -> str:
        """Look now, and return the refusal."""
        if not self._refusal:
            found = self._refused_now()
            if found:
                self._refusal = found
            else:
                self._looked_s = self._clock()
        return self._refusal

    def __enter__(self) -> Clearance:
        """Begin to look again and again."""
        self._thread = threading.Thread(target=self._watch, name="clearance", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop looking."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def _place(self) -> Path:
        return self._bundle.path / passports.FILE

    def _look(self) -> Passport:
        return self._trust.check(
            self._envelope,
            weights=weights_of(self._bundle),
            embodiment=self._bundle.embodiment.id,
            place=str(self._place),
        )

    def _refused_now(self) -> str:
        for attempt in range(1, TRIES + 1):
            try:
                self._look()
            except PassportError as error:
                return str(error)
            except Exception as error:  # whatever else it is, a machine does not go on by what nobody could check
                if attempt == TRIES:
                    return f"{self._place}: could not be checked: {type(error).__name__}: {error}"
                self._ended.wait(PAUSE_S)
            else:
                return ""
        return ""

    def _watch(self) -> None:
        while not self._ended.wait(self._every_s):
            if reason := self.look_again():
                # The machine has stopped obeying the model by now; a ledger that cannot be written changes nothing about it.
                with contextlib.suppress(GenbaError):
                    enter(self._bundle, self._trust, self.digest, reason, is_allowed=False)
                return
