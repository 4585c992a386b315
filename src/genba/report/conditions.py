"""The arm's table of conditions in ``docs/arm.md``, generated from result files and never typed.

A row per task of the arm's grip, a column per policy: success with its Wilson interval. The best fixed force is chosen per
row, most favourably to it; means are over the conditions that no training sees. Read next: ``readme``, the other table
of results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from genba.bench.results import Result
from genba.errors import ConfigError
from genba.registry import HELD_OUT_TASKS
from genba.report.run import read_results

NOMINAL = "arm/grip@1"
#: column -> the policies of which the best counts; a name that ends in * is a beginning
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "model": ("model",),
    "model, touch masked": ("model without *",),
    "reactive (scripted)": ("reactive",),
    "best fixed force": ("fixed_*",),
    "oracle": ("oracle",),
}
#: what is shown of the model, or where there is none of the scripted controller, beside success
_DETAIL = ("hold_force_ratio", "peak_force_ratio", "squeeze_mean_n", "squeeze_p95_n", "squeeze_max_n", "reaction_s")


def conditions_table(folder: Path) -> str:
    """Return the tables of success and of forces as Markdown.

    Raises:
        ConfigError: a file there is not a result, or there is none of the arm's conditions.
    """
    held_out = sorted(name for name in HELD_OUT_TASKS if name.startswith("arm/"))
    results = [r for r in read_results(folder) if r.task in held_out or r.task == NOMINAL]
    if not results:
        raise ConfigError(f"{folder}: got no result of {NOMINAL} or its conditions; measure with 'genba bench'")
    rows = [task for task in (NOMINAL, *held_out) if any(r.task == task for r in results)]
    columns = [name for name in COLUMNS if any(_pick(results, task, name) for task in rows)]
    lines = [_row(["task", *columns]), _row(["---"] + ["---:"] * len(columns))]
    lines += [_row([f"`{task}`", *(_success(_pick(results, task, name)) for name in columns)]) for task in rows]
    means = []
    for name in columns:
        picked = [result for task in held_out if (result := _pick(results, task, name))]
        whole = len(picked) == len(held_out)
        means.append(f"**{np.mean([r.success.mean for r in picked]) * 100:.1f} %**" if whole else "–")
    lines.append(_row([f"**mean of {len(held_out)} conditions**", *means]))
    lines += ["", _row(["policy", "task", *(f"{name} (median)" for name in _DETAIL)])]
    lines.append(_row(["---", "---"] + ["---:"] * len(_DETAIL)))
    for name in ("model", "reactive (scripted)"):
        for task in rows:
            if result := _pick(results, task, name):
                lines.append(_row([result.policy, f"`{task}`", *(_median(result, key) for key in _DETAIL)]))
    commits = sorted({result.commit[:12] for result in results if result.commit})
    return "\n".join([*lines, "", f"Measured at commit {', '.join(commits)}."])


def _pick(results: Sequence[Result], task: str, column: str) -> Result | None:
    def named(policy: str) -> bool:
        return any(policy == name or (name.endswith("*") and policy.startswith(name[:-1])) for name in COLUMNS[column])

    found = [result for result in results if result.task == task and named(result.policy)]
    return max(found, key=lambda result: result.success.mean, default=None)


def _success(result: Result | None) -> str:
    if result is None:
        return "–"
    which = f" ({result.policy.replace('_', ' ')})" if result.policy.startswith("fixed_") else ""
    success = result.success
    return f"{success.mean * 100:.0f} % [{success.low * 100:.0f}, {success.high * 100:.0f}], n = {len(result.seeds)}{which}"


def _median(result: Result, metric: str) -> str:
    values = result.values(metric)
    known = values[np.isfinite(values)]
    return f"{np.median(known):.3g}" if len(known) else "–"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
