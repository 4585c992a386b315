"""Marks of a stream: a few of its runs of samples, by which an exact copy of any part of it is known again.

The series' grid begins where an episode begins, so a part that was cut out falls into other steps, and of noisy sensors
it then shows other means. Samples themselves do not depend on where a copy begins. Which runs are kept depends on their
content alone (Broder 1997, "On the resemblance and containment of documents": the smallest hashes of shingles), so a part keeps
those that the whole keeps of it. Read next: ``sketch``, which knows copies that are not exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from genba.spec.streams import Stream

#: Samples of a run, and runs that are kept of a stream.
RUN, NUM_MARKS = 8, 48

_SEED = 0x6E62


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """uint64 hashes ``[marks]``, rising, and when each run begins, int64 ``[marks]`` in ns."""

    hashes: np.ndarray
    times_ns: np.ndarray


def hash_samples(part: Stream) -> np.ndarray:
    """Return a hash of each sample's bits: uint64 ``[samples]``; of a ragged one in whatever order its rows are."""
    values = np.ascontiguousarray(part.values)
    width = math.prod(values.shape[1:])
    rows = values.reshape(len(values), width).view(np.uint8 if values.itemsize % 4 else np.uint32)
    hashes = _mix(rows @ _weights(rows.shape[1]))
    if part.splits is None:
        return hashes
    # Sums wrap around, so a difference of two is exact.
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(hashes, dtype=np.uint64)])
    return _mix(total[part.splits[1:]] - total[part.splits[:-1]] + np.diff(part.splits).astype(np.uint64))


def take_marks(hashes: Iterable[np.ndarray], times_ns: np.ndarray) -> Marks:
    """Choose the runs to keep, out of the hashes of all samples, piece by piece; ones that repeat a sample tell nothing."""
    samples = np.concatenate([np.zeros(0, np.uint64), *hashes])
    count = len(samples) - RUN + 1
    if count < 1:
        return Marks(np.zeros(0, np.uint64), np.zeros(0, np.int64))
    weights = _weights(RUN)
    runs = np.zeros(count, np.uint64)
    for i in range(RUN):
        runs += samples[i : i + count] * weights[i]
    changed = np.concatenate([[0], np.cumsum(samples[1:] != samples[:-1])])
    telling = np.flatnonzero(changed[RUN - 1 :] - changed[:count] == RUN - 1)
    kept, at = np.unique(_mix(runs[telling]), return_index=True)
    return Marks(kept[:NUM_MARKS], times_ns[telling[at[:NUM_MARKS]]])


def _weights(count: int) -> np.ndarray:
    return np.random.default_rng(_SEED).integers(0, 1 << 64, count, np.uint64) | np.uint64(1)


def _mix(values: np.ndarray) -> np.ndarray:
    """Spread every bit over all bits.

    Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", figure 16 (mix64variant13).
    """
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
