"""Camera frames that a log keeps as image files: their sizes without decoding, and the frames themselves.

JPEG and PNG are told apart by their first bytes, never by a name. Grey images become RGB with three equal channels. What a
header claims is held against the bytes that are there before anything is allocated, and many frames are decoded into a
temporary file without a name instead of memory, so that a long log of large frames is read on a small computer.
"""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genba.errors import DataError, FormatError

#: Decoded frames beyond so many bytes lie in a temporary file.
MEMORY_BYTES = 1 << 28

#: Neither deflate (1032 : 1) nor JPEG's entropy coding packs more pixels into a byte.
_PIXELS_PER_BYTE = 1100

#: Most images say their size within so many bytes.
_HEAD_BYTES = 1 << 16

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


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
        frames[i] = _decode(path, data)
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
    if data.startswith(_JPEG):
        try:
            height, width = _jpeg().decode_jpeg_header(data)[:2]
        except ValueError as error:
            raise FormatError(path, f"not a whole JPEG ({error})", offset=0) from error
    elif data.startswith(_PNG) and len(data) >= 33 and data[12:16] == b"IHDR":
        width, height = struct.unpack(">II", data[16:24])
    else:
        raise FormatError(path, f"got {data[:8]!r}, expected the first bytes of a JPEG or a PNG", offset=0)
    if min(height, width) < 8 or height * width > _PIXELS_PER_BYTE * size_bytes:
        raise FormatError(path, f"got {height} x {width} pixels in {size_bytes} bytes, expected a camera's frame")
    return int(height), int(width)


def _decode(path: Path, data: bytes) -> np.ndarray:
    if data.startswith(_JPEG):
        try:
            return _jpeg().decode_jpeg(data, colorspace="RGB")
        except ValueError as error:
            raise FormatError(path, f"not a whole JPEG ({error})") from error
    image_module = _pillow()
    try:
        with image_module.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.mode not in ("RGB", "L"):
                raise FormatError(path, f"got a PNG of mode {image.mode}, expected 8-bit RGB or grey")
            return np.asarray(image.convert("RGB"))
    except FormatError:
        raise
    # Pillow's PNG reader raises whatever it stumbles over (OSError, SyntaxError, struct.error, zlib.error, ...).
    except Exception as error:
        raise FormatError(path, f"not a whole PNG ({error})") from error


def _room(shape: tuple[int, ...]) -> np.ndarray:
    if int(np.prod(shape, dtype=object)) <= MEMORY_BYTES:
        return np.empty(shape, np.uint8)
    # The file has no name: it is gone with the array, or with the process.
    with tempfile.TemporaryFile(prefix="genba-frames-") as file:
        return np.memmap(file, np.uint8, mode="w+", shape=shape)


def _jpeg() -> Any:
    # Imported here: simplejpeg comes with an extra, and logs without cameras do without it.
    try:
        import simplejpeg
    except ModuleNotFoundError as error:
        raise DataError("camera frames need simplejpeg; install it with: pip install 'genba[readers]'") from error
    return simplejpeg


def _pillow() -> Any:
    # Imported here: Pillow comes with an extra, and only logs with PNG frames need it.
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise DataError("PNG frames need Pillow; install it with: pip install 'genba[readers]'") from error
    return Image
