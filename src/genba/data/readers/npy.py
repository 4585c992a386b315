"""NumPy arrays from files that nobody vouches for: the header is matched, never evaluated, and must fill the file exactly.

``numpy.load`` hands a header to Python's parser, which answers hostile ones with errors of many kinds, and allocates what the
header promises before it looks at the file. Here a promise that the file does not keep costs nothing. Object arrays, which
would be unpickled, and structured ones are refused.

Source: NumPy Enhancement Proposal 1, "A Simple File Format for NumPy Arrays", versions 1.0 and 2.0.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from genba.errors import FormatError

_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    rb"\{'descr': '([<>|=][biufcSU]\d{1,9})', 'fortran_order': (True|False), 'shape': \(((?:\d{1,18}(?:, ?|,?))*)\),? ?\} *\n"
)


def load_array(path: Path) -> np.ndarray:
    """Read one ``.npy`` file of numbers or bytes.

    Raises:
        FormatError: it is missing, not such a file, or not as long as its header says.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FormatError(path, f"could not be read ({error.strerror}); expected a NumPy array") from error
    if data[:6] != _MAGIC or len(data) < 12 or data[6] not in (1, 2):
        raise FormatError(
            path, f"not a NumPy array (begins with {data[:8]!r}); expected {_MAGIC!r} and version 1 or 2", offset=0
        )
    begin = 10 if data[6] == 1 else 12
    size = int.from_bytes(data[8:begin], "little")
    found = _HEADER.fullmatch(data[begin : begin + size])
    if found is None:
        raise FormatError(path, f"not a NumPy array: header {data[begin : begin + 80]!r}", offset=begin)
    kind, fortran, sizes = found.groups()
    shape = tuple(int(number) for number in sizes.replace(b",", b" ").split())
    try:
        dtype = np.dtype(kind.decode("ascii"))
    except (TypeError, ValueError) as error:
        raise FormatError(path, f"not a NumPy array: no such type as {kind!r}", offset=begin) from error
    room = len(data) - begin - size
    if not dtype.itemsize or math.prod(shape) * dtype.itemsize != room:
        raise FormatError(
            path, f"got {room} bytes of values, expected those of {dtype}{list(shape)}", offset=begin + size
        )
    return np.frombuffer(data, dtype, offset=begin + size).reshape(shape, order="F" if fortran == b"True" else "C")
