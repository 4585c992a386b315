"""ROS 2 messages in CDR, decoded thousands at a time.

Where a number lies in a message is decided by the lengths of the strings and sequences before it. Messages of one topic nearly
always agree in those, so one message is walked along its definition, and every other of the same size whose lengths
(and wanted texts) stand the same at the same places is read with it by array operations. A message that agrees with
none is walked itself. Plain CDR of version 1 and 2, in both byte orders; ``rosbags`` is what tests compare with.

Source: OMG, DDS Interoperability Wire Protocol 2.5, section 10 (encapsulation); DDS-XTYPES 1.3, section 7.4 (alignment).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from genba.data.readers.message_batches import LEAF_LIMIT, Batch, MessageError, Wanted
from genba.data.readers.ros_definitions import FieldType, Number, Repeated, Struct, Text

#: Encapsulation -> byte order and greatest alignment.
_ENCAPSULATIONS = {
    b"\x00\x00": (">", 8),
    b"\x00\x01": ("<", 8),
    b"\x00\x06": (">", 4),
    b"\x00\x07": ("<", 4),
}

#: Bytes of the encapsulation before the data that alignment counts from.
_HEAD = 4

#: Layouts of one size that are tried before a message is walked again.
_LAYOUTS_KEPT = 64


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """Where everything lies in the messages that agree with one that was walked."""

    #: bytes of a message
    size: int
    #: positions and values of the bytes that decide the layout: head, lengths, wanted texts
    fixed_at: np.ndarray
    fixed: np.ndarray
    #: path, dtype with byte order, position, how many (None for a single number)
    leaves: list[tuple[str, str, int, int | None]]
    texts: dict[str, str]
    unheld: dict[str, str]


class CdrDecoder:
    """Decodes one topic's messages; keeps the layouts that it has met."""

    def __init__(self, message: Struct, wanted: Wanted) -> None:
        self._message, self._wanted = message, wanted
        self._layouts: dict[int, list[_Layout]] = {}

    def decode(self, blobs: Sequence[bytes]) -> Iterator[Batch]:
        """Yield batches that together hold every message once.

        Raises:
            MessageError: one that is not what the definition says.
        """
        by_size: dict[int, list[int]] = {}
        for row, blob in enumerate(blobs):
            by_size.setdefault(len(blob), []).append(row)
        for size, rows in by_size.items():
            if size < _HEAD:
                raise MessageError(rows[0], f"got {size} bytes, expected at least {_HEAD}")
            raw = np.frombuffer(b"".join([blobs[row] for row in rows]), np.uint8).reshape(len(rows), size)
            yield from self._decode_size(raw, np.array(rows, np.int64))

    def _decode_size(self, raw: np.ndarray, rows: np.ndarray) -> Iterator[Batch]:
        known = self._layouts.setdefault(raw.shape[1], [])
        for layout in list(known):
            agrees = (raw[:, layout.fixed_at] == layout.fixed).all(1)
            if agrees.all():
                yield _extract(layout, raw, rows)
                return
            if agrees.any():
                yield _extract(layout, raw[agrees], rows[agrees])
                raw, rows = raw[~agrees], rows[~agrees]
        while len(rows):
            layout = _Walk(raw[0].tobytes(), int(rows[0]), self._wanted).layout(self._message)
            agrees = (raw[:, layout.fixed_at] == layout.fixed).all(1)
            if len(known) < _LAYOUTS_KEPT:
                known.append(layout)
            yield _extract(layout, raw[agrees], rows[agrees])
            raw, rows = raw[~agrees], rows[~agrees]


def _extract(layout: _Layout, raw: np.ndarray, rows: np.ndarray) -> Batch:
    numbers = {}
    for path, dtype, at, count in layout.leaves:
        size = np.dtype(dtype).itemsize * (1 if count is None else count)
        values = np.ascontiguousarray(raw[:, at : at + size]).view(dtype)
        numbers[path] = values[:, 0] if count is None else values
    return Batch(rows, numbers, layout.texts, layout.unheld)


