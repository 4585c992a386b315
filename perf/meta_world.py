"""Meta-World: a model beside an imitation network on the same demonstrations, judged by the package's own evaluation.

    python perf/meta_world.py demonstrations --names MT10 --per-task 5 --vault VAULT
    genba train run --vault VAULT --out RUN --batch metaworld/sawyer@1=128 --steps 3000
    genba bundle export RUN --embodiment metaworld/sawyer@1 --out BUNDLE
    python perf/meta_world.py mlp --names MT10 --vault VAULT --steps 20000 --out MLP.npz
    python perf/meta_world.py corrections --names MT10 --policy MLP.npz --per-task 10 --vault VAULT    # a bundle's: genba bench collect
    python perf/meta_world.py evaluate --names MT10 --policy BUNDLE --episodes 20 --out docs/measurements/metaworld/NAME.json
    python perf/meta_world.py evaluate --names MT10 --policy MLP.npz --episodes 20 --out docs/measurements/metaworld/NAME.json

The network: three hidden layers of 400, a one-hot of the task beside the state, an L1 loss on the teacher's labels (with fifty tasks
about 360,000 weights). It reads what ``genba train`` trains on and leaves out what that holds back. Times are CPU time of one core.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from genba import registry
from genba.bench.collect import collect
from genba.bench.metrics import wilson
from genba.bench.results import commit, hardware
from genba.bench.worker import episode_id
from genba.data.vault import Vault
from genba.machines.metaworld.official import evaluate
from genba.machines.metaworld.simulator import STATE
from genba.machines.metaworld.task_list import GROUPS, INSTRUCTIONS, ML45_TEST, ML45_TRAIN, MT10, MT50, group
from genba.runtime.bundle import Bundle
from genba.runtime.engine import OnnxEngine
from genba.runtime.policy import EnginePolicy
from genba.spec.action import Action, ActionChunk, single
from genba.spec.embodiment import load_embodiment
from genba.spec.episode import LABEL
from genba.spec.observation import Observation
from genba.spec.protocols import Policy
from genba.spec.task import Task
from genba.train.data import is_held_back

#: What may be asked for, and the task whose train worlds its demonstrations are of.
NAMES = {"MT10": MT10, "MT50": MT50, "ML45": ML45_TRAIN, "ML45-test": ML45_TEST}
TASKS = {
    "MT10": "metaworld/mt10@1",
    "MT50": "metaworld/mt50@1",
    "ML45": "metaworld/ml45@1",
    "ML45-test": "metaworld/ml45-adapt@1",
}
#: Standard deviation of the noise on what the teacher executes while it shows, as a share of an action's range.
PERTURB = 0.05
HIDDEN, BATCH, LEARNING_RATE = 400, 128, 1e-3


def demonstrations(names: str, per_task: int, perturb: float, vault: Path) -> None:
    """Record so many demonstrations of each task that training will use, and one more for it to hold back."""
    task_id = TASKS[names]
    task, count = registry.task(task_id), len(NAMES[names])
    used: list[int] = []
    held_back = [seed for seed in task.train_seeds[:1000] if is_held_back(episode_id(task_id, "scripted", seed))]
    for first in range(count):
        of_task = (s for s in itertools.count(first, count) if not is_held_back(episode_id(task_id, "scripted", s)))
        used += itertools.islice(of_task, per_task)
    done = collect(
        task_id,
        policy="scripted",
        seeds=[*sorted(used), held_back[0]],
        sink=Vault.open(str(vault), create=True),
        workers=0,
        labeller="scripted",
        perturb=perturb,
    )
    print(f"{done.num_new} episodes in {vault}, success {done.success}")


#: what ``corrections`` collects from: a task of the machine with the network as one more of its policies
corrected: Task | None = None


def corrections(names: str, policy: str, per_task: int, first_seed: int, vault: Path) -> None:
    """Let the network act in worlds that nobody showed, each state labelled by the task's script (DAgger)."""
    global corrected
    arrays, _ = read_mlp(policy)
    task = registry.task(TASKS[names])
    corrected = dataclasses.replace(task, policies={**task.policies, Mlp.name: lambda env: Mlp(arrays)})
    done = collect(
        f"{__name__}:corrected",
        policy=Mlp.name,
        seeds=range(first_seed, first_seed + per_task * len(NAMES[names])),
        sink=Vault.open(str(vault)),
        workers=0,  # the task is this process's own
        labeller=task.expert,
    )
    print(f"{done.num_new} episodes in {vault}, success {done.success}")


