"""Exact planning of small instances: CP-SAT on the whole problem, started from a plan that is given.

Lines are circuits whose arcs carry set-ups; material is a cumulative resource in which a consumer occupies its units from
its start to the end of time and a delivery blocks its units until it comes (a reservoir constraint, the obvious model, was
measured at a tenth of that speed at 25 consumers and found nothing at 200). One worker and deterministic time
repeat by seed. Beyond ``MAX_FREE_ORDERS`` it has no solution in any useful time and gives back the plan that it was given.
"""

from __future__ import annotations

import numpy as np
from ortools.sat.python import cp_model

from genba.errors import ConfigError
from genba.machines.factory.decoder import run_plan
from genba.machines.factory.problem import Situation
from genba.machines.factory.search import by_start

#: With more free orders than this it found nothing in any useful time, however it was started.
MAX_FREE_ORDERS = 50


def solve(
    situation: Situation,
    plan: tuple[np.ndarray, np.ndarray, int],
    *,
    deterministic_limit: float = float("inf"),
    limit_s: float = float("inf"),
    num_workers: int = 1,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Minimise the weighted tardiness of the free orders.

    Args:
        situation: what is open.
        plan: ``start_s``, ``line`` and cost of a plan to begin with.
        deterministic_limit: deterministic time of the solver, roughly CPU seconds; the same on every computer.
        limit_s: wall time of the solver in seconds.
        num_workers: its threads; with more than one a seed does not repeat.
        seed: of the solver.

    Returns:
        ``start_s``, ``line`` int64 ``[free]`` and the weighted tardiness in seconds, never worse than those of ``plan``.

    Raises:
        ConfigError: neither limit is given.
    """
    if not min(deterministic_limit, limit_s) < float("inf"):
        raise ConfigError("cp_sat: got neither deterministic_limit nor limit_s, expected one: it may never end")
    n = len(situation.orders)
    hint_s, hint_line, hint_cost = plan
    if not 0 < n <= MAX_FREE_ORDERS or hint_cost == 0:
        return plan
    last_s = int((hint_s + situation.processing_time_s[np.arange(n), hint_line]).max()) + situation.problem.horizon_s
    model = cp_model.CpModel()
    start = [model.new_int_var(situation.now_s, last_s, f"start_{i}") for i in range(n)]
    end = [model.new_int_var(situation.now_s, last_s, f"end_{i}") for i in range(n)]
    on = {
        (i, int(m)): model.new_bool_var(f"order_{i}_on_{m}")
        for i in range(n)
        for m in np.flatnonzero(situation.processing_time_s[i])
    }
    for i in range(n):
        model.add_exactly_one(literal for (j, _), literal in on.items() if j == i)
        model.add_hint(start[i], int(hint_s[i]))
    for (i, m), literal in on.items():
        model.add(end[i] == start[i] + int(situation.processing_time_s[i, m])).only_enforce_if(literal)
        model.add_hint(literal, int(hint_line[i] == m))
    for m in range(len(situation.line_free_s)):
        _add_line(model, situation, m, start, end, on)
    for k in range(len(situation.claimed)):
        _add_component(model, situation, k, start, last_s)
    late = [model.new_int_var(0, last_s, f"late_{i}") for i in range(n)]
    for i in range(n):
        model.add(late[i] >= end[i] - int(situation.due_s[i]))
    model.minimize(sum(int(situation.weight[i]) * late[i] for i in range(n)))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = num_workers
    solver.parameters.random_seed = seed
    solver.parameters.max_deterministic_time = deterministic_limit
    solver.parameters.max_time_in_seconds = limit_s
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE) or solver.objective_value >= hint_cost:
        return hint_s, hint_line, hint_cost
    chosen = np.array([next(m for (j, m), lit in on.items() if j == i and solver.value(lit)) for i in range(n)])
    found_s, cost = run_plan(situation, by_start(np.array([solver.value(s) for s in start])), chosen)
    return found_s, chosen, cost


def _add_line(model, situation: Situation, m: int, start: list, end: list, on: dict) -> None:  # type: ignore[no-untyped-def]
    """One circuit through the orders on line ``m``; node 0 is the line before its first and after its last order."""
    rows = [i for (i, q) in on if q == m]
    setup_s, free_s = situation.problem.setup_s, int(situation.line_free_s[m])
    arcs = [(0, 0, model.new_bool_var(f"empty_{m}"))]
    for a, i in enumerate(rows, 1):
        arcs.append((a, a, on[i, m].negated()))
        first, last = model.new_bool_var(f"first_{i}_{m}"), model.new_bool_var(f"last_{i}_{m}")
        arcs += [(0, a, first), (a, 0, last)]
        begin_s = free_s + int(setup_s[situation.line_family[m], situation.family[i]])
        model.add(start[i] >= begin_s).only_enforce_if(first)
        for b, j in enumerate(rows, 1):
            if i != j:
                after = model.new_bool_var(f"{i}_before_{j}_on_{m}")
                arcs.append((a, b, after))
                gap_s = int(setup_s[situation.family[i], situation.family[j]])
                model.add(start[j] >= end[i] + gap_s).only_enforce_if(after)
    if len(arcs) > 1:
        model.add_circuit(arcs)


def _add_component(model, situation: Situation, k: int, start: list, last_s: int) -> None:  # type: ignore[no-untyped-def]
    """Cumulative use of component ``k``: consumers hold units for ever, deliveries hold theirs until they come."""
    times_s = situation.supply_time_s[k]
    # Committed orders claim first; what they claim of a delivery still to come is never there for a free order.
    totals = np.maximum(situation.supply_total[k] - situation.claimed[k], 0)
    intervals, demands = [], []
    for i in range(len(start)):
        needs = situation.part_quantity[i][situation.part[i] == k]
        if len(needs):
            length = model.new_int_var(0, last_s + 1, f"hold_{i}_{k}")
            intervals.append(model.new_interval_var(start[i], length, last_s + 1, f"use_{i}_{k}"))
            demands.append(int(needs[0]))
    for d in range(1, len(times_s)):
        quantity = int(totals[d] - totals[d - 1])
        if quantity and times_s[d] > 0:
            length_s = min(int(times_s[d]), last_s + 1)
            intervals.append(model.new_fixed_size_interval_var(0, length_s, f"coming_{k}_{d}"))
            demands.append(quantity)
    if demands:
        model.add_cumulative(intervals, demands, int(totals[-1]))
