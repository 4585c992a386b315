"""Camera frames as bytes: one JPEG each, or short groups of H.264 that each decode by themselves.

JPEG of quality 90 with a quarter of the colour resolution (4:2:0), as most cameras' own JPEGs and videos have, is the default:
any frame is one small read and one decoding. With all of it (4:4:4) edges between colours of one brightness stay sharp, for
half as many bytes and half as much time to read again.
H.264 takes fewer bytes the calmer the picture, and about five times the time to read: a group begins with a frame that
needs no other, so a frame costs the decoding of those before it in its group. Both lose what an eye hardly sees; neither
is ever put in place of the other. What a stream of frames is made of is in ``codecs``.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any

import numpy as np

from genba.errors import DataError

JPEG_QUALITY = 90


def encode_jpeg(frame: np.ndarray, *, subsampling: str = "420") -> bytes:
    """Encode one frame, uint8 ``[height, width, 3]`` RGB.

    Args:
        subsampling: ``"420"``, one colour for every four pixels, or ``"444"``, one for each.
    """
    return simplejpeg_module().encode_jpeg(
        np.ascontiguousarray(frame), quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling=subsampling
    )


def decode_jpeg(data: np.ndarray, out: np.ndarray) -> None:
    """Decode one frame from uint8 ``[bytes]`` into ``out`` uint8 ``[height, width, 3]``.

    Raises:
        ValueError: not a JPEG of that size.
    """
    # A picture with more pixels than ``out`` is refused there before its memory is taken; one with fewer shows afterwards.
    height, width, _ = simplejpeg_module().decode_jpeg(data, colorspace="RGB", buffer=out).shape
    if (height, width) != out.shape[:2]:
        raise ValueError(f"got {height} x {width} pixels, expected {out.shape[0]} x {out.shape[1]}")


def encode_h264(frames: np.ndarray, *, group: int, quantizer: int) -> list[bytes]:
    """Encode ``frames`` uint8 ``[frames, height, width, 3]`` RGB as groups of ``group`` frames.

    Args:
        quantizer: the same for every frame, 0 to 51, less is better. (A constant rate factor would give short groups
            fewer bits per frame: 31 dB instead of 42 dB for groups of 1 and 8 of the same frames.)

    Returns:
        For each group its number of frames, the length of each frame's bytes, and these (H.264 Annex B).
    """
    av = av_module()
    codec = av.CodecContext.create("libx264", "w")
    codec.height, codec.width, codec.pix_fmt = frames.shape[1], frames.shape[2], "yuv444p"
    # Frames carry no time here: the stream's clock is kept beside them, exactly.
    codec.time_base, codec.gop_size, codec.thread_count = Fraction(1, 1000), group, 1
    parameters = f"keyint={group}:min-keyint={group}:scenecut=0:bframes=0:open-gop=0:ipratio=1"
    codec.options = {"preset": "fast", "tune": "zerolatency", "qp": str(quantizer), "x264-params": parameters}
    packets = []
    for i, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts = i
        packets += codec.encode(picture)
    packets += codec.encode(None) if len(frames) else []
    assert [bool(p.is_keyframe) for p in packets] == [i % group == 0 for i in range(len(frames))]
    blobs = [bytes(packet) for packet in packets]
    groups = [blobs[i : i + group] for i in range(0, len(blobs), group)]
    return [struct.pack(f"<{len(g) + 1}I", len(g), *map(len, g)) + b"".join(g) for g in groups]


def decode_h264(data: np.ndarray, out: np.ndarray) -> None:
    """Decode the first frames of a group from uint8 ``[bytes]`` into ``out`` uint8 ``[frames, height, width, 3]``.

    Raises:
        ValueError: not such a group.
    """
    av = av_module()
    raw = data.tobytes()
    try:
        (count,) = struct.unpack_from("<I", raw)
        if count < len(out) or 4 * (count + 1) > len(raw):
            raise ValueError(f"got {count} frames in {len(raw)} bytes, expected {len(out)}")
        lengths = struct.unpack_from(f"<{len(out)}I", raw, 4)
        codec = av.CodecContext.create("h264", "r")
        codec.thread_count = 1
        # Without this a decoder holds frames back for reordering, which these groups never need.
        codec.flags |= av.codec.context.Flags.low_delay
        start, pictures = 4 * (count + 1), []
        for length in lengths:
            pictures += codec.decode(av.Packet(raw[start : start + length]))
            start += length
        pictures += codec.decode(None) if len(pictures) < len(out) else []
    except (av.FFmpegError, struct.error) as error:
        raise ValueError(str(error)) from error
    if len(pictures) != len(out):
        raise ValueError(f"got {len(pictures)} frames, expected {len(out)}")
    for i, picture in enumerate(pictures):
        if (picture.height, picture.width) != out.shape[1:3]:
            raise ValueError(f"got {picture.height} x {picture.width} pixels, expected {out.shape[1]} x {out.shape[2]}")
        out[i] = picture.to_ndarray(format="rgb24")


def simplejpeg_module() -> Any:
    """Return simplejpeg, or say which extra brings it."""
    # Imported here: it comes with an extra, and machines without cameras do without it.
    try:
        import simplejpeg
    except ModuleNotFoundError as error:
        raise DataError("JPEG images need simplejpeg; install it with: pip install 'genba[readers]'") from error
    return simplejpeg


def av_module() -> Any:
    """Return PyAV, or say which extra brings it."""
    # Imported here: it comes with an extra and brings a whole FFmpeg along, which only video and some PNGs need.
    try:
        import av
    except ModuleNotFoundError as error:
        raise DataError("video needs PyAV; install it with: pip install 'genba[readers]'") from error
    return av


def pillow_module() -> Any:
    """Return Pillow's ``Image``, or say which extra brings it."""
    # Imported here: it comes with an extra, and only logs with PNG images need it.
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise DataError("PNG images need Pillow; install it with: pip install 'genba[readers]'") from error
    return Image
