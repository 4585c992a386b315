"""Who holds what: how a model is laid over ranks, decided before anything runs, and what it costs in closed form.

Pure: choices in, numbers out; no process group, no tensors. ``parallelize`` applies a layout to a model; ``dry_run``
applies it to a model without memory and counts. Tensor and pipeline parallelism are not part of a layout yet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from genba.errors import ConfigError
from genba.model import counts
from genba.model.config import ModelConfig
from genba.spec.embodiment import Embodiment

#: All-to-all between more ranks than these crosses more switches than it saves memory; 64 as in Kimi K2 class recipes.
MOST_EXPERT_RANKS = 64
#: More pieces than these are not worth copying to even out a small parameter.
MOST_PIECES = 256

#: what the bytes of a rank are for
PARAMETERS, OPTIMIZER, GATHERED, GRADIENTS, ACTIVATIONS = (
    "parameters",
    "optimizer state",
    "gathered weights",
    "gradients and their reduction",
    "activations and temporaries",
)
KINDS = (PARAMETERS, OPTIMIZER, GATHERED, GRADIENTS, ACTIVATIONS)
#: kept in float32, gathered and computed in bfloat16
_KEPT_BYTES, _COMPUTED_BYTES = 4, 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How ranks share a model: every parameter is sharded over all of them, routed experts over two axes.

    A rank holds ``num_routed / expert_parallel`` experts of each mixture, each of them cut over the
    ``ranks / expert_parallel`` ranks that hold the same ones; tokens travel to their experts (all-to-all), everything
    else travels to the tokens (all-gather).
    """

    #: processes, one per accelerator
    ranks: int
    #: ranks among which the routed experts are dealt out; 1 = every rank gathers all experts
    expert_parallel: int = 1

    def __post_init__(self) -> None:
        if self.ranks < 1 or self.expert_parallel < 1:
            raise ConfigError(f"ranks, expert_parallel: got {self.ranks}, {self.expert_parallel}, expected at least 1")
        if self.ranks % self.expert_parallel:
            raise ConfigError(
                f"expert_parallel: got {self.expert_parallel}, expected a divisor of ranks ({self.ranks})"
            )

    @property
    def expert_copies(self) -> int:
        """Ranks that share one set of routed experts."""
        return self.ranks // self.expert_parallel

    def check(self, config: ModelConfig) -> None:
        """Refuse a model that cannot be laid out like this.

        Raises:
            ConfigError: no mixture to deal out, or experts that do not divide.
        """
        if self.expert_parallel == 1:
            return
        if config.mixture is None:
            raise ConfigError(f"expert_parallel: got {self.expert_parallel}, but {config.name} has no mixture; use 1")
        if config.mixture.num_routed % self.expert_parallel:
            raise ConfigError(
                f"expert_parallel: got {self.expert_parallel}, expected a divisor of {config.mixture.num_routed} experts"
            )


def choose_layout(config: ModelConfig, ranks: int, expert_parallel: int | None = None) -> Layout:
    """Return the layout asked for, or the one with the most expert ranks (at most ``MOST_EXPERT_RANKS``) that divides.

    Raises:
        ConfigError: what was asked for does not divide.
    """
    if expert_parallel is None:
        common = math.gcd(ranks, config.mixture.num_routed) if config.mixture is not None else 1
        expert_parallel = max(n for n in range(1, min(common, MOST_EXPERT_RANKS) + 1) if common % n == 0)
    layout = Layout(ranks=ranks, expert_parallel=expert_parallel)
    layout.check(config)
    return layout


def sharded_axis(shape: tuple[int, ...], parts: int) -> int:
    """Return the axis along which a parameter is cut over ``parts`` ranks.

    The first axis, unless rounding it up would waste more than a quarter and another one divides evenly: gathering
    along another axis costs one more copy, in as many pieces as there are ranks.
    """
    if 0 in shape or parts > MOST_PIECES or -(-shape[0] // parts) * parts <= 1.25 * shape[0]:
        return 0
    return next((axis for axis, size in enumerate(shape) if size % parts == 0), 0)


def largest_shard(shape: tuple[int, ...], parts: int) -> int:
    """Return the numbers that the fullest rank holds of a parameter: an axis that does not divide is rounded up."""
    axis = sharded_axis(shape, parts)
    return math.prod(-(-size // parts) if i == axis else size for i, size in enumerate(shape))


def even_bytes(config: ModelConfig, embodiments: Sequence[Embodiment], layout: Layout) -> dict[str, int]:
    """Return bytes per rank of what lasts through a train step, if every parameter divided evenly.

    float32 parameters, gradients, and AdamW's two means; what is gathered and computed on the way is not in closed form.
    """
    kept = counts.parameters(config, embodiments).total * _KEPT_BYTES // layout.ranks
    return {PARAMETERS: kept, OPTIMIZER: 2 * kept, GRADIENTS: kept}


def kept_activation_bytes(config: ModelConfig, embodiment: Embodiment, *, windows: int) -> int:
    """Return bytes that each layer keeps for the backward pass where activations are recomputed.

    The input of every expert's call, and the keys and values of the trunk, which the other experts read.
    """
    length, heads = counts.lengths(config, embodiment), config.num_kv_heads * config.head_width
    numbers = length.trunk * (config.trunk.width + 2 * heads) + length.world * config.world.width
    numbers += config.flow_samples * length.action * config.action.width
    return windows * numbers * _COMPUTED_BYTES


def training_operations(config: ModelConfig, embodiment: Embodiment) -> int:
    """Return the operations of training on one window: forward, twice that backward, layers again where recomputed."""
    once = counts.training_operations(config, embodiment)
    layers = once.total - once.tokenizers - once.heads
    return 3 * once.total + (layers if config.checkpoint_activations else 0)
