"""The blocks of an MDF 4 file: found by links, held to the file's size, their data joined and unpacked within bounds.

A block is a header (id, length, number of links), links to other blocks, and data. Everything that a block says about
sizes is checked before anything is read or made; a chain of links that comes back to itself is refused. It knows no
channel: read next ``mdf4``.

Source: ASAM MDF, version 4.1 (blocks HD, DG, CG, CN, CC, TX, MD, DT, DL, HL, DZ).
"""

from __future__ import annotations

import html
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from genba.errors import FormatError

#: Where the header block stands, behind the identification.
HEADER_AT = 64
#: Values may take this many times a file's size, beyond what is free, unpacked or as numbers.
MAX_UNPACKED_RATIO, MAX_VALUES_RATIO, FREE_BYTES = 200, 1000, 1 << 26

_HEAD = struct.Struct("<4s4xQQ")
_ZIPPED = struct.Struct("<2sBxIQQ")
#: Texts and conversions are short; a longer one is damage.
_MAX_TEXT_BYTES = 1 << 20
_TX = re.compile(r"<TX[^>]*>(.*?)</TX>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One block: where it is, what it links to, and its data."""

    at: int
    kind: str
    links: tuple[int, ...]
    data: bytes


class Blocks:
    """The blocks of one open file."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self._file = path, file
        self.size_bytes = path.stat().st_size
        self._unpacked, self._values = 0, 0

    def error(self, at: int, message: str) -> FormatError:
        """Return the error for a place."""
        return FormatError(self.path, message, offset=at)

    def read(self, at: int, *kinds: str, num_links: int = 0, num_bytes: int = 0) -> Block:
        """Read the block at ``at``, which is one of ``kinds`` and has at least so many links and bytes of data.

        Raises:
            FormatError: it is not, or it reaches beyond the file.
        """
        kind, length, links = self._head(at, kinds)
        if links < num_links or length - 24 - 8 * links < num_bytes:
            raise self.error(
                at,
                f"got a {kind} block of {length} bytes and {links} links, expected {num_links} links and {num_bytes} bytes",
            )
        body = self._file.read(length - 24)
        return Block(at, kind, struct.unpack_from(f"<{links}q", body), body[8 * links :])

    def kind(self, at: int) -> str:
        """Return what kind of block stands at ``at``."""
        return self._head(at, ())[0]

    def _head(self, at: int, kinds: tuple[str, ...]) -> tuple[str, int, int]:
        wanted = " or ".join(kinds) or "some"
        if not HEADER_AT <= at <= self.size_bytes - 24:
            raise self.error(
                min(max(at, 0), self.size_bytes), f"got a link to byte {at}, expected a {wanted} block in the file"
            )
        self._file.seek(at)
        head = self._file.read(24)
        if len(head) < 24:
            raise self.error(at, f"the file ends inside a block, expected a {wanted} block")
        mark, length, links = _HEAD.unpack(head)
        kind = mark[2:].decode("latin-1")
        if mark[:2] != b"##" or (kinds and kind not in kinds):
            raise self.error(at, f"got {mark!r}, expected a {wanted} block")
        if not 24 <= length <= self.size_bytes - at or links > (length - 24) // 8:
            raise self.error(
                at,
                f"got a {kind} block of {length} bytes with {links} links, expected at most the {self.size_bytes - at} "
                f"bytes that are left; the file was cut or damaged",
            )
        return kind, length, links

    def chain(self, at: int, kind: str, num_links: int, num_bytes: int) -> Iterator[Block]:
        """Yield the blocks of a chain, whose first link leads on; nothing where ``at`` is 0."""
        seen: set[int] = set()
        while at:
            if at in seen:
                raise self.error(at, f"got a chain of {kind} blocks that comes back to itself")
            seen.add(at)
            block = self.read(at, kind, num_links=num_links, num_bytes=num_bytes)
            yield block
            at = block.links[0]

    def text(self, at: int) -> str:
        """Return the text of a TX or MD block (of its TX element); empty where ``at`` is 0."""
        if not at:
            return ""
        kind, length, links = self._head(at, ("TX", "MD"))
        if length - 24 > _MAX_TEXT_BYTES:
            raise self.error(at, f"got a text of {length - 24} bytes, expected at most {_MAX_TEXT_BYTES}")
        text = self._file.read(length - 24)[8 * links :].partition(b"\0")[0].decode("utf-8", "replace")
        if kind == "MD":
            found = _TX.search(text)
            text = html.unescape(found[1]) if found else ""
        return text.strip()

    def allow_values(self, at: int, num_values: int) -> None:
        """Refuse more numbers, at eight bytes each, than a file of this size can mean.

        Raises:
            FormatError: before anything is made of them.
        """
        self._values += 8 * num_values
        if self._values > FREE_BYTES + MAX_VALUES_RATIO * self.size_bytes:
            raise self.error(
                at, f"got {num_values} values and more, expected at most {MAX_VALUES_RATIO} times the file's size"
            )

    def joined(self, at: int) -> bytes:
        """Return the records that a data link leads to: one block or a list of them, unpacked; none where it is 0."""
        return b"".join(self._parts(at)) if at else b""

    def _parts(self, at: int) -> Iterator[bytes]:
        kind = self._head(at, ())[0]
        if kind == "HL":
            at = self.read(at, "HL", num_links=1).links[0]
            if not at:
                return
        elif kind not in ("DL",):
            yield self._part(at)
            return
        for block in self.chain(at, "DL", 1, 0):
            for link in block.links[1:]:
                if link:
                    yield self._part(link)

    def _part(self, at: int) -> bytes:
        kind, length, links = self._head(at, ("DT", "DZ"))
        if kind == "DT":
            self._allow_bytes(at, length - 24 - 8 * links)
            return self._file.read(length - 24)[8 * links :]
        body = self._file.read(length - 24)[8 * links :]
        if len(body) < _ZIPPED.size:
            raise self.error(at, "got a DZ block without its header, expected 24 bytes and more")
        what, method, width, size_bytes, packed_bytes = _ZIPPED.unpack_from(body)
        if what != b"DT" or method > 1 or packed_bytes > len(body) - _ZIPPED.size:
            raise self.error(
                at,
                f"got a DZ block of {what!r}, method {method} and {packed_bytes} bytes, expected DT, 0 or 1, and its bytes",
            )
        self._allow_bytes(at, size_bytes)
        try:
            content = zlib.decompressobj().decompress(memoryview(body)[_ZIPPED.size :][:packed_bytes], size_bytes + 1)
        except zlib.error as error:
            raise self.error(at, f"a DZ block that zlib cannot unpack ({error})") from error
        if len(content) != size_bytes:
            raise self.error(at, f"got {len(content)} bytes from a DZ block, expected {size_bytes}")
        if method == 1 and width:
            # Column by column, whole rows only; what is left over stands behind them as it was.
            whole = size_bytes // width * width
            rows = np.frombuffer(content, np.uint8, whole).reshape(width, -1).T
            content = rows.tobytes() + content[whole:]
        return content

    def _allow_bytes(self, at: int, num_bytes: int) -> None:
        self._unpacked += num_bytes
        if self._unpacked > FREE_BYTES + MAX_UNPACKED_RATIO * self.size_bytes:
            raise self.error(at, f"unpacks to more than {MAX_UNPACKED_RATIO} times the file's size")
