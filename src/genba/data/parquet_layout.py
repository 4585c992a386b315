"""Episodes as folders of Parquet files: what the writer ``parquet`` writes and the reader ``parquet`` reads back.

::

    out/
      genba-parquet.json       {"format": "genba-parquet@1", "episodes": ["000000", ...]}
      embodiment.toml          the machine's facts
      000000/
        episode.json           the episode's metadata
        <stream>.parquet       one file per stream: t_ns, then its values

A dense stream has one column per dimension, named as in the facts; a ragged one (points, entities, scores) the same columns
as lists, one list per sample. Frames of cameras are one column of raw RGB bytes. Nothing is rounded or resampled, so
what was written reads back the same, bit for bit. The schema's metadata says dtype and shape.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from genba.errors import FormatError, SpecError
from genba.spec.embodiment import Embodiment
from genba.spec.episode import ACTION, LABEL
from genba.spec.streams import Stream

FORMAT = "genba-parquet@1"
INDEX_NAME, FACTS_NAME, METADATA_NAME = "genba-parquet.json", "embodiment.toml", "episode.json"
TIME, FRAME = "t_ns", "frame"

STREAM_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)?")

#: Values may take this many times a file's size, beyond what is free: run lengths and zstd pack constant columns well.
MAX_RATIO, FREE_BYTES = 1000, 1 << 26

_KEY = b"genba"
_DTYPES = ("|u1", "<f4")


def column_names(embodiment: Embodiment, name: str, width: int) -> list[str]:
    """Return what the columns of a stream are called: as in the facts where they name them, else by number."""
    if name in (ACTION, LABEL):
        return [dimension.name for dimension in embodiment.action.continuous]
    channel = next((c for c in embodiment.channels if c.name == name), None)
    names = [d.name for d in getattr(channel, "dimensions", ())]
    if hasattr(channel, "attributes"):
        names = ["x", "y", "z", *(d.name for d in channel.attributes)]
    if len(names) == width and not {TIME, FRAME} & set(names):
        return names
    return [f"value_{i}" for i in range(width)]


def to_table(embodiment: Embodiment, name: str, stream: Stream) -> pa.Table:
    """Return a stream as a table.

    Raises:
        SpecError: values that are neither float32 nor bytes.
    """
    values = np.ascontiguousarray(stream.values)
    shape, dtype = list(values.shape[1:]), values.dtype.str
    if dtype not in _DTYPES:
        raise SpecError(f"{embodiment.id}: {name}: got {values.dtype}, expected float32 or uint8")
    columns: dict[str, pa.Array] = {TIME: pa.array(stream.times_ns)}
    if dtype == "|u1":
        width = math.prod(shape)
        columns[FRAME] = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(width), len(values), [None, pa.py_buffer(values.reshape(-1))]
        )
    else:
        flat = values.reshape(len(values), math.prod(shape))
        for i, column in enumerate(column_names(embodiment, name, flat.shape[1])):
            array = pa.array(np.ascontiguousarray(flat[:, i]))
            columns[column] = array if stream.splits is None else pa.LargeListArray.from_arrays(stream.splits, array)
    said = json.dumps({"dtype": dtype, "shape": shape, "ragged": stream.splits is not None})
    return pa.table(columns).replace_schema_metadata({_KEY: said.encode()})


def read_stream(path: Path) -> Stream:
    """Read a stream back.

    Raises:
        FormatError: not a Parquet file of this layout, or one that is damaged.
    """
    try:
        size_bytes = path.stat().st_size
        with pq.ParquetFile(path) as parquet:
            said = json.loads((parquet.schema_arrow.metadata or {}).get(_KEY, b"null"))
            batches = list(_bounded(path, parquet, FREE_BYTES + MAX_RATIO * size_bytes))
            schema = parquet.schema_arrow
        table = pa.Table.from_batches(batches, schema).combine_chunks()
        return _stream(path, table, said)
    except SpecError as error:
        raise FormatError(path, f"not a stream: {error}") from error
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
        MemoryError,
        OverflowError,
    ) as error:
        raise FormatError(path, f"not a Parquet file of the layout {FORMAT}: {error}") from error


def _bounded(path: Path, parquet: pq.ParquetFile, limit_bytes: int) -> Iterator[pa.RecordBatch]:
    taken = 0
    for batch in parquet.iter_batches(batch_size=1 << 12, use_threads=False):
        taken += batch.nbytes
        if taken > limit_bytes:
            raise FormatError(path, f"got values of more than {MAX_RATIO} times the file's size")
        yield batch


def _stream(path: Path, table: pa.Table, said: Any) -> Stream:
    if not isinstance(said, dict) or said.get("dtype") not in _DTYPES or table.column_names[:1] != [TIME]:
        raise FormatError(path, f"got columns {table.column_names[:4]}, expected {TIME} first, and a dtype and a shape")
    shape = [int(size) for size in said["shape"]]
    times_ns = _plain(path, table.column(0), pa.int64())
    if said["dtype"] == "|u1":
        width = math.prod(shape)
        frames = _chunk(path, table.column(1), pa.binary(width) if width > 0 else pa.null())
        buffer = frames.buffers()[1]
        data = np.frombuffer(buffer, np.uint8)[frames.offset * width :] if buffer is not None else np.zeros(0, np.uint8)
        return Stream(times_ns, data[: len(times_ns) * width].reshape(len(times_ns), *shape))
    if len(table.columns) - 1 != math.prod(shape):
        raise FormatError(path, f"got {len(table.columns) - 1} columns of values, expected shape {shape}")
    if not said["ragged"]:
        columns = [_plain(path, column, pa.float32()) for column in table.columns[1:]]
        return Stream(times_ns, np.stack(columns, -1).reshape(len(times_ns), *shape))
    lists = [_chunk(path, column, pa.large_list(pa.float32())) for column in table.columns[1:]]
    splits = [
        column.offsets.to_numpy() - (int(column.offsets[0].as_py()) if len(column.offsets) else 0) for column in lists
    ]
    if any(not np.array_equal(other, splits[0]) for other in splits) or any(c.flatten().null_count for c in lists):
        raise FormatError(path, "got lists of different lengths in one sample, or blank numbers in them")
    flat = [column.flatten().to_numpy() for column in lists]
    rows = np.stack(flat, -1).reshape(len(flat[0]), *shape)
    return Stream(times_ns, rows, splits[0].astype(np.int64) if len(splits[0]) else np.zeros(1, np.int64))


def _chunk(path: Path, column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    if column.null_count or column.type != kind:
        raise FormatError(path, f"got a column of {column.type} with {column.null_count} blanks, expected {kind}")
    return column.chunk(0) if column.num_chunks else pa.array([], kind)


def _plain(path: Path, column: pa.ChunkedArray, kind: pa.DataType) -> np.ndarray:
    return _chunk(path, column, kind).to_numpy()
