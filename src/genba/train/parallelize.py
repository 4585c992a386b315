"""Spread a model over ranks: FSDP per layer, routed experts dealt out, gradients clipped over all of it.

``parallelize`` changes where parameters live, never what the model computes: losses equal those of one process
(tests/distributed). One process is left as it is. Not here: the mesh (``mesh``), what to choose (``plan``).
"""

from __future__ import annotations

import math
import warnings

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed._functional_collectives import all_to_all_single, all_to_all_single_autograd
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from genba.model.feedforward import MixtureOfExperts, RoutedExperts
from genba.model.world_action_model import WorldActionModel
from genba.train.mesh import Mesh
from genba.train.plan import sharded_axis


def parallelize(
    model: WorldActionModel, mesh: Mesh | None, *, precision: MixedPrecisionPolicy | None = None
) -> WorldActionModel:
    """Spread a model over the ranks of ``mesh``, in place; call it before the optimizer is made.

    Every rank must come with the same weights (same seed or same checkpoint): nothing is broadcast. Gradients are
    means over ranks, so each rank's loss is the mean over its own share of the batch.

    Args:
        model: whole, on the device of its mesh, or on ``meta`` to be filled later.
        mesh: of ``make_mesh``; None leaves the model as it is.
        precision: what to gather and compute in; None keeps the parameters' own dtype.
    """
    if mesh is None:
        return model
    # The model never writes in place to what a layer returns, which is all that this warning is about.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    policy = precision or MixedPrecisionPolicy()
    if mesh.experts.size() > 1:
        for module in [m for m in model.modules() if isinstance(m, MixtureOfExperts)]:
            module.routed = SpreadExperts(module.routed, mesh.experts, balanced=module.config.force_balanced)
            _shard(module.routed, mesh.copies, policy)
    for layer in model.layers:
        _shard(layer, mesh.every, policy)
    _shard(model, mesh.every, policy)
    if mesh.every.device_type == "cpu":
        for module in model.modules():
            if isinstance(module, FSDPModule):
                # Gloo knows neither average nor pre-multiplied sums.
                module.set_force_sum_reduction_for_comms(True)
    return model


