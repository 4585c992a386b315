"""Random packed inputs and training batches of any embodiment, for tests of the model, of scale and of training."""

from pathlib import Path

import numpy as np
import torch

from genba.spec.embodiment import Embodiment
from genba.spec.normalise import packed_shapes

#: an embodiment with every modality
EVERYTHING = Path(__file__).parent / "model" / "everything.toml"


def random_inputs(embodiment: Embodiment, batch: int, seed: int) -> dict[str, torch.Tensor]:
    """Packed inputs in which nearly everything is there."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, (shape, dtype) in packed_shapes(embodiment).items():
        if dtype == np.bool_:
            array = rng.random((batch, *shape)) < 0.9
        elif dtype.kind == "f":
            array = rng.standard_normal((batch, *shape)).astype(np.float32)
        else:
            array = rng.integers(0, 200, (batch, *shape)).astype(dtype)
        out[name] = torch.from_numpy(array)
    for name in (n for n in out if n.endswith(".age_s")):
        out[name] = -out[name].abs().sort(1, descending=True).values
    return out


def random_batch(embodiment: Embodiment, batch: int, seed: int, flow_samples: int = 2) -> dict[str, torch.Tensor]:
    """A training batch, draws included."""
    rng = np.random.default_rng(seed + 1000)
    inputs = random_inputs(embodiment, batch, seed)
    following = random_inputs(embodiment, batch, seed + 1)
    out = inputs | {f"next.{name}": value for name, value in following.items()}
    out["next.valid"] = torch.ones(batch, dtype=torch.bool)
    control, action = embodiment.control, embodiment.action
    rows = {channel.name: channel.max_rows for channel in embodiment.entities}
    if action.continuous:
        size = len(action.continuous)
        for name, steps in (("action", control.chunk_length), ("executed", control.horizon)):
            values = rng.standard_normal((batch, steps, size)).astype(np.float32)
            out[f"{name}.values"] = torch.from_numpy(values)
            out[f"{name}.mask"] = torch.ones(batch, steps, dtype=torch.bool)
        noise = rng.standard_normal((batch, flow_samples, control.chunk_length, size)).astype(np.float32)
        out["flow.noise"] = torch.from_numpy(noise)
        out["flow.time"] = torch.from_numpy(rng.random((batch, flow_samples)).astype(np.float32))
    for choice in action.choice:
        if choice.kind == "rank":
            out[f"choice.{choice.name}.values"] = torch.from_numpy(
                rng.standard_normal((batch, rows[choice.over])).astype(np.float32)
            )
            out[f"choice.{choice.name}.mask"] = inputs[f"{choice.over}.mask"]
        else:
            allowed = inputs[f"{choice.allowed_by}.mask"]
            chosen = torch.where(allowed.any(-1), allowed.to(torch.uint8).argmax(-1), -1)
            out[f"choice.{choice.name}.values"] = chosen
            out[f"choice.{choice.name}.mask"] = chosen >= 0
    return out
