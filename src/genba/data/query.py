"""Windows as they are: all streams of an episode around a moment, for many episodes and moments at once, raw.

::

    query = WindowQuery(vault, entries, {"joints": Span(-0.5, 0.5), "front": Offsets((-0.5, 0.0))})
    window = query.windows(np.array([0, 3]), np.array([t0_ns, t3_ns]))
    window["joints"].values  # [2, samples, 21]

Per channel one says which samples: all within a ``Span`` of time, or the newest one at each of some ``Offsets``. Nothing is
resampled and nothing is normalised: values are those of the episode, beside their own times and a mask. What training
reads (normalised, in fixed shapes, with targets) is in ``windows``; both stand on ``tracks``, which keeps what is read
often within a bound of memory and reads the rest block by block.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genba.data.catalog import EpisodeEntry
from genba.data.recycle import Recycler
from genba.data.stored import StoredStream
from genba.data.tracks import MEMORY_BYTES, Memory, Opened, RowTrack, Track
from genba.data.vault import Vault
from genba.errors import ConfigError, DataError, nearest
from genba.spec.embodiment import CameraChannel, EntitiesChannel, PointsChannel, TelemetryChannel
from genba.spec.episode import ACTION, LABEL
from genba.spec.units import to_ns

#: 146 years: farther than any clock reaches, near enough that sums of it stay int64.
_FAR_NS = 2**62


@dataclass(frozen=True, slots=True)
class Span:
    """The samples from ``start_s`` to ``stop_s`` around a moment, both ends included; in seconds, negative is earlier."""

    start_s: float
    stop_s: float
    #: at most so many, the newest of them; 0 for all
    newest: int = 0

    def __post_init__(self) -> None:
        if not self.start_s <= self.stop_s:
            raise ConfigError(f"span: got start_s {self.start_s} and stop_s {self.stop_s}, expected a rising pair")
        if self.newest < 0:
            raise ConfigError(f"span: newest: got {self.newest}, expected at least 0")


@dataclass(frozen=True, slots=True)
class Offsets:
    """The newest sample at each offset from a moment, in seconds, that is not later than it."""

    offsets_s: tuple[float, ...]
    #: how much older than its offset a sample may be, in seconds
    max_age_s: float = math.inf

    def __post_init__(self) -> None:
        if not self.offsets_s or not self.max_age_s >= 0:
            raise ConfigError(
                f"offsets: got {self.offsets_s} and max_age_s {self.max_age_s}, expected offsets and at least 0"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """What windows hold of one channel, oldest first.

    Attributes:
        times_ns: int64 ``[windows, samples]``, 0 where the mask is False. A window of fewer samples than the longest, one
            at the edge of an episode, or one without the channel ends (with ``Offsets``: has holes) in the mask.
        mask: bool ``[windows, samples]``, whether there is a sample.
        values: ``[windows, samples, ...]`` where dense, 0 where the mask is False; ``[rows, ...]`` where ragged.
        splits: int64 ``[windows * samples + 1]`` where ragged, else None: sample ``i`` of window ``w`` owns the rows from
            ``splits[w * samples + i]`` to the next one.
    """

    times_ns: np.ndarray
    mask: np.ndarray
    values: np.ndarray
    splits: np.ndarray | None = None

    def rows(self, window: int, sample: int) -> np.ndarray:
        """Return one sample: ``[...]`` where dense, ``[rows, ...]`` where ragged."""
        if self.splits is None:
            return self.values[window, sample]
        at = window * self.mask.shape[1] + range(self.mask.shape[1])[sample]
        return self.values[self.splits[at] : self.splits[at + 1]]


class WindowQuery:
    """Windows of some episodes of one embodiment around any moments."""

    def __init__(
        self,
        vault: Vault,
        entries: Sequence[EpisodeEntry],
        channels: Mapping[str, Span | Offsets],
        *,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        """Look at nothing yet: episodes are opened when windows of them are asked for.

        Args:
            entries: the episodes, numbered in this order.
            channels: which samples of which streams: channels, relations, ``action``, ``label`` and, ragged, the scores of
                choices.
            memory_bytes: how much of clocks, telemetry and rows is kept once it was read.

        Raises:
            DataError: no episodes, or of several embodiments.
            ConfigError: a channel that the embodiment does not have.
        """
        ids = {entry.embodiment_id for entry in entries}
        if len(ids) != 1:
            raise DataError(f"{vault.path}: got episodes of {sorted(ids) or 'no embodiment'}, expected of exactly one")
        self.embodiment = vault.embodiment(ids.pop())
        self.entries, self.channels = list(entries), dict(channels)
        self.opened, self.memory, self.recycler = Opened(vault, entries), Memory(memory_bytes), Recycler()
        self._gathers = {name: self._gather(name) for name in self.channels}

    def windows(self, episodes: np.ndarray, times_ns: np.ndarray) -> dict[str, Samples]:
        """Return the samples of every channel around each moment.

        Args:
            episodes: int64 ``[windows]``, numbers of ``entries``.
            times_ns: int64 ``[windows]``, on the clock of the episode.

        Raises:
            IndexError: no such episode.
            CorruptShardError: bytes that do not verify or do not decode.
            PermissionDeniedError: the rules of a governed vault refuse it, or no longer allow what was opened.
        """
        self.opened.check()
        episodes, times_ns = np.asarray(episodes, np.int64), np.asarray(times_ns, np.int64)
        if episodes.shape != times_ns.shape or episodes.ndim != 1:
            raise IndexError(f"got shapes {episodes.shape} and {times_ns.shape}, expected one episode per moment")
        if episodes.size and not 0 <= episodes.min() <= episodes.max() < len(self.entries):
            raise IndexError(f"episodes {episodes.min()} to {episodes.max()}, expected 0 to {len(self.entries) - 1}")
        out = {}
        for name, gather in self._gathers.items():
            asked = self.channels[name]
            if isinstance(asked, Span):
                out[name] = self._span(gather, asked, episodes, times_ns)
            else:
                out[name] = self._offsets(gather, asked, episodes, times_ns)
        return out

    def _span(self, gather: _Gather, asked: Span, episodes: np.ndarray, times_ns: np.ndarray) -> Samples:
        low = gather.track.count(episodes, times_ns + _clipped_ns(asked.start_s), "left")
        high = gather.track.count(episodes, times_ns + _clipped_ns(asked.stop_s))
        if asked.newest:
            low = np.maximum(low, high - asked.newest)
        length = asked.newest or int((high - low).max(initial=0))
        return gather.samples(episodes, low, high - low, length)

    def _offsets(self, gather: _Gather, asked: Offsets, episodes: np.ndarray, times_ns: np.ndarray) -> Samples:
        # Each offset is a window of one sample.
        width = len(asked.offsets_s)
        at_ns = (times_ns[:, None] + np.array([_clipped_ns(o) for o in asked.offsets_s])).reshape(-1)
        episodes = np.repeat(episodes, width)
        high = gather.track.count(episodes, at_ns)
        low = high - 1
        if asked.max_age_s < math.inf:
            fresh = gather.track.count(episodes, at_ns - to_ns(asked.max_age_s), "left")
            low = np.where(low >= fresh, low, high)
        low = np.maximum(low, 0)
        flat = gather.samples(episodes, low, high - low, 1)
        shape = (-1, width)
        values = flat.values if flat.splits is not None else flat.values.reshape(*shape, *flat.values.shape[2:])
        return Samples(flat.times_ns.reshape(shape), flat.mask.reshape(shape), values, flat.splits)

    def _gather(self, name: str) -> _Gather:
        facts = self.embodiment
        channel = next((c for c in facts.channels if c.name == name), None)
        rows = {c.name: c.max_rows for c in facts.entities}
        ragged: dict[str, tuple[int, ...]] = {r.name: (rows[r.target],) for r in facts.relation}
        for choice in facts.action.choice:
            shape = (rows[choice.over],) if choice.for_each else ()
            ragged |= {f"{kind}.{choice.name}": shape for kind in (ACTION, LABEL)}
        dense = dict.fromkeys((ACTION, LABEL), len(facts.action.continuous)) if facts.action.continuous else {}
        match channel:
            case TelemetryChannel():
                return _Numbers(name, self, len(channel.dimensions))
            case CameraChannel():
                return _Frames(name, self, (channel.height, channel.width, 3))
            case PointsChannel():
                return _Ragged(name, self, (3 + len(channel.attributes),))
            case EntitiesChannel():
                return _Ragged(name, self, (len(channel.dimensions),))
        if name in dense:
            return _Numbers(name, self, dense[name])
        if name in ragged:
            return _Ragged(name, self, ragged[name])
        known = [c.name for c in facts.channels if c not in facts.instruction] + [*ragged, *dense]
        raise ConfigError(f"{facts.id}: got no stream {name!r} to cut windows from{nearest(name, known)}")


class _Gather:
    """How the samples of one channel come to lie in arrays."""

    track: Track

    def samples(self, episodes: np.ndarray, first: np.ndarray, count: np.ndarray, length: int) -> Samples:
        """Return ``count`` samples from ``first`` on of each episode, in windows of ``length``."""
        raise NotImplementedError


class _Numbers(_Gather):
    """Dense numbers, kept where there is memory."""

    def __init__(self, name: str, query: WindowQuery, width: int) -> None:
        self.track = Track(name, query.opened, query.memory, read=StoredStream.values, shape=(width,))

    def samples(self, episodes: np.ndarray, first: np.ndarray, count: np.ndarray, length: int) -> Samples:
        times_ns, values, mask = self.track.runs(episodes, first, np.zeros_like(count), count, length)
        return Samples(times_ns, mask, values)


class _Frames(_Gather):
    """Camera frames, decoded straight to where they are wanted."""

    def __init__(self, name: str, query: WindowQuery, shape: tuple[int, int, int]) -> None:
        self.name, self.opened, self.shape, self.recycler = name, query.opened, shape, query.recycler
        self.track = Track(name, query.opened, query.memory)

    def samples(self, episodes: np.ndarray, first: np.ndarray, count: np.ndarray, length: int) -> Samples:
        times_ns, _, mask = self.track.runs(episodes, first, np.zeros_like(count), count, length)
        values = self.recycler.empty((len(count), length, *self.shape), np.uint8)
        for b, (e, start, n) in enumerate(zip(episodes.tolist(), first.tolist(), count.tolist(), strict=True)):
            if n < length:
                values[b, n:] = 0
            if n:
                stream = self.opened.stream(e, self.name)
                assert stream is not None
                stream.read(start, start + n, values[b, :n])
        return Samples(times_ns, mask, values)


class _Ragged(_Gather):
    """Sets of rows, kept where there is memory, the rows of one window behind those of the other."""

    def __init__(self, name: str, query: WindowQuery, shape: tuple[int, ...]) -> None:
        self.shape, self.recycler = shape, query.recycler
        self.rows = RowTrack(name, query.opened, query.memory, shape=shape)
        self.track = self.rows.samples

    def samples(self, episodes: np.ndarray, first: np.ndarray, count: np.ndarray, length: int) -> Samples:
        times_ns, extents, mask = self.track.runs(episodes, first, np.zeros_like(count), count, length)
        splits = np.zeros(mask.size + 1, np.int64)
        np.cumsum(extents[:, :, 1].reshape(-1), out=splits[1:])
        values = self.recycler.empty((int(splits[-1]), *self.shape), np.float32)
        if length:
            places, starts = splits[::length].tolist(), extents[:, 0, 0].tolist()
            asked = zip(episodes.tolist(), first.tolist(), count.tolist(), starts, strict=True)
            for b, (e, start, n, low) in enumerate(asked):
                if places[b + 1] > places[b]:
                    self.rows.write(e, start, start + n, low, values[places[b] : places[b + 1]])
        return Samples(times_ns, mask, values, splits)


def _clipped_ns(seconds: float) -> int:
    return to_ns(seconds) if abs(seconds) < _FAR_NS / 2e9 else int(math.copysign(_FAR_NS, seconds))
