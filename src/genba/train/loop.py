"""The training loop, on one page: batches in, losses down, checkpoints and metrics out.

It runs in one process or under ``torchrun`` (inside ``mesh.process_group``); how the model is laid over ranks is
``parallelize``'s business, what it reads ``data``'s, what is chosen ``recipe``'s.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from genba.data.contribution import write_traced
from genba.data.reads import ReadRecord
from genba.errors import CheckpointError
from genba.model.weights import weights_digest
from genba.model.world_action_model import WorldActionModel
from genba.train import checkpoint
from genba.train.attribution import trace
from genba.train.data import TrainingData
from genba.train.loader import Batch, Loader
from genba.train.mesh import make_mesh
from genba.train.metrics import Metrics
from genba.train.optimizer import MeanWeights, make_optimizer, set_learning_rate
from genba.train.parallelize import (
    average_gradients,
    clip_gradients,
    parallelize,
    reshard,
    synchronize_statistics,
)
from genba.train.passport import Issuer
from genba.train.plan import choose_layout
from genba.train.recipe import Recipe
from genba.trust.folder import TrustFolder


def train(
    recipe: Recipe,
    data: TrainingData,
    folder: Path,
    *,
    device: str = "cpu",
    start_from: Path | None = None,
    resume_from: Path | None = None,
    stop_at: int | None = None,
    extra: Mapping[str, Any] | None = None,
    trust: TrustFolder | None = None,
) -> WorldActionModel:
    """Train one model on all embodiments of ``data`` jointly; go on where ``folder`` already has a checkpoint.

    Args:
        device: ``"cpu"`` or ``"cuda"``; there is no silent choice.
        start_from: a checkpoint whose weights (not its optimizer) a new run begins with.
        resume_from: a checkpoint of another folder that the run goes on from as if it were its own: weights, optimizer, step.
        stop_at: stop, with a checkpoint, after so many train steps; the schedule stays that of ``num_steps``.
        extra: what else the checkpoints shall say of themselves.
        trust: who makes each checkpoint's passport, and whose ledger gets that and what was read, by root.

    Returns:
        The model with its mean weights, those that are deployed.

    Raises:
        CheckpointError: a checkpoint of another architecture.
        PassportError: with ``trust``, a checkpoint to go on from that has no passport which holds.
    """
    called_s = time.perf_counter()
    rank, world_size = _ranks()
    issuer = None
    if trust is not None:
        issuer = Issuer(trust, recipe, data, run=str(folder), device=device, world_size=world_size)
    start, read_before, lineage = 0, None, {}
    resume_from = checkpoint.newest(folder) or resume_from
    if resume_from is not None:
        start = int(checkpoint.read_manifest(resume_from)["step"])
        if start > recipe.num_steps:
            raise CheckpointError(f"{resume_from}: is past num_steps = {recipe.num_steps}; use another folder")
        read_before, lineage = checkpoint.reads_of(resume_from), checkpoint.lineage_of(resume_from)
    reads = data.reads(start=start, rank=rank, world_size=world_size, previous=read_before)
    if start_from is not None and resume_from is None:
        parent = checkpoint.reads_of(start_from)
        origin = {"path": str(start_from), "reads": parent.digest if parent else ""}
        lineage = {checkpoint.LINEAGE: origin | checkpoint.lineage_of(start_from)}
        if parent is not None:
            reads.inherit(parent)
    stop = recipe.num_steps if stop_at is None else min(stop_at, recipe.num_steps)
    loader = Loader(
        data.training,
        data.embodiments,
        recipe.model,
        seed=recipe.seed,
        rank=rank,
        world_size=world_size,
        device=torch.device(device),
        reads=reads,
    )
    # The first batches are made while the model is: they open every episode that they touch for the first time.
    batches = loader.steps(start, stop)
    torch.manual_seed(recipe.seed)
    model = WorldActionModel(recipe.model, list(data.embodiments.values()))
    if start_from is not None and resume_from is None:
        # A run that goes on from another one's weights goes on from those that were deployed.
        mean = MeanWeights(model, recipe.mean_decay)
        checkpoint.load(start_from, model=model, mean=mean)
        mean.swap(model)
        if issuer is not None:
            issuer.go_on_from(start_from, f"sha256:{weights_digest(model)}", is_parent=True)
    mesh = make_mesh(choose_layout(recipe.model, world_size), device) if recipe.sharded else None
    model = parallelize(model.to(device), mesh)
    optimizer, mean = make_optimizer(model, recipe), MeanWeights(model, recipe.mean_decay)
    if resume_from is not None:
        checkpoint.load(resume_from, model=model, optimizer=optimizer, mean=mean)
        if issuer is not None:
            issuer.go_on_from(resume_from, _deployed(model, mean), is_parent=False)
    windows = sum(recipe.batch_size(i) for i in data.embodiments)
    with Metrics(folder, num_steps=stop, start=start, silent=rank > 0) as metrics:
        model.train()
        waited_s, stepped_s, began_s = 0.0, 0.0, time.perf_counter()
        # What the first report says once: how long it took from looking for windows to asking for the first batch.
        once = {"startup_s": data.prepared_s + began_s - called_s}
        asked_s, traced_until = began_s, start
        for step, batch in batches:
            waited_s += time.perf_counter() - asked_s
            losses = train_step(model, optimizer, recipe, batch, step)
            mean.update(model, step)
            stepped_s += time.perf_counter() - asked_s
            if (step + 1) % recipe.log_every == 0 or step + 1 == stop:
                values = {name: _mean_over_ranks(value) for name, value in losses.items()}
                elapsed_s = time.perf_counter() - began_s
                rate = windows * (step + 1 - start) / elapsed_s
                # Of the time of the steps since the last report, without evaluations and checkpoints, what was waited.
                values |= once | {
                    "lr": recipe.learning_rate_at(step),
                    "samples_per_s": rate,
                    "data_wait": waited_s / stepped_s,
                }
                waited_s, stepped_s, once = 0.0, 0.0, {}
                metrics.report(step, values)
                metrics.advance(step, rate=rate, loss=values["loss"])
            if (step + 1) % recipe.evaluate_every == 0 or step + 1 == stop:
                mean.swap(model)
                metrics.report(step, evaluate(model, data, recipe, device, reads))
                mean.swap(model)
            if (step + 1) % recipe.checkpoint_every == 0 or step + 1 == stop:
                if recipe.attribute_windows:
                    traced = trace(model, optimizer, recipe, data, reads, step=step + 1, before=traced_until)
                    traced_until = step + 1
                    if rank == 0:
                        write_traced(folder, traced)
                checkpoint.save(
                    folder,
                    step=step + 1,
                    model=model,
                    optimizer=optimizer,
                    mean=mean,
                    statistics=data.statistics,
                    extra=dict(extra or {}) | lineage | {"recipe": recipe.name, "seed": recipe.seed},
                    keep=recipe.keep,
                    reads=reads,
                    papers=None if issuer is None else partial(issuer.papers, _deployed(model, mean)),
                )
            asked_s = time.perf_counter()
    mean.swap(model)
    return model.eval()


def train_step(
    model: WorldActionModel, optimizer: torch.optim.Optimizer, recipe: Recipe, batch: Batch, step: int
) -> dict[str, torch.Tensor]:
    """Take one step on one sub-batch of every embodiment; return every loss, ``loss`` being what was made smaller."""
    set_learning_rate(optimizer, recipe.learning_rate_at(step))
    optimizer.zero_grad(set_to_none=True)
    out: dict[str, torch.Tensor] = {}
    total = torch.zeros((), device=next(model.parameters()).device)
    for embodiment_id, part in batch.items():
        losses = model(embodiment_id, part, seed=recipe.seed * 1_000_003 + step)
        weighted = losses["total"] * recipe.loss_weights.get(embodiment_id, 1.0)
        weighted.backward()
        total = total + weighted.detach()
        out |= {f"loss/{embodiment_id}/{name}": value.detach() for name, value in losses.items()}
    for parameter in model.parameters():
        # What these machines do not use (the trunk's last query where nothing is chosen) still gets its optimizer state:
        # a checkpoint then holds the same entries at every step, and resumes.
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    average_gradients(model)
    out["gradient_norm"] = clip_gradients(model, recipe.max_gradient_norm)
    optimizer.step()
    synchronize_statistics(model)
    model.rebalance()
    return {"loss": total} | out


@torch.no_grad()
def evaluate(
    model: WorldActionModel, data: TrainingData, recipe: Recipe, device: str, reads: ReadRecord | None = None
) -> dict[str, float]:
    """Return every loss on held-back episodes, and the world model's error beside persistence's.

    Args:
        reads: where what is read is entered.
    """
    model.eval()
    rank, world_size = _ranks()
    loader = Loader(
        data.evaluation,
        data.embodiments,
        recipe.model,
        seed=recipe.seed + 1,
        rank=rank,
        world_size=world_size,
        device=torch.device(device),
        reads=reads,
        is_training=False,
    )
    sums: dict[str, float] = {}
    for step in range(recipe.evaluate_batches):
        for embodiment_id, part in loader.batch(step).items():
            for name, value in model(embodiment_id, part, seed=step).items():
                key = f"eval/{embodiment_id}/{name}"
                sums[key] = sums.get(key, 0.0) + _mean_over_ranks(value) / recipe.evaluate_batches
    reshard(model)
    model.train()
    for embodiment_id in data.embodiments:
        sums[f"eval/{embodiment_id}/world_error"] = sums[f"eval/{embodiment_id}/readout"]
        sums[f"eval/{embodiment_id}/persistence_error"] = sums[f"eval/{embodiment_id}/persistence"]
    return sums


def _deployed(model: WorldActionModel, mean: MeanWeights) -> str:
    """Return the digest of the mean weights, those that are deployed."""
    mean.swap(model)
    digest = weights_digest(model)
    mean.swap(model)
    return f"sha256:{digest}"


def _ranks() -> tuple[int, int]:
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def _mean_over_ranks(value: torch.Tensor) -> float:
    if dist.is_initialized():
        value = value.clone()
        dist.all_reduce(value)
        value = value / dist.get_world_size()
    return float(value)
