"""What is kept in memory of many episodes, within a bound: opened shards, clocks, numbers and points.

A ``Track`` is one channel in every episode. It says how many of its samples are not later than a moment and gives runs of
them, for many episodes at once and without a step of Python per window; ``RowTrack`` does so for ragged channels.
Whatever they read they keep, until ``Memory`` is used up; episodes beyond that are read from their shards every time,
block by block. What was kept first stays: windows are drawn evenly from everything, so no other rule would find more of
them in memory, and nothing is read twice in vain. Frames are never kept: decoded they are tens of times larger.

Read next: ``query`` and ``gather``, which stand on this.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

from genba.data.catalog import EpisodeEntry
from genba.data.layout import Shard
from genba.data.storage import Held
from genba.data.stored import StoredStream
from genba.data.vault import Vault

#: Bytes of clocks and numbers that one query or one window source keeps unless told otherwise.
MEMORY_BYTES = 1 << 30
#: Bytes of clocks and splits of opened shards that are kept beside that.
OPENED_BYTES = 1 << 28

#: What an episode is to a track: not looked at yet, kept, or to be read from its shard every time.
_UNKNOWN, _KEPT, _READ = 0, 1, 2


class Memory:
    """How many bytes several tracks may keep together."""

    def __init__(self, limit_bytes: int = MEMORY_BYTES) -> None:
        self.limit_bytes, self.used_bytes = limit_bytes, 0
        self._lock = threading.Lock()

    def take(self, num_bytes: int) -> bool:
        """Use so many bytes more, and say whether there are so many."""
        with self._lock:
            if self.used_bytes + num_bytes > self.limit_bytes:
                return False
            self.used_bytes += num_bytes
            return True


class Opened:
    """The shards of some episodes, opened when asked for; those used last stay open while their clocks fit."""

    def __init__(self, vault: Vault, entries: Sequence[EpisodeEntry], limit_bytes: int = OPENED_BYTES) -> None:
        self.vault, self.entries, self.limit_bytes = vault, list(entries), limit_bytes
        self._kept: OrderedDict[int, tuple[Shard, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.entries)

    def check(self) -> None:
        """Check that what was opened may still be used.

        Raises:
            PermissionDeniedError: the rules of a governed vault no longer allow it.
        """
        if self.vault.gate is not None:
            self.vault.gate.check()

    def shard(self, episode: int) -> Shard:
        """Return an episode's shard, opened.

        Raises:
            CorruptShardError: it is missing, cut, or does not verify.
            PermissionDeniedError: the rules of a governed vault refuse it, or no longer allow what they did.
        """
        self.check()
        with self._lock:
            if episode in self._kept:
                self._kept.move_to_end(episode)
                return self._kept[episode][0]
        shard = self.vault.shard(self.entries[episode])
        size = sum(s.times_ns.nbytes + (0 if s.splits is None else s.splits.nbytes) for s in shard.streams.values())
        with self._lock:
            if episode not in self._kept:
                self._kept[episode] = (shard, size)
                self._bytes += size
            # One stays whatever its size: it is being used.
            while self._bytes > self.limit_bytes and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1][1]
        return shard

    def stream(self, episode: int, name: str) -> StoredStream | None:
        """Return one stream of an episode, None where it has none."""
        return self.shard(episode).streams.get(name)


class Track:
    """One channel in every episode of ``opened``.

    Where it is kept, all episodes' samples lie one after the other in the order in which they were read, and so do their
    clocks: each shifted so far that one search over all of them finds the place in the right one.
    """

    def __init__(
        self,
        name: str,
        opened: Opened,
        memory: Memory,
        *,
        read: Callable[[StoredStream, int, int], np.ndarray] | None = None,
        shape: tuple[int, ...] = (),
        dtype: np.dtype | type = np.float32,
        lead: int = 0,
    ) -> None:
        """Read nothing yet.

        Args:
            read: gives samples ``start`` to ``stop`` of a stream as an array ``[stop - start, *shape]`` of ``dtype``;
                None to know the clock only.
            lead: how many samples before an episode's first a run may begin.
        """
        self.name, self.opened, self.memory, self.read, self.lead = name, opened, memory, read, lead
        count = len(opened)
        self._state = np.zeros(count, np.int8)
        # The first sample's place, the clock's first time, its length, and where the shifted clock begins.
        self._row, self._first_ns, self._span_ns, self._slot = (np.zeros(count, np.int64) for _ in range(4))
        self._num_rows, self._next_slot = lead, 1
        self._clock = np.zeros(lead, np.int64)
        self._values = np.zeros((lead if read else 0, *shape), dtype)
        self._lock = threading.Lock()

    def count(self, episode: np.ndarray, times_ns: np.ndarray, side: str = "right") -> np.ndarray:
        """Return how many of each episode's samples are not later (``"left"``: earlier) than a time.

        Args:
            episode, times_ns: int64 ``[moments]``.

        Returns:
            int64 ``[moments]``.
        """
        self._look(episode)
        # Times outside the episode's clock are brought next to it, where its neighbours' clocks are not reached.
        local = np.minimum(np.maximum(times_ns - self._first_ns[episode], -1), self._span_ns[episode] + 1)
        local += self._slot[episode]
        clock = self._clock[self.lead : self._num_rows]
        out = clock.searchsorted(local, side) - (self._row[episode] - self.lead)  # type: ignore[arg-type]
        for e, here in self._by_episode(episode):
            stream = self.opened.stream(e, self.name)
            assert stream is not None
            out[here] = stream.times_ns.searchsorted(times_ns[here], side)  # type: ignore[arg-type]
        return out

    def runs(
        self, episode: np.ndarray, first: np.ndarray, low: np.ndarray, high: np.ndarray, length: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ``length`` consecutive samples of each episode from its sample ``first`` on.

        Args:
            episode: int64 ``[runs]``.
            first: int64 ``[runs]``, at least ``-lead``.
            low, high: int64 ``[runs]``; of each run only the samples from ``low`` to ``high`` (exclusive, counted from
                its beginning) are wanted, all of which are in the episode.

        Returns:
            The times, int64 ``[runs, length]``, the values ``[runs, length, *shape]`` and which are wanted, bool
            ``[runs, length]``; zeros elsewhere.
        """
        times_ns, out = self.rough_runs(episode, first, low, high, length)
        mask = np.ones((len(episode), length), np.bool_)
        # A few slices per run that is not wanted whole: twice as fast as masks over all of them.
        partial = np.flatnonzero((low > 0) | (high < length))
        for b, start, stop in zip(partial.tolist(), low[partial].tolist(), high[partial].tolist(), strict=True):
            for array in (times_ns, out, mask):
                if start:
                    array[b, :start] = 0
                if stop < length:
                    array[b, stop:] = 0
        return times_ns, out, mask

    def rough_runs(
        self,
        episode: np.ndarray,
        first: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
        length: int,
        since_ns: np.ndarray | int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the times and values of ``runs``, with anything at all where samples are not wanted.

        Args:
            since_ns: int64 ``[runs]``, a moment for each run that its times are counted from.
        """
        self._look(episode)
        read = [(e, here) for e, here in self._by_episode(episode)]
        # The run of an episode that is not kept is any run here; it is written over below.
        row = self._row[episode] + first
        if read:
            row[self._state[episode] == _READ] = 0
        clock, values = self._kept_rows(int(row.max(initial=0)) + length)
        times_ns = _windows(clock, length)[row]
        times_ns += (self._first_ns[episode] - self._slot[episode] - since_ns)[:, None]
        out = _windows(values, length)[row] if self.read else np.zeros((len(row), length, 0), self._values.dtype)
        for e, here in read:
            stream = self.opened.stream(e, self.name)
            assert stream is not None
            for b in here.tolist():
                wanted = slice(int(low[b]), int(high[b]))
                start, stop = int(first[b] + low[b]), int(first[b] + high[b])
                times_ns[b, wanted] = stream.times_ns[start:stop] - np.broadcast_to(since_ns, len(row))[b]
                if self.read:
                    out[b, wanted] = self.read(stream, start, stop)
        return times_ns, out

    def _look(self, episode: np.ndarray) -> None:
        """Read the episodes that were not looked at before."""
        if self._state[episode].all():
            return
        for e in np.unique(episode).tolist():
            if self._state[e] == _UNKNOWN:
                stream = self.opened.stream(e, self.name)
                with self._lock:
                    if self._state[e] == _UNKNOWN:
                        self._state[e] = self._keep(e, stream)

    def _keep(self, e: int, stream: StoredStream | None) -> int:
        size = 0 if stream is None else len(stream.times_ns)
        self._row[e], self._slot[e], self._span_ns[e] = self._num_rows, self._next_slot, -1
        if stream is not None and size:
            if not self.memory.take(size * (8 + self._row_bytes)):
                return _READ
            times_ns = stream.times_ns
            self._first_ns[e], self._span_ns[e] = times_ns[0], times_ns[-1] - times_ns[0]
            self._reserve(self._num_rows + size)
            rows = slice(self._num_rows, self._num_rows + size)
            self._clock[rows] = times_ns - times_ns[0] + self._next_slot
            if self.read:
                self._values[rows] = self.read(stream, 0, size)
            self._num_rows += size
        # Room for a time just before the next clock and one just after this.
        self._next_slot += int(self._span_ns[e]) + 3
        return _KEPT

    @property
    def _row_bytes(self) -> int:
        return self._values.itemsize * int(np.prod(self._values.shape[1:])) if self.read else 0

    def _reserve(self, num_rows: int) -> None:
        """Make room for so many rows; whoever reads the old arrays meanwhile reads the same numbers."""
        if num_rows > len(self._clock):
            room = max(num_rows, 2 * len(self._clock), 1024)
            self._clock = _grown(self._clock, room, self._num_rows)
            if self.read:
                self._values = _grown(self._values, room, self._num_rows)

    def _kept_rows(self, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
        if num_rows > len(self._clock):
            with self._lock:
                self._reserve(num_rows)
        return self._clock, self._values

    def _by_episode(self, episode: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Return the episodes that are read every time, each with where it stands in ``episode``."""
        read = self._state[episode] == _READ
        if not read.any():
            return []
        return [(e, np.flatnonzero(episode == e)) for e in np.unique(episode[read]).tolist()]


class RowTrack:
    """One ragged channel in every episode: how many rows each sample has, and the rows themselves.

    A sample is decoded when it is first asked for, and its rows then stand in its episode's place: the first batch of a
    run meets dozens of episodes and wants a few sweeps of each. From object storage an episode is read at once instead,
    because every sample would be a request.
    """

    def __init__(
        self,
        name: str,
        opened: Opened,
        memory: Memory,
        *,
        shape: tuple[int, ...],
        convert: Callable[[np.ndarray], np.ndarray] | None = None,
        lead: int = 0,
    ) -> None:
        """Read nothing yet.

        Args:
            shape: of one row, after ``convert``.
            convert: makes of float32 rows as they are stored those that are wanted, ``[rows, *shape]``.
        """
        self.name, self.opened, self.memory, self.convert, self.shape = name, opened, memory, convert, shape
        # Of each sample where its rows begin in its episode, and how many they are.
        self.samples = Track(name, opened, memory, read=_extents, shape=(2,), dtype=np.int64, lead=lead)
        self._state = np.zeros(len(opened), np.int8)
        #: of each episode that is kept, its rows, and a byte per sample that is 0 until they are there
        self._rows: list[np.ndarray | None] = [None] * len(opened)
        self._there: list[bytearray] = [bytearray()] * len(opened)
        self._lock = threading.Lock()

    def write(self, episode: int, first: int, stop: int, low: int, out: np.ndarray) -> None:
        """Write the rows of samples ``first`` to ``stop`` (exclusive) of an episode into ``out``.

        Args:
            low: where the first one's rows begin in the episode.
            out: float32 ``[rows, *shape]``.

        Raises:
            CorruptShardError: bytes that do not verify or do not decode.
        """
        rows = self._rows[episode]
        if rows is None and (self._state[episode] or self._look(episode)) == _KEPT:
            rows = self._rows[episode]
        if rows is not None:
            if self._there[episode].find(0, first, stop) >= 0:
                self._decode(episode, rows, first, stop)
            out[:] = rows[low : low + len(out)]
            return
        stream = self.opened.stream(episode, self.name)
        assert stream is not None
        if self.convert is None:
            stream.read(first, stop, out)
        else:
            out[:] = self.convert(stream.values(first, stop))

    def _look(self, episode: int) -> int:
        stream = self.opened.stream(episode, self.name)
        assert stream is not None
        with self._lock:
            if self._state[episode] == _UNKNOWN:
                num_rows = stream.rows(len(stream))
                # What is in clear may claim anything, and memory is taken for it.
                stream.check_claim(0, len(stream))
                kept = self.memory.take(num_rows * 4 * int(np.prod(self.shape)))
                if kept:
                    self._there[episode] = bytearray(len(stream))
                    self._rows[episode] = np.empty((num_rows, *self.shape), np.float32)
                self._state[episode] = _KEPT if kept else _READ
            return int(self._state[episode])

    def _decode(self, episode: int, rows: np.ndarray, first: int, stop: int) -> None:
        """Decode those of samples ``first`` to ``stop`` that are not there yet."""
        stream, there = self.opened.stream(episode, self.name), self._there[episode]
        assert stream is not None
        if not isinstance(stream.source, Held):
            first, stop = 0, len(stream)
        with self._lock:
            while (start := there.find(0, first, stop)) >= 0:
                end = there.find(1, start, stop)
                end = stop if end < 0 else end
                place = rows[stream.rows(start) : stream.rows(end)]
                if self.convert is None:
                    stream.read(start, end, place)
                else:
                    place[:] = self.convert(stream.values(start, end))
                # Only now: another thread copies what is said to be there.
                there[start:end] = b"\x01" * (end - start)


def _extents(stream: StoredStream, start: int, stop: int) -> np.ndarray:
    assert stream.splits is not None
    stream.check_claim(start, stop)
    splits = stream.splits[start : stop + 1]
    return np.stack([splits[:-1], np.diff(splits)], 1)


def _grown(rows: np.ndarray, room: int, used: int) -> np.ndarray:
    out = np.zeros((room, *rows.shape[1:]), rows.dtype)
    out[:used] = rows[:used]
    return out


def _windows(rows: np.ndarray, length: int) -> np.ndarray:
    """View ``rows`` ``[n, ...]`` as its runs of ``length`` rows: ``[n - length + 1, length, ...]``, nothing copied."""
    shape = (max(len(rows) - length + 1, 0), length, *rows.shape[1:])
    # Not as_strided, which takes seven times as long to do the same, several times per batch.
    return np.ndarray(shape, rows.dtype, rows, 0, (rows.strides[0], *rows.strides))
