"""From foreign logs on disk into a vault: finding the logs, finding their reader, storing their episodes.

What a format means is its reader's business (``readers``); what fits is the vault's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genba.data.vault import Vault
from genba.errors import ReaderError, nearest
from genba.registry import READERS, resolve
from genba.spec.episode import EpisodeMetadata
from genba.spec.protocols import Reader


def find_logs(path: Path, reader_name: str = "") -> list[tuple[Path, Reader]]:
    """Return every log at or under ``path`` with the reader that knows it, in the order of their paths.

    A folder that is a log is not looked into any further.

    Args:
        reader_name: only this reader; empty for all. Where it recognises nothing, ``path`` itself is taken for its log.

    Raises:
        ReaderError: nothing there, no such reader, or no log that a reader knows.
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


def ingest(vault: Vault, log: Path, reader: Reader, **options: Any) -> tuple[list[EpisodeMetadata], list[str]]:
    """Store every episode of one log.

    Episodes that are stored already are left alone, so an import that broke off is finished by the same command.

    Returns:
        What was stored, and the ids of what was there already.

    Raises:
        ReaderError: the log cannot be read.
        SpecError: an episode does not fit its embodiment.
        StorageError: the disk refused.
    """
    stored, known = [], []
    vault.keep_embodiment(reader.embodiment(log, **options))
    for episode in reader.read(log, **options):
        if vault.catalog.holds(episode.metadata.episode_id):
            known.append(episode.metadata.episode_id)
            continue
        vault.append(episode)
        stored.append(episode.metadata)
    return stored, known


def _walk(path: Path, readers: list[Reader]) -> Iterator[tuple[Path, Reader]]:
    for reader in readers:
        if reader.recognises(path):
            yield path, reader
            return
    if path.is_dir():
        for child in sorted(path.iterdir()):
            if child.is_dir() or any(reader.recognises(child) for reader in readers):
                yield from _walk(child, readers)
