"""``TorchEngine``: the same verbs as ``OnnxEngine`` straight from a model, as reference and for a look during training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from genba.model.graphs import EncoderGraph, FlowGraph
from genba.model.weights import weights_digest
from genba.model.world_action_model import WorldActionModel
from genba.runtime.engine import MEMORY
from genba.spec.embodiment import Embodiment
from genba.spec.normalise import crop_rows
from genba.spec.statistics import Statistics


class TorchEngine:
    """Runs a model's two graphs with torch, in the model's place and precision.

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

    def encode(self, packed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the encoder."""
        cropped = crop_rows(self.embodiment, {name: array[None] for name, array in packed.items()})
        arrays = [
            torch.from_numpy(np.ascontiguousarray(cropped[name])).to(self._device) for name in self._encoder.input_names
        ]
        with torch.inference_mode():
            outputs = self._encoder(*arrays)
        return {name: out.cpu().numpy() for name, out in zip(self._encoder.output_names, outputs, strict=True)}

    def velocity(self, noisy: np.ndarray, time: float, memory: Mapping[str, np.ndarray]) -> np.ndarray:
        """Run one flow step's network."""
        assert self._flow is not None, f"{self.embodiment.id} has no continuous actions"
        arrays = [noisy, np.array([time], np.float32), *(memory[name] for name in MEMORY)]
        with torch.inference_mode():
            return self._flow(*(torch.from_numpy(array).to(self._device) for array in arrays)).cpu().numpy()
