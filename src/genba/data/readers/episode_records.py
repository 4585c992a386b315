"""An episode in an MCAP file: what stands in its metadata, how streams become messages, and the way back.

Two metadata records make a file an episode of ours: ``genba.embodiment`` (facts as TOML) and ``genba.episode`` (format, metadata
and the shape of every stream). Each stream is one channel, whose own metadata name it:

* numbers at one clock: a Protobuf message with one ``float`` field per dimension;
* ragged numbers (rows, relations, scores): a Protobuf message with repeated rows;
* camera frames: ``foxglove.CompressedImage``; points: ``foxglove.PointCloud``.

Message bytes of numbers have one form only, so they are written and read by array operations, and every bit of a float survives.
Read next: ``writers.mcap``, which writes such files.

Source: Protocol Buffers encoding, https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from genba.config import read_toml_text
from genba.data.layout import metadata_from_json
from genba.data.readers.images import Picture, PictureError, encoded_picture
from genba.data.readers.mcap_container import McapFile
from genba.data.readers.message_batches import MessageError
from genba.data.readers.message_tracks import room
from genba.data.readers.proto_messages import ProtoDecoder
from genba.data.readers.ros_definitions import DefinitionError
from genba.errors import ConfigError, FormatError, SpecError
from genba.spec.conformance import check_episode
from genba.spec.embodiment import CameraChannel, Embodiment, PointsChannel
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.streams import Stream

FORMAT = "genba-mcap@1"
EMBODIMENT_RECORD, EPISODE_RECORD = "genba.embodiment", "genba.episode"

#: Key of a channel's metadata that says which stream it is.
STREAM_KEY = "genba.stream"


@dataclass(frozen=True, slots=True, eq=False)
class FloatRows:
    """The one form of a row of floats in Protobuf: bytes that never change around the bytes of each float.

    Attributes:
        template: uint8 ``[bytes]``, with zeros where floats go.
        at: int64 ``[4 * floats]``, where the floats' bytes go.
    """

    template: np.ndarray
    at: np.ndarray

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Return uint8 ``[rows, bytes]`` of float32 ``[rows, floats]``."""
        out = np.tile(self.template, (len(values), 1))
        out[:, self.at] = np.ascontiguousarray(values, "<f4").view(np.uint8)
        return out

    def decode(self, data: bytes) -> np.ndarray:
        """Invert ``encode`` for rows one after another: float32 ``[rows, floats]``.

        Raises:
            ValueError: bytes of another form.
        """
        size = len(self.template)
        if len(data) % size:
            raise ValueError(f"got {len(data)} bytes, expected a multiple of {size}")
        rows = np.frombuffer(data, np.uint8).reshape(-1, size)
        around = np.ones(size, bool)
        around[self.at] = False
        if (rows[:, around] != self.template[around]).any():
            raise ValueError("got fields of another message")
        return np.ascontiguousarray(rows[:, self.at]).view("<f4").astype(np.float32, copy=False)


def named_fields(count: int, *, repeated: bool) -> FloatRows:
    """Return the form of ``count`` float fields numbered from 1; ``repeated`` as one row of field 1 of another message."""
    parts = [varint(number << 3 | 5) for number in range(1, count + 1)]
    return _form(b"", parts, repeated)


def packed_field(count: int, *, repeated: bool) -> FloatRows:
    """Return the form of ``count`` floats packed in field 1; ``repeated`` as one row of field 1 of another message."""
    return _form(b"\x0a" + varint(4 * count), [b""] * count, repeated)


