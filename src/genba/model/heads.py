"""What comes out: continuous actions by flow matching, choices by pointing at rows, the next latents of the world.

Heads hold the small parameters of one embodiment; the experts that feed them are shared. Read next: ``losses``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from genba.model.attention import RMSNorm
from genba.model.config import ModelConfig
from genba.spec.embodiment import Choice


class FlowHead(nn.Module):
    """Into and out of the action expert: noisy actions to tokens, tokens to velocities.

    Source: flow matching, arXiv 2210.02747; x_t = t * noise + (1 - t) * a, velocity = noise - a, as in pi0,
    arXiv 2410.24164 with time reversed.
    """

    def __init__(self, num_dimensions: int, chunk_length: int, config: ModelConfig) -> None:
        super().__init__()
        width = config.action.width
        self.embed = nn.Linear(num_dimensions, width)
        self.place = nn.Parameter(torch.randn(chunk_length, width) * 0.02)
        self.time = nn.Sequential(nn.Linear(2 * _FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.norm = RMSNorm(width)
        self.output = nn.Linear(width, num_dimensions)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def tokens(self, noisy: Tensor, time: Tensor) -> Tensor:
        """Embed ``noisy`` ``[batch, chunk, dimension]`` at flow times ``[batch, chunk]`` in [0, 1]."""
        frequency = torch.pi * 2.0 ** torch.arange(_FREQUENCIES, device=time.device, dtype=time.dtype)
        angle = time[..., None] * frequency
        return self.embed(noisy) + self.place + self.time(torch.cat((angle.sin(), angle.cos()), -1))

    def velocity(self, tokens: Tensor) -> Tensor:
        """Read velocities ``[batch, chunk, dimension]`` off the action expert's tokens."""
        return self.output(self.norm(tokens))


_FREQUENCIES = 6


class PointerHead(nn.Module):
    """Scores for a choice over entity rows.

    ``rank``: one score per row. ``assign``: one per pair of rows, from both tokens and from every relation between them.
    """

    def __init__(self, choice: Choice, num_relations: int, config: ModelConfig) -> None:
        super().__init__()
        self.choice = choice
        width = config.trunk.width
        self.norm = RMSNorm(width)
        if choice.kind == "rank":
            self.score = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))
            return
        self.query = nn.Linear(width, width // 2, bias=False)
        self.key = nn.Linear(width, width // 2, bias=False)
        self.pair = nn.Sequential(nn.Linear(2 * num_relations, 32), nn.SiLU(), nn.Linear(32, 1))

    def forward(self, rows: Mapping[str, Tensor], relations: Tensor, allowed: Tensor) -> Tensor:
        """Return scores, -inf where not allowed.

        Args:
            rows: entity channel -> its tokens ``[batch, row, width]`` after the trunk.
            relations: ``[batch, for_each row, over row, 2 * relation]`` values and masks (unused for ``rank``).
            allowed: bool, the shape of the result: ``rank`` ``[batch, row]``, ``assign`` ``[batch, row, row]``.
        """
        over = self.norm(rows[self.choice.over])
        if self.choice.kind == "rank":
            score = self.score(over)[..., 0]
        else:
            query, key = self.query(self.norm(rows[self.choice.for_each])), self.key(over)
            score = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1]) + self.pair(relations)[..., 0]
        return score.masked_fill(~allowed, float("-inf"))


class WorldHead(nn.Module):
    """Into and out of the world expert for one embodiment.

    The expert's tokens are what is being done (the executed actions, one summary per choice) and one query per latent;
    it answers with how each latent will have changed. A latent is a linear image of a tokenizer's token, so the target
    needs no second trunk pass (after LeWM, arXiv 2603.19312).
    """

    def __init__(
        self, num_latents: int, horizon: int, num_dimensions: int, num_choices: int, config: ModelConfig
    ) -> None:
        super().__init__()
        width = config.world.width
        self.num_done = (horizon if num_dimensions else 0) + num_choices
        self.latent = nn.Linear(config.trunk.width, config.latent_width)
        self.action = nn.Linear(num_dimensions, width) if num_dimensions else None
        self.choice = nn.Linear(config.trunk.width, width) if num_choices else None
        # No parameter where nothing is done (a machine that only senses): an empty one would never get a gradient.
        self.place = nn.Parameter(torch.randn(self.num_done, width) * 0.02) if self.num_done else None
        self.query = nn.Parameter(torch.randn(num_latents, width) * 0.02)
        self.here = nn.Linear(config.latent_width, width)
        self.norm = RMSNorm(width)
        self.change = nn.Linear(width, config.latent_width)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)

    def tokens(self, latents: Tensor, actions: Tensor | None, choices: Tensor | None) -> Tensor:
        """Return the expert's tokens.

        Args:
            latents: current ones ``[batch, latent, latent width]``.
            actions: normalised executed actions ``[batch, horizon, dimension]``, where the embodiment has some.
            choices: summaries ``[batch, choice, trunk width]``, where it has some.
        """
        done = []
        if self.action is not None and actions is not None:
            done.append(self.action(actions))
        if self.choice is not None and choices is not None:
            done.append(self.choice(choices))
        ahead = self.here(latents) + self.query
        if self.place is None:
            return ahead
        return torch.cat((torch.cat(done, 1) + self.place, ahead), 1)

    def predict(self, latents: Tensor, tokens: Tensor) -> Tensor:
        """Return the predicted next latents: the current ones plus the change that the expert answers."""
        return latents + self.change(self.norm(tokens[:, -latents.shape[1] :]))
