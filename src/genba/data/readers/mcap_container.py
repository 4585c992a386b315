"""The container of MCAP: records, chunks and their check sums; what a message means is left to ``mcap`` and its kin.

An MCAP file is magic, records (one byte of kind, eight of length, payload), magic. Messages stand in the data section,
alone or in compressed chunks; a summary repeats schemas and channels. A recorder that was cut off leaves no summary and
no closing magic: such a file is refused, unless what is whole of it is asked for. Every length is compared with what
is left of the file before a byte is taken, and a chunk may not unpack to more than it says or than ``CHUNK_LIMIT``.

The ``mcap`` package is the reference that tests compare with, message for message. It is not used here because it trusts
lengths, checks fewer sums and cannot say where a file is at fault. Read next: ``message_log``.

Source: MCAP format specification, https://mcap.dev/spec.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from genba.errors import FormatError, ReaderError

MAGIC = b"\x89MCAP0\r\n"

#: The most bytes of one record, and of one chunk once unpacked. Recorders write chunks of 1 to 16 MB.
RECORD_LIMIT = CHUNK_LIMIT = 1 << 29

#: Bytes read at a time where a record need not be in memory as a whole, and unpacked at a time.
BLOCK_BYTES = 1 << 20

_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 1, 2, 3, 4, 5, 6
_ATTACHMENT, _METADATA, _DATA_END = 9, 12, 15
_FRAME = struct.Struct("<BQ")
_MESSAGE_HEAD = struct.Struct("<HIQQ")
_TIME_LIMIT_NS = 1 << 63


@dataclass(frozen=True, slots=True)
class Schema:
    """How the messages of a channel are described."""

    name: str
    #: ``"ros2msg"``, ``"jsonschema"``, ``"protobuf"``, ...
    encoding: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class McapChannel:
    """A topic as one publisher writes it."""

    id: int
    topic: str
    #: of its messages: ``"cdr"``, ``"json"``, ``"protobuf"``, ...
    encoding: str
    schema: Schema | None
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class McapMessage:
    """One message; ``offset`` is its own place in the file, or its chunk's."""

    channel: McapChannel
    log_ns: int
    data: bytes
    offset: int


