"""Side tables of a LeRobotDataset: every stream of an episode on its own clock, which LeRobot itself does not look at.

::

    streams/<stream>/chunk-000/file-000.parquet   episode_index, t_ns, value: one row per sample, one row group per episode
    streams/_clock/chunk-000/file-000.parquet     the true time of each row of the base tables, and of what it shows
    meta/embodiment.toml                          the facts that the streams are in terms of
    meta/provenance.json                          digests, terms and metadata of every episode

``value`` is a list of float32 (telemetry, actions), a list of such rows (points, entities, relations, decisions), or a
PNG (cameras), so an episode comes back exactly as it was. Written by ``writers.lerobot``, read by ``readers.lerobot``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from genba.data.readers.lerobot_layout import format_errors
from genba.data.readers.lerobot_tables import column
from genba.data.video_files import decode_png, encode_png
from genba.errors import FormatError, SpecError
from genba.spec.streams import Stream

FORMAT = "genba-lerobot@1"
FOLDER, CLOCK = "streams", "_clock"
FACTS, PROVENANCE = "meta/embodiment.toml", "meta/provenance.json"


def stream_table(episode: int, stream: Stream) -> pa.Table:
    """Return a stream as the rows of its side table."""
    values, picture = stream.values, stream.values.dtype == np.uint8
    rows = _pngs(values) if picture else _lists(values)
    if stream.splits is not None:
        rows = pa.LargeListArray.from_arrays(stream.splits, rows)
    columns = {
        "episode_index": pa.array(np.full(len(stream), episode, np.int64)),
        "t_ns": pa.array(np.ascontiguousarray(stream.times_ns)),
        "value": rows,
    }
    facts = {"shape": list(values.shape[1:]), "ragged": stream.splits is not None, "codec": "png" if picture else "raw"}
    return pa.table(columns).replace_schema_metadata({b"genba": json.dumps(facts).encode()})


def table_stream(path: Path, table: pa.Table) -> Stream:
    """Invert ``stream_table``.

    Raises:
        FormatError: a table that does not hold a stream.
    """
    with format_errors(path, "a side table"):
        facts = json.loads((table.schema.metadata or {}).get(b"genba", b"{}"))
        shape, ragged = tuple(int(n) for n in facts["shape"]), bool(facts["ragged"])
        times_ns = column(table, "t_ns").to_numpy(zero_copy_only=False).astype(np.int64)
        rows, splits = column(table, "value"), None
        if ragged:
            offsets = rows.offsets.to_numpy()
            splits = (offsets - offsets[0]).astype(np.int64)
            rows = rows.flatten()
        if facts["codec"] == "png":
            values: Any = _pictures(path, rows, shape)
        else:
            while not pa.types.is_floating(rows.type):
                rows = rows.flatten()
            values = rows.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
            values = values.reshape(-1, *shape) if shape else values
        try:
            return Stream(times_ns, values, splits)
        except SpecError as error:
            raise FormatError(path, str(error)) from error


def _lists(values: np.ndarray) -> pa.Array:
    """Return float32 ``[rows, ...]`` as an array of (nested) fixed-size lists, without copying."""
    items = pa.array(np.ascontiguousarray(values, np.float32).reshape(-1))
    for size in reversed(values.shape[1:]):
        items = pa.FixedSizeListArray.from_arrays(items, size)
    return items


def _pngs(frames: np.ndarray) -> pa.Array:
    return pa.array([encode_png(frame) for frame in frames], pa.large_binary())


def _pictures(path: Path, blobs: pa.Array, shape: tuple[int, ...]) -> np.ndarray:
    height, width, _ = shape
    frames = []
    for i, blob in enumerate(blobs):
        data = blob.as_py()
        try:
            frames.append(decode_png(data, height, width))
        except ValueError as error:
            raise FormatError(path, f"frame {i}: {error}") from error
    return np.stack(frames) if frames else np.zeros((0, height, width, 3), np.uint8)
