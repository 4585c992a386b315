"""Gathering many windows of one channel at once, in the arrays that ``Normalizer.pack`` would give for each.

One class per modality. Each is built from that channel's stored stream in every episode and a set of ``Moments``; it
finds once where each moment's window begins and ends, and ``fill`` writes the windows of any moments into arrays with a
leading batch axis. Telemetry is small, so it is normalised once and kept; snapshots, sweeps and frames stay in the
mapped shards and are normalised or decoded when asked for. What a policy should answer is in ``targets``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from genba.data.stored import StoredStream
from genba.errors import SpecError
from genba.spec.embodiment import (
    CameraChannel,
    EntitiesChannel,
    InstructionChannel,
    PointsChannel,
    Relation,
    TelemetryChannel,
)
from genba.spec.normalise import Normalizer, width
from genba.spec.units import SECOND_NS, to_ns

#: The stored stream of one channel in every episode; None where an episode lacks it.
Stored = Sequence[StoredStream | None]
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


def newest(stored: Stored, moments: Moments) -> np.ndarray:
    """Return for each moment how many of its episode's samples are not later: int64 ``[moments]``."""
    stop = np.zeros(len(moments), np.int64)
    for stream, slices in zip(stored, moments.slices, strict=True):
        if stream is not None:
            for part in slices:
                stop[part] = np.searchsorted(stream.times_ns, moments.times_ns[part], side="right")
    return stop


def cut(
    channel: TelemetryChannel | CameraChannel | PointsChannel, stored: Stored, moments: Moments
) -> tuple[np.ndarray, np.ndarray]:
    """Return the window of each moment as its first and one past its last sample, by the rule of ``spec.observe``."""
    stop = newest(stored, moments)
    start = np.maximum(stop - channel.num_samples, 0)
    history_ns = to_ns(channel.history_s + 0.5 / channel.rate_hz)
    for stream, slices in zip(stored, moments.slices, strict=True):
        if stream is not None:
            for part in slices:
                old = np.searchsorted(stream.times_ns, moments.times_ns[part] - history_ns, side="right")
                start[part] = np.maximum(start[part], old)
    return np.minimum(start, stop), stop


class TelemetryGather:
    """Windows of numbers at a steady rate."""

    def __init__(self, channel: TelemetryChannel, stored: Stored, moments: Moments, normalizer: Normalizer) -> None:
        self.channel, self.moments = channel, moments
        start, stop = cut(channel, stored, moments)
        # One window's length of rows stands before the first sample, so that every window is one run of rows.
        length = channel.num_samples
        offsets = length + np.cumsum([0] + [0 if stream is None else len(stream.times_ns) for stream in stored])
        self.first = stop + offsets[moments.episode] - length
        self.count = stop - start
        values = np.zeros((int(offsets[-1]), width(channel.dimensions)), np.float32)
        times_ns = np.zeros(len(values), np.int64)
        known = np.ones(values.shape, np.bool_)
        for stream, offset in zip(stored, offsets, strict=False):
            if stream is not None and len(stream.times_ns):
                place = slice(offset, offset + len(stream.times_ns))
                times_ns[place] = stream.times_ns
                values[place], known[place] = normalizer.normalise(
                    channel.name, stream.values(0, len(stream)), channel.dimensions
                )
        self.values, self.times_ns = _runs(values, length), _runs(times_ns, length)
        # Most channels never miss a number; their mask is then known without looking.
        self.known = None if bool(known.all()) else _runs(known, length)

    def fill(self, out: Arrays, chosen: np.ndarray) -> None:
        """Write the windows of the ``chosen`` moments."""
        name, length, first = self.channel.name, self.channel.num_samples, self.first[chosen]
        count = self.count[chosen]
        values = self.values[first]
        age_s = ((self.times_ns[first] - self.moments.times_ns[chosen, None]) / SECOND_NS).astype(np.float32)
        mask = np.ones(values.shape, np.bool_) if self.known is None else self.known[first]
        # A run that reaches before the window's first sample holds another window's rows there.
        for b in np.flatnonzero(count < length).tolist():
            stop = length - int(count[b])
            values[b, :stop], age_s[b, :stop], mask[b, :stop] = 0.0, 0.0, False
        out[f"{name}.values"], out[f"{name}.mask"], out[f"{name}.age_s"] = values, mask, age_s


class PointsGather:
    """Windows of sweeps, decoded when asked for; only their places, as no model sees the attributes yet."""

    def __init__(self, channel: PointsChannel, stored: Stored, moments: Moments) -> None:
        self.channel, self.stored, self.moments = channel, stored, moments
        for stream in stored:
            _check_room(channel.name, stream, channel.max_points, "max_points")
        self.start, self.stop = cut(channel, stored, moments)

    def fill(self, out: Arrays, chosen: np.ndarray) -> None:
        """Write the windows of the ``chosen`` moments."""
        name, length, room = self.channel.name, self.channel.num_samples, self.channel.max_points
        values = np.zeros((len(chosen), length, room, 3), np.float32)
        counts = np.zeros((len(chosen), length), np.int64)
        age_s = np.zeros((len(chosen), length), np.float32)
        range_max_m = np.float32(self.channel.range_max_m)
        for b, moment in enumerate(chosen.tolist()):
            stream = self.stored[self.moments.episode[moment]]
            start, stop = int(self.start[moment]), int(self.stop[moment])
            if stream is None or stop == start:
                continue
            assert stream.splits is not None
            rows = stream.values(start, stop)[:, :3]
            bounds = (stream.splits[start : stop + 1] - stream.splits[start]).tolist()
            first = length - (stop - start)
            for i, (low, high) in enumerate(pairwise(bounds), first):
                np.divide(rows[low:high], range_max_m, out=values[b, i, : high - low])
                counts[b, i] = high - low
            age_s[b, first:] = (stream.times_ns[start:stop] - self.moments.times_ns[moment]) / SECOND_NS
        out[f"{name}.values"] = values
        out[f"{name}.mask"] = np.arange(room) < counts[:, :, None]
        out[f"{name}.age_s"] = age_s