@dataclass(slots=True)
class _Walk:
    """One walk along a definition through one message."""

    data: bytes
    row: int
    wanted: Wanted
    order: str = "<"
    alignment: int = 8
    at: int = _HEAD
    fixed_at: list[tuple[int, int]] = field(default_factory=lambda: [(0, _HEAD)])
    leaves: list[tuple[str, str, int, int | None]] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    unheld: dict[str, str] = field(default_factory=dict)

    def layout(self, message: Struct) -> _Layout:
        head = self.data[:2]
        if head not in _ENCAPSULATIONS:
            raise MessageError(
                self.row, f"got encapsulation {head.hex()}, expected plain CDR (0000, 0001, 0006 or 0007)"
            )
        self.order, self.alignment = _ENCAPSULATIONS[head]
        self._struct(message, "")
        # DDS pads a message to whole words of four bytes.
        if len(self.data) - self.at > 3:
            raise MessageError(
                self.row, f"got {len(self.data)} bytes, expected {self.at} as its definition and lengths say"
            )
        at = np.concatenate([np.arange(start, start + size) for start, size in self.fixed_at])
        # The head's third and fourth byte are options that do not change the layout.
        at = at[(at < 2) | (at >= _HEAD)]
        fixed = np.frombuffer(self.data, np.uint8)[at]
        return _Layout(len(self.data), at, fixed, self.leaves, self.texts, self.unheld)

    def _struct(self, struct: Struct, path: str) -> None:
        if not struct.fields:
            # IDL allows no empty struct: ROS 2 writes one byte in its place.
            self._take(1, 1, path)
        for name, kind in struct.fields:
            self._value(kind, f"{path}.{name}" if path else name)

    def _value(self, kind: FieldType, path: str) -> None:
        match kind:
            case Number(dtype):
                size = int(dtype[1:])
                self._leaf(path, dtype, self._take(size, size, path), None)
            case Text():
                self._text(path)
            case Struct():
                self._struct(kind, path)
            case Repeated(item, length):
                self._repeated(item, length, path)

    def _repeated(self, item: Number | Text | Struct, length: int | None, path: str) -> None:
        if length is None:
            length = self._length(path)
        if isinstance(item, Number):
            size = int(item.dtype[1:])
            at = self._take(size * length, size, path) if length else self.at
            if length:
                self._leaf(path, item.dtype, at, length)
            return
        # The shortest text and the shortest struct are one byte.
        if length > len(self.data) - self.at:
            raise MessageError(self.row, f"{path}: got {length} items where {len(self.data) - self.at} bytes are left")
        for i in range(length):
            self._value(item, f"{path}[{i}]")

    def _text(self, path: str) -> None:
        length = self._length(path)
        at = self._take(length, 1, path)
        if not self.wanted(path):
            if len(self.unheld) < LEAF_LIMIT:
                self.unheld[path] = "text"
            return
        self.fixed_at.append((at, length))
        try:
            self.texts[path] = self.data[at : at + length].rstrip(b"\x00").decode("utf-8")
        except UnicodeDecodeError as error:
            raise MessageError(self.row, f"{path}: got text that is not UTF-8 ({error})") from error

    def _length(self, path: str) -> int:
        at = self._take(4, 4, path)
        self.fixed_at.append((at, 4))
        return int.from_bytes(self.data[at : at + 4], "little" if self.order == "<" else "big")

    def _leaf(self, path: str, dtype: str, at: int, count: int | None) -> None:
        if len(self.leaves) < LEAF_LIMIT:
            self.leaves.append((path, self.order + dtype, at, count))
        elif len(self.unheld) < LEAF_LIMIT:
            self.unheld[path] = f"beyond {LEAF_LIMIT} fields"

    def _take(self, size: int, alignment: int, path: str) -> int:
        alignment = min(alignment, self.alignment)
        at = self.at + (-(self.at - _HEAD)) % alignment
        if size > len(self.data) - at:
            raise MessageError(
                self.row, f"{path}: got {max(len(self.data) - at, 0)} bytes left in the message, expected {size}"
            )
        self.at = at + size
        return at
