"""A model's passport: the signed record of what it was made from, by what, and where it may be used.

A passport is an in-toto Statement, version 1, whose subject is the weights' digest and whose predicate says: code, environment,
config, seeds, hardware, parents, roots of data sets, hashes of agreements, what was really read, the egress log, and where the
agreements allow it to run. It names no owner of data: roots and hashes say nothing to whom does not have what they are of,
and ``trained_on`` proves single owners' data in or out. It is signed in a DSSE envelope (``dsse``).

``check`` is what refuses: not signed by anyone trusted, altered, for other weights, revoked, or not allowed here and now.
Collecting what goes into one is in ``origin``; when a run makes one and which bundles need one is not decided here.

Source: in-toto Attestation Framework, Statement v1.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from genba.errors import PassportError, SignatureError, nearest
from genba.trust.dsse import Envelope, payload_of, sign
from genba.trust.revocation import Revocations
from genba.trust.signing import SigningKey, TrustStore

#: its name in a checkpoint and in a bundle
FILE = "passport.json"
#: what DSSE prescribes for in-toto statements
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:genba:passport:1"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """Where, and by whom, the agreements under which a model was trained allow it to be run. What is not named is not allowed."""

    embodiments: tuple[str, ...] = ()
    """Ids of the machines; ``*`` is every machine."""
    sites: tuple[str, ...] = ()
    """Names of the sites; ``*`` is every site."""
    parties: tuple[str, ...] = ()
    """Names of those who may run it; ``*`` is everyone."""
    until_ns: int | None = None
    """When the first of the agreements ends, ns since 1970, UTC; None where none does."""

    def __str__(self) -> str:
        """Say where, until when and by whom, in words."""
        if not self.is_anywhere:
            what = "party" if self.embodiments and self.sites else "place"
            return f"may run nowhere: no {what} is allowed by all agreements"
        machines = "every machine" if "*" in self.embodiments else ", ".join(self.embodiments)
        sites = "every site" if "*" in self.sites else ", ".join(self.sites)
        until = "without end" if self.until_ns is None else f"before {in_words(self.until_ns)}"
        parties = "anyone" if "*" in self.parties else ", ".join(self.parties)
        return f"may run on {machines} at {sites}, {until}, by {parties}"

    @property
    def is_anywhere(self) -> bool:
        """Whether there is any machine, site and party for which it may run."""
        return bool(self.embodiments and self.sites and self.parties)


@dataclass(frozen=True, kw_only=True, slots=True)
class Passport:
    """What a passport says. A digest is written ``sha256:<64 hex digits>``."""

    weights: str
    """Digest of the weights."""
    made_ns: int
    """When it was made, ns since 1970, UTC."""
    code: dict[str, Any]
    """``commit``, ``dirty`` and ``digest`` of the package's files."""
    environment: dict[str, str]
    """Every installed package and its version."""
    config: dict[str, Any]
    """The whole run's config, as plain values."""
    seeds: dict[str, int]
    """Every seed by name."""
    hardware: dict[str, Any]
    """On what it was trained."""
    parents: tuple[str, ...] = ()
    """Digests of the weights it was trained from."""
    datasets: tuple[str, ...] = ()
    """Roots of the data sets that it could read, sorted."""
    agreements: tuple[str, ...] = ()
    """Hashes of the agreements that allowed it, sorted."""
    reads: str = ""
    """Root of the ledger of what was really read; empty where none was kept."""
    trained_on: str = ""
    """Commitment to the blinded set of what was read (``trained_on``); empty where none was made."""
    egress: str = ""
    """Digest of the log of what the run tried to reach; empty where it ran unconfined."""
    deploy: Deployment = field(default_factory=Deployment)
    """Where it may run, and by whom."""

    def __post_init__(self) -> None:
        for name in ("code", "environment", "config", "seeds", "hardware"):
            if not isinstance(getattr(self, name), dict):
                raise PassportError(f"passport: {name}: got {getattr(self, name)!r}, expected a table")
        required = {"weights": self.weights}
        optional = {"reads": self.reads, "trained_on": self.trained_on, "egress": self.egress}
        several = {name: getattr(self, name) for name in ("parents", "datasets", "agreements")}
        named = required | {name: value for name, value in optional.items() if value}
        named |= {f"{name}[{i}]": value for name, values in several.items() for i, value in enumerate(values)}
        for name, value in named.items():
            if not isinstance(value, str) or not _DIGEST.fullmatch(value):
                raise PassportError(f"passport: {name}: got {value!r}, expected sha256: and 64 hex digits")

    def signed(self, key: SigningKey) -> Envelope:
        """Return it signed.

        Raises:
            PassportError: a value that is not plain, a NaN or an infinity.
        """
        predicate = asdict(self)
        weights = predicate.pop("weights")
        statement = {
            "_type": STATEMENT_TYPE,
            "predicate": predicate,
            "predicateType": PREDICATE_TYPE,
            "subject": [{"digest": {"sha256": weights.removeprefix("sha256:")}, "name": "weights"}],
        }
        try:
            return sign(PAYLOAD_TYPE, statement, key)
        except (TypeError, ValueError) as error:
            raise PassportError(f"passport: not plain values ({error}); expected what JSON knows") from error


def read(path: Path | str) -> Envelope:
    """Read a passport's file, unverified.

    Raises:
        PassportError: it is missing, or no envelope.
    """
    try:
        return Envelope.from_bytes(Path(path).read_bytes().removesuffix(b"\n"), place=str(path))
    except FileNotFoundError:
        raise PassportError(
            f"{path}: no passport; expected the signed record that the training run made: copy the whole folder again, or "
            f"train and export with a trust folder (--trust)"
        ) from None
    except OSError as error:
        raise PassportError(f"{path}: could not read the passport: {error.strerror}") from error
    except SignatureError as error:
        raise PassportError(str(error)) from error


