"""Who may look at whom, and the layer in which all experts look.

Tokens stand in groups; a rule per pair of groups (never, causal, current, all) is compiled to a mask, so that what a
token may know is declared in one table and tested by perturbing what it may not. ``MixtureLayer`` owns the blocks of
all experts at one depth: it is the unit of sharding, pipeline stages, activation checkpointing and compilation. It
knows tokens and times, not channels. Read next: ``tokenizers``, ``world_action_model``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genba.model.config import ModelConfig
from genba.model.feedforward import FeedForward, MixtureOfExperts

#: the experts, by name, in the order in which they were born
UNDERSTANDING, ACTION, WORLD = "understanding", "action", "world"


class Rule(Enum):
    """What tokens of one group may see of another."""

    NEVER = "never"
    #: keys that are not later than the query
    CAUSAL = "causal"
    #: keys of the query's own moment
    CURRENT = "current"
    ALL = "all"


#: (query group, key group) -> rule; what is not here is never.
RULES: dict[tuple[str, str], Rule] = {
    ("prompt", "prompt"): Rule.ALL,
    ("observation", "prompt"): Rule.ALL,
    ("observation", "observation"): Rule.CAUSAL,
    ("action", "prompt"): Rule.ALL,
    ("action", "observation"): Rule.ALL,
    ("action", "action"): Rule.ALL,
    ("world", "prompt"): Rule.ALL,
    ("world", "observation"): Rule.ALL,
    ("world", "world"): Rule.ALL,
}


def compile_rules(
    query_groups: Sequence[str], query_times: Tensor, key_groups: Sequence[str], key_times: Tensor
) -> Tensor:
    """Compile ``RULES`` for tokens of known groups and nominal times to a boolean mask ``[query, key]``."""
    later = key_times[None, :] > query_times[:, None] + 1e-9
    apart = (key_times[None, :] - query_times[:, None]).abs() > 1e-9
    sees = {Rule.ALL: torch.ones_like(later), Rule.CAUSAL: ~later, Rule.CURRENT: ~apart}
    allowed = torch.zeros_like(later)
    # By pair of groups, not by pair of tokens: large presets have a thousand tokens.
    for query in set(query_groups):
        for key in set(key_groups):
            rule = RULES.get((query, key), Rule.NEVER)
            if rule is not Rule.NEVER:
                of_query = torch.tensor([group == query for group in query_groups], device=later.device)
                of_key = torch.tensor([group == key for group in key_groups], device=later.device)
                allowed |= of_query[:, None] & of_key[None, :] & sees[rule]
    return allowed


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs of ``x`` ``[batch, head, token, width]`` by angles ``[batch, 1, token, width / 2]``.

    Source: RoFormer, arXiv 2104.09864, eq. 34, at continuous positions.
    """
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1)


def rotary(position: Tensor, head_width: int) -> tuple[Tensor, Tensor]:
    """Return cos and sin ``[batch, 1, token, head_width / 2]`` for positions ``[batch, token]`` in control periods.

    Wavelengths run geometrically from 4 to 4096 control periods.
    """
    exponent = torch.arange(head_width // 2, device=position.device, dtype=torch.float32) / max(head_width // 2 - 1, 1)
    frequency = 2 * math.pi / (4.0 * 1024.0**exponent)
    angle = position[:, None, :, None].float() * frequency
    return angle.cos().to(position.dtype), angle.sin().to(position.dtype)


class RMSNorm(nn.Module):
    """Root-mean-square norm (arXiv 1910.07467), written out so that it exports to any runtime."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, 1e-6)


class Attention(nn.Module):
    """Grouped-query attention of one expert; keys and values may come from other experts too."""

    def __init__(self, config: ModelConfig, width: int) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads, self.head_width = config.num_heads, config.num_kv_heads, config.head_width
        self.query = nn.Linear(width, self.num_heads * self.head_width, bias=False)
        self.key = nn.Linear(width, self.num_kv_heads * self.head_width, bias=False)
        self.value = nn.Linear(width, self.num_kv_heads * self.head_width, bias=False)
        self.output = nn.Linear(self.num_heads * self.head_width, width, bias=False)

    def project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return query ``[batch, head, token, width]`` and key, value ``[batch, kv head, token, width]``, rotated."""
        batch, length, _ = x.shape
        query = self.query(x).view(batch, length, self.num_heads, self.head_width).transpose(1, 2)
        key = self.key(x).view(batch, length, self.num_kv_heads, self.head_width).transpose(1, 2)
        value = self.value(x).view(batch, length, self.num_kv_heads, self.head_width).transpose(1, 2)
        return rotate(query, cos, sin), rotate(key, cos, sin), value

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """Attend under ``mask`` (boolean, or an additive bias) broadcast to ``[batch, head, query, key]``."""
        repeat = self.num_heads // self.num_kv_heads
        key, value = key.repeat_interleave(repeat, 1), value.repeat_interleave(repeat, 1)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.output(mixed.transpose(1, 2).flatten(2))


class ExpertBlock(nn.Module):
    """One expert's pre-norm attention and feed-forward at one depth."""

    def __init__(self, config: ModelConfig, expert: str, depth: int) -> None:
        super().__init__()
        sizes = {UNDERSTANDING: config.trunk, ACTION: config.action, WORLD: config.world}[expert]
        self.attention_norm = RMSNorm(sizes.width)
        self.attention = Attention(config, sizes.width)
        self.feedforward_norm = RMSNorm(sizes.width)
        sparse = config.mixture is not None and expert == UNDERSTANDING and depth >= config.mixture.num_dense_layers
        self.feedforward: nn.Module
        if sparse:
            assert config.mixture is not None
            self.feedforward = MixtureOfExperts(sizes.width, config.mixture)
        else:
            self.feedforward = FeedForward(sizes.width, sizes.feedforward)


class MixtureLayer(nn.Module):
    """All experts' blocks at one depth."""

    def __init__(self, config: ModelConfig, depth: int) -> None:
        super().__init__()
        self.experts = nn.ModuleDict(
            {name: ExpertBlock(config, name, depth) for name in (UNDERSTANDING, ACTION, WORLD)}
        )

    def forward(
        self,
        expert: str,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        mask: Tensor,
        memory: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run one expert's block over its tokens ``x`` ``[batch, token, width]``.

        Args:
            memory: keys and values ``[batch, kv head, memory token, head width]`` that stand before the tokens' own.
            mask: over memory and own tokens.

        Returns:
            The tokens after the block, and their own keys and values for others to attend to.
        """
        block = self.experts[expert]
        assert isinstance(block, ExpertBlock)
        query, key, value = block.attention.project(block.attention_norm(x), cos, sin)
        seen_key, seen_value = key, value
        if memory is not None:
            seen_key, seen_value = torch.cat((memory[0], key), 2), torch.cat((memory[1], value), 2)
        x = x + block.attention.attend(query, seen_key, seen_value, mask)
        x = x + block.feedforward(block.feedforward_norm(x))
        return x, key, value
