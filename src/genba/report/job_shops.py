"""The table of flexible job shops in ``docs/factory.md``, generated from the result file of ``genba factory job-shop``.

Read next: ``readme``, which does the same for the README's table.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from genba.bench.metrics import mean_interval
from genba.report.measurement import read_measurement

FORMAT, VERSION = "genba-job-shops", 1


def job_shops_table(path: Path) -> str:
    """Return the table of a result file as Markdown: makespans, mean gap to the best known with its interval, CPU time.

    Raises:
        ConfigError: no such file, or not a result of this format.
    """
    result = read_measurement(path, (FORMAT, VERSION), written_by="genba factory job-shop --out")
    rows = result["rows"]
    lines = ["| | " + " | ".join(row["instance"] for row in rows) + " | mean gap, % (95 %) | CPU ms, median |"]
    lines.append("|---|" + "---:|" * (len(rows) + 2))
    lines.append("| best known | " + " | ".join(str(row["best_known"] or "–") for row in rows) + " | | |")
    for name in rows[0]["makespan"]:
        gaps = [100 * (row["makespan"][name] / row["best_known"] - 1) for row in rows if row["best_known"]]
        cells = [name, *(str(row["makespan"][name]) for row in rows), str(mean_interval(gaps)) if gaps else "–"]
        cpu_ms = 1e3 * statistics.median(row["cpu_s"][name] for row in rows)
        lines.append("| " + " | ".join([*cells, f"{cpu_ms:,.1f}"]) + " |")
    return "\n".join([*lines, "", _how(result)])


def _how(result: dict[str, Any]) -> str:
    weights = f", weights {result['weights_digest'].removeprefix('sha256:')[:12]}" if result["weights_digest"] else ""
    return (
        f"One core of {result['hardware']['cpu']} (two threads for CP-SAT){weights}, commit {result['commit'][:12]}; "
        f"intervals by the bootstrap over instances. `{result['command']}`"
    )
