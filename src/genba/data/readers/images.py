"""One image of a log as a camera's frame: raw pixels, or the bytes of a JPEG or PNG, to 8-bit RGB.

A picture is looked at first (its size, whether it can be held) and decoded when its episode is made. Sizes come from headers
and are bounded before anything is decoded. Pixels that 8-bit RGB cannot hold (16 bits, depth, Bayer, YUV) are
not squeezed into it: the reason comes back instead. Read next: ``ros_messages``; ``image_files`` for images in files of
their own.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from genba.data.pictures import pillow_module, simplejpeg_module

#: The most pixels of one frame; a frame of 50 million is 150 MB decoded.
PIXEL_LIMIT = 50_000_000

#: Encoding -> bytes per pixel and which of them are red, green and blue.
_ENCODINGS = {
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "8UC3": (3, (2, 1, 0)),  # OpenCV's order
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
    "8UC4": (4, (2, 1, 0)),
    "mono8": (1, (0, 0, 0)),
    "8UC1": (1, (0, 0, 0)),
}

JPEG_MAGIC = b"\xff\xd8\xff"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


class PictureError(Exception):
    """An image that is not what it says; whoever knows the log says so in its terms."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image that is known to fit; ``decode`` gives uint8 ``[height, width, 3]`` or raises ``PictureError``."""

    height: int
    width: int
    decode: Callable[[], np.ndarray]


def raw_picture(data: np.ndarray, encoding: str, height: int, width: int, step: int) -> Picture | str:
    """Return an uncompressed image, or why it cannot be held.

    Args:
        data: uint8 ``[bytes]``, at least ``height * step``.
        encoding: as ``sensor_msgs`` names it.
        step: bytes of a row.

    Raises:
        PictureError: the data are too short for what is said of them.
    """
    if encoding not in _ENCODINGS:
        return f"images encoded as {encoding!r}, which 8-bit RGB does not hold"
    size, channels = _ENCODINGS[encoding]
    _check_size(height, width)
    if step < width * size or height * step > len(data):
        raise PictureError(f"got {len(data)} bytes for {height} rows of {step} bytes, {width} pixels of {size} each")

    def decode() -> np.ndarray:
        rows = data[: height * step].reshape(height, step)[:, : width * size].reshape(height, width, size)
        return np.ascontiguousarray(rows[:, :, channels])

    return Picture(height, width, decode)


def encoded_picture(data: bytes, said: str = "") -> Picture | str:
    """Return a JPEG or PNG, told apart by their first bytes, or why the image cannot be held.

    Args:
        data: the whole file.
        said: what the log says about the format, for the reason.

    Raises:
        PictureError: a JPEG or PNG whose header is damaged.
    """
    if not data.startswith((JPEG_MAGIC, PNG_MAGIC)):
        return f"images of format {said!r}, neither JPEG nor PNG"
    height, width = encoded_size(data)
    _check_size(height, width)
    if data.startswith(PNG_MAGIC) and data[24] == 16:
        return "PNG images of 16 bits, which 8-bit RGB does not hold"
    return Picture(height, width, lambda: decode_encoded(data, height, width))


def encoded_size(data: bytes) -> tuple[int, int]:
    """Return the height and width that a JPEG's or PNG's header states; nothing bounds them yet.

    Raises:
        PictureError: neither, or a header that is damaged or cut.
    """
    if data.startswith(JPEG_MAGIC):
        try:
            height, width = simplejpeg_module().decode_jpeg_header(data)[:2]
        except ValueError as error:
            raise PictureError(f"not a whole JPEG ({error})") from error
        return int(height), int(width)
    if not data.startswith(PNG_MAGIC):
        raise PictureError(f"got {data[:8]!r}, expected the first bytes of a JPEG or a PNG")
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise PictureError("not a whole PNG: it has no header")
    return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")


def decode_encoded(data: bytes, height: int, width: int, modes: tuple[str, ...] = ()) -> np.ndarray:
    """Return the pixels of a JPEG or PNG: uint8 ``[height, width, 3]``; grey gives three equal channels.

    Args:
        modes: the kinds of PNG that are taken, as Pillow names them; whatever RGB can show where empty.

    Raises:
        PictureError: damaged, or not of that size or kind.
    """
    frame = _jpeg_pixels(data) if data.startswith(JPEG_MAGIC) else _png_pixels(data, modes)
    if frame.shape != (height, width, 3):
        raise PictureError(f"got an image of {list(frame.shape)}, expected {[height, width, 3]} as its header says")
    return frame


def _check_size(height: int, width: int) -> None:
    if height < 1 or width < 1 or height * width > PIXEL_LIMIT:
        raise PictureError(f"got an image of {width} x {height} pixels, expected 1 to {PIXEL_LIMIT}")


def _jpeg_pixels(data: bytes) -> np.ndarray:
    try:
        return simplejpeg_module().decode_jpeg(data, colorspace="RGB")
    except ValueError as error:
        raise PictureError(f"not a whole JPEG ({error})") from error


def _png_pixels(data: bytes, modes: tuple[str, ...]) -> np.ndarray:
    pillow = pillow_module()
    try:
        with pillow.open(io.BytesIO(data), formats=("PNG",)) as image:
            if not modes or image.mode in modes:
                return np.asarray(image.convert("RGB"))
            mode = image.mode
    # Pillow's PNG reader raises whatever it stumbles over (OSError, SyntaxError, struct.error, zlib.error, ...).
    except Exception as error:
        raise PictureError(f"not a whole PNG ({error})") from error
    raise PictureError(f"got a PNG of mode {mode}, expected 8-bit RGB or grey")
