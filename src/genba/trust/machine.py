"""What a machine believes: a small folder, without agreements and without the software of the training site.

::

    machine/
      party.toml               who runs the machine, and the site where it stands
      partners/<name>.pub      public keys of those whose passports are believed
      revocations.json         the newest list of revoked models; whoever runs the machine puts each new one here
      seen/revocations.json    the newest list that was accepted here: an older one is never believed again
      seen/latest              the latest time that was seen here: a clock that was set back is noticed

Nothing but ``seen`` is written. A ``TrustFolder`` has the rest and more, and serves as well; each decision to run a model is then
entered into its ledger. Within a confined command the clerk looks and records, outside (``clerk_client``). ``check`` is asked before
a model acts and while it does (``genba.runtime.clearance``).
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from genba.config import read_toml, to_toml
from genba.errors import ConfigError, PassportError, SignatureError
from genba.trust import passport as passports
from genba.trust import revocation
from genba.trust.clerk_client import ClerkClient
from genba.trust.decisions import KIND, TOLERANCE_NS, LatestTime
from genba.trust.digest import digest_json
from genba.trust.dsse import Envelope
from genba.trust.durable import locked, write_whole
from genba.trust.folder import (
    LATEST_FILE,
    LEDGER_FOLDER,
    PARTNER_FOLDER,
    PARTY_FILE,
    REVOCATION_FILE,
    PartyFacts,
    TrustFolder,
)
from genba.trust.ledger import ENTRIES
from genba.trust.passport import Passport
from genba.trust.revocation import Revocations
from genba.trust.signing import PUBLIC_SUFFIX, PublicKey, TrustStore

SEEN_FOLDER = "seen"


class MachineTrust:
    """Whom a machine believes, where it stands, and what it has seen."""

    def __init__(self, path: Path | str, *, clock: Callable[[], int] = time.time_ns) -> None:
        """Open a folder that exists.

        Args:
            path: the folder.
            clock: ns since 1970, UTC.

        Raises:
            ConfigError: there is none, or its ``party.toml`` does not fit.
        """
        self.path, self._clock = Path(path).absolute(), clock
        if not (self.path / PARTY_FILE).is_file():
            raise ConfigError(
                f"{self.path}: no trust folder here (no {PARTY_FILE}); make a machine's: genba trust machine {path} --party "
                f"NAME --site SITE --believe KEY.pub"
            )
        self._facts = read_toml(self.path / PARTY_FILE, PartyFacts)

    @classmethod
    def create(cls, path: Path | str, *, party: str, site: str, believe: Iterable[Path | str]) -> MachineTrust:
        """Make a machine's folder.

        Args:
            path: where; it may exist, but be no trust folder yet.
            party: who runs the machine.
            site: id of the site where it stands, named as in passports.
            believe: files of public keys; each keeps its name.

        Raises:
            ConfigError: a trust folder is there already, a name that does not fit, or the disk refused.
            SignatureError: no key is given, or a file is none.
        """
        path, keys = Path(path), [Path(key) for key in believe]
        if (path / PARTY_FILE).exists():
            raise ConfigError(f"{path}: a trust folder is here already; open it, or name another folder")
        if not keys:
            raise SignatureError(f"{path}: got no keys to believe, expected at least one: nobody's passport would hold")
        for key in keys:
            PublicKey.load(key)
            if key.suffix != PUBLIC_SUFFIX:
                raise SignatureError(f"{key}: expected a file named after its owner, NAME{PUBLIC_SUFFIX}")
        try:
            text = to_toml(PartyFacts(party=party, site=site))
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from None
        try:
            (path / PARTNER_FOLDER).mkdir(parents=True, exist_ok=True)
            for key in keys:
                shutil.copyfile(key, path / PARTNER_FOLDER / key.name)
            # Last, and whole: a folder is a trust folder when everything in it is there.
            write_whole(path / PARTY_FILE, text.encode(), replace=True)
        except OSError as error:
            raise ConfigError(f"{path}: could not make a machine's trust folder: {error.strerror}") from error
        return cls(path)

    @property
    def party(self) -> str:
        """Who runs the machine."""
        return self._facts.party

    @property
    def site(self) -> str:
        """Where it stands."""
        return self._facts.site

    @property
    def trust_store(self) -> TrustStore:
        """Whose signatures are believed.

        Raises:
            SignatureError: nobody's, or a file is no public key.
        """
        return TrustStore.load(self.path / PARTNER_FOLDER)

    def now_ns(self) -> int:
        """Return the time, never earlier than what was seen here before.

        Raises:
            PassportError: the clock was set back.
            ConfigError: the latest time cannot be kept.
        """
        now_ns = self._clock()
        latest_ns = LatestTime(self.path / SEEN_FOLDER / LATEST_FILE).advance(now_ns)
        if latest_ns - now_ns > TOLERANCE_NS:
            raise PassportError(
                f"{self.path / SEEN_FOLDER / LATEST_FILE}: the clock shows {now_ns} ns, but {latest_ns} ns was seen here before: it was set "
                f"back, and what expired would seem to hold; set it right"
            )
        return latest_ns

    def revocations(self) -> Revocations | None:
        """Return the newest list of revoked models and remember it; None where there never was one.

        Raises:
            PassportError: the list was taken away.
            SignatureError: nobody trusted signed it, it was altered, or an older one was played back.
        """
        path, seen_path = self.path / REVOCATION_FILE, self.path / SEEN_FOLDER / REVOCATION_FILE
        if not path.exists():
            if seen_path.exists():
                raise PassportError(f"{path}: the list of revoked models was taken away; put the newest one back there")
            return None
        store = self.trust_store
        try:
            seen_path.parent.mkdir(exist_ok=True)
            with locked(seen_path.with_suffix(".lock")):
                data = path.read_bytes()
                envelope = Envelope.from_bytes(data.removesuffix(b"\n"), place=str(path))
                found = revocation.verify(envelope, store, place=str(path))
                if not seen_path.exists():
                    write_whole(seen_path, data, replace=True)
                    return found
                seen = revocation.read(seen_path, store)
                newest = revocation.succeeding(seen, found, place=str(path))
                if newest != seen:
                    write_whole(seen_path, data, replace=True)
                return newest
        except OSError as error:
            raise SignatureError(f"{path}: the list of revoked models cannot be kept: {error.strerror}") from error

    def check(self, envelope: Envelope, *, weights: str, embodiment: str, place: str) -> Passport:
        """Return the passport of a model that may act on a machine here and now.

        Args:
            envelope: the passport.
            weights: digest of the weights that are to act.
            embodiment: id of the machine.
            place: what the passport is, for errors.

        Raises:
            PassportError, SignatureError, ConfigError: it may not, with the reason.
        """
        if clerk := ClerkClient.of(self.path):
            facts = {"weights": weights, "embodiment": embodiment, "place": place}
            clerk.ask("clear", envelope=envelope.to_bytes().decode(), **facts)
            return passports.verify(envelope, self.trust_store, place=place)[0]
        return passports.check(
            envelope,
            self.trust_store,
            weights=weights,
            embodiment=embodiment,
            site=self.site,
            party=self.party,
            now_ns=self.now_ns(),
            revocations=self.revocations(),
            place=place,
        )

    def record(self, *, passport: str, weights: str, embodiment: str, reasons: Iterable[str], is_allowed: bool) -> None:
        """Enter a decision to run a model into the ledger, where there is one.

        A head is signed over it where the key is within reach; elsewhere its keeper signs one.

        Args:
            passport: digest of its payload, empty where there is none that can be read.
            weights: digest of the weights.
            embodiment: id of the machine.
            reasons: why, in words.
            is_allowed: what was decided.

        Raises:
            LedgerError: there is one that cannot be written: nothing may run that is not recorded.
        """
        if not (self.path / LEDGER_FOLDER / ENTRIES).exists():
            return
        if clerk := ClerkClient.of(self.path):
            facts = {"passport": passport, "weights": weights, "embodiment": embodiment}
            clerk.ask("deployment", reasons=list(reasons), is_allowed=is_allowed, **facts)
            return
        request: dict[str, Any] = {"act": "deploy", "party": self.party, "sites": [self.site], "embodiment": embodiment}
        request |= {"passport": passport, "weights": weights}
        body = {"allowed": is_allowed, "reasons": list(reasons), "request": request, "now_ns": self._clock()}
        # What is decided by is the passport itself: the machine has no agreements.
        body |= {"request_digest": digest_json(request), "policy_hash": passport}
        trust = TrustFolder(self.path)
        trust.ledger.append(KIND, body)
        if os.access(trust.key_folder, os.R_OK):
            trust.sign_head()
