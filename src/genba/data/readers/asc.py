"""Reads Vector's ASC logs (CANalyzer, CANoe, and many loggers): text, one event per line.

::

    date Sat Sep 30 15:06:13.191 2017
    base hex  timestamps absolute
       0.010000 1  1F4             Rx   d 8 00 11 22 33 44 55 66 77  Length = 244000 BitCount = 124
       0.015991 1  18FEF100x       Rx   d 2 0A FF
       0.020000 CANFD   1 Rx        123  Name  1 0 d 32 00 11 ...

Times are seconds since the measurement began, as the interface took them; the date in the header has no time zone, so the
streams keep the log's own clock and the date goes into the episode's source. Events that are no CAN frame (statistics,
other buses, comments) are left out and counted. Read next: ``can_log``.

Source: Vector, "ASC Logging Files Format Description", version 1.4.15, as other open readers of the format read it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genba.data.readers.can_log import MAX_FRAME_BYTES, CanReader, Frames
from genba.data.readers.dbc import EXTENDED_ID
from genba.data.readers.token_lines import TokenLines, first_bytes, read_lines
from genba.errors import FormatError

_DATE = re.compile(rb"^\s*date\s+(.*?)\s*$", re.IGNORECASE | re.MULTILINE)
_BASE = re.compile(rb"^\s*base\s+(hex|dec)\s+timestamps\s+(absolute|relative)\b", re.IGNORECASE | re.MULTILINE)
#: How far into the file its header may reach.
_HEAD_BYTES = 4096
#: Words that a line which is no event may begin with.
_OTHER = {"date", "base", "no", "internal", "begin", "end", "previous", "measurement"}
_FRAME = "time channel id Rx|Tx d length data"


@dataclass(frozen=True, slots=True)
class _Header:
    base: int
    relative: bool


class AscReader(CanReader):
    """Vector ASC logs of classic CAN and CAN FD."""

    name = "asc"
    description = "a Vector ASC text log of raw CAN frames (CANalyzer, CANoe); needs --dbc"

    def recognises(self, path: Path) -> bool:
        """Say whether ``path`` has the header of an ASC log."""
        head = first_bytes(Path(path), _HEAD_BYTES)
        return head.lstrip()[:4].lower() in (b"date", b"base") and _BASE.search(head) is not None

    def started(self, path: Path) -> str:
        """Return the header's date as it is written."""
        found = _DATE.search(first_bytes(path, _HEAD_BYTES))
        return f"started {found[1].decode('latin-1')} (no time zone)" if found else ""

    def frames(self, path: Path) -> Iterator[Frames]:
        """Yield the frames of a log."""
        found = _BASE.search(first_bytes(path, _HEAD_BYTES))
        if found is None:
            raise FormatError(
                path, "got no line 'base hex|dec timestamps absolute|relative', expected one in the header"
            )
        header = _Header(16 if found[1].lower() == b"hex" else 10, found[2].lower() == b"relative")
        before_ns = 0
        for lines in read_lines(path):
            events, times_ns = _events(lines)
            if header.relative and len(events):
                times_ns = before_ns + np.cumsum(times_ns)
                before_ns = int(times_ns[-1])
            yield _parse(lines, header, events, times_ns)


def _events(lines: TokenLines) -> tuple[np.ndarray, np.ndarray]:
    """Return the lines that begin with a time, and their times in nanoseconds; refuse lines that an ASC log has not."""
    every = np.arange(len(lines))
    times_ns, timed = lines.nanoseconds(*lines.column(every, 0))
    for line in np.flatnonzero(~timed).tolist():
        word = lines.text(line).split()[0].lower()
        if word not in _OTHER and not word.startswith("//"):
            raise lines.error(line, f"an event that begins with its time ({_FRAME})")
    return every[timed], times_ns[timed]


