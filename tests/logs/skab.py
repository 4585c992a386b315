"""A small log for the reader ``skab``: made numbers in the data set's columns."""

import random
from pathlib import Path

HEAD = (
    "datetime;Accelerometer1RMS;Accelerometer2RMS;Current;Pressure;Temperature;Thermocouple;Voltage;"
    "Volume Flow RateRMS;anomaly;changepoint"
)


def write_log(folder: Path, seed: int = 0) -> tuple[Path, dict[str, object]]:
    """Write a file of 20 rows with an anomaly in the middle; return it and the reader's options."""
    rng, lines = random.Random(seed), [HEAD]
    for i in range(20):
        values = [
            rng.uniform(0, 0.3),
            rng.uniform(0, 0.3),
            rng.uniform(0, 3),
            rng.uniform(-0.3, 0.8),
            75.5,
            25.8,
            240.0,
            32.0,
        ]
        marks = (float(8 <= i < 12), float(i in (8, 12)))
        lines.append(f"2020-03-09 10:14:{30 + i};" + ";".join(f"{v:.6g}" for v in (*values, *marks)))
    path = folder / "bench.csv"
    path.write_text("\n".join(lines) + "\n")
    return path, {}
