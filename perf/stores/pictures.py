"""How every store that keeps JPEGs decodes them: the same library, straight into one array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import simplejpeg
from mixed_set import SIZE

QUALITY = 90


def encode(frame: np.ndarray) -> bytes:
    """Encode one frame as Genba does: quality 90, full colour resolution."""
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(frame), quality=QUALITY, colorspace="RGB", colorsubsampling="444"
    )


def decode(jpegs: Sequence[bytes | np.ndarray]) -> np.ndarray:
    """Decode frames: uint8 ``[frames, SIZE, SIZE, 3]``."""
    out = np.empty((len(jpegs), SIZE, SIZE, 3), np.uint8)
    for jpeg, frame in zip(jpegs, out, strict=True):
        simplejpeg.decode_jpeg(jpeg, colorspace="RGB", buffer=frame)
    return out
