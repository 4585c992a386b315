"""The two graphs that are deployed: the encoder, run once per decision, and the flow step, run as often as time allows.

They hold no state and take and give plain tensors, so that they export to ONNX. Normalising and the sampling loop stay
outside. Read next: ``genba.runtime.export``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genba.model.world_action_model import Encoding, WorldActionModel
from genba.spec.embodiment import Embodiment
from genba.spec.normalise import CROP_ABOVE, has_free_rows, packed_shapes


class EncoderGraph(nn.Module):
    """Packed observation -> memory for the flow step, and the scores of every choice.

    Inputs are the arrays of ``packed_shapes`` with batch 1, sorted by name, without ``action.base``, cut by
    ``crop_rows``: channels with free rows take any number of them (``dynamic_shapes``). Outputs are
    ``keys`` and ``values`` ``[layer, 1, kv head, token, head width]`` and ``memory_mask`` bool ``[1, token]`` where
    there are continuous actions, then ``choice.<name>``.
    """

    def __init__(self, model: WorldActionModel, embodiment: Embodiment) -> None:
        super().__init__()
        self.model = model
        self.embodiment = embodiment
        self.shapes = {name: s for name, s in sorted(packed_shapes(embodiment).items()) if name != "action.base"}
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

    def dynamic_shapes(self) -> tuple[tuple[dict[int, torch.export.Dim], ...]]:
        """Return for each input which axes take any number of rows, as ``torch.onnx.export`` wants it told."""
        dims = {
            c.name: torch.export.Dim(f"{c.name}_rows", min=1, max=c.max_rows)
            for c in self.embodiment.entities
            if has_free_rows(c)
        }
        # axis 0 is the batch
        return (
            tuple({1 + axis: dims[end] for axis, end in self.free_axes.get(name, {}).items()} for name in self.shapes),
        )


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
        config, parts = self.model.config, self.model.parts_of(self.embodiment.id)
        tokens = parts.num_tokens
        memory = torch.randn(2, config.num_layers, 1, config.num_kv_heads, tokens, config.head_width)
        noisy = torch.randn(1, self.embodiment.control.chunk_length, len(self.embodiment.action.continuous))
        return noisy, torch.ones(1), memory[0], memory[1], torch.ones(1, tokens, dtype=torch.bool)
