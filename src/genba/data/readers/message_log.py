"""Logs of messages (MCAP, ROS 2 bags): topics become channels, stretches of time become episodes.

**Clock.** A channel's times are the capture times in its messages (``header.stamp``, ``timestamp``) if all of them are set and within a
minute of the log's times, else the log's; the log says where. Samples out of order are sorted and counted; a
clock that jumps back by more than a second is refused.

**Facts.** Derived from the whole log where the user names none: a channel per topic (``/arm/joint_states`` is ``arm_joint_states``), its
rate from the median gap, limits that hold every value with a tenth to spare on round numbers (1, 2 or 5 times a power
of ten). The id is made of the facts, so two machines never share one; two logs of one machine share it where their
ranges agree, and else the user says the facts. Units are those of the messages' types, ``1`` where a log states none.

**Nothing in silence.** What cannot be held is named with its reason in a warning and in the episode's source. Numbers that
float32 would blur (a place on the earth, a clock) are stored from an origin, which stands in the calibration.

**Two readings.** The first learns times, sizes and ranges, the second decodes: no more than the episodes that are open at a time is in memory.
Read next: ``ros_messages`` (what messages mean), ``message_tracks`` (one channel), ``mcap`` and ``ros2`` (the formats).
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from genba.config import to_toml
from genba.data.readers.images import PictureError
from genba.data.readers.message_batches import Decoder, MessageError, snake
from genba.data.readers.message_pieces import Mapper, Numbers, Pictures, Piece, Sweeps, UnheldError
from genba.data.readers.message_tracks import Collector, Track
from genba.data.readers.plain_names import log_id, numbered
from genba.data.readers.ros_definitions import DefinitionError
from genba.data.readers.ros_messages import TransformMapper, mapper_for
from genba.errors import ConfigError, FormatError, ReaderError, nearest
from genba.spec.embodiment import (
    ActionSpace,
    CameraChannel,
    Control,
    Embodiment,
    PointsChannel,
    TelemetryChannel,
    load_embodiment,
)
from genba.spec.episode import ACTION, LABEL, Episode, EpisodeMetadata
from genba.spec.streams import Stream
from genba.spec.units import SECOND_NS, to_ns
from genba.trust.digest import digest_bytes

#: Messages and bytes of one topic that are decoded at once.
FLUSH_MESSAGES, FLUSH_BYTES = 4096, 8 << 20

#: Messages and bytes of all topics after which every topic is decoded: a slow one must not keep old episodes open.
FLUSH_ALL_MESSAGES, FLUSH_ALL_BYTES = 1 << 16, 64 << 20

#: The longest episode; a log that spans more has a broken clock or wants to be cut.
EPISODE_LIMIT_S = 31 * 86400

#: The most seconds that an option may name: thirty years.
SECONDS_LIMIT = 1e9

#: The control period of a machine whose actions are not known, in seconds.
PERIOD_S = 0.1

OPTIONS: Mapping[str, str] = {
    "topics": "only these topics, separated by commas",
    "action": "the topic whose messages are the machine's actions; without it the log has none",
    "embodiment": "facts to hold the log to: a registered id or a TOML file; derived from the log by default",
    "clock": "auto (capture time where it is sane, else log time), capture or log",
    "split": "cut into episodes where nothing was recorded for longer than this many seconds",
    "length": "cut into episodes of at most this many seconds",
}

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Topic:
    """One kind of message under one name."""

    name: str
    schema: str
    #: how its messages and their description are encoded, for people
    encoding: str
    #: makes what decodes its messages; raises ``DefinitionError`` where its description cannot be used, ``UnheldError``
    #: where its encoding cannot
    make_decoder: Callable[[Mapper], Decoder] = field(compare=False, repr=False)


class LogSource(Protocol):
    """A log of messages in some container."""

    path: Path

    @property
    def digest(self) -> str:
        """Return the digest of the whole log, in hex; known once its messages have been read with ``verify``."""
        ...

    def messages(self, *, verify: bool) -> Iterator[tuple[Topic, int, bytes, int]]:
        """Yield topic, log time in ns, data, and offset in the file, in the order of the log.

        Raises:
            FormatError: naming file and offset.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class LogOptions:
    """What the user chose."""

    topics: tuple[str, ...] = ()
    action: str = ""
    embodiment: str = ""
    clock: str = "auto"
    #: seconds; 0 for never
    split_s: float = 0.0
    length_s: float = 0.0


