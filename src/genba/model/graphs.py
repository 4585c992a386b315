"""The graphs that are deployed: the encoder, run once per decision, the flow step, run as often as time allows, and, where a
machine's actions are all continuous, the world: what of an observation it foretells (``LatentsGraph``), and how that changes
(``WorldGraph``).

They hold no state and take and give plain tensors, so that they export to ONNX. Normalising and the sampling loop stay
outside. Read next: ``genba.runtime.export``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genba.model.tokenizers import Tokenizer
from genba.model.world_action_model import Encoding, WorldActionModel
from genba.spec.embodiment import Embodiment
from genba.spec.normalise import CROP_ABOVE, has_free_rows, packed_shapes

#: candidate action chunks that one call of the world takes at most
MOST_CANDIDATES = 64


class ObservationGraph(nn.Module):
    """Base of the graphs that take a packed observation.

    Inputs are the arrays of ``packed_shapes`` with batch 1, sorted by name, without ``action.base``, cut by
    ``crop_rows``: channels with free rows take any number of them (``dynamic_shapes``).

    Args:
        channels: whose arrays it takes; None for all.
    """

    output_names: Sequence[str]

    def __init__(self, model: WorldActionModel, embodiment: Embodiment, channels: Sequence[str] | None = None) -> None:
        super().__init__()
        self.model = model
        self.embodiment = embodiment
        self.shapes = {
            name: shape
            for name, shape in sorted(packed_shapes(embodiment).items())
            if name != "action.base" and (channels is None or name.rpartition(".")[0] in channels)
        }
        # which axes of which input hold a channel's free rows
        free = {c.name for c in embodiment.entities if has_free_rows(c)}
        ends = {r.name: (r.source, r.target) for r in embodiment.relation} | {
            c.name: (c.name,) for c in embodiment.entities
        }
        self.free_axes = {
            name: {axis: end for axis, end in enumerate(ends.get(name.rpartition(".")[0], ())) if end in free}
            for name in self.shapes
            if not name.endswith(".age_s")
        }
        self.input_names = list(self.shapes)

    def example_inputs(self) -> tuple[Tensor, ...]:
        """Return inputs of the right shapes in which everything is there."""
        generator = torch.Generator().manual_seed(0)
        # Few rows, and of each channel a different number: an exporter takes equal ones for the same.
        entities = self.embodiment.entities
        rows = {c.name: min(c.max_rows, CROP_ABOVE + 8 * i) for i, c in enumerate(entities, 1)}
        example = []
        for name, (full, dtype) in self.shapes.items():
            shape = tuple(rows.get(self.free_axes.get(name, {}).get(a, ""), size) for a, size in enumerate(full))
            kind = torch.from_numpy(torch.zeros(0).numpy().astype(dtype)).dtype
            if kind == torch.bool:
                example.append(torch.ones(1, *shape, dtype=kind))
            elif kind.is_floating_point:
                example.append(torch.rand(1, *shape, generator=generator).to(kind))
            else:
                example.append(torch.randint(1, 200, (1, *shape), generator=generator).to(kind))
        return tuple(example)

    def dynamic_shapes(self) -> tuple[tuple[dict[int, torch.export.Dim], ...]] | None:
        """Return for each input which axes take any number of rows, as ``torch.onnx.export`` wants it told; None for none."""
        if not any(self.free_axes.values()):
            return None
        dims = {
            c.name: torch.export.Dim(f"{c.name}_rows", min=1, max=c.max_rows)
            for c in self.embodiment.entities
            if has_free_rows(c)
        }
        # axis 0 is the batch
        return (
            tuple({1 + axis: dims[end] for axis, end in self.free_axes.get(name, {}).items()} for name in self.shapes),
        )


class EncoderGraph(ObservationGraph):
    """Packed observation -> memory for the flow step and the world, and the scores of every choice.

    Outputs are ``keys`` and ``values`` ``[layer, 1, kv head, token, head width]`` and ``memory_mask`` bool ``[1, token]`` where
    there are continuous actions, then ``choice.<name>``.
    """

    def __init__(self, model: WorldActionModel, embodiment: Embodiment) -> None:
        super().__init__(model, embodiment)
        memory = ["keys", "values", "memory_mask"] if embodiment.action.continuous else []
        self.output_names = memory + [f"choice.{choice.name}" for choice in embodiment.action.choice]

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        inputs = dict(zip(self.input_names, arrays, strict=True))
        encoding = self.model.encode(self.embodiment.id, inputs)
        out: tuple[Tensor, ...] = ()
        if self.embodiment.action.continuous:
            out = (torch.stack(encoding.keys), torch.stack(encoding.values), encoding.valid)
        scores = self.model.choose(self.embodiment.id, encoding, inputs)
        return out + tuple(scores[choice.name] for choice in self.embodiment.action.choice)


class FlowGraph(nn.Module):
    """One flow step: noisy actions ``[1, chunk, dimension]`` at ``time`` ``[1]`` -> velocity of the same shape."""

    input_names = ("noisy", "time", "keys", "values", "memory_mask")
    output_names = ("velocity",)

    def __init__(self, model: WorldActionModel, embodiment: Embodiment) -> None:
        super().__init__()
        self.model = model
        self.embodiment = embodiment

    def forward(self, noisy: Tensor, time: Tensor, keys: Tensor, values: Tensor, memory_mask: Tensor) -> Tensor:
        encoding = Encoding(keys.unbind(0), values.unbind(0), keys.new_zeros(0), memory_mask, {})
        times = time[:, None, None].expand(-1, 1, noisy.shape[1])
        return self.model.velocity(self.embodiment.id, encoding, noisy[:, None], times)[:, 0]

    def example_inputs(self) -> tuple[Tensor, ...]:
        """Return inputs of the right shapes."""
        noisy = torch.randn(1, self.embodiment.control.chunk_length, len(self.embodiment.action.continuous))
        return noisy, torch.ones(1), *_example_memory(self.model, self.embodiment)

    def dynamic_shapes(self) -> None:
        """Return None: no axis is free."""


class LatentsGraph(ObservationGraph):
    """Packed observation -> what the world expert starts from and is judged by; the trunk does not run.

    Outputs are ``latents`` ``[1, latent, latent width]`` and ``latents_valid`` bool ``[1, latent]``, then for every channel that
    is foretold ``here.<channel>`` ``[1, latent of the channel, readout width]``, its readout now.
    """

    def __init__(self, model: WorldActionModel, embodiment: Embodiment) -> None:
        channels = list(model.parts_of(embodiment.id).readouts)
        super().__init__(model, embodiment, channels)
        self.channels = channels
        self.output_names = ["latents", "latents_valid", *(f"here.{name}" for name in self.channels)]

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        inputs = dict(zip(self.input_names, arrays, strict=True))
        parts = self.model.parts_of(self.embodiment.id)
        found = {name: _tokenizer(parts, name) for name in self.channels}
        latents = parts.latents({name: tokenizer(inputs) for name, tokenizer in found.items()})
        return *latents, *(tokenizer.readout(inputs)[0] for tokenizer in found.values())


class WorldGraph(nn.Module):
    """Latents one horizon ahead, for several candidate action chunks on one memory.

    Inputs are ``latents`` ``[candidate, latent, latent width]``, ``actions`` ``[candidate, horizon, dimension]`` normalised, and the
    encoder's memory with batch 1. Outputs are ``predicted``, the shape of ``latents``, then for every channel that is foretold
    ``change.<channel>`` ``[candidate, latent of the channel, readout width]``, by how much its readout will have changed.
    """

    input_names = ("latents", "actions", "keys", "values", "memory_mask")

    def __init__(self, model: WorldActionModel, embodiment: Embodiment) -> None:
        super().__init__()
        self.model = model
        self.embodiment = embodiment
        self.channels = list(model.parts_of(embodiment.id).readouts)
        self.output_names = ["predicted", *(f"change.{name}" for name in self.channels)]

    def forward(
        self, latents: Tensor, actions: Tensor, keys: Tensor, values: Tensor, memory_mask: Tensor
    ) -> tuple[Tensor, ...]:
        count, parts = latents.shape[0], self.model.parts_of(self.embodiment.id)
        memory = [part.expand(-1, count, -1, -1, -1).unbind(0) for part in (keys, values)]
        encoding = Encoding(memory[0], memory[1], keys.new_zeros(0), memory_mask.expand(count, -1), {})
        predicted = self.model.predict(self.embodiment.id, encoding, latents, actions)
        changes, start = [], 0
        for name in self.channels:
            stop = start + _tokenizer(parts, name).num_predicted
            changes.append(parts.readouts[name](predicted[:, start:stop] - latents[:, start:stop]))
            start = stop
        return predicted, *changes

    def example_inputs(self) -> tuple[Tensor, ...]:
        """Return inputs of the right shapes, for three candidates."""
        config, parts = self.model.config, self.model.parts_of(self.embodiment.id)
        latents = torch.randn(3, len(parts.surprise_scale), config.latent_width)
        actions = torch.randn(3, self.embodiment.control.horizon, len(self.embodiment.action.continuous))
        return latents, actions, *_example_memory(self.model, self.embodiment)

    def dynamic_shapes(self) -> tuple[dict[int, torch.export.Dim], ...]:
        """Return for each input which axes are free: any number of candidates."""
        candidates = torch.export.Dim("candidates", min=1, max=MOST_CANDIDATES)
        return {0: candidates}, {0: candidates}, {}, {}, {}


def has_world(embodiment: Embodiment) -> bool:
    """Say whether a machine's world can be deployed: what is done must be in the memory and the actions, and a choice is not."""
    return bool(embodiment.action.continuous) and not embodiment.action.choice


def _tokenizer(parts: nn.Module, name: str) -> Tokenizer:
    tokenizer = parts.tokenizers[name]  # type: ignore[index]
    assert isinstance(tokenizer, Tokenizer)
    return tokenizer


def _example_memory(model: WorldActionModel, embodiment: Embodiment) -> tuple[Tensor, Tensor, Tensor]:
    config, tokens = model.config, model.parts_of(embodiment.id).num_tokens
    memory = torch.randn(2, config.num_layers, 1, config.num_kv_heads, tokens, config.head_width)
    return memory[0], memory[1], torch.ones(1, tokens, dtype=torch.bool)
