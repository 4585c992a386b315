"""Which owner's gradients lower the held-back loss, measured at checkpoints; and whose training episodes show by their loss.

A batch's gradient is a sum over owners: owner ``o``'s part ``g_o`` is, over embodiments, the loss's weight times the share of the batch's
windows that are ``o``'s times the mean gradient of ``o``'s windows, estimated on a sample. To first order a step of size ``a`` along ``-g_o``
takes ``a <g_o, g_held>`` off the held-back loss. Summed over checkpoints, times the steps between them, that is TracIn
for groups; the parts of all owners add up to what the whole batch does. Beside it stands the same for Adam's step, each direction divided by
the root of its mean square. Clipping, momentum and weight decay are left out. It changes nothing of a run.

The records and what is made of them are ``genba.data.contribution``'s. Source: arXiv 2002.08484 (TracInCP); arXiv 2402.04333,
section 3 (Adam's step in its place).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from genba.data.contribution import Auc, Traced, auc
from genba.data.reads import ReadRecord
from genba.data.windows import WindowSource
from genba.errors import ConfigError
from genba.model.world_action_model import WorldActionModel
from genba.train.data import TrainingData
from genba.train.draws import draw
from genba.train.loader import tensors
from genba.train.recipe import Recipe

#: of an owner, the most episodes on either side of the leakage test, and windows of each
LEAKAGE_EPISODES, LEAKAGE_WINDOWS = 64, 8

Gradient = list[Tensor | None]


def trace(
    model: WorldActionModel,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    data: TrainingData,
    reads: ReadRecord,
    *,
    step: int,
    before: int,
) -> Traced:
    """Measure every owner's part after ``step`` train steps; the model, its optimizer and its randomness stay as they are.

    Args:
        before: train steps at the last record: what was used since is what counts now.

    Raises:
        ConfigError: the parameters are sharded over ranks: no rank has a whole gradient.
    """
    if any(isinstance(parameter, DTensor) for parameter in model.parameters()):
        raise ConfigError(
            f"attribute_windows: got {recipe.attribute_windows} with a model that is sharded over ranks, none of which has a whole "
            f"gradient; train in one process, or with a recipe that is not sharded"
        )
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    windows = _windows(data, before, step)
    rng = np.random.default_rng([recipe.seed, step, 0xA77])
    held, parts, losses = _nothing(model), dict[str, Gradient](), dict[str, float]()
    for name, source in data.evaluation.sources.items():
        chosen = data.evaluation.indices(name, step)
        loss = window_loss(model, data, recipe, name, source, chosen, step, device)
        _add(held, _gradient(model, loss), recipe.loss_weights.get(name, 1.0))
        reads.evaluated([(source, chosen)])
    for owner in sorted({owner for counts in windows.values() for owner in counts}):
        parts[owner], seen = _nothing(model), []
        for name, source in data.training.sources.items():
            count = windows[name].get(owner, 0)
            if not count:
                continue
            chosen = _sample(source, owner, recipe.attribute_windows, rng)
            loss = window_loss(model, data, recipe, name, source, chosen, step, device)
            share = count / sum(windows[name].values())
            _add(parts[owner], _gradient(model, loss), recipe.loss_weights.get(name, 1.0) * share)
            seen.append((count, float(loss.detach())))
            reads.evaluated([(source, chosen)])
        losses[owner] = sum(n * value for n, value in seen) / sum(n for n, _ in seen)
    model.train(was_training)
    scale = _adam_scale(model, optimizer)
    rate = recipe.learning_rate_at(step - 1)
    times = rate * (step - before)
    return Traced(
        step=step,
        num_steps=step - before,
        learning_rate=rate,
        windows={owner: sum(counts.get(owner, 0) for counts in windows.values()) for owner in parts},
        loss=losses,
        plain={owner: times * _dot(held, part) for owner, part in parts.items()},
        adam={owner: times * _dot(held, part, scale) for owner, part in parts.items()},
    )


@torch.no_grad()
def leakage(model: WorldActionModel, data: TrainingData, recipe: Recipe, trained: Collection[str]) -> dict[str, Auc]:
    """Return, by owner, how well training episodes are told from held-back ones of the same owner by their loss.

    Args:
        model: with the weights that are deployed, in evaluation mode.
        trained: digests of the shards that were trained on; episodes for training in others were never seen, and are left out.
    """
    device = next(model.parameters()).device
    found: dict[str, tuple[list[float], list[float]]] = {}
    for side, mixture in enumerate((data.training, data.evaluation)):
        for name, source in mixture.sources.items():
            rng, taken = np.random.default_rng([recipe.seed, side]), dict[str, int]()
            for episode in rng.permutation(len(source.entries)).tolist():
                entry, chosen = source.entries[episode], _spread(source, episode)
                owner = entry.metadata.owner
                is_unseen = side == 0 and entry.digest not in trained
                if is_unseen or not len(chosen) or taken.get(owner, 0) >= LEAKAGE_EPISODES:
                    continue
                taken[owner] = taken.get(owner, 0) + 1
                loss = window_loss(model, data, recipe, name, source, chosen, 0, device)
                found.setdefault(owner, ([], []))[side].append(float(loss))
    return {owner: auc(members, held_back) for owner, (members, held_back) in sorted(found.items())}


def window_loss(
    model: WorldActionModel,
    data: TrainingData,
    recipe: Recipe,
    name: str,
    source: WindowSource,
    chosen: np.ndarray,
    step: int,
    device: torch.device,
) -> Tensor:
    """Return the mean loss of some windows of an embodiment's source, with draws that depend on the step alone."""
    embodiment = data.embodiments[name]
    drawn = draw(embodiment, recipe.model, seed=recipe.seed, step=step, batch=len(chosen))
    return model(name, tensors(embodiment, source.batch(chosen), drawn, device), seed=step)["total"]