def log_options(reader: str, options: Mapping[str, Any]) -> LogOptions:
    """Read options as given in code or on a command line.

    Raises:
        ReaderError: naming the option, what was got and what was expected.
    """
    topics = options.get("topics") or ()
    if isinstance(topics, str):
        topics = tuple(topic.strip() for topic in topics.split(",") if topic.strip())
    clock = str(options.get("clock") or "auto")
    if clock not in ("auto", "capture", "log"):
        raise ReaderError(f"{reader}: clock: got {clock!r}, expected auto, capture or log")
    seconds = {}
    for name in ("split", "length"):
        try:
            seconds[name] = float(options.get(name) or 0.0)
        except (TypeError, ValueError):
            raise ReaderError(f"{reader}: {name}: got {options[name]!r}, expected seconds") from None
        if not 0 <= seconds[name] <= SECONDS_LIMIT:
            raise ReaderError(f"{reader}: {name}: got {options[name]!r}, expected 0 to {SECONDS_LIMIT:g} seconds")
    return LogOptions(
        topics=tuple(topics),
        action=str(options.get("action") or ""),
        embodiment=str(options.get("embodiment") or ""),
        clock=clock,
        split_s=seconds["split"],
        length_s=seconds["length"],
    )


class MessageLog:
    """A log of messages that has been read once: its facts are known, its episodes are read when asked for."""

    def __init__(self, source: LogSource, options: LogOptions) -> None:
        """Read the log once, with every check sum.

        Raises:
            FormatError: bytes that the format does not allow.
            ReaderError: nothing in it that a channel can hold, or an option that does not fit.
        """
        self._source, self._options = source, options
        #: topic -> path in its messages, or "" for the whole topic -> why it is not held
        self.unheld: dict[str, dict[str, str]] = {}
        self._tracks: dict[tuple[Topic, str], Track] = {}
        self._refused: set[Topic] = set()
        self._seen: set[str] = set()
        self._survey()
        self.digest = source.digest
        self._settle()
        self.embodiment = self._facts()
        self._columns_of = {key: self._order(track) for key, track in self._streamed()}
        self._starts_ns = self._cut()

    def episodes(self, name: str, provenance: Mapping[str, Any]) -> Iterator[Episode]:
        """Yield the episodes, each as soon as its last message has been read.

        Args:
            name: of the reader.
            provenance: owner, site, jurisdiction and agreement.

        Raises:
            FormatError: an image that does not decode.
        """
        self._warn()
        streamed, num = dict(self._streamed()), len(self._starts_ns)
        counts = {key: np.bincount(self._episode_of(t.times_ns), minlength=num) for key, t in streamed.items()}
        left = sum(counts.values(), np.zeros(num, np.int64))
        open_: dict[int, dict[str, Collector]] = {}
        for topic, piece, arrivals, log_ns in self._pieces(verify=False):
            key = (topic, piece.track)
            track = streamed.get(key)
            if track is None:
                continue
            times_ns = piece.stamp_ns if track.is_stamped and piece.stamp_ns is not None else log_ns
            episode_of = self._episode_of(times_ns)
            for index in np.unique(episode_of):
                chosen = np.flatnonzero(episode_of == index)
                collectors = open_.setdefault(int(index), {})
                stream_name = ACTION if self._is_action(track) else track.name
                if stream_name not in collectors:
                    collectors[stream_name] = Collector(track, int(counts[key][index]), self._columns_of[key])
                try:
                    collectors[stream_name].add(piece.content, chosen, arrivals[chosen], times_ns[chosen])
                except PictureError as error:
                    raise FormatError(self._source.path, f"{track.label}: {error}") from error
                left[index] -= len(chosen)
                if not left[index]:
                    streams = {n: c.stream() for n, c in sorted(open_.pop(int(index)).items())}
                    yield self._episode(name, int(index), streams, provenance)

    def _episode(self, name: str, index: int, streams: Mapping[str, Stream], provenance: Mapping[str, Any]) -> Episode:
        calibration: dict[str, tuple[float, ...]] = {}
        for track in self._tracks.values():
            calibration |= track.calibration()
        cut = f"/{index:06d}-{self._starts_ns[index]}" if self._options.split_s or self._options.length_s else ""
        choice = dataclasses.replace(self._options, split_s=0.0, length_s=0.0, embodiment="")
        # The same log read with other topics or another clock is another episode.
        chosen = "" if choice == LogOptions() else "-" + digest_bytes(repr(choice).encode())[7:13]
        not_held = "; not held: " + ", ".join(self._not_held()) if self.unheld else ""
        metadata = EpisodeMetadata(
            episode_id=f"{self.embodiment.id}/{name}/{self.digest[:12]}{chosen}{cut}",
            embodiment_id=self.embodiment.id,
            **provenance,
            calibration=calibration,
            source=f"{name} {self._source.path.name}{not_held}",
        )
        return Episode(metadata, streams)

    def _not_held(self) -> list[str]:
        return [
            f"{topic}.{path} ({why})" if path else f"{topic} ({why})"
            for topic, paths in sorted(self.unheld.items())
            for path, why in sorted(paths.items())
        ]

    def _warn(self) -> None:
        if self.unheld:
            _LOG.warning("%s: not held as it is in the log: %s", self._source.path, "; ".join(self._not_held()))

    def _is_action(self, track: Track) -> bool:
        return bool(self._options.action) and track.topic == self._options.action

    def _episode_of(self, times_ns: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._starts_ns, times_ns, side="right") - 1

    def _pieces(self, *, verify: bool) -> Iterator[tuple[Topic, Piece, np.ndarray, np.ndarray]]:
        """Yield every piece of the log; of each of its samples, which message of the topic it is, and its log time."""
        feeds: dict[Topic, _Feed] = {}
        num_messages = num_bytes = 0
        for topic, log_ns, data, offset in self._source.messages(verify=verify):
            self._seen.add(topic.name)
            if topic in self._refused or not self._is_wanted(topic):
                continue
            feed = feeds.get(topic)
            if feed is None:
                try:
                    feed = feeds[topic] = _Feed(topic)
                except (UnheldError, DefinitionError) as error:
                    self._refuse(topic, str(error))
                    continue
            if feed.add(log_ns, data, offset):
                yield from self._flush(feed)
            num_messages, num_bytes = num_messages + 1, num_bytes + len(data)
            if num_messages >= FLUSH_ALL_MESSAGES or num_bytes >= FLUSH_ALL_BYTES:
                num_messages = num_bytes = 0
                for waiting in feeds.values():
                    yield from self._flush(waiting)
        for waiting in feeds.values():
            yield from self._flush(waiting)

    def _flush(self, feed: _Feed) -> Iterator[tuple[Topic, Piece, np.ndarray, np.ndarray]]:
        if feed.topic in self._refused:
            feed.take()
            return
        log_ns, offsets, first = np.array(feed.log_ns, np.int64), feed.offsets, feed.num_taken
        blobs = feed.take()
        place = f"{feed.topic.name} ({feed.topic.schema})"
        try:
            for batch in feed.decoder.decode(blobs):
                # Foreign numbers may be anything; what cannot be held is found by its range.
                with np.errstate(all="ignore"):
                    left_out, pieces = feed.mapper.unheld(batch), list(feed.mapper.pieces(batch))
                if left_out:
                    # Items of one list are one thing to a reader.
                    known = self.unheld.setdefault(feed.topic.name, {})
                    known.update({re.sub(r"\[\d+\]", "[]", path): why for path, why in left_out.items()})
                for piece in pieces:
                    yield feed.topic, piece, first + piece.rows, log_ns[piece.rows]
        except UnheldError as error:
            self._refuse(feed.topic, str(error))
        except MessageError as error:
            raise FormatError(self._source.path, f"{place}: {error}", offset=offsets[error.row]) from error
        except PictureError as error:
            raise FormatError(self._source.path, f"{place}: {error}", offset=offsets[0]) from error
        except (ValueError, OverflowError) as error:
            message = f"{place}: got messages that do not fit their schema: {error}"
            raise FormatError(self._source.path, message, offset=offsets[0]) from error

    def _is_wanted(self, topic: Topic) -> bool:
        return not self._options.topics or topic.name in (*self._options.topics, self._options.action)

    def _refuse(self, topic: Topic, why: str) -> None:
        if topic.name in self._options.topics or topic.name == self._options.action:
            raise ReaderError(f"{self._source.path}: {topic.name} ({topic.schema}): cannot be held: {why}")
        self._refused.add(topic)
        self.unheld[topic.name] = {"": f"{topic.schema}: {why}"}
        for key in [key for key in self._tracks if key[0] == topic]:
            del self._tracks[key]

    def _survey(self) -> None:
        for topic, piece, arrivals, log_ns in self._pieces(verify=True):
            key = (topic, piece.track)
            if key not in self._tracks:
                self._tracks[key] = Track(topic.name, topic.schema, piece.track)
            try:
                self._tracks[key].survey(piece, arrivals, log_ns)
            except ReaderError as error:
                raise ReaderError(f"{self._source.path}: {error}") from error

    def _settle(self) -> None:
        """Choose clocks and names once the whole log is known."""
        path, options = self._source.path, self._options
        found = {track.topic for track in self._tracks.values()}
        for topic in (*options.topics, *filter(None, [options.action])):
            if topic not in found:
                raise ReaderError(f"{path}: no messages on topic {topic!r}{nearest(topic, self._seen)}")
        self._tracks = dict(
            sorted(self._tracks.items(), key=lambda item: (item[0][0].name, item[0][0].schema, item[0][1]))
        )
        # A topic of that name is a channel, not what an episode calls its actions and labels.
        reserved = (ACTION, LABEL)
        names = numbered([*reserved, *(snake(f"{key[0].name} {key[1]}") for key in self._tracks)])[len(reserved) :]
        for track, name in zip(self._tracks.values(), names, strict=True):
            track.name = name
            try:
                moved = track.settle(options.clock)
            except ReaderError as error:
                raise ReaderError(f"{path}: {error}") from error
            if moved:
                _LOG.warning(
                    "%s: %s: %d of %d samples were out of order; sorted", path, track.label, moved, len(track.times_ns)
                )
            if track.unheld:
                self.unheld.setdefault(track.topic, {}).update(track.unheld)
        if all(track.is_static for track in self._tracks.values()):
            left_out = "; ".join(self._not_held()) or "it holds no messages"
            raise ReaderError(f"{path}: nothing in it that a channel can hold: {left_out}")

    def _facts(self) -> Embodiment:
        actions = [track for track in self._tracks.values() if self._is_action(track)]
        if actions and (len(actions) > 1 or actions[0].kind is not Numbers or actions[0].is_static):
            raise ReaderError(
                f"{self._source.path}: action: {self._options.action} holds no numbers of one message type, expected "
                f"telemetry"
            )
        if self._options.embodiment:
            try:
                return load_embodiment(self._options.embodiment)
            except ConfigError as error:
                raise ReaderError(f"embodiment: {error}") from error
        channels = [t.channel() for t in self._tracks.values() if not t.is_static and not self._is_action(t)]
        period_s = 1 / actions[0].rate_hz if actions else PERIOD_S
        if not channels:
            raise ReaderError(f"{self._source.path}: got only actions, expected a channel beside them")
        facts = Embodiment(
            id="log/unnamed@1",
            description="Derived from a log of messages: channels are its topics, limits the widest values in it.",
            control=Control(period_s=period_s, deadline_s=period_s),
            action=ActionSpace(continuous=actions[0].actions() if actions else ()),
            telemetry=tuple(c for c in channels if isinstance(c, TelemetryChannel)),
            camera=tuple(c for c in channels if isinstance(c, CameraChannel)),
            points=tuple(c for c in channels if isinstance(c, PointsChannel)),
            frames=tuple(sorted({c.frame for c in channels} - {"none"})),
        )
        return dataclasses.replace(facts, id=log_id("", digest_bytes(to_toml(facts).encode())))

    def _streamed(self) -> list[tuple[tuple[Topic, str], Track]]:
        return [(key, track) for key, track in self._tracks.items() if not track.is_static]

    def _order(self, track: Track) -> list[str]:
        """Return which column is which dimension or attribute, in the order of the facts.

        Raises:
            ReaderError: the log does not fit facts that the user named.
        """
        if not self._options.embodiment:
            return list(track.columns.values())
        facts, place = self.embodiment, f"{self._source.path}: {track.label}"
        if self._is_action(track):
            names = [dimension.name for dimension in facts.action.continuous]
            return self._match(place, f"{facts.id} action", track, names)
        known = {channel.name: channel for channel in (*facts.telemetry, *facts.camera, *facts.points)}
        channel = known.get(track.name)
        if channel is None:
            raise ReaderError(
                f"{place}: {facts.id} has no channel {track.name!r}{nearest(track.name, known)}; choose with topics=..."
            )
        wanted = {Numbers: "telemetry", Pictures: "camera", Sweeps: "points"}[track.kind]
        if channel.modality != wanted:
            raise ReaderError(f"{place}: got {wanted}, expected {channel.modality} as {facts.id} says of {track.name}")
        if isinstance(channel, CameraChannel):
            ((height, width),) = track.sizes
            if (height, width) != (channel.height, channel.width):
                raise ReaderError(
                    f"{place}: got images of {width} x {height}, expected {channel.width} x {channel.height} as "
                    f"{facts.id} says of {track.name}"
                )
            return []
        dimensions = channel.attributes if isinstance(channel, PointsChannel) else channel.dimensions
        return self._match(place, f"{facts.id} {track.name}", track, [dimension.name for dimension in dimensions])

    def _match(self, place: str, facts: str, track: Track, names: list[str]) -> list[str]:
        columns = track.columns
        if set(names) != set(columns):
            missing, extra = sorted(set(names) - set(columns)), sorted(set(columns) - set(names))
            parts = [f"{what} {', '.join(which)}" for what, which in (("without", missing), ("with", extra)) if which]
            raise ReaderError(f"{place}: got messages {' and '.join(parts)}, expected those of {facts}")
        return [columns[name] for name in names]

    def _cut(self) -> np.ndarray:
        """Return when each episode starts: int64 ``[episodes]``."""
        times_ns = np.unique(np.concatenate([t.times_ns for t in self._tracks.values() if not t.is_static]))
        split_ns = to_ns(self._options.split_s)
        after = np.flatnonzero(np.diff(times_ns) > split_ns) + 1 if split_ns else np.zeros(0, np.int64)
        starts, ends = times_ns[[0, *after]], times_ns[[*(after - 1), -1]]
        longest_s = float((ends - starts).max()) / SECOND_NS
        length_s = self._options.length_s
        if (min(length_s, longest_s) if length_s else longest_s) > EPISODE_LIMIT_S:
            raise ReaderError(
                f"{self._source.path}: got times that span {longest_s / 86400:.0f} days, expected at most "
                f"{EPISODE_LIMIT_S // 86400}; cut the log with split=SECONDS if that is right"
            )
        if length_s:
            step_ns = max(1, to_ns(length_s))
            # Only stretches that hold samples: an empty one is no episode.
            stretches = zip(starts, np.split(times_ns, after), strict=True)
            starts = np.concatenate(
                [start + np.unique((times - start) // step_ns) * step_ns for start, times in stretches]
            )
        return starts


class _Feed:
    """The messages of one topic that wait to be decoded together."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        mapper = mapper_for(topic.schema)
        if isinstance(mapper, TransformMapper) and topic.name.rstrip("/").endswith("tf_static"):
            mapper = mapper.static()
        self.mapper, self.decoder = mapper, topic.make_decoder(mapper)
        self.log_ns: list[int] = []
        self.offsets: list[int] = []
        #: messages that were taken so far
        self.num_taken = 0
        self._blobs: list[bytes] = []
        self._bytes = 0

    def add(self, log_ns: int, data: bytes, offset: int) -> bool:
        """Keep a message; True where it is time to decode."""
        self.log_ns.append(log_ns)
        self.offsets.append(offset)
        self._blobs.append(data)
        self._bytes += len(data)
        return len(self._blobs) >= FLUSH_MESSAGES or self._bytes >= FLUSH_BYTES

    def take(self) -> list[bytes]:
        """Return the messages and forget them."""
        blobs, self._blobs, self._bytes = self._blobs, [], 0
        self.num_taken += len(blobs)
        self.log_ns, self.offsets = [], []
        return blobs
