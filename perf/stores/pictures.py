"""How every other store that keeps JPEGs decodes them: the library that Genba uses, straight into one array.

The array begins where libjpeg-turbo writes fastest, as Genba's do (``genba.data.recycle`` says why): what is compared is
the stores, not the luck of an allocator.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import simplejpeg
from mixed_set import SIZE

QUALITY = 90


def encode(frame: np.ndarray, subsampling: str) -> bytes:
    """Encode one frame as Genba does: quality 90, a quarter of the colours (``"420"``) or all of them (``"444"``)."""
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(frame), quality=QUALITY, colorspace="RGB", colorsubsampling=subsampling
    )


def decode(jpegs: Sequence[bytes | np.ndarray]) -> np.ndarray:
    """Decode frames: uint8 ``[frames, SIZE, SIZE, 3]``."""
    size = len(jpegs) * SIZE * SIZE * 3
    memory = np.empty(size + 64, np.uint8)
    first = (16 - memory.__array_interface__["data"][0]) % 64
    out = memory[first : first + size].reshape(len(jpegs), SIZE, SIZE, 3)
    for jpeg, frame in zip(jpegs, out, strict=True):
        simplejpeg.decode_jpeg(jpeg, colorspace="RGB", buffer=frame)
    return out
