"""What each rank of the parity test runs: a few train steps on its share of known batches. Started by the test."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import torch
from batches import EVERYTHING, random_batch
from toy import CART_FACTS, LINES_FACTS

from genba.model.config import MixtureConfig, ModelConfig, preset
from genba.model.weights import weights_digest
from genba.model.world_action_model import WorldActionModel
from genba.spec.embodiment import load_embodiment
from genba.train.mesh import make_mesh, process_group
from genba.train.parallelize import clip_gradients, parallelize, synchronize_statistics
from genba.train.plan import Layout

STEPS, BATCH, MAX_NORM = 4, 8, 1.0
EMBODIMENTS = [load_embodiment(EVERYTHING), CART_FACTS, LINES_FACTS]
#: scenario -> (mixture of experts or not, recomputed activations or not, expert ranks)
SCENARIOS = {
    "dense": (False, False, 1),
    "recomputed": (False, True, 1),
    "mixture": (True, False, 1),
    "dealt": (True, True, 2),
}


def choices(scenario: str) -> ModelConfig:
    sparse, recompute, _ = SCENARIOS[scenario]
    mixture = MixtureConfig(num_routed=4, num_active=2, feedforward=24) if sparse else None
    return dataclasses.replace(preset("debug"), mixture=mixture, checkpoint_activations=recompute)


def make_model(scenario: str, world_size: int) -> WorldActionModel:
    """The scenario's model, laid over the ranks."""
    torch.manual_seed(0)
    model = WorldActionModel(choices(scenario), EMBODIMENTS)
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    mesh = make_mesh(Layout(ranks=world_size, expert_parallel=min(SCENARIOS[scenario][2], world_size)), "cpu")
    parallelize(model, mesh)
    return model


def curve(scenario: str, rank: int, world_size: int) -> dict[str, list[float]]:
    """Train and return the loss over the whole batch, the gradient norm and a digest of the state per train step."""
    model = make_model(scenario, world_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    share = BATCH // world_size
    out: dict[str, list[float]] = {"loss": [], "norm": [], "usual": [], "bias": []}
    for step in range(STEPS):
        total = torch.zeros(())
        for i, embodiment in enumerate(EMBODIMENTS):
            whole = random_batch(embodiment, BATCH, seed=100 * step + i)
            mine = {name: array[rank * share : (rank + 1) * share] for name, array in whole.items()}
            total = total + model(embodiment.id, mine, seed=step)["total"]
        optimizer.zero_grad()
        total.backward()
        norm = clip_gradients(model, MAX_NORM)
        optimizer.step()
        synchronize_statistics(model)
        model.rebalance()
        loss = total.detach().clone()
        if world_size > 1:
            torch.distributed.all_reduce(loss)
        out["loss"].append(float(loss) / world_size)
        out["norm"].append(float(norm))
        buffers = dict(model.named_buffers())
        out["usual"].append(sum(float(b.sum()) for n, b in buffers.items() if n.endswith("surprise_scale")))
        out["bias"].append(sum(float(b.abs().sum()) for n, b in buffers.items() if n.endswith(".bias")))
    return out


def main(target: Path) -> None:
    torch.set_num_threads(1)
    with process_group("cpu") as (rank, world_size):
        curves = {scenario: curve(scenario, rank, world_size) for scenario in SCENARIOS}
        digests = {scenario: weights_digest(make_model(scenario, world_size)) for scenario in SCENARIOS}
        target.with_suffix(f".{rank}").write_text(json.dumps({"curves": curves, "digests": digests}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
