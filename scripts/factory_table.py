"""Makes docs/factory-policies.md from docs/measurements/factory-*.json: no number there is typed.

python scripts/factory_table.py
"""

from __future__ import annotations

import json
from pathlib import Path

MEASUREMENTS, PAGE = Path("docs/measurements"), Path("docs/factory-policies.md")

HEAD = """# Ways to re-sequence the factory, on the same frozen instances

Made by `scripts/factory_table.py` from `docs/measurements/factory-*.json`, which `perf/factory_policies.py` writes. Weighted tardiness, mean over test
seeds; beside it the share of the best of twenty tuned dispatching rules with a 95 % bootstrap interval over instances; CPU time on one
core (of the solver's threads too, for CP-SAT not). Searches begin at the best of twenty. `model` is one pass of a network and its
decoder; `model with search` is the scheduler with that network's proposal inside the deadline that its name says, what the network
is shown included. `model sampled` decodes the scores as they are and then varied ones, each around the cheapest so far, for as long as a decision may take
(10, 30, 150 and 600 ms of CPU time by size, the network's pass included). `clairvoyant` knew of the shortage before the first order started and could
move every order: no policy that hears of it later should be expected to reach it, though being a search it proves nothing.

Where several things happen, what is compared is the decision at the first moment.

Each section names its weights. *Joint*: one network for all machines, as in `models/`. *Specialist*: a network at the same preset `tiny` (about a million
weights) that saw the factory alone, fourteen minutes of wall time on 160 plans of 5x50 and 120 of 10x200.
"""


def main() -> None:
    parts = [HEAD]
    for path in sorted(MEASUREMENTS.glob("factory-*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        first, stop = found["seeds"]
        scenario = "" if found["scenario"] == "shortage" else f", {found['scenario'].replace('_', ' ')}"
        parts.append(
            f"\n## {found['size']}{scenario}: {stop - first} instances\n\n`{path}`, commit {found['commit'][:12]}, "
            f"weights {found['bundle'][:12]} ({_kind(found['trained_on'])}), {found['hardware'].get('cpu', found['hardware'])}\n"
        )
        parts.append("| policy | weighted hours | of best of 20 (95 %) | CPU ms, median (max) |\n|---|---:|---:|---:|")
        for name, row in found["policies"].items():
            low, high = row["over_best_of_20_95"]
            parts.append(
                f"| {name.replace('_', ' ')} | {row['weighted_tardiness_h']:,.1f} | {row['over_best_of_20']:.3f} "
                f"({low:.3f} – {high:.3f}) | {row['cpu_ms']['p50']:.2f} ({row['cpu_ms']['max']:.1f}) |"
            )
    PAGE.write_text("\n".join(parts) + "\n", encoding="utf-8")


def _kind(trained_on: list[str]) -> str:
    """Say whether weights are a specialist's or joint, and of what."""
    if len(trained_on) == 1:
        return "specialist"
    return "joint: " + ", ".join(f"`{name}`" for name in trained_on)


if __name__ == "__main__":
    main()
