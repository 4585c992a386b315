"""The trust folder: who this party is, where this host stands, and everything that deciding needs, in one place.

::

    trust/
      party.toml             this party and the site of this host
      sites.toml             places, their operators, jurisdictions and evidence (``sites``)
      agreements/<any>.toml  one owner's agreements (``agreements``)
      ledger/                what was decided, read and made (``ledger``)
      keys/signing           signs the ledger's heads; mode 0600
      keys/blinding/<owner>  hides one owner's claims from the others (``trained_on``); mode 0600
      partners/<name>.pub    public keys of those who are believed, this party's own among them
      revocations.json       the newest list of revoked models; absent until something is revoked
      revocations.lock       held while the next list is made
      policies/<hash>.json   the policies of each decision, by their hash; kept when they first decide
      latest                 the latest time at which anything was decided (``decisions``)
      egress/<run>.jsonl     what each confined command tried to reach (``sandbox.log``)
      cache/                 what libraries compiled for confined commands: all that these may write here
      confine.toml           what confined commands need on this host besides; absent where nothing is

``party.toml`` may name another folder for the keys (``keys = "/elsewhere"``), out of reach of commands that may write here.
The folder of owners' data keys is another one (``keys``). Within a confined command nothing here is written: ``clerk_client`` asks. A ``TrustFolder`` holds no open file and is opened again where it is
unpickled; several processes may decide and append at once. What is asked of it before data is used is in ``gate``.
"""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from genba.config import read_toml, to_toml
from genba.errors import ConfigError, LedgerError, nearest
from genba.trust import revocation
from genba.trust.agreements import AGREEMENT_FOLDER, SITES_FILE, OwnerAgreements, Rules, read_rules
from genba.trust.cedar import CompiledRules, compile_rules
from genba.trust.clerk_client import ClerkClient, ClerkGatekeeper, ClerkKey, ClerkLedger
from genba.trust.decisions import Gatekeeper, LatestTime
from genba.trust.durable import write_whole
from genba.trust.heads import Head
from genba.trust.ledger import ENTRIES, Ledger
from genba.trust.revocation import Revocations
from genba.trust.signing import PUBLIC_SUFFIX, SigningKey, TrustStore
from genba.trust.sites import Site, check_name, read_sites
from genba.trust.trained_on import create_blinding_key, read_blinding_key

VARIABLE = "GENBA_TRUST"
PARTY_FILE, LEDGER_FOLDER, KEY_FOLDER, PARTNER_FOLDER = "party.toml", "ledger", "keys", "partners"
REVOCATION_FILE, LATEST_FILE, POLICY_FOLDER = "revocations.json", "latest", "policies"
EGRESS_FOLDER, CACHE_FOLDER, HOST_FILE = "egress", "cache", "confine.toml"
#: rules of three invented companies, to try things with
SAMPLES = Path(__file__).with_name("samples")


@dataclass(frozen=True, kw_only=True, slots=True)
class PartyFacts:
    """What ``party.toml`` says."""

    party: str
    """Who this is, named as in agreements."""
    site: str
    """Id of the site where this host stands, as in ``sites.toml``."""
    keys: str = ""
    """Folder of the signing and blinding keys, absolute or from the trust folder; ``keys`` in it by default."""

    def __post_init__(self) -> None:
        check_name("party", self.party)
        check_name("site", self.site)


