"""Camera frames that a log keeps as image files: their sizes without decoding, and the frames themselves.

What their bytes say is ``images``' business; here are files of one size, grey ones or RGB, and what reading them may cost. What a
header claims is held against the bytes that are there before anything is allocated, and many frames are decoded into a
temporary file without a name instead of memory, so that a long log of large frames is read on a small computer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genba.data.readers.images import PictureError, decode_encoded, encoded_size
from genba.errors import FormatError

#: Decoded frames beyond so many bytes lie in a temporary file.
MEMORY_BYTES = 1 << 28

#: Neither deflate (1032 : 1) nor JPEG's entropy coding packs more pixels into a byte.
_PIXELS_PER_BYTE = 1100

#: Most images say their size within so many bytes.
_HEAD_BYTES = 1 << 16


def image_size(path: Path) -> tuple[int, int]:
    """Return (height, width) in pixels as the header says.

    Raises:
        FormatError: neither JPEG nor PNG, or a header that cannot be true.
    """
    try:
        with path.open("rb") as file:
            head, size_bytes = file.read(_HEAD_BYTES), path.stat().st_size
    except OSError as error:
        raise FormatError(path, f"cannot be read ({error.strerror}), expected a camera's frame") from error
    try:
        return _size(path, head, size_bytes)
    except FormatError:
        # A JPEG's size stands behind its other segments, which may fill more.
        return _size(path, read_bytes(path), size_bytes)


def read_frames(paths: Sequence[Path], height: int, width: int, digest: Any) -> np.ndarray:
    """Decode image files of one size: uint8 ``[len(paths), height, width, 3]``, RGB.

    Args:
        digest: a ``hashlib`` object that is fed each file's bytes.

    Raises:
        FormatError: a file that is missing, damaged or of another size.
    """
    shape = (len(paths), height, width, 3)
    frames: np.ndarray | None = None
    for i, path in enumerate(paths):
        data = read_bytes(path)
        size = _size(path, data, len(data))
        if size != (height, width):
            raise FormatError(path, f"got {size[0]} x {size[1]} pixels, expected {height} x {width}")
        digest.update(data)
        # Only now: the first file has vouched for the size.
        frames = _room(shape) if frames is None else frames
        try:
            frames[i] = decode_encoded(data, height, width, modes=("RGB", "L"))
        except PictureError as error:
            raise FormatError(path, str(error)) from error
    return np.zeros(shape, np.uint8) if frames is None else frames


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        FormatError: there is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise FormatError(path, f"cannot be read ({error.strerror}), expected a file of the log") from error


def _size(path: Path, data: bytes, size_bytes: int) -> tuple[int, int]:
    try:
        height, width = encoded_size(data)
    except PictureError as error:
        raise FormatError(path, str(error), offset=0) from error
    if min(height, width) < 8 or height * width > _PIXELS_PER_BYTE * size_bytes:
        raise FormatError(path, f"got {height} x {width} pixels in {size_bytes} bytes, expected a camera's frame")
    return height, width


def _room(shape: tuple[int, ...]) -> np.ndarray:
    if int(np.prod(shape, dtype=object)) <= MEMORY_BYTES:
        return np.empty(shape, np.uint8)
    # The file has no name: it is gone with the array, or with the process.
    with tempfile.TemporaryFile(prefix="genba-frames-") as file:
        return np.memmap(file, np.uint8, mode="w+", shape=shape)
