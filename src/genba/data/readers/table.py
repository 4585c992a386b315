"""Reads CSV and Parquet tables of any plant or machine, with a mapping file that says what their columns are.

The mapping (``table_mapping``) is a TOML file: given with the option ``mapping``, or lying as ``genba-table.toml`` in the
folder of the tables. It says all facts of the machine (units, limits, rates), so its id ``log/<machine>-...@1`` follows
from the mapping alone. Every channel keeps its own clock: in a wide table a row in which all cells of a channel are blank
is no sample of that channel, in a long one every tag has rows of its own. A blank cell beside others is NaN.

Memory holds the columns that are mapped, as numbers, and no more of the text than one block. Read next: ``derived``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq

from genba.data.readers.derived import as_si, derive, hold_to, telemetry
from genba.data.readers.log_facts import EMBODIMENT_OPTION, given_facts, held_to
from genba.data.readers.options import provenance
from genba.data.readers.table_mapping import EXAMPLE, Channel, Long, Mapped, TableMapping, read_mapping
from genba.data.readers.table_time import to_nanoseconds
from genba.errors import FormatError, ReaderError, nearest
from genba.spec.embodiment import Dimension, Embodiment
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.streams import Stream
from genba.trust.digest import digest_file, digest_json

#: A mapping of this name makes its folder a log.
MAPPING_NAME = "genba-table.toml"

#: Numbers may take this many times a file's size, beyond what is free: run lengths and zstd pack constant columns well.
MAX_RATIO, FREE_BYTES = 1000, 1 << 26

_PARQUET_MAGIC = b"PAR1"
_BLOCK_BYTES = 1 << 22

_LOG = logging.getLogger(__name__)


class TableReader:
    """CSV and Parquet files, described by a mapping."""

    name = "table"
    #: what ``genba data formats table`` shows
    example = EXAMPLE
    description = f"CSV or Parquet tables with a mapping file (--option mapping=FILE, or {MAPPING_NAME} beside them)"
    options: Mapping[str, str] = {
        "mapping": f"a TOML file that says what the columns are; by default {MAPPING_NAME} in the folder",
        "embodiment": EMBODIMENT_OPTION.replace("derived from the log", "those of the mapping"),
    }

    def recognises(self, path: Path) -> bool:
        """Say whether ``path`` is a folder with a mapping in it; single tables need the option."""
        return (Path(path) / MAPPING_NAME).is_file()

    def embodiment(self, path: Path, **options: Any) -> Embodiment:
        """Return the facts that the option ``embodiment`` names, else those of the mapping.

        Raises:
            ReaderError: there is no mapping, or something in it is wrong.
        """
        provenance(self, options)
        given = given_facts(Path(path), options.get("embodiment"))
        return given or _facts(_mapping(Path(path), options))

    def read(self, path: Path, **options: Any) -> Iterator[Episode]:
        """Yield the episodes of a table or a folder of tables.

        Args:
            path: a CSV or Parquet file, or a folder with such files.
            options: ``mapping``, ``embodiment``; ``owner``, ``site``, ``jurisdiction``, ``agreement``.

        Raises:
            FormatError: a table that cannot be parsed, or a cell that is not what the mapping says.
            ReaderError: a column that is not there, naming the nearest, or an option that does not fit.
        """
        path, given = Path(path), provenance(self, options)
        mapping = _mapping(path, options)
        facts = given_facts(path, options.get("embodiment"))
        derived = _facts(mapping)
        files = _files(path, mapping.files)
        for group in [[file] for file in files] if mapping.episode == "file" else [files]:
            digest = digest_json([digest_file(file) for file in group])
            for key, streams in _episodes(path, mapping, group):
                if facts is not None:
                    streams = hold_to(facts, path, {c.name: c for c in derived.telemetry}, streams)
                episode_id = facts.id if facts is not None else derived.id
                where = path.name if len(group) > 1 else group[0].name
                metadata = EpisodeMetadata(
                    # Named by its content: the same rows of the same files imported twice are found.
                    episode_id=f"{episode_id}/table/{digest_json([digest, key])[7:19]}",
                    embodiment_id=episode_id,
                    **given,
                    source=where + (f", {mapping.episode_column} {key}" if mapping.episode_column else ""),
                )
                # The limits are the user's, whether they stand in a mapping or in facts.
                at = group[0] if len(group) == 1 else path
                yield held_to(facts or derived, Episode(metadata, streams), at, given=True)


def _mapping(path: Path, options: Mapping[str, Any]) -> TableMapping:
    file = options.get("mapping")
    if file is None:
        file = path / MAPPING_NAME
        if not file.is_file():
            raise ReaderError(
                f"{path}: a table needs a mapping that says what its columns are; give it with --option mapping=FILE or "
                f"put it into the folder as {MAPPING_NAME}; its form: genba data formats table"
            )
    mapping = read_mapping(Path(file))
    try:
        _facts(mapping)
    except ValueError as error:
        raise ReaderError(f"{file}: {error}") from error
    return mapping


def _facts(mapping: TableMapping) -> Embodiment:
    channels = []
    for channel in mapping.channel:
        dimensions = [_dimension(column) for column in channel.column]
        channels.append(telemetry(channel.name, channel.rate_hz, dimensions))
    key = [[c.name, c.rate_hz, [[d.name, d.unit, d.low, d.high, d.categories] for d in c.dimensions]] for c in channels]
    description = mapping.description or f"A machine as recorded in tables: {mapping.machine}."
    return derive(mapping.machine, description, channels, [mapping.machine, description, key])


def _dimension(column: Mapped) -> Dimension:
    if column.categories:
        return Dimension(name=column.name, unit="id", low=0, high=column.categories - 1, categories=column.categories)
    unit, scale, offset = column.conversion
    low, high = column.low * scale + offset, column.high * scale + offset
    return Dimension(name=column.name, unit=unit, low=low, high=high)


def _files(path: Path, pattern: str) -> list[Path]:
    if path.is_file():
        return [path]
    files = sorted(file for file in path.glob(pattern) if file.is_file() and file.name != MAPPING_NAME)
    if not files:
        raise ReaderError(f"{path}: no table {pattern!r}, expected at least one; see files in the mapping")
    return files


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of one channel, of one episode or of several."""

    #: int64 ``[row]``
    times_ns: np.ndarray
    #: float64 ``[row, dimension]``
    values: np.ndarray
    #: ``[row]``: which episode, an index into ``keys``
    episode: np.ndarray
    keys: tuple[str, ...]