class McapFile:
    """An MCAP file whose frame of records has been checked; its messages are read when asked for."""

    def __init__(self, path: Path, *, partial: bool = False) -> None:
        """Walk the records without unpacking them.

        Args:
            path: the file.
            partial: accept a file that was not finished and leave out what is not whole at its end.

        Raises:
            FormatError: not MCAP, a length beyond the file, a record that does not hold what it should, or a file that
                was not finished and ``partial`` is False.
            ReaderError: the file cannot be opened.
        """
        self.path = path
        #: channel id -> channel, as far as read; those of chunks are known once the messages have been read
        self.channels: dict[int, McapChannel] = {}
        #: name and pairs of every metadata record
        self.metadata: list[tuple[str, dict[str, str]]] = []
        #: whether a recorder finished it
        self.is_finished = False
        #: ``sha256`` of the bytes read by the last call of ``messages(verify=True)``, in hex
        self.digest = ""
        self._schemas: dict[int, Schema] = {}
        #: (kind, offset, length of payload) of every record of the data section that matters
        self._records: list[tuple[int, int, int]] = []
        self._data_crc = 0
        self._data_end = 0
        try:
            with path.open("rb") as file:
                self._walk(file, path.stat().st_size, partial)
        except OSError as error:
            raise ReaderError(f"{path}: cannot be read: {error}") from error

    def messages(self, *, verify: bool = True) -> Iterator[McapMessage]:
        """Yield every message in the order of the file.

        Args:
            verify: compare every check sum that the recorder wrote and digest the whole file; a second reading of the
                same file may do without.

        Raises:
            FormatError: a check sum that differs, a chunk that does not unpack, or a record that is not what it says.
        """
        try:
            with self.path.open("rb") as file:
                if verify:
                    self._check_sums(file)
                for kind, offset, length in self._records:
                    file.seek(offset + _FRAME.size)
                    payload = memoryview(file.read(length))
                    if len(payload) < length:
                        raise FormatError(self.path, "the file became shorter while it was read", offset=offset)
                    if kind == _CHUNK:
                        yield from self._chunk(payload, offset, verify)
                    elif kind == _MESSAGE:
                        yield self._message(payload, offset)
                    else:
                        self._describe(kind, payload, offset)
        except OSError as error:
            raise ReaderError(f"{self.path}: cannot be read: {error}") from error

    def _walk(self, file: BinaryIO, size: int, partial: bool) -> None:
        if file.read(len(MAGIC)) != MAGIC:
            raise FormatError(self.path, "got no MCAP magic, expected 89 'MCAP0' 0D 0A", offset=0)
        at, in_data = len(MAGIC), True
        while True:
            file.seek(at)
            frame = file.read(_FRAME.size)
            if len(frame) < _FRAME.size:
                return self._unfinished(at, "ends before its footer", partial)
            kind, length = _FRAME.unpack(frame)
            left = size - at - _FRAME.size
            if length > left:
                return self._unfinished(at, f"a record of {length} bytes where {left} are left", partial)
            if kind == 0:
                return self._unfinished(at, "got a record of kind 0, which MCAP does not know", partial)
            if length > RECORD_LIMIT and kind != _ATTACHMENT:
                raise FormatError(
                    self.path, f"got a record of {length} bytes, expected at most {RECORD_LIMIT}", offset=at
                )
            if kind == _FOOTER:
                if file.seek(at + _FRAME.size + length) and file.read(len(MAGIC) + 1) != MAGIC:
                    return self._unfinished(at, "no closing magic after the footer", partial)
                self._check_summary(file, at, length)
                self.is_finished = True
                return None
            if kind == _DATA_END:
                in_data, self._data_end = False, at
                self._data_crc = _Fields(self, memoryview(file.read(length)), at).number(4)
            elif kind in (_SCHEMA, _CHANNEL):
                if in_data:
                    self._records.append((kind, at, length))
                self._describe(kind, memoryview(file.read(length)), at)
            elif kind in (_MESSAGE, _CHUNK) and in_data:
                self._records.append((kind, at, length))
            elif kind == _METADATA:
                fields = _Fields(self, memoryview(file.read(length)), at)
                self.metadata.append((fields.text(), fields.pairs()))
            elif kind == _ATTACHMENT:
                self._check_attachment(file, at, length)
            at += _FRAME.size + length
            if in_data:
                self._data_end = at

    def _unfinished(self, at: int, what: str, partial: bool) -> None:
        if not partial:
            raise FormatError(
                self.path,
                f"{what}; the file is cut or its recorder did not finish it. What is whole is read with partial=true",
                offset=at,
            )

    def _check_sums(self, file: BinaryIO) -> None:
        """Digest the file and compare the data section's check sum, if the recorder wrote one."""
        file.seek(0)
        digest, crc, left = hashlib.sha256(), 0, self._data_end
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            if self._data_crc and left > 0:
                crc = zlib.crc32(block[:left], crc)
                left -= len(block)
        if self._data_crc and crc != self._data_crc:
            raise FormatError(
                self.path, f"data section: got check sum {crc:08x}, expected {self._data_crc:08x}", offset=len(MAGIC)
            )
        self.digest = digest.hexdigest()

    def _check_summary(self, file: BinaryIO, at: int, length: int) -> None:
        file.seek(at + _FRAME.size)
        fields = _Fields(self, memoryview(file.read(length)), at)
        start, _, expected = fields.number(8), fields.number(8), fields.number(4)
        if start > at:
            raise FormatError(self.path, f"summary: got a start at byte {start}, expected one before", offset=at)
        if not expected:
            return
        # The sum reaches over the footer up to itself.
        file.seek(start or at)
        crc, left = 0, at + _FRAME.size + 16 - (start or at)
        while left > 0 and (block := file.read(min(BLOCK_BYTES, left))):
            crc, left = zlib.crc32(block, crc), left - len(block)
        if crc != expected:
            raise FormatError(
                self.path, f"summary: got check sum {crc:08x}, expected {expected:08x}", offset=start or at
            )

    def _check_attachment(self, file: BinaryIO, at: int, length: int) -> None:
        if length < 4:
            raise FormatError(self.path, f"got an attachment of {length} bytes, expected at least 4", offset=at)
        crc, left = 0, length - 4
        while left > 0 and (block := file.read(min(BLOCK_BYTES, left))):
            crc, left = zlib.crc32(block, crc), left - len(block)
        expected = int.from_bytes(file.read(4), "little")
        if expected and crc != expected:
            raise FormatError(self.path, f"attachment: got check sum {crc:08x}, expected {expected:08x}", offset=at)

    def _chunk(self, payload: memoryview, at: int, verify: bool) -> Iterator[McapMessage]:
        fields = _Fields(self, payload, at)
        fields.take(16)
        size, crc, compression = fields.number(8), fields.number(4), fields.text()
        packed = fields.take(fields.number(8))
        if size > CHUNK_LIMIT:
            raise FormatError(
                self.path, f"chunk: got {size} bytes to unpack to, expected at most {CHUNK_LIMIT}", offset=at
            )
        data = memoryview(self._unpack(packed, compression, size, at))
        if len(data) != size:
            raise FormatError(
                self.path, f"chunk: got {len(data)} bytes when unpacked, expected {size} as it says", offset=at
            )
        if verify and crc and (got := zlib.crc32(data)) != crc:
            raise FormatError(self.path, f"chunk: got check sum {got:08x}, expected {crc:08x}", offset=at)
        here, frame_size, head_size = 0, _FRAME.size, _MESSAGE_HEAD.size
        while here < size:
            if size - here < frame_size:
                raise FormatError(self.path, f"chunk: got {size - here} bytes after its last record", offset=at)
            kind, length = _FRAME.unpack_from(data, here)
            here += frame_size
            if length > size - here:
                raise FormatError(
                    self.path, f"chunk: a record of {length} bytes where {size - here} are left", offset=at
                )
            if kind == _MESSAGE and length >= head_size:
                # Written out, not _message: this line sees every message of every log.
                channel_id, _, log_ns, _ = _MESSAGE_HEAD.unpack_from(data, here)
                channel = self.channels.get(channel_id)
                if channel is None or log_ns >= _TIME_LIMIT_NS:
                    self._message(data[here : here + length], at)
                else:
                    yield McapMessage(channel, log_ns, bytes(data[here + head_size : here + length]), at)
            elif kind == _MESSAGE:
                self._message(data[here : here + length], at)
            elif kind in (_SCHEMA, _CHANNEL):
                self._describe(kind, data[here : here + length], at)
            here += length

    def _unpack(self, packed: memoryview, compression: str, size: int, at: int) -> bytes | memoryview:
        if compression == "":
            return packed
        if compression not in ("lz4", "zstd"):
            raise FormatError(
                self.path, f"chunk: got compression {compression!r}, expected 'lz4', 'zstd' or none", offset=at
            )
        try:
            return unpack(packed, compression, size)
        except (ValueError, RuntimeError, EOFError) as error:
            raise FormatError(self.path, f"chunk: does not unpack as {compression}: {error}", offset=at) from error

    def _message(self, payload: memoryview, at: int) -> McapMessage:
        if len(payload) < _MESSAGE_HEAD.size:
            raise FormatError(
                self.path, f"got a message of {len(payload)} bytes, expected {_MESSAGE_HEAD.size} or more", offset=at
            )
        channel_id, _, log_ns, _ = _MESSAGE_HEAD.unpack_from(payload)
        channel = self.channels.get(channel_id)
        if channel is None:
            raise FormatError(self.path, f"got a message of channel {channel_id}, which was not described", offset=at)
        if log_ns >= _TIME_LIMIT_NS:
            raise FormatError(
                self.path, f"{channel.topic}: got a log time of {log_ns} ns, expected less than 2^63", offset=at
            )
        return McapMessage(channel, log_ns, bytes(payload[_MESSAGE_HEAD.size :]), at)

    def _describe(self, kind: int, payload: memoryview, at: int) -> None:
        """Take note of a schema or a channel."""
        fields = _Fields(self, payload, at)
        if kind == _SCHEMA:
            schema_id, name, encoding = fields.number(2), fields.text(), fields.text()
            schema = Schema(name, encoding, bytes(fields.take(fields.number(4))))
            if self._schemas.setdefault(schema_id, schema) != schema:
                raise FormatError(self.path, f"schema {schema_id}: got two that differ, expected one", offset=at)
            return
        channel_id, schema_id, topic, encoding = fields.number(2), fields.number(2), fields.text(), fields.text()
        if schema_id and schema_id not in self._schemas:
            raise FormatError(self.path, f"{topic}: got schema {schema_id}, which was not described", offset=at)
        pairs = tuple(fields.pairs().items())
        channel = McapChannel(channel_id, topic, encoding, self._schemas.get(schema_id), pairs)
        if self.channels.setdefault(channel_id, channel) != channel:
            raise FormatError(self.path, f"channel {channel_id}: got two that differ, expected one", offset=at)


