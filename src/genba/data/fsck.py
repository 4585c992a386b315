"""Looking for damage in a vault: every shard read in full, every episode held to its embodiment again.

Opening a vault checks sizes and indices only, because that is what a run can afford. This reads everything, changes
nothing, and says for each problem which streams and blocks it touches and what to do about it. Mending is ``salvage``'s
business; whether the data make sense is ``check``'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from genba.data.anchors import anchor_times
from genba.data.catalog import EpisodeEntry
from genba.data.salvage import DamagedShard
from genba.data.shard import ShardFile
from genba.data.vault import Vault
from genba.errors import GenbaError, KeyUnavailableError, PermissionDeniedError
from genba.spec.conformance import check_episode

Kind = Literal[
    "missing",
    "cut",
    "changed",
    "unreadable",
    "misfit",
    "no key",
    "refused",
    "unknown shard",
    "superseded",
    "half-written",
]

#: what ``salvage`` can do something about
REPAIRABLE: tuple[Kind, ...] = ("cut", "changed", "unreadable", "superseded")


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing wrong in a vault."""

    kind: Kind
    #: relative to the vault
    file: str
    #: empty where no episode is known for it
    episode_id: str
    #: what was got, what was expected, what to do
    message: str
    #: which blocks of which streams are damaged; no block where the whole stream is
    damage: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def fsck_vault(vault: Vault) -> Iterator[Problem | None]:
    """Check everything; yield a problem or None once per catalogued episode, then the problems of stray files.

    In a governed vault what the rules do not allow to be opened is ``refused``: nobody looked whether it is sound.
    """
    vault = vault.to_keep()
    entries = sorted(vault.entries(), key=lambda entry: (entry.file, entry.position))
    for file, group in groupby(entries, key=lambda entry: entry.file):
        yield from _check_shard(vault, file, list(group))
    known = {shard.file for shard in vault.catalog.shards()}
    for file in vault.shard_names():
        if file not in known:
            yield _stray(vault, file)
    for file in vault.partial_names():
        message = "left by a crash while writing, or being written now; delete it if nothing is writing"
        yield Problem(kind="half-written", file=file, episode_id="", message=message)


def describe(damage: Mapping[str, tuple[int, ...]]) -> str:
    """Return damage in words, e.g. ``lidar blocks 3, 4; joints``."""
    names = []
    for name, blocks in sorted(damage.items()):
        shown = ", ".join(map(str, blocks[:10])) + (f" and {len(blocks) - 10} more" if len(blocks) > 10 else "")
        names.append(f"{name} block{'s' if len(blocks) > 1 else ''} {shown}" if blocks else name)
    return "; ".join(names)


def _check_shard(vault: Vault, file: str, entries: list[EpisodeEntry]) -> Iterator[Problem | None]:
    first = entries[0]
    size_bytes = vault.storage.size_bytes(file)
    if size_bytes is None:
        for entry in entries:
            message = "the shard is gone; restore it from a copy"
            yield Problem(kind="missing", file=file, episode_id=entry.episode_id, message=message)
        return
    digest = vault.storage.digest(file)
    if size_bytes == first.shard_bytes and digest == first.digest:
        yield from (_check_entry(vault, entry) for entry in entries)
        return
    if size_bytes != first.shard_bytes:
        kind, what = "cut", f"got {size_bytes} bytes, expected {first.shard_bytes}"
    else:
        kind, what = "changed", f"got {digest}, expected {first.digest}"
    try:
        shard, sealed = DamagedShard(vault, file), ""
    except (KeyUnavailableError, PermissionDeniedError) as error:
        shard, sealed = None, str(error)
    for entry in entries:
        damage, reason = shard.damage(entry) if shard else ({}, sealed)
        if reason:
            where = f"nothing of this episode reads ({reason})"
        else:
            where = f"damaged: {describe(damage)}" if damage else "nothing of this episode is damaged"
        message = f"{what}; {where}; restore it from a copy, or save the rest: genba data fsck --repair"
        yield Problem(kind=kind, file=file, episode_id=entry.episode_id, message=message, damage=damage)


def _check_entry(vault: Vault, entry: EpisodeEntry) -> Problem | None:
    where = {"file": entry.file, "episode_id": entry.episode_id}
    try:
        episode = vault.shard(entry).episode()
    except KeyUnavailableError as error:
        return Problem(kind="no key", message=str(error), **where)
    except PermissionDeniedError as error:
        return Problem(kind="refused", message=str(error), **where)
    except GenbaError as error:
        return Problem(kind="unreadable", message=str(error), **where)
    try:
        embodiment = vault.embodiment(entry.embodiment_id)
        check_episode(embodiment, episode)
        num_windows = len(anchor_times(embodiment, episode.streams, episode.start_ns, episode.end_ns))
    except GenbaError as error:
        return Problem(kind="misfit", message=str(error), **where)
    if num_windows != entry.num_windows:
        message = f"got {num_windows} windows, the catalog says {entry.num_windows}; the facts changed: store it again"
        return Problem(kind="misfit", message=message, **where)
    return None


def _stray(vault: Vault, file: str) -> Problem:
    try:
        ids = [
            found.metadata.episode_id
            for found, _, _ in ShardFile(vault.storage, file, keys=vault.shard_keys).episodes()
        ]
    except KeyUnavailableError as error:
        return Problem(kind="no key", file=file, episode_id="", message=str(error))
    except PermissionDeniedError as error:
        return Problem(kind="refused", file=file, episode_id="", message=str(error))
    except GenbaError as error:
        message = f"a shard that the catalog does not know and that does not read: {error}"
        return Problem(kind="unreadable", file=file, episode_id="", message=message)
    if all(vault.catalog.holds(name) for name in ids):
        message = (
            "every episode of it is in another shard (packing was interrupted); move it away: genba data fsck --repair"
        )
        return Problem(kind="superseded", file=file, episode_id="", message=message)
    message = "a shard that the catalog does not know (a crash between the two); run: genba data rebuild"
    return Problem(kind="unknown shard", file=file, episode_id="", message=message)
