"""What tests of withdrawing share: a trust folder of the samples' rules, owners' episodes, and a command that can be killed."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from random_episodes import random_episode

from genba.data.vault import Vault
from genba.data.withdraw import Scope, withdraw
from genba.spec.embodiment import Embodiment, load_embodiment
from genba.spec.episode import Episode
from genba.trust.folder import TrustFolder
from genba.trust.keys import FileKeys

EVERYTHING = Path(__file__).parent / "model" / "everything.toml"
FLEET, WORKS = ("fleet", "2026"), ("works", "lines")


def owned(embodiment: Embodiment, seed: int, whose: tuple[str, str], **about: str) -> Episode:
    """Return a random episode of 40 control steps that belongs to somebody."""
    episode = random_episode(embodiment, seed, num_steps=40)
    owner, dataset = whose
    episode_id = f"{owner}/{dataset}/{seed:06d}"
    return replace(
        episode,
        metadata=replace(episode.metadata, **{"owner": owner, "dataset": dataset, "episode_id": episode_id} | about),
    )


def open_vault(path: Path, keys: Path, *, create: bool = False) -> Vault:
    return Vault.open(path, create=create, embodiments=[load_embodiment(EVERYTHING)], keys=FileKeys(keys))


def main(trust: str, vault: str, keys: str, kind: str, kill_at: str) -> None:
    """Withdraw the fleet's data set; die like a power cut at the ``kill_at``-th thing that is told or written."""
    counted = {"told": 0, "written": 0}

    def count(what: str) -> None:
        counted[what] += 1
        if what == kind and counted[what] == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)

    sync = os.fsync

    def counting_sync(descriptor: int) -> None:
        # Before and after: what was written may be on disk, or not be.
        count("written")
        sync(descriptor)
        count("written")

    os.fsync = counting_sync
    scope = Scope(keys=FileKeys(keys), vaults=(open_vault(Path(vault), Path(keys)),))
    withdraw(TrustFolder.open(trust), *FLEET, scope, progress=lambda _: count("told"))
    print(json.dumps(counted))


if __name__ == "__main__":
    main(*sys.argv[1:])
