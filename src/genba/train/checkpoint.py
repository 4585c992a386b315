"""Checkpoints: the full training state, from which a run goes on as if it had not stopped.

A checkpoint is a folder ``step_000200`` with the tensors (``torch.distributed.checkpoint``, resharded on load) and
``run.json``: what was built (an architecture digest), from which statistics, at which step, ``reads.json``: what was
read until then (``reads``), and what its passport needs (``passport``). It is written under a temporary name and renamed when
whole, so a folder with its final name can be trusted. Bundles for machines are not here but in ``genba.runtime.bundle``.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from genba.config import build
from genba.data.reads import ReadRecord, Reads
from genba.errors import CheckpointError, DataError, nearest
from genba.model.config import ExpertConfig, MixtureConfig, ModelConfig
from genba.model.world_action_model import WorldActionModel
from genba.spec.embodiment import Embodiment
from genba.spec.statistics import Statistics
from genba.train.optimizer import MeanWeights
from genba.train.reads import READS_FILE, join_parts, write_part
from genba.trust.digest import digest_json

MANIFEST = "run.json"
#: what ``run.json`` says of the weights that a run began with: the checkpoint, and the digest of its read record
LINEAGE = "started_from"


def architecture_digest(config: ModelConfig, embodiments: Mapping[str, Embodiment]) -> str:
    """Return a digest of everything that the shapes of the weights depend on."""
    return digest_json({"model": asdict(config), "embodiments": {i: asdict(e) for i, e in sorted(embodiments.items())}})


def save(
    folder: Path,
    *,
    step: int,
    model: WorldActionModel,
    optimizer: torch.optim.Optimizer,
    mean: MeanWeights,
    statistics: Mapping[str, Statistics],
    extra: Mapping[str, Any],
    keep: int,
    reads: ReadRecord | None = None,
    papers: Callable[[Reads], Mapping[str, bytes]] | None = None,
) -> Path:
    """Write the checkpoint after ``step`` train steps and drop all but the newest ``keep``.

    Args:
        reads: this rank's account of what was read, which is committed with it.
        papers: asked by the first rank, given what was read in all, for further files to keep in it, by name.

    Raises:
        CheckpointError: writing failed (a full disk); older checkpoints are intact.
    """
    final = folder / f"step_{step:06d}"
    temporary = folder / f".writing_{step:06d}"
    first = not dist.is_initialized() or dist.get_rank() == 0
    try:
        if first:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        _barrier()
        if reads is not None:
            write_part(temporary, reads.take(step), rank=reads.rank)
        with _one_process_is_fine():
            dcp.save(_state(model, optimizer, mean), checkpoint_id=temporary, no_dist=not dist.is_initialized())
        if first:
            # Every rank wrote its part before it took part in saving the tensors.
            whole = None if reads is None else join_parts(temporary, reads)
            committed = {} if whole is None else {"reads": whole.digest}
            manifest = {
                "step": step,
                "architecture": architecture_digest(model.config, model.embodiments),
                "model": asdict(model.config),
                "embodiments": {i: asdict(e) for i, e in sorted(model.embodiments.items())},
                "statistics": {name: s.to_json() for name, s in statistics.items()},
                "torch": torch.__version__,
                **committed,
                **extra,
            }
            with open(temporary / MANIFEST, "w", encoding="utf-8") as file:
                json.dump(manifest, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            if papers is not None and whole is not None:
                for name, data in papers(whole).items():
                    (temporary / name).write_bytes(data)
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
            for old in sorted(folder.glob("step_*"))[:-keep]:
                shutil.rmtree(old)
        _barrier()
    except (OSError, dcp.CheckpointException) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(f"{final}: could not be written ({error}); free some space and resume") from error
    return final


def newest(folder: Path) -> Path | None:
    """Return the newest whole checkpoint in a run's folder, or None."""
    return max((p for p in folder.glob("step_*") if (p / MANIFEST).is_file()), default=None)


