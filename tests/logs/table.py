"""A small log for the reader ``table``: a folder with two CSV files and their mapping."""

import random
from pathlib import Path

MAPPING = """machine = "press-line"
[time]
column = "time"
timezone = "Asia/Tokyo"
[csv]
separator = ";"
decimal = ","
[[channel]]
name = "hydraulics"
rate_hz = 10.0
column = [
  { from = "P1 [bar]", name = "pressure", unit = "bar", low = 0.0, high = 250.0 },
  { from = "T oil", unit = "degC", low = -20.0, high = 120.0 },
]
[[channel]]
name = "state"
rate_hz = 1.0
column = [{ from = "State", categories = 4 }]
"""


def write_log(folder: Path, seed: int = 0) -> tuple[Path, dict[str, object]]:
    """Write a folder of two episodes; return it and the reader's options."""
    path, rng = folder / "press", random.Random(seed)
    path.mkdir()
    (path / "genba-table.toml").write_text(MAPPING)
    for day in (1, 2):
        lines = ["time;P1 [bar];T oil;State;Remark"]
        for i in range(30):
            oil = "" if i == 7 else f"{40 + rng.random():.3f}"
            state = str(rng.randrange(4)) if i % 10 == 0 else ""
            lines.append(
                f"2026-03-0{day} 08:00:{i // 10:02d}.{i % 10}00;{100 + 50 * rng.random():.4f};{oil};{state};ok"
            )
        text = "\n".join(lines[:1] + [_comma(line) for line in lines[1:]])
        (path / f"day{day}.csv").write_text(text + "\n")
    return path, {}


def _comma(line: str) -> str:
    """Write the numbers of a line with a decimal comma, but not its time."""
    time, _, rest = line.partition(";")
    return f"{time};{rest.replace('.', ',')}"
