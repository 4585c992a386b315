"""Export: a trained model becomes a bundle, and only if the exported graphs compute what the model does.

The graphs are exported to ONNX, run by the engine that will run them on the machine, and compared with torch on
inputs with missing samples and rows. The directory appears under its name only when it is whole. Where the weights have a
passport it goes with them, and the exporter signs that these graphs are those weights (``genba.trust.release``). Read next:
``bundle``, which reads it without torch.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import shutil
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genba.errors import BundleError, PassportError
from genba.model.graphs import EncoderGraph, FlowGraph, LatentsGraph, WorldGraph, has_world
from genba.model.world_action_model import WorldActionModel
from genba.runtime.bundle import ENCODER, FLOW, GOLDEN, LATENTS, MANIFEST, WORLD, Bundle, manifest_of
from genba.runtime.engine import MEMORY, OnnxEngine, difference, foretold, integrate
from genba.runtime.torch_engine import TorchEngine
from genba.spec.embodiment import Embodiment
from genba.spec.normalise import packed_shapes
from genba.spec.statistics import Statistics
from genba.trust import passport as passports
from genba.trust import release, trained_on
from genba.trust.digest import digest_file
from genba.trust.dsse import Envelope
from genba.trust.release import Release
from genba.trust.signing import SigningKey

OPSET = 20
#: greatest difference between the exported graphs and torch, in normalised units
EXPORT_TOLERANCE = 1e-4
#: rows that golden vectors and comparisons fill at most: thousands would make every start of an engine slow
MOST_ROWS = 256
#: one file holds up to 2 GB; larger weights go into files beside the graph
EMBED_BELOW_BYTES = 1_500_000_000


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Papers:
    """What a bundle that drives a machine carries beside the network, and who vouches for the export."""

    passport: Envelope
    #: digest of the weights that the passport, verified, is for
    weights: str
    #: the blinded set of what was trained on, as it is stored
    trained_on: bytes
    #: signs the release
    key: SigningKey


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportReport:
    """What an export found.

    Attributes:
        path: where the bundle is.
        max_difference: greatest difference from torch, in normalised units.
        num_bytes: of all files.
        weights_digest: sha256 over all weights.
    """

    path: Path
    max_difference: float
    num_bytes: int
    weights_digest: str


def export_bundle(
    model: WorldActionModel,
    embodiment: Embodiment,
    statistics: Statistics,
    path: Path | str,
    *,
    provenance: Mapping[str, Any],
    flow_steps: int = 4,
    noise: str = "zero",
    papers: Papers | None = None,
) -> ExportReport:
    """Write a bundle of ``model`` for one machine to ``path``; a bundle already there is replaced.

    Args:
        model: with parts for ``embodiment``; it is copied, not changed.
        embodiment: the machine.
        statistics: what the model's inputs were normalised with.
        path: a directory to be.
        provenance: where the weights come from, as plain JSON values.
        flow_steps: flow steps to take when there is time for all.
        noise: ``"zero"`` (deterministic) or ``"gaussian"`` (seeded draws).
        papers: the passport that goes with the weights; None for a bundle that only simulators take.

    Raises:
        PassportError: the passport is for other weights.
        BundleError: the exported graphs differ from torch by more than ``EXPORT_TOLERANCE``, or ``path`` holds
            something that is no bundle.
    """
    path = Path(path)
    if path.exists() and not (path / MANIFEST).is_file():
        raise BundleError(f"{path}: exists and is no bundle; choose another path or remove it")
    model = copy.deepcopy(model).to("cpu", torch.float32).eval()
    reference = TorchEngine(model, embodiment, statistics, flow_steps=flow_steps, noise=noise)
    if papers is not None and papers.weights != f"sha256:{reference.weights_digest}":
        raise PassportError(
            f"{path}: the passport is for weights {papers.weights}, these are sha256:{reference.weights_digest}; nothing was "
            f"written"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        _export(EncoderGraph(model, embodiment), temporary / ENCODER)
        if embodiment.action.continuous:
            _export(FlowGraph(model, embodiment), temporary / FLOW)
        if has_world(embodiment):
            _export(LatentsGraph(model, embodiment), temporary / LATENTS)
            _export(WorldGraph(model, embodiment), temporary / WORLD)
        golden = _golden(reference, np.random.default_rng(0))
        np.savez(temporary / GOLDEN, allow_pickle=False, **golden)
        if papers is not None:
            (temporary / passports.FILE).write_bytes(papers.passport.to_bytes())
            (temporary / trained_on.FILE).write_bytes(papers.trained_on)
        files = {file.name: digest_file(file) for file in temporary.iterdir()}
        manifest = manifest_of(
            embodiment,
            statistics,
            flow_steps=flow_steps,
            noise=noise,
            weights_digest=reference.weights_digest,
            provenance=provenance,
            files=files,
            surprise_scale=reference.surprise_scale.tolist(),
        )
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        if papers is not None:
            signed = Release(
                manifest=digest_file(temporary / MANIFEST),
                passport=papers.passport.digest,
                weights=f"sha256:{reference.weights_digest}",
                embodiment=embodiment.id,
                made_ns=time.time_ns(),
            ).signed(papers.key)
            (temporary / release.FILE).write_bytes(signed.to_bytes())
        engine = OnnxEngine(Bundle.read(temporary, embodiment))
        worst = max(_compare(engine, reference, seed) for seed in range(3))
        if not worst <= EXPORT_TOLERANCE:
            raise BundleError(
                f"{embodiment.id}: the exported graphs differ from torch by {worst:.2g}, expected at most "
                f"{EXPORT_TOLERANCE:g}; nothing was written"
            )
        if path.exists():
            shutil.rmtree(path)
        # mkdtemp is private to its maker; what is deployed is readable like any other file
        temporary.chmod(0o755)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    num_bytes = sum(file.stat().st_size for file in path.iterdir())
    return ExportReport(path=path, max_difference=worst, num_bytes=num_bytes, weights_digest=reference.weights_digest)


def random_inputs(embodiment: Embodiment, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw packed inputs with missing samples, unequal rows and masked pairs, as a machine has them."""
    packed: dict[str, np.ndarray] = {}
    rows = {c.name: int(rng.integers(1, min(c.max_rows, MOST_ROWS) + 1)) for c in embodiment.entities}
    ends = {r.name: (rows[r.source], rows[r.target]) for r in embodiment.relation}
    for name, (shape, dtype) in packed_shapes(embodiment).items():
        channel, _, part = name.rpartition(".")
        if part == "mask":
            mask = rng.random(shape) < 0.8
            if channel in rows:
                mask = np.arange(shape[0]) < rows[channel]
            elif channel in ends:
                sources, targets = ends[channel]
                mask[:, 0] = True
                mask[sources:] = False
                mask[:, targets:] = False
            else:
                mask[-1] = True
            packed[name] = mask
        elif part == "age_s":
            packed[name] = -np.sort(rng.random(shape).astype(dtype))[::-1]
        elif dtype.kind == "f":
            packed[name] = rng.standard_normal(shape).astype(dtype)
        else:
            packed[name] = rng.integers(0, 256, shape).astype(dtype)
    for name, array in packed.items():
        channel, _, part = name.rpartition(".")
        mask = packed.get(f"{channel}.mask")
        if part == "values" and mask is not None:
            # what is missing is 0, as the normaliser leaves it
            array[~mask] = 0
    return {name: np.ascontiguousarray(array) for name, array in packed.items()}


