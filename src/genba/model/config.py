"""The choices of a model, and the presets from a laptop to a trillion parameters: all the same code.

A preset is a function that returns a ``ModelConfig``; derive others with ``dataclasses.replace``. What the channels
are comes from the embodiments, never from here. Read next: ``attention``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from genba.errors import ConfigError, nearest


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpertConfig:
    """One expert of the mixture of transformers; all experts of a model share heads and depth."""

    #: width of a token
    width: int
    #: hidden width of its SwiGLU feed-forward
    feedforward: int

    def __post_init__(self) -> None:
        _positive(self, "width", "feedforward")


@dataclass(frozen=True, kw_only=True, slots=True)
class MixtureConfig:
    """Mixture of experts in the trunk's feed-forward: shared experts for all tokens, routed ones for a few each."""

    #: number of routed experts
    num_routed: int
    #: routed experts that one token uses
    num_active: int
    #: hidden width of each expert
    feedforward: int
    #: experts that every token uses
    num_shared: int = 1
    #: layers at the bottom that stay dense
    num_dense_layers: int = 1
    #: how far one training step moves the routing bias towards balance (DeepSeek-V3, arXiv 2412.19437, eq. 16)
    balance_rate: float = 1e-3
    #: send tokens round robin instead of by score: for plans, where no token has a value
    force_balanced: bool = False

    def __post_init__(self) -> None:
        _positive(self, "num_routed", "num_active", "feedforward")
        if self.num_active > self.num_routed:
            raise ValueError(f"num_active: got {self.num_active}, expected at most num_routed ({self.num_routed})")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Everything that is chosen about a model."""

    #: the preset it derives from
    name: str
    #: depth of every expert
    num_layers: int
    #: query heads, key and value heads (grouped-query attention), and width of a head (even, for rotary pairs)
    num_heads: int
    num_kv_heads: int
    head_width: int
    #: understanding expert: encodes the observation once per decision
    trunk: ExpertConfig
    #: action expert: runs at each flow step, attends to the trunk's cached keys and values
    action: ExpertConfig
    #: world expert: predicts the next latents given actions
    world: ExpertConfig
    #: mixture of experts in the trunk, or None for dense
    mixture: MixtureConfig | None = None
    #: soft prompt tokens per embodiment
    num_prompts: int = 2
    #: most tokens of one telemetry channel; its window is cut into so many patches
    telemetry_tokens: int = 4
    #: fewest samples of such a patch: a short window is cut into fewer
    telemetry_patch: int = 1
    #: azimuth bins of a point cloud, and tokens that they are cut into
    points_bins: int = 180
    points_tokens: int = 12
    #: side of a camera patch in pixels, and most tokens of one camera after resampling
    camera_patch: int = 16
    camera_tokens: int = 16
    #: tokens of an instruction
    instruction_tokens: int = 4
    #: width of a world latent
    latent_width: int = 32
    #: weight of the world loss beside the action loss, and of its anti-collapse regulariser
    world_weight: float = 0.1
    regulariser_weight: float = 0.05
    #: take the world loss on every so many windows of a batch, where the batch is a multiple of four times this (as the
    #: regulariser wants groups of four), else on all of them
    world_stride: int = 1
    #: probability that training hides a whole channel
    modality_dropout: float = 0.0
    #: the flow time is drawn from Beta(this, 1): more weight near pure noise where above 1
    flow_alpha: float = 1.5
    #: flow times drawn per encoded observation in training: the encoding is the bill, the flow is cheap
    flow_samples: int = 4
    #: recompute each layer in the backward pass instead of keeping its activations
    checkpoint_activations: bool = False

    def __post_init__(self) -> None:
        _positive(self, "num_layers", "num_heads", "num_kv_heads", "head_width", "telemetry_tokens", "points_tokens")
        _positive(self, "telemetry_patch", "world_stride")
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_kv_heads: got {self.num_kv_heads}, expected a divisor of num_heads ({self.num_heads})"
            )
        if self.head_width % 2:
            raise ValueError(f"head_width: got {self.head_width}, expected an even number")
        if self.points_bins % self.points_tokens:
            raise ValueError(f"points_tokens: got {self.points_tokens}, expected a divisor of {self.points_bins} bins")
        if not 0 <= self.modality_dropout < 1:
            raise ValueError(f"modality_dropout: got {self.modality_dropout}, expected in [0, 1)")


def debug() -> ModelConfig:
    """Seconds on a CPU: for tests."""
    return ModelConfig(
        name="debug",
        num_layers=2,
        num_heads=2,
        num_kv_heads=1,
        head_width=16,
        trunk=ExpertConfig(width=32, feedforward=64),
        action=ExpertConfig(width=32, feedforward=64),
        world=ExpertConfig(width=32, feedforward=64),
        points_bins=36,
        points_tokens=6,
        latent_width=16,
    )


def tiny() -> ModelConfig:
    """Minutes on a CPU: the demo."""
    return ModelConfig(
        name="tiny",
        num_layers=3,
        num_heads=4,
        num_kv_heads=2,
        head_width=32,
        trunk=ExpertConfig(width=128, feedforward=256),
        action=ExpertConfig(width=64, feedforward=128),
        world=ExpertConfig(width=64, feedforward=128),
        telemetry_patch=8,
        world_stride=4,
        flow_samples=2,
    )


def small() -> ModelConfig:
    """Hours on one GPU: about 30 million parameters."""
    return ModelConfig(
        name="small",
        num_layers=8,
        num_heads=8,
        num_kv_heads=4,
        head_width=64,
        trunk=ExpertConfig(width=512, feedforward=1408),
        action=ExpertConfig(width=256, feedforward=704),
        world=ExpertConfig(width=256, feedforward=704),
        telemetry_tokens=8,
        points_bins=360,
        points_tokens=36,
        camera_tokens=64,
        latent_width=128,
        modality_dropout=0.05,
    )


def base() -> ModelConfig:
    """About 0.4 billion parameters."""
    return ModelConfig(
        name="base",
        num_layers=24,
        num_heads=16,
        num_kv_heads=4,
        head_width=64,
        trunk=ExpertConfig(width=1024, feedforward=2816),
        action=ExpertConfig(width=512, feedforward=1408),
        world=ExpertConfig(width=512, feedforward=1408),
        num_prompts=8,
        telemetry_tokens=16,
        points_bins=720,
        points_tokens=72,
        camera_tokens=128,
        latent_width=256,
        modality_dropout=0.1,
        checkpoint_activations=True,
    )


def one_trillion() -> ModelConfig:
    """A trillion parameters, 32 billion active: a plan, not a trained model.

    The trunk has the public shape of Kimi K2 (61 layers, width 7168, 384 experts of 2048, 8 active, 1 shared, 1 dense
    layer of 18432), with grouped-query instead of latent attention.
    """
    return ModelConfig(
        name="one_trillion",
        num_layers=61,
        num_heads=64,
        num_kv_heads=8,
        head_width=128,
        trunk=ExpertConfig(width=7168, feedforward=18432),
        action=ExpertConfig(width=1024, feedforward=4096),
        world=ExpertConfig(width=1024, feedforward=4096),
        mixture=MixtureConfig(num_routed=384, num_active=8, feedforward=2048),
        num_prompts=32,
        telemetry_tokens=64,
        points_bins=1440,
        points_tokens=288,
        camera_tokens=256,
        latent_width=1024,
        modality_dropout=0.1,
        checkpoint_activations=True,
    )


PRESETS: dict[str, Callable[[], ModelConfig]] = {
    function.__name__: function for function in (debug, tiny, small, base, one_trillion)
}


def preset(name: str) -> ModelConfig:
    """Return a preset by name.

    Raises:
        ConfigError: naming the nearest known preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"no preset {name!r}{nearest(name, PRESETS)}")
    return PRESETS[name]()


def _positive(config: object, *names: str) -> None:
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{name}: got {getattr(config, name)}, expected at least 1")
