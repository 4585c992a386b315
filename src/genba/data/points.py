"""One sweep of points as bytes: rounded to 2 mm, differenced along the sweep, split into bytes, compressed.

A return lies near the one before it, so differences of neighbours are small; written so that small ones of either sign
have zeros in their high bytes (0, -1, 1, -2 become 0, 1, 2, 3), and with all high bytes put side by side, they leave zstd
little. A sweep's places are

* ``int16`` steps of 2 mm where it reaches no farther than 65.534 m: at most 1 mm off, below a LiDAR's own noise;
* ``int32`` steps where it reaches farther, up to 4,294 km;
* ``float32`` as they came where a place is not a number or farther still: exact.

What a return says beside its place (an intensity, a ring) is always exact: whole numbers from 0 to 65,535 take one or two
bytes, everything else stays float32. The order of the points never changes. Which of these a sweep used stands in its
first bytes. A stream of sweeps is in ``codecs``.

Source: signs as in Protocol Buffers' zigzag encoding; byte split as in Apache Parquet's BYTE_STREAM_SPLIT; zstd, RFC 8878.
"""

from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa

#: The grid of stored points, in metres.
POINT_STEP_M = 0.002
#: More compression costs more time to write than it saves in bytes (perf/store.py); reading is as fast either way.
COMPRESSION_LEVEL = 3

_KINDS = (np.dtype("<i2"), np.dtype("<i4"), np.dtype("<f4"), np.dtype("u1"), np.dtype("<u2"))
_INT16, _INT32, _FLOAT32, _UINT8, _UINT16 = range(5)
#: number of points, then the kind of the places
_HEAD = struct.Struct("<IB")


def encode_sweep(points: np.ndarray) -> bytes:
    """Encode ``points`` float32 ``[points, 3 + attributes]``, places in metres."""
    kind, places = _places(points[:, :3])
    columns = [(kind, row) for row in places]
    columns += [_attribute(points[:, i]) for i in range(3, points.shape[1])]
    head = _HEAD.pack(len(points), kind) + bytes(kind for kind, _ in columns[3:])
    planes = b"".join(_split(values) for _, values in columns)
    return head + pa.Codec("zstd", compression_level=COMPRESSION_LEVEL).compress(planes, asbytes=True)


def decode_sweep(data: np.ndarray, out: np.ndarray) -> None:
    """Invert ``encode_sweep``; places are at most half a step off.

    Args:
        data: uint8 ``[bytes]``, one encoded sweep.
        out: where to, float32 ``[points, 3 + attributes]``.

    Raises:
        ValueError: the bytes are no sweep of that size.
    """
    body = _HEAD.size + out.shape[1] - 3
    if len(data) < body:
        raise ValueError(f"got {len(data)} bytes, expected at least {body}")
    count, kind = _HEAD.unpack_from(data.data)
    kinds = [kind, kind, kind, *data[_HEAD.size : body].tolist()]
    if max(kinds) >= len(_KINDS) or kind > _FLOAT32:
        raise ValueError(f"got kinds {kinds}, expected numbers below {len(_KINDS)}")
    sizes = [count * _KINDS[k].itemsize for k in kinds]
    if count != len(out):
        raise ValueError(f"got {count} points, expected {len(out)}")
    try:
        planes = np.frombuffer(pa.Codec("zstd").decompress(data[body:], sum(sizes)), np.uint8)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(str(error)) from error
    width = _KINDS[kind].itemsize
    # The three axes together, in place, for this is done for every sweep of every window: bytes to numbers, signs back, then
    # the sum of the differences, which wraps as they did.
    numbers = _join(planes[: 3 * sizes[0]].reshape(3, width, count))
    signs = numbers & 1
    numbers >>= 1
    numbers ^= np.negative(signs, out=signs)
    np.cumsum(numbers, axis=1, dtype=numbers.dtype, out=numbers)
    places = numbers.view(_KINDS[kind])
    if kind != _FLOAT32:
        # Scaled while each axis lies together, then spread over the points: three times as fast as both at once.
        places = places.astype(np.float32)
        places *= np.float32(POINT_STEP_M)
    for axis in range(3):
        out[:, axis] = places[axis]
    start = 3 * sizes[0]
    for column, (k, size) in enumerate(zip(kinds[3:], sizes[3:], strict=True), 3):
        joined = _join(planes[start : start + size].reshape(1, _KINDS[k].itemsize, count))
        out[:, column] = joined.view(_KINDS[k])[0]
        start += size


def _places(places: np.ndarray) -> tuple[int, np.ndarray]:
    """Return the kind and the differences ``[axis, point]`` as unsigned numbers of its width."""
    steps = np.rint(places.astype(np.float64) / POINT_STEP_M).T
    reach = float(np.abs(steps).max(initial=0))
    kind = _INT16 if reach <= 2**15 - 1 else _INT32 if reach <= 2**31 - 1 else _FLOAT32
    numbers = np.ascontiguousarray(places.T, "<f4") if kind == _FLOAT32 else steps.astype(_KINDS[kind])
    width = _KINDS[kind].itemsize
    # Unsigned, so that a difference too large for its width wraps round, and back again when summed.
    unsigned = np.ascontiguousarray(numbers).view(f"<u{width}")
    differences = np.diff(unsigned, axis=1, prepend=unsigned.dtype.type(0)).view(f"<i{width}")
    return kind, ((differences << 1) ^ (differences >> (8 * width - 1))).view(unsigned.dtype)


def _attribute(values: np.ndarray) -> tuple[int, np.ndarray]:
    values = np.ascontiguousarray(values, "<f4")
    for kind, most in ((_UINT8, 255), (_UINT16, 65535)):
        # Compared as bits: minus zero is equal to zero but is not the same number.
        inside = bool(((values >= 0) & (values <= most)).all())
        if inside and np.array_equal(values.astype(_KINDS[kind]).astype("<f4").view("<u4"), values.view("<u4")):
            return kind, values.astype(_KINDS[kind])
    return _FLOAT32, values


def _split(values: np.ndarray) -> bytes:
    """Return all first bytes, then all second bytes, and so on."""
    return np.ascontiguousarray(values).view(np.uint8).reshape(-1, values.itemsize).T.tobytes()


def _join(planes: np.ndarray) -> np.ndarray:
    """Invert ``_split`` for uint8 ``[column, byte, point]``: unsigned ``[column, point]``."""
    width = planes.shape[1]
    joined = planes[:, 0].astype(f"<u{width}")
    for byte in range(1, width):
        # Shifting whole planes is three times faster than gathering each number's bytes.
        joined |= planes[:, byte].astype(joined.dtype) << joined.dtype.type(8 * byte)
    return joined
