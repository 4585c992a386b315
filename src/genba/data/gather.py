"""Gathering many windows of one channel at once, in the arrays that ``Normalizer.pack`` would give for each.

One class per modality. ``look`` is called once for every episode and finds where each moment's window begins and ends;
``fill`` writes the windows of any moments into arrays with a leading batch axis. Telemetry and sweeps are normalised when
an episode is first asked for and kept as long as there is memory (``tracks``); snapshots and frames are read and decoded
every time. What a policy should answer is in ``targets``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genba.data.recycle import Recycler
from genba.data.stored import StoredStream
from genba.data.tracks import Memory, Opened, RowTrack, Track
from genba.errors import SpecError
from genba.spec.embodiment import (
    ActionDimension,
    CameraChannel,
    Embodiment,
    EntitiesChannel,
    InstructionChannel,
    PointsChannel,
    Relation,
    TelemetryChannel,
)
from genba.spec.normalise import Normalizer, width
from genba.spec.statistics import apply_scale
from genba.spec.units import SECOND_NS, to_ns

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Moments to observe at, grouped by episode.

    Attributes:
        times_ns: int64 ``[moments]``.
        episode: int64 ``[moments]``, which episode each moment belongs to.
        slices: for each episode, the slices of ``times_ns`` that are its moments.
    """

    times_ns: np.ndarray
    episode: np.ndarray
    slices: tuple[tuple[slice, ...], ...]

    def __len__(self) -> int:
        return len(self.times_ns)


class Gather(ABC):
    """Windows of one channel."""

    #: the stream that it reads
    name: str

    @abstractmethod
    def look(self, episode: int, stream: StoredStream | None) -> None:
        """Find the windows of an episode's moments in its stream, None where it has none.

        Raises:
            SpecError: more rows than the embodiment has room for.
        """

    @abstractmethod
    def fill(self, out: Arrays, chosen: np.ndarray) -> None:
        """Write the windows of the ``chosen`` moments."""


class _Cut(Gather):
    """The window of each moment as its first and one past its last sample, by the rule of ``spec.observe``."""

    def __init__(self, channel: TelemetryChannel | CameraChannel | PointsChannel, moments: Moments) -> None:
        self.name, self.moments = channel.name, moments
        self.num_samples = channel.num_samples
        self.history_ns = to_ns(channel.history_s + 0.5 / channel.rate_hz)
        self.start, self.stop = np.zeros(len(moments), np.int64), np.zeros(len(moments), np.int64)

    def look(self, episode: int, stream: StoredStream | None) -> None:
        for part in self.moments.slices[episode] if stream is not None else ():
            assert stream is not None
            times_ns = self.moments.times_ns[part]
            stop = np.searchsorted(stream.times_ns, times_ns, side="right")
            old = np.searchsorted(stream.times_ns, times_ns - self.history_ns, side="right")
            self.stop[part] = stop
            self.start[part] = np.minimum(np.maximum(stop - self.num_samples, old), stop)


class TelemetryGather(_Cut):
    """Windows of numbers at a steady rate."""

    def __init__(
        self, channel: TelemetryChannel, moments: Moments, normalizer: Normalizer, opened: Opened, memory: Memory
    ) -> None:
        super().__init__(channel, moments)
        self.channel, self.normalizer = channel, normalizer
        # Most channels never miss a number; their mask is then known without looking.
        self.any_missing = False
        shape = (width(channel.dimensions),)
        self.track = Track(channel.name, opened, memory, read=self._read, shape=shape, lead=self.num_samples)

    def fill(self, out: Arrays, chosen: np.ndarray) -> None:
        stop, length = self.stop[chosen], self.num_samples
        # Right-aligned: a window of fewer samples ends with its newest.
        low, high = length - (stop - self.start[chosen]), np.full(len(chosen), length)
        age_ns, values = self.track.rough_runs(
            self.moments.episode[chosen], stop - length, low, high, length, self.moments.times_ns[chosen]
        )
        age_s = (age_ns / SECOND_NS).astype(np.float32)
        mask = np.ones(values.shape, np.bool_)
        partial = np.flatnonzero(low)
        for b, start in zip(partial.tolist(), low[partial].tolist(), strict=True):
            values[b, :start], age_s[b, :start], mask[b, :start] = 0.0, 0.0, False
        if self.any_missing:
            missing = np.isnan(values)
            values[missing], mask[missing] = 0.0, False
        out[f"{self.name}.values"], out[f"{self.name}.mask"], out[f"{self.name}.age_s"] = values, mask, age_s

    def _read(self, stream: StoredStream, start: int, stop: int) -> np.ndarray:
        values, known = self.normalizer.normalise(self.name, stream.values(start, stop), self.channel.dimensions)
        if not known.all():
            # A normalised number is always finite, so NaN may say that one is missing.
            self.any_missing = True
            values[~known] = np.nan
        return values


