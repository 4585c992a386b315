"""From packed arrays to tokens: one tokenizer per modality, chosen by a channel's modality and never by a machine.

Each takes the arrays that ``genba.spec.normalise`` packs (with a leading batch axis) and gives tokens
``[batch, token, width]``, whether each token stands for anything, and its time in seconds before now. Each also gives
a *readout*: what of the channel a person would look at, in normalised numbers, which the world head learns to predict.
Read next: ``layout`` in ``world_action_model``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from genba.model.attention import RMSNorm
from genba.model.config import ModelConfig
from genba.spec.embodiment import (
    CameraChannel,
    Channel,
    EntitiesChannel,
    InstructionChannel,
    PointsChannel,
    TelemetryChannel,
)
from genba.spec.normalise import width as packed_width

Inputs = Mapping[str, Tensor]


class Tokens(NamedTuple):
    """What a tokenizer gives: tokens ``[batch, token, width]``, valid and age_s ``[batch, token]``."""

    tokens: Tensor
    valid: Tensor
    age_s: Tensor


class Tokenizer(nn.Module):
    """Base of all tokenizers."""

    #: tokens that ``forward`` gives
    num_tokens: int
    #: how many of the newest of them the world head predicts, and numbers of the readout per predicted token
    num_predicted: int
    readout_width: int
    #: nominal ages of the tokens in seconds, newest 0
    nominal_age_s: tuple[float, ...]

    def forward(self, inputs: Inputs) -> Tokens:
        raise NotImplementedError

    def predicted(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Return the tokens that the world head predicts ``[batch, num_predicted, width]``, and which are valid."""
        start = tokens.tokens.shape[1] - self.num_predicted
        return tokens.tokens[:, start:], tokens.valid[:, start:]

    def readout(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Return the readout ``[batch, num_predicted, readout_width]`` and its mask, same shape."""
        raise NotImplementedError


class TelemetryTokenizer(Tokenizer):
    """Windowed patches at the channel's native rate, with the mask of what is missing."""

    def __init__(self, channel: TelemetryChannel, config: ModelConfig) -> None:
        super().__init__()
        self.name, self.samples, dims = channel.name, channel.num_samples, packed_width(channel.dimensions)
        self.num_tokens = min(config.telemetry_tokens, math.ceil(self.samples / config.telemetry_patch))
        self.patch = math.ceil(self.samples / self.num_tokens)
        self.num_predicted, self.readout_width = 1, dims
        seconds = self.patch / channel.rate_hz
        self.nominal_age_s = tuple(-seconds * (self.num_tokens - 1 - i) for i in range(self.num_tokens))
        self.embed = nn.Linear(2 * self.patch * dims, config.trunk.width)

    def forward(self, inputs: Inputs) -> Tokens:
        values, mask = inputs[f"{self.name}.values"], inputs[f"{self.name}.mask"]
        age_s = inputs[f"{self.name}.age_s"]
        both = torch.cat((values, mask.to(values.dtype)), dim=-1)
        missing = self.num_tokens * self.patch - self.samples
        if missing:
            both = torch.nn.functional.pad(both, (0, 0, missing, 0))
            mask = torch.nn.functional.pad(mask, (0, 0, missing, 0))
            age_s = torch.nn.functional.pad(age_s, (missing, 0))
        batch = values.shape[0]
        tokens = self.embed(both.reshape(batch, self.num_tokens, -1))
        valid = mask.reshape(batch, self.num_tokens, -1).any(-1)
        return Tokens(tokens, valid, age_s.reshape(batch, self.num_tokens, self.patch)[:, :, -1])

    def readout(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return inputs[f"{self.name}.values"][:, -1:], inputs[f"{self.name}.mask"][:, -1:]


class PointsTokenizer(Tokenizer):
    """Range bins: the nearest return per azimuth bin and sweep, neighbouring bins of all sweeps to a token."""

    def __init__(self, channel: PointsChannel, config: ModelConfig) -> None:
        super().__init__()
        self.name, self.sweeps, self.bins = channel.name, channel.num_samples, config.points_bins
        self.num_tokens = self.num_predicted = config.points_tokens
        self.patch = self.bins // self.num_tokens
        self.readout_width = self.patch
        self.nominal_age_s = (0.0,) * self.num_tokens
        self.embed = nn.Linear(3 * self.sweeps * self.patch, config.trunk.width)
        self.place = nn.Parameter(torch.randn(self.num_tokens, config.trunk.width) * 0.02)

    def forward(self, inputs: Inputs) -> Tokens:
        nearness = self.nearness(inputs)
        batch = nearness.shape[0]
        # Three views of distance: linear for far things, and two that are steep close by, where a metre matters.
        far = 1.0 - nearness
        views = torch.stack((nearness, torch.exp(-8.0 * far), torch.exp(-30.0 * far)), dim=1)
        patches = views.reshape(batch, 3, self.sweeps, self.num_tokens, self.patch).permute(0, 3, 1, 2, 4)
        tokens = self.embed(patches.reshape(batch, self.num_tokens, -1)) + self.place
        heard = inputs[f"{self.name}.mask"].flatten(1).any(1)
        age_s = inputs[f"{self.name}.age_s"][:, -1:].expand(-1, self.num_tokens)
        return Tokens(tokens, heard[:, None].expand(-1, self.num_tokens), age_s)

    def nearness(self, inputs: Inputs) -> Tensor:
        """Return 1 - distance / range of the nearest return ``[batch, sweep, bin]``; 0 where nothing is."""
        points, mask = inputs[f"{self.name}.values"], inputs[f"{self.name}.mask"]
        x, y = points[..., 0], points[..., 1]
        distance = torch.sqrt(x * x + y * y).clamp(max=1.0)
        share = torch.atan2(y, x) / (2 * math.pi) + 0.5
        index = (share * self.bins).long().clamp(0, self.bins - 1)
        near = torch.where(mask, 1.0 - distance, torch.zeros_like(distance))
        empty = torch.zeros(*near.shape[:2], self.bins, dtype=near.dtype, device=near.device)
        return empty.scatter_reduce(2, index, near, reduce="amax", include_self=True)

    def readout(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        newest = {key: inputs[f"{self.name}.{key}"][:, -1:] for key in ("values", "mask")}
        near = self.nearness({f"{self.name}.{key}": value for key, value in newest.items()})
        out = near.reshape(near.shape[0], self.num_tokens, self.patch)
        return out, newest["mask"].any(-1)[:, :, None].expand_as(out)


class CameraTokenizer(Tokenizer):
    """Square patches of each frame, then a resampler that bounds how many tokens a camera costs."""

    def __init__(self, channel: CameraChannel, config: ModelConfig) -> None:
        super().__init__()
        self.name, self.side = channel.name, config.camera_patch
        self.rows, self.columns = math.ceil(channel.height / self.side), math.ceil(channel.width / self.side)
        self.frames = channel.num_samples
        self.pad = (0, self.columns * self.side - channel.width, 0, self.rows * self.side - channel.height)
        width = config.trunk.width
        self.num_tokens = min(config.camera_tokens, self.frames * self.rows * self.columns)
        self.num_predicted, self.readout_width = self.num_tokens, 3
        self.nominal_age_s = (0.0,) * self.num_tokens
        self.embed = nn.Linear(3 * self.side * self.side, width)
        self.place = nn.Parameter(torch.randn(self.rows * self.columns, width) * 0.02)
        self.time = nn.Parameter(torch.randn(self.frames, 1, width) * 0.02)
        self.resample = Resampler(width, self.num_tokens, config.num_heads)

    def forward(self, inputs: Inputs) -> Tokens:
        image = inputs[f"{self.name}.values"]
        batch, frames = image.shape[:2]
        pixels = image.to(self.embed.weight.dtype).permute(0, 1, 4, 2, 3) / 127.5 - 1.0
        pixels = torch.nn.functional.pad(pixels, self.pad)
        patches = pixels.reshape(batch, frames, 3, self.rows, self.side, self.columns, self.side)
        patches = patches.permute(0, 1, 3, 5, 2, 4, 6).reshape(batch, frames, self.rows * self.columns, -1)
        embedded = self.embed(patches) + self.place + self.time
        seen = inputs[f"{self.name}.mask"][:, :, None].expand(-1, -1, self.rows * self.columns)
        tokens = self.resample(embedded.flatten(1, 2), seen.flatten(1))
        valid = inputs[f"{self.name}.mask"].any(1, keepdim=True).expand(-1, self.num_tokens)
        return Tokens(tokens, valid, inputs[f"{self.name}.age_s"][:, -1:].expand(-1, self.num_tokens))

    def readout(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        # Mean colour of as many horizontal strips as there are tokens: coarse, but a person can see a scene change.
        newest = inputs[f"{self.name}.values"][:, -1].to(torch.float32) / 127.5 - 1.0
        flat = newest.permute(0, 3, 1, 2).flatten(2)
        pooled = torch.nn.functional.adaptive_avg_pool1d(flat, self.num_tokens).transpose(1, 2)
        return pooled, inputs[f"{self.name}.mask"][:, -1:, None].expand_as(pooled)


class Resampler(nn.Module):
    """A fixed number of learnt queries that attend to any number of tokens (Perceiver, arXiv 2103.03206)."""

    def __init__(self, width: int, num_queries: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.queries = nn.Parameter(torch.randn(num_queries, width) * 0.02)
        self.norm = RMSNorm(width)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Resample ``x`` ``[batch, token, width]``; rows of ``valid`` without any True give the bare queries."""
        batch, _, width = x.shape
        key, value = self.key_value(self.norm(x)).chunk(2, dim=-1)
        heads = (batch, -1, self.num_heads, width // self.num_heads)
        query = self.queries.expand(batch, -1, -1).reshape(heads).transpose(1, 2)
        bias = torch.where(valid, 0.0, -1e4).to(x.dtype)[:, None, None, :]
        mixed = torch.nn.functional.scaled_dot_product_attention(
            query, key.reshape(heads).transpose(1, 2), value.reshape(heads).transpose(1, 2), attn_mask=bias
        )
        return self.queries + self.output(mixed.transpose(1, 2).reshape(batch, -1, width))


class EntitiesTokenizer(Tokenizer):
    """One token per row; who is related to whom enters as an attention bias (``RelationBias``)."""

    def __init__(self, channel: EntitiesChannel, config: ModelConfig) -> None:
        super().__init__()
        self.name, dims = channel.name, packed_width(channel.dimensions)
        self.num_tokens, self.num_predicted, self.readout_width = channel.max_rows, 1, dims
        self.nominal_age_s = (0.0,) * self.num_tokens
        width = config.trunk.width
        self.embed = nn.Sequential(nn.Linear(dims, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, inputs: Inputs) -> Tokens:
        values, mask = inputs[f"{self.name}.values"], inputs[f"{self.name}.mask"]
        age_s = inputs[f"{self.name}.age_s"].expand(-1, mask.shape[1])
        return Tokens(self.embed(values), mask, age_s)

    def predicted(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        count = tokens.valid.sum(1, keepdim=True)
        mean = (tokens.tokens * tokens.valid[..., None]).sum(1, keepdim=True) / count[..., None].clamp(min=1)
        return mean, count > 0

    def readout(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        values, mask = inputs[f"{self.name}.values"], inputs[f"{self.name}.mask"]
        total = mask.sum(1, keepdim=True)[..., None]
        mean = (values * mask[..., None]).sum(1, keepdim=True) / total.clamp(min=1)
        return mean, (total > 0).expand_as(mean)


class InstructionTokenizer(Tokenizer):
    """Bytes of a sentence, patched to a few tokens. The world does not change it, so it is not predicted."""

    def __init__(self, channel: InstructionChannel, config: ModelConfig) -> None:
        super().__init__()
        self.name = channel.name
        self.num_tokens = min(config.instruction_tokens, channel.max_bytes)
        self.patch = math.ceil(channel.max_bytes / self.num_tokens)
        self.missing = self.num_tokens * self.patch - channel.max_bytes
        self.num_predicted, self.readout_width = 0, 0
        self.nominal_age_s = (0.0,) * self.num_tokens
        self.bytes = nn.Embedding(257, 16)
        self.embed = nn.Linear(16 * self.patch, config.trunk.width)

    def forward(self, inputs: Inputs) -> Tokens:
        text = torch.nn.functional.pad(inputs[f"{self.name}.values"], (0, self.missing))
        mask = torch.nn.functional.pad(inputs[f"{self.name}.mask"], (0, self.missing))
        batch = text.shape[0]
        tokens = self.embed(self.bytes(text).reshape(batch, self.num_tokens, -1))
        valid = mask.reshape(batch, self.num_tokens, -1).any(-1)
        return Tokens(tokens, valid, torch.zeros(batch, self.num_tokens, dtype=tokens.dtype, device=tokens.device))

    def readout(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        batch = inputs[f"{self.name}.mask"].shape[0]
        return torch.zeros(batch, 0, 0), torch.zeros(batch, 0, 0, dtype=torch.bool)


TOKENIZERS: dict[str, type[Tokenizer]] = {
    "telemetry": TelemetryTokenizer,
    "camera": CameraTokenizer,
    "points": PointsTokenizer,
    "entities": EntitiesTokenizer,
    "instruction": InstructionTokenizer,
}


def make_tokenizer(channel: Channel, config: ModelConfig) -> Tokenizer:
    """Make the tokenizer of a channel's modality."""
    return TOKENIZERS[channel.modality](channel, config)  # type: ignore[call-arg]