def _windows(data: TrainingData, before: int, step: int) -> dict[str, dict[str, int]]:
    """Return how many windows of each owner train steps ``before`` to ``step`` used, by embodiment, over all ranks."""
    out: dict[str, dict[str, int]] = {}
    for name, source in data.training.sources.items():
        used = np.concatenate([data.training.indices(name, one) for one in range(before, step)])
        counts = np.bincount(source.episodes(used), minlength=len(source.entries)).tolist()
        out[name] = {}
        for entry, count in zip(source.entries, counts, strict=True):
            if count:
                out[name][entry.metadata.owner] = out[name].get(entry.metadata.owner, 0) + count
    return out


def _sample(source: WindowSource, owner: str, count: int, rng: np.random.Generator) -> np.ndarray:
    owns = np.array([entry.metadata.owner == owner for entry in source.entries])
    theirs = np.flatnonzero(np.repeat(owns, np.diff(source.bounds)))
    return np.sort(rng.choice(theirs, min(count, len(theirs)), replace=False))


def _spread(source: WindowSource, episode: int) -> np.ndarray:
    low, high = source.bounds[episode : episode + 2].tolist()
    return np.unique(np.linspace(low, high - 1, min(LEAKAGE_WINDOWS, high - low)).astype(np.int64))


def _gradient(model: WorldActionModel, loss: Tensor) -> Gradient:
    return list(torch.autograd.grad(loss, list(model.parameters()), allow_unused=True))


def _nothing(model: WorldActionModel) -> Gradient:
    return [None for _ in model.parameters()]


def _add(total: Gradient, more: Gradient, weight: float) -> None:
    for i, gradient in enumerate(more):
        if gradient is not None:
            kept = total[i]
            total[i] = weight * gradient if kept is None else kept + weight * gradient


def _dot(one: Gradient, other: Gradient, scale: Gradient | None = None) -> float:
    value = 0.0
    for i, (a, b) in enumerate(zip(one, other, strict=True)):
        if a is not None and b is not None:
            factor = scale[i] if scale is not None else None
            value += float((a * b if factor is None else a * b * factor).sum())
    return value


def _adam_scale(model: WorldActionModel, optimizer: torch.optim.Optimizer) -> Gradient:
    """Return one over the root of each gradient's mean square, corrected for its beginning at zero."""
    chosen: Mapping[Tensor, tuple[float, float]] = {
        parameter: (group["betas"][1], group["eps"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    out: Gradient = []
    for parameter in model.parameters():
        state = optimizer.state.get(parameter)
        if not state or parameter not in chosen:
            out.append(None)
            continue
        beta, epsilon = chosen[parameter]
        corrected = state["exp_avg_sq"] / (1 - beta ** float(state["step"]))
        out.append(1 / (corrected.sqrt() + epsilon))
    return out
