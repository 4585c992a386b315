"""New drives from a short one: weighted sums of several stretches of the same episode.

What a nearly linear machine does when two of its ways are added is nearly the sum of what it did, sensor by sensor; so sums of stretches,
with weights of either sign and levels shifted, show the same laws in states that nobody drove through. Noise is
summed too. It is for training where little was recorded, and never for what is measured on. What of a machine may be summed with
which weights is for the caller to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from genba.errors import DataError
from genba.spec.episode import Episode
from genba.spec.streams import Stream
from genba.spec.units import SECOND_NS


def superpose(
    episode: Episode,
    episode_id: str,
    *,
    starts_ns: Sequence[int],
    length_ns: int,
    weights: Mapping[str, np.ndarray],
    shifts: Mapping[str, np.ndarray],
) -> Episode:
    """Return an episode on the clocks of the first stretch: mean + shift + the sum of weight * (stretch - mean).

    Samples are matched by their number within a stretch, so every stream needs a steady rate.

    Args:
        episode: dense telemetry only.
        episode_id: of the new episode.
        starts_ns: where each stretch begins.
        length_ns: how long they are.
        weights: stream -> ``[stretch, dimension]``; other streams are left out.
        shifts: stream -> ``[dimension]``, added to every sample; none where it is not named.

    Raises:
        DataError: a stream that is not there or is not dense, or a stretch that reaches beyond it.
    """
    streams: dict[str, Stream] = {}
    for name, weight in weights.items():
        stream = episode.streams.get(name)
        if stream is None or stream.splits is not None or stream.values.ndim != 2:
            raise DataError(f"{episode.metadata.episode_id}: {name}: expected a stream of numbers to superpose")
        first = np.searchsorted(stream.times_ns, np.asarray(starts_ns, np.int64))
        count = int(np.searchsorted(stream.times_ns, starts_ns[0] + length_ns) - first[0])
        # A stretch may hold a sample less than another of the same length.
        missing = int(first.max()) + count - len(stream)
        if missing > 1:
            raise DataError(
                f"{episode.metadata.episode_id}: {name}: got stretches of {length_ns / SECOND_NS:g} s that end {missing} samples "
                f"beyond its last, expected all inside"
            )
        count -= max(missing, 0)
        mean = stream.values.mean(0, dtype=np.float64)
        values = mean + np.asarray(shifts.get(name, 0.0), np.float64)
        parts = (w * (stream.values[i : i + count] - mean) for w, i in zip(weight, first.tolist(), strict=True))
        times_ns = stream.times_ns[first[0] : first[0] + count]
        streams[name] = Stream(times_ns, (values + sum(parts)).astype(stream.values.dtype))
    return Episode(replace(episode.metadata, episode_id=episode_id), streams)
