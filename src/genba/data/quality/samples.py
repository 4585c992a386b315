"""An episode as the checks see it: streams that give their samples in bounded pieces, from a shard or from memory.

No check knows how a shard is encoded; this file does. Read next: ``measures``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from genba.data.shard import Shard
from genba.data.stored import StoredStream
from genba.spec.embodiment import Channel, Embodiment, Relation
from genba.spec.episode import ACTION, LABEL, Episode, EpisodeMetadata
from genba.spec.streams import Stream

#: Decoded bytes of one piece; what a check holds at a time is a small multiple of it.
PIECE_BYTES = 8_000_000


@dataclass(frozen=True, slots=True, eq=False)
class StreamView:
    """One stream, not yet decoded."""

    name: str
    #: the facts of the channel or relation; None for actions and labels
    channel: Channel | Relation | None
    #: names of the numbers of a sample or row, where they have names
    dimensions: tuple[str, ...]
    #: int64 ``[samples]``
    times_ns: np.ndarray
    _source: Stream | StoredStream

    @property
    def rate_hz(self) -> float:
        """Nominal samples per second; 0 where samples come with events."""
        return float(getattr(self.channel, "rate_hz", 0.0))

    @property
    def splits(self) -> np.ndarray | None:
        """int64 ``[samples + 1]`` where ragged."""
        return self._source.splits

    def pieces(self) -> Iterator[tuple[int, Stream]]:
        """Yield (index of the first sample, samples) in order, each piece about ``PIECE_BYTES`` when decoded.

        Raises:
            CorruptShardError: bytes that do not decode.
        """
        source, total = self._source, len(self.times_ns)
        shape = source.shape if isinstance(source, StoredStream) else source.values.shape[1:]
        row_bytes = max(1, int(np.prod(shape, dtype=np.int64))) * 4
        rows = max(1, PIECE_BYTES // row_bytes)
        start = 0
        while start < total:
            stop = start + rows
            if source.splits is not None:
                stop = int(np.searchsorted(source.splits, source.splits[start] + rows, side="right")) - 1
            stop = min(max(stop, start + 1), total)
            yield start, _part(source, start, stop)
            start = stop


@dataclass(frozen=True, slots=True, eq=False)
class EpisodeView:
    """One episode of a machine."""

    embodiment: Embodiment
    metadata: EpisodeMetadata
    streams: Mapping[str, StreamView]


def view_episode(embodiment: Embodiment, episode: Episode | Shard) -> EpisodeView:
    """Look at an episode in memory, or at a shard without decoding it."""
    facts: dict[str, Channel | Relation] = {c.name: c for c in (*embodiment.channels, *embodiment.relation)}
    streams = {}
    for name, source in episode.streams.items():
        channel = facts.get(name)
        named = embodiment.action.continuous if name in (ACTION, LABEL) else getattr(channel, "dimensions", ())
        streams[name] = StreamView(name, channel, tuple(d.name for d in named), source.times_ns, source)
    return EpisodeView(embodiment, episode.metadata, streams)


def _part(source: Stream | StoredStream, start: int, stop: int) -> Stream:
    if isinstance(source, Stream):
        return source.slice(start, stop)
    splits = source.splits
    if splits is not None:
        splits = splits[start : stop + 1] - splits[start]
    return Stream(source.times_ns[start:stop], source.values(start, stop), splits)
