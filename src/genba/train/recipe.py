"""A run is a function: recipes return everything that is chosen about a training run.

Derive others with ``dataclasses.replace``. What is trained on (vault, embodiments, statistics) is not here: it is
given to ``loop.train``. Read next: ``loop``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from genba.data.mixture import Share
from genba.data.tracks import MEMORY_BYTES
from genba.errors import ConfigError, nearest
from genba.model.config import ModelConfig, preset


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """The choices of one training run."""

    name: str
    model: ModelConfig
    #: train steps; each sees one sub-batch of every embodiment
    num_steps: int
    #: windows per step of an embodiment, over all ranks; ``default_batch`` for those not named
    batch_sizes: Mapping[str, int] = field(default_factory=dict)
    default_batch: int = 64
    #: how an embodiment's windows are made up of owners' and tasks' episodes; none: every window counts alike
    shares: tuple[Share, ...] = ()
    #: bytes of clocks, numbers and points that are kept in memory once read, over all embodiments
    memory_bytes: int = MEMORY_BYTES
    #: weight of an embodiment's loss; 1 for those not named
    loss_weights: Mapping[str, float] = field(default_factory=dict)
    #: peak learning rate, reached after ``warmup_steps``, then a cosine down to ``final_fraction`` of it
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    final_fraction: float = 0.02
    #: AdamW (arXiv 1711.05101)
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.02
    #: gradients longer than this are shortened to it
    max_gradient_norm: float = 1.0
    #: the deployed weights are an exponential mean over steps with this decay; 0 for the last weights
    mean_decay: float = 0.995
    #: whether ranks share the parameters (FSDP) or each holds them all and only gradients travel: faster while a model
    #: is small (at preset tiny, sharding took 3.4 times the CPU time of the step itself)
    sharded: bool = True
    seed: int = 0
    #: steps between lines of metrics, between evaluations on held-back episodes, and between checkpoints
    log_every: int = 10
    evaluate_every: int = 200
    checkpoint_every: int = 200
    #: batches of the held-back episodes per evaluation
    evaluate_batches: int = 4
    #: checkpoints kept
    keep: int = 2
    #: windows of each owner whose gradients are looked at at each checkpoint (``attribution``); 0 for none
    attribute_windows: int = 0

    def __post_init__(self) -> None:
        for name in ("num_steps", "default_batch", "log_every", "evaluate_every", "checkpoint_every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected at least 1")
        if self.attribute_windows < 0:
            raise ValueError(f"attribute_windows: got {self.attribute_windows}, expected at least 0")
        if not 0 <= self.mean_decay < 1:
            raise ValueError(f"mean_decay: got {self.mean_decay}, expected in [0, 1)")

    def batch_size(self, embodiment_id: str) -> int:
        """Return the windows per step of one embodiment, over all ranks."""
        return self.batch_sizes.get(embodiment_id, self.default_batch)

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of train step ``step`` (0-based): linear warm-up, then cosine."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        share = (step - self.warmup_steps) / max(self.num_steps - self.warmup_steps, 1)
        floor = self.final_fraction
        return self.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))


def debug() -> Recipe:
    """A few steps of the smallest model: for tests."""
    return Recipe(
        name="debug",
        model=preset("debug"),
        num_steps=20,
        default_batch=8,
        warmup_steps=5,
        log_every=1,
        evaluate_every=10,
        checkpoint_every=10,
    )


def tiny() -> Recipe:
    """The demo's model: minutes on two cores."""
    return Recipe(name="tiny", model=preset("tiny"), num_steps=1500, sharded=False)


RECIPES: dict[str, Callable[[], Recipe]] = {function.__name__: function for function in (debug, tiny)}


def recipe(name: str) -> Recipe:
    """Return a recipe by name.

    Raises:
        ConfigError: naming the nearest known recipe.
    """
    if name not in RECIPES:
        raise ConfigError(f"no recipe {name!r}{nearest(name, RECIPES)}")
    return RECIPES[name]()
