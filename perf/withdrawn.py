"""What it costs to ask, for every episode that is stored, whether it was withdrawn: CPU time of ``Vault.append``.

The same episodes (20 s of a rover: 7 channels of numbers, small frames, sweeps, and 10 frames of 256 x 256 each second) are stored into
vaults without a list, and with one of so many pieces, in turns.

    python perf/withdrawn.py --rounds 5 --pieces 1000000
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from rover import ROVER, drive  # type: ignore[import-not-found]

from genba.data.vault import Vault
from genba.data.withdrawn import FOLDER
from genba.spec.embodiment import Embodiment
from genba.spec.episode import Episode
from genba.spec.streams import Stream
from genba.trust.denied import FINGERPRINT_BYTES, DeniedList
from genba.trust.keys import FileKeys

EPISODES = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pieces", type=int, default=1_000_000)
    given = parser.parse_args()
    machine = replace(ROVER, camera=tuple(replace(c, height=256, width=256) for c in ROVER.camera))
    episodes = [large(drive(seed), seed) for seed in range(EPISODES)]
    ratios, alone = [], []
    with tempfile.TemporaryDirectory() as folder:
        keys = FileKeys(Path(folder) / "keys")
        pieces = (os.urandom(FINGERPRINT_BYTES) for _ in range(given.pieces))
        data = DeniedList.make(keys, "somebody", "gone", pieces).to_bytes()
        for round_number in range(given.rounds):
            spent = {}
            for listed in (False, True):
                vault = Vault.open(
                    Path(folder) / f"{round_number}-{listed}", create=True, embodiments=[machine], keys=keys
                )
                if listed:
                    vault.storage.write(f"{FOLDER}/one.json", data)
                    # Read once per process; not what an episode costs.
                    vault.withdrawn.lists()
                spent[listed] = store(vault, machine, episodes)
            ratios.append(spent[True] / spent[False])
            alone.append(spent[False] / EPISODES)
    print(f"{statistics.median(alone) * 1e3:.0f} CPU-ms per episode of 20 s without a list")
    print(
        f"{statistics.median(ratios):.2f} times that ({min(ratios):.2f} to {max(ratios):.2f}) with {given.pieces} pieces"
    )


def store(vault: Vault, machine: Embodiment, episodes: list[Episode]) -> float:
    """Store the episodes; return the CPU time that it took, s."""
    began_s = time.process_time()
    for episode in episodes:
        vault.append(episode)
    return time.process_time() - began_s


def large(episode: Episode, seed: int) -> Episode:
    """Return the episode with frames of 256 x 256, blurred noise that moves."""
    front = episode.streams["front"]
    rng = np.random.default_rng(seed)
    scene = np.kron(rng.integers(0, 256, (64, 64, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    frames = np.stack([scene[i % 200 : i % 200 + 256, :256] for i in range(len(front))])
    return replace(episode, streams=episode.streams | {"front": Stream(front.times_ns, frames)})


if __name__ == "__main__":
    main()
