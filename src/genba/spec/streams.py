"""A stream: the samples of one channel on its own clock, dense or ragged; and the buffer that a machine keeps of them.

A stream never resamples. A ragged stream (point clouds, entity sets) has ``splits``: sample ``i`` owns the rows
``values[splits[i]:splits[i + 1]]``. Read next: ``embodiment``, which says what a channel's values mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from genba.errors import SpecError


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """The samples of one channel.

    Attributes:
        times_ns: int64 ``[samples]``, never decreasing.
        values: ``[samples, ...]`` where dense, ``[rows, ...]`` where ragged.
        splits: int64 ``[samples + 1]`` where ragged, else None.
    """

    times_ns: np.ndarray
    values: np.ndarray
    splits: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.times_ns.ndim != 1 or self.times_ns.dtype != np.int64:
            raise SpecError(f"times_ns: got {self.times_ns.dtype}{list(self.times_ns.shape)}, expected int64 [samples]")
        if len(self.times_ns) > 1 and bool(np.any(np.diff(self.times_ns) < 0)):
            raise SpecError("times_ns: got a decreasing clock, expected times that never decrease")
        if self.splits is None:
            if len(self.values) != len(self.times_ns):
                raise SpecError(f"values: got {len(self.values)} samples, expected {len(self.times_ns)} as in times_ns")
            return
        if self.splits.dtype != np.int64 or self.splits.shape != (len(self.times_ns) + 1,):
            raise SpecError(
                f"splits: got {self.splits.dtype}{list(self.splits.shape)}, expected int64 [{len(self.times_ns) + 1}]"
            )
        if self.splits[0] != 0 or self.splits[-1] != len(self.values) or bool(np.any(np.diff(self.splits) < 0)):
            raise SpecError(f"splits: got a run that does not rise from 0 to the {len(self.values)} rows of values")

    def __len__(self) -> int:
        return len(self.times_ns)

    def slice(self, start: int, stop: int) -> Stream:
        """Return samples ``start`` to ``stop`` (exclusive), without copying values."""
        if self.splits is None:
            return Stream(self.times_ns[start:stop], self.values[start:stop])
        splits = self.splits[start : stop + 1]
        if len(splits) == 0:
            return Stream(self.times_ns[:0], self.values[:0], np.zeros(1, np.int64))
        return Stream(self.times_ns[start:stop], self.values[splits[0] : splits[-1]], splits - splits[0])

    def sample(self, index: int) -> np.ndarray:
        """Return the values of one sample: ``[...]`` where dense, ``[rows, ...]`` where ragged."""
        if self.splits is None:
            return self.values[index]
        index = range(len(self))[index]
        return self.values[self.splits[index] : self.splits[index + 1]]

    def until(self, time_ns: int) -> int:
        """Return how many samples have a time of at most ``time_ns``."""
        return int(np.searchsorted(self.times_ns, time_ns, side="right"))


def dense(times_ns: Iterable[int] | np.ndarray, values: object, dtype: object = np.float32) -> Stream:
    """Make a dense stream from array-likes."""
    return Stream(np.asarray(times_ns, np.int64), np.asarray(values, dtype))  # type: ignore[arg-type]


def ragged(times_ns: Iterable[int] | np.ndarray, samples: list[np.ndarray]) -> Stream:
    """Make a ragged stream from one array of rows per sample; all samples share their trailing shape.

    Raises:
        SpecError: no samples, from which the trailing shape would be unknown.
    """
    if not samples:
        raise SpecError("ragged: got no samples; use an empty Stream with the channel's trailing shape instead")
    lengths = [len(sample) for sample in samples]
    splits = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Stream(np.asarray(times_ns, np.int64), np.concatenate(samples), splits)


def concatenate(parts: list[Stream]) -> Stream:
    """Join streams of one channel in time order."""
    if len(parts) == 1:
        return parts[0]
    times = np.concatenate([part.times_ns for part in parts])
    values = np.concatenate([part.values for part in parts])
    if parts[0].splits is None:
        return Stream(times, values)
    offset, splits = 0, [np.zeros(1, np.int64)]
    for part in parts:
        assert part.splits is not None
        splits.append(part.splits[1:] + offset)
        offset += len(part.values)
    return Stream(times, values, np.concatenate(splits))


class StreamBuffer:
    """What a machine keeps of its recent samples: parts appended as they come, joined when asked for."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Stream]] = {}
        #: channels of which the last ``append`` left samples out, because their clock had jumped back
        self.went_back: tuple[str, ...] = ()

    def append(self, samples: Mapping[str, Stream]) -> None:
        """Add new samples of any channels; those older than what the channel said before are left out."""
        went_back = []
        for name, stream in samples.items():
            parts = self._parts.get(name)
            if parts and len(stream) and stream.times_ns[0] < parts[-1].times_ns[-1]:
                went_back.append(name)
                stream = stream.slice(stream.until(int(parts[-1].times_ns[-1]) - 1), len(stream))
            if len(stream):
                self._parts.setdefault(name, []).append(stream)
        self.went_back = tuple(went_back)

    def streams(self) -> dict[str, Stream]:
        """Return everything kept so far, one stream per channel."""
        for name, parts in self._parts.items():
            if len(parts) > 1:
                self._parts[name] = [concatenate(parts)]
        return {name: parts[0] for name, parts in self._parts.items()}

    def forget_before(self, times_ns: Mapping[str, int]) -> None:
        """Drop the samples of each named channel before its time, keeping at least the newest one."""
        for name, stream in self.streams().items():
            start = min(stream.until(times_ns.get(name, 0) - 1), max(len(stream) - 1, 0))
            if start > 0:
                self._parts[name] = [stream.slice(start, len(stream))]
