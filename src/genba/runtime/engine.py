"""Engines: what runs a bundle's graphs. An engine knows arrays, not machines or time.

``OnnxEngine`` is the one that is deployed: one thread, so that the same inputs give the same bits and a neighbour is
not disturbed. When it starts it warms up and repeats the bundle's golden vectors: a runtime that picks another
precision on another processor is found before it moves anything. Read next: ``policy``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import onnxruntime

from genba.errors import BundleError
from genba.runtime.bundle import ENCODER, FLOW, LATENTS, WORLD, Bundle
from genba.spec.embodiment import Embodiment
from genba.spec.normalise import crop_rows
from genba.spec.statistics import Statistics

#: greatest difference from the golden vectors, in normalised units: 5 000 times the rounding of a small network and a
#: hundredth of what half precision would show
GOLDEN_TOLERANCE = 1e-3
#: the encoder's outputs that the flow attends to
MEMORY = ("keys", "values", "memory_mask")


@runtime_checkable
class Engine(Protocol):
    """Runs the graphs of one embodiment's model."""

    embodiment: Embodiment
    statistics: Statistics
    #: flow steps to take when there is time for all
    flow_steps: int
    #: ``"zero"`` or ``"gaussian"``
    noise: str
    #: sha256 over all weights
    weights_digest: str
    #: each latent's usual squared prediction error, float32 ``[latent]``; empty where there is no world
    surprise_scale: np.ndarray

    def encode(self, packed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the encoder on ``Normalizer.pack``'s arrays; outputs by name with a leading batch axis of 1."""
        ...

    def velocity(self, noisy: np.ndarray, time: float, memory: Mapping[str, np.ndarray]) -> np.ndarray:
        """Run one flow step's network; ``noisy`` and the result float32 ``[1, chunk, dimension]``, time in [0, 1]."""
        ...

    def latents(self, packed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what of an observation the world model foretells, by ``graphs.LatentsGraph``'s names."""
        ...

    def foretell(
        self, latents: np.ndarray, actions: np.ndarray, memory: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Return the latents one horizon ahead, by ``graphs.WorldGraph``'s names.

        Args:
            latents: float32 ``[candidate, latent, latent width]``.
            actions: normalised, float32 ``[candidate, horizon, dimension]``.
            memory: what ``encode`` returned.
        """
        ...


class OnnxEngine:
    """Runs a bundle with onnxruntime on one CPU thread.

    Raises:
        BundleError: a graph cannot be loaded, or does not repeat the golden vectors on this computer.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.embodiment = bundle.embodiment
        self.statistics = bundle.statistics
        self.flow_steps = bundle.flow_steps
        self.noise = bundle.noise
        self.weights_digest = bundle.weights_digest
        self._encoder = _session(bundle, ENCODER)
        self._flow = _session(bundle, FLOW) if bundle.embodiment.action.continuous else None
        self.surprise_scale = bundle.surprise_scale
        self._latents = _session(bundle, LATENTS) if bundle.has_world else None
        self._world = _session(bundle, WORLD) if bundle.has_world else None
        self._flow_inputs = [] if self._flow is None else [node.name for node in self._flow.get_inputs()]
        #: greatest difference from the golden vectors found at the start, in normalised units
        self.golden_difference = self_test(self, bundle)

    def encode(self, packed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the encoder."""
        return self._observed(self._encoder, packed)

    def velocity(self, noisy: np.ndarray, time: float, memory: Mapping[str, np.ndarray]) -> np.ndarray:
        """Run one flow step's network."""
        assert self._flow is not None, f"{self.embodiment.id} has no continuous actions"
        feed = {"noisy": noisy, "time": np.array([time], np.float32), **{name: memory[name] for name in MEMORY}}
        return _arrays(self._flow.run(None, {name: feed[name] for name in self._flow_inputs}))[0]

    def latents(self, packed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the latents' graph."""
        assert self._latents is not None, f"{self.bundle.path}: no world"
        return self._observed(self._latents, packed)

    def foretell(
        self, latents: np.ndarray, actions: np.ndarray, memory: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Run the world's graph."""
        assert self._world is not None, f"{self.bundle.path}: no world"
        feed = {"latents": latents, "actions": actions, **{name: memory[name] for name in MEMORY}}
        # An input that nothing depends on is not in the graph.
        given = {node.name: feed[node.name] for node in self._world.get_inputs()}
        return dict(zip(_output_names(self._world), _arrays(self._world.run(None, given)), strict=True))

    def _observed(
        self, session: onnxruntime.InferenceSession, packed: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        cropped = crop_rows(self.embodiment, {node.name: packed[node.name][None] for node in session.get_inputs()})
        feed = {name: np.ascontiguousarray(array) for name, array in cropped.items()}
        return dict(zip(_output_names(session), _arrays(session.run(None, feed)), strict=True))


def integrate(engine: Engine, noise: np.ndarray, memory: Mapping[str, np.ndarray], num_steps: int) -> np.ndarray:
    """Integrate the flow from noise (time 1) to actions (time 0) in equal Euler steps.

    Args:
        engine: runs the network.
        noise: float32 ``[1, chunk, dimension]``.
        memory: what ``Engine.encode`` returned.
        num_steps: at least 1.

    Source: Lipman et al. 2023, "Flow matching for generative modeling", with x_t = t * noise + (1 - t) * action, so
        that dx/dt = noise - action is what the network predicts.
    """
    x = noise
    for k in range(num_steps):
        x = x - engine.velocity(x, 1.0 - k / num_steps, memory) / np.float32(num_steps)
    return x


def self_test(engine: Engine, bundle: Bundle) -> float:
    """Repeat the bundle's golden vectors and return the greatest difference, in normalised units.

    Raises:
        BundleError: an output is further off than ``GOLDEN_TOLERANCE``.
    """
    golden = bundle.golden()
    packed = {name.removeprefix("packed/"): array for name, array in golden.items() if name.startswith("packed/")}
    outputs = engine.encode(packed)
    if "noise" in golden:
        outputs["actions"] = integrate(engine, golden["noise"], outputs, bundle.flow_steps)
    if bundle.has_world:
        outputs |= foretold(engine, packed, outputs)
    worst = 0.0
    for name, expected in golden.items():
        if name.startswith("expected/"):
            got = outputs[name.removeprefix("expected/")]
            off = difference(got, expected)
            if not off <= GOLDEN_TOLERANCE:
                raise BundleError(
                    f"{bundle.path}: {name.removeprefix('expected/')}: differs by {off:.2g} from the golden vectors, "
                    f"expected at most {GOLDEN_TOLERANCE:g}; this computer does not compute what was exported"
                )
            worst = max(worst, off)
    return worst


def foretold(
    engine: Engine, packed: Mapping[str, np.ndarray], memory: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return everything that the world's two graphs say of an observation, for three candidates of constant actions.

    Args:
        engine: with a world.
        packed: the observation.
        memory: what ``Engine.encode`` returned of it.
    """
    control, found = engine.embodiment.control, engine.latents(packed)
    shape = (3, control.horizon, len(engine.embodiment.action.continuous))
    actions = np.broadcast_to(np.array([-1.0, 0.0, 1.0], np.float32)[:, None, None], shape)
    latents = np.repeat(found["latents"], 3, axis=0)
    return found | engine.foretell(latents, np.ascontiguousarray(actions), memory)


def difference(got: np.ndarray, expected: np.ndarray) -> float:
    """Return the greatest absolute difference; equal infinities do not differ, anything else infinite does."""
    if got.shape != expected.shape:
        return float("inf")
    same = got == expected
    apart = np.abs(np.where(same, 0.0, got) - np.where(same, 0.0, expected))
    return float(np.nan_to_num(apart, nan=np.inf, posinf=np.inf).max(initial=0.0))


def _output_names(session: onnxruntime.InferenceSession) -> list[str]:
    return [node.name for node in session.get_outputs()]


def _arrays(outputs: Sequence[object]) -> list[np.ndarray]:
    # a graph could also give lists or sparse tensors; these do not
    return [output for output in outputs if isinstance(output, np.ndarray)]


def _session(bundle: Bundle, name: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(bundle.path / name), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises several unrelated classes
        raise BundleError(f"{bundle.path / name}: onnxruntime cannot load it ({error}); export it again") from error
