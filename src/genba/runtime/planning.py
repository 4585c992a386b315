"""Reasoning at run time: several action chunks, rolled forward in the world model, and the best of them.

The flow proposes; the world model says what comes of each proposal, over one horizon or several; a function that stands beside the
machine says how good that is. Actions beyond a chunk's end repeat its last one. The memory that the world model looks at stays that
of the present, so horizons beyond the first are an extrapolation that training never showed. Read next: ``policy``, which asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from genba.errors import ConfigError
from genba.runtime.engine import Engine
from genba.spec.normalise import Normalizer
from genba.spec.statistics import undo_scale
from genba.spec.task import Objective


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much to reason."""

    objective: Objective
    """scores what is foretold; higher is better"""
    num_candidates: int
    """chunks to choose among where there is time for all, the flow's own answer among them"""
    num_horizons: int = 1
    """how many horizons each is rolled forward"""
    flow_steps: int = 4
    """flow steps of the other chunks: after a single one from noise nearly all are the conditional mean"""
    spread: float = 1.0
    """standard deviation of the noise that the other chunks start from; the flow learnt from 1"""
    margin: float = 0.0
    """by how much another chunk must score higher than the flow's own answer to be taken"""

    def __post_init__(self) -> None:
        if self.num_candidates < 2 or self.num_horizons < 1:
            raise ConfigError(
                f"num_candidates, num_horizons: got {self.num_candidates}, {self.num_horizons}, expected at least 2 and 1"
            )


def choose(
    plan: Plan,
    engine: Engine,
    normalizer: Normalizer,
    packed: Mapping[str, np.ndarray],
    memory: Mapping[str, np.ndarray],
    chunks: np.ndarray,
) -> int:
    """Return which of ``chunks`` is best; the first unless another beats it by the plan's margin.

    Args:
        packed: the observation.
        memory: what ``Engine.encode`` returned of it.
        chunks: normalised, float32 ``[candidate, chunk, dimension]``.
    """
    actions = normalizer.unpack_actions(chunks, np.repeat(packed["action.base"][None], len(chunks), 0))
    foretold = roll_forward(engine, normalizer, packed, memory, chunks, plan.num_horizons)
    scores = plan.objective(foretold, actions)
    best = int(np.argmax(scores))
    return best if scores[best] > scores[0] + plan.margin else 0


def roll_forward(
    engine: Engine,
    normalizer: Normalizer,
    packed: Mapping[str, np.ndarray],
    memory: Mapping[str, np.ndarray],
    chunks: np.ndarray,
    num_horizons: int,
) -> dict[str, np.ndarray]:
    """Return what the world model foretells of each chunk, now (index 0) and after each horizon.

    Returns:
        Channel name -> ``[horizon + 1, candidate, latent of the channel, readout width]``: telemetry of plain numbers in its own
        units with one latent, everything else as the tokenizer's readout has it (points: nearness of the nearest return
        per direction, 1 touching, 0 out of range).
    """
    horizon, now = engine.embodiment.control.horizon, engine.latents(packed)
    count, length = len(chunks), num_horizons * horizon
    held = np.concatenate([chunks, np.repeat(chunks[:, -1:], max(0, length - chunks.shape[1]), axis=1)], axis=1)
    latents = np.repeat(now["latents"], count, axis=0)
    readouts = {
        name.removeprefix("here."): [np.repeat(here, count, axis=0)]
        for name, here in now.items()
        if name.startswith("here.")
    }
    for i in range(num_horizons):
        part = np.ascontiguousarray(held[:, i * horizon : (i + 1) * horizon])
        found = engine.foretell(latents, part, memory)
        latents = found["predicted"]
        for name, so_far in readouts.items():
            so_far.append(so_far[-1] + found[f"change.{name}"])
    foretold = {name: np.stack(so_far) for name, so_far in readouts.items()}
    for channel in engine.embodiment.telemetry:
        if channel.name in foretold and not any(dimension.categories for dimension in channel.dimensions):
            statistics = normalizer.statistics[channel.name]
            scaled = foretold[channel.name] * statistics.std + statistics.mean
            foretold[channel.name] = undo_scale(scaled, channel.dimensions)
    return foretold