def read_manifest(path: Path) -> dict[str, Any]:
    """Return what a checkpoint says of itself.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    try:
        return json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: no {MANIFEST} there; expected a checkpoint folder such as step_000200"
        ) from None
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path / MANIFEST}: not JSON ({error}); use an older checkpoint") from error


def lineage_of(path: Path) -> dict[str, Any]:
    """Return what a checkpoint says of the weights that its run began with, as it stands in its manifest; nothing where none.

    Raises:
        CheckpointError: there is no checkpoint, or it is damaged.
    """
    return {name: value for name, value in read_manifest(path).items() if name == LINEAGE}


def embodiments_of(path: Path) -> list[Embodiment]:
    """Return the facts of the machines that a checkpoint was trained on, as they were then.

    Raises:
        CheckpointError: there is no checkpoint, or it is damaged.
    """
    facts = read_manifest(path)["embodiments"]
    return [build(table, Embodiment, where=str(path / MANIFEST), path=f"embodiments.{i}") for i, table in facts.items()]


def reads_of(path: Path) -> Reads | None:
    """Return what was read until a checkpoint; None where it was made without a record.

    Raises:
        CheckpointError: the record is missing, damaged, or another one than the checkpoint was written with.
    """
    expected, file = read_manifest(path).get("reads"), path / READS_FILE
    if expected is None:
        return None
    try:
        reads = Reads.from_bytes(file.read_bytes(), place=str(file))
    except (OSError, DataError) as error:
        raise CheckpointError(f"{file}: what was read until this checkpoint is not known: {error}") from error
    if reads.digest != expected:
        raise CheckpointError(f"{file}: got record {reads.digest}, the checkpoint was written with {expected}")
    return reads


def load(
    path: Path,
    *,
    model: WorldActionModel,
    optimizer: torch.optim.Optimizer | None = None,
    mean: MeanWeights | None = None,
) -> dict[str, Any]:
    """Load a checkpoint into a model (and optimizer and mean) of the same architecture; return its manifest.

    Raises:
        CheckpointError: another architecture, or a damaged file.
    """
    manifest = read_manifest(path)
    expected = architecture_digest(model.config, model.embodiments)
    if manifest["architecture"] != expected:
        raise CheckpointError(
            f"{path}: {_difference(manifest, model)}; a checkpoint only fits the architecture it was made of"
        )
    state = _state(model, optimizer, mean)
    flags = (
        None if optimizer is None else [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    )
    try:
        with _one_process_is_fine():
            dcp.load(state, checkpoint_id=path, no_dist=not dist.is_initialized())
    except (Exception, dcp.CheckpointException) as error:
        # DCP raises whatever its planner and its reader meet, as a BaseException; name the file once, here.
        raise CheckpointError(f"{path}: damaged ({type(error).__name__}); use an older checkpoint") from error
    set_model_state_dict(model, state["model"])
    if optimizer is not None and flags is not None:
        set_optimizer_state_dict(model, optimizer, state["optimizer"])
        for group, kept in zip(optimizer.param_groups, flags, strict=True):
            # The stored flags (foreach, lr) are those of another layout; this run's own hold.
            group.update({key: value for key, value in kept.items() if key != "lr"})
    if mean is not None:
        mean.mean = state["mean"]
    return manifest


def _state(model: nn.Module, optimizer: torch.optim.Optimizer | None, mean: MeanWeights | None) -> dict[str, Any]:
    state: dict[str, Any] = {"model": get_model_state_dict(model)}
    if optimizer is not None:
        state["optimizer"] = get_optimizer_state_dict(model, optimizer)
    if mean is not None:
        state["mean"] = mean.mean
    return state


def config_from_json(table: Mapping[str, Any]) -> ModelConfig:
    """Rebuild the model's choices from a manifest."""
    table = dict(table)
    for name in ("trunk", "action", "world"):
        table[name] = ExpertConfig(**table[name])
    if table["mixture"] is not None:
        table["mixture"] = MixtureConfig(**table["mixture"])
    return ModelConfig(**table)


def _difference(manifest: Mapping[str, Any], model: WorldActionModel) -> str:
    ours = asdict(model.config)
    for key, value in manifest["model"].items():
        if key not in ours:
            return f"the checkpoint's model has {key!r}, which this version does not know{nearest(key, ours)}"
        if ours[key] != value:
            return f"model.{key}: got {value!r} in the checkpoint, expected {ours[key]!r}"
    if sorted(manifest["embodiments"]) != sorted(model.embodiments):
        return f"embodiments: got {sorted(manifest['embodiments'])} in the checkpoint, expected {sorted(model.embodiments)}"
    return "the facts of an embodiment differ"


@contextmanager
def _one_process_is_fine() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _barrier() -> None:
    if dist.is_initialized():
        dist.barrier()
