"""Carts of two owners: the toy's expert drives them, and on its way into a vault every episode gets its owner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from toy import CART

from genba.bench.collect import collect
from genba.data.vault import Vault
from genba.spec.episode import Episode

MACHINE = CART.embodiment
KEEPER, GUEST = ("keeper", "carts"), ("guest", "pilot")


@dataclass
class Owned:
    """A sink that gives every episode an owner, and changes it before where asked."""

    vault: Vault
    whose: tuple[str, str]
    change: Callable[[Episode], Episode] = lambda episode: episode

    def append(self, episode: Episode) -> None:
        owner, dataset = self.whose
        about = {"owner": owner, "dataset": dataset, "agreement": f"{owner}-1", "jurisdiction": "JP-23"}
        name = f"{owner}/{episode.metadata.episode_id}"
        self.vault.append(self.change(replace(episode, metadata=replace(episode.metadata, episode_id=name, **about))))


def give(
    vault: Vault, whose: tuple[str, str], seeds: Sequence[int], *, change: Callable[[Episode], Episode] | None = None
) -> None:
    """Collect one episode per seed for an owner."""
    sink = Owned(vault, whose, change) if change else Owned(vault, whose)
    collect("toy:CART", policy=CART.expert, seeds=seeds, sink=sink, workers=0, progress=False)
