"""Everything random of a training batch, drawn outside the model: the same for any number of ranks and after a resume.

A draw depends on (seed, train step, embodiment, place in the global batch) alone.
"""

from __future__ import annotations

import zlib

import numpy as np

from genba.model.config import ModelConfig
from genba.spec.embodiment import Embodiment

#: share of windows from which one of two twin sensors is left out, so that a model can do without the one that dies
TWIN_LEFT_OUT = 0.15


def draw(
    embodiment: Embodiment, config: ModelConfig, *, seed: int, step: int, batch: int, rank: int = 0, world_size: int = 1
) -> dict[str, np.ndarray]:
    """Draw for this rank's share of a global batch of ``batch`` windows.

    Returns:
        ``flow.noise`` float32 ``[share, flow samples, chunk, dimension]`` (standard normal) and ``flow.time`` float32
        ``[share, flow samples]`` (Beta(flow_alpha, 1) stretched to end at 0.001, as in pi0, arXiv 2410.24164, appendix
        B, with time reversed), where there are continuous actions; ``dropout.<channel>`` bool ``[share]``, where
        channels are hidden; ``twins.<name>`` int64 ``[share]``, which of two sensors is left out of a window (0, 1, or -1 for
        none), where an embodiment has some. Where there are several flow samples, the first is zero noise at time 1: the point that a
        single step from zero noise starts from. Its wanted velocity is minus the action, so the conditional mean is
        learnt there without the noise's variance; the flow's optimum is the same.
    """
    rng = np.random.default_rng([seed, step, zlib.crc32(embodiment.id.encode())])
    out: dict[str, np.ndarray] = {}
    dimensions = len(embodiment.action.continuous)
    if dimensions:
        shape = (batch, config.flow_samples, embodiment.control.chunk_length, dimensions)
        out["flow.noise"] = rng.standard_normal(shape, np.float32)
        time = rng.beta(config.flow_alpha, 1.0, shape[:2]).astype(np.float32)
        out["flow.time"] = 0.001 + 0.999 * time
        if config.flow_samples > 1:
            out["flow.noise"][:, 0], out["flow.time"][:, 0] = 0.0, 1.0
    if config.modality_dropout:
        for channel in embodiment.channels:
            out[f"dropout.{channel.name}"] = rng.random(batch) < config.modality_dropout
    for twins in embodiment.twins:
        side = rng.integers(0, 2, batch)
        out[f"twins.{twins.name}"] = np.where(rng.random(batch) < TWIN_LEFT_OUT, side, -1)
    share = batch // world_size
    return {name: array[rank * share : (rank + 1) * share] for name, array in out.items()}
