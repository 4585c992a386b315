"""Frames out of video files by their time, and frames into them; single pictures as PNG or JPEG. PyAV does all but JPEG.

Any codec that PyAV's FFmpeg decodes is read (AV1, H.264, HEVC, ...). Frames are found by their presentation time, never
by counting, and every frame asked for is exactly the one at that time or an error. What is written is deterministic:
one encoder thread, no B-frames, a key frame at the start of each episode.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from genba.data.pictures import av_module, simplejpeg_module
from genba.errors import DataError, FormatError

#: How far a frame's time may be from the one asked for, in seconds: LeRobot's own tolerance.
TOLERANCE_S = 1e-4

#: Codec name -> FFmpeg's encoder, pixel format and options. ``h264-lossless`` keeps every RGB value.
CODECS: dict[str, tuple[str, str, dict[str, str]]] = {
    "h264": ("libx264", "yuv420p", {"preset": "veryfast", "crf": "18", "bf": "0", "forced-idr": "1"}),
    "h264-lossless": ("libx264rgb", "rgb24", {"preset": "veryfast", "qp": "0", "bf": "0", "forced-idr": "1"}),
    "hevc": ("libx265", "yuv420p", {"preset": "veryfast", "crf": "20", "x265-params": "bframes=0:log-level=none"}),
    "av1": ("libsvtav1", "yuv420p", {"preset": "10", "crf": "30"}),
}

#: One byte of deflate gives at most 1,032, and a byte holds at most eight pixels.
PNG_PIXELS_PER_BYTE = 1032 * 8

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class VideoFile:
    """One video file: where its frames stand in time, found without decoding."""

    def __init__(self, path: Path) -> None:
        """Read the times of all frames.

        Raises:
            FormatError: no such file, or not a video.
        """
        self.path = path
        times: list[int] = []
        keys: list[int] = []
        with _reading(path), av_module().open(str(path)) as container:
            if not container.streams.video:
                raise FormatError(path, "got no video stream, expected one")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise FormatError(path, "got a codec that this FFmpeg does not know")
            self.time_base: Fraction = stream.time_base or Fraction(1)
            self.height, self.width = int(stream.codec_context.height), int(stream.codec_context.width)
            self.codec: str = stream.codec_context.name
            for packet in container.demux(stream):
                if packet.pts is None or packet.is_discard:
                    continue
                times.append(packet.pts)
                if packet.is_keyframe:
                    keys.append(packet.pts)
        self._times = np.unique(np.array(times, np.int64))
        self._keys = np.unique(np.array(keys, np.int64))

    def __len__(self) -> int:
        return len(self._times)

    def frames(self, start_s: float, rate_hz: float, count: int, *, what: str) -> tuple[np.ndarray, bytes]:
        """Decode the frames at ``start_s + i / rate_hz`` for i in 0 ... ``count`` - 1.

        Args:
            what: what is asked for, for errors, e.g. ``"episode 3"``.

        Returns:
            uint8 ``[count, height, width, 3]``, RGB, and the SHA-256 of their compressed bytes.

        Raises:
            FormatError: a frame that is not there, is damaged or has another size.
        """
        wanted = self._find(start_s, rate_hz, count, what)
        # Only now, when so many frames are known to be there, is room made for them.
        values = np.empty((count, self.height, self.width, 3), np.uint8)
        rows = {int(pts): i for i, pts in enumerate(wanted)}
        state, left = hashlib.sha256(), set(rows)
        with _reading(self.path), av_module().open(str(self.path)) as container:
            stream = container.streams.video[0]
            earlier = self._keys[self._keys <= wanted[0]]
            start = int(earlier[-1] if len(earlier) else wanted[0])
            container.seek(start, stream=stream, backward=True, any_frame=False)
            for packet in container.demux(stream):
                if packet.pts in rows:
                    state.update(bytes(packet))
                for frame in packet.decode():
                    if frame.pts not in left:
                        continue
                    i = rows[frame.pts]
                    if frame.is_corrupt:
                        raise FormatError(self.path, f"frame {i} of {what} is damaged")
                    if (frame.height, frame.width) != (self.height, self.width):
                        raise FormatError(
                            self.path,
                            f"frame {i} of {what}: got {frame.height} x {frame.width} pixels, expected {self.height} x "
                            f"{self.width}",
                        )
                    values[i] = frame.to_ndarray(format="rgb24")
                    left.discard(frame.pts)
                if not left:
                    break
        if left:
            first = min(rows[pts] for pts in left)
            raise FormatError(
                self.path, f"{len(left)} of {count} frames of {what} did not decode, the first is {first}"
            )
        return values, state.digest()

    def _find(self, start_s: float, rate_hz: float, count: int, what: str) -> np.ndarray:
        """Return the presentation times of the frames asked for, in ticks."""
        if count > len(self._times):
            raise FormatError(self.path, f"got {len(self._times)} frames in the whole file, expected {count} of {what}")
        targets_s = start_s + np.arange(count) / rate_hz
        tick_s = float(self.time_base)
        stands_s = self._times * tick_s
        after = np.clip(np.searchsorted(stands_s, targets_s), 1, max(len(stands_s) - 1, 1))
        before = after - 1
        after = np.minimum(after, len(stands_s) - 1)
        nearest = np.where(targets_s - stands_s[before] <= stands_s[after] - targets_s, before, after)
        off_s = np.abs(stands_s[nearest] - targets_s)
        wrong = np.nonzero(off_s >= TOLERANCE_S)[0]
        if len(wrong) or len(np.unique(nearest)) != count:
            i = int(wrong[0]) if len(wrong) else int(np.nonzero(np.diff(nearest) == 0)[0][0]) + 1
            raise FormatError(
                self.path,
                f"frame {i} of {what}: got none at {targets_s[i]:.6f} s, expected one within {TOLERANCE_S:g} s (the "
                f"nearest stands at {stands_s[nearest[i]]:.6f} s; {len(stands_s)} frames from {stands_s[0]:.6f} s to "
                f"{stands_s[-1]:.6f} s)",
            )
        return self._times[nearest]


class VideoWriter:
    """One MP4 file being written, frame by frame at a whole rate."""

    def __init__(self, path: Path, *, codec: str, rate_hz: int, height: int, width: int, keyframe_every: int) -> None:
        """Open ``path`` for frames of one size.

        Args:
            codec: a name of ``CODECS``.
            keyframe_every: frames from one key frame to the next; 2 makes any frame quick to reach.

        Raises:
            DataError: the encoder does not take such frames.
        """
        self.path = path
        encoder, self.pixel_format, options = CODECS[codec]
        if self.pixel_format == "yuv420p" and (height % 2 or width % 2):
            # Half the colour resolution needs even sides.
            self.pixel_format = "yuv444p"
        self._count, self._rate_hz = 0, rate_hz
        with _writing(path):
            self._container = av_module().open(str(path), "w", format="mp4")
            stream: Any = self._container.add_stream(
                encoder, rate=rate_hz, options={**options, "g": str(keyframe_every)}
            )
            stream.height, stream.width, stream.pix_fmt = height, width, self.pixel_format
            stream.codec_context.thread_count = 1
            self._stream = stream
            with scheduling_kept():
                self._container.start_encoding()

    def add_episode(self, frames: Iterable[np.ndarray]) -> tuple[float, float]:
        """Append the frames of one episode, uint8 ``[height, width, 3]`` each.

        Returns:
            Where it begins and ends in the file, in seconds.
        """
        start, av = self._count, av_module()
        with _writing(self.path):
            for values in frames:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(values), format="rgb24")
                frame.pts, frame.time_base = self._count, Fraction(1, self._rate_hz)
                if self._count == start:
                    frame.pict_type = av.video.frame.PictureType.I
                self._container.mux(self._stream.encode(frame))
                self._count += 1
        return start / self._rate_hz, self._count / self._rate_hz

    def written_bytes(self) -> int:
        """Return the size of the file so far; an encoder that looks ahead holds its first frames back."""
        return self.path.stat().st_size if self.path.exists() else 0

    def close(self) -> None:
        """Write what the encoder still holds and end the file."""
        with _writing(self.path):
            self._container.mux(self._stream.encode(None))
            self._container.close()


def encode_png(image: np.ndarray) -> bytes:
    """Return ``image``, uint8 ``[height, width, 3]``, as a PNG: no pixel is changed."""
    av = av_module()
    codec = av.CodecContext.create("png", "w")
    codec.height, codec.width = image.shape[:2]
    codec.pix_fmt, codec.time_base, codec.options = "rgb24", Fraction(1, 1), {"pred": "mixed", "compression_level": "3"}
    codec.thread_count = 1
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return b"".join(bytes(packet) for part in (frame, None) for packet in codec.encode(part))


def png_size(data: bytes) -> tuple[int, int]:
    """Return the height and width that a PNG's header states.

    Raises:
        ValueError: not a PNG.
    """
    if data[:8] != PNG_SIGNATURE or data[12:16] != b"IHDR" or len(data) < 26:
        raise ValueError("not a PNG")
    return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")


def decode_png(data: bytes, height: int, width: int) -> np.ndarray:
    """Return the pixels of a PNG: uint8 ``[height, width, 3]``; grey becomes three equal channels.

    Raises:
        ValueError: not a whole PNG of that size with 8 bits per channel and without transparency.
    """
    if png_size(data) != (height, width):
        raise ValueError(f"got {' x '.join(map(str, png_size(data)))} pixels, expected {height} x {width}")
    if height * width > PNG_PIXELS_PER_BYTE * len(data):
        raise ValueError(f"got {len(data)} bytes for {height} x {width} pixels, fewer than any PNG of that size has")
    av = av_module()
    codec = av.CodecContext.create("png", "r")
    codec.thread_count = 1
    try:
        frames = [*codec.decode(av.Packet(data)), *codec.decode(None)]
    except (av.FFmpegError, EOFError) as error:
        raise ValueError(f"not a whole PNG ({error})") from error
    if len(frames) != 1 or frames[0].is_corrupt:
        raise ValueError("not a whole PNG")
    if frames[0].format.name not in ("rgb24", "gray", "pal8", "monob"):
        raise ValueError(f"got pixels of {frames[0].format.name}, expected 8-bit RGB or grey")
    return frames[0].to_ndarray(format="rgb24")


def picture_size(data: bytes) -> tuple[int, int]:
    """Return the height and width that a PNG's or JPEG's header states.

    Raises:
        ValueError: neither.
    """
    if data[:8] == PNG_SIGNATURE:
        return png_size(data)
    jpeg = simplejpeg_module()
    if not jpeg.is_jpeg(data):
        raise ValueError("got bytes of no known image format, expected PNG or JPEG")
    return jpeg.decode_jpeg_header(data)[:2]


def decode_picture(data: bytes, height: int, width: int) -> np.ndarray:
    """Return the pixels of a PNG or JPEG: uint8 ``[height, width, 3]``.

    Raises:
        ValueError: neither, damaged, or of another size.
    """
    if data[:8] == PNG_SIGNATURE:
        return decode_png(data, height, width)
    found = picture_size(data)
    if found != (height, width):
        raise ValueError(f"got {found[0]} x {found[1]} pixels, expected {height} x {width}")
    return simplejpeg_module().decode_jpeg(data, colorspace="RGB")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise FormatError(path, "no such file, expected a video") from error
    except (av_module().FFmpegError, OSError, ValueError, OverflowError, MemoryError, ZeroDivisionError) as error:
        raise FormatError(path, f"not a video that can be decoded ({error})") from error


@contextmanager
def scheduling_kept() -> Iterator[None]:
    """Give every thread of this process the scheduling that the caller has, afterwards.

    SVT-AV1 puts itself and whoever opens it on the real-time schedule where the user is root, at the highest priority: for good,
    and threads that wait for a turn behind it never get one.
    """
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for task in os.listdir("/proc/self/task"):
            # A thread may have ended since.
            with suppress(ProcessLookupError):
                if os.sched_getscheduler(int(task)) != policy:
                    os.sched_setscheduler(int(task), policy, parameter)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (av_module().FFmpegError, ValueError) as error:
        if isinstance(error, OSError):
            raise  # a full disk is the caller's to report
        raise DataError(f"{path.name}: the video encoder refused ({error}); choose another codec") from error
