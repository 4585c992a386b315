"""Lines of tokens as arrays: a text log is parsed column by column, not line by line.

A file is read in blocks of whole lines. In each block the places of all tokens are found at once; a column of them is then
gathered and turned into numbers together, all tokens of one length at a time. It knows no format: ``candump`` and
``asc`` say what stands in which column.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from genba.errors import FormatError

#: Bytes of text that are parsed together.
BLOCK_BYTES = 1 << 18
#: A longer line is none of a log.
MAX_LINE_BYTES = 1 << 16
#: What is compressed may grow by this much, beyond ``FREE_BYTES``: real logs grow tenfold.
MAX_RATIO, FREE_BYTES = 200, 1 << 26

_TAB, _NEWLINE, _RETURN, _SPACE, _DOT, _ZERO = b"\t\n\r .0"
#: Character -> the hexadecimal digit that it is, else 255.
HEX = np.full(256, 255, np.uint8)
for _i, _digit in enumerate(b"0123456789abcdef"):
    HEX[_digit] = HEX[ord(chr(_digit).upper())] = _i

GZIP_MAGIC = b"\x1f\x8b"


class TokenLines:
    """The tokens of some whole lines; a line without any is left out."""

    def __init__(self, path: Path, data: bytes, offset: int) -> None:
        """Find the tokens.

        Args:
            path: the file, for errors.
            data: whole lines.
            offset: where in the file's text they begin.
        """
        self.path, self.offset = path, offset
        self.buffer = np.frombuffer(data + b"\n" + bytes(MAX_LINE_BYTES), np.uint8)
        text = self.buffer[: len(data) + 1]
        white = np.ones(len(text) + 2, bool)
        white[1:-1] = (text == _SPACE) | ((text >= _TAB) & (text <= _RETURN))
        edges = np.flatnonzero(white[1:] != white[:-1])
        #: where each token begins and ends, int64 ``[token]``
        self.starts, self.ends = edges[0::2], edges[1::2]
        # Lines are sought among the tokens, not tokens among the lines: there are far fewer.
        first = np.searchsorted(self.starts, np.concatenate([[0], np.flatnonzero(text == _NEWLINE)]))
        count = np.diff(first)
        #: index of each line's first token, and how many it has, int64 ``[line]``
        self.first, self.count = first[:-1][count > 0], count[count > 0]

    def __len__(self) -> int:
        return len(self.first)

    def column(self, lines: np.ndarray, index: int | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the begin and end of token ``index`` of each of ``lines``, which have that many."""
        token = self.first[lines] + index
        return self.starts[token], self.ends[token]

    def equals(self, lines: np.ndarray, index: int, *words: bytes) -> np.ndarray:
        """Say for each line whether token ``index`` is one of ``words``; no for a line that is shorter."""
        out, there = np.zeros(len(lines), bool), self.count[lines] > index
        starts, ends = self.column(lines[there], index)
        found = np.zeros(len(starts), bool)
        for word in words:
            same = ends - starts == len(word)
            for i, letter in enumerate(word):
                same &= self.buffer[starts + i] == letter
            found |= same
        out[there] = found
        return out

    def text(self, line: int) -> str:
        """Return a line as text, for errors and headers."""
        start, last = self.starts[self.first[line]], self.first[line] + self.count[line] - 1
        return bytes(self.buffer[start : min(self.ends[last], start + 200)]).decode("latin-1")

    def error(self, line: int, expected: str) -> FormatError:
        """Return the error for a line."""
        offset = self.offset + int(self.starts[self.first[line]])
        return FormatError(self.path, f"got {self.text(line)[:80]!r}, expected {expected}", offset=offset)

    def refuse(self, lines: np.ndarray, wrong: np.ndarray, expected: str) -> None:
        """Raise the error for the first of ``lines`` that is ``wrong``, if any."""
        if wrong.any():
            raise self.error(int(lines[wrong.argmax()]), expected)

    def nanoseconds(self, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read tokens as seconds with at most nine decimals: int64 nanoseconds, and whether each is such a number."""
        out, valid = np.zeros(len(starts), np.int64), np.zeros(len(starts), bool)
        lengths = ends - starts
        for length in np.unique(lengths).tolist():
            if not 1 <= length <= 20:
                continue
            rows = np.flatnonzero(lengths == length)
            text = self.buffer[starts[rows, None] + np.arange(length)]
            is_dot = text == _DOT
            dots = np.where(is_dot.any(1), is_dot.argmax(1), length)
            for dot in np.unique(dots).tolist():
                decimals = max(0, length - dot - 1)
                if not 1 <= dot <= 10 or decimals > 9:
                    continue
                here = dots == dot
                digits = np.delete(text[here], dot, axis=1) if dot < length else text[here]
                digits = (digits - np.uint8(_ZERO)).astype(np.int64)
                powers = 10 ** np.arange(digits.shape[1] - 1, -1, -1, dtype=np.int64)
                # Ten digits before the point fit into int64 nanoseconds where they are below nine billion seconds.
                right = (digits <= 9).all(1) & ((dot < 10) | (digits[:, 0] <= 8))
                valid[rows[here]] = right
                out[rows[here]] = np.where(right, digits @ powers, 0) * 10 ** (9 - decimals)
        return out, valid

    def numbers(self, starts: np.ndarray, ends: np.ndarray, base: int) -> tuple[np.ndarray, np.ndarray]:
        """Read tokens as numbers of base 10 or 16 below 2^32: int64, and whether each is one."""
        out, valid = np.zeros(len(starts), np.int64), np.zeros(len(starts), bool)
        lengths = ends - starts
        for length in np.unique(lengths).tolist():
            if not 1 <= length <= (8 if base == 16 else 10):
                continue
            rows = np.flatnonzero(lengths == length)
            digits = HEX[self.buffer[starts[rows, None] + np.arange(length)]].astype(np.int64)
            valid[rows] = (digits < base).all(1)
            out[rows] = digits @ (base ** np.arange(length - 1, -1, -1, dtype=np.int64))
        return np.where(valid, out, 0), valid & (out < 1 << 32)

    def names(self, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Return for each token the index of its text among the different ones, and these."""
        lengths, index, found = ends - starts, np.zeros(len(starts), np.int64), list[str]()
        for length in np.unique(lengths).tolist():
            rows = np.flatnonzero(lengths == length)
            text = np.ascontiguousarray(self.buffer[starts[rows, None] + np.arange(length)])
            words, which = np.unique(text.view(f"S{length}")[:, 0], return_inverse=True)
            index[rows] = which.reshape(-1) + len(found)
            found += [word.decode("latin-1") for word in words.tolist()]
        return index, found


def open_text(path: Path) -> BinaryIO:
    """Open a text log, unpacking it if it is gzip."""
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
    return gzip.open(path, "rb") if packed else path.open("rb")  # type: ignore[return-value]


def first_bytes(path: Path, count: int) -> bytes:
    """Return the first ``count`` bytes of a text log, unpacked; none where that is not possible."""
    try:
        with open_text(path) as file:
            return file.read(count)
    except (OSError, EOFError, zlib.error):
        return b""


def read_lines(path: Path) -> Iterator[TokenLines]:
    """Yield a text log's lines, some at a time.

    Raises:
        FormatError: a broken gzip, one that grows out of all proportion, or a line that does not end.
    """
    size_bytes, offset, rest = path.stat().st_size, 0, b""
    with open_text(path) as file:
        while True:
            try:
                block = file.read(BLOCK_BYTES)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise FormatError(path, f"not a whole gzip file: {error}") from error
            if offset + len(rest) + len(block) > FREE_BYTES + MAX_RATIO * size_bytes:
                raise FormatError(path, f"got text of more than {MAX_RATIO} times the file's size, expected a log")
            data = rest + block
            if not block:
                if data:
                    yield TokenLines(path, data, offset)
                return
            end = data.rfind(b"\n") + 1
            if len(data) - end > MAX_LINE_BYTES:
                raise FormatError(path, f"got a line of more than {MAX_LINE_BYTES} bytes", offset=offset + end)
            if end:
                yield TokenLines(path, data[:end], offset)
            offset, rest = offset + end, data[end:]