class Mlp:
    """The imitation network, in numpy: the newest and the previous scene and a one-hot of the task, to an action."""

    name = "mlp"

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._arrays = arrays
        self._place = {str(sentence): i for i, sentence in enumerate(arrays["instructions"])}

    def reset(self, seed: int) -> None:
        """Nothing to forget."""

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with one action."""
        rows = observation.streams["scene"].values
        one_hot = np.zeros(len(self._place), np.float32)
        one_hot[self._place[observation.instruction]] = 1.0
        x = np.concatenate([inputs(rows[[0, -1]][None], self._arrays["mean"], self._arrays["std"])[0], one_hot])
        num_layers = sum(name.startswith("weight") for name in self._arrays)
        for i in range(num_layers):
            x = self._arrays[f"weight{i}"] @ x + self._arrays[f"bias{i}"]
            if i < num_layers - 1:
                x = np.maximum(x, 0.0)
        return single(observation.time_ns, 0.0125, Action(np.clip(x, -1.0, 1.0).astype(np.float32)))


def inputs(pairs: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Normalise scenes ``[rows, 2, 21]`` (previous, newest) to ``[rows, 42]``; what is missing is 0, as in the package."""
    return ((np.nan_to_num(pairs) - mean) / std).reshape(len(pairs), -1).astype(np.float32)