class CameraGather:
    """Windows of frames, decoded when asked for."""

    def __init__(self, channel: CameraChannel, stored: Stored, moments: Moments) -> None:
        self.channel, self.stored, self.moments = channel, stored, moments
        self.start, self.stop = cut(channel, stored, moments)

    def fill(self, out: Arrays, chosen: np.ndarray) -> None:
        """Write the windows of the ``chosen`` moments."""
        channel, length = self.channel, self.channel.num_samples
        values = np.zeros((len(chosen), length, channel.height, channel.width, 3), np.uint8)
        mask = np.zeros((len(chosen), length), np.bool_)
        age_s = np.zeros((len(chosen), length), np.float32)
        for b, moment in enumerate(chosen.tolist()):
            stream = self.stored[self.moments.episode[moment]]
            start, stop = int(self.start[moment]), int(self.stop[moment])
            if stream is None or stop == start:
                continue
            values[b, length - (stop - start) :] = stream.values(start, stop)
            mask[b, length - (stop - start) :] = True
            age_s[b, length - (stop - start) :] = (
                stream.times_ns[start:stop] - self.moments.times_ns[moment]
            ) / SECOND_NS
        out[f"{channel.name}.values"], out[f"{channel.name}.mask"] = values, mask
        out[f"{channel.name}.age_s"] = age_s


class EntitiesGather:
    """The newest snapshot of a set of rows."""

    def __init__(self, channel: EntitiesChannel, stored: Stored, moments: Moments, normalizer: Normalizer) -> None:
        self.channel, self.moments, self.normalizer = channel, moments, normalizer
        for stream in stored:
            _check_room(channel.name, stream, channel.max_rows, "max_rows")
        self.snapshots = _Snapshots(stored, moments)

    def fill(self, out: Arrays, chosen: np.ndarray) -> None:
        """Write the snapshots of the ``chosen`` moments."""
        name, room = self.channel.name, self.channel.max_rows
        rows, counts = self.snapshots.rows(chosen)
        present = np.arange(room) < counts[:, None]
        values = np.zeros((len(chosen), room, width(self.channel.dimensions)), np.float32)
        if rows is not None:
            normalised, known = self.normalizer.normalise(name, rows, self.channel.dimensions)
            values[present] = np.where(known, normalised, 0)
        out[f"{name}.values"], out[f"{name}.mask"] = values, present
        age_ns = np.where(
            self.snapshots.stop[chosen] > 0, self.snapshots.times_ns[chosen] - self.moments.times_ns[chosen], 0
        )
        out[f"{name}.age_s"] = (age_ns / SECOND_NS).astype(np.float32)[:, None]


class RelationGather:
    """The newest snapshot of a number per pair of rows."""

    def __init__(
        self, relation: Relation, room: tuple[int, int], stored: Stored, moments: Moments, normalizer: Normalizer
    ) -> None:
        self.relation, self.room, self.normalizer = relation, room, normalizer
        for stream in stored:
            _check_room(relation.name, stream, room[0], "max_rows")
        self.snapshots = _Snapshots(stored, moments)

    def fill(self, out: Arrays, chosen: np.ndarray) -> None:
        """Write the snapshots of the ``chosen`` moments."""
        name = self.relation.name
        rows, counts = self.snapshots.rows(chosen)
        present = np.arange(self.room[0]) < counts[:, None]
        values = np.zeros((len(chosen), *self.room), np.float32)
        mask = np.zeros(values.shape, np.bool_)
        if rows is not None:
            values[present] = self.normalizer.normalise_relation(name, rows)
            mask[present] = np.isfinite(rows)
        out[f"{name}.values"], out[f"{name}.mask"] = values, mask


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


def _runs(rows: np.ndarray, length: int) -> np.ndarray:
    """View ``rows`` ``[n, ...]`` as its runs of ``length`` rows: ``[n - length + 1, length, ...]``, nothing copied."""
    shape = (len(rows) - length + 1, length, *rows.shape[1:])
    return np.lib.stride_tricks.as_strided(rows, shape, (rows.strides[0], *rows.strides), writeable=False)


class _Snapshots:
    """Which snapshot is the newest at each moment, and its rows."""

    def __init__(self, stored: Stored, moments: Moments) -> None:
        self.stored, self.episode = stored, moments.episode
        self.stop = newest(stored, moments)
        self.times_ns = np.zeros(len(moments), np.int64)
        for stream, slices in zip(stored, moments.slices, strict=True):
            if stream is not None and len(stream.times_ns):
                for part in slices:
                    self.times_ns[part] = stream.times_ns[np.maximum(self.stop[part] - 1, 0)]

    def rows(self, chosen: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
        """Return the rows of the chosen moments' snapshots one after the other (None where none), and their counts."""
        found, counts = [], np.zeros(len(chosen), np.int64)
        for b, moment in enumerate(chosen.tolist()):
            stream, stop = self.stored[self.episode[moment]], int(self.stop[moment])
            if stream is not None and stop:
                rows = stream.values(stop - 1, stop)
                counts[b] = len(rows)
                if len(rows):
                    found.append(rows)
        return (np.concatenate(found) if found else None), counts


def _check_room(name: str, stream: StoredStream | None, room: int, fact: str) -> None:
    if stream is None:
        return
    assert stream.splits is not None
    longest = int(np.diff(stream.splits).max(initial=0))
    if longest > room:
        raise SpecError(f"{stream.place or name}: got {longest} rows, expected at most {fact} = {room}")
