"""How an episode lies in a shard: an index that is read when it is opened, and its blocks, read when asked for.

The index is one record batch. Its first row says what the episode is (metadata, and what the catalog holds of it); every
other row is a stream: codec, shape, clock, splits, and where its blocks begin and end. A second batch holds the blocks, one
behind the other. So opening an episode reads its index only, and a window reads the blocks that it needs: views of a
mapped file, or ranges of an object.

Where a shard is sealed, an episode's metadata and statistics, clocks, splits and values are. In clear are what says how
much there is: names, codecs and shapes of streams, sizes and checksums of blocks (docs/decisions/0010). Read next:
``shard``, the file.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from genba.data.codecs import CODECS, EncodedStream
from genba.data.storage import Source
from genba.data.stored import CLOCK, FIRST_BLOCK, SPLITS, StoredStream
from genba.errors import CorruptShardError, SealError
from genba.spec.episode import Episode, EpisodeMetadata
from genba.trust.digest import canonical_json
from genba.trust.envelope import TAG_BYTES, Envelope, Seal

#: A stream's blocks begin at a multiple of this, so that mapped numbers are aligned.
ALIGNMENT = 64

#: what comes out where bytes are not what was written
_WRONG = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError)

SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("row", pa.uint32()),
        ("codec", pa.string()),
        ("dtype", pa.string()),
        ("shape", pa.list_(pa.int64())),
        ("samples_per_block", pa.int64()),
        ("bounds", pa.large_list(pa.int64())),
        ("checks", pa.large_list(pa.uint32())),
        ("clock", pa.large_binary()),
        ("splits", pa.large_binary()),
        ("data", pa.large_binary()),
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class EncodedEpisode:
    """An episode ready to be written: what it is, what the catalog holds of it, and its streams as blocks."""

    metadata: EpisodeMetadata
    #: ``num_windows``, ``start_ns``, ``end_ns`` and ``statistics``
    facts: Mapping[str, Any]
    streams: Mapping[str, EncodedStream]


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """An opened shard, at one of its episodes."""

    #: where it is, for messages
    place: str
    metadata: EpisodeMetadata
    #: as the vault found them when it stored the episode: ``num_windows``, ``start_ns``, ``end_ns``, ``statistics``
    facts: Mapping[str, Any]
    streams: Mapping[str, StoredStream]
    #: the opened file, kept so that its other episodes are opened from it too
    file: object = None

    def episode(self) -> Episode:
        """Decode every stream.

        Raises:
            CorruptShardError: bytes that do not verify or do not decode.
        """
        return Episode(self.metadata, {name: stored.decode() for name, stored in self.streams.items()})


def batches(
    episode: EncodedEpisode, first_row: int, envelope: Envelope | None, schema: pa.Schema, place: str
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Return an episode's index and its blocks; ``first_row`` is the number of its first row in the shard."""
    about = canonical_json(
        {
            "metadata": metadata_to_json(episode.metadata),
            "facts": dict(episode.facts),
            "streams": sorted(episode.streams),
        }
    )
    # Blanks make its length a multiple of 8, so that the clocks behind it are aligned where nothing is sealed.
    about += b" " * (-len(about) % 8)
    seal = envelope.sealer(first_row, {}, place=place) if envelope else None
    empty = dict.fromkeys(schema.names)
    rows = [empty | {"name": "", "row": first_row, "clock": _sealed(seal, CLOCK, about)}]
    parts: list[Any] = []
    offset = 0
    for row, name in enumerate(sorted(episode.streams), first_row + 1):
        stream = episode.streams[name]
        clear = _clear(name, stream)
        seal = envelope.sealer(row, clear | {"episode": episode.metadata.episode_id}, place=name) if envelope else None
        clock = _sealed(seal, CLOCK, stream.times_ns.astype("<i8").tobytes())
        splits = None if stream.splits is None else _sealed(seal, SPLITS, stream.splits.astype("<i8").tobytes())
        parts.append(bytes(-offset % ALIGNMENT))
        bounds, checks = [offset + len(parts[-1])], []
        for i, block in enumerate(stream.blocks, FIRST_BLOCK):
            data = _sealed(seal, i, block)
            parts.append(data)
            bounds.append(bounds[-1] + len(data))
            checks.append(zlib.crc32(data))
        offset = bounds[-1]
        rows.append(empty | clear | {"row": row, "bounds": bounds, "checks": checks, "clock": clock, "splits": splits})
    index = pa.RecordBatch.from_pylist(rows, schema=schema)
    blocks = pa.py_buffer(b"".join(parts) or bytes(ALIGNMENT))
    whole = pa.Array.from_buffers(
        pa.large_binary(), 1, [None, pa.py_buffer(np.array([0, blocks.size], np.int64)), blocks]
    )
    columns = [whole if field.name == "data" else pa.nulls(1, field.type) for field in schema]
    return index, pa.RecordBatch.from_arrays(columns, schema=schema)