class PointsGather(_Cut):
    """Windows of sweeps; only their places, as no model sees the attributes yet."""

    def __init__(self, channel: PointsChannel, moments: Moments, opened: Opened, memory: Memory) -> None:
        super().__init__(channel, moments)
        self.channel = channel
        length = self.num_samples
        self.rows = RowTrack(channel.name, opened, memory, shape=(3,), convert=self._scaled, lead=length)

    def look(self, episode: int, stream: StoredStream | None) -> None:
        _check_room(self.name, stream, self.channel.max_points, "max_points")
        super().look(episode, stream)

    def fill(self, out: Arrays, chosen: np.ndarray) -> None:
        name, length, room = self.name, self.num_samples, self.channel.max_points
        episode, stop = self.moments.episode[chosen], self.stop[chosen]
        low, high = length - (stop - self.start[chosen]), np.full(len(chosen), length)
        times_ns, extents, known = self.rows.samples.runs(episode, stop - length, low, high, length)
        values = np.zeros((len(chosen), length, room, 3), np.float32)
        for b, i in np.argwhere(extents[:, :, 1] > 0).tolist():
            begin, count = extents[b, i].tolist()
            sample = int(stop[b]) - length + i
            self.rows.write(int(episode[b]), sample, sample + 1, begin, values[b, i, :count])
        age_s = ((times_ns - self.moments.times_ns[chosen, None]) / SECOND_NS).astype(np.float32)
        age_s[~known] = 0.0
        out[f"{name}.values"] = values
        out[f"{name}.mask"] = np.arange(room) < extents[:, :, 1:]
        out[f"{name}.age_s"] = age_s

    def _scaled(self, rows: np.ndarray) -> np.ndarray:
        return rows[:, :3] / np.float32(self.channel.range_max_m)


class CameraGather(_Cut):
    """Windows of frames."""

    def __init__(self, channel: CameraChannel, moments: Moments, opened: Opened, recycler: Recycler) -> None:
        super().__init__(channel, moments)
        self.channel, self.opened, self.recycler = channel, opened, recycler

    def fill(self, out: Arrays, chosen: np.ndarray) -> None:
        channel, length = self.channel, self.num_samples
        values = self.recycler.empty((len(chosen), length, channel.height, channel.width, 3), np.uint8)
        mask = np.zeros((len(chosen), length), np.bool_)
        age_s = np.zeros((len(chosen), length), np.float32)
        for b, moment in enumerate(chosen.tolist()):
            start, stop = int(self.start[moment]), int(self.stop[moment])
            first = length - (stop - start)
            if first:
                values[b, :first] = 0
            stream = self.opened.stream(int(self.moments.episode[moment]), self.name) if stop > start else None
            if stream is None:
                continue
            stream.read(start, stop, values[b, first:])
            mask[b, first:] = True
            age_s[b, first:] = (stream.times_ns[start:stop] - self.moments.times_ns[moment]) / SECOND_NS
        out[f"{self.name}.values"], out[f"{self.name}.mask"] = values, mask
        out[f"{self.name}.age_s"] = age_s


