"""Point clouds in files of their own: rows of float32, and PCD as radars write it.

Read next: ``kitti`` and ``nuscenes``, whose sweeps these are.

Source: Point Cloud Library, "The PCD (Point Cloud Data) file format", version 0.7.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from genba.data.readers.image_files import read_bytes
from genba.errors import FormatError

#: The longest header of a PCD file that is looked at.
_HEADER_BYTES = 1 << 16

_KINDS = {"F": "f", "I": "i", "U": "u"}


def read_rows(path: Path, width: int, digest: Any) -> np.ndarray:
    """Return a file of little-endian float32 as ``[rows, width]``; ``digest`` is fed its bytes.

    Raises:
        FormatError: the file is missing or does not hold whole rows.
    """
    data = read_bytes(path)
    whole = len(data) // (4 * width) * 4 * width
    if whole != len(data):
        raise FormatError(
            path, f"got {len(data)} bytes, expected whole points of {4 * width}; is the file cut?", offset=whole
        )
    digest.update(data)
    return np.frombuffer(data, "<f4").reshape(-1, width)


def read_pcd(path: Path, fields: tuple[str, ...], digest: Any) -> np.ndarray:
    """Return the named ``fields`` of a binary PCD file: float64 ``[points, fields]``; ``digest`` is fed its bytes.

    Raises:
        FormatError: not a PCD, one without these fields, one with other than ``DATA binary``, or one that is cut.
    """
    data = read_bytes(path)
    digest.update(data)
    header, start = _header(path, data)
    try:
        names, kinds = header["FIELDS"], [_KINDS[kind] for kind in header["TYPE"]]
        sizes, counts = [int(s) for s in header["SIZE"]], [int(c) for c in header.get("COUNT", ["1"] * len(names))]
        num_points = int(header["POINTS"][0])
        if not len(names) == len(kinds) == len(sizes) == len(counts) or set(counts) != {1}:
            raise ValueError(f"{len(names)} fields with {len(sizes)} sizes, {len(kinds)} types and counts {counts}")
        dtype = np.dtype([(name, f"<{kind}{size}") for name, kind, size in zip(names, kinds, sizes, strict=True)])
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise FormatError(path, f"not the header of a PCD ({error})", offset=0) from error
    if header.get("DATA") != ["binary"]:
        raise FormatError(path, f"got DATA {' '.join(header.get('DATA', []))}, expected binary", offset=start)
    missing = [field for field in fields if field not in names]
    if missing:
        raise FormatError(path, f"got fields {', '.join(names)}, expected also {', '.join(missing)}", offset=0)
    size_bytes = num_points * dtype.itemsize
    # Padding behind the points is allowed, fewer bytes than the header promises are not.
    if num_points < 0 or len(data) - start < size_bytes:
        raise FormatError(
            path, f"got {len(data) - start} bytes of points, expected {size_bytes}; is it cut?", offset=start
        )
    points = np.frombuffer(data, dtype, num_points, start)
    # A signalling NaN in a damaged file is a NaN like any other.
    with np.errstate(invalid="ignore"):
        return np.stack([points[field].astype(np.float64) for field in fields], -1)


def check_reach(path: Path, points: np.ndarray, range_max_m: float, width_bytes: int) -> None:
    """Refuse ``points`` ``[points, 3 + ...]`` that are not numbers or stand beyond ``range_max_m``.

    Args:
        width_bytes: bytes of one point in the file, to say where it is.

    Raises:
        FormatError: naming the first such point.
    """
    # Not `> range`: a NaN compares false both ways. Each axis by itself first, as a square may overflow.
    is_near = np.abs(points[:, :3]) <= range_max_m
    range_m = np.linalg.norm(np.where(is_near, points[:, :3], np.inf), axis=1)
    misfits = np.flatnonzero(~((range_m <= range_max_m) & np.isfinite(points[:, 3:]).all(1)))
    if len(misfits):
        first = int(misfits[0])
        raise FormatError(
            path,
            f"point {first}: got {[float(v) for v in points[first]]}, expected numbers within {range_max_m:g} m",
            offset=first * width_bytes if width_bytes else None,
        )


def _header(path: Path, data: bytes) -> tuple[dict[str, list[str]], int]:
    """Return the header's entries and where the points begin."""
    header: dict[str, list[str]] = {}
    position = 0
    while position < min(len(data), _HEADER_BYTES):
        end = data.find(b"\n", position, _HEADER_BYTES)
        if end < 0:
            break
        words = data[position:end].decode("ascii", "replace").split()
        position = end + 1
        if words and not words[0].startswith("#"):
            header[words[0]] = words[1:]
            if words[0] == "DATA":
                return header, position
    raise FormatError(path, "got no DATA line, expected the header of a PCD", offset=0)