def read_index(
    index: pa.RecordBatch,
    source: Source,
    base: int,
    envelope: Envelope | None,
    place: str,
    *,
    lost: dict[str, str] | None = None,
) -> Shard:
    """Return the episode that an index describes, whose blocks begin at byte ``base`` of ``source``.

    Args:
        lost: where given, a stream that does not read is left out and the reason put here, by its name.

    Raises:
        CorruptShardError: it does not verify, or is not an index.
    """
    streams: dict[str, StoredStream] = {}
    try:
        # Bytes from elsewhere: Arrow follows their offsets without looking.
        index.validate(full=True)
        seal = envelope.seal(index.column("row")[0].as_py(), {}, place=place) if envelope else None
        about = json.loads(bytes(_opened(seal, CLOCK, _cell(index, "clock", 0))))
        metadata = metadata_from_json(about["metadata"])
        for i in range(1, index.num_rows):
            try:
                name, stored = _stored(index, i, source, base, metadata.episode_id, envelope, place)
                streams[name] = stored
            except (*_WRONG, SealError) as error:
                if lost is None:
                    raise
                lost[str(index.column("name")[i].as_py())] = str(error)
        if sorted({*streams, *(lost or ())}) != about["streams"]:
            raise ValueError(f"got streams {sorted(streams)}, expected {about['streams']}")
        facts = about["facts"]
    except SealError as error:
        raise CorruptShardError(f"{error}; run: genba data fsck") from error
    except _WRONG as error:
        raise CorruptShardError(f"{place}: an index that does not read ({error}); run: genba data fsck") from error
    return Shard(place, metadata, facts, streams)


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


def _clear(name: str, stream: EncodedStream) -> dict[str, Any]:
    """What of a stream is in clear, and authenticated with every block of it."""
    return {
        "name": name,
        "codec": stream.codec,
        "dtype": stream.dtype,
        "shape": [int(size) for size in stream.shape],
        "samples_per_block": stream.samples_per_block,
    }


def _stored(
    index: pa.RecordBatch, i: int, source: Source, base: int, episode_id: str, envelope: Envelope | None, place: str
) -> tuple[str, StoredStream]:
    names = ("name", "codec", "dtype", "shape", "samples_per_block")
    clear = {name: index.column(name)[i].as_py() for name in names}
    where = f"{place}: {episode_id}: {clear['name']}"
    if not _is_sound(**clear):
        raise ValueError(f"stream {clear['name']}: got {clear}, which no codec writes")
    row = index.column("row")[i].as_py()
    seal = envelope.seal(row, clear | {"episode": episode_id}, place=where) if envelope else None
    times_ns = np.frombuffer(_opened(seal, CLOCK, _cell(index, "clock", i)), np.int64)
    splits = None
    if index.column("splits")[i].is_valid:
        splits = np.frombuffer(_opened(seal, SPLITS, _cell(index, "splits", i)), np.int64)
        if len(splits) != len(times_ns) + 1 or splits[0] != 0 or bool((np.diff(splits) < 0).any()):
            raise ValueError(f"stream {clear['name']}: got {len(splits)} splits of {len(times_ns)} samples")
    bounds, checks = _numbers(index, "bounds", i) + base, _numbers(index, "checks", i)
    num_blocks = -(-len(times_ns) // clear["samples_per_block"])
    sizes = np.diff(bounds)
    least = TAG_BYTES if seal else 0
    if len(bounds) != num_blocks + 1 or len(checks) != num_blocks or bounds[0] < base or bool((sizes < least).any()):
        raise ValueError(f"stream {clear['name']}: got {len(bounds) - 1} blocks, expected {num_blocks}")
    return clear["name"], StoredStream(
        codec=clear["codec"],
        dtype=np.dtype(clear["dtype"]),
        shape=tuple(clear["shape"]),
        times_ns=times_ns,
        splits=splits,
        samples_per_block=clear["samples_per_block"],
        bounds=bounds,
        checks=checks,
        source=source,
        seal=seal,
        place=where,
    )


def _is_sound(*, name: str, codec: str, dtype: str, shape: list[int], samples_per_block: int) -> bool:
    """Say whether a stream that claims this can have been written here."""
    match codec:
        case "raw":
            fits = bool(re.fullmatch(r"[<|][biuf][1248]", dtype)) and min(shape, default=0) >= 0
        case "points-2mm-zigzag-zstd":
            fits = dtype == "<f4" and len(shape) == 1 and 3 <= shape[0] <= 1024
        case _:
            fits = codec in CODECS and dtype == "|u1" and len(shape) == 3 and shape[2] == 3 and min(shape) > 0
    return fits and samples_per_block >= 1 and bool(name)


def _sealed(seal: Seal | None, number: int, data: Any) -> Any:
    return data if seal is None else seal.seal(number, data)


def _opened(seal: Seal | None, number: int, data: np.ndarray) -> Any:
    return data if seal is None else seal.open(number, data.data)


def _cell(batch: pa.RecordBatch, name: str, i: int) -> np.ndarray:
    """Return a binary cell as uint8, a view."""
    _, offsets, data = batch.column(name).buffers()
    low, high = np.frombuffer(offsets, np.int64)[i : i + 2].tolist()
    return np.frombuffer(data, np.uint8)[low:high] if high > low else np.zeros(0, np.uint8)


def _numbers(batch: pa.RecordBatch, name: str, i: int) -> np.ndarray:
    return batch.column(name)[i].values.to_numpy(zero_copy_only=True)
