"""The catalog: one SQLite row per episode and one per shard, so that choosing and counting never opens a shard.

It holds nothing that the shards do not hold as well (``Vault.rebuild`` makes it again from them), and holds it in clear:
it stays with whoever runs the vault, on a local disk, when shards go elsewhere. Every call opens its own connection:
collecting processes may append at the same time, and a forked or threaded reader is safe. Read next: ``vault``.
"""

from __future__ import annotations

import difflib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genba.data.layout import metadata_from_json, metadata_to_json
from genba.data.shard import ShardHeader
from genba.errors import DataError, StorageError
from genba.spec.episode import EpisodeMetadata
from genba.spec.statistics import Statistics
from genba.spec.units import SECOND_NS
from genba.trust.requests import Holding

#: How long a process waits for another's append to finish.
PATIENCE_S = 60.0

VERSION = 2

_TABLES = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS shards (
    file TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    dataset TEXT NOT NULL,
    embodiment_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    size_bytes INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS episodes (
    episode_id TEXT PRIMARY KEY,
    embodiment_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    dataset TEXT NOT NULL,
    jurisdiction TEXT NOT NULL,
    agreement TEXT NOT NULL,
    file TEXT NOT NULL REFERENCES shards (file),
    position INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    num_windows INTEGER NOT NULL,
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    statistics TEXT NOT NULL,
    UNIQUE (file, position)
) STRICT;
CREATE INDEX IF NOT EXISTS by_embodiment ON episodes (embodiment_id, task_id);
PRAGMA user_version = {VERSION};
COMMIT;
"""

_ENTRY = """
SELECT e.metadata, e.file, s.digest, s.size_bytes, e.position, e.offset, e.size_bytes, e.num_windows, e.start_ns, e.end_ns
FROM episodes e JOIN shards s ON s.file = e.file
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardEntry:
    """What the catalog knows of one shard."""

    #: relative to the vault
    file: str
    owner: str
    dataset: str
    embodiment_id: str
    #: the key that wraps its data key; empty where nothing is sealed
    key_id: str
    #: its ``sha256:`` digest
    digest: str
    size_bytes: int

    @classmethod
    def of(cls, file: str, header: ShardHeader, digest: str, size_bytes: int) -> ShardEntry:
        """Make the entry of a shard from its header."""
        return cls(
            file=file,
            owner=header.owner,
            dataset=header.dataset,
            embodiment_id=header.embodiment_id,
            key_id=header.key_id,
            digest=digest,
            size_bytes=size_bytes,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class EpisodeEntry:
    """What the catalog knows of one episode."""

    metadata: EpisodeMetadata
    #: the shard, relative to the vault, its ``sha256:`` digest and its size
    file: str
    digest: str
    shard_bytes: int
    #: which of the shard's episodes it is, where its blocks begin in the file, and how many bytes they are
    position: int
    offset: int
    size_bytes: int
    #: moments that training may ask for
    num_windows: int
    #: times of the first and the last sample of any stream
    start_ns: int
    end_ns: int

    @classmethod
    def of(
        cls,
        shard: ShardEntry,
        metadata: EpisodeMetadata,
        facts: Mapping[str, Any],
        position: int,
        offset: int,
        size_bytes: int,
    ) -> EpisodeEntry:
        """Make the entry of one of a shard's episodes."""
        return cls(
            metadata=metadata,
            file=shard.file,
            digest=shard.digest,
            shard_bytes=shard.size_bytes,
            position=position,
            offset=offset,
            size_bytes=size_bytes,
            num_windows=facts["num_windows"],
            start_ns=facts["start_ns"],
            end_ns=facts["end_ns"],
        )

    @property
    def episode_id(self) -> str:
        """The episode's unique name."""
        return self.metadata.episode_id

    @property
    def embodiment_id(self) -> str:
        """Whose channels it has."""
        return self.metadata.embodiment_id

    @property
    def holding(self) -> Holding:
        """Whose it is, in which data set, under which agreement: what rules are asked about."""
        return Holding(self.metadata.owner, self.metadata.dataset, self.metadata.agreement)

    @property
    def duration_s(self) -> float:
        """Time between the first and the last sample."""
        return (self.end_ns - self.start_ns) / SECOND_NS


class Catalog:
    """The rows of one vault."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self) -> None:
        """Make the tables where they are missing."""
        with self._connect() as connection:
            # The default rollback journal, not a write-ahead log: a vault on read-only or full storage stays readable,
            # and a row per episode is too seldom for the difference to be felt.
            if self._is_new(connection):
                connection.executescript(_TABLES)

    def insert(self, shard: ShardEntry, episodes: Iterable[tuple[EpisodeEntry, dict[str, Any]]]) -> None:
        """Add one shard with its episodes and their statistics, all or nothing.

        Raises:
            DataError: an episode id or the file is there already.
            StorageError: the rows could not be written.
        """
        with self._connect() as connection:
            self._insert(connection, shard, episodes)

    def replace(
        self,
        old_files: Iterable[str],
        shard: ShardEntry | None,
        episodes: Iterable[tuple[EpisodeEntry, dict[str, Any]]],
    ) -> None:
        """Put one shard in the place of others, all or nothing; with None they are only taken out.

        Raises:
            DataError: one of the old shards is no longer there, or an episode is there already in another.
            StorageError: the rows could not be written.
        """
        old = [(file,) for file in old_files]
        with self._connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("DELETE FROM episodes WHERE file = ?", old)
            removed = connection.executemany("DELETE FROM shards WHERE file = ?", old).rowcount
            if removed != len(old):
                raise DataError(
                    f"{self.path}: got {removed} of {len(old)} shards to replace; another process did so first"
                )
            if shard is not None:
                self._insert(connection, shard, episodes)

    def forget(self, files: Iterable[str]) -> None:
        """Take shards and their episodes out; one that is gone already is no error."""
        old = [(file,) for file in files]
        with self._connect() as connection:
            connection.executemany("DELETE FROM episodes WHERE file = ?", old)
            connection.executemany("DELETE FROM shards WHERE file = ?", old)

    def purge(self, owner: str, dataset: str) -> list[str]:
        """Take an owner's data set out, rows of episodes whose shard is not known any more too.

        Returns:
            The ids of the episodes that were taken out.

        Raises:
            StorageError: the rows could not be deleted.
        """
        whose = (owner, dataset)
        with self._connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            found = connection.execute(
                "DELETE FROM episodes WHERE owner = ? AND dataset = ? RETURNING episode_id", whose
            ).fetchall()
            connection.execute("DELETE FROM shards WHERE owner = ? AND dataset = ?", whose)
        return sorted(name for (name,) in found)

    def _insert(
        self,
        connection: sqlite3.Connection,
        shard: ShardEntry,
        episodes: Iterable[tuple[EpisodeEntry, dict[str, Any]]],
    ) -> None:
        values = (
            shard.file,
            shard.owner,
            shard.dataset,
            shard.embodiment_id,
            shard.key_id,
            shard.digest,
            shard.size_bytes,
        )
        try:
            connection.execute(f"INSERT INTO shards VALUES ({', '.join('?' * len(values))})", values)
        except sqlite3.IntegrityError as error:
            raise DataError(f"{self.path}: shard {shard.file} is there already") from error
        for entry, statistics in episodes:
            row = _row(entry, statistics)
            try:
                connection.execute(f"INSERT INTO episodes VALUES ({', '.join('?' * len(row))})", row)
            except sqlite3.IntegrityError as error:
                raise DataError(
                    f"{self.path}: episode {entry.episode_id!r} is stored already; give the new one another id"
                ) from error

    def entries(self, embodiment_id: str | None = None, task_id: str | None = None) -> list[EpisodeEntry]:
        """Return the entries that match, by episode id: the same order whoever stored them first."""
        where, values = _where(embodiment_id=embodiment_id, task_id=task_id)
        with self._connect() as connection:
            rows = connection.execute(f"{_ENTRY}{where} ORDER BY e.episode_id", values).fetchall()
        return [_entry(row) for row in rows]

    def entry(self, episode_id: str) -> EpisodeEntry:
        """Return one entry.

        Raises:
            DataError: no such episode, naming the nearest.
        """
        with self._connect() as connection:
            row = connection.execute(f"{_ENTRY} WHERE e.episode_id = ?", (episode_id,)).fetchone()
            if row is None:
                known = [name for (name,) in connection.execute("SELECT episode_id FROM episodes LIMIT 10000")]
                close = difflib.get_close_matches(episode_id, known, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else "; see: genba data list"
                raise DataError(f"{self.path}: no episode {episode_id!r} among {len(known)}{hint}")
        return _entry(row)

    def shards(self) -> list[ShardEntry]:
        """Return every shard, by its file."""
        names = ", ".join(ShardEntry.__dataclass_fields__)
        with self._connect() as connection:
            rows = connection.execute(f"SELECT {names} FROM shards ORDER BY file").fetchall()
        return [ShardEntry(**dict(zip(ShardEntry.__dataclass_fields__, row, strict=True))) for row in rows]

    def holdings(self) -> set[Holding]:
        """Return every owner, data set and agreement under which an episode is kept."""
        with self._connect() as connection:
            found = connection.execute("SELECT DISTINCT owner, dataset, agreement FROM episodes")
            return {Holding(*row) for row in found}

    def holds(self, episode_id: str) -> bool:
        """Say whether the episode is stored."""
        with self._connect() as connection:
            return (
                connection.execute("SELECT 1 FROM episodes WHERE episode_id = ?", (episode_id,)).fetchone() is not None
            )

    def statistics(self, embodiment_id: str) -> list[tuple[str, Statistics]]:
        """Return (episode id, statistics) of every episode of an embodiment, by episode id."""
        with self._connect() as connection:
            rows = connection.execute(
                "SELECT episode_id, statistics FROM episodes WHERE embodiment_id = ? ORDER BY episode_id",
                (embodiment_id,),
            ).fetchall()
        return [(name, Statistics.from_json(json.loads(text))) for name, text in rows]

    def embodiment_ids(self) -> list[str]:
        """Return every embodiment that has an episode."""
        with self._connect() as connection:
            return [name for (name,) in connection.execute("SELECT DISTINCT embodiment_id FROM episodes ORDER BY 1")]

    def _is_new(self, connection: sqlite3.Connection) -> bool:
        # Version, tables, version: another process may make them meanwhile, all at once.
        tables, version = 0, connection.execute("PRAGMA user_version").fetchone()[0]
        if not version:
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            version = connection.execute("PRAGMA user_version").fetchone()[0] if tables else 0
        if version == VERSION:
            return False
        if version or tables:
            raise DataError(
                f"{self.path}: got a catalog of version {version or 1}, expected {VERSION}; another Genba wrote this "
                f"vault: import or record its episodes again into a new one"
            )
        return True

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=PATIENCE_S)) as connection, connection:
                self._is_new(connection)
                # What is deleted is overwritten: a withdrawn episode's metadata and statistics do not stay in free pages.
                connection.execute("PRAGMA secure_delete = ON")
                yield connection
        except sqlite3.OperationalError as error:
            raise StorageError(f"{self.path}: {error}; check free space and permissions") from error
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"{self.path}: not a catalog ({error}); move it away and run: genba data rebuild"
            ) from error


def _row(entry: EpisodeEntry, statistics: dict[str, Any]) -> tuple[Any, ...]:
    meta = entry.metadata
    return (
        meta.episode_id,
        meta.embodiment_id,
        meta.task_id,
        meta.owner,
        meta.dataset,
        meta.jurisdiction,
        meta.agreement,
        entry.file,
        entry.position,
        entry.offset,
        entry.size_bytes,
        entry.num_windows,
        entry.start_ns,
        entry.end_ns,
        json.dumps(metadata_to_json(meta), ensure_ascii=False),
        json.dumps(statistics),
    )


def _where(**equal: str | None) -> tuple[str, list[str]]:
    given = {name: value for name, value in equal.items() if value is not None}
    clause = " AND ".join(f"e.{name} = ?" for name in given)
    return (f" WHERE {clause}" if clause else "", list(given.values()))


def _entry(row: tuple[Any, ...]) -> EpisodeEntry:
    metadata, file, digest, shard_bytes, position, offset, size_bytes, num_windows, start_ns, end_ns = row
    return EpisodeEntry(
        metadata=metadata_from_json(json.loads(metadata)),
        file=file,
        digest=digest,
        shard_bytes=shard_bytes,
        position=position,
        offset=offset,
        size_bytes=size_bytes,
        num_windows=num_windows,
        start_ns=start_ns,
        end_ns=end_ns,
    )
