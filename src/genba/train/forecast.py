"""What a world model foretells of a machine's telemetry, in its own units: one horizon ahead, from windows of a vault.

It measures nothing and draws nothing. Read next: ``perf/real_drive.py``, which holds it against what then came.
"""

from __future__ import annotations

import numpy as np
import torch

from genba.data.windows import WindowSource
from genba.model.tokenizers import TelemetryTokenizer
from genba.model.world_action_model import WorldActionModel
from genba.spec.statistics import undo_scale
from genba.train.loader import tensors

#: windows that go through the model together
BATCH = 256


@torch.no_grad()
def forecast(model: WorldActionModel, source: WindowSource, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Return, for each telemetry channel of plain numbers, what its newest sample will be ``control.horizon`` periods later.

    Args:
        model: with the parts of the source's embodiment.
        source: where the windows come from, with the normaliser that the model was trained with.
        indices: which windows, int64 ``[moment]``.

    Returns:
        Channel name -> float64 ``[moment, dimension]`` in the channel's units; NaN where the channel's newest number is missing.
    """
    facts, parts = source.embodiment, model.parts_of(source.embodiment.id)
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    found: dict[str, list[np.ndarray]] = {}
    for begin in range(0, len(indices), BATCH):
        batch = tensors(facts, source.batch(indices[begin : begin + BATCH]), {}, device)
        tokens = parts.tokenize(batch)
        encoding = model.encode(facts.id, batch, tokens)
        now, _ = parts.latents(tokens)
        choices = {c.name: batch[f"choice.{c.name}.values"] for c in facts.action.choice}
        change = model.predict(facts.id, encoding, now, batch.get("executed.values"), choices) - now
        start = 0
        for name, readout in parts.readouts.items():
            tokenizer = parts.tokenizers[name]
            stop = start + int(tokenizer.num_predicted)  # type: ignore[arg-type]
            if isinstance(tokenizer, TelemetryTokenizer):
                here, known = tokenizer.readout(batch)
                # Where nothing was heard there is nothing that could change.
                values = torch.where(known, here + readout(change[:, start:stop]), torch.nan)
                found.setdefault(name, []).append(values[:, 0].double().cpu().numpy())
            start = stop
    model.train(was_training)
    out = {}
    for channel in facts.telemetry:
        if channel.name in found and not any(dimension.categories for dimension in channel.dimensions):
            statistics = source.normalizer.statistics[channel.name]
            scaled = np.concatenate(found[channel.name]) * statistics.std + statistics.mean
            out[channel.name] = undo_scale(scaled, channel.dimensions)
    return out