def varint(value: int) -> bytes:
    """Return a number as Protobuf writes it: seven bits at a time, the least first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _form(head: bytes, tags: list[bytes], repeated: bool) -> FloatRows:
    template, at = bytearray(head), []
    for tag in tags:
        template += tag
        at += range(len(template), len(template) + 4)
        template += bytes(4)
    prefix = b"\x0a" + varint(len(template)) if repeated else b""
    return FloatRows(np.frombuffer(prefix + bytes(template), np.uint8), np.array(at, np.int64) + len(prefix))


def form_of(facts: Embodiment, name: str, shape: tuple[int, ...], *, is_ragged: bool) -> FloatRows | None:
    """Return the form of a stream's numbers; None for camera frames and points.

    Args:
        name: the stream's.
        shape: of one sample (dense) or row (ragged).
        is_ragged: whether it has rows.
    """
    channel = next((c for c in facts.channels if c.name == name), None)
    if isinstance(channel, CameraChannel | PointsChannel):
        return None
    if not is_ragged:
        return named_fields(shape[0], repeated=False)
    if not shape:
        # Scores of a ranking: a row is one number, and the message packs them all.
        return None
    if channel is not None:
        return named_fields(shape[0], repeated=True)
    return packed_field(shape[0], repeated=True)


def is_episode(file: McapFile) -> bool:
    """Say whether an MCAP file was written from an episode."""
    return any(name == EPISODE_RECORD for name, _ in file.metadata)


def facts_of(file: McapFile) -> Embodiment:
    """Return the facts in a file that ``is_episode``.

    Raises:
        FormatError: they are missing or not facts.
    """
    text = _record(file, EMBODIMENT_RECORD).get("facts", "")
    try:
        return read_toml_text(text, Embodiment, where=EMBODIMENT_RECORD)
    except ConfigError as error:
        raise FormatError(file.path, str(error)) from error


def read_episode(file: McapFile, told: Mapping[str, str]) -> Episode:
    """Return the episode of a file that ``is_episode``.

    Args:
        file: the file.
        told: owner, site, jurisdiction, agreement where the user says otherwise.

    Raises:
        FormatError: a stream that is not whole, or messages that are not its own.
    """
    facts, record = facts_of(file), _record(file, EPISODE_RECORD)
    if record.get("format") != FORMAT:
        raise FormatError(file.path, f"{EPISODE_RECORD}: got format {record.get('format')!r}, expected {FORMAT!r}")
    try:
        metadata = metadata_from_json(json.loads(record["metadata"]))
        described = {
            str(name): _Described(
                facts,
                str(name),
                tuple(int(n) for n in stream["shape"]),
                stream["ragged"] is True,
                int(stream["samples"]),
            )
            for name, stream in json.loads(record["streams"]).items()
        }
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
        raise FormatError(file.path, f"{EPISODE_RECORD}: not what was written there: {error!r}") from error
    for message in file.messages():
        name = dict(message.channel.metadata).get(STREAM_KEY, "")
        if name not in described:
            raise FormatError(
                file.path,
                f"{message.channel.topic}: got stream {name!r}, which the episode has not",
                offset=message.offset,
            )
        try:
            schema = message.channel.schema
            described[name].add(message.log_ns, message.data, schema.data if schema else b"")
        except (ValueError, MessageError, DefinitionError, PictureError) as error:
            raise FormatError(file.path, f"{name}: {error}", offset=message.offset) from error
    for name, stream in described.items():
        if stream.count != stream.samples and (file.is_finished or stream.count > stream.samples):
            raise FormatError(
                file.path, f"{name}: got {stream.count} samples, expected {stream.samples} as the episode says"
            )
    if not file.is_finished:
        metadata = dataclasses.replace(metadata, episode_id=f"{metadata.episode_id}/partial-{file.digest[:12]}")
    try:
        streams = {name: stream.stream() for name, stream in described.items()}
        episode = Episode(_told(metadata, told), streams)
        # A damaged place may be so far that its square overflows; it is refused by its range.
        with np.errstate(over="ignore"):
            check_episode(facts, episode)
    except (SpecError, ValueError, PictureError) as error:
        raise FormatError(file.path, str(error)) from error
    return episode


class _Described:
    """One stream as the episode's record describes it, filled from messages."""

    def __init__(self, facts: Embodiment, name: str, shape: tuple[int, ...], is_ragged: bool, samples: int) -> None:
        self.shape, self.is_ragged, self.samples = shape, is_ragged, samples
        self._channel = next((c for c in facts.channels if c.name == name), None)
        if any(not 0 <= size < 1 << 31 for size in shape) or len(shape) > 3 or (not is_ragged and not shape):
            raise ValueError(f"{name}: got shape {shape}")
        self._form = form_of(facts, name, shape, is_ragged=is_ragged)
        self._decoder: ProtoDecoder | None = None
        self._times: list[int] = []
        self._blobs: list[bytes] = []
        self._parts: list[np.ndarray] = []

    @property
    def count(self) -> int:
        return len(self._times)

    def add(self, time_ns: int, data: bytes, descriptors: bytes) -> None:
        self._times.append(time_ns)
        match self._channel:
            case CameraChannel():
                self._blobs.append(self._bytes("foxglove.CompressedImage", data, descriptors).tobytes())
            case PointsChannel():
                points = self._bytes("foxglove.PointCloud", data, descriptors)
                width = self.shape[0] if len(self.shape) == 1 else 0
                if width < 3 or len(points) % (4 * width):
                    raise ValueError(f"got {len(points)} bytes of points, expected a multiple of {4 * width}")
                sweep = np.ascontiguousarray(points).view("<f4").reshape(-1, width).astype(np.float32)
                if not np.isfinite(sweep[:, :3]).all():
                    raise ValueError("got a point whose place is not finite")
                self._parts.append(sweep)
            case _:
                self._parts.append(self._form.decode(data) if self._form else _scores(data))

    def stream(self) -> Stream:
        times_ns = np.array(self._times, np.int64)
        if isinstance(self._channel, CameraChannel):
            height, width = self._channel.height, self._channel.width
            frames = room((len(times_ns), height, width, 3), np.uint8)
            for frame, blob in zip(frames, self._blobs, strict=True):
                frame[:] = _picture(blob, height, width).decode()
            return Stream(times_ns, frames)
        empty = np.zeros((0, *self.shape), np.float32)
        values = np.concatenate(self._parts) if self._parts else empty
        if not self.is_ragged:
            return Stream(times_ns, values)
        splits = np.concatenate([[0], np.cumsum([len(part) for part in self._parts])]).astype(np.int64)
        return Stream(times_ns, values, splits)

    def _bytes(self, schema: str, data: bytes, descriptors: bytes) -> np.ndarray:
        if self._decoder is None:
            self._decoder = ProtoDecoder(schema, descriptors, lambda path: False)
        (batch,) = self._decoder.decode([data])
        found = batch.numbers.get("data", np.zeros((1, 0), np.uint8))
        if found.dtype != np.uint8 or found.ndim != 2:
            raise ValueError(f"got no bytes in data of {schema}")
        return found[0]