def unpack(packed: bytes | memoryview, compression: str, limit: int) -> bytes:
    """Unpack ``"lz4"`` or ``"zstd"`` frames, at most one byte more than ``limit``.

    Raises:
        ReaderError: the library for it is not installed.
        ValueError, RuntimeError, EOFError: bytes that do not unpack.
    """
    out, size = [], 0
    if compression == "lz4":
        stream = _lz4().LZ4FrameDecompressor()
        data: bytes | memoryview = packed
        while size <= limit and not stream.eof:
            part = stream.decompress(data, max_length=min(BLOCK_BYTES, limit + 1 - size))
            if not part and stream.needs_input:
                raise EOFError("the frame is cut")
            out.append(part)
            size, data = size + len(part), b""
        return b"".join(out)
    zstd = zstd_library()
    try:
        # Read piece by piece: the frame's own word about its size is not trusted.
        with zstd.ZstdDecompressor().stream_reader(packed) as reader:
            while size <= limit and (part := reader.read(min(BLOCK_BYTES, limit + 1 - size))):
                out.append(part)
                size += len(part)
    except zstd.ZstdError as error:
        raise ValueError(str(error)) from error
    return b"".join(out)


class _Fields:
    """Takes the fields of one record in turn; a record that is too short is refused."""

    def __init__(self, file: McapFile, payload: memoryview, at: int) -> None:
        self.path, self.payload, self.at, self.here = file.path, payload, at, 0

    def take(self, size: int) -> memoryview:
        left = len(self.payload) - self.here
        if size > left:
            raise FormatError(
                self.path,
                f"record: got {left} bytes where {size} are announced at its byte {self.here}",
                offset=self.at,
            )
        self.here += size
        return self.payload[self.here - size : self.here]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def text(self) -> str:
        try:
            return str(self.take(self.number(4)), "utf-8")
        except UnicodeDecodeError as error:
            raise FormatError(self.path, f"record: got text that is not UTF-8 ({error})", offset=self.at) from error

    def pairs(self) -> dict[str, str]:
        inner = self.take(self.number(4))
        fields, out = _Fields.__new__(_Fields), {}
        fields.path, fields.payload, fields.at, fields.here = self.path, inner, self.at, 0
        while fields.here < len(inner):
            key = fields.text()
            out[key] = fields.text()
        return out


def _lz4():  # type: ignore[no-untyped-def]
    # Imported here: it comes with an extra, and machines that read no such logs do without it.
    try:
        import lz4.frame
    except ModuleNotFoundError as error:
        raise ReaderError("logs packed with lz4 need lz4; install it with: pip install 'genba[readers]'") from error
    return lz4.frame


def zstd_library():  # type: ignore[no-untyped-def]
    # Imported here: it comes with an extra, and machines that read no such logs do without it.
    try:
        import zstandard
    except ModuleNotFoundError as error:
        raise ReaderError(
            "logs packed with zstd need zstandard; install it with: pip install 'genba[readers]'"
        ) from error
    return zstandard
