"""How large a model is and what it costs, in closed form: parameters and floating-point operations from choices alone.

No torch: written from the shapes on paper, so that the model can be held against it (tests/model/test_counts.py) and a
plan against both. Operations are multiply-adds of matrix products times two; norms, activations, masks and lookups
are left out. Read next: ``genba.train.plan``, which lays all this over ranks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from genba.model.config import ExpertConfig, ModelConfig
from genba.spec.embodiment import (
    CameraChannel,
    Channel,
    Choice,
    Embodiment,
    EntitiesChannel,
    InstructionChannel,
    PointsChannel,
    TelemetryChannel,
)
from genba.spec.normalise import width as packed_width

#: inputs of the flow head's embedding of time: sine and cosine of 6 frequencies
_FLOW_TIME = 12
#: hidden width of an assignment's pair scores, and width of a byte's embedding
_PAIR, _BYTE = 32, 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameters:
    """Numbers of parameters by part."""

    #: understanding expert without its routed experts, final norm included
    trunk: int
    #: routed experts of all mixtures
    routed: int
    #: action expert, world expert
    action: int
    world: int
    #: tokenizers, prompts and heads of all embodiments together
    embodiments: int

    @property
    def total(self) -> int:
        """All parameters."""
        return sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, kw_only=True, slots=True)
class Operations:
    """Floating-point operations of one forward pass over one window, by part; ``*_attention`` grows with its square."""

    tokenizers: int
    trunk: int
    trunk_attention: int
    action: int
    action_attention: int
    world: int
    world_attention: int
    heads: int

    @property
    def total(self) -> int:
        """All operations."""
        return sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, kw_only=True, slots=True)
class Lengths:
    """Tokens of one window of one embodiment."""

    #: tokens that the trunk encodes: prompts and channels
    trunk: int
    #: tokens of the action expert per flow sample, and of the world expert
    action: int
    world: int
    #: latents that the world expert predicts
    latents: int


def parameters(config: ModelConfig, embodiments: Sequence[Embodiment]) -> Parameters:
    """Count the parameters of a model that serves ``embodiments``."""
    mixture, width, depth = config.mixture, config.trunk.width, config.num_layers
    dense = depth if mixture is None else min(mixture.num_dense_layers, depth)
    sparse = depth - dense
    trunk = depth * _attention(config, width) + dense * 3 * width * config.trunk.feedforward + width
    if mixture is not None:
        trunk += sparse * (width * mixture.num_routed + 3 * width * mixture.feedforward * mixture.num_shared)
    return Parameters(
        trunk=trunk,
        routed=sparse * mixture.num_routed * 3 * width * mixture.feedforward if mixture is not None else 0,
        action=depth * _block(config, config.action),
        world=depth * _block(config, config.world),
        embodiments=sum(embodiment_parameters(config, embodiment) for embodiment in embodiments),
    )


def active_parameters(config: ModelConfig) -> int:
    """Count the parameters that one observation token meets in the trunk: of the routed experts, the active ones.

    A token of the action or world expert meets that expert's alone.
    """
    whole, mixture = parameters(config, []), config.mixture
    return whole.trunk + (whole.routed * mixture.num_active // mixture.num_routed if mixture is not None else 0)


def embodiment_parameters(config: ModelConfig, embodiment: Embodiment) -> int:
    """Count one embodiment's own parameters."""
    width, action, control = config.trunk.width, embodiment.action, embodiment.control
    relations = len(embodiment.relation) * 2 * config.num_heads * 3
    count = config.num_prompts * width + len(embodiment.channels) * width + relations
    count += sum(_tokenizer(config, channel) for channel in embodiment.channels)
    if action.continuous:
        dims, inner = len(action.continuous), config.action.width
        count += _linear(dims, inner) + control.chunk_length * inner + _linear(_FLOW_TIME, inner)
        count += _linear(inner, inner) + inner + _linear(inner, dims)
    count += sum(_pointer(config, embodiment, choice) for choice in action.choice) + len(action.choice) * width
    return count + _world_head(config, embodiment)


