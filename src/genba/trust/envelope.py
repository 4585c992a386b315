"""Sealing blocks: AES-256-GCM under a data key, each block bound to the one place where it belongs.

A container (a shard) has one random data key, which its owner's key wraps (``keys``). A ``Seal`` is for one row of blocks
in it, e.g. one stream. Whatever says where a block belongs (owner, container, episode, stream, its shape, its number) is
authenticated with it, so a block that was changed, cut, moved to another place or brought from another container does
not open. The nonce is the row's number and the block's number: within one data key none is ever used twice, because a
container is written once and each row's blocks are sealed once, in order.

Nothing here knows what the bytes mean. Source: NIST SP 800-38D (GCM; section 8.2.1, deterministic construction).
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from genba.errors import SealError
from genba.trust.digest import canonical_json
from genba.trust.keys import KEY_BYTES

CIPHER = "aes-256-gcm"
#: what a sealed block is longer than what it holds
TAG_BYTES = 16

_NONCE = struct.Struct(">IQ")
_INDEX = struct.Struct(">Q")


def new_data_key() -> bytes:
    """Return a fresh random data key."""
    return os.urandom(KEY_BYTES)


class Envelope:
    """The data key of one container and what the container is."""

    def __init__(self, data_key: bytes, context: Mapping[str, Any]) -> None:
        self._aes, self._context = AESGCM(data_key), dict(context)
        self._sealed: set[int] = set()

    def seal(self, row: int, facts: Mapping[str, Any], *, place: str) -> Seal:
        """Return what opens row ``row``'s blocks.

        Args:
            row: its number, from 0 to 2^32 - 1; unique in the container.
            facts: plain values that are authenticated with every block, though not stored in it.
            place: what it is, for errors.
        """
        bound = hashlib.sha256(canonical_json({"container": self._context, "row": row, "facts": dict(facts)})).digest()
        return Seal(self._aes, row, bound, place)

    def sealer(self, row: int, facts: Mapping[str, Any], *, place: str) -> Seal:
        """Return what seals row ``row``'s blocks, once: a second one would use nonces again."""
        assert row not in self._sealed, f"row {row} is sealed already"
        self._sealed.add(row)
        return self.seal(row, facts, place=place)


class Seal:
    """Seals and opens the blocks of one row."""

    def __init__(self, aes: AESGCM, row: int, bound: bytes, place: str) -> None:
        self._aes, self._row, self._bound, self._place = aes, row, bound, place
        self._next = 0

    def seal(self, index: int, data: bytes | memoryview) -> bytes:
        """Seal block ``index``; each index once, in rising order."""
        assert index >= self._next, f"{self._place}: block {index} is sealed already"
        self._next = index + 1
        return self._aes.encrypt(_NONCE.pack(self._row, index), data, self._bound + _INDEX.pack(index))

    def open(self, index: int, data: bytes | memoryview) -> bytes:
        """Return what block ``index`` holds.

        Raises:
            SealError: it is not the block that was sealed for this place.
        """
        try:
            return self._aes.decrypt(_NONCE.pack(self._row, index), data, self._bound + _INDEX.pack(index))
        except InvalidTag:
            raise self._broken(index, len(data)) from None

    def open_into(self, index: int, data: memoryview, out: memoryview) -> None:
        """Write what block ``index`` holds into ``out``, which is ``TAG_BYTES`` shorter than ``data``.

        Raises:
            SealError: it is not the block that was sealed for this place.
        """
        try:
            self._aes.decrypt_into(_NONCE.pack(self._row, index), data, self._bound + _INDEX.pack(index), out)
        except InvalidTag:
            raise self._broken(index, len(data)) from None
        except ValueError as error:
            raise SealError(f"{self._place}: sealed block {index}: {error}") from error

    def _broken(self, index: int, size: int) -> SealError:
        return SealError(
            f"{self._place}: sealed block {index} ({size} bytes) does not verify: it was changed, cut or moved here from "
            f"another place"
        )
