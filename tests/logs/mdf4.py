"""A small log for the reader ``mdf4``, by asammdf: two groups on clocks of their own."""

from pathlib import Path

import numpy as np
from asammdf import MDF, Signal


def signal(
    samples: np.ndarray, times_s: np.ndarray, name: str, unit: str = "", conversion: object = None, **more: object
) -> Signal:
    """Return a signal of asammdf, whose own order of arguments is another."""
    return Signal(samples, times_s, name=name, unit=unit, conversion=conversion, **more)


def signals(seed: int = 0) -> dict[str, list[Signal]]:
    """Return the signals of each group."""
    rng = np.random.default_rng(seed)
    fast, slow = 0.001 + 0.01 * np.arange(40), 0.0625 * np.arange(8)
    counts = rng.integers(0, 1000, 40)
    return {
        "engine": [
            signal(counts.astype(np.uint16), fast, "EngineSpeed", "rpm", {"a": 0.25, "b": 10.0}),
            signal(rng.normal(0, 1, 40), fast, "Torque", "Nm"),
            signal(rng.integers(-100, 100, 40).astype(np.int8), fast, "Oil Temp", "degC"),
        ],
        "bench": [signal(rng.normal(0, 1, 8).astype(np.float32), slow, "Force", "kN")],
    }


def write_log(folder: Path, seed: int = 0) -> tuple[Path, dict[str, object]]:
    """Write a file; return it and the reader's options."""
    path = folder / "measured.mf4"
    with MDF(version="4.10") as mdf:
        for name, group in signals(seed).items():
            mdf.append(group, acq_name=name, comment="")
        mdf.save(path, overwrite=True, compression=2)
    return path, {}
