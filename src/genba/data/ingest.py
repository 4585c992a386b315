"""From foreign logs on disk into a vault: finding the logs, finding their reader, storing their episodes.

A **job** is what is read at once: a log, or one part of a log whose reader can read its parts alone (a scene, a frame). What a
format means is its reader's business (``readers``); what fits is the vault's. Read next: ``import_journal``, which knows what is
done already; ``fanout``, which spreads jobs over processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genba.data.readers.options import PROVENANCE
from genba.data.vault import Vault
from genba.errors import DataError, ReaderError, nearest
from genba.registry import READERS, look_up, resolve
from genba.spec.protocols import PartedReader, Reader
from genba.trust.digest import digest_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What is read at once, and everything that a process needs to know to read it."""

    log: Path
    #: the reader's name
    reader: str
    #: the part of the log; empty for all of it
    part: str = ""
    #: the options that this reader takes
    options: Mapping[str, Any]
    #: bytes on disk; of a part, its even share of the log's
    size_bytes: int = 0
    #: what the log's files and the options were when it was found: sizes, times of change, names
    state: str = ""

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.log} {self.part}".rstrip()


@dataclass(frozen=True, kw_only=True, slots=True)
class Ingested:
    """One episode that a job gave."""

    episode_id: str
    #: samples of all its streams
    num_samples: int
    #: False where it was stored before
    is_new: bool


def find_logs(path: Path, reader_name: str = "") -> list[tuple[Path, Reader]]:
    """Return every log at or under ``path`` with the reader that knows it, in the order of their paths.

    A folder that is a log is not looked into any further.

    Args:
        reader_name: only this reader; empty for all. Where it recognises nothing, ``path`` itself is taken for its log.

    Raises:
        ReaderError: nothing there, no such reader, no log that a reader knows, or one that several know.
    """
    if reader_name and reader_name not in READERS:
        raise ReaderError(f"no reader {reader_name!r}{nearest(reader_name, READERS)}")
    if not path.exists():
        raise ReaderError(f"{path}: no such file or folder, expected a log or a folder of logs")
    readers = [resolve(entry)() for name, entry in sorted(READERS.items()) if reader_name in ("", name)]
    found = list(_walk(path, readers))
    if not found and reader_name:
        # Whoever names a reader says what the path is; the reader knows best what is wrong with it, or what it still needs.
        found = [(path, readers[0])]
    if not found:
        names = ", ".join(reader.name for reader in readers)
        raise ReaderError(f"{path}: no log that a reader knows (tried: {names}); nothing was imported")
    return found


def options_of(readers: list[Reader], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return, for each reader's name, those of the ``given`` options that it takes.

    Raises:
        ReaderError: an option that none of them takes, naming the nearest.
    """
    known = {reader.name: (*PROVENANCE, *reader.options) for reader in readers}
    every = sorted({option for options in known.values() for option in options})
    for option in given:
        if option not in every:
            raise ReaderError(f"{', '.join(sorted(known))}: no option {option!r}{nearest(option, every)}")
    return {name: {o: value for o, value in given.items() if o in options} for name, options in known.items()}


def whole_log(log: Path, reader: Reader, options: Mapping[str, Any], version: str) -> Job:
    """Return the job of a log as a whole.

    Args:
        version: of this program: another one may read a log otherwise, so it belongs to the job's state.

    Raises:
        ReaderError: the log cannot be looked at.
    """
    try:
        files = [(log, log.stat())] if log.is_file() else list(_files(log))
        # A file that an option names decides as well what comes out: a DBC, facts, a mapping.
        named = [(Path(v), Path(v).stat()) for v in options.values() if isinstance(v, str | Path) and _is_file(v)]
    except OSError as error:
        raise ReaderError(f"{log}: cannot be looked at: {error.strerror}") from error
    state = {
        "version": version,
        "reader": reader.name,
        "options": {name: str(value) for name, value in options.items()},
        "files": [[str(path), stat.st_size, stat.st_mtime_ns] for path, stat in (*files, *named)],
    }
    size_bytes = sum(stat.st_size for _, stat in files)
    return Job(log=log, reader=reader.name, options=dict(options), size_bytes=size_bytes, state=digest_json(state))


def jobs_of(log: Job, reader: Reader) -> list[Job]:
    """Return a log's jobs: one for each part where its reader can read parts alone, else the log itself.

    Raises:
        ReaderError: the log does not say which parts it has.
    """
    parts = reader.parts(log.log, **log.options) if isinstance(reader, PartedReader) else []
    if len(parts) < 2:
        return [log]
    share, rest = divmod(log.size_bytes, len(parts))
    return [
        Job(
            log=log.log, reader=log.reader, part=part, options=log.options,
            size_bytes=share + (i < rest), state=log.state,
        )
        for i, part in enumerate(parts)
    ]  # fmt: skip


class Ingest:
    """Stores the episodes of jobs, one after the other. Readers are kept: what one learnt of a log serves its next part."""

    def __init__(self, vault: Vault) -> None:
        self._vault, self._readers = vault, {}

    def run(self, job: Job) -> Iterator[Ingested]:
        """Store every episode of one job and yield each once it is stored.

        Episodes that are stored already are left alone, so a job that broke off is finished by running it again.

        Raises:
            ReaderError: the log cannot be read.
            SpecError: an episode does not fit its embodiment.
            StorageError: the disk refused.
        """
        if job.reader not in self._readers:
            self._readers[job.reader] = resolve(look_up(READERS, job.reader, kind="reader"))()
        reader, vault = self._readers[job.reader], self._vault
        vault.keep_embodiment(reader.embodiment(job.log, **job.options))
        part = {"part": job.part} if job.part else {}
        for episode in reader.read(job.log, **job.options, **part):
            episode_id = episode.metadata.episode_id
            is_new = not vault.catalog.holds(episode_id)
            if is_new:
                try:
                    vault.append(episode)
                except DataError:
                    # Another process may have stored the same episode meanwhile: then this one is not needed.
                    if not vault.catalog.holds(episode_id):
                        raise
                    is_new = False
            num_samples = sum(len(stream) for stream in episode.streams.values())
            yield Ingested(episode_id=episode_id, num_samples=num_samples, is_new=is_new)


def _walk(path: Path, readers: list[Reader], above: tuple[Path, ...] = ()) -> Iterator[tuple[Path, Reader]]:
    known = [reader for reader in readers if reader.recognises(path)]
    if len(known) > 1:
        names = " and ".join(reader.name for reader in known)
        raise ReaderError(f"{path}: several readers know this log: {names}; say which with --reader")
    if known:
        yield path, known[0]
    elif path.is_dir():
        here = path.resolve()
        # A link to a folder above would lead round for ever.
        if here in above:
            return
        try:
            children = sorted(path.iterdir())
        except OSError as error:
            raise ReaderError(f"{path}: cannot be looked into: {error.strerror}") from error
        for child in children:
            yield from _walk(child, readers, (*above, here))


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            # Not followed: a link that leads nowhere is the log's reader's business.
            yield path, path.lstat()


def _is_file(value: str | Path) -> bool:
    try:
        return Path(value).is_file()
    except (OSError, ValueError):
        return False
