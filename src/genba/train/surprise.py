"""How surprised a world model is: by each moment of a recording, one horizon after it was foretold.

``surprise`` asks a model that is there; ``watch`` learns one from the beginnings of recordings, which are taken for normal, and asks it about all of
them. What surprise is an alarm is decided in ``genba.bench.anomalies``, which knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from genba.data.vault import Vault
from genba.data.windows import WindowSource
from genba.model.world_action_model import WorldActionModel
from genba.spec.embodiment import Embodiment
from genba.spec.episode import Episode
from genba.spec.normalise import Normalizer
from genba.spec.units import to_ns
from genba.train.data import prepare
from genba.train.loader import tensors
from genba.train.loop import train
from genba.train.recipe import Recipe
from genba.trust.keys import FileKeys

#: windows that go through the model together
BATCH = 256


@torch.no_grad()
def surprise(model: WorldActionModel, source: WindowSource, indices: np.ndarray) -> np.ndarray:
    """Return how many times larger than usual the error is of what was foretold at some moments for one horizon later.

    Args:
        model: with the parts of the source's embodiment.
        source: where the windows come from, with the normaliser that the model was trained with.
        indices: which windows, int64 ``[moment]``.

    Returns:
        float64 ``[moment]``, about 1 where all is as in training; NaN where nothing was heard then, or the recording ends before.
    """
    facts, parts = source.embodiment, model.parts_of(source.embodiment.id)
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    found = [np.empty(0)]
    for begin in range(0, len(indices), BATCH):
        batch = tensors(facts, source.batch(indices[begin : begin + BATCH]), {}, device)
        later = {name[5:]: value for name, value in batch.items() if name.startswith("next.") and name != "next.valid"}
        tokens = parts.tokenize(batch)
        now, now_valid = parts.latents(tokens)
        came, came_valid = parts.latents(parts.tokenize(later))
        choices = {c.name: batch[f"choice.{c.name}.values"] for c in facts.action.choice}
        foretold = model.predict(
            facts.id, model.encode(facts.id, batch, tokens), now, batch.get("executed.values"), choices
        )
        valid = now_valid & came_valid & batch["next.valid"][:, None]
        ratio = model.surprise(facts.id, foretold, came, valid)
        found.append(torch.where(valid.any(1), ratio, torch.nan).double().cpu().numpy())
    model.train(was_training)
    return np.concatenate(found)


def watch(
    recordings: Sequence[Episode], facts: Embodiment, chosen: Recipe, folder: Path, *, num_normal: int
) -> list[np.ndarray]:
    """Train one model on the beginnings of recordings of one machine, and return how surprising every sample of each was.

    Args:
        recordings: episodes of ``facts``, a machine that only senses.
        facts: with one telemetry channel, whose samples are counted.
        chosen: what is chosen about the training.
        folder: an empty one, where vaults and checkpoints are made.
        num_normal: how many samples of each recording are trained on.

    Returns:
        For each recording, float64 ``[sample]``; NaN in the first horizon, where nothing was foretold yet.

    Raises:
        DataError: too few recordings to train on some and hold others back.
        PermissionDeniedError: under a trust folder, their owners do not allow it.
    """
    (channel,) = facts.telemetry
    vaults = {
        name: Vault.open(folder / name, create=True, keys=FileKeys(folder / f"{name}-keys"), purpose=purpose)
        for name, purpose in (("normal", "train"), ("whole", "evaluate"))
    }
    for vault in vaults.values():
        vault.keep_embodiment(facts)
    for number, recording in enumerate(recordings):
        named = replace(recording.metadata, episode_id=f"{facts.id}/{number:06}")
        stream = recording.streams[channel.name]
        vaults["normal"].append(Episode(named, {channel.name: stream.slice(0, num_normal)}))
        vaults["whole"].append(Episode(named, {channel.name: stream}))
    data = prepare(vaults["normal"], [facts], chosen)
    model = train(chosen, data, folder / "run")
    period_ns = to_ns(facts.control.period_s)
    found = []
    for number, recording in enumerate(recordings):
        entry = vaults["whole"].entry(f"{facts.id}/{number:06}")
        source = WindowSource(vaults["whole"], facts, Normalizer(facts, data.statistics[facts.id]), [entry])
        foretold = surprise(model, source, np.arange(len(source)))
        # The moment that foretold a sample: the last one at least a horizon before it.
        ages_ns = recording.streams[channel.name].times_ns - source.times_ns[0]
        moments = ages_ns // period_ns - facts.control.horizon
        found.append(np.where(moments >= 0, foretold[np.maximum(moments, 0)], np.nan))
    return found