def _episodes(path: Path, mapping: TableMapping, files: Sequence[Path]) -> Iterator[tuple[str, dict[str, Stream]]]:
    """Yield the episodes that a group of files holds, each with the value of its episode column."""
    parts: dict[str, list[_Part]] = {channel.name: [] for channel in mapping.channel}
    for file in files:
        channels = [c for c in mapping.channel if not c.files or file.match(c.files)]
        if not channels:
            _LOG.warning("%s: no channel of the mapping is in it; left out", file)
            continue
        for name, part in _read_file(file, mapping, channels):
            parts[name].append(part)
    for channel in mapping.channel:
        if not parts[channel.name]:
            raise ReaderError(f"{path}: channel {channel.name}: no file {channel.files!r} among {len(files)} tables")
    num_episodes = 0
    for key in sorted({key for found in parts.values() for part in found for key in part.keys}):
        streams = {channel.name: _join(path, channel, parts[channel.name], key) for channel in mapping.channel}
        streams = {name: stream for name, stream in streams.items() if len(stream)}
        if streams:
            num_episodes += 1
            yield key, streams
    if not num_episodes:
        raise FormatError(files[0], "got no row with a value of a mapped column, expected some")


def _join(path: Path, channel: Channel, parts: Sequence[_Part], key: str) -> Stream:
    times, values = [np.zeros(0, np.int64)], [np.zeros((0, len(channel.column)))]
    for part in parts:
        if key in part.keys:
            rows = part.episode == part.keys.index(key)
            times.append(part.times_ns[rows])
            values.append(part.values[rows])
    times_ns, numbers = np.concatenate(times), np.concatenate(values)
    if bool((np.diff(times_ns) < 0).any()):
        _LOG.warning("%s: channel %s: rows were not in the order of their times; sorted", path, channel.name)
        order = np.argsort(times_ns, kind="stable")
        times_ns, numbers = times_ns[order], numbers[order]
    samples = np.empty(numbers.shape, np.float32)
    for i, column in enumerate(channel.column):
        if column.categories:
            wrong = np.isfinite(numbers[:, i]) & ~np.isin(numbers[:, i], np.arange(column.categories))
            if wrong.any():
                raise ReaderError(
                    f"{path}: channel {channel.name}: column {column.source!r}: got {numbers[wrong.argmax(), i]:g}, "
                    f"expected a class of 0 to {column.categories - 1}"
                )
        samples[:, i] = as_si(numbers[:, i], column.conversion)
    return Stream(times_ns, samples)