def lengths(config: ModelConfig, embodiment: Embodiment) -> Lengths:
    """Count the tokens of one window."""
    control, action = embodiment.control, embodiment.action
    latents = sum(_predicted(config, channel)[0] for channel in embodiment.channels)
    return Lengths(
        trunk=config.num_prompts + sum(_tokens(config, channel) for channel in embodiment.channels),
        action=control.chunk_length if action.continuous else 0,
        world=latents + len(action.choice) + (control.horizon if action.continuous else 0),
        latents=latents,
    )


def training_operations(config: ModelConfig, embodiment: Embodiment) -> Operations:
    """Count the operations of the training forward pass over one window on which the world loss is taken.

    A backward pass costs twice as much, and recomputed layers once more. Channels are tokenized twice: now, and
    ``horizon`` control periods later for the world's target.
    """
    length, width, depth = lengths(config, embodiment), config.trunk.width, config.num_layers
    action = length.action * config.flow_samples
    # Norms hold parameters but multiply no matrix.
    trunk = active_parameters(config) - (2 * depth + 1) * width
    return Operations(
        tokenizers=2 * sum(_tokenizer_operations(config, channel) for channel in embodiment.channels),
        trunk=2 * length.trunk * trunk,
        trunk_attention=depth * _scores(config, length.trunk, length.trunk),
        action=2 * action * depth * (_block(config, config.action) - 2 * config.action.width),
        action_attention=depth * _scores(config, action, length.trunk + action),
        world=2 * length.world * depth * (_block(config, config.world) - 2 * config.world.width),
        world_attention=depth * _scores(config, length.world, length.trunk + length.world),
        heads=_head_operations(config, embodiment, length),
    )


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def _attention(config: ModelConfig, width: int) -> int:
    """Count query, key, value, output and the block's two norms."""
    return width * config.head_width * 2 * (config.num_heads + config.num_kv_heads) + 2 * width


def _block(config: ModelConfig, expert: ExpertConfig) -> int:
    return _attention(config, expert.width) + 3 * expert.width * expert.feedforward


def _scores(config: ModelConfig, queries: int, keys: int) -> int:
    """Count the operations of query times key and of weight times value; what is masked is computed all the same."""
    return 2 * 2 * queries * keys * config.num_heads * config.head_width


def _tokens(config: ModelConfig, channel: Channel) -> int:
    match channel:
        case TelemetryChannel():
            return min(config.telemetry_tokens, math.ceil(channel.num_samples / config.telemetry_patch))
        case PointsChannel():
            return config.points_tokens
        case CameraChannel():
            return min(config.camera_tokens, channel.num_samples * _patches(config, channel))
        case EntitiesChannel():
            return channel.max_rows
        case InstructionChannel():
            return min(config.instruction_tokens, channel.max_bytes)


def _patches(config: ModelConfig, channel: CameraChannel) -> int:
    return math.ceil(channel.height / config.camera_patch) * math.ceil(channel.width / config.camera_patch)


def _predicted(config: ModelConfig, channel: Channel) -> tuple[int, int]:
    """Return the latents of a channel and the numbers of the readout of each."""
    match channel:
        case TelemetryChannel() | EntitiesChannel():
            return 1, packed_width(channel.dimensions)
        case PointsChannel():
            return config.points_tokens, config.points_bins // config.points_tokens
        case CameraChannel():
            return _tokens(config, channel), 3
        case InstructionChannel():
            return 0, 0


