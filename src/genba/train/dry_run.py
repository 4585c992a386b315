"""Lay the true model out over thousands of ranks in one process, without memory, and count what one rank would hold.

Nothing is simulated but memory and communication: it is the model's, FSDP's and AdamW's own code, on tensors that have
a shape but no bytes, in a process group whose other ranks do not exist. Rank 0 is
counted: where a parameter does not divide it holds the larger part.

It does not see: the accelerator's context, NCCL's buffers, workspaces, the allocator's gaps, prefetching on other
streams, or that real routing is not balanced. It does not measure time. Read next: ``plan``, ``live_bytes``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.distributed.fsdp._fully_shard._fsdp_param as fsdp_param
import torch.distributed.tensor._sharding_prop as sharding_prop
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from genba.errors import ConfigError
from genba.model.config import ModelConfig
from genba.model.world_action_model import WorldActionModel
from genba.spec.embodiment import Embodiment
from genba.spec.normalise import packed_shapes
from genba.train.live_bytes import LiveBytes
from genba.train.mesh import make_mesh
from genba.train.parallelize import parallelize
from genba.train.plan import ACTIVATIONS, GRADIENTS, KINDS, OPTIMIZER, PARAMETERS, Layout

#: gathered and computed in bfloat16, reduced in float32, kept in float32: the policy that plans assume
PRECISION = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sharded:
    """What the true model says of itself once it is laid out."""

    #: parameters of the whole model, and of rank 0
    total: int
    local: int
    #: rank 0: parameters of the routed experts
    local_routed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Peak:
    """Bytes that live on rank 0 at the peak of a steady train step, by kind, and per phase."""

    by_kind: dict[str, int]
    forward: int
    backward: int
    optimizer: int

    @property
    def total(self) -> int:
        """Bytes at the greatest of all moments."""
        return sum(self.by_kind.values())


def shard(config: ModelConfig, embodiments: Sequence[Embodiment], layout: Layout) -> Sharded:
    """Build the whole model without memory, shard it, and count."""
    with _fake_ranks(layout.ranks):
        named = list(_laid_out(config, embodiments, layout).named_parameters())
        local = {name: _local(p).numel() for name, p in named}
        return Sharded(
            total=sum(p.numel() for _, p in named),
            local=sum(local.values()),
            local_routed=sum(count for name, count in local.items() if ".routed." in name),
        )


def measure(config: ModelConfig, embodiments: Sequence[Embodiment], layout: Layout, *, windows: int) -> Peak:
    """Train a steady step of rank 0 without memory: ``windows`` of every embodiment, one after the other, then AdamW."""
    with _fake_ranks(layout.ranks):
        model = _laid_out(config, embodiments, layout)
        with FakeTensorMode(allow_non_fake_inputs=True):
            model.to_empty(device="cpu")
            model.train()
            optimizer = torch.optim.AdamW(model.parameters(), foreach=False, fused=False)
            # A first step with gradients of zeros makes the optimizer's state, which a steady step finds there.
            for parameter in model.parameters():
                parameter.grad = torch.zeros_like(parameter)
            optimizer.step()
            optimizer.zero_grad()
            batches = {e.id: _empty_batch(e, config, windows) for e in embodiments}
            inputs = [*model.buffers(), *(t for batch in batches.values() for t in batch.values())]
            state = [t for s in optimizer.state.values() for t in s.values() if isinstance(t, Tensor)]
            with LiveBytes({PARAMETERS: model.parameters(), OPTIMIZER: state, ACTIVATIONS: inputs}) as live:
                peaks = _train_step(model, optimizer, batches, live)
    highest = max(peaks.values(), key=lambda peak: sum(peak.values()))
    return Peak(by_kind=highest, **{phase: sum(peak.values()) for phase, peak in peaks.items()})


def extrapolate(few: Peak, more: Peak, layers: tuple[int, int], depth: int) -> Peak:
    """Carry two measured depths on to ``depth`` layers: every further layer adds what the last ones added.

    Exact for what is kept per layer; a phase that peaks elsewhere when the model is deep is missed.
    """
    share = (depth - layers[0]) / (layers[1] - layers[0])

    def on(a: int, b: int) -> int:
        return round(a + (b - a) * share)

    return Peak(
        by_kind={kind: on(few.by_kind[kind], more.by_kind[kind]) for kind in KINDS},
        forward=on(few.forward, more.forward),
        backward=on(few.backward, more.backward),
        optimizer=on(few.optimizer, more.optimizer),
    )


def _train_step(
    model: WorldActionModel, optimizer: torch.optim.Optimizer, batches: dict[str, dict[str, Tensor]], live: LiveBytes
) -> dict[str, dict[str, int]]:
    """Do what ``loop`` does, and return the peak of each phase."""
    peaks = {"forward": dict.fromkeys(KINDS, 0), "backward": dict.fromkeys(KINDS, 0)}
    for embodiment_id, batch in batches.items():
        live.reset_peak()
        loss = model(embodiment_id, batch)["total"]
        peaks["forward"] = max(peaks["forward"], live.peak, key=lambda peak: sum(peak.values()))
        live.reset_peak()
        loss.backward()
        peaks["backward"] = max(peaks["backward"], live.peak, key=lambda peak: sum(peak.values()))
        live.move([p.grad for p in model.parameters() if p.grad is not None], GRADIENTS)
        del loss
    live.reset_peak()
    optimizer.step()
    peaks["optimizer"] = live.peak
    optimizer.zero_grad()
    return peaks


def _laid_out(config: ModelConfig, embodiments: Sequence[Embodiment], layout: Layout) -> WorldActionModel:
    layout.check(config)
    if config.mixture is not None:
        config = dataclasses.replace(config, mixture=dataclasses.replace(config.mixture, force_balanced=True))
    with torch.device("meta"):
        model = WorldActionModel(config, embodiments)
    return parallelize(model, make_mesh(layout, "cpu"), precision=PRECISION)


def _local(parameter: Tensor) -> Tensor:
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter


def _empty_batch(embodiment: Embodiment, config: ModelConfig, windows: int) -> dict[str, Tensor]:
    """Make a training batch of the right shapes; no number in it is read."""
    shapes = dict(packed_shapes(embodiment))
    out = {name: torch.zeros((windows, *shape), dtype=_TYPES[dtype.name]) for name, (shape, dtype) in shapes.items()}
    out |= {f"next.{name}": value.clone() for name, value in out.items()}
    out["next.valid"] = torch.ones(windows, dtype=torch.bool)
    control, action = embodiment.control, embodiment.action
    rows = {channel.name: channel.max_rows for channel in embodiment.entities}
    if action.continuous:
        size = len(action.continuous)
        for name, steps in (("action", control.chunk_length), ("executed", control.horizon)):
            out[f"{name}.values"] = torch.zeros(windows, steps, size)
            out[f"{name}.mask"] = torch.ones(windows, steps, dtype=torch.bool)
        out["flow.noise"] = torch.zeros(windows, config.flow_samples, control.chunk_length, size)
        out["flow.time"] = torch.zeros(windows, config.flow_samples)
    for choice in action.choice:
        count = rows[choice.over if choice.kind == "rank" else choice.for_each]
        dtype = torch.float32 if choice.kind == "rank" else torch.int64
        out[f"choice.{choice.name}.values"] = torch.zeros(windows, count, dtype=dtype)
        out[f"choice.{choice.name}.mask"] = torch.ones(windows, count, dtype=torch.bool)
    return out


_TYPES = {"float32": torch.float32, "bool": torch.bool, "uint8": torch.uint8, "int64": torch.int64}


class _Parts:
    """The parts of a tensor over ranks, each made when it is asked for."""

    def __init__(self, tensor: Tensor, num_chunks: int, dim: int) -> None:
        self.tensor, self.axis, self.size = tensor, dim, -(-tensor.size(dim) // num_chunks)

    def __getitem__(self, rank: int) -> Tensor:
        start = rank * self.size
        length = min(self.size, self.tensor.size(self.axis) - start)
        return self.tensor.narrow(self.axis, start, length) if length > 0 else self.tensor.new_empty(0)


@contextmanager
def _fake_ranks(count: int) -> Iterator[None]:
    """Pretend to be rank 0 of ``count``, with two corrections to private parts of torch 2.13 (a test watches them)."""
    if dist.is_initialized():
        raise ConfigError("a dry run needs a process of its own: this one already belongs to a process group")
    detect, chunk = sharding_prop.detect_fake_mode, fsdp_param._chunk_with_empty
    # DTensor works out whole-model shapes in the fake mode it finds, where they would count as local tensors.
    sharding_prop.detect_fake_mode = lambda *_, **__: None
    # FSDP makes every rank's part of every parameter to keep one: minutes at thousands of ranks.
    fsdp_param._chunk_with_empty = _Parts  # type: ignore[assignment]
    dist.init_process_group("fake", rank=0, world_size=count, store=FakeStore())
    try:
        yield
    finally:
        dist.destroy_process_group()
        sharding_prop.detect_fake_mode, fsdp_param._chunk_with_empty = detect, chunk