def _golden(reference: TorchEngine, rng: np.random.Generator) -> dict[str, np.ndarray]:
    packed = random_inputs(reference.embodiment, rng)
    golden = {f"packed/{name}": array for name, array in packed.items()}
    outputs = reference.encode(packed)
    golden |= {f"expected/{name}": array for name, array in outputs.items() if name not in MEMORY}
    if reference.embodiment.action.continuous:
        golden["noise"] = rng.standard_normal(_chunk_shape(reference.embodiment)).astype(np.float32)
        golden["expected/actions"] = integrate(reference, golden["noise"], outputs, reference.flow_steps)
    if has_world(reference.embodiment):
        golden |= {f"expected/{name}": array for name, array in foretold(reference, packed, outputs).items()}
    return golden


def _compare(engine: OnnxEngine, reference: TorchEngine, seed: int) -> float:
    """Return the greatest difference between two engines on random inputs.

    What the flow attends to is compared too, in shares of its greatest value: an untrained network's actions are its
    noise, whatever it attended to.
    """
    rng = np.random.default_rng([seed, 1])
    packed = random_inputs(engine.embodiment, rng)
    ours, theirs = engine.encode(packed), reference.encode(packed)
    worst = 0.0
    if engine.embodiment.action.continuous:
        noise = rng.standard_normal(_chunk_shape(engine.embodiment)).astype(np.float32)
        worst = difference(
            *(integrate(e, noise, memory, reference.flow_steps) for e, memory in ((engine, ours), (reference, theirs)))
        )
        if not np.array_equal(ours["memory_mask"], theirs["memory_mask"]):
            return float("inf")
    if has_world(engine.embodiment):
        ours, theirs = ours | foretold(engine, packed, ours), theirs | foretold(reference, packed, theirs)
        if not np.array_equal(ours["latents_valid"], theirs["latents_valid"]):
            return float("inf")
    for name, expected in theirs.items():
        if name not in ("memory_mask", "latents_valid"):
            finite = np.abs(expected[np.isfinite(expected)])
            worst = max(worst, difference(ours[name], expected) / max(1.0, float(finite.max(initial=0.0))))
    return worst


def _chunk_shape(embodiment: Embodiment) -> tuple[int, int, int]:
    return 1, embodiment.control.chunk_length, len(embodiment.action.continuous)


def _export(graph: EncoderGraph | FlowGraph | LatentsGraph | WorldGraph, path: Path) -> None:
    num_bytes = sum(parameter.numel() * parameter.element_size() for parameter in graph.parameters())
    # the exporter prints progress and warns about its own internals; a failure still raises
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet("torch.onnx", "onnxscript"):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph.eval(),
            graph.example_inputs(),
            input_names=list(graph.input_names),
            output_names=list(graph.output_names),
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=graph.dynamic_shapes(),
            verbose=False,
        )
        assert program is not None
        # The exporter writes down where in whose files each node comes from; a bundle says nothing of the computer that made it.
        for part in (program.model.graph, *program.model.functions.values()):
            for node in part.all_nodes():
                node.metadata_props.clear()
        program.save(str(path), external_data=num_bytes > EMBED_BELOW_BYTES)


@contextlib.contextmanager
def _quiet(*names: str) -> Any:
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
