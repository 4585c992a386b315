"""Reads MCAP files: ROS 2 messages in CDR, JSON and Protobuf, and the files that ``writers.mcap`` writes.

A file is one log; topics become channels as ``message_log`` says. Every check sum is compared. A file that its recorder did not finish is refused
unless ``partial=true`` asks for what is whole of it. A file that was written from an episode gives back that very
episode, with its facts, streams and metadata. Read next: ``mcap_container`` (records), ``message_log`` (channels, clocks, facts),
``episode_records`` (our own files).

Source: MCAP format specification and its registry of encodings, https://mcap.dev/spec.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genba.data.readers import episode_records
from genba.data.readers.cdr import CdrDecoder
from genba.data.readers.json_messages import JsonDecoder
from genba.data.readers.mcap_container import MAGIC, McapChannel, McapFile
from genba.data.readers.message_batches import Decoder
from genba.data.readers.message_log import OPTIONS, MessageLog, Topic, log_options
from genba.data.readers.message_pieces import Mapper, UnheldError
from genba.data.readers.options import provenance
from genba.data.readers.proto_messages import ProtoDecoder
from genba.data.readers.ros_definitions import parse_definition
from genba.errors import ReaderError
from genba.spec.embodiment import Embodiment
from genba.spec.episode import Episode


class McapReader:
    """MCAP files of any machine."""

    name = "mcap"
    description = "an MCAP file: ROS 2 (CDR), JSON or Protobuf messages, or an episode exported from a vault"
    options: Mapping[str, str] = {
        **OPTIONS,
        "partial": "true reads what is whole of a file that its recorder did not finish; refused by default",
    }

    def __init__(self) -> None:
        # Facts and episodes both need the first reading: it is kept for the log that was asked for last.
        self._last: tuple[object, MessageLog] | None = None

    def recognises(self, path: Path) -> bool:
        """Say whether ``path`` is an MCAP file, by its first bytes."""
        try:
            with Path(path).open("rb") as file:
                return file.read(len(MAGIC)) == MAGIC
        except OSError:
            return False

    def embodiment(self, path: Path, **options: Any) -> Embodiment:
        """Return the facts: those in the file, those the user names, or those derived from the log.

        Raises:
            FormatError: bytes that MCAP does not allow.
            ReaderError: nothing in it that a channel can hold, or an option that does not fit.
        """
        provenance(self, options)
        file = self._open(path, options)
        if episode_records.is_episode(file):
            return episode_records.facts_of(file)
        return self._log(file, options).embodiment

    def read(self, path: Path, **options: Any) -> Iterator[Episode]:
        """Yield the episodes of a file: one, unless ``split`` or ``length`` cut it.

        Raises:
            FormatError: bytes that MCAP does not allow, by offset.
            ReaderError: nothing in it that a channel can hold, or an option that does not fit.
        """
        given = provenance(self, options)
        file = self._open(path, options)
        if episode_records.is_episode(file):
            told = {name: str(options[name]) for name in given if options.get(name)}
            unfit = sorted(set(options) - set(given) - {"partial"})
            if any(options[name] for name in unfit):
                raise ReaderError(
                    f"{path}: it holds an episode with its facts; got {', '.join(unfit)}, expected no such option"
                )
            yield episode_records.read_episode(file, told)
            return
        yield from self._log(file, options).episodes(self.name, given)

    def _open(self, path: Path, options: Mapping[str, Any]) -> McapFile:
        partial = str(options.get("partial") or "false").lower()
        if partial not in ("true", "false"):
            raise ReaderError(f"{self.name}: partial: got {options['partial']!r}, expected true or false")
        return McapFile(Path(path), partial=partial == "true")

    def _log(self, file: McapFile, options: Mapping[str, Any]) -> MessageLog:
        status = file.path.stat()
        chosen = log_options(self.name, options)
        key = (file.path, status.st_size, status.st_mtime_ns, chosen)
        if self._last is None or self._last[0] != key:
            self._last = (key, MessageLog(McapSource(file), chosen))
        return self._last[1]


class McapSource:
    """An MCAP file as a log of messages."""

    def __init__(self, file: McapFile) -> None:
        self.path, self._file = file.path, file
        self._topics: dict[int, Topic] = {}

    @property
    def digest(self) -> str:
        """Of the whole file, in hex; known once its messages have been read with ``verify``."""
        return self._file.digest

    def messages(self, *, verify: bool) -> Iterator[tuple[Topic, int, bytes, int]]:
        """Yield topic, log time in ns, data, and offset of the message or its chunk."""
        topics = self._topics
        for message in self._file.messages(verify=verify):
            topic = topics.get(message.channel.id)
            if topic is None:
                topic = topics[message.channel.id] = topic_of(message.channel)
            yield topic, message.log_ns, message.data, message.offset


def topic_of(channel: McapChannel) -> Topic:
    """Return a channel as a topic; several channels of one topic and type are one."""
    schema = channel.schema
    encoding = f"{channel.encoding} described by {schema.encoding if schema else 'nothing'}"

    def make_decoder(mapper: Mapper) -> Decoder:
        match channel.encoding, schema.encoding if schema else "":
            case "json", _:
                return JsonDecoder(mapper.wants, mapper.binary)
            case "protobuf", "protobuf":
                assert schema is not None
                return ProtoDecoder(schema.name, schema.data, mapper.wants)
            case "cdr", "ros2msg" | "ros2idl":
                assert schema is not None
                try:
                    text = schema.data.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise UnheldError(f"its definition is not UTF-8: {error}") from error
                return CdrDecoder(parse_definition(schema.name, text, schema.encoding), mapper.wants)
        raise UnheldError(f"its encoding ({encoding}) is not known")

    return Topic(channel.topic, schema.name if schema else "", encoding, make_decoder)
