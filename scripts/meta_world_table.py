"""Makes the tables of docs/metaworld.md from docs/measurements/metaworld/*.json: no number there is typed.

python scripts/meta_world_table.py [--check]

The files are written by ``perf/meta_world.py evaluate``.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

MEASUREMENTS, PAGE = Path("docs/measurements/metaworld"), Path("docs/metaworld.md")
START, END = "<!-- results:start -->", "<!-- results:end -->"


def share(interval: list[float]) -> str:
    """Return a mean with its interval, in per cent."""
    mean, low, high = (100.0 * value for value in interval[:3])
    return f"{mean:.1f} % [{low:.0f}, {high:.0f}]"


def per_task_shown(found: dict[str, Any]) -> int:
    """Return how many demonstrations of each task there were, as the measurement's note says: ``"... 5 a task"``."""
    said = re.search(r"(\d+) a task", found["note"])
    if said is None:
        raise SystemExit(f"note: got {found['note']!r}, expected how many demonstrations there were, e.g. '5 a task'")
    return int(said.group(1))


def steps(found: dict[str, Any]) -> int:
    """Return how many steps the policy was trained for."""
    said = found["policy"]
    return int(said["steps"] if said["kind"] == "mlp" else said["provenance"]["train_steps"])


def row(found: dict[str, Any]) -> str:
    """Return one measurement as a row."""
    count = found["episodes_per_task"] * len(found["successes"])
    groups = ", ".join(f"{name.replace('_', ' ')} {share(value)}" for name, value in found["success_by_group"].items())
    return (
        f"| {found['benchmark']} | {found['note']} | {found['policy']['kind']}, {steps(found):,} steps | {share(found['success'])}, n = {count} | {groups} "
        f"| {found['seed']} | `{found['commit'][:12]}` |"
    )


def per_task(found: list[dict[str, Any]]) -> list[str]:
    """Return one benchmark's measurements side by side, task by task."""
    head = [f"{one['policy']['kind']}, {one['note']}, {steps(one):,} steps" for one in found]
    lines = ["| task | " + " | ".join(head) + " |", "|---|" + "---:|" * len(head)]
    for name in found[0]["successes"]:
        counts = " | ".join(f"{one['successes'][name]} of {one['episodes_per_task']}" for one in found)
        lines.append(f"| {name} | {counts} |")
    return lines


def main() -> None:
    """Write the tables into the page, or say whether they stand there."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(MEASUREMENTS.glob("*.json"))]
    results.sort(key=lambda one: (one["benchmark"], per_task_shown(one), one["policy"]["kind"], steps(one)))
    lines = [
        "| benchmark | demonstrations | policy | success (95 % Wilson) | by group | seed of goals | commit |",
        "|---|---|---|---:|---|---:|---|",
        *map(row, results),
    ]
    for benchmark in sorted({one["benchmark"] for one in results}):
        lines += [
            "",
            f"{benchmark}, task by task:",
            "",
            *per_task([one for one in results if one["benchmark"] == benchmark]),
        ]
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(START)
    made = "\n".join([before + START, *lines, END]) + rest.split(END)[1]
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(made, encoding="utf-8")
    elif made != page:
        raise SystemExit(f"{PAGE} is not what {MEASUREMENTS} give; run: python scripts/meta_world_table.py")


if __name__ == "__main__":
    main()