class _Newest(Gather):
    """Which snapshot is the newest at each moment, and its rows."""

    def __init__(self, name: str, room: int, moments: Moments, opened: Opened) -> None:
        self.name, self.room, self.moments, self.opened = name, room, moments, opened
        self.stop, self.times_ns = np.zeros(len(moments), np.int64), np.zeros(len(moments), np.int64)

    def look(self, episode: int, stream: StoredStream | None) -> None:
        _check_room(self.name, stream, self.room, "max_rows")
        for part in self.moments.slices[episode] if stream is not None and len(stream.times_ns) else ():
            assert stream is not None
            self.stop[part] = np.searchsorted(stream.times_ns, self.moments.times_ns[part], side="right")
            self.times_ns[part] = stream.times_ns[np.maximum(self.stop[part] - 1, 0)]

    def rows(self, chosen: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
        """Return the rows of the chosen moments' snapshots one after the other (None where none), and their counts."""
        found, counts = [], np.zeros(len(chosen), np.int64)
        for b, moment in enumerate(chosen.tolist()):
            stop = int(self.stop[moment])
            stream = self.opened.stream(int(self.moments.episode[moment]), self.name) if stop else None
            if stream is not None:
                rows = stream.values(stop - 1, stop)
                counts[b] = len(rows)
                if len(rows):
                    found.append(rows)
        return (np.concatenate(found) if found else None), counts


class EntitiesGather(_Newest):
    """The newest snapshot of a set of rows."""

    def __init__(self, channel: EntitiesChannel, moments: Moments, normalizer: Normalizer, opened: Opened) -> None:
        super().__init__(channel.name, channel.max_rows, moments, opened)
        self.channel, self.normalizer = channel, normalizer

    def fill(self, out: Arrays, chosen: np.ndarray) -> None:
        name = self.name
        rows, counts = self.rows(chosen)
        present = np.arange(self.room) < counts[:, None]
        values = np.zeros((len(chosen), self.room, width(self.channel.dimensions)), np.float32)
        if rows is not None:
            normalised, known = self.normalizer.normalise(name, rows, self.channel.dimensions)
            values[present] = np.where(known, normalised, 0)
        out[f"{name}.values"], out[f"{name}.mask"] = values, present
        age_ns = np.where(self.stop[chosen] > 0, self.times_ns[chosen] - self.moments.times_ns[chosen], 0)
        out[f"{name}.age_s"] = (age_ns / SECOND_NS).astype(np.float32)[:, None]


class RelationGather(_Newest):
    """The newest snapshot of a number per pair of rows."""

    def __init__(
        self, relation: Relation, room: tuple[int, int], moments: Moments, normalizer: Normalizer, opened: Opened
    ) -> None:
        super().__init__(relation.name, room[0], moments, opened)
        self.pair, self.normalizer = room, normalizer

    def fill(self, out: Arrays, chosen: np.ndarray) -> None:
        rows, counts = self.rows(chosen)
        present = np.arange(self.room) < counts[:, None]
        values = np.zeros((len(chosen), *self.pair), np.float32)
        mask = np.zeros(values.shape, np.bool_)
        if rows is not None:
            values[present] = self.normalizer.normalise_relation(self.name, rows)
            mask[present] = np.isfinite(rows)
        out[f"{self.name}.values"], out[f"{self.name}.mask"] = values, mask


class InstructionGather:
    """What is wanted, in UTF-8 bytes; one sentence per episode."""

    def __init__(self, channel: InstructionChannel, instructions: Sequence[str], moments: Moments) -> None:
        self.channel, self.moments = channel, moments
        self.values = np.zeros((len(instructions), channel.max_bytes), np.int64)
        for i, instruction in enumerate(instructions):
            data = np.frombuffer(instruction.encode("utf-8"), np.uint8)
            if len(data) > channel.max_bytes:
                raise SpecError(
                    f"{channel.name}: got {len(data)} bytes, expected at most max_bytes = {channel.max_bytes}"
                )
            self.values[i, : len(data)] = data.astype(np.int64) + 1

    def fill(self, out: Arrays, chosen: np.ndarray) -> None:
        """Write the sentences of the ``chosen`` moments' episodes."""
        values = self.values[self.moments.episode[chosen]]
        out[f"{self.channel.name}.values"], out[f"{self.channel.name}.mask"] = values, values > 0


class BaseGather(_Cut):
    """What actions are relative to: the scaled newest values of some dimensions of one telemetry channel."""

    def __init__(
        self,
        channel: TelemetryChannel,
        dimensions: dict[int, tuple[int, ActionDimension]],
        moments: Moments,
        opened: Opened,
        memory: Memory,
    ) -> None:
        """Take ``dimensions`` of the action: number -> (column of the channel, what scales it)."""
        super().__init__(channel, moments)
        self.dimensions = dimensions
        self.track = Track(channel.name, opened, memory, read=self._read, shape=(len(dimensions),))

    def fill(self, out: Arrays, chosen: np.ndarray) -> None:
        stop = self.stop[chosen]
        count = (stop > self.start[chosen]).astype(np.int64)
        episode, none = self.moments.episode[chosen], np.zeros_like(count)
        _, values, _ = self.track.runs(episode, np.maximum(stop - 1, 0), none, count, 1)
        out["action.base"][:, list(self.dimensions)] = values[:, 0]

    def _read(self, stream: StoredStream, start: int, stop: int) -> np.ndarray:
        columns = stream.values(start, stop)[:, [column for column, _ in self.dimensions.values()]]
        return apply_scale(columns, tuple(dimension for _, dimension in self.dimensions.values()))


def base_gathers(facts: Embodiment, moments: Moments, opened: Opened, memory: Memory) -> list[BaseGather]:
    """Return what fills ``action.base``, one per channel that actions are relative to."""
    wanted: dict[str, dict[int, tuple[int, ActionDimension]]] = {}
    for i, dimension in enumerate(facts.action.continuous):
        if dimension.relative_to:
            name, column = facts.locate(dimension.relative_to)
            wanted.setdefault(name, {})[i] = (column, dimension)
    channels = {channel.name: channel for channel in facts.telemetry}
    return [BaseGather(channels[name], found, moments, opened, memory) for name, found in wanted.items()]


def _check_room(name: str, stream: StoredStream | None, room: int, fact: str) -> None:
    if stream is None:
        return
    assert stream.splits is not None
    longest = int(np.diff(stream.splits).max(initial=0))
    if longest > room:
        raise SpecError(f"{stream.place or name}: got {longest} rows, expected at most {fact} = {room}")
