"""How far attribution agrees with leaving an owner out: three owners, the smallest model, several seeds.

Three owners' carts. Case ``unlike``: ``many`` gives many good episodes, ``few`` gives few, ``wrong`` gives as many as ``few`` whose actions are those of the
opposite push, and none that is held back. Case ``alike``: three give as many good ones each, so that little tells them apart. For each seed one model is trained on all, with attribution, and three with one owner's windows left out (the same number
of steps, windows and draws); all are measured on the same held-back windows. What leaving an owner out adds to that loss is
compared with the owner's attribution: Spearman's rank correlation over the three owners of each seed, its mean with a
bootstrap interval over seeds, and how often all three stand in order and an owner's two numbers have the same sign.

    python scripts/attribution.py --seeds 8 --steps 200 --out docs/measurements/attribution.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from carts import MACHINE, give  # type: ignore[import-not-found]
from toy import CART  # type: ignore[import-not-found]

from genba.bench.metrics import mean_interval, wilson
from genba.bench.results import commit
from genba.bench.worker import episode_id
from genba.data.contribution import read_traced
from genba.data.mixture import Share
from genba.data.vault import Vault
from genba.model.world_action_model import WorldActionModel
from genba.spec.episode import Episode
from genba.spec.streams import Stream
from genba.train.attribution import leakage, window_loss
from genba.train.data import TrainingData, is_held_back, prepare
from genba.train.loop import train
from genba.train.recipe import Recipe, recipe

#: case -> owner -> episodes to train on, and episodes held back; what is wanted is what the held-back ones show
CASES = {
    "unlike": {"many": (24, 8), "few": (8, 8), "wrong": (8, 0)},
    "alike": {"one": (12, 6), "two": (12, 6), "three": (12, 6)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--windows", type=int, default=32)
    parser.add_argument("--out", type=Path, default=Path("docs/measurements/attribution.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    began_s, cases = time.process_time(), dict[str, Any]()
    for case, owners in CASES.items():
        found = []
        for seed in range(given.seeds):
            found.append(one_seed(seed, owners, given.steps, given.windows))
            print(json.dumps(found[-1]), flush=True)
        episodes = {owner: {"training": a, "held_back": b} for owner, (a, b) in owners.items()}
        cases[case] = {"episodes": episodes, "agreement": summary(found), "seeds": found}
    table = {
        "what": "attribution beside leaving an owner out; preset debug on the tests' cart",
        "command": f"python scripts/attribution.py --seeds {given.seeds} --steps {given.steps} --windows {given.windows}",
        "commit": commit(),
        "cpu_s": round(time.process_time() - began_s),
        "cases": cases,
    }
    given.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({case: one["agreement"] for case, one in cases.items()}, indent=1))


def one_seed(seed: int, owners: Mapping[str, tuple[int, int]], steps: int, windows: int) -> dict[str, Any]:
    """Train with everyone and without each; return attribution and effect by owner."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        vault = Vault.open(place / "vault", create=True, embodiments=[MACHINE])
        worlds = np.random.default_rng(seed).permutation(CART.train_seeds).tolist()
        for owner, counts in owners.items():
            change = opposite if owner == "wrong" else None
            give(vault, (owner, "carts"), seeds_of(owner, worlds, *counts), change=change)
        chosen = replace(
            recipe("debug"),
            seed=seed,
            num_steps=steps,
            warmup_steps=20,
            checkpoint_every=steps // 10,
            evaluate_every=steps,
            log_every=steps,
            keep=1,
            attribute_windows=windows,
        )
        data = prepare(vault, [MACHINE], chosen)
        model = train(chosen, data, place / "all")
        traced = read_traced(place / "all", until=steps)
        base = held_loss(model, data, chosen)
        told = leakage(model, data, chosen, {entry.digest for entry in vault.entries()})
        effects = {}
        for owner in owners:
            without = replace(chosen, attribute_windows=0, shares=(Share(weight=0, owner=owner), Share(weight=1)))
            left = prepare(vault, [MACHINE], without)
            effects[owner] = held_loss(train(without, left, place / owner), data, chosen) - base
    return {
        "seed": seed,
        "held_back_loss": base,
        "left_out": effects,
        "plain": {o: sum(t.plain.get(o, 0.0) for t in traced) for o in owners},
        "adam": {o: sum(t.adam.get(o, 0.0) for t in traced) for o in owners},
        "windows": {o: sum(t.windows.get(o, 0) for t in traced) for o in owners},
        "told_by_loss": {o: told[o].value for o in owners if o in told},
    }


def seeds_of(owner: str, worlds: list[int], num_training: int, num_held_back: int) -> list[int]:
    """Take from ``worlds`` seeds whose episodes are for training or held back, as many of each as asked."""
    wanted, out = {False: num_training, True: num_held_back}, []
    for seed in worlds:
        side = is_held_back(f"{owner}/{episode_id(CART.id, CART.expert, seed)}")
        if wanted[side]:
            wanted[side] -= 1
            out.append(seed)
    assert not any(wanted.values()), f"{len(worlds)} worlds are too few for {owner}: {wanted} are missing"
    worlds[:] = [seed for seed in worlds if seed not in out]
    return out


def opposite(episode: Episode) -> Episode:
    """Return the episode with every action and label turned round."""
    turned = {
        name: Stream(s.times_ns, -s.values, s.splits) if name in ("action", "label") else s
        for name, s in episode.streams.items()
    }
    return replace(episode, streams=turned)


def held_loss(model: WorldActionModel, data: TrainingData, chosen: Recipe) -> float:
    """Return the mean loss of every held-back window, the same draws each time."""
    model.eval()
    (source,) = data.evaluation.sources.values()
    parts = np.array_split(np.arange(len(source)), max(1, len(source) // 32))
    with torch.no_grad():
        losses = [
            float(window_loss(model, data, chosen, MACHINE.id, source, part, 10_000 + i, torch.device("cpu")))
            for i, part in enumerate(parts)
        ]
    return float(np.average(losses, weights=[len(part) for part in parts]))


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how attribution, and counting windows, agree with leaving out: ranks, order and sign, each over seeds."""
    out: dict[str, Any] = {}
    for name in ("plain", "adam", "windows"):
        pairs = [_pair(one, name) for one in found]
        each = np.array([_rank_correlation(*pair) for pair in pairs])
        mean = mean_interval(each)
        in_order = wilson(int((each == 1).sum()), len(each))
        same_sign = wilson(int(sum((np.sign(a) == np.sign(b)).sum() for a, b in pairs)), 3 * len(pairs))
        out[name] = {
            "mean_rank_correlation": {"mean": mean.mean, "bootstrap_95": [mean.low, mean.high]},
            "all_three_in_order": {"share": in_order.mean, "wilson_95": [in_order.low, in_order.high]},
            "same_sign": {"share": same_sign.mean, "wilson_95": [same_sign.low, same_sign.high]},
        }
    return out


def _pair(one: dict[str, Any], name: str) -> tuple[np.ndarray, np.ndarray]:
    owners = list(one["left_out"])
    return np.array([one[name][o] for o in owners]), np.array([one["left_out"][o] for o in owners])


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    # Ties share the mean of their ranks: two owners with as many windows stand beside each other.
    ranks = [np.array([(np.sum(x < v) + np.sum(x <= v) - 1) / 2 for v in x]) for x in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


if __name__ == "__main__":
    main()