def train_mlp(names: str, vault: Path, steps: int, seed: int, out: Path) -> None:
    """Train the network on a vault's demonstrations and write its weights."""
    import torch  # only training needs it: an evaluation imports none

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    store, sentences = Vault.open(str(vault)), [INSTRUCTIONS[name] for name in NAMES[names]]
    pairs, labels, tasks, num_episodes = [], [], [], 0
    for entry in store.entries(embodiment_id=STATE):
        if is_held_back(entry.episode_id):
            continue
        episode = store.read(entry.episode_id)
        label, scene = episode.streams[LABEL], episode.streams["scene"]
        rows = scene.values[: len(label)]
        assert np.array_equal(label.times_ns, scene.times_ns[: len(label)])
        pairs.append(np.stack([rows[[0, *range(len(rows) - 1)]], rows], axis=1))
        labels.append(label.values)
        tasks.append(np.full(len(rows), sentences.index(episode.metadata.instruction)))
        num_episodes += 1
    scenes = np.nan_to_num(np.concatenate(pairs))
    mean, std = scenes.mean((0, 1)), scenes.std((0, 1))
    std[std < 1e-6] = 1.0
    x = torch.from_numpy(
        np.concatenate([inputs(scenes, mean, std), np.eye(len(sentences), dtype=np.float32)[np.concatenate(tasks)]], 1)
    )
    y = torch.from_numpy(np.concatenate(labels))
    widths = [x.shape[1], HIDDEN, HIDDEN, HIDDEN, 4]
    layers = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
    network = torch.nn.Sequential(
        *itertools.chain.from_iterable((layer, torch.nn.ReLU()) for layer in layers[:-1]), layers[-1]
    )
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    began_s = time.process_time()
    for step in range(steps):
        rows = torch.randint(len(x), (BATCH,))
        loss = (network(x[rows]) - y[rows]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 2000 == 0:
            print(f"step {step}: loss {loss.item():.4f}, {time.process_time() - began_s:.0f} CPU-seconds", flush=True)
    arrays: dict[str, Any] = {"mean": mean, "std": std, "instructions": np.array(sentences)}
    for i, layer in enumerate(layers):
        arrays |= {f"weight{i}": layer.weight.detach().numpy(), f"bias{i}": layer.bias.detach().numpy()}
    arrays["train"] = np.array([num_episodes, len(x), steps, round(time.process_time() - began_s)])
    np.savez(out, **arrays)
    weights = sum(parameter.numel() for parameter in network.parameters())
    print(f"{weights} weights, {num_episodes} episodes, {len(x)} moments, {arrays['train'][3]} CPU-seconds: {out}")


def read_mlp(path: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the network's arrays and what is to be said of it."""
    with np.load(path, allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    episodes, moments, steps, cpu_s = arrays.pop("train").tolist()
    weights = sum(a.size for name, a in arrays.items() if name.startswith(("weight", "bias")))
    said = {"kind": "mlp", "weights": weights, "episodes": episodes, "moments": moments, "steps": steps}
    return arrays, said | {"train_cpu_s": cpu_s}


def make(policy: str) -> tuple[Callable[[str], Policy], dict[str, Any]]:
    """Return what makes a policy for a task's name, and what is to be said of it."""
    if policy.endswith(".npz"):
        arrays, said = read_mlp(policy)
        return lambda name: Mlp(arrays), said
    bundle = Bundle.read(policy, load_embodiment(STATE))
    engine = OnnxEngine(bundle)
    said = {"kind": "model", "weights_digest": bundle.weights_digest, "provenance": bundle.provenance}
    return lambda name: EnginePolicy(engine), said


def measure(names: str, policy: str, episodes: int, seed: int, note: str, out: Path | None) -> None:
    """Let the package evaluate a policy, show the result and write it."""
    make_policy, said = make(policy)
    began_s = time.process_time()
    successes = evaluate(make_policy, NAMES[names], seed=seed, num_episodes=episodes)
    cpu_s = time.process_time() - began_s
    total = wilson(sum(successes.values()), episodes * len(successes))
    by_group = {}
    for level in GROUPS:
        of_level = [count for name, count in successes.items() if group(name) == level]
        if of_level:
            interval = wilson(sum(of_level), episodes * len(of_level))
            by_group[level] = [interval.mean, interval.low, interval.high, episodes * len(of_level)]
    for name, count in successes.items():
        print(f"{name:30s} {count:3d} of {episodes}")
    print(f"{names} {said['kind']}: {total}, {cpu_s:.0f} CPU-seconds")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        result = {
            "benchmark": names,
            "note": note,
            "policy": said,
            "seed": seed,
            "episodes_per_task": episodes,
            "success": [total.mean, total.low, total.high],
            "success_by_group": by_group,
            "successes": successes,
            "cpu_s": round(cpu_s, 1),
            "hardware": hardware(),
            "commit": commit(),
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        }
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    named = ("demonstrations", "mlp", "corrections", "evaluate")
    shown, learnt, mended, judged = (commands.add_parser(name) for name in named)
    for one in (shown, learnt, mended, judged):
        one.add_argument("--names", choices=sorted(NAMES), required=True)
    for one in (shown, learnt, mended):
        one.add_argument("--vault", type=Path, required=True)
    for one in (shown, mended):
        one.add_argument("--per-task", type=int, required=True)
    shown.add_argument("--perturb", type=float, default=PERTURB)
    mended.add_argument("--policy", required=True, help="the network's .npz")
    mended.add_argument("--first-seed", type=int, default=100_000, help="of worlds that demonstrations are not of")
    learnt.add_argument("--steps", type=int, default=20_000)
    learnt.add_argument("--out", type=Path, required=True)
    judged.add_argument("--policy", required=True, help="a bundle, or the network's .npz")
    judged.add_argument("--episodes", type=int, default=50)
    judged.add_argument("--note", default="", help="what the result shall say of how the policy was made")
    judged.add_argument("--out", type=Path)
    for one in (learnt, judged):
        one.add_argument("--seed", type=int, default=42)
    given = parser.parse_args()
    if given.command == "demonstrations":
        demonstrations(given.names, given.per_task, given.perturb, given.vault)
    elif given.command == "mlp":
        train_mlp(given.names, given.vault, given.steps, given.seed, given.out)
    elif given.command == "corrections":
        corrections(given.names, given.policy, given.per_task, given.first_seed, given.vault)
    else:
        measure(given.names, given.policy, given.episodes, given.seed, given.note, given.out)


if __name__ == "__main__":
    main()
