"""Reads the log files of can-utils (``candump -l`` and ``-L``), plain or gzip: one frame per line.

::

    (1436509052.249713) can0 044#2A366C2BBA
    (1436509052.449847) can0 18FEF100#0102030405060708 R
    (1436509052.650004) vcan1 123##1000102030405060708090A0B

Interface, id (3 hexadecimal digits, or 8 for 29 bits), the data; ``##`` and a digit of flags for CAN FD, ``#R`` for a remote
frame. Times are those at which the host received a frame, usually since 1970 in UTC. Read next: ``can_log``.

Source: linux-can/can-utils, ``lib.h`` and ``candump.c`` (the format, not the code).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from genba.data.readers.can_log import MAX_FRAME_BYTES, CanReader, Frames
from genba.data.readers.dbc import EXTENDED_ID
from genba.data.readers.token_lines import HEX, TokenLines, first_bytes, read_lines

_LINE = re.compile(rb"\s*\(\d+\.\d+\) \S+ (?:[0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})#[#0-9A-Fa-fR_]*(?: [TR])?\s*$")
_FORM = "(seconds.fraction) interface id#data"
_HASH, _UNDERSCORE, _REMOTE = b"#_R"
#: In an id of 8 digits: an error frame.
_ERROR = 0x20000000


class CandumpReader(CanReader):
    """Text logs of can-utils, of classic CAN and CAN FD."""

    name = "candump"
    description = "a text log of raw CAN frames by candump -l or -L (plain or .gz); needs --dbc"

    def recognises(self, path: Path) -> bool:
        """Say whether the first line of ``path`` is a frame."""
        return _LINE.match(first_bytes(Path(path), 4096).partition(b"\n")[0]) is not None

    def frames(self, path: Path) -> Iterator[Frames]:
        """Yield the frames of a log."""
        for lines in read_lines(path):
            yield from _parse(lines)


def _parse(lines: TokenLines) -> Iterator[Frames]:
    every = np.arange(len(lines))
    if not len(every):
        return
    extra = (lines.count == 4) & lines.equals(every, 3, b"T", b"R")
    lines.refuse(every, (lines.count != 3) & ~extra, _FORM)
    starts, ends = lines.column(every, 0)
    buffer = lines.buffer
    times_ns, valid = lines.nanoseconds(starts + 1, ends - 1)
    lines.refuse(every, ~valid | (buffer[starts] != ord("(")) | (buffer[ends - 1] != ord(")")), _FORM)
    bus, buses = lines.names(*lines.column(every, 1))
    starts, ends = lines.column(every, 2)
    hashes = np.flatnonzero(buffer == _HASH)
    after = np.searchsorted(hashes, starts)
    at = np.where(after < len(hashes), hashes[np.minimum(after, len(hashes) - 1)], -1) if len(hashes) else starts - 1
    digits = at - starts
    number, valid = lines.numbers(starts, np.maximum(at, starts), 16)
    lines.refuse(every, ~valid | (at >= ends) | ((digits != 3) & (digits != 8)), f"{_FORM} with an id of 3 or 8 digits")
    extended = digits == 8
    lines.refuse(every, number >= np.where(extended, 1 << 30, 1 << 11), "an id below 0x800, or of 29 bits")
    left_out = (extended & (number & _ERROR > 0)) | (buffer[at + 1] == _REMOTE)
    is_fd = buffer[at + 1] == _HASH
    lines.refuse(every, is_fd & (HEX[buffer[at + 2]] > 15), "one hexadecimal digit of flags after ##")
    # A raw length code (``_E``) may follow eight bytes; it says nothing about the data.
    ends = np.where(~left_out & ~is_fd & (ends - at > 3) & (buffer[ends - 2] == _UNDERSCORE), ends - 2, ends)
    starts = at + np.where(is_fd, 3, 1)
    lengths = (ends - starts) // 2
    wrong = ((ends - starts) % 2 != 0) | (lengths < 0) | (lengths > np.where(is_fd, MAX_FRAME_BYTES, 8))
    lines.refuse(every, wrong & ~left_out, "whole bytes of data, at most 8, or 64 after ##")
    address = (number | np.where(extended, EXTENDED_ID, 0)).astype(np.uint32)
    chosen = np.flatnonzero(~left_out)
    lengths = lengths[chosen]
    width = 8 if int(lengths.max(initial=0)) <= 8 else MAX_FRAME_BYTES
    data = _data(lines, chosen, starts[chosen], lengths, width)
    yield Frames(
        times_ns[chosen],
        bus[chosen],
        address[chosen],
        lengths.astype(np.uint8),
        data,
        tuple(buses),
        int(left_out.sum()),
    )


def _data(lines: TokenLines, rows: np.ndarray, starts: np.ndarray, lengths: np.ndarray, width: int) -> np.ndarray:
    data = np.zeros((len(rows), width), np.uint8)
    for length in np.unique(lengths).tolist():
        if length:
            these = np.flatnonzero(lengths == length)
            digits = HEX[lines.buffer[starts[these, None] + np.arange(2 * length)]]
            lines.refuse(rows[these], np.asarray((digits > 15).any(1)), "data in hexadecimal digits")
            data[these, :length] = digits[:, 0::2] << 4 | digits[:, 1::2]
    return data
