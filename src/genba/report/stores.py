"""The table of stores in ``docs/data.md``, generated from the result file of ``perf/stores/measure.py``.

Read next: ``readme``, which does the same for the README's table.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from genba.report.measurement import read_measurement

FORMAT, VERSION = "genba-stores", 1
#: kind of window -> head of its column
KINDS = {"sparse": "sparse, decoded", "dense": "dense, decoded", "telemetry": "telemetry only"}
#: what is promised: kind, how many times the other store's rate, that store's name or its beginning
TARGETS = (
    ("sparse", 2.0, "Lance, 32"),
    ("sparse", 15.0, "LeRobotDataset"),
    ("telemetry", 100.0, "LeRobotDataset"),
)
#: the share of the plain store's rate that sealing may cost
SEALING = 0.2
SEALED, PLAIN = "Genba, encrypted", "Genba, plain"
#: The vault whose frames keep all colours, and a store with the same JPEGs: no target is about it, so it is only compared.
FULL, FULL_OTHER = "Genba, encrypted, 4:4:4", "Lance, 4:4:4"


def stores_table(path: Path) -> str:
    """Return the table of a result file as Markdown, what of the targets is met, and how it was measured.

    Raises:
        ConfigError: no such file, or not a result of this format.
    """
    result = read_measurement(path, (FORMAT, VERSION), written_by="perf/stores/measure.py --out")
    rows = {row["name"]: row for row in result["stores"]}
    lines = ["| windows per CPU-second | " + " | ".join(KINDS.values()) + " | MB per hour | |"]
    lines.append("|---|" + "---:|" * (len(KINDS) + 1) + "---|")
    for row in rows.values():
        name = f"**{row['name']}**" if row["name"] == SEALED else row["name"]
        hours = row["episodes"] * result["set"]["episode_s"] / 3600
        cells = [name, *(_rate(row["rates"], kind) for kind in KINDS), f"{row['size_bytes'] / 1e6 / hours:,.0f}"]
        lines.append("| " + " | ".join([*cells, row["note"]]) + " |")
    said = [f"* {line}" for line in _judged(rows)]
    return "\n".join([*lines, "", *said, "", _how(result)])


def _rate(rates: dict[str, list[float]], kind: str) -> str:
    """Return the median of the rounds, and the least and the greatest of them."""
    if kind not in rates:
        return "–"
    return f"{statistics.median(rates[kind]):,.0f} ({min(rates[kind]):,.0f} – {max(rates[kind]):,.0f})"


def _judged(rows: dict[str, dict[str, Any]]) -> list[str]:
    if SEALED not in rows:
        return []
    ours, out = rows[SEALED]["rates"], []
    for kind, factor, other in TARGETS:
        name = next((name for name in rows if name.startswith(other)), None)
        if name is None:
            out.append(f"{KINDS[kind]}: {other} was not measured.")
            continue
        theirs = rows[name]["rates"]
        found = statistics.median(ours[kind]) / statistics.median(theirs[kind])
        met = "met" if found >= factor else "not met"
        out.append(f"{KINDS[kind]}: {found:,.1f} times {name} (target {factor:g} times: {met}).")
        alone = f"{kind} alone"
        if alone in theirs:
            best = statistics.median(theirs[alone])
            out[-1] += (
                f" Of a data set written without cameras it gives {best:,.0f} windows per CPU-second: "
                f"{statistics.median(ours[kind]) / best:,.1f} times."
            )
    if FULL in rows and FULL_OTHER in rows:
        rate, theirs = (statistics.median(rows[name]["rates"]["sparse"]) for name in (FULL, FULL_OTHER))
        colour = "With full colour resolution, which is a choice"
        out.append(f"{colour}: {rate / theirs:.1f} times {FULL_OTHER}, {KINDS['sparse']} (no target).")
    if PLAIN in rows:
        cost = 1 - statistics.median(ours["sparse"]) / statistics.median(rows[PLAIN]["rates"]["sparse"])
        met = "met" if cost <= SEALING else "not met"
        out.append(f"Sealing costs {max(cost, 0):.0%} of {KINDS['sparse']} (target at most {SEALING:.0%}: {met}).")
    return out


def _how(result: dict[str, Any]) -> str:
    hardware = result["hardware"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    commit = f", commit {result['commit'][:12]}" if result["commit"] else ""
    return (
        f"Median of {result['rounds']} rounds (least – greatest), each at least {result['seconds']:g} CPU-seconds per store "
        f"and kind, in turns, one core of {hardware['cpu']}, Python {hardware['python']}, {versions}; "
        f"{result['set']['episodes']} episodes of {result['set']['episode_s']:g} s, seed {result['set']['seed']}"
        f"{commit}, {result['date'][:10]}. `{result['command']}`"
    )
