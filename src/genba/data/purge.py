"""Taking an owner's data set out of a vault, byte by byte, and knowing it again afterwards.

``holding`` says what there is: shards, the wrapped keys beside them, what a repair set aside, what a crash left half-written,
rows of the catalog. ``fingerprints`` reads all of it once more, for the list of what must not come back; ``purge`` deletes
it. Each may be done again after a break and does what is left. Destroying the key is not here: ``genba.trust.keys``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from genba.data.compact import alone
from genba.data.fingerprint import episode_content
from genba.data.import_journal import ImportJournal
from genba.data.layout import Shard
from genba.data.shard import SUFFIX, ShardFile
from genba.data.vault import SET_ASIDE_FOLDER, SHARD_FOLDER, Vault, shard_folder
from genba.errors import GenbaError
from genba.trust.keys import KeyProvider


@dataclass(frozen=True, kw_only=True, slots=True)
class Stock:
    """What a vault holds of one data set."""

    #: file, relative to the vault -> its size in bytes
    files: dict[str, int]
    #: ids of the episodes that the catalog knows
    episodes: tuple[str, ...]
    #: time that they last, windows, in all
    hours: float
    num_windows: int

    def __bool__(self) -> bool:
        return bool(self.files or self.episodes)


def stock_of(vault: Vault, owner: str, dataset: str) -> Stock:
    """Return what a vault holds of an owner's data set: by its folder, by the catalog, and by what shards say of themselves."""
    storage, folder = vault.storage, shard_folder(owner, dataset)
    names = set(storage.names(folder)) | set(storage.names(f"{SET_ASIDE_FOLDER}/{folder}"))
    entries = [e for e in vault.entries() if (e.metadata.owner, e.metadata.dataset) == (owner, dataset)]
    known = {e.file for e in entries}
    known |= {s.file for s in vault.catalog.shards() if (s.owner, s.dataset) == (owner, dataset)}
    names |= {name for name in known if storage.size_bytes(name) is not None}
    # Somebody may have moved one elsewhere.
    others = {n for place in (SHARD_FOLDER, SET_ASIDE_FOLDER) for n in storage.names(place)} - names
    names |= {n for n in others if n.endswith(SUFFIX) and _is_of(vault, n, owner, dataset)}
    return Stock(
        files={name: storage.size_bytes(name) or 0 for name in sorted(names)},
        episodes=tuple(e.episode_id for e in entries),
        hours=sum(e.duration_s for e in entries) / 3600,
        num_windows=sum(e.num_windows for e in entries),
    )


def fingerprints(vault: Vault, held: Stock, keys: KeyProvider, unread: list[str]) -> Iterator[bytes]:
    """Yield the fingerprints of everything that reads of a holding.

    Args:
        keys: who opens it.
        unread: files of which something does not read (damaged, or its key is gone) are added here.
    """
    for name in held.files:
        if not name.endswith(SUFFIX):
            continue
        try:
            under_rules = bool(ShardFile(vault.storage, name, keys=None).header.ledger)
            opening = vault.keys_to_withdraw(keys) if under_rules else keys
            shard_file = ShardFile(vault.storage, name, keys=opening, whole=True)
            for position in range(shard_file.num_episodes):
                yield from _content(vault, shard_file.episode(position))
        except GenbaError:
            unread.append(name)


def purge(vault: Vault, owner: str, dataset: str, *, progress: Callable[[str], None] = lambda _: None) -> int:
    """Delete everything of a data set from a vault; local files are overwritten first. Nothing else is touched.

    Args:
        progress: told each file before it is erased.

    Returns:
        How many jobs the import journal forgot.

    Raises:
        StorageError: another upkeep runs, or the system refused; purging again does the rest.
    """
    with alone(vault):
        held = stock_of(vault, owner, dataset)
        # The journal before the rows that say which of its jobs are meant, the rows before the files that they name:
        # whatever breaks off, what is left is found again.
        forgotten = ImportJournal(vault).forget(held.episodes)
        vault.catalog.purge(owner, dataset)
        for name in held.files:
            progress(name)
            vault.storage.erase(name)
        if vault.storage.is_local:
            for folder in (shard_folder(owner, dataset), f"{SET_ASIDE_FOLDER}/{shard_folder(owner, dataset)}"):
                _remove_empty(vault.path / folder, vault.path)
    return forgotten


def _content(vault: Vault, shard: Shard) -> Iterator[bytes]:
    stored = {name: (s.codec, [block.data for block in s.blocks(0, s.num_blocks)]) for name, s in shard.streams.items()}
    embodiment = vault.embodiment(shard.metadata.embodiment_id)
    for pieces in episode_content(embodiment, shard.episode().streams, stored).values():
        yield from pieces


def _is_of(vault: Vault, name: str, owner: str, dataset: str) -> bool:
    try:
        header = ShardFile(vault.storage, name, keys=None).header
    except GenbaError:
        # What it is cannot be read, so it is not known to be theirs; where they lay, they are found by their folder.
        return False
    return (header.owner, header.dataset) == (owner, dataset)


def _remove_empty(folder: Path, root: Path) -> None:
    """Remove a folder's empty folders, itself, and those above it that are empty then: names are data too."""
    inside = sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True)
    above = [path for path in folder.parents if path.is_relative_to(root) and path != root]
    for path in [*inside, folder, *above]:
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
