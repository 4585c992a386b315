"""What has been imported into a vault: jobs that are done, so that the same command does not read them again.

``imports.sqlite`` beside the catalog holds one row per job, written after its last episode is stored. A row counts as long as
the log's files, the options and the version of this program are as they were (``Job.state``) and the vault still holds its
episodes. Losing the file costs time, never data: logs are then read again, and their episodes found. Only the importing
process itself writes it, never its workers.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager

from genba.data.catalog import PATIENCE_S
from genba.data.ingest import Job
from genba.data.vault import Vault
from genba.errors import DataError, StorageError

JOURNAL_NAME = "imports.sqlite"

_TABLE = """
CREATE TABLE IF NOT EXISTS imports (
    log TEXT NOT NULL,
    part TEXT NOT NULL,
    state TEXT NOT NULL,
    episodes TEXT NOT NULL,
    PRIMARY KEY (log, part)
) STRICT;
"""


class ImportJournal:
    """The rows of one vault; every call opens its own connection."""

    def __init__(self, vault: Vault) -> None:
        self.path, self._vault = vault.path / JOURNAL_NAME, vault

    def done(self, job: Job) -> list[str] | None:
        """Return the ids of a job's episodes where it is done and all of them are still there; None where it is to do.

        Raises:
            StorageError: the journal cannot be read.
        """
        if not self.path.is_file():
            return None
        with self._connect() as connection:
            row = connection.execute(
                "SELECT episodes FROM imports WHERE log = ? AND part = ? AND state = ?", _key(job)
            ).fetchone()
        if row is None:
            return None
        episodes = [str(episode_id) for episode_id in json.loads(row[0])]
        return episodes if all(self._vault.catalog.holds(episode_id) for episode_id in episodes) else None

    def finish(self, job: Job, episodes: Sequence[str]) -> None:
        """Remember that a job is done.

        Raises:
            StorageError: the disk refused.
        """
        log, part, state = _key(job)
        with self._connect() as connection:
            connection.execute(_TABLE)
            connection.execute(
                "INSERT OR REPLACE INTO imports VALUES (?, ?, ?, ?)", (log, part, state, json.dumps(list(episodes)))
            )

    def forget(self, episodes: Collection[str]) -> int:
        """Forget every job that gave one of these episodes; return how many.

        Raises:
            StorageError: the disk refused.
        """
        if not self.path.is_file() or not episodes:
            return 0
        names = set(episodes)
        with self._connect() as connection:
            rows = connection.execute("SELECT log, part, episodes FROM imports").fetchall()
            gone = [(log, part) for log, part, given in rows if names.intersection(json.loads(given))]
            connection.executemany("DELETE FROM imports WHERE log = ? AND part = ?", gone)
        return len(gone)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=PATIENCE_S)) as connection, connection:
                connection.execute("PRAGMA secure_delete = ON")
                yield connection
        except sqlite3.OperationalError as error:
            raise StorageError(f"{self.path}: {error}; check free space and permissions") from error
        except (sqlite3.DatabaseError, ValueError) as error:
            raise DataError(f"{self.path}: not a journal of imports ({error}); delete it and import again") from error


def _key(job: Job) -> tuple[str, str, str]:
    return str(job.log.resolve()), job.part, job.state
