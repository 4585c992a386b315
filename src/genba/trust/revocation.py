"""The signed list of models that must not be used any more.

A list names digests (of a passport, or of weights) with a reason each, has a number that only rises, and the digest of the
list before it. Everything revoked once stays in every later list: ``succeeding`` refuses a list that forgets. Who consults it
is ``passport.check``; what is revoked on a withdrawal is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from genba.errors import SignatureError
from genba.trust.dsse import Envelope, payload_of, sign
from genba.trust.signing import SigningKey, TrustStore

FORMAT = "genba-revocations@1"
PAYLOAD_TYPE = "application/vnd.genba.revocations+json"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Revoked:
    """One thing that is revoked."""

    digest: str
    """Of a passport's payload, or of weights."""
    reason: str
    """For whoever is refused."""
    time_ns: int
    """When it was revoked, ns since 1970, UTC."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Revocations:
    """One list."""

    number: int
    """1 for the first, then one more each time."""
    before: str
    """Digest of the list before it; empty for the first."""
    time_ns: int
    """When it was signed, ns since 1970, UTC."""
    revoked: tuple[Revoked, ...]
    digest: str = ""
    """Of this list as it was signed; empty until it is."""

    def find(self, digest: str) -> Revoked | None:
        """Return what the list says of a digest, None where it says nothing."""
        return next((r for r in self.revoked if r.digest == digest), None)


def revoke(old: Revocations | None, revoked: Iterable[Revoked], key: SigningKey, *, now_ns: int) -> Envelope:
    """Return the next list: everything in the old one and what is revoked now.

    Args:
        old: the newest verified list, None for the first.
        revoked: what is revoked now; what is in the old list stays as it stands there.
        key: who signs.
        now_ns: ns since 1970, UTC.

    Raises:
        SignatureError: a digest or a reason that cannot stand in a list, or a clock that was set back.
    """
    kept = {r.digest: r for r in (old.revoked if old else ())}
    for one in revoked:
        kept.setdefault(one.digest, one)
    if old is not None and now_ns < old.time_ns:
        raise SignatureError(
            f"revocations: the clock shows {now_ns} ns, the list before was signed at {old.time_ns} ns"
        )
    table = {
        "before": old.digest if old else "",
        "format": FORMAT,
        "number": old.number + 1 if old else 1,
        "revoked": [asdict(kept[digest]) for digest in sorted(kept)],
        "time_ns": now_ns,
    }
    envelope = sign(PAYLOAD_TYPE, table, key)
    _parse(envelope, "revocations")
    return envelope


def read(path: Path | str, trust: TrustStore) -> Revocations:
    """Read and verify a list.

    Raises:
        SignatureError: it is missing, not signed by anyone trusted, altered, or not a list in this format.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise SignatureError(f"{path}: could not read the list of revoked models: {error.strerror}") from error
    return verify(Envelope.from_bytes(data.removesuffix(b"\n"), place=str(path)), trust, place=str(path))


def verify(envelope: Envelope, trust: TrustStore, *, place: str) -> Revocations:
    """Return what a list says.

    Raises:
        SignatureError: it is not signed by anyone trusted, altered, or not a list in this format.
    """
    envelope.signers(trust.keys, payload_type=PAYLOAD_TYPE, place=place)
    return _parse(envelope, place)


def succeeding(old: Revocations, new: Revocations, *, place: str) -> Revocations:
    """Return ``new`` where it may take the place of ``old``.

    Raises:
        SignatureError: an older list is played back, or the new one forgets or changes what was revoked.
    """
    if new == old:
        return new
    if new.number <= old.number or new.time_ns < old.time_ns:
        raise SignatureError(
            f"{place}: list {new.number} of {new.time_ns} ns, but list {old.number} of {old.time_ns} ns is known: an older "
            f"one was played back"
        )
    if new.number == old.number + 1 and new.before != old.digest:
        raise SignatureError(f"{place}: list {new.number} follows {new.before}, expected {old.digest}")
    for one in old.revoked:
        if new.find(one.digest) != one:
            raise SignatureError(f"{place}: list {new.number} forgets or changes that {one.digest} was revoked")
    return new


def _parse(envelope: Envelope, place: str) -> Revocations:
    table = payload_of(envelope, place=place)
    if table.get("format") != FORMAT:
        raise SignatureError(f"{place}: format {table.get('format')!r}, expected {FORMAT!r}")
    try:
        names = {f.name for f in fields(Revocations)} - {"digest"} | {"format"}
        if table.keys() != names:
            raise ValueError(f"fields {', '.join(sorted(table))}, expected {', '.join(sorted(names))}")
        revoked = tuple(Revoked(**one) for one in table["revoked"])
        found = Revocations(
            number=table["number"],
            before=table["before"],
            time_ns=table["time_ns"],
            revoked=revoked,
            digest=envelope.digest,
        )
        numbers = (found.number, found.time_ns, *(one.time_ns for one in revoked))
        if any(type(n) is not int or n < 0 for n in numbers) or found.number < 1:
            raise ValueError(f"numbers {numbers!r}")
        if [one.digest for one in revoked] != sorted({one.digest for one in revoked}):
            raise ValueError("not sorted by digest, or one twice")
        for one in revoked:
            if not _DIGEST.fullmatch(one.digest) or not isinstance(one.reason, str) or not one.reason:
                raise ValueError(
                    f"revoked {one.digest!r} for {one.reason!r}, expected sha256:<64 hex digits> and a reason"
                )
    except (KeyError, ValueError, TypeError) as error:
        raise SignatureError(f"{place}: not a list of revoked models ({error})") from error
    return found