class TrustFolder:
    """One party's rules, ledger and keys."""

    def __init__(self, path: Path | str, *, clock: Callable[[], int] = time.time_ns) -> None:
        """Open a folder that exists.

        Args:
            path: the folder.
            clock: what decisions take for the time, ns since 1970, UTC; the ledger's entries keep the host's.

        Raises:
            ConfigError: there is none, or its ``party.toml`` does not fit.
        """
        # From anywhere: a process that changes its folder, or starts others elsewhere, means the same one.
        self.path, self._clock = Path(path).absolute(), clock
        if not (self.path / PARTY_FILE).is_file():
            raise ConfigError(
                f"{self.path}: no trust folder here (no {PARTY_FILE}); make one: genba trust init {path} --party NAME --site SITE"
            )
        self._facts = read_toml(self.path / PARTY_FILE, PartyFacts)

    @classmethod
    def open(cls, path: Path | str) -> TrustFolder:
        """Open a folder that exists.

        Raises:
            ConfigError: there is none, or its ``party.toml`` does not fit.
        """
        return cls(path)

    @classmethod
    def from_environment(cls) -> TrustFolder | None:
        """Return the folder that ``$GENBA_TRUST`` names, None where it names none.

        Raises:
            ConfigError: what it names is no trust folder.
        """
        given = os.environ.get(VARIABLE)
        return cls(given) if given else None

    @classmethod
    def create(
        cls,
        path: Path | str,
        *,
        party: str,
        site: str,
        sites_from: Path | str | None = None,
        agreements_from: Iterable[Path | str] = (),
        keys: str = "",
    ) -> TrustFolder:
        """Make a folder: keys, an empty ledger that they keep, and the rules that are given.

        A folder that holds ``sites.toml`` and ``agreements/`` already keeps them. Where there are no rules yet, everything is
        refused until they are put there. What a crash left half-made is finished by making it again.

        Args:
            path: where; it may exist, but be no trust folder yet.
            party: who this is, named as in agreements.
            site: id of the site where this host stands.
            sites_from: a ``sites.toml`` to copy.
            agreements_from: owners' files to copy.
            keys: folder for the signing and blinding keys, if not ``keys`` in it.

        Raises:
            ConfigError: a trust folder is there already, a file to copy does not fit or is there already, the sites do not
                know ``site``, or the disk refused.
            SignatureError, LedgerError: a key or the ledger could not be made.
        """
        path = Path(path)
        if (path / PARTY_FILE).exists():
            raise ConfigError(f"{path}: a trust folder is here already; open it, or name another folder")
        try:
            facts = PartyFacts(party=party, site=site, keys=keys)
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from None
        sources = [(Path(one), path / AGREEMENT_FOLDER / Path(one).name) for one in agreements_from]
        for source, _ in sources:
            read_toml(source, OwnerAgreements)
        if sites_from is not None:
            sources.append((Path(sites_from), path / SITES_FILE))
        known_sites = Path(sites_from) if sites_from is not None else path / SITES_FILE
        if known_sites.exists():
            _check_site(known_sites, site, read_sites(known_sites))
        try:
            for folder in (path / AGREEMENT_FOLDER, path / PARTNER_FOLDER):
                folder.mkdir(parents=True, exist_ok=True)
            for source, target in sources:
                if target.exists() and target.read_bytes() != source.read_bytes():
                    raise ConfigError(f"{target}: is there already and differs from {source}; it is not overwritten")
                shutil.copyfile(source, target)
            key_folder = path / (keys or KEY_FOLDER)
            key_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            key = SigningKey.open(key_folder / "signing")
            (path / PARTNER_FOLDER / f"{_file_name(party)}{PUBLIC_SUFFIX}").write_bytes(key.public.pem())
            if not (path / LEDGER_FOLDER / ENTRIES).exists():
                Ledger.create(path / LEDGER_FOLDER, party, key)
            # Last, and whole: a folder is a trust folder when everything in it is there.
            write_whole(path / PARTY_FILE, to_toml(facts).encode(), replace=True)
        except OSError as error:
            raise ConfigError(f"{path}: could not make a trust folder: {error.strerror}") from error
        return cls(path)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_clock": self._clock, "_facts": self._facts}

    @property
    def party(self) -> str:
        """Who this is."""
        return self._facts.party

    @property
    def site(self) -> str:
        """Where this host stands."""
        return self._facts.site

    @cached_property
    def rules(self) -> Rules:
        """All owners' agreements and all sites, as ``renew`` last found them.

        Raises:
            ConfigError: a file is missing or does not fit, facts contradict each other, or no site is this host's.
        """
        rules = read_rules(self.path)
        _check_site(self.path / SITES_FILE, self.site, rules.sites)
        return rules

    @cached_property
    def compiled(self) -> CompiledRules:
        """The same as policies.

        Raises:
            ConfigError: as ``rules`` says, or the policy engine is not installed.
        """
        return compile_rules(self.rules)

    @cached_property
    def gatekeeper(self) -> Gatekeeper:
        """Who decides by these rules, records in this ledger, and minds the clock.

        Raises:
            ConfigError: as ``compiled`` says, or the policies could not be kept.
            LedgerError: as ``ledger`` says.
        """
        if clerk := ClerkClient.of(self.path):
            return ClerkGatekeeper(self.compiled, clerk)
        self._keep_policies()
        return Gatekeeper(self.compiled, self.ledger, LatestTime(self.path / LATEST_FILE), clock=self._clock)

    def _keep_policies(self) -> None:
        """Keep what is decided by: a decision in the ledger names it by hash, and agreements change."""
        path = self.path / POLICY_FOLDER / f"{self.compiled.policy_hash.removeprefix('sha256:')}.json"
        if path.exists():
            return
        try:
            write_whole(path, self.compiled.text, replace=True)
        except OSError as error:
            raise ConfigError(
                f"{path}: the policies could not be kept: {error.strerror}; nothing is decided"
            ) from error

    def now_ns(self) -> int:
        """Return what decisions take for the time, ns since 1970, UTC."""
        return self._clock()

    def renew(self) -> None:
        """Read the rules again when they are next used: what an owner ended since is noticed."""
        for name in ("rules", "compiled", "gatekeeper"):
            self.__dict__.pop(name, None)

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger of this party.

        Raises:
            LedgerError: it is missing, or a signed head contradicts it.
        """
        clerk = ClerkClient.of(self.path)
        return ClerkLedger(self.path / LEDGER_FOLDER, clerk) if clerk else Ledger(self.path / LEDGER_FOLDER)

    @property
    def key_folder(self) -> Path:
        """Where the signing key and the blinding keys lie."""
        return self.path / (self._facts.keys or KEY_FOLDER)

    @property
    def signing_key(self) -> SigningKey:
        """What signs heads and passports; read each time, so that this object holds no secret.

        Raises:
            SignatureError: it is missing, or others may read it.
        """
        if clerk := ClerkClient.of(self.path):
            return ClerkKey(self.ledger.key, clerk)
        return SigningKey.load(self.key_folder / "signing")

    @property
    def trust_store(self) -> TrustStore:
        """Whom this party believes, itself included.

        Raises:
            SignatureError: nobody, or a file is no public key.
        """
        return TrustStore.load(self.path / PARTNER_FOLDER)

    @property
    def revocation_path(self) -> Path:
        """Where the newest list of revoked models lies, if there is one."""
        return self.path / REVOCATION_FILE

    def revocations(self) -> Revocations | None:
        """Return the newest list of revoked models, verified; None until something is revoked.

        Raises:
            SignatureError: it is not signed by anyone trusted, or altered.
        """
        return revocation.read(self.revocation_path, self.trust_store) if self.revocation_path.exists() else None

    def blinding_key(self, owner: str) -> bytes:
        """Return an owner's blinding key, made on first use; whoever is first wins, and the others use that one.

        Raises:
            LedgerError: it cannot be made or read, or others may read it.
        """
        if clerk := ClerkClient.of(self.path):
            return base64.b64decode(clerk.ask("blinding", owner=owner)["key"])
        path = self.key_folder / "blinding" / _file_name(owner)
        if not path.exists():
            try:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                # Linked when whole: no other process sees half a key, and none is replaced.
                with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
                    fresh = Path(folder) / "key"
                    create_blinding_key(fresh)
                    os.link(fresh, path)
            except FileExistsError:
                pass
            except OSError as error:
                raise LedgerError(f"{path}: could not make the blinding key: {error.strerror}") from error
        return read_blinding_key(path)

    def blinding_keys(self, owners: Iterable[str]) -> dict[str, bytes]:
        """Return the blinding key of each owner, as ``TrainedOn.of`` takes them.

        Raises:
            LedgerError: as ``blinding_key`` says.
        """
        return {owner: self.blinding_key(owner) for owner in owners}

    def sign_head(self) -> Head:
        """Sign a head over everything that is in the ledger.

        Raises:
            LedgerError, SignatureError: as ``Ledger.sign_head`` and ``signing_key`` say.
        """
        return self.ledger.sign_head(self.signing_key)


def _check_site(place: Path, site: str, known: Mapping[str, Site]) -> None:
    if site not in known:
        raise ConfigError(f"{place}: no site {site!r}, where this host is said to stand{nearest(site, known)}")


def _file_name(name: str) -> str:
    """Return a name, words in any script, as a file's: only what a folder cannot hold, or would hide, is written otherwise."""
    for character in "%/\0":
        name = name.replace(character, f"%{ord(character):02X}")
    return f"%2E{name[1:]}" if name.startswith(".") else name
