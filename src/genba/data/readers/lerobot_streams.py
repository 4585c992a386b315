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

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from genba.config import read_toml
from genba.data.layout import metadata_from_json
from genba.data.readers.lerobot_layout import format_errors, is_text
from genba.data.readers.lerobot_tables import EpisodeTables, column
from genba.data.video_files import decode_png, encode_png
from genba.errors import ConfigError, FormatError, SpecError
from genba.spec.conformance import check_episode
from genba.spec.embodiment import Embodiment
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.streams import Stream
from genba.trust.digest import digest_file

FORMAT = "genba-lerobot@1"
FOLDER, CLOCK = "streams", "_clock"
FACTS, PROVENANCE = "meta/embodiment.toml", "meta/provenance.json"


def has_side_tables(path: Path) -> bool:
    """Say whether a data set has the files that Genba puts beside LeRobot's."""
    return (path / PROVENANCE).is_file() and (path / FACTS).is_file()


def native_embodiment(path: Path) -> Embodiment:
    """Return the facts that a data set's side tables are in terms of.

    Raises:
        FormatError: not the facts of a machine.
    """
    try:
        return read_toml(path / FACTS, Embodiment)
    except (ConfigError, OSError, ValueError, RecursionError) as error:
        raise FormatError(path / FACTS, f"not the facts of a machine ({error})") from error


def native_episodes(path: Path, terms: Mapping[str, str]) -> Iterator[Episode]:
    """Yield the episodes that Genba wrote, as they were, after comparing every file with its digest.

    Args:
        path: the data set.
        terms: ``owner`` and the like, told anew.

    Raises:
        FormatError: a file was changed since, or does not hold what ``provenance.json`` says.
    """
    embodiment, file = native_embodiment(path), path / PROVENANCE
    with format_errors(file, "a record of provenance"):
        record = json.loads(file.read_bytes())
        if record.get("format") != FORMAT:
            raise FormatError(file, f"got format {record.get('format')!r}, expected {FORMAT!r}")
        entries = [
            (_metadata({**entry["metadata"], **terms}), {str(k): int(v) for k, v in entry["samples"].items()})
            for entry in record["episodes"]
        ]
        digests = dict(record["files"])
    for name, digest in digests.items():
        _check_digest(path, name, digest)
    tables = {
        name: _SideTable(path, name, digests) for name in sorted({name for _, samples in entries for name in samples})
    }
    try:
        for index, (metadata, samples) in enumerate(entries):
            if metadata.embodiment_id != embodiment.id:
                raise FormatError(file, f"episode {index}: got {metadata.embodiment_id!r}, expected {embodiment.id!r}")
            episode = Episode(metadata, {name: tables[name].stream(index, count) for name, count in samples.items()})
            try:
                check_episode(embodiment, episode)
            except SpecError as error:
                raise FormatError(path, f"episode {index}: {error}") from error
            yield episode
    finally:
        for table in tables.values():
            table.tables.close()


def recorded_terms(path: Path) -> dict[str, str]:
    """Return owner, site, jurisdiction and agreement where Genba recorded them beside a data set.

    They hold for the base tables too, also after those were changed. Where episodes differ all are named, which no
    agreement matches by accident.
    """
    if not has_side_tables(path):
        return {}
    with format_errors(path / PROVENANCE, "a record of provenance"):
        record = json.loads((path / PROVENANCE).read_bytes())
        plural = {"owner": "owners", "site": "sites", "jurisdiction": "jurisdictions", "agreement": "agreements"}
        terms = {name: " and ".join(record[key]) for name, key in plural.items() if record[key]}
        if not all(map(is_text, terms.values())):
            raise ValueError("terms that are not text")
        return terms


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


def _metadata(table: Mapping[str, Any]) -> EpisodeMetadata:
    """Return an episode's metadata from JSON that anybody may have written.

    Raises:
        TypeError: a field that is not there, or not of its type.
    """
    metadata = metadata_from_json(table)
    for field in dataclasses.fields(metadata):
        value = getattr(metadata, field.name)
        if field.name in ("outcome", "calibration"):
            continue
        if type(value) is not int if field.name == "seed" else not is_text(value):
            raise TypeError(f"{field.name}: got {value!r}")
    return metadata


class _SideTable:
    """One stream of every episode that Genba wrote."""

    def __init__(self, path: Path, name: str, digests: Mapping[str, str]) -> None:
        if not is_text(name) or not re.fullmatch(r"[a-z0-9_.]+", name) or name.startswith("."):
            raise FormatError(path / PROVENANCE, f"got a stream named {name!r}, expected lower-case letters and digits")
        self.folder, self.tables = path / FOLDER / name, EpisodeTables()
        self._all = sorted(self.folder.glob("*/*.parquet"))
        for file in self._all:
            if file.relative_to(path).as_posix() not in digests:
                raise FormatError(
                    file, f"got a table that {PROVENANCE} does not name; expected none but those it names"
                )
        self._files = {episode: file for file in self._all for episode in self.tables.episodes(file)}

    def stream(self, episode: int, count: int) -> Stream:
        """Return the stream of one episode, which has ``count`` samples."""
        file = self._files.get(episode)
        if file is None and count == 0 and self._all:
            return table_stream(self._all[0], self.tables.no_rows(self._all[0], ["t_ns", "value"]))
        found = 0 if file is None else self.tables.count(file, episode)
        if file is None or found != count:
            raise FormatError(
                self.folder, f"episode {episode}: got {found} samples, expected {count} as {PROVENANCE} says"
            )
        return table_stream(file, self.tables.rows(file, episode, ["t_ns", "value"]))


def _check_digest(path: Path, name: str, digest: str) -> None:
    if not is_text(name) or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise FormatError(path / PROVENANCE, f"files: got {name!r}, expected a path inside the data set")
    with format_errors(path / name, "a file"):
        found = digest_file(path / name)
    if found != digest:
        raise FormatError(
            path / name,
            f"got {found}, expected {digest} as {PROVENANCE} says: changed since Genba wrote it; to read the changed data "
            f"set from LeRobot's own tables, add the option streams=base",
        )


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
