"""``TorchEngine``: the same verbs as ``OnnxEngine`` straight from a model, as reference and for a look during training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from genba.model.graphs import EncoderGraph, FlowGraph, LatentsGraph, ObservationGraph, WorldGraph, has_world
from genba.model.weights import weights_digest
from genba.model.world_action_model import WorldActionModel
from genba.runtime.engine import MEMORY
from genba.spec.embodiment import Embodiment
from genba.spec.normalise import crop_rows
from genba.spec.statistics import Statistics


class TorchEngine:
    """Runs a model's graphs with torch, in the model's place and precision.

    Args:
        model: with parts for ``embodiment``.
        embodiment: which of its machines.
        statistics: what the model was trained on.
        flow_steps: flow steps to take when there is time for all.
        noise: ``"zero"`` or ``"gaussian"``.
    """

    def __init__(
        self,
        model: WorldActionModel,
        embodiment: Embodiment,
        statistics: Statistics,
        *,
        flow_steps: int = 4,
        noise: str = "zero",
    ) -> None:
        self.embodiment, self.statistics = embodiment, statistics
        self.flow_steps, self.noise = flow_steps, noise
        self.weights_digest = weights_digest(model)
        self._device = next(model.parameters()).device
        self._encoder = EncoderGraph(model, embodiment).eval()
        self._flow = FlowGraph(model, embodiment).eval() if embodiment.action.continuous else None
        self._latents = LatentsGraph(model, embodiment).eval() if has_world(embodiment) else None
        self._world = WorldGraph(model, embodiment).eval() if has_world(embodiment) else None
        scale = model.parts_of(embodiment.id).surprise_scale
        self.surprise_scale = scale[: len(scale) if has_world(embodiment) else 0].float().cpu().numpy()

    def encode(self, packed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the encoder."""
        return self._observed(self._encoder, packed)

    def velocity(self, noisy: np.ndarray, time: float, memory: Mapping[str, np.ndarray]) -> np.ndarray:
        """Run one flow step's network."""
        assert self._flow is not None, f"{self.embodiment.id} has no continuous actions"
        arrays = [noisy, np.array([time], np.float32), *(memory[name] for name in MEMORY)]
        with torch.inference_mode():
            return self._flow(*(torch.from_numpy(array).to(self._device) for array in arrays)).cpu().numpy()

    def latents(self, packed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the latents' graph."""
        assert self._latents is not None, f"{self.embodiment.id}: no world"
        return self._observed(self._latents, packed)

    def foretell(
        self, latents: np.ndarray, actions: np.ndarray, memory: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Run the world's graph."""
        assert self._world is not None, f"{self.embodiment.id}: no world"
        arrays = [latents, actions, *(memory[name] for name in MEMORY)]
        return self._run(self._world, [torch.from_numpy(array).to(self._device) for array in arrays])

    def _observed(self, graph: ObservationGraph, packed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        cropped = crop_rows(self.embodiment, {name: array[None] for name, array in packed.items()})
        return self._run(
            graph,
            [torch.from_numpy(np.ascontiguousarray(cropped[name])).to(self._device) for name in graph.input_names],
        )

    @staticmethod
    def _run(graph: ObservationGraph | WorldGraph, arrays: list[torch.Tensor]) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            outputs = graph(*arrays)
        return {name: out.cpu().numpy() for name, out in zip(graph.output_names, outputs, strict=True)}
