"""A small log for the reader ``skab``: made numbers in the data set's columns."""

import math
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


def write_recording(path: Path, *, seed: int, level: float, marked: range | None, num_rows: int = 560) -> None:
    """Write a file of the benchmark at one row a second: eight noisy sensors around ``level``, one of them a slow wave of the others' phase.

    Where ``marked``, the flow has gone and the first vibration is three times as large; without ``marked`` the file has no marks.
    """
    rng, columns = random.Random(seed), HEAD.split(";")
    lines = [HEAD if marked is not None else ";".join(columns[:-2])]
    phase = rng.uniform(0, 6.28)
    for i in range(num_rows):
        anomalous = marked is not None and i in marked
        wave = math.sin(phase + i / 20)
        values = [
            (0.6 if anomalous else 0.2) + 0.01 * wave + rng.gauss(0, 0.005),
            0.2 + 0.01 * wave + rng.gauss(0, 0.005),
            2.0 + rng.gauss(0, 0.1),
            0.3 + rng.gauss(0, 0.1),
            75.0 + wave + rng.gauss(0, 0.1),
            25.0 + 0.5 * wave + rng.gauss(0, 0.05),
            235.0 + rng.gauss(0, 2),
            (0.5 if anomalous else 1.0) * level + rng.gauss(0, 0.3),
        ]
        marks = [float(anomalous), float(marked is not None and i in (marked.start, marked.stop))]
        cells = values + (marks if marked is not None else [])
        lines.append(f"2020-03-09 10:{14 + i // 60:02}:{i % 60:02};" + ";".join(f"{v:.6g}" for v in cells))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
