"""Makes the tables of docs/metadrive.md from docs/measurements/metadrive/*.json: no number there is typed.

python scripts/meta_drive_table.py [--check]

The files are written by ``perf/meta_drive.py``. Each policy is counted over the scenes that every policy of its file drove.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from genba.bench.metrics import wilson

MEASUREMENTS, PAGE = Path("docs/measurements/metadrive"), Path("docs/metadrive.md")
START, END = "<!-- results:start -->", "<!-- results:end -->"
COLUMNS = ("success", "crash", "out_of_road", "timed_out")


def share(count: int, total: int) -> str:
    """Return a share with its 95 % Wilson interval, in per cent."""
    interval = wilson(count, total)
    return f"{100 * interval.mean:.1f} % [{100 * interval.low:.0f}, {100 * interval.high:.0f}]"


def table(found: dict[str, Any]) -> list[str]:
    """Return one measurement as a table, over the scenes that all its policies drove."""
    policies = found["policies"]
    scenes = sorted(set.intersection(*(set(entry["outcomes"]) for entry in policies.values())), key=int)
    lines = [
        "| policy | scenes | success (95 % Wilson) | crash | out of road | time ran out | route driven | mean speed | CPU ms a step |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, entry in policies.items():
        outcomes = [entry["outcomes"][scene] for scene in scenes]
        counts = [share(round(sum(o[column] for o in outcomes)), len(outcomes)) for column in COLUMNS]
        driven, speed = (sum(o[key] for o in outcomes) / len(outcomes) for key in ("completion", "speed"))
        # over all that it drove: the file has one sum
        steps = sum(outcome["num_steps"] for outcome in entry["outcomes"].values())
        lines.append(
            f"| {name} ({entry['kind']}) | {len(scenes)} | {' | '.join(counts)} | {100 * driven:.1f} % | {speed:.1f} m/s "
            f"| {1000 * entry['cpu_s'] / steps:.1f} |"
        )
    commits = sorted({o["commit"][:12] for entry in policies.values() for o in entry["outcomes"].values()})
    return [*lines, "", f"{found['hardware']['cpu']}, commit {', '.join(commits)}: `{found['command']}`"]


def shut(found: dict[str, Any]) -> list[str]:
    """Return what was found of lines across the road, as a table."""
    scenes = found["scenes"]
    closed = sorted((scene for scene, one in scenes.items() if one["is_shut"]), key=int)
    with_exit = [scene for scene, one in scenes.items() if "R" in one["blocks"]]
    return [
        f"| of {len(scenes)} scenes | share (95 % Wilson) | which |",
        "|---|---:|---|",
        f"| a continuous line across every lane of a road of the route | {share(len(closed), len(scenes))} | {', '.join(closed)} |",
        f"| of these with an exit ramp (`R`) | {sum(scene in with_exit for scene in closed)} of {len(closed)} | "
        f"{len(with_exit)} scenes have one |",
        "",
        f"Commit {found['commit'][:12]}: `{found['command']}`",
    ]


def main() -> None:
    """Write the tables into the page, or say whether they stand there."""
    lines: list[str] = []
    for path in sorted(MEASUREMENTS.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        lines += ["", *(table(found) if "policies" in found else shut(found))]
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(START)
    made = "\n".join([before + START, *lines[1:], END]) + rest.split(END)[1]
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(made, encoding="utf-8")
    elif made != page:
        raise SystemExit(f"{PAGE} is not what {MEASUREMENTS} give; run: python scripts/meta_drive_table.py")


if __name__ == "__main__":
    main()
