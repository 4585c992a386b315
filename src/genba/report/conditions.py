"""The tables of a machine's conditions in ``docs/<machine>.md``, generated from result files and never typed.

A row per task, a column per policy: success with its Wilson interval. The best of several policies of one column is
chosen per row, most favourably to it; means are over the conditions that no training sees. Below, what else was measured of
some policies. Read next: ``readme``, the other table of results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from genba.bench.results import Result
from genba.errors import ConfigError, nearest
from genba.registry import HELD_OUT_TASKS
from genba.report.run import read_results


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """What a machine's tables show."""

    #: the task that the conditions depart from
    nominal: str
    #: column -> the policies of which the best counts; a name that ends in * is a beginning
    columns: Mapping[str, tuple[str, ...]]
    #: columns whose further numbers are shown
    detailed: tuple[str, ...]
    #: metrics shown of them
    detail: tuple[str, ...]
    #: what is shown of each: the median over episodes, or the mean
    statistic: Literal["median", "mean"]


SHEETS = {
    "arm": Sheet(
        nominal="arm/grip@1",
        columns={
            "model": ("model",),
            "model, touch masked": ("model without *",),
            "reactive (scripted)": ("reactive",),
            "best fixed force": ("fixed_*",),
            "oracle": ("oracle",),
        },
        detailed=("model", "reactive (scripted)"),
        detail=(
            "hold_force_ratio",
            "peak_force_ratio",
            "squeeze_mean_n",
            "squeeze_p95_n",
            "squeeze_max_n",
            "reaction_s",
        ),
        statistic="median",
    ),
    "vehicle": Sheet(
        nominal="vehicle/intersection@1",
        columns={
            "model": ("model",),
            "model without guard": ("model without guard",),
            "model with way round": ("model with way round",),
            "lidar gap (same sensors)": ("lidar_gap",),
            "lidar gap, with way round": ("lidar_gap with way round",),
            "lidar idm (same sensors)": ("lidar_idm",),
            "gap (true state of whom the LiDAR sees)": ("gap",),
            "oracle (true state of all, may leave its lane)": ("oracle",),
        },
        detailed=("model", "model without guard", "lidar gap (same sensors)", "lidar idm (same sensors)"),
        detail=(
            "at_fault",
            "not_at_fault",
            "ran_red",
            "ran_stop",
            "off_road",
            "timed_out",
            "pdm_score",
            "ttc_within_bound",
            "comfort",
            "route_completion",
            "driving_score",
            "time_s",
        ),
        statistic="mean",
    ),
}


def conditions_table(folder: Path, machine: str = "arm") -> str:
    """Return the tables of a machine's success, and of what else was measured, as Markdown.

    Raises:
        ConfigError: an unknown machine, a file there is not a result, or there is none of the machine's conditions.
    """
    if machine not in SHEETS:
        raise ConfigError(f"no table of conditions for {machine!r}{nearest(machine, SHEETS)}")
    sheet = SHEETS[machine]
    held_out = sorted(name for name in HELD_OUT_TASKS if name.startswith(f"{machine}/"))
    results = [r for r in read_results(folder) if r.task in held_out or r.task == sheet.nominal]
    if not results:
        raise ConfigError(f"{folder}: got no result of {sheet.nominal} or its conditions; measure with 'genba bench'")
    picked = {
        (task, name): _pick(results, task, names)
        for task in (sheet.nominal, *held_out)
        for name, names in sheet.columns.items()
    }
    rows = [task for task in (sheet.nominal, *held_out) if any(r.task == task for r in results)]
    columns = [name for name in sheet.columns if any(picked[task, name] for task in rows)]
    lines = [_row(["task", *columns]), _row(["---"] + ["---:"] * len(columns))]
    lines += [_row([f"`{task}`", *(_success(picked[task, name]) for name in columns)]) for task in rows]
    means = []
    for name in columns:
        found = [result for task in held_out if (result := picked[task, name])]
        whole = len(found) == len(held_out)
        means.append(f"**{np.mean([r.success.mean for r in found]) * 100:.1f} %**" if whole else "–")
    lines.append(_row([f"**mean of {len(held_out)} conditions**", *means]))
    lines += ["", _row(["policy", "task", *(f"{name} ({sheet.statistic})" for name in sheet.detail)])]
    lines.append(_row(["---", "---"] + ["---:"] * len(sheet.detail)))
    for name in sheet.detailed:
        for task in rows:
            if result := picked[task, name]:
                numbers = (_statistic(result, metric, sheet.statistic) for metric in sheet.detail)
                lines.append(_row([result.policy.replace("_", " "), f"`{task}`", *numbers]))
    commits = sorted({result.commit[:12] for result in results if result.commit})
    return "\n".join([*lines, "", f"Measured at commit {', '.join(commits)}."])


def _pick(results: Sequence[Result], task: str, names: Sequence[str]) -> Result | None:
    def named(policy: str) -> bool:
        return any(policy == name or (name.endswith("*") and policy.startswith(name[:-1])) for name in names)

    found = [result for result in results if result.task == task and named(result.policy)]
    return max(found, key=lambda result: result.success.mean, default=None)


def _success(result: Result | None) -> str:
    if result is None:
        return "–"
    which = f" ({result.policy.replace('_', ' ')})" if result.policy.startswith("fixed_") else ""
    success = result.success
    return f"{success.mean * 100:.0f} % [{success.low * 100:.0f}, {success.high * 100:.0f}], n = {len(result.seeds)}{which}"


def _statistic(result: Result, metric: str, statistic: Literal["median", "mean"]) -> str:
    if not all(metric in outcome for outcome in result.outcomes):  # measured before there was such a metric
        return "–"
    values = result.values(metric)
    known = values[np.isfinite(values)]
    return f"{np.median(known) if statistic == 'median' else known.mean():.3g}" if len(known) else "–"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