def _inputs(config: ModelConfig, channel: Channel) -> int:
    """Return how many numbers a channel's embedding takes per token (per patch, for a camera)."""
    match channel:
        case TelemetryChannel():
            return 2 * math.ceil(channel.num_samples / _tokens(config, channel)) * packed_width(channel.dimensions)
        case PointsChannel():
            return 3 * channel.num_samples * (config.points_bins // config.points_tokens)
        case CameraChannel():
            return 3 * config.camera_patch**2
        case EntitiesChannel():
            return packed_width(channel.dimensions)
        case InstructionChannel():
            return _BYTE * math.ceil(channel.max_bytes / _tokens(config, channel))


def _tokenizer(config: ModelConfig, channel: Channel) -> int:
    width, inputs, tokens = config.trunk.width, _inputs(config, channel), _tokens(config, channel)
    match channel:
        case TelemetryChannel():
            return _linear(inputs, width)
        case PointsChannel():
            return _linear(inputs, width) + tokens * width
        case CameraChannel():
            places = _patches(config, channel) + channel.num_samples
            return _linear(inputs, width) + places * width + tokens * width + width + 3 * width * width
        case EntitiesChannel():
            return _linear(inputs, 2 * width) + _linear(2 * width, width)
        case InstructionChannel():
            return 257 * _BYTE + _linear(inputs, width)


def _tokenizer_operations(config: ModelConfig, channel: Channel) -> int:
    width, inputs, tokens = config.trunk.width, _inputs(config, channel), _tokens(config, channel)
    match channel:
        case CameraChannel():
            patches = channel.num_samples * _patches(config, channel)
            resample = 2 * patches * width * 2 * width + 2 * 2 * tokens * patches * width + 2 * tokens * width * width
            return 2 * patches * inputs * width + resample
        case EntitiesChannel():
            return 2 * tokens * (inputs * 2 * width + 2 * width * width)
        case _:
            return 2 * tokens * inputs * width


def _pointer(config: ModelConfig, embodiment: Embodiment, choice: Choice) -> int:
    width = config.trunk.width
    if choice.kind == "rank":
        return width + _linear(width, width) + _linear(width, 1)
    between = 2 * _relations(embodiment, choice)
    return width + 2 * width * (width // 2) + _linear(between, _PAIR) + _linear(_PAIR, 1)


def _relations(embodiment: Embodiment, choice: Choice) -> int:
    return sum((r.source, r.target) == (choice.for_each, choice.over) for r in embodiment.relation)


def _world_head(config: ModelConfig, embodiment: Embodiment) -> int:
    width, inner, latent = config.trunk.width, config.world.width, config.latent_width
    action, predicted = embodiment.action, [_predicted(config, channel) for channel in embodiment.channels]
    count = _linear(width, latent) + _linear(latent, inner) + inner + _linear(inner, latent)
    count += (_linear(len(action.continuous), inner) if action.continuous else 0) + (
        _linear(width, inner) if action.choice else 0
    )
    # Places of what is done, one query per latent, and what a person reads off a latent.
    return count + lengths(config, embodiment).world * inner + sum(latent * wide for many, wide in predicted if many)


def _head_operations(config: ModelConfig, embodiment: Embodiment, length: Lengths) -> int:
    width, inner, latent = config.trunk.width, config.world.width, config.latent_width
    action, control = embodiment.action, embodiment.control
    rows = {channel.name: channel.max_rows for channel in embodiment.entities}
    count = 0
    if action.continuous:
        dims, wide, many = len(action.continuous), config.action.width, config.flow_samples * length.action
        count += many * (2 * dims * wide + _FLOW_TIME * wide + wide * wide)
    for choice in action.choice:
        if choice.kind == "rank":
            count += rows[choice.over] * (width * width + width)
        else:
            pairs = rows[choice.for_each] * rows[choice.over]
            count += (rows[choice.for_each] + rows[choice.over]) * width * (width // 2) + pairs * (width // 2)
            count += pairs * (2 * _relations(embodiment, choice) * _PAIR + _PAIR)
    # Latents now and later, into the world expert and out of it.
    count += length.latents * (2 * width * latent + latent * inner + inner * latent)
    count += control.horizon * len(action.continuous) * inner + len(action.choice) * width * inner
    predicted = [_predicted(config, channel) for channel in embodiment.channels]
    return 2 * (count + sum(many * latent * wide for many, wide in predicted))
