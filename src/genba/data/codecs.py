"""How a channel's values become bytes and come back: raw numbers, points on a 2 mm grid, JPEG frames.

The modality decides, never the caller: telemetry, entities, relations and actions are stored as they are and read back
without a copy; points are rounded to the nearest 2 mm in int16 (half the bytes of float32, at most 1 mm off, below
any automotive LiDAR's own noise); camera frames are JPEG of quality 90 with full colour resolution (4:4:4). Times and
splits are never touched. Read next: ``shard``, the file that holds the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genba.errors import CorruptShardError, DataError, SpecError
from genba.spec.embodiment import CameraChannel, Embodiment, PointsChannel
from genba.spec.streams import Stream

RAW, POINTS, JPEG = "raw", "points-int16-2mm", "jpeg-90-444"

#: The grid of stored points, in metres, and the farthest coordinate that int16 reaches on it.
POINT_STEP_M = 0.002
POINT_REACH_M = 32767 * POINT_STEP_M

JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True, eq=False)
class StoredStream:
    """A stream as it lies in a shard, not yet decoded.

    Attributes:
        codec: ``RAW``, ``POINTS`` or ``JPEG``.
        times_ns: int64 ``[samples]``.
        splits: int64 ``[samples + 1]`` where ragged, else None.
        data: the stored numbers: decoded shape and dtype for ``RAW``, int16 ``[points, 3]`` for ``POINTS``, uint8
            ``[bytes]`` for ``JPEG``.
        block_starts: int64 ``[samples + 1]`` for ``JPEG``: frame ``i`` is ``data[block_starts[i]:block_starts[i + 1]]``.
        shape: the shape of one decoded sample (dense) or row (ragged).
        place: where it was read, for errors.
    """

    codec: str
    times_ns: np.ndarray
    splits: np.ndarray | None
    data: np.ndarray
    block_starts: np.ndarray | None
    shape: tuple[int, ...]
    place: str = ""

    @property
    def size_bytes(self) -> int:
        """Bytes that the values take as they are stored."""
        return int(self.data.nbytes)

    def decode(self) -> Stream:
        """Return the stream; raw values are views of the stored bytes.

        Raises:
            CorruptShardError: the bytes are not what the codec says.
        """
        match self.codec:
            case "raw":
                values = self.data
            case "points-int16-2mm":
                values = decode_points(self.data)
            case _:
                frames = [self.frame(i) for i in range(len(self.times_ns))]
                values = np.stack(frames) if frames else np.zeros((0, *self.shape), np.uint8)
        try:
            return Stream(self.times_ns, values, self.splits)
        except SpecError as error:
            raise CorruptShardError(f"{self.place}: {error}; run: genba data check") from error

    def frame(self, index: int) -> np.ndarray:
        """Decode one JPEG frame: uint8 ``[height, width, 3]``.

        Raises:
            CorruptShardError: the bytes are not a JPEG of the channel's size.
        """
        assert self.block_starts is not None
        blob = self.data[self.block_starts[index] : self.block_starts[index + 1]]
        try:
            frame = _jpeg().decode_jpeg(np.ascontiguousarray(blob), colorspace="RGB")
        except ValueError as error:
            raise CorruptShardError(f"{self.place}: frame {index}: not a JPEG ({error})") from error
        if frame.shape != self.shape:
            raise CorruptShardError(
                f"{self.place}: frame {index}: got {list(frame.shape)}, expected {list(self.shape)}"
            )
        return frame


def encode(embodiment: Embodiment, name: str, stream: Stream) -> StoredStream:
    """Encode a stream as its channel's modality asks.

    Raises:
        SpecError: a point beyond what the grid reaches, or one that is not a number.
    """
    channel = next((c for c in embodiment.channels if c.name == name), None)
    place = f"{embodiment.id}: {name}"
    if isinstance(channel, PointsChannel):
        data = encode_points(stream.values, place=place)
        return StoredStream(POINTS, stream.times_ns, stream.splits, data, None, (3,), place)
    if isinstance(channel, CameraChannel):
        jpeg = _jpeg()
        blobs = [
            jpeg.encode_jpeg(
                np.ascontiguousarray(frame), quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling="444"
            )
            for frame in stream.values
        ]
        starts = np.concatenate([[0], np.cumsum([len(blob) for blob in blobs])]).astype(np.int64)
        data = np.frombuffer(b"".join(blobs), np.uint8) if blobs else np.zeros(0, np.uint8)
        shape = (channel.height, channel.width, 3)
        return StoredStream(JPEG, stream.times_ns, stream.splits, data, starts, shape, place)
    return StoredStream(
        RAW, stream.times_ns, stream.splits, np.ascontiguousarray(stream.values), None, stream.values.shape[1:], place
    )


def encode_points(points: np.ndarray, *, place: str) -> np.ndarray:
    """Round ``points`` ``[..., 3]`` in metres to the grid: int16.

    Raises:
        SpecError: a coordinate beyond +-``POINT_REACH_M`` or not a number.
    """
    steps = np.rint(np.asarray(points, np.float64) / POINT_STEP_M)
    if steps.size and not bool((np.abs(steps) <= 32767).all()):
        worst = float(np.abs(points).max())
        raise SpecError(
            f"{place}: got a coordinate of {worst:g} m, expected at most {POINT_REACH_M:g} m, the reach of int16 at "
            f"{POINT_STEP_M:g} m; crop the sweep"
        )
    return steps.astype(np.int16)


def decode_points(steps: np.ndarray) -> np.ndarray:
    """Invert ``encode_points``: float32, metres, at most half a step off."""
    return np.multiply(steps, np.float32(POINT_STEP_M), dtype=np.float32)


def _jpeg():  # type: ignore[no-untyped-def]
    # Imported here: simplejpeg comes with an extra, and machines without cameras do without it.
    try:
        import simplejpeg
    except ModuleNotFoundError as error:
        raise DataError("camera frames need simplejpeg; install it with: pip install 'genba[readers]'") from error
    return simplejpeg
