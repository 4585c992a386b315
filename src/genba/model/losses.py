"""The numbers that training makes small. Pure functions of tensors; nothing here knows a machine or a network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def flow_loss(velocity: Tensor, noise: Tensor, actions: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of the flow's velocity ``[batch, ..., chunk, dimension]`` over what ``mask`` keeps.

    Source: arXiv 2210.02747, eq. 9, with target noise - action.
    """
    return per_sample_mean((velocity - (noise - actions)).square().mean(-1), mask)


def per_sample_mean(error: Tensor, mask: Tensor) -> Tensor:
    """Mean over samples of each sample's own mean over ``mask``: the same however a batch is cut over ranks."""
    error, mask = error.flatten(1), mask.expand_as(error).flatten(1).to(error.dtype)
    return ((error * mask).sum(1) / mask.sum(1).clamp(min=1)).mean()


def score_loss(scores: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Squared error of rank scores against the taught ones, standardised over the rows of each sample.

    Only the order of scores means something, so their scale is free; standardising makes the error 1 where nothing is
    known, whatever scale the teacher uses. Unlike a likelihood of the order
    (ListMLE) it keeps distances: that two orders are taught almost the same score is not a mistake to fear.
    """
    count = mask.sum(1, keepdim=True).clamp(min=1)
    target = target.masked_fill(~mask, 0.0)
    centred = (target - target.sum(1, keepdim=True) / count) * mask
    spread = (centred.square().sum(1, keepdim=True) / count).sqrt().clamp(min=1e-6)
    return per_sample_mean((scores.masked_fill(~mask, 0.0) - centred / spread).square(), mask)


def assign_loss(scores: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of ``scores`` ``[batch, row, over]`` against the chosen ``target`` ``[batch, row]``, -1 for none."""
    # A row that allows nothing would give a NaN: it has no target either, so its scores are silenced.
    scores = scores.masked_fill(scores == float("-inf"), -1e4)
    error = F.cross_entropy(scores.transpose(1, 2), target.clamp(min=0), reduction="none")
    return per_sample_mean(error, target >= 0)


def latent_loss(predicted: Tensor, actual: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of predicted latents ``[batch, latent, width]`` where ``mask`` ``[batch, latent]``."""
    return per_sample_mean((predicted - actual).square().mean(-1), mask)


#: samples whose latents are tested together: fixed, so that the loss is the same however a batch is cut over ranks
ISOTROPY_GROUP = 4


def isotropy_loss(latents: Tensor, seed: int, num_directions: int = 16) -> Tensor:
    """How far latents ``[batch, latent, width]`` are from a standard normal: keeps them from collapse.

    Tested along random directions (drawn from ``seed``) within groups of ``ISOTROPY_GROUP`` samples.

    Source: SIGReg of LeJEPA, arXiv 2511.08544: the Epps-Pulley statistic (Epps and Pulley, Biometrika 70, 1983) on
    one-dimensional projections, here with 9 knots on [-3, 3] weighted by the standard normal density.
    """
    batch, count, width = latents.shape
    group = ISOTROPY_GROUP if batch % ISOTROPY_GROUP == 0 else batch
    rows = latents.float().reshape(batch // group, group * count, width)
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(width, num_directions, generator=generator).to(rows.device)
    projected = rows @ F.normalize(directions, dim=0)
    knots = torch.linspace(-3, 3, 9, device=rows.device)
    angle = projected[..., None] * knots
    weight = torch.exp(-0.5 * knots**2)
    distance = (angle.cos().mean(1) - weight).square() + angle.sin().mean(1).square()
    return (distance * weight).sum(-1).mean() * (knots[1] - knots[0])
