"""The list of what was withdrawn and must not come back, which tells nobody what that was.

It holds fingerprints of content (``genba.data.fingerprint`` says of what) and of the data set's name, each blinded with a key
that is the list's own (keyed BLAKE2b). That key is in the list, wrapped by a key of the provider of data keys: whoever
finds a list without that provider can neither tell what it names nor try what they have; whoever has both can ask about
one thing at a time. A list is written once, for one withdrawal, and authenticated, so that a changed one is refused.

When an episode counts as withdrawn is decided in ``genba.data.withdrawn``.

Source: RFC 7693 (BLAKE2, keyed).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Collection, Iterable
from typing import Any

from genba.errors import DataError
from genba.trust.digest import canonical_json, digest_bytes
from genba.trust.keys import KEY_BYTES, KeyProvider

FORMAT = "genba-denied@1"
#: bytes of a fingerprint, blinded or not: among 2^40 of them no two different things are likely to share one
FINGERPRINT_BYTES = 16
#: what wraps every list's key; no owner's data set has such a name, because ``key_id`` writes # otherwise
KEY = "#denied"


class DeniedList:
    """What one withdrawal denies."""

    def __init__(self, key: bytes, wrapped: bytes, blinded: Collection[bytes]) -> None:
        self._key, self._wrapped = key, wrapped
        self.blinded = frozenset(blinded)

    @classmethod
    def make(cls, keys: KeyProvider, owner: str, dataset: str, fingerprints: Iterable[bytes]) -> DeniedList:
        """Return a new list of a data set's name and of fingerprints, under a fresh key.

        Raises:
            KeyUnavailableError: the provider cannot wrap the list's key.
        """
        key = os.urandom(KEY_BYTES)
        keys.create(KEY)
        made = cls(key, keys.wrap(KEY, key), ())
        blinded = {made.blind(one) for one in fingerprints}
        return cls(key, made._wrapped, blinded | {made.blind(_name(owner, dataset))})

    @property
    def num_fingerprints(self) -> int:
        """How many pieces of content it denies, the name not counted."""
        return len(self.blinded) - 1

    def blind(self, fingerprint: bytes) -> bytes:
        """Return what stands for a fingerprint in this list."""
        return hashlib.blake2b(fingerprint, digest_size=FINGERPRINT_BYTES, key=self._key).digest()

    def denies(self, fingerprint: bytes) -> bool:
        """Say whether the list names a piece of content."""
        return self.blind(fingerprint) in self.blinded

    def denies_name(self, owner: str, dataset: str) -> bool:
        """Say whether this is the data set that was withdrawn."""
        return self.denies(_name(owner, dataset))

    def to_bytes(self) -> bytes:
        """Return the list as it is stored; the same list gives the same bytes."""
        table = {
            "blinded": base64.b64encode(b"".join(sorted(self.blinded))).decode(),
            "format": FORMAT,
            "key": base64.b64encode(self._wrapped).decode(),
        }
        return canonical_json(table | {"tag": self._tag(table)})

    @property
    def digest(self) -> str:
        """The digest of the list as it is stored."""
        return digest_bytes(self.to_bytes())

    @classmethod
    def from_bytes(cls, data: bytes, keys: KeyProvider, *, place: str) -> DeniedList:
        """Read a list.

        Raises:
            DataError: it is not one, or was changed since it was made.
            KeyUnavailableError: the provider does not have the key that wraps the list's.
        """
        try:
            table = json.loads(data)
            if table.keys() != {"blinded", "format", "key", "tag"} or table["format"] != FORMAT:
                raise ValueError(f"expected the format {FORMAT!r}")
            wrapped, whole = (base64.b64decode(table[name], validate=True) for name in ("key", "blinded"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(
                f"{place}: not a list of what was withdrawn ({error}); restore it from the withdrawal's folder, nothing is "
                f"stored until then"
            ) from error
        size = FINGERPRINT_BYTES
        found = cls(keys.unwrap(KEY, wrapped), wrapped, {whole[at : at + size] for at in range(0, len(whole), size)})
        tag = table.pop("tag")
        if not isinstance(tag, str) or not hmac.compare_digest(tag.encode(), found._tag(table).encode()):
            raise DataError(
                f"{place}: the list of what was withdrawn was changed since it was made; restore it from the withdrawal's "
                f"folder, nothing is stored until then"
            )
        return found

    def _tag(self, table: dict[str, Any]) -> str:
        return hashlib.blake2b(canonical_json(table), key=self._key, person=b"genba list").hexdigest()


def _name(owner: str, dataset: str) -> bytes:
    return hashlib.blake2b(
        canonical_json([owner, dataset]), digest_size=FINGERPRINT_BYTES, person=b"genba data set"
    ).digest()
