"""A shard: one finished episode in one Arrow IPC file, memory-mapped when read.

One record batch per stream, one row in it: the clock, the splits and the encoded values as contiguous buffers, so that
reading is a view and never a parse. The schema's metadata holds what the catalog holds, so a lost catalog can be
rebuilt from the shards alone. A shard is written once, whole (temporary name, fsync, rename, fsync of the folder), and
never changed: whatever a reader finds under a shard's name is complete.

One file per episode, not several: two processes then never write to one file, an episode can be deleted by itself,
and a crash cannot touch a neighbour. Read next: ``catalog``, which knows the shards; ``vault``, which joins both.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from genba.data.codecs import JPEG, POINTS, RAW, StoredStream, encode
from genba.errors import CorruptShardError, StorageError
from genba.spec.embodiment import Embodiment
from genba.spec.episode import Episode, EpisodeMetadata
from genba.trust.digest import canonical_json

FORMAT = "genba-shard@1"

SCHEMA = pa.schema(
    [
        ("stream", pa.string()),
        ("codec", pa.string()),
        ("dtype", pa.string()),
        ("shape", pa.list_(pa.int64())),
        ("times_ns", pa.large_list(pa.int64())),
        ("splits", pa.large_list(pa.int64())),
        ("block_starts", pa.large_list(pa.int64())),
        ("data", pa.large_binary()),
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """An opened shard: what it holds, and its streams as views of the mapped file."""

    path: Path
    metadata: EpisodeMetadata
    #: ``num_windows``, ``start_ns``, ``end_ns`` and ``statistics``, as the vault found them when it stored the episode
    facts: Mapping[str, Any]
    streams: Mapping[str, StoredStream]

    def episode(self) -> Episode:
        """Decode every stream.

        Raises:
            CorruptShardError: bytes that do not decode.
        """
        return Episode(self.metadata, {name: stored.decode() for name, stored in self.streams.items()})


def shard_bytes(embodiment: Embodiment, episode: Episode, facts: Mapping[str, Any]) -> pa.Buffer:
    """Encode an episode as the bytes of a shard.

    Raises:
        SpecError: values that a codec cannot hold.
    """
    header = {
        b"format": FORMAT.encode(),
        b"metadata": canonical_json(metadata_to_json(episode.metadata)),
        b"facts": canonical_json(facts),
    }
    schema = SCHEMA.with_metadata(header)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        for name, stream in sorted(episode.streams.items()):
            writer.write_batch(_batch(name, encode(embodiment, name, stream), schema))
    return sink.getvalue()


def write_durably(path: Path, data: pa.Buffer | bytes) -> None:
    """Write ``data`` under ``path`` so that after a crash the file is there whole or not at all.

    Raises:
        StorageError: the system refused (a full disk, a quota, no permission); nothing is left behind.
    """
    # A name of its own: what another process writes, or left when it was killed, is in nobody's way.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    view, written = memoryview(data), temporary
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(path)
        written = path
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            written.unlink(missing_ok=True)
        raise StorageError(
            f"{path}: could not write {len(memoryview(data))} bytes: {error.strerror}; nothing of this episode was "
            f"stored and everything before is intact; free some space or choose another vault"
        ) from error


def open_shard(path: Path, *, size_bytes: int | None = None) -> Shard:
    """Map a shard and read its footer; no value is read yet.

    Args:
        size_bytes: the size that the catalog knows, checked where given.

    Raises:
        CorruptShardError: the file is missing, has another size, or is not a whole shard.
    """
    try:
        found = path.stat().st_size
    except OSError as error:
        raise CorruptShardError(f"{path}: {error.strerror}; run: genba data check") from error
    if size_bytes is not None and found != size_bytes:
        raise CorruptShardError(
            f"{path}: got {found} bytes, expected {size_bytes}; the file was cut or changed; run: genba data check"
        )
    try:
        # The mapping outlives the closed file, so a vault of many episodes does not run out of file descriptors.
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            header = reader.schema.metadata or {}
            if header.get(b"format") != FORMAT.encode():
                raise CorruptShardError(f"{path}: got format {header.get(b'format')!r}, expected {FORMAT!r}")
            batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        metadata = metadata_from_json(json.loads(header[b"metadata"]))
        facts = json.loads(header[b"facts"])
        streams = dict(_stored(path, batch) for batch in batches)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptShardError(f"{path}: not a whole shard ({error}); run: genba data check") from error
    return Shard(path, metadata, facts, streams)


def metadata_to_json(metadata: EpisodeMetadata) -> dict[str, Any]:
    """Return plain values; an outcome that is no number becomes its name (``"nan"``), which JSON can hold."""
    table: dict[str, Any] = dict(asdict(metadata))
    table["outcome"] = {name: _plain(value) for name, value in metadata.outcome.items()}
    table["calibration"] = {name: [_plain(v) for v in values] for name, values in metadata.calibration.items()}
    table["seed"] = int(metadata.seed)
    return table


def metadata_from_json(table: Mapping[str, Any]) -> EpisodeMetadata:
    """Invert ``metadata_to_json``."""
    values = dict(table)
    values["outcome"] = {name: float(value) for name, value in table["outcome"].items()}
    values["calibration"] = {name: tuple(float(v) for v in row) for name, row in table["calibration"].items()}
    return EpisodeMetadata(**values)


def _plain(value: float) -> float | str:
    return float(value) if math.isfinite(value) else str(float(value))


def _batch(name: str, stored: StoredStream, schema: pa.Schema) -> pa.RecordBatch:
    raw = pa.py_buffer(np.ascontiguousarray(stored.data))
    data = pa.Array.from_buffers(pa.large_binary(), 1, [None, pa.py_buffer(np.array([0, raw.size], np.int64)), raw])
    columns = [
        pa.array([name]),
        pa.array([stored.codec]),
        pa.array([stored.data.dtype.str]),
        pa.array([list(stored.shape)], pa.list_(pa.int64())),
        *(_numbers(values) for values in (stored.times_ns, stored.splits, stored.block_starts)),
        data,
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _numbers(values: np.ndarray | None) -> pa.Array:
    kind = pa.large_list(pa.int64())
    if values is None:
        return pa.nulls(1, kind)
    return pa.LargeListArray.from_arrays(np.array([0, len(values)], np.int64), pa.array(np.ascontiguousarray(values)))


def _stored(path: Path, batch: pa.RecordBatch) -> tuple[str, StoredStream]:
    name, codec = batch.column("stream")[0].as_py(), batch.column("codec")[0].as_py()
    if codec not in (RAW, POINTS, JPEG):
        raise ValueError(f"stream {name}: unknown codec {codec!r}")
    shape = tuple(batch.column("shape")[0].as_py())
    dtype = np.dtype(batch.column("dtype")[0].as_py())
    buffer = batch.column("data").buffers()[2]
    data = np.frombuffer(buffer, dtype) if buffer is not None and buffer.size else np.zeros(0, dtype)
    length = batch.column("data").buffers()[1]
    data = data[: int(np.frombuffer(length, np.int64)[1]) // dtype.itemsize]
    times_ns, splits, starts = (_read(batch.column(i)) for i in ("times_ns", "splits", "block_starts"))
    assert times_ns is not None
    if codec != JPEG:
        data = data.reshape(-1, *shape)
    return name, StoredStream(codec, times_ns, splits, data, starts, shape, f"{path}: {name}")


def _read(column: pa.Array) -> np.ndarray | None:
    if column.null_count:
        return None
    return column.flatten().to_numpy(zero_copy_only=True)
