"""The table of a flexible job shop benchmark: rules and solver beside the best known, every schedule verified."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genba.errors import ConfigError, FormatError
from genba.machines.factory.fjsp.decoder import RULES, run_rule
from genba.machines.factory.fjsp.exact import solve
from genba.machines.factory.fjsp.instance import read_job_shop
from genba.machines.factory.fjsp.verifier import verify


def measure(paths: Sequence[Path], best_known: Path | None, limits_s: Sequence[float]) -> list[dict[str, Any]]:
    """Return one row per file: ``instance``, ``best_known`` (None where not known) and ``makespan`` by who made it.

    Args:
        paths: files of instances.
        best_known: a JSON list of tables with ``instance`` and ``upper_bound``; None for none.
        limits_s: times of the solver, by the clock on the wall, one column each.

    Raises:
        ConfigError: no files.
        FormatError: a file that cannot be read.
        VerificationError: a schedule that breaks a rule.
    """
    if not paths:
        raise ConfigError("got no files, expected flexible job shops in the classic text format")
    bounds = _bounds(best_known)
    rows = []
    for path in paths:
        shop = read_job_shop(path)
        made = {rule: run_rule(shop, rule) for rule in RULES}
        made["best of 4"] = min(made.values(), key=lambda found: found[2])
        for limit_s in limits_s:
            made[f"CP-SAT {limit_s:g} s"] = solve(shop, limit_s=limit_s)
        makespan = {name: verify(shop, start.tolist(), machine.tolist()) for name, (start, machine, _) in made.items()}
        rows.append({"instance": shop.name, "best_known": bounds.get(shop.name), "makespan": makespan})
    return rows


def mean_gaps(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the mean of (makespan / best known - 1) in per cent by who made it, over instances with a best known."""
    known = [row for row in rows if row["best_known"]]
    return {
        name: 100 * sum(row["makespan"][name] / row["best_known"] - 1 for row in known) / max(len(known), 1)
        for name in rows[0]["makespan"]
    }


def _bounds(path: Path | None) -> dict[str, int]:
    if path is None:
        return {}
    try:
        return {row["instance"]: int(row["upper_bound"]) for row in json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise FormatError(path, f"expected a JSON list of tables with instance and upper_bound: {error}") from error