def _read_file(file: Path, mapping: TableMapping, channels: Sequence[Channel]) -> Iterator[tuple[str, _Part]]:
    """Yield the rows of each channel of a file, which is read once."""
    wanted: dict[str, _Wanted] = {}
    for channel in channels:
        wanted[channel.time or mapping.time.column] = _Wanted("time", channel.name)
        if mapping.long is None:
            wanted |= {column.source: _Wanted("number", channel.name) for column in channel.column}
        else:
            wanted[mapping.long.name] = _Wanted("text", channel.name)
            wanted[mapping.long.value] = _Wanted("number", channel.name)
        if mapping.episode_column:
            wanted[mapping.episode_column] = _Wanted("text", channel.name)
    columns = _read_columns(file, mapping, wanted)
    num_rows = len(next(iter(columns.values())))
    keys, episode = ("",), np.zeros(num_rows, np.int64)
    if mapping.episode_column:
        coded = columns[mapping.episode_column].combine_chunks().dictionary_encode()
        if coded.null_count:
            raise FormatError(file, f"column {mapping.episode_column!r}: got a blank cell, expected the row's episode")
        keys, episode = tuple(str(key) for key in coded.dictionary.to_pylist()), coded.indices.to_numpy()
    clocks: dict[str, np.ndarray] = {}
    for channel in channels:
        time = channel.time or mapping.time.column
        if time not in clocks:
            clocks[time] = to_nanoseconds(columns[time], mapping.time, file, time)
        if mapping.long is None:
            values = np.stack([_numbers(columns[column.source]) for column in channel.column], -1)
            yield channel.name, _kept(clocks[time], values, episode, keys)
        else:
            yield channel.name, _spread(file, mapping.long, channel, columns, (clocks[time], episode, keys))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a column is read as, and for which channel (the last one that asks)."""

    kind: Literal["time", "number", "text"]
    channel: str


def _kept(times_ns: np.ndarray, values: np.ndarray, episode: np.ndarray, keys: tuple[str, ...]) -> _Part:
    there = ~np.isnan(values).all(1)
    return _Part(times_ns[there], values[there], episode[there], keys)


def _spread(
    file: Path,
    long: Long,
    channel: Channel,
    columns: Mapping[str, pa.ChunkedArray],
    rows: tuple[np.ndarray, np.ndarray, tuple[str, ...]],
) -> _Part:
    """Make one row per time of the rows of a long table, one column per tag; the last of several values counts."""
    times_ns, episode, keys = rows
    coded = columns[long.name].combine_chunks().dictionary_encode()
    tags = [str(tag) for tag in coded.dictionary.to_pylist()]
    of_row = np.where(coded.indices.is_valid(), coded.indices.fill_null(0).to_numpy(zero_copy_only=False), -1)
    numbers, place = _numbers(columns[long.value]), np.full(len(tags) + 1, -1)
    for i, column in enumerate(channel.column):
        if column.source not in tags:
            raise ReaderError(
                f"{file}: column {long.name!r} has no {column.source!r}{nearest(column.source, tags)} "
                f"(channel {channel.name} of the mapping)"
            )
        place[tags.index(column.source)] = i
    chosen = np.flatnonzero(place[of_row] >= 0)
    pairs = np.stack([episode[chosen], times_ns[chosen]], -1)
    moments, which = np.unique(pairs, axis=0, return_inverse=True)
    values = np.full((len(moments), len(channel.column)), np.nan)
    values[which.reshape(-1), place[of_row[chosen]]] = numbers[chosen]
    return _kept(moments[:, 1], values, moments[:, 0], keys)


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column as float64, blank cells as NaN."""
    return column.combine_chunks().to_numpy(zero_copy_only=False).astype(np.float64)


