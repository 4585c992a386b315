"""The rows of one episode out of Parquet files that hold many, and their columns as arrays.

A file's ``episode_index`` column says which rows are whose; only the row groups of the episode asked for are read. Used
for the tables of a LeRobotDataset and for the side tables beside them (``lerobot_streams``).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from genba.data.readers.lerobot_layout import Feature, format_errors, open_parquet
from genba.data.readers.robot_facts import to_float32
from genba.errors import FormatError


class EpisodeTables:
    """Opened Parquet files, one at a time, and the row groups that were read last."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._file: pq.ParquetFile | None = None
        #: the first row of each row group, and the number of rows
        self._starts = np.zeros(1, np.int64)
        #: episode -> first row and the row after its last
        self._runs: dict[int, tuple[int, int]] = {}
        #: first and last row group and columns, and what they held
        self._read: tuple[tuple[int, int, list[str]], pa.Table] | None = None

    def episodes(self, path: Path) -> dict[int, tuple[int, int]]:
        """Return the rows of each episode in one file: first, and the one after the last.

        Raises:
            FormatError: an episode whose rows do not stand together.
        """
        if self._path != path:
            self.close()
            with format_errors(path, "a Parquet file"):
                self._file = open_parquet(path)
                metadata = self._file.metadata
                sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
                self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
                index = column(self._file.read(["episode_index"]), "episode_index")
                if not pa.types.is_integer(index.type) or index.null_count:
                    raise FormatError(path, f"episode_index: got {index.type}, expected whole numbers, none missing")
                self._runs = _runs(path, index.to_numpy(zero_copy_only=False))
            self._path = path
        return self._runs

    def rows(self, path: Path, episode: int, columns: list[str]) -> pa.Table:
        """Return the rows of one episode in one file.

        Raises:
            FormatError: the file is missing or damaged, or lacks the episode or a column.
        """
        runs = self.episodes(path)
        assert self._file is not None
        if episode not in runs:
            raise FormatError(path, f"got no row of episode {episode}, expected some; it holds {_some(list(runs))}")
        start, stop = runs[episode]
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        last = int(np.searchsorted(self._starts, stop, side="left"))
        with format_errors(path, "a Parquet file"):
            missing = [name for name in columns if name not in self._file.schema_arrow.names]
            if missing:
                raise FormatError(path, f"got no column {missing[0]!r}, expected one as info.json says")
            wanted = (first, last, columns)
            if self._read is None or self._read[0] != wanted:
                self._read = (wanted, self._file.read_row_groups(list(range(first, last)), columns))
            return self._read[1].slice(start - int(self._starts[first]), stop - start)

    def count(self, path: Path, episode: int) -> int:
        """Return how many rows an episode has in one file."""
        start, stop = self.episodes(path).get(episode, (0, 0))
        return stop - start

    def no_rows(self, path: Path, columns: list[str]) -> pa.Table:
        """Return a table of no rows in the form of one file."""
        self.episodes(path)
        assert self._file is not None
        schema = self._file.schema_arrow
        with format_errors(path, "a side table"):
            return pa.schema([schema.field(name) for name in columns], metadata=schema.metadata).empty_table()

    def close(self) -> None:
        """Close the file that is open."""
        if self._file is not None:
            self._file.close()
        self._path = self._file = self._read = None


def column(table: pa.Table, name: str) -> pa.Array:
    """Return a column as one array, extension types as what they store."""
    array = table.column(name).combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks == 1 else pa.concat_arrays(array.chunks)
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def whole_numbers(path: Path, table: pa.Table, name: str) -> np.ndarray:
    """Return a column of whole numbers: int64 ``[rows]``.

    Raises:
        FormatError: other types, or a value that is missing.
    """
    with format_errors(path, "a Parquet file"):
        array = column(table, name)
        if not pa.types.is_integer(array.type) or array.null_count:
            raise FormatError(path, f"{name}: got {array.type}, {array.null_count} missing, expected whole numbers")
        return array.cast(pa.int64()).to_numpy(zero_copy_only=False)


def numbers(path: Path, table: pa.Table, feature: Feature, *, what: str) -> tuple[np.ndarray, int]:
    """Return a feature's values, arrays flattened.

    Args:
        what: whose rows they are, for errors.

    Returns:
        float32 ``[rows, feature.size]``, NaN where a number is missing, and how many of them float32 cannot hold
        exactly (whole numbers beyond 2**24; decimals are rounded and not counted).

    Raises:
        FormatError: another type or size than the data set states, or an infinite number.
    """
    place = f"{feature.key} of {what}"
    with format_errors(path, "a Parquet file"):
        array, rows = column(table, feature.key), table.num_rows
        for size in () if feature.shape == (1,) and not _is_list(array.type) else feature.shape:
            array = _flatten(path, place, array, size)
        expected = rows * math.prod(feature.shape)
        if len(array) != expected:
            raise FormatError(path, f"{place}: got {len(array)} numbers, expected {expected}")
        kind = array.type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
            raise FormatError(path, f"{place}: got values of {kind}, expected {feature.dtype}")
        raw = array.to_numpy(zero_copy_only=False)
        if raw.dtype == object:
            raw = np.array([float("nan") if value is None else float(value) for value in raw])
        return to_float32(path, place, raw.reshape(rows, feature.size))


def _flatten(path: Path, place: str, array: pa.Array, size: int) -> pa.Array:
    """Return the items of lists that must all have ``size``."""
    if not _is_list(array.type):
        raise FormatError(path, f"{place}: got {array.type}, expected lists of {size}")
    if array.null_count:
        raise FormatError(path, f"{place}: got {array.null_count} rows without a value, expected one each")
    if pa.types.is_fixed_size_list(array.type):
        lengths = np.array([array.type.list_size])
    else:
        lengths = np.diff(array.offsets.to_numpy())
    wrong = lengths[lengths != size]
    if len(wrong) and len(array):
        raise FormatError(path, f"{place}: got a list of {wrong[0]}, expected {size}")
    items = array.flatten()
    return items.storage if isinstance(items, pa.ExtensionArray) else items


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _runs(path: Path, index: np.ndarray) -> dict[int, tuple[int, int]]:
    edges = np.concatenate([[0], np.nonzero(np.diff(index))[0] + 1, [len(index)]])
    runs: dict[int, tuple[int, int]] = {}
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if start == stop:
            continue
        episode = int(index[start])
        if episode in runs:
            raise FormatError(
                path, f"episode {episode}: got its rows in pieces (again from row {start}), expected one run"
            )
        runs[episode] = (start, stop)
    return runs


def _some(episodes: list[int]) -> str:
    return f"episodes {episodes[0]} to {episodes[-1]}" if episodes else "none"
