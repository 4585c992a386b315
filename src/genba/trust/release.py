"""A release: the signed record that a bundle was exported from the weights that a passport is about.

A passport names weights as training held them. A machine without the training software cannot compute that digest from
exported graphs; so whoever exports signs the digest of the bundle's manifest, which holds the digest of every file. It is an
in-toto Statement whose subject is the manifest, in a DSSE envelope. ``check`` is what ties bundle and passport together.

Source: in-toto Attestation Framework, Statement v1.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genba.errors import PassportError, SignatureError
from genba.trust.dsse import Envelope, payload_of, sign
from genba.trust.passport import PAYLOAD_TYPE, STATEMENT_TYPE
from genba.trust.signing import SigningKey, TrustStore

FILE = "release.json"
PREDICATE_TYPE = "urn:genba:release:1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """What a release says. A digest is written ``sha256:<64 hex digits>``."""

    manifest: str
    """Digest of the bundle's manifest."""
    passport: str
    """Digest of the passport's payload."""
    weights: str
    """Digest of the weights that were exported."""
    embodiment: str
    """Id of the machine that they were exported for."""
    made_ns: int
    """When, ns since 1970, UTC."""

    def signed(self, key: SigningKey) -> Envelope:
        """Return it signed."""
        predicate = asdict(self)
        digest = predicate.pop("manifest").removeprefix("sha256:")
        statement = {
            "_type": STATEMENT_TYPE,
            "predicate": predicate,
            "predicateType": PREDICATE_TYPE,
            "subject": [{"digest": {"sha256": digest}, "name": "manifest.json"}],
        }
        return sign(PAYLOAD_TYPE, statement, key)


def read(path: Path | str) -> Envelope:
    """Read a release's file, unverified.

    Raises:
        PassportError: it is missing, or no envelope.
    """
    try:
        return Envelope.from_bytes(Path(path).read_bytes().removesuffix(b"\n"), place=str(path))
    except FileNotFoundError:
        raise PassportError(
            f"{path}: no release; expected the exporter's signature over the bundle: export it again, with --trust"
        ) from None
    except OSError as error:
        raise PassportError(f"{path}: could not read the release: {error.strerror}") from error
    except SignatureError as error:
        raise PassportError(f"{error}; copy the bundle again, or export it again") from error


def check(
    envelope: Envelope, trust: TrustStore, *, manifest: str, passport: str, weights: str, place: str
) -> tuple[str, ...]:
    """Return who released a bundle, once its manifest, passport and weights are those that were released.

    Raises:
        PassportError: nobody trusted signed it, it was altered, or the bundle is another one.
    """
    try:
        signers = envelope.signers(trust.keys, payload_type=PAYLOAD_TYPE, place=place)
        table = payload_of(envelope, place=place)
    except SignatureError as error:
        raise PassportError(str(error)) from error
    found = _parse(table, place)
    for what, released, here in (
        ("manifest", found.manifest, manifest),
        ("passport", found.passport, passport),
        ("weights", found.weights, weights),
    ):
        if released != here:
            raise PassportError(
                f"{place}: released with {what} {released}, the bundle has {here}: it was changed since, or put together from "
                f"two; export it again"
            )
    return tuple(trust.name(signer) for signer in signers)


def _parse(table: dict[str, Any], place: str) -> Release:
    try:
        if (table["_type"], table["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
            raise ValueError(f"a statement about {table['predicateType']!r}, expected {PREDICATE_TYPE!r}")
        (subject,) = table["subject"]
        release = Release(manifest=f"sha256:{subject['digest']['sha256']}", **table["predicate"])
    except (KeyError, TypeError, ValueError) as error:
        raise PassportError(f"{place}: not a release as Genba writes it ({error}); export the bundle again") from error
    return release