def verify(envelope: Envelope, trust: TrustStore, *, place: str) -> tuple[Passport, tuple[str, ...]]:
    """Return what a passport says and who signed it.

    Raises:
        PassportError: nobody trusted signed it, it was altered, or it is not a passport in this format.
    """
    try:
        signers = envelope.signers(trust.keys, payload_type=PAYLOAD_TYPE, place=place)
        table = payload_of(envelope, place=place)
    except SignatureError as error:
        raise PassportError(str(error)) from error
    return _parse(table, place), tuple(trust.name(s) for s in signers)


def check(
    envelope: Envelope,
    trust: TrustStore,
    *,
    weights: str,
    embodiment: str | None,
    site: str | None,
    party: str | None,
    now_ns: int,
    revocations: Revocations | None,
    place: str,
) -> Passport:
    """Return the passport of a model that may be used here and now.

    Args:
        envelope: the passport.
        trust: whose signatures are believed.
        weights: digest of the weights that are to be used.
        embodiment: id of the machine; None to leave that open, where nothing is deployed.
        site: name of the site; None likewise.
        party: who runs the machine; None likewise.
        now_ns: ns since 1970, UTC.
        revocations: the newest verified list, None where none is kept.
        place: what the passport is, for errors.

    Raises:
        PassportError: it may not, with the reason.
    """
    passport, _ = verify(envelope, trust, place=place)
    if passport.weights != weights:
        raise PassportError(f"{place}: the passport is for weights {passport.weights}, these are {weights}")
    refuse_revoked(passport, envelope.digest, revocations, place=place)
    if now_ns < passport.made_ns:
        raise PassportError(
            f"{place}: made at {passport.made_ns} ns, the clock shows {now_ns} ns: the clock was set back; set it right"
        )
    deploy = passport.deploy
    for what, here, allowed in (
        ("machine", embodiment, deploy.embodiments),
        ("site", site, deploy.sites),
        ("party", party, deploy.parties),
    ):
        if here is not None and "*" not in allowed and here not in allowed:
            raise PassportError(
                f"{place}: the agreements do not allow {what} {here!r}; allowed: {', '.join(allowed) or 'none'}"
            )
    if deploy.until_ns is not None and now_ns >= deploy.until_ns:
        raise PassportError(f"{place}: an agreement ended at {deploy.until_ns} ns, the clock shows {now_ns} ns")
    return passport


def refuse_revoked(passport: Passport, digest: str, revocations: Revocations | None, *, place: str) -> None:
    """Refuse a model of which anything is revoked.

    Args:
        passport: what its passport says.
        digest: of the passport's payload.
        revocations: the newest verified list, None where none is kept.
        place: what the passport is, for errors.

    Raises:
        PassportError: the passport, its weights or one of its parents was revoked.
    """
    if revocations is None:
        return
    named = (("passport", digest), ("weights", passport.weights), *(("parent", p) for p in passport.parents))
    for what, one in named:
        if (revoked := revocations.find(one)) is not None:
            raise PassportError(f"{place}: {what} {one} was revoked: {revoked.reason}")


def _parse(table: dict[str, Any], place: str) -> Passport:
    subject, predicate = table.get("subject"), table.get("predicate")
    found = (table.get("_type"), table.get("predicateType"))
    if found != (STATEMENT_TYPE, PREDICATE_TYPE) or not isinstance(predicate, dict) or len(table) != 4:
        raise PassportError(f"{place}: a statement {found[0]!r} about {found[1]!r}, expected {PREDICATE_TYPE!r}")
    try:
        if not isinstance(subject, list) or len(subject) != 1:
            raise ValueError(f"subject {subject!r}, expected the weights alone")
        only = subject[0]
        if only != {"digest": {"sha256": only["digest"]["sha256"]}, "name": "weights"}:
            raise ValueError(f"subject {only!r}")
        values: dict[str, Any] = {"weights": f"sha256:{only['digest']['sha256']}", **_exactly(predicate, Passport)}
        # Passports said nothing of parties at first: what was not asked is not allowed, until one is issued anew.
        stated = values["deploy"]
        deploy = _exactly({"parties": []} | stated if isinstance(stated, dict) else stated, Deployment)
        values["deploy"] = Deployment(
            **{name: _texts(deploy[name]) for name in ("embodiments", "sites", "parties")}, until_ns=deploy["until_ns"]
        )
        values |= {name: _texts(values[name]) for name in ("parents", "datasets", "agreements")}
        numbers = [values["made_ns"]] + [n for n in [deploy["until_ns"]] if n is not None]
        if any(type(n) is not int for n in numbers):
            raise TypeError(f"times {numbers!r}, expected whole ns")
        return Passport(**values)
    except (KeyError, ValueError, TypeError) as error:
        raise PassportError(f"{place}: not a passport as Genba writes it ({error})") from error


def _exactly(table: Any, cls: type[Passport | Deployment]) -> dict[str, Any]:
    known = {f.name for f in fields(cls)} - {"weights"}
    if not isinstance(table, dict):
        raise TypeError(f"got {table!r}, expected a table of {cls.__name__}")
    for key in table:
        if key not in known:
            raise ValueError(f"unknown field {key!r}{nearest(key, known)}")
    if missing := known - table.keys():
        raise ValueError(f"no field {min(missing)!r}")
    return dict(table)


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise TypeError(f"got {values!r}, expected a list of strings")
    return tuple(values)


def in_words(time_ns: int) -> str:
    """Return a time as ISO 8601 writes it, to the second, UTC."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time_ns // 10**9)).isoformat()
