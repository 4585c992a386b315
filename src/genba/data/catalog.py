"""The catalog: one SQLite row per episode, so that choosing, counting and normalising never opens a shard.

It holds nothing that the shards do not hold as well (``Vault.rebuild`` makes it again from them). Every call opens its
own connection: collecting processes may append at the same time, and a forked or threaded reader is safe. Read next:
``vault``.
"""

from __future__ import annotations

import difflib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genba.data.shard import metadata_from_json, metadata_to_json
from genba.errors import DataError, StorageError
from genba.spec.episode import EpisodeMetadata
from genba.spec.statistics import Statistics
from genba.spec.units import SECOND_NS

#: How long a process waits for another's append to finish.
PATIENCE_S = 60.0

_TABLE = """
CREATE TABLE IF NOT EXISTS episodes (
    episode_id TEXT PRIMARY KEY,
    embodiment_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    jurisdiction TEXT NOT NULL,
    agreement TEXT NOT NULL,
    file TEXT NOT NULL UNIQUE,
    digest TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    num_windows INTEGER NOT NULL,
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    statistics TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS by_embodiment ON episodes (embodiment_id, task_id);
"""

_COLUMNS = "metadata, file, digest, size_bytes, num_windows, start_ns, end_ns"


@dataclass(frozen=True, kw_only=True, slots=True)
class EpisodeEntry:
    """What the catalog knows of one episode."""

    metadata: EpisodeMetadata
    #: the shard, relative to the vault
    file: str
    #: the shard's ``sha256:`` digest
    digest: str
    size_bytes: int
    #: moments that training may ask for
    num_windows: int
    #: times of the first and the last sample of any stream
    start_ns: int
    end_ns: int

    @property
    def episode_id(self) -> str:
        """The episode's unique name."""
        return self.metadata.episode_id

    @property
    def embodiment_id(self) -> str:
        """Whose channels it has."""
        return self.metadata.embodiment_id

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
            connection.executescript(_TABLE)

    def insert(self, entry: EpisodeEntry, statistics: dict[str, Any]) -> None:
        """Add one row.

        Raises:
            DataError: the episode id or the file is there already.
            StorageError: the row could not be written.
        """
        meta = entry.metadata
        row = (
            meta.episode_id,
            meta.embodiment_id,
            meta.task_id,
            meta.owner,
            meta.jurisdiction,
            meta.agreement,
            entry.file,
            entry.digest,
            entry.size_bytes,
            entry.num_windows,
            entry.start_ns,
            entry.end_ns,
            json.dumps(metadata_to_json(meta), ensure_ascii=False),
            json.dumps(statistics),
        )
        with self._connect() as connection:
            try:
                connection.execute(f"INSERT INTO episodes VALUES ({', '.join('?' * len(row))})", row)
            except sqlite3.IntegrityError as error:
                raise DataError(
                    f"{self.path}: episode {meta.episode_id!r} is stored already; give the new one another id"
                ) from error

    def entries(self, embodiment_id: str | None = None, task_id: str | None = None) -> list[EpisodeEntry]:
        """Return the entries that match, by episode id: the same order whoever stored them first."""
        where, values = _where(embodiment_id=embodiment_id, task_id=task_id)
        with self._connect() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM episodes{where} ORDER BY episode_id", values).fetchall()
        return [_entry(row) for row in rows]

    def entry(self, episode_id: str) -> EpisodeEntry:
        """Return one entry.

        Raises:
            DataError: no such episode, naming the nearest.
        """
        with self._connect() as connection:
            row = connection.execute(f"SELECT {_COLUMNS} FROM episodes WHERE episode_id = ?", (episode_id,)).fetchone()
            if row is None:
                known = [name for (name,) in connection.execute("SELECT episode_id FROM episodes LIMIT 10000")]
                close = difflib.get_close_matches(episode_id, known, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else "; see: genba data list"
                raise DataError(f"{self.path}: no episode {episode_id!r} among {len(known)}{hint}")
        return _entry(row)

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

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=PATIENCE_S)) as connection, connection:
                yield connection
        except sqlite3.OperationalError as error:
            raise StorageError(f"{self.path}: {error}; check free space and permissions") from error
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"{self.path}: not a catalog ({error}); move it away and run: genba data rebuild"
            ) from error


def _where(**equal: str | None) -> tuple[str, list[str]]:
    given = {name: value for name, value in equal.items() if value is not None}
    clause = " AND ".join(f"{name} = ?" for name in given)
    return (f" WHERE {clause}" if clause else "", list(given.values()))


def _entry(row: tuple[Any, ...]) -> EpisodeEntry:
    metadata, file, digest, size_bytes, num_windows, start_ns, end_ns = row
    return EpisodeEntry(
        metadata=metadata_from_json(json.loads(metadata)),
        file=file,
        digest=digest,
        size_bytes=size_bytes,
        num_windows=num_windows,
        start_ns=start_ns,
        end_ns=end_ns,
    )
