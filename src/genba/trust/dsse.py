"""Signed envelopes: what someone said, byte for byte, and who signed it.

The format is DSSE: signed is not the payload alone but its type with it, so that a statement of one kind never passes for
another. An envelope is stored as canonical JSON and read only in that one form: a byte that differs is found even where it
would change nothing. What payloads mean is known elsewhere: ``heads``, ``passport``, ``revocation``.

Source: DSSE protocol and envelope, version 1.0.2 (secure-systems-lab/dsse); RFC 8032 (Ed25519).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genba.errors import SignatureError
from genba.trust.digest import canonical_json, digest_bytes
from genba.trust.signing import PublicKey, SigningKey


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature and the id of the key that it claims to be by."""

    key_id: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload, its type, and signatures over both; nothing is verified until ``signers`` is asked."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    @property
    def digest(self) -> str:
        """The digest of what was said; who signs it besides does not change it."""
        return digest_bytes(self.payload)

    def signed_by(self, key: SigningKey) -> Envelope:
        """Return the envelope with this key's signature besides the others."""
        others = tuple(s for s in self.signatures if s.key_id != key.public.id)
        made = Signature(key.public.id, key.sign(pae(self.payload_type, self.payload)))
        return Envelope(self.payload_type, self.payload, (*others, made))

    def signers(self, trusted: Mapping[str, PublicKey], *, payload_type: str, place: str) -> tuple[str, ...]:
        """Return the ids of the trusted keys that signed this.

        Args:
            trusted: public keys by id. Signatures by other keys are passed over: nobody here can tell what they are worth.
            payload_type: what kind of statement is expected.
            place: what the envelope is, for errors.

        Raises:
            SignatureError: another kind of statement, a signature that a trusted key did not make, or none by any of them.
        """
        if self.payload_type != payload_type:
            raise SignatureError(f"{place}: a statement of type {self.payload_type!r}, expected {payload_type!r}")
        signed, found = pae(self.payload_type, self.payload), []
        for signature in self.signatures:
            key = trusted.get(signature.key_id)
            if key is None:
                continue
            if not key.verifies(signature.value, signed):
                raise SignatureError(
                    f"{place}: the signature by {signature.key_id} does not verify: it is forged, or what it signed was "
                    f"altered since"
                )
            found.append(signature.key_id)
        if not found:
            by = ", ".join(s.key_id for s in self.signatures) or "nobody"
            raise SignatureError(
                f"{place}: signed by {by}, expected one of {len(trusted)} trusted keys; put the signer's public key into "
                f"the trust store, if you do trust it"
            )
        return tuple(found)

    def to_bytes(self) -> bytes:
        """Return the envelope as it is stored."""
        signatures = [{"keyid": s.key_id, "sig": _text(s.value)} for s in self.signatures]
        table = {"payload": _text(self.payload), "payloadType": self.payload_type, "signatures": signatures}
        return canonical_json(table)

    @classmethod
    def from_bytes(cls, data: bytes, *, place: str) -> Envelope:
        """Read an envelope.

        Raises:
            SignatureError: it is not one, naming ``place``.
        """
        try:
            table = json.loads(data)
            signatures = tuple(Signature(s["keyid"], _bytes(s["sig"])) for s in table["signatures"])
            envelope = cls(table["payloadType"], _bytes(table["payload"]), signatures)
            whole = all(isinstance(text, str) for text in (envelope.payload_type, *(s.key_id for s in signatures)))
            if not whole or envelope.to_bytes() != data:
                raise ValueError("not in its canonical form")
            if len({s.key_id for s in signatures}) != len(signatures):
                raise ValueError("two signatures by one key")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SignatureError(f"{place}: not a DSSE envelope as Genba writes it ({error!r})") from error
        return envelope


def sign(payload_type: str, value: Any, *keys: SigningKey) -> Envelope:
    """Return plain ``value``, as canonical JSON, signed by ``keys``.

    Raises:
        ValueError: a NaN or an infinity.
        TypeError: something that is not plain.
    """
    envelope = Envelope(payload_type, canonical_json(value), ())
    for key in keys:
        envelope = envelope.signed_by(key)
    return envelope


def payload_of(envelope: Envelope, *, place: str) -> dict[str, Any]:
    """Return the table that the payload is; it is not verified here.

    Raises:
        SignatureError: it is not a table in canonical JSON.
    """
    try:
        table = json.loads(envelope.payload)
        if not isinstance(table, dict) or canonical_json(table) != envelope.payload:
            raise ValueError("not a table in its canonical form")
    except (ValueError, RecursionError) as error:
        raise SignatureError(f"{place}: what was signed is not canonical JSON ({error})") from error
    return table


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding: what is signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
