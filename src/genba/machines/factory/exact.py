"""The exact teacher for small instances: CP-SAT on the whole problem, started from the search's plan.

Lines are circuits whose arcs carry set-ups; material is a cumulative resource in which a consumer occupies its units from
its start to the end of time and a delivery blocks its units until it comes (a reservoir constraint, the obvious model, was
measured at a tenth of that speed at 25 consumers and found nothing at 200). One worker and deterministic time, so
that a seed repeats. Beyond ``MAX_FREE_ORDERS`` it has no solution in any useful time and refuses.
"""

from __future__ import annotations

import numpy as np
from ortools.sat.python import cp_model

from genba.errors import SimulatorError
from genba.machines.factory.baselines import answer
from genba.machines.factory.decoder import run_plan
from genba.machines.factory.problem import Situation
from genba.machines.factory.search import anneal, best_of_atc, by_start
from genba.machines.factory.simulator import FactoryEnv
from genba.spec.action import ActionChunk
from genba.spec.observation import Observation

#: More free orders than this are refused.
MAX_FREE_ORDERS = 50


class ExactExpert:
    """CP-SAT for ``FactoryEnv("5x50")``."""

    name = "cp_sat"

    def __init__(self, env: FactoryEnv, *, limit: float = 10.0) -> None:
        """Make a teacher.

        Args:
            env: the plant it looks into.
            limit: deterministic time of CP-SAT per decision, roughly CPU seconds.
        """
        self._env, self._limit, self._seed = env, limit, 0

    def reset(self, seed: int) -> None:
        """Seed the solver."""
        self._seed = seed % 2**31

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with the best plan found for the orders that are free now.

        Raises:
            SimulatorError: more free orders than it can handle.
        """
        start_s, line, _ = solve(self._env.situation(), limit=self._limit, seed=self._seed)
        return answer(self._env, observation, start_s, line)


def solve(situation: Situation, *, limit: float, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Minimise the weighted tardiness of the free orders.

    Args:
        situation: what is open.
        limit: deterministic time, roughly CPU seconds.
        seed: of the solver and of the search that gives its first plan.

    Returns:
        ``start_s``, ``line`` int64 ``[free]`` and the weighted tardiness in seconds, never worse than the first plan's.

    Raises:
        SimulatorError: more free orders than ``MAX_FREE_ORDERS``.
    """
    n = len(situation.orders)
    if n > MAX_FREE_ORDERS:
        raise SimulatorError(
            f"cp_sat: got {n} free orders, expected at most {MAX_FREE_ORDERS}; use the policy 'expert' instead"
        )
    hint_s, hint_line, _ = best_of_atc(situation)
    sequence, hint_line, _ = anneal(situation, by_start(hint_s), hint_line, num_moves=100_000, seed=seed)
    hint_s, hint_cost = run_plan(situation, sequence, hint_line)
    if n == 0 or hint_cost == 0:
        return hint_s, hint_line, hint_cost
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
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.max_deterministic_time = limit
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
