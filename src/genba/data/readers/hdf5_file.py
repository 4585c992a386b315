"""HDF5 files of unknown origin, opened so that nothing outside them is reached and no claim is believed before a check.

HDF5 can point anywhere: external links name other files, virtual data sets and external storage read them. All of these are
refused by name, as are soft links. Only numbers and fixed-length bytes are read, never objects or references. A data set
may claim a size that its stored bytes cannot have (unwritten blocks read as zeros): it is held against them first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from genba.errors import DataError, FormatError

SIGNATURE = b"\x89HDF\r\n\x1a\n"

#: The most bytes that a stored byte becomes: deflate's own limit, rounded up.
MAX_EXPANSION = 1100

#: Rows of one data set that are read at once where all are only looked at.
BLOCK_BYTES = 1 << 24


def is_hdf5(path: Path) -> bool:
    """Say whether ``path`` is a file that begins as HDF5; never raises."""
    try:
        with path.open("rb") as file:
            return file.read(len(SIGNATURE)) == SIGNATURE
    except OSError:
        return False


class SafeGroup:
    """A group of an opened file: its members by name, each looked at before it is opened."""

    def __init__(self, path: Path, group: Any) -> None:
        self.path, self._group = path, group

    def names(self) -> list[str]:
        """Return the names of everything in it."""
        with format_errors(self.path):
            names = list(self._group)
            # h5py gives bytes where a name is not UTF-8; whoever writes it down later could not.
            odd = [name for name in names if not isinstance(name, str)]
            if odd:
                raise FormatError(self.path, f"{self._group.name}: got a member named {odd[0]!r}, expected UTF-8")
            return sorted(names)

    def group(self, name: str) -> SafeGroup | None:
        """Return the group of this name, or None where there is none."""
        item = self._member(name)
        return SafeGroup(self.path, item) if isinstance(item, h5py_module().Group) else None

    def dataset(self, name: str) -> SafeDataset | None:
        """Return the data set of this name, or None where there is none."""
        item = self._member(name)
        return SafeDataset(self.path, item) if isinstance(item, h5py_module().Dataset) else None

    def text(self, attribute: str) -> str:
        """Return an attribute that is text, or nothing."""
        with format_errors(self.path):
            value = self._group.attrs.get(attribute)
            if isinstance(value, bytes):
                value = value.decode("utf-8")
            return value if isinstance(value, str) else ""

    def flag(self, attribute: str) -> bool | None:
        """Return an attribute that is true or false, or None where it is not there."""
        with format_errors(self.path):
            value = self._group.attrs.get(attribute)
            return None if value is None else bool(np.all(value))

    def _member(self, name: str) -> Any:
        h5py = h5py_module()
        with format_errors(self.path):
            # By the link, not by "in": a link that leads nowhere must be refused, not overlooked.
            link = self._group.get(name, getlink=True)
            if link is None:
                return None
            if not isinstance(link, h5py.HardLink):
                where = getattr(link, "filename", "") or getattr(link, "path", "")
                raise FormatError(
                    self.path,
                    f"{self._place(name)}: got a link to {where!r}, expected the data itself; links are not followed",
                )
            return self._group[name]

    def _place(self, name: str) -> str:
        return f"{self._group.name.rstrip('/')}/{name}"


class SafeDataset:
    """A data set whose numbers are all in this file."""

    def __init__(self, path: Path, dataset: Any) -> None:
        self.path, self._dataset = path, dataset
        with format_errors(path):
            self.name = str(dataset.name)
            self.shape: tuple[int, ...] = tuple(dataset.shape or ())
            self.dtype: np.dtype[Any] = dataset.dtype
            if dataset.is_virtual or dataset.external:
                raise FormatError(path, f"{self.name}: got data that lie in other files, expected them in this one")
            if self.dtype.kind not in "buifS":
                raise FormatError(path, f"{self.name}: got values of type {self.dtype}, expected numbers or bytes")
            self._check_size()

    @property
    def size_bytes(self) -> int:
        """Bytes of all values."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return rows ``start`` to ``stop``.

        Raises:
            FormatError: blocks that are damaged or coded in a way that HDF5 does not know.
        """
        with format_errors(self.path, self.name):
            return np.asarray(self._dataset[start:stop])

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield all rows, a bounded number at a time."""
        rows = self.shape[0] if self.shape else 0
        step = max(1, BLOCK_BYTES // max(1, self.size_bytes // max(rows, 1)))
        for start in range(0, rows, step):
            yield self.read(start, start + step)

    def _check_size(self) -> None:
        dataset = self._dataset
        stored = min(int(dataset.id.get_storage_size()), self.path.stat().st_size)
        chunk_bytes = math.prod(dataset.chunks or ()) * self.dtype.itemsize
        claimed = max(self.size_bytes, chunk_bytes)
        if claimed > max(stored * MAX_EXPANSION, 1 << 16):
            raise FormatError(
                self.path, f"{self.name}: got {self.dtype}{list(self.shape)}, {claimed} bytes, in {stored} stored ones"
            )


@contextmanager
def open_file(path: Path) -> Iterator[SafeGroup]:
    """Open a file for reading.

    Raises:
        FormatError: it is missing or not HDF5.
    """
    with format_errors(path):
        file = h5py_module().File(path, "r")
    try:
        yield SafeGroup(path, file)
    finally:
        file.close()


@contextmanager
def format_errors(path: Path, place: str = "") -> Iterator[None]:
    """Turn whatever h5py raises about ``path`` into a ``FormatError``."""
    try:
        yield
    except FileNotFoundError as error:
        raise FormatError(path, "no such file, expected HDF5") from error
    except (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, OverflowError, MemoryError) as error:
        text = next(iter(str(error).splitlines()), type(error).__name__)
        raise FormatError(path, f"{place or 'the file'}: not HDF5 that can be read ({text})") from error


def h5py_module() -> Any:
    """Return h5py.

    Raises:
        DataError: it is not installed; naming the extra that brings it.
    """
    # Imported here: h5py comes with an extra.
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise DataError("HDF5 needs h5py; install it with: pip install 'genba[readers]'") from error
    return h5py