class SpreadExperts(RoutedExperts):
    """Routed experts of which each rank of an axis holds an equal part; rows travel to their expert and back.

    Args:
        whole: the experts to deal out, with all their weights.
        mesh: one axis.
        balanced: every expert gets the same number of rows (``MixtureConfig.force_balanced``), so that nobody has to
            be asked how many rows will come: for plans, where no number has a value.
    """

    def __init__(self, whole: RoutedExperts, mesh: DeviceMesh, *, balanced: bool) -> None:
        nn.Module.__init__(self)
        for name, weight in whole.named_parameters():
            # Every rank has the whole weight: it keeps its part, and no rank is asked for it.
            part = distribute_tensor(weight.data, mesh, [Shard(0)], src_data_rank=None)
            self.register_parameter(name, nn.Parameter(part))
        self.group, self.num_ranks = mesh.get_group(), mesh.size()
        self.num_local = whole.gate.shape[0] // self.num_ranks
        self.balanced = balanced

    def forward(self, rows: Tensor, ends: Tensor) -> Tensor:
        """As ``RoutedExperts.forward``: ``rows`` sorted by expert, in and out."""
        if self.balanced:
            return self._exchange_equal(rows)
        counts = torch.diff(ends, prepend=ends.new_zeros(1)).view(self.num_ranks, self.num_local)
        coming = all_to_all_single(counts.contiguous(), None, None, self.group).view(self.num_ranks, self.num_local)
        send, receive = counts.sum(1).tolist(), coming.sum(1).tolist()
        arrived = all_to_all_single_autograd(rows, receive, send, self.group)
        # Rows arrive by sender and then by expert; experts want them by expert alone.
        expert = torch.arange(self.num_local, device=rows.device).repeat(self.num_ranks)
        order = expert.repeat_interleave(coming.flatten()).argsort(stable=True)
        out = self._compute(arrived[order], coming.sum(0).cumsum(0).to(torch.int32))
        back = torch.zeros_like(out).index_copy(0, order, out)
        return all_to_all_single_autograd(back, send, receive, self.group)

    def _exchange_equal(self, rows: Tensor) -> Tensor:
        size, width = rows.shape
        share = -(-size // (self.num_ranks * self.num_local))
        count = share * self.num_ranks * self.num_local
        rows = nn.functional.pad(rows, (0, 0, 0, count - size))
        arrived = all_to_all_single_autograd(rows, None, None, self.group)
        by_expert = arrived.view(self.num_ranks, self.num_local, share, width).transpose(0, 1).reshape(count, width)
        ends = torch.arange(1, self.num_local + 1, dtype=torch.int32, device=rows.device) * (share * self.num_ranks)
        out = self._compute(by_expert, ends).view(self.num_local, self.num_ranks, share, width)
        return all_to_all_single_autograd(out.transpose(0, 1).reshape(count, width), None, None, self.group)[:size]

    def _compute(self, rows: Tensor, ends: Tensor) -> Tensor:
        gate, up, down = (self._local(weight) for weight in (self.gate, self.up, self.down))
        hidden = nn.functional.silu(nn.functional.grouped_mm(rows, gate, offs=ends))
        hidden = hidden * nn.functional.grouped_mm(rows, up, offs=ends)
        return nn.functional.grouped_mm(hidden, down, offs=ends)

    def _local(self, weight: nn.Parameter) -> Tensor:
        assert isinstance(weight, DTensor)
        part = weight.to_local()
        if part.requires_grad:
            # Tokens of all ranks of the axis met this expert: its gradient is their sum, wanted is the mean over ranks.
            part.register_hook(lambda gradient: gradient / self.num_ranks)
        return part


def reshard(model: nn.Module) -> None:
    """Let go of the whole parameters that a forward pass without a backward one leaves gathered."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


@torch.no_grad()
def average_gradients(model: nn.Module) -> None:
    """Take the mean over ranks of every gradient whose parameter is not sharded: FSDP has done so for the rest."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    whole = [p.grad for p in model.parameters() if p.grad is not None and not isinstance(p, DTensor)]
    if not whole:
        return
    flat = torch.cat([gradient.flatten() for gradient in whole])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, part in zip(whole, flat.split([g.numel() for g in whole]), strict=True):
        gradient.copy_(part.view_as(gradient))


@torch.no_grad()
def clip_gradients(model: nn.Module, max_norm: float) -> Tensor:
    """Shorten all gradients together to ``max_norm`` where they are longer, and return their length before.

    Works for any mix of whole, sharded and dealt-out parameters, where torch's own asks for one mesh.

    Returns:
        The Euclidean norm over all gradients of the model, the same on every rank; not finite if one of them is not.
    """
    ranks = dist.get_world_size() if dist.is_initialized() else 1
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    local = [g.to_local() if isinstance(g, DTensor) else g for g in gradients]
    if not local:
        return torch.zeros(())
    squares = torch.stack([part.float().square().sum() for part in local])
    # A shard that several ranks hold would count as often.
    copies = torch.tensor([ranks / _num_shards(g) for g in gradients], device=squares.device)
    total = (squares / copies).sum()
    if ranks > 1:
        dist.all_reduce(total)
    norm = total.sqrt()
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for part in local:
        part.mul_(factor.to(part.dtype))
    return norm


@torch.no_grad()
def synchronize_statistics(model: WorldActionModel) -> None:
    """Make what ranks count apart the same on all: expert load (sum) and the usual surprise (mean over ranks).

    Call it once per train step, before ``WorldActionModel.rebalance``. The mean is exact where ranks have equally many
    valid predictions.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    named = [(name, b) for name, b in model.named_buffers() if name.rpartition(".")[2] in ("load", "surprise_scale")]
    flat = torch.cat([buffer.flatten() for _, buffer in named])
    dist.all_reduce(flat)
    for (name, buffer), part in zip(named, flat.split([b.numel() for _, b in named]), strict=True):
        mean = name.endswith("surprise_scale")
        buffer.copy_((part / dist.get_world_size() if mean else part).view_as(buffer))


def _shard(module: nn.Module, mesh: DeviceMesh, policy: MixedPrecisionPolicy) -> None:
    def place(parameter: nn.Parameter) -> Shard:
        local = parameter.to_local() if isinstance(parameter, DTensor) else parameter
        return Shard(sharded_axis(tuple(local.shape), mesh.size()))

    fully_shard(module, mesh=mesh, mp_policy=policy, shard_placement_fn=place)


def _num_shards(tensor: Tensor) -> int:
    if not isinstance(tensor, DTensor):
        return 1
    pairs = zip(tensor.device_mesh.shape, tensor.placements, strict=True)
    # Not is_shard(): it denies an axis that is cut twice, by experts and then by their copies.
    return math.prod(size for size, placement in pairs if not placement.is_replicate())
