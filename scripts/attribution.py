"""How far attribution agrees with leaving an owner out: three owners, the smallest model, several seeds.

Three owners' carts: ``many`` gives many good episodes, ``few`` gives few, ``wrong`` gives as many as ``few`` whose actions are those of the
opposite push, and none that is held back. For each seed one model is trained on all, with attribution, and three with one owner's windows left out (the same number
of steps, windows and draws); all are measured on the same held-back windows. What leaving an owner out adds to that loss is
compared with the owner's attribution: Spearman's rank correlation over the three owners of each seed, their mean with a
bootstrap interval over seeds, and over all owners and seeds together.

    python scripts/attribution.py --seeds 8 --steps 200 --out docs/measurements/attribution.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from carts import MACHINE, give  # type: ignore[import-not-found]
from toy import CART  # type: ignore[import-not-found]

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

#: owner -> episodes to train on, and episodes held back; what is wanted is what the held-back ones show
OWNERS = {"many": (24, 8), "few": (8, 8), "wrong": (8, 0)}
RESAMPLES = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--windows", type=int, default=32)
    parser.add_argument("--out", type=Path, default=Path("docs/measurements/attribution.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    began_s, found = time.process_time(), []
    for seed in range(given.seeds):
        found.append(one_seed(seed, given.steps, given.windows))
        print(json.dumps(found[-1]), flush=True)
    table = summary(found) | {
        "what": "attribution beside leaving an owner out; preset debug on the tests' cart",
        "command": f"python scripts/attribution.py --seeds {given.seeds} --steps {given.steps} --windows {given.windows}",
        "commit": commit(),
        "cpu_s": round(time.process_time() - began_s),
        "episodes": {owner: {"training": a, "held_back": b} for owner, (a, b) in OWNERS.items()},
        "seeds": found,
    }
    given.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(summary(found), indent=1))


def one_seed(seed: int, steps: int, windows: int) -> dict[str, Any]:
    """Train with everyone and without each; return attribution and effect by owner."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        vault = Vault.open(place / "vault", create=True, embodiments=[MACHINE])
        worlds = np.random.default_rng(seed).permutation(CART.train_seeds).tolist()
        for owner, counts in OWNERS.items():
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
        for owner in OWNERS:
            without = replace(chosen, attribute_windows=0, shares=(Share(weight=0, owner=owner), Share(weight=1)))
            left = prepare(vault, [MACHINE], without)
            effects[owner] = held_loss(train(without, left, place / owner), data, chosen) - base
    return {
        "seed": seed,
        "held_back_loss": base,
        "left_out": effects,
        "plain": {o: sum(t.plain.get(o, 0.0) for t in traced) for o in OWNERS},
        "adam": {o: sum(t.adam.get(o, 0.0) for t in traced) for o in OWNERS},
        "windows": {o: sum(t.windows.get(o, 0) for t in traced) for o in OWNERS},
        "told_by_loss": {o: told[o].value for o in OWNERS if o in told},
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
    """Return rank correlations with 95 % bootstrap intervals over seeds, of attribution and of counting windows."""
    out: dict[str, Any] = {}
    for name in ("plain", "adam", "windows"):
        each = np.array([spearman(one[name], one["left_out"]) for one in found])
        rng = np.random.default_rng(0)
        means = each[rng.integers(0, len(each), (RESAMPLES, len(each)))].mean(1)
        low, high = np.quantile(means, [0.025, 0.975]).tolist()
        pairs = [(one[name][o], one["left_out"][o]) for one in found for o in OWNERS]
        out[name] = {
            "mean_rank_correlation_per_seed": float(each.mean()),
            "interval_95": [low, high],
            "rank_correlation_of_all": _rank_correlation(*map(np.array, zip(*pairs, strict=True))),
            "most_harmful_found": sum(min(one[name], key=one[name].get) == least(one) for one in found),
            "num_seeds": len(found),
        }
    return {"agreement": out}


def least(one: dict[str, Any]) -> str:
    """Return the owner whose leaving helps most."""
    return min(one["left_out"], key=one["left_out"].get)


def spearman(a: dict[str, float], b: dict[str, float]) -> float:
    """Return the rank correlation of two tables over the same owners."""
    return _rank_correlation(*(np.array([table[o] for o in OWNERS]) for table in (a, b)))


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    # Ties share the mean of their ranks: two owners with as many windows stand beside each other.
    ranks = [np.array([(np.sum(x < v) + np.sum(x <= v) - 1) / 2 for v in x]) for x in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


if __name__ == "__main__":
    main()