def _picture(blob: bytes, height: int, width: int) -> Picture:
    picture = encoded_picture(blob)
    if isinstance(picture, str):
        raise PictureError(f"got {picture}")
    if (picture.height, picture.width) != (height, width):
        raise PictureError(f"got an image of {picture.width} x {picture.height}, expected {width} x {height}")
    return picture


def encode_scores(values: np.ndarray) -> bytes:
    """Return float32 ``[rows]`` as floats packed in field 1."""
    return b"\x0a" + varint(4 * len(values)) + np.ascontiguousarray(values, "<f4").tobytes()


def _scores(data: bytes) -> np.ndarray:
    for length in range(1, 6):
        count, rest = divmod(len(data) - 1 - length, 4)
        if count >= 0 and not rest and data[: 1 + length] == b"\x0a" + varint(4 * count):
            return np.frombuffer(data, "<f4", offset=1 + length).astype(np.float32)
    raise ValueError("got fields of another message")


def _record(file: McapFile, name: str) -> dict[str, str]:
    found = [pairs for record, pairs in file.metadata if record == name]
    if len(found) != 1:
        raise FormatError(file.path, f"got {len(found)} metadata records {name}, expected one")
    return found[0]


def _told(metadata: EpisodeMetadata, told: Mapping[str, str]) -> EpisodeMetadata:
    given: dict[str, Any] = dict(told)
    return dataclasses.replace(metadata, **given)
