"""Fingerprints of what sensors said: the same samples give the same ones, in whatever container and under whatever name.

An episode's **content** is the values of its machine's channels that sense (telemetry, cameras, points, entities), in
order, each cut into **pieces**: a frame, a sweep, a snapshot, or of numbers a run of about 32 samples whose ends depend on
the values themselves, so that a log that begins later or ends earlier has the same pieces between. A piece's fingerprint
is of its values alone: not of times, names, owner or id. What a vault stores with loss (frames, points) has pieces of two
forms, as it was given and as it is stored, because a log that comes again is encoded the same, and an export that comes
back is decoded the same.

Not recognised: values that were changed, however little (another unit, another resolution or precision, resampled, frames
compressed anew or scaled), and what was not sensed (actions, labels, instructions, relations). Blinding is ``DeniedList``'s
business, deciding ``withdrawn``'s.

Source: content-defined chunking after Muthitacharoen, Chen and Mazieres, "A low-bandwidth network file system", SOSP 2001.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping

import numpy as np

from genba.data.codecs import RAW
from genba.spec.embodiment import Embodiment, TelemetryChannel
from genba.spec.streams import Stream
from genba.trust.denied import FINGERPRINT_BYTES

#: samples of a piece of numbers: at least, on average beyond that, at most
LEAST, MEAN, MOST = 16, 32, 128
#: how many different samples a run of numbers, or different values a frame, sweep or snapshot, must have to count: what
#: stands still, switches, is dark or holds only a few states is alike everywhere
DISTINCT = 8
#: of a frame one value in so many is looked at for that; odd, so that it meets every colour
STRIDE = 61
#: a stored block of fewer bytes says too little: a sweep without points is the same everywhere
LEAST_BYTES = 64

#: channel and form (``"front"``, ``"front as stored"``) -> the fingerprints of its distinct pieces
Content = dict[str, frozenset[bytes]]


def sensed(embodiment: Embodiment) -> tuple[str, ...]:
    """Return the names of the channels whose values are an episode's content."""
    kinds = (embodiment.telemetry, embodiment.camera, embodiment.points, embodiment.entities)
    return tuple(channel.name for channels in kinds for channel in channels)


def content_of(embodiment: Embodiment, name: str, stream: Stream) -> frozenset[bytes]:
    """Return the fingerprints of one channel's distinct pieces, as its values were given."""
    if any(isinstance(c, TelemetryChannel) and c.name == name for c in embodiment.channels):
        return frozenset(_fingerprint(piece.tobytes(), piece.shape[1:]) for piece in runs(_canonical(stream.values)))
    values = _canonical(stream.values)
    if stream.splits is None:
        samples: Iterable[np.ndarray] = values
    else:
        samples = (values[low:high] for low, high in itertools.pairwise(stream.splits.tolist()) if high > low)
    return frozenset(_fingerprint(np.ascontiguousarray(one).data, one.shape) for one in samples if _says_something(one))


def stored_content(codec: str, blocks: Iterable[bytes | memoryview]) -> frozenset[bytes]:
    """Return the fingerprints of a channel's blocks as they are stored; none where nothing is lost in storing."""
    if codec == RAW:
        return frozenset()
    return frozenset(_fingerprint(block, (codec,)) for block in blocks if len(block) >= LEAST_BYTES)


def episode_content(
    embodiment: Embodiment,
    streams: Mapping[str, Stream],
    stored: Mapping[str, tuple[str, Iterable[bytes | memoryview]]],
) -> Content:
    """Return an episode's content.

    Args:
        streams: as they were given.
        stored: codec and blocks of each.
    """
    out: Content = {}
    for name in sensed(embodiment):
        if name in streams and len(streams[name]):
            out[name] = content_of(embodiment, name, streams[name])
            out[f"{name} as stored"] = stored_content(*stored[name])
    return {name: pieces for name, pieces in out.items() if pieces}


def runs(values: np.ndarray) -> list[np.ndarray]:
    """Cut ``[samples, ...]`` into pieces whose ends depend on the values: the same run of samples is cut the same anywhere.

    Returns:
        Those pieces that have at least ``DISTINCT`` different samples.
    """
    rows = np.ascontiguousarray(values).reshape(len(values), -1)
    words = rows.view(np.uint32).astype(np.uint64)
    # A multiplier per column, odd and fixed; then the bits are scattered, so that an end is as likely after any sample.
    factors = np.random.Generator(np.random.PCG64(0)).integers(0, 2**63, words.shape[1], np.uint64) * np.uint64(2)
    mixed = (words * (factors + np.uint64(1))).sum(1, dtype=np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    ends = np.flatnonzero((mixed >> np.uint64(40)) % np.uint64(MEAN) == 0) + 1
    cuts = [0]
    for end in [*ends.tolist(), len(values)]:
        while end - cuts[-1] > MOST:
            cuts.append(cuts[-1] + MOST)
        if end - cuts[-1] >= LEAST:
            cuts.append(end)
    cuts.append(len(values))
    return [values[low:high] for low, high in itertools.pairwise(cuts) if len(np.unique(mixed[low:high])) >= DISTINCT]


def _says_something(sample: np.ndarray) -> bool:
    values = sample.reshape(-1)
    if values.dtype == np.uint8:
        return bool(np.count_nonzero(np.bincount(values[::STRIDE])) >= DISTINCT)
    return len(np.unique(values)) >= DISTINCT


def _canonical(values: np.ndarray) -> np.ndarray:
    """Return values in the one form that is looked at: float32, one NaN, one zero; frames as they are."""
    if values.dtype == np.uint8:
        return values
    numbers = values.astype("<f4") + np.float32(0)
    numbers[np.isnan(numbers)] = np.nan
    return numbers


def _fingerprint(data: bytes | memoryview, about: tuple[object, ...]) -> bytes:
    # SHA-256, because processors do it: twice as fast here as BLAKE2b, and frames are what costs.
    state = hashlib.sha256(f"genba content {about!r}\n".encode())
    state.update(data)
    return state.digest()[:FINGERPRINT_BYTES]
