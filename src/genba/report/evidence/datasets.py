"""What vaults hold of each owner's data set, by their catalogs: nothing is opened and no key is needed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from genba.data.catalog import EpisodeEntry, ShardEntry
from genba.data.vault import Vault
from genba.errors import RegistryError
from genba.spec.embodiment import Embodiment
from genba.trust.merkle import root_of_digests

#: the folder of their descriptions in a pack
DATASETS = "datasets"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HeldData:
    """What one vault holds of one data set."""

    name: str
    """Its folder in the pack."""
    owner: str
    dataset: str
    agreements: tuple[str, ...]
    sites: tuple[str, ...]
    """Where it was recorded."""
    jurisdictions: tuple[str, ...]
    embodiments: tuple[Embodiment, ...]
    unknown: tuple[str, ...]
    """Ids of machines whose facts neither the vault nor the registry has."""
    num_episodes: int
    num_windows: int
    hours: float
    shards: tuple[ShardEntry, ...]
    is_governed: bool
    """Whether the vault asks the agreements before it opens anything."""

    @property
    def size_bytes(self) -> int:
        """Of all its shards."""
        return sum(shard.size_bytes for shard in self.shards)

    @property
    def is_sealed(self) -> bool:
        """Whether every shard is encrypted."""
        return all(shard.key_id for shard in self.shards)

    @property
    def root(self) -> str:
        """Root over its shards' digests: a passport that names it could read exactly these."""
        return root_of_digests(shard.digest for shard in self.shards)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Every kind of channel that it has, sorted."""
        return tuple(sorted({channel.modality for one in self.embodiments for channel in one.channels}))


def held_by(vault: Vault, number: int) -> list[HeldData]:
    """Return what a vault holds, by owner and data set.

    Args:
        number: the vault's, among those that were named.

    Raises:
        DataError, StorageError: the catalog cannot be read.
    """
    episodes: dict[tuple[str, str], list[EpisodeEntry]] = {}
    for entry in vault.entries():
        episodes.setdefault((entry.metadata.owner, entry.metadata.dataset), []).append(entry)
    shards: dict[tuple[str, str], list[ShardEntry]] = {}
    for shard in vault.catalog.shards():
        shards.setdefault((shard.owner, shard.dataset), []).append(shard)
    return [
        HeldData(
            name=f"{DATASETS}/{number:02d}-{place:03d}",
            owner=owner,
            dataset=dataset,
            agreements=_each(one.metadata.agreement for one in own),
            sites=_each(one.metadata.site for one in own),
            jurisdictions=_each(one.metadata.jurisdiction for one in own),
            embodiments=tuple(machine for machine in (_facts(vault, one) for one in _machines(own)) if machine),
            unknown=tuple(one for one in _machines(own) if _facts(vault, one) is None),
            num_episodes=len(own),
            num_windows=sum(one.num_windows for one in own),
            hours=sum(one.duration_s for one in own) / 3600,
            shards=tuple(shards[owner, dataset]),
            is_governed=vault.gate is not None,
        )
        for place, ((owner, dataset), own) in enumerate(sorted(episodes.items()))
    ]


def _machines(entries: Iterable[EpisodeEntry]) -> tuple[str, ...]:
    return _each(one.embodiment_id for one in entries)


def _facts(vault: Vault, embodiment_id: str) -> Embodiment | None:
    try:
        return vault.embodiment(embodiment_id)
    except RegistryError:
        return None


def _each(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(values)))
