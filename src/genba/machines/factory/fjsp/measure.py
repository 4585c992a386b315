"""The table of a flexible job shop benchmark: rules, searches, solver and model beside the best known, every schedule verified."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from genba.errors import ConfigError, FormatError
from genba.machines.factory.fjsp.decoder import RULES, Plan, as_decision, best_rule, decode, run_rule, sample_decode
from genba.machines.factory.fjsp.exact import solve
from genba.machines.factory.fjsp.instance import JobShop, Situation, begin, read_job_shop
from genba.machines.factory.fjsp.local_search import LocalSearch
from genba.machines.factory.fjsp.verifier import verify

#: What gives scores for a situation: ``sequence`` ``[left]`` and ``machine`` ``[left, machines]``, as the task's two choices.
Propose = Callable[[Situation], tuple[np.ndarray, np.ndarray]]

#: Decodings of one pass of a model, the first as it is.
NUM_SAMPLES = 100

#: First temperature of a search from a model's schedule, in mean processing times.
WARM = 0.08


def ways(limits_s: Sequence[float], propose: Propose | None = None) -> dict[str, Callable[[JobShop], Plan]]:
    """Return every way to schedule an instance, by the name of its column.

    Args:
        limits_s: CPU seconds of searches, and of each of the solver's two workers. What a model needs is part of it.
        propose: a model's scores; None for none.
    """
    found: dict[str, Callable[[JobShop], Plan]] = {rule: partial(_ruled, rule=rule) for rule in RULES}
    found["best of 4"] = lambda shop: best_rule(begin(shop))
    found[f"best of 4, varied {NUM_SAMPLES} times"] = _varied
    for limit_s in limits_s:
        found[f"local search {limit_s:g} s"] = partial(_search, limit_s=limit_s)
    for limit_s in limits_s:
        found[f"CP-SAT {limit_s:g} s"] = partial(solve, limit_s=limit_s)
    if propose is not None:
        found["model"] = lambda shop: decode(begin(shop), *propose(begin(shop)))
        found[f"model, best of {NUM_SAMPLES}"] = partial(_sampled, propose=propose)
        for limit_s in limits_s:
            found[f"model, local search {limit_s:g} s"] = partial(_search, limit_s=limit_s, propose=propose)
        for limit_s in limits_s:
            found[f"model, CP-SAT {limit_s:g} s"] = partial(_hinted, limit_s=limit_s, propose=propose)
    return found


def measure(
    paths: Sequence[Path], best_known: Path | None, compared: Mapping[str, Callable[[JobShop], Plan]]
) -> list[dict[str, Any]]:
    """Return one row per file: ``instance``, ``best_known`` (None where not known), ``makespan`` and ``cpu_s`` by who made it.

    Args:
        paths: files of instances.
        best_known: a JSON list of tables with ``instance`` and ``upper_bound``; None for none.
        compared: of ``ways``.

    Raises:
        ConfigError: no files.
        FormatError: a file that cannot be read.
        SpecError: a model has no room for an instance.
        VerificationError: a schedule that breaks a rule.
    """
    if not paths:
        raise ConfigError("got no files, expected flexible job shops in the classic text format")
    bounds = _bounds(best_known)
    rows = []
    for path in paths:
        shop = read_job_shop(path)
        makespan, cpu_s = {}, {}
        for name, make in compared.items():
            began_s = time.process_time()
            start, machine, _ = make(shop)
            cpu_s[name] = round(time.process_time() - began_s, 6)
            makespan[name] = verify(shop, start.tolist(), machine.tolist())
        rows.append({"instance": shop.name, "best_known": bounds.get(shop.name), "makespan": makespan, "cpu_s": cpu_s})
    return rows


def mean_gaps(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the mean of (makespan / best known - 1) in per cent by who made it, over instances with a best known."""
    known = [row for row in rows if row["best_known"]]
    return {
        name: 100 * sum(row["makespan"][name] / row["best_known"] - 1 for row in known) / max(len(known), 1)
        for name in rows[0]["makespan"]
    }


def _ruled(shop: JobShop, *, rule: str) -> Plan:
    return run_rule(begin(shop), rule)


def _varied(shop: JobShop) -> Plan:
    """Decode the best rule's order as a model's scores are, as often: what sampling alone is worth."""
    situation = begin(shop)
    plan = best_rule(situation)
    sequence, _ = as_decision(situation, plan[0], plan[1])
    tried = sample_decode(situation, sequence, np.zeros(shop.time.shape), num_samples=NUM_SAMPLES, seed=0)
    return min(plan, tried, key=lambda found: found[2])


def _sampled(shop: JobShop, *, propose: Propose) -> Plan:
    situation = begin(shop)
    return sample_decode(situation, *propose(situation), num_samples=NUM_SAMPLES, seed=0)


def _search(shop: JobShop, *, limit_s: float, propose: Propose | None = None) -> Plan:
    """Search from the best rule, or, cooler, from the best of a model's samples."""
    began_s = time.thread_time()
    plan = best_rule(begin(shop)) if propose is None else _sampled(shop, propose=propose)
    search = LocalSearch(begin(shop), plan)
    left_s = limit_s - (time.thread_time() - began_s)
    if propose is None:
        search.run_for(left_s)
    else:
        search.run_for(left_s, hot=WARM)
    return search.plan


def _hinted(shop: JobShop, *, limit_s: float, propose: Propose) -> Plan:
    """Let CP-SAT begin at the best of a model's samples."""
    began_s = time.process_time()
    plan = _sampled(shop, propose=propose)
    return solve(shop, limit_s=limit_s - (time.process_time() - began_s), hint=plan)


def _bounds(path: Path | None) -> dict[str, int]:
    if path is None:
        return {}
    try:
        return {row["instance"]: int(row["upper_bound"]) for row in json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise FormatError(path, f"expected a JSON list of tables with instance and upper_bound: {error}") from error
