"""Putting a vault that is there under a trust folder's rules, for good.

First every data set in it must be covered by an agreement that lets this party keep it here; then the vault says whose
rules it stands under, and from that moment nobody opens it without them. Then each shard is sealed anew under a fresh data key
and bound to its agreement and to the ledger. What was not reached before an interruption stays unreadable, and is done by
doing it again. Copies that somebody made before are not reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from genba.data.catalog import EpisodeEntry
from genba.data.compact import alone, encoded_episode
from genba.data.shard import ShardFile, rewrapped_name
from genba.data.vault import Vault
from genba.errors import ConfigError, PermissionDeniedError
from genba.trust.gate import Gate
from genba.trust.requests import Holding


@dataclass(frozen=True, kw_only=True, slots=True)
class Admitted:
    """One shard that was sealed anew."""

    #: the new ones, one for each agreement of the old one's episodes, relative to the vault
    files: tuple[str, ...]
    num_episodes: int


def govern(vault: Vault) -> Iterator[Admitted]:
    """Put a vault under the rules of the trust folder that it was opened with, one shard after the other.

    Raises:
        ConfigError: it was opened with none.
        PermissionDeniedError: a data set that no agreement lets this party keep here; every one is named, and nothing was
            changed. Or the vault stands under other rules.
        CorruptShardError: a shard is damaged; what was not reached stays unreadable until it is repaired and this is done again.
        KeyUnavailableError: an owner's key is missing or was destroyed; likewise.
        StorageError: another upkeep runs, or the disk refused; likewise.
    """
    if vault.trust is None:
        raise ConfigError(f"{vault.path}: no rules to put it under; name a trust folder with --trust or $GENBA_TRUST")
    with alone(vault):
        gate = vault.gate or vault.gate_to(vault.trust)
        _demand_covered(vault, gate)
        if vault.gate is None:
            vault.put_under(gate)
        for file, entries in sorted(_unbound(vault).items()):
            yield _admit(vault, file, entries)


def holdings(vault: Vault) -> dict[Holding, int]:
    """Return what a vault holds of whom, under which agreement, and how many episodes it is."""
    out: dict[Holding, int] = {}
    for entry in vault.entries():
        out[entry.holding] = out.get(entry.holding, 0) + 1
    return dict(sorted(out.items()))


def _demand_covered(vault: Vault, gate: Gate) -> None:
    held = holdings(vault)
    refused = {holding: reason for holding in held if (reason := gate.refusal("admit", holding))}
    if refused:
        lines = [f"{held[holding]} episodes: {reason}" for holding, reason in refused.items()]
        raise PermissionDeniedError(
            f"{vault.path}: {len(refused)} of {len(held)} data sets are covered by no agreement that lets them be kept here, and "
            f"nothing was changed; add their agreements, or take them out of the vault\n" + "\n".join(lines)
        )


def _unbound(vault: Vault) -> dict[str, list[EpisodeEntry]]:
    """Return the catalogued shards that are bound to no rules yet, with their episodes."""
    out: dict[str, list[EpisodeEntry]] = {}
    for entry in vault.entries():
        if entry.file in out or not ShardFile(vault.storage, entry.file, keys=None).header.ledger:
            out.setdefault(entry.file, []).append(entry)
    return out


def _admit(vault: Vault, file: str, entries: list[EpisodeEntry]) -> Admitted:
    before, groups = vault.without_rules(), dict[str, list[EpisodeEntry]]()
    for entry in sorted(entries, key=lambda e: e.position):
        groups.setdefault(entry.metadata.agreement, []).append(entry)
    written = [
        vault.write_shard([encoded_episode(before.shard(entry)) for entry in group], encrypt=True)
        for group in groups.values()
    ]
    # Every new shard is whole on disk: a crash from here on loses no episode, rebuild finds what the catalog does not know.
    (first, rows), *others = written
    vault.catalog.replace([file], first, rows)
    for shard, more in others:
        vault.catalog.insert(shard, more)
    vault.storage.remove(file)
    vault.storage.remove(rewrapped_name(file))
    return Admitted(files=tuple(shard.file for shard, _ in written), num_episodes=len(entries))
