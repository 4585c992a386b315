"""Reads Vector's BLF logs: binary objects, most of them in containers packed by zlib.

A file is a header (``LOGG``), then objects (``LOBJ``: size, type, content). Objects of type 10 are containers, whose contents
joined are a stream of further objects. Times are ticks of 1 ns or 10 µs since the measurement began, as the interface took
them; the start in the header has no time zone, so the streams keep the log's own clock and it goes into the episode's
source. Types other than CAN and CAN FD frames are left out and counted. Read next: ``can_log``.

Source: the layout as described by Technica-Engineering/vector_blf (documentation) and wireshark's wiretap/blf.h.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from genba.data.readers.can_log import MAX_FRAME_BYTES, CanReader, Frames
from genba.data.readers.dbc import EXTENDED_ID
from genba.errors import FormatError

#: A container may unpack to this much; Vector's tools write 128 KiB.
MAX_CONTAINER_BYTES = 1 << 26
#: What is packed may grow by this much in all, beyond one largest container: real logs grow fivefold.
MAX_RATIO = 200

_LOG_CONTAINER, _CAN, _CAN2, _CAN_FD, _CAN_FD_64 = 10, 1, 86, 100, 101
_FILE_HEADER = struct.Struct("<4sI")
#: year, month, day of the week, day, hour, minute, second, millisecond; it stands in the header at this byte
_SYSTEM_TIME, _START_AT = struct.Struct("<8H"), 40
#: signature, size of the header, its version, size of the object, type
_OBJECT = struct.Struct("<4sHHII")
#: method (0 or 2), nothing, unpacked size, nothing
_CONTAINER = struct.Struct("<H6xI4x")
_SIGNATURE = b"LOBJ"
#: Bytes in front of an object's content: the fields above, then flags, client, version and time.
_HEAD_BYTES = 32
#: Least content of each kind of frame, in bytes.
_LEAST = {_CAN: 16, _CAN2: 16, _CAN_FD: 20, _CAN_FD_64: 40}
_TICK_NS = {1: 10_000, 2: 1}


class BlfReader(CanReader):
    """Vector BLF logs of classic CAN and CAN FD."""

    name = "blf"
    description = "a Vector BLF binary log of raw CAN frames (CANalyzer, CANoe, loggers); needs --dbc"

    def recognises(self, path: Path) -> bool:
        """Say whether ``path`` begins as a BLF log does."""
        try:
            with Path(path).open("rb") as file:
                head = file.read(_FILE_HEADER.size)
        except OSError:
            return False
        return len(head) == _FILE_HEADER.size and head[:4] == b"LOGG" and _FILE_HEADER.unpack(head)[1] >= _START_AT

    def started(self, path: Path) -> str:
        """Return the start in the header; empty where it is not set."""
        with path.open("rb") as file:
            head = file.read(_START_AT + _SYSTEM_TIME.size)
        if len(head) < _START_AT + _SYSTEM_TIME.size:
            return ""
        year, month, _, day, hour, minute, second, ms = _SYSTEM_TIME.unpack_from(head, _START_AT)
        if not year:
            return ""
        return f"started {year:04d}-{month:02d}-{day:02d} {hour:02d}:{minute:02d}:{second:02d}.{ms:03d} (no time zone)"

    def frames(self, path: Path) -> Iterator[Frames]:
        """Yield the frames of a log, one container at a time."""
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_FILE_HEADER.size)
            if len(head) < _FILE_HEADER.size or head[:4] != b"LOGG":
                raise FormatError(path, f"got {head[:4]!r}, expected 'LOGG', the first bytes of a BLF log", offset=0)
            begin = _FILE_HEADER.unpack(head)[1]
            if not _START_AT <= begin <= size_bytes:
                raise FormatError(
                    path, f"got a header of {begin} bytes, expected {_START_AT} to the file's {size_bytes}", offset=4
                )
            rest = b""
            for offset, content, joins in _contents(path, file, begin, size_bytes):
                data = rest + content if joins else content
                starts, end = _objects(path, data, offset)
                yield _parse(path, data, starts, offset)
                if joins:
                    rest = data[end:]
            if rest.strip(b"\0"):
                raise FormatError(path, f"ends {len(rest)} bytes after the begin of an object; the log was cut")


def _contents(path: Path, file: BinaryIO, begin: int, size_bytes: int) -> Iterator[tuple[int, bytes, bool]]:
    """Yield the place in the file of each outer object, the objects in it, and whether they go on in the next one.

    A container holds objects, which go on in the next container; any other outer object is itself.
    """
    total, position = 0, begin
    while position < size_bytes:
        file.seek(position)
        head = file.read(_OBJECT.size)
        if head[:4] != _SIGNATURE or len(head) < _OBJECT.size:
            # Up to four bytes of padding stand behind an object; some loggers fill the end of the file with zeros.
            skip = head.find(_SIGNATURE)
            if 0 < skip <= 4:
                position += skip
                continue
            if not head.strip(b"\0") and _only_zeros(file):
                return
            raise FormatError(path, f"got {head[:4]!r}, expected an object ('LOBJ')", offset=position)
        _, head_bytes, _, object_bytes, kind = _OBJECT.unpack(head)
        if not _OBJECT.size <= object_bytes <= size_bytes - position:
            raise FormatError(
                path,
                f"got an object of {object_bytes} bytes, expected 16 to the {size_bytes - position} that are left of "
                f"the file; the log was cut or damaged",
                offset=position,
            )
        body = file.read(object_bytes - _OBJECT.size)
        if kind == _LOG_CONTAINER:
            if len(body) < _CONTAINER.size or head_bytes != _OBJECT.size:
                raise FormatError(
                    path, "got a container without its header, expected 16 bytes and more", offset=position
                )
            content = _unpack(path, body, position)
            total += len(content)
            if total > MAX_CONTAINER_BYTES + MAX_RATIO * size_bytes:
                raise FormatError(path, f"unpacks to more than {MAX_RATIO} times its size", offset=position)
            yield position, content, True
        else:
            yield position, head + body, False
        position += object_bytes


def _only_zeros(file: BinaryIO) -> bool:
    while block := file.read(1 << 16):
        if block.strip(b"\0"):
            return False
    return True


def _unpack(path: Path, body: bytes, offset: int) -> bytes:
    method, size_bytes = _CONTAINER.unpack_from(body)
    packed = memoryview(body)[_CONTAINER.size :]
    if method == 0:
        return bytes(packed)
    if method != 2 or size_bytes > MAX_CONTAINER_BYTES:
        raise FormatError(
            path,
            f"got a container of method {method} and {size_bytes} bytes, expected method 0 or 2 (zlib) and at most "
            f"{MAX_CONTAINER_BYTES} bytes",
            offset=offset,
        )
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, size_bytes + 1)
    except zlib.error as error:
        raise FormatError(path, f"a container that zlib cannot unpack ({error})", offset=offset) from error
    if len(content) != size_bytes:
        raise FormatError(
            path, f"got {len(content)} bytes or more from a container, expected {size_bytes}", offset=offset
        )
    return content


def _objects(path: Path, data: bytes, offset: int) -> tuple[np.ndarray, int]:
    """Return where the whole objects in ``data`` begin, int64, and where the last of them ends."""
    fast = _objects_at_once(data)
    if fast is not None:
        return fast
    starts, end = list[int](), 0
    while True:
        # Padding depends on the type: none, or up to four bytes.
        position = data.find(_SIGNATURE, end, end + 8)
        if position < 0 and len(data) - end >= 8:
            raise FormatError(
                path,
                f"got {data[end : end + 4]!r}, expected an object ('LOBJ') at byte {end} of what is packed here",
                offset=offset,
            )
        if position < 0 or len(data) - position < _OBJECT.size:
            return np.array(starts, np.int64), end
        _, head_bytes, _, object_bytes, _ = _OBJECT.unpack_from(data, position)
        if object_bytes < max(_OBJECT.size, head_bytes):
            raise FormatError(
                path,
                f"got an object of {object_bytes} bytes, expected at least {max(_OBJECT.size, head_bytes)}, at byte "
                f"{position} of what is packed here",
                offset=offset,
            )
        if position + object_bytes > len(data):
            return np.array(starts, np.int64), end
        starts.append(position)
        end = position + object_bytes


def _objects_at_once(data: bytes) -> tuple[np.ndarray, int] | None:
    """Find all objects by their signatures; None where these are not one unbroken chain (one may stand in the data)."""
    buffer = np.frombuffer(data, np.uint8)
    if len(buffer) < _HEAD_BYTES:
        return None
    found = np.flatnonzero(buffer[: -_OBJECT.size] == _SIGNATURE[0])
    for i in (1, 2, 3):
        found = found[buffer[found + i] == _SIGNATURE[i]]
    if not len(found) or found[0] > 4:
        return None
    sizes = _number(buffer, found + 8, np.uint32).astype(np.int64)
    ends = found + sizes
    gaps = found[1:] - ends[:-1]
    if int(sizes.min()) < _HEAD_BYTES or (len(gaps) and (int(gaps.min()) < 0 or int(gaps.max()) > 4)):
        return None
    if ends[-1] > len(data):
        # The last one goes on in the next container.
        return (found[:-1], int(ends[-2])) if len(found) > 1 else None
    return (found, int(ends[-1])) if len(data) - ends[-1] < _OBJECT.size else None


def _number(buffer: np.ndarray, at: np.ndarray, dtype: type) -> np.ndarray:
    """Read a little-endian number at each of ``at``."""
    kind = np.dtype(dtype).newbyteorder("<")
    return np.ascontiguousarray(buffer[at[:, None] + np.arange(kind.itemsize)]).view(kind)[:, 0]


def _parse(path: Path, data: bytes, starts: np.ndarray, offset: int) -> Frames:
    # Room behind the last object: a frame's 64 bytes are gathered before they are cut to its length.
    buffer = np.frombuffer(data + bytes(128), np.uint8)
    num_objects, kinds = len(starts), _number(buffer, starts + 12, np.uint32)
    rows = np.flatnonzero(np.isin(kinds, list(_LEAST)))
    starts, kinds = starts[rows], kinds[rows]
    head = _number(buffer, starts + 4, np.uint16).astype(np.int64)
    sizes = _number(buffer, starts + 8, np.uint32).astype(np.int64)
    least = np.select([kinds == kind for kind in _LEAST], list(_LEAST.values()))
    _refuse(path, starts, (head < _HEAD_BYTES) | (sizes < head + least), "a frame with all its fields", offset)
    ticks = _number(buffer, starts + 16, np.uint32)
    _refuse(path, starts, (ticks != 1) & (ticks != 2), "a time in ticks of 10 µs (1) or 1 ns (2)", offset)
    times = _number(buffer, starts + 24, np.uint64)
    tick_ns = np.where(ticks == 1, _TICK_NS[1], _TICK_NS[2]).astype(np.uint64)
    _refuse(path, starts, times > np.uint64(2**63 - 1) // tick_ns, "a time below 292 years", offset)
    body = starts + head
    fd, fd_64 = kinds == _CAN_FD, kinds == _CAN_FD_64
    channel = np.where(fd_64, buffer[body], _number(buffer, body, np.uint16))
    number = _number(buffer, body + 4, np.uint32)
    plain = np.minimum(buffer[body + 3], 8)
    lengths = np.where(fd, buffer[body + 14], np.where(fd_64, buffer[body + 2], plain)).astype(np.int64)
    at = np.where(fd, 20, np.where(fd_64, 40, 8))
    flags = _number(buffer, body + np.where(fd_64, 12, 2), np.uint32)
    remote = np.where(fd_64, flags & 0x10, flags & 0x80) != 0
    lengths[remote] = 0
    wrong = (lengths > MAX_FRAME_BYTES) | (head + at + lengths > sizes)
    _refuse(path, starts, wrong, "as many bytes of data as the frame says, at most 64", offset)
    width = 8 if int(lengths.max(initial=0)) <= 8 else MAX_FRAME_BYTES
    content = buffer[(body + at)[:, None] + np.arange(width)]
    content[np.arange(width) >= lengths[:, None]] = 0
    kept = ~remote
    names, index = np.unique(channel, return_inverse=True)
    # The upper three bits are flags; the first says that the id has 29 bits.
    extended = number >> 31 != 0
    address = (number & np.uint32(0x1FFFFFFF)) | np.where(extended, EXTENDED_ID, 0).astype(np.uint32)
    return Frames(
        (times * tick_ns).astype(np.int64)[kept],
        index.reshape(-1)[kept],
        address[kept],
        lengths[kept].astype(np.uint8),
        content[kept],
        tuple(str(name) for name in names.tolist()),
        num_objects - int(kept.sum()),
    )


def _refuse(path: Path, starts: np.ndarray, wrong: np.ndarray, expected: str, offset: int) -> None:
    if wrong.any():
        place = int(starts[wrong.argmax()])
        raise FormatError(
            path, f"the object at byte {place} of what is packed here: expected {expected}", offset=offset
        )