def _parse(lines: TokenLines, header: _Header, events: np.ndarray, times_ns: np.ndarray) -> Frames:
    count = lines.count[events]
    way = (b"Rx", b"Tx", b"TxRq")
    classic = (count > 4) & lines.equals(events, 3, *way) & lines.equals(events, 4, b"d", b"D")
    fd = (count > 4) & lines.equals(events, 1, b"CANFD") & lines.equals(events, 3, *way)
    rows = np.flatnonzero(classic | fd)
    chosen, is_fd = events[rows], fd[rows]
    if not len(rows):
        empty = np.zeros(0, np.int64)
        data = np.zeros((0, 8), np.uint8)
        return Frames(empty, empty, empty.astype(np.uint32), empty.astype(np.uint8), data, (), len(events))
    bus, valid = lines.numbers(*lines.column(chosen, np.where(is_fd, 2, 1)), 10)
    lines.refuse(chosen, ~valid, f"a channel number ({_FRAME})")
    starts, ends = lines.column(chosen, np.where(is_fd, 4, 2))
    extended = (lines.buffer[ends - 1] | 0x20) == ord("x")
    number, valid = lines.numbers(starts, ends - extended, header.base)
    wrong = ~valid | (number >= np.where(extended, 1 << 29, 1 << 11))
    lines.refuse(chosen, wrong, "an id as a number below 0x800, or of 29 bits and with an x behind it")
    lengths, first_byte, remote = (
        np.zeros(len(rows), np.int64),
        np.zeros(len(rows), np.int64),
        np.zeros(len(rows), bool),
    )
    for kind, measure in ((~is_fd, _classic_data), (is_fd, _fd_data)):
        if kind.any():
            lengths[kind], first_byte[kind], remote[kind] = measure(lines, chosen[kind])
    lines.refuse(chosen, lines.count[chosen] < first_byte + lengths, "as many bytes of data as the line says")
    width = 8 if int(lengths.max(initial=0)) <= 8 else MAX_FRAME_BYTES
    data = np.zeros((len(rows), width), np.uint8)
    for length in np.unique(lengths[lengths > 0]).tolist():
        these = np.flatnonzero(lengths == length)
        token = (lines.first[chosen[these]] + first_byte[these])[:, None] + np.arange(length)
        values, valid = lines.numbers(lines.starts[token].ravel(), lines.ends[token].ravel(), header.base)
        right = (valid & (values < 256)).reshape(-1, length)
        lines.refuse(chosen[these], np.asarray(~right.all(1)), "data bytes, 0 to 255")
        data[these, :length] = values.reshape(-1, length)
    names, index = np.unique(bus, return_inverse=True)
    kept = ~remote
    address = (number | np.where(extended, EXTENDED_ID, 0)).astype(np.uint32)
    return Frames(
        times_ns[rows][kept],
        index.reshape(-1)[kept],
        address[kept],
        lengths[kept].astype(np.uint8),
        data[kept],
        tuple(str(name) for name in names.tolist()),
        len(events) - int(kept.sum()),
    )


def _classic_data(lines: TokenLines, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each line's number of data bytes, the index of the first one's token, and whether it is a remote frame."""
    lines.refuse(chosen, lines.count[chosen] < 6, f"a length ({_FRAME})")
    code, valid = lines.numbers(*lines.column(chosen, 5), 16)
    lines.refuse(chosen, ~valid | (code > 15), "a length of 0 to F")
    # Codes above 8 stand for eight bytes in classic CAN.
    return np.minimum(code, 8), np.full(len(chosen), 6), np.zeros(len(chosen), bool)


def _fd_data(lines: TokenLines, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Like ``_classic_data``, for lines of CAN FD."""
    # A symbolic name may stand between the id and the two flags; it never begins with a digit.
    named = ~lines.equals(chosen, 5, b"0", b"1")
    first = np.where(named, 6, 5)
    lines.refuse(chosen, lines.count[chosen] < first + 4, "CANFD channel Rx|Tx id [name] flag flag code length data")
    code, right = lines.numbers(*lines.column(chosen, first + 2), 16)
    lengths, valid = lines.numbers(*lines.column(chosen, first + 3), 10)
    wrong = ~valid | ~right | (code > 15) | (lengths > MAX_FRAME_BYTES)
    lines.refuse(chosen, wrong, f"a code of 0 to f and a length of at most {MAX_FRAME_BYTES} bytes")
    return lengths, first + 4, (lengths == 0) & (code > 0)
