"""A checkpoint's leakage test: its deployed weights are asked for the loss of what was trained on and of what was held back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from genba.data.contribution import Auc
from genba.data.reads import Reads
from genba.data.vault import Vault
from genba.model.world_action_model import WorldActionModel
from genba.spec.statistics import Statistics
from genba.train import checkpoint
from genba.train.attribution import leakage
from genba.train.data import prepare
from genba.train.optimizer import MeanWeights
from genba.train.recipe import debug


def leakage_of(path: Path, vault: Vault, reads: Reads) -> dict[str, Auc]:
    """Return, by owner, how well the episodes that a checkpoint was trained on are told from held-back ones.

    Args:
        path: the checkpoint.
        vault: where the episodes are.
        reads: what was read until the checkpoint.

    Raises:
        CheckpointError: there is no checkpoint, or it is damaged.
        DataError: the vault does not hold its machines' episodes any more.
    """
    manifest = checkpoint.read_manifest(path)
    machines = checkpoint.embodiments_of(path)
    model = WorldActionModel(checkpoint.config_from_json(manifest["model"]), machines)
    mean = MeanWeights(model, 0.0)
    checkpoint.load(path, model=model, mean=mean)
    mean.swap(model)
    # Of the choices of a run only these matter where nothing is trained.
    recipe = dataclasses.replace(debug(), model=model.config, seed=int(manifest["seed"]))
    statistics = {name: Statistics.from_json(table) for name, table in manifest["statistics"].items()}
    data = prepare(vault, machines, recipe, statistics)
    return leakage(model.eval(), data, recipe, {shard for _, _, shard in reads.shards_of("trained")})
