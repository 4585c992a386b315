"""How a channel's samples become blocks of bytes, and what may be chosen about it.

A block is the least that is read, decoded and (in a shard) sealed: about half a second of telemetry, one sweep, one frame
or one short group of frames. Every block of a stream holds the same number of samples, but for the last, so that where
a sample lies needs no search. The modality decides how: telemetry, entities, relations and actions are their own bytes;
points are ``points``' business, frames ``pictures``'. Times and splits are never touched.

Read next: ``stored``, which reads blocks back; ``shard``, the file that holds them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from genba.data.pictures import encode_h264, encode_jpeg
from genba.data.points import encode_sweep
from genba.spec.embodiment import CameraChannel, Embodiment, PointsChannel
from genba.spec.streams import Stream

RAW, POINTS, H264 = "raw", "points-2mm-zigzag-zstd", "h264-444"
#: frames as JPEG, by how much colour they keep
JPEGS = {"420": "jpeg-90-420", "444": "jpeg-90-444"}
CODECS = (RAW, POINTS, *JPEGS.values(), H264)

#: Raw samples are put together until a block has about this many bytes: 0.4 s of 21 joints at 500 Hz. AES takes 3 us for
#: it, of which 1 us is the call; smaller blocks would cost more calls, larger ones more bytes that nobody asked for.
BLOCK_BYTES = 32 << 10


@dataclass(frozen=True, kw_only=True, slots=True)
class StorageChoices:
    """What whoever opens a vault may choose about the episodes stored through it; what is stored already stays."""

    #: whether blocks are sealed under the owner's key; without, whoever can read the files can read the data
    encrypt: bool = True
    #: how frames are stored: a JPEG each, or short groups of H.264 (fewer bytes, about 5 times the time to read)
    camera: Literal["jpeg", "h264"] = "jpeg"
    #: a JPEG's colours: one for every four pixels, as cameras' own JPEGs have, or one for each (half as many bytes and as
    #: much time to read again; decision 20). H.264 keeps all colours here, whatever this says.
    jpeg_subsampling: Literal["420", "444"] = "420"
    #: frames in a group of H.264; reading one frame decodes those before it in its group
    group_length: int = 2
    #: H.264's quantizer, the same for every frame: 0 to 51, less is better and larger; 18 is hard to tell apart
    quantizer: int = 18

    def __post_init__(self) -> None:
        if self.camera not in ("jpeg", "h264"):
            raise ValueError(f"camera: got {self.camera!r}, expected 'jpeg' or 'h264'")
        if self.jpeg_subsampling not in JPEGS:
            raise ValueError(f"jpeg_subsampling: got {self.jpeg_subsampling!r}, expected '420' or '444'")
        if not 1 <= self.group_length <= 250:
            raise ValueError(f"group_length: got {self.group_length}, expected 1 to 250 frames")
        if not 0 <= self.quantizer <= 51:
            raise ValueError(f"quantizer: got {self.quantizer}, expected 0 to 51")


@dataclass(frozen=True, slots=True, eq=False)
class EncodedStream:
    """A stream as blocks of bytes, not sealed.

    Attributes:
        codec: one of ``CODECS``.
        dtype: of the decoded values, e.g. ``"<f4"``.
        shape: of one decoded sample (dense) or row (ragged).
        times_ns: int64 ``[samples]``.
        splits: int64 ``[samples + 1]`` where ragged, else None.
        samples_per_block: of every block but the last, which may hold fewer.
        blocks: the bytes of each, bytes or memoryviews.
    """

    codec: str
    dtype: str
    shape: tuple[int, ...]
    times_ns: np.ndarray
    splits: np.ndarray | None
    samples_per_block: int
    blocks: Sequence[bytes | memoryview]


def encode(embodiment: Embodiment, name: str, stream: Stream, choices: StorageChoices) -> EncodedStream:
    """Encode a stream as its channel's modality and ``choices`` ask."""
    channel = next((c for c in embodiment.channels if c.name == name), None)
    values, dtype = stream.values, stream.values.dtype.newbyteorder("<").str
    times_ns, splits, shape = stream.times_ns, stream.splits, stream.values.shape[1:]
    if isinstance(channel, PointsChannel):
        assert splits is not None
        sweeps = [encode_sweep(values[low:high]) for low, high in itertools.pairwise(splits)]
        return EncodedStream(POINTS, dtype, shape, times_ns, splits, 1, sweeps)
    if isinstance(channel, CameraChannel):
        if choices.camera == "h264":
            groups = encode_h264(values, group=choices.group_length, quantizer=choices.quantizer)
            return EncodedStream(H264, dtype, shape, times_ns, None, choices.group_length, groups)
        frames = [encode_jpeg(frame, subsampling=choices.jpeg_subsampling) for frame in values]
        return EncodedStream(JPEGS[choices.jpeg_subsampling], dtype, shape, times_ns, None, 1, frames)
    data = np.ascontiguousarray(values, dtype)
    rows = np.arange(len(times_ns) + 1) if splits is None else splits
    row_bytes = data.itemsize * int(np.prod(shape))
    mean_bytes = row_bytes * int(rows[-1]) // max(len(times_ns), 1)
    per_block = max(1, BLOCK_BYTES // max(mean_bytes, 1))
    per_block = max(1, min(per_block, len(times_ns)))
    edges = row_bytes * np.append(rows[: len(times_ns) : per_block], rows[-1])
    flat = data.reshape(-1).view(np.uint8)
    blocks = [flat[low:high].data for low, high in itertools.pairwise(edges)]
    return EncodedStream(RAW, dtype, shape, times_ns, splits, per_block, blocks)