def _read_columns(file: Path, mapping: TableMapping, wanted: Mapping[str, _Wanted]) -> dict[str, pa.ChunkedArray]:
    """Read the ``wanted`` columns of a CSV or Parquet file, numbers as float64, text as strings.

    Raises:
        FormatError: not a table, or cells that are no numbers.
        ReaderError: a column that is not there.
    """
    try:
        with file.open("rb") as opened:
            is_parquet = opened.read(4) == _PARQUET_MAGIC
        batches = _parquet(file, wanted) if is_parquet else _csv(file, mapping, wanted)
        limit_bytes, taken, found = FREE_BYTES + MAX_RATIO * file.stat().st_size, 0, []
        for batch in batches:
            taken += batch.nbytes
            if taken > limit_bytes:
                raise FormatError(file, f"got more than {MAX_RATIO} times the file's size in numbers, expected a log")
            found.append(batch)
        table = pa.Table.from_batches(found)
        return {name: table.column(name) for name in wanted}
    except (pa.ArrowException, UnicodeError, LookupError, MemoryError, OverflowError, ValueError) as error:
        raise FormatError(file, f"not such a table as the mapping says: {error}") from error
    except OSError as error:
        raise FormatError(file, f"cannot be read as a table: {error}") from error


def _check_columns(file: Path, names: Sequence[str], wanted: Mapping[str, _Wanted]) -> None:
    for name, column in wanted.items():
        if names.count(name) != 1:
            what = "stands twice" if name in names else f"is not there{nearest(name, names)}"
            raise ReaderError(f"{file}: column {name!r} {what} (channel {column.channel} of the mapping)")


def _csv(file: Path, mapping: TableMapping, wanted: Mapping[str, _Wanted]) -> Iterator[pa.RecordBatch]:
    csv = mapping.csv
    read = pc_csv.ReadOptions(
        use_threads=False,
        block_size=_BLOCK_BYTES,
        skip_rows=csv.skip_rows,
        encoding=csv.encoding,
        column_names=list(csv.names) or None,
    )
    parse = pc_csv.ParseOptions(delimiter=csv.separator)
    kinds = {"number": pa.float64(), "text": pa.string(), "time": mapping.time.kind}
    # The names of all columns first: pyarrow would only say which one it did not find.
    with pc_csv.open_csv(file, read, parse, pc_csv.ConvertOptions(check_utf8=False)) as reader:
        _check_columns(file, reader.schema.names, wanted)
    convert = pc_csv.ConvertOptions(
        column_types={name: kinds[column.kind] for name, column in wanted.items()},
        include_columns=list(wanted),
        null_values=list(csv.missing),
        strings_can_be_null=True,
        decimal_point=csv.decimal,
    )
    with pc_csv.open_csv(file, read, parse, convert) as reader:
        yield from reader


def _parquet(file: Path, wanted: Mapping[str, _Wanted]) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(file) as parquet:
        _check_columns(file, parquet.schema_arrow.names, wanted)
        for batch in parquet.iter_batches(batch_size=1 << 16, columns=list(wanted), use_threads=False):
            arrays = []
            for name, column in wanted.items():
                array = batch.column(name)
                if column.kind == "number":
                    array = pc.cast(array, pa.float64(), safe=False)
                elif column.kind == "text":
                    array = pc.cast(array, pa.string())
                arrays.append(array)
            yield pa.RecordBatch.from_arrays(arrays, names=list(wanted))
