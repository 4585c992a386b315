"""Packing many small shards into few large ones, so that a vault of millions of episodes is not one of millions of files.

Episodes are neither decoded nor changed: their blocks are opened and sealed anew under the new shard's data key. Only
episodes of one owner, data set, agreement and embodiment come together. A small shard is removed only after the large one is written
and catalogued; whatever interrupts this, every episode is whole in a shard that the catalog names. Who has an episode open
keeps the mapped file; who looks it up again finds it in its new place. Object storage has no mapping: there, a reader
that has an old shard open must open the vault again.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from genba.data.catalog import EpisodeEntry, ShardEntry
from genba.data.layout import EncodedEpisode, Shard
from genba.data.shard import rewrapped_name
from genba.data.vault import Vault
from genba.errors import DataError, StorageError

#: About the size of a compacted shard: large enough that files do not count, small enough to be copied and repaired.
TARGET_BYTES = 256 << 20

LOCK_NAME = "upkeep.lock"


@dataclass(frozen=True, kw_only=True, slots=True)
class Compacted:
    """One new shard and what it took the place of."""

    file: str
    num_episodes: int
    num_shards: int
    size_bytes: int


def compact(vault: Vault, *, target_bytes: int = TARGET_BYTES) -> Iterator[Compacted]:
    """Pack shards smaller than half of ``target_bytes`` together, one new shard after the other.

    Raises:
        CorruptShardError: a shard is damaged; it and those that were to go with it stay as they are.
        KeyUnavailableError: an owner's key is missing or was destroyed.
        PermissionDeniedError: the rules of a governed vault refuse to open it; as for a damaged one.
        StorageError: another upkeep runs, or the disk refused; what was not packed stays as it is.
    """
    with alone(vault):
        vault, entries = vault.to_keep(), dict[str, list[EpisodeEntry]]()
        for entry in vault.entries():
            entries.setdefault(entry.file, []).append(entry)
        agreements = {file: tuple(sorted({e.metadata.agreement for e in found})) for file, found in entries.items()}
        groups = plan(vault.catalog.shards(), target_bytes, agreements)
        for shards in groups:
            packed = [entry for shard in shards for entry in entries[shard.file]]
            yield _pack(vault, shards, sorted(packed, key=lambda e: (e.start_ns, e.episode_id)))


def plan(
    shards: list[ShardEntry], target_bytes: int, agreements: Mapping[str, tuple[str, ...]]
) -> list[list[ShardEntry]]:
    """Return which shards go together, each group of at least two and of about ``target_bytes``.

    Args:
        agreements: those of each shard's episodes, by its file.
    """
    groups: dict[tuple[str, ...], list[list[ShardEntry]]] = {}
    for shard in shards:
        if 2 * shard.size_bytes >= target_bytes:
            continue
        whose = (shard.owner, shard.dataset, *agreements.get(shard.file, ()))
        kept = groups.setdefault((shard.embodiment_id, shard.key_id, *whose), [[]])
        if sum(s.size_bytes for s in kept[-1]) + shard.size_bytes > target_bytes:
            kept.append([])
        kept[-1].append(shard)
    return [group for kept in groups.values() for group in kept if len(group) > 1]


def encoded_episode(shard: Shard) -> EncodedEpisode:
    """Return an opened episode so that it can be written elsewhere.

    Raises:
        CorruptShardError: a block does not verify.
    """
    return EncodedEpisode(shard.metadata, shard.facts, {name: s.encoded() for name, s in shard.streams.items()})


@contextmanager
def alone(vault: Vault) -> Iterator[None]:
    """Hold what only one process at a time may hold: packing or repairing shards. Appending and reading go on.

    Raises:
        StorageError: another process holds it, or the vault cannot be written.
    """
    path = vault.path / LOCK_NAME
    try:
        file = path.open("a")
    except OSError as error:
        raise StorageError(
            f"{path}: {error.strerror}; packing and repairing need a vault that can be written"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StorageError(
                f"{path}: another process packs or repairs this vault; wait until it has ended"
            ) from None
        yield


def _pack(vault: Vault, shards: list[ShardEntry], entries: list[EpisodeEntry]) -> Compacted:
    episodes = [encoded_episode(vault.shard(entry)) for entry in entries]
    shard, rows = vault.write_shard(episodes, encrypt=bool(shards[0].key_id))
    try:
        vault.catalog.replace([old.file for old in shards], shard, rows)
    except DataError as error:
        # After an error of the disk nobody can be sure which rows there are: then both stay, and fsck tells.
        if not isinstance(error, StorageError):
            vault.storage.remove(shard.file)
        raise
    for old in shards:
        vault.storage.remove(old.file)
        vault.storage.remove(rewrapped_name(old.file))
    return Compacted(file=shard.file, num_episodes=len(rows), num_shards=len(shards), size_bytes=shard.size_bytes)
