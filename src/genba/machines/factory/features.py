"""What the planning system shows a policy: the channels of ``embodiment.toml`` computed from a situation.

Everything here is known at the moment of the decision. Two plans are shown beside the facts: the one that stands (pushed
back by the shortage) and the planning system's own proposal, the best of twenty dispatching rules; a policy may follow
or overrule them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genba.machines.factory.decoder import claims_ready_s
from genba.machines.factory.problem import Problem, Schedule, Situation
from genba.machines.factory.search import best_of_atc

#: Deliveries shown per component.
NUM_ARRIVALS = 4

#: Columns of the relations beyond the instance's own lines and components are NaN.
MAX_LINES, MAX_COMPONENTS = 32, 8


def channels(situation: Situation, schedule: Schedule, *, event_known: bool = True) -> dict[str, np.ndarray]:
    """Return every entity channel's and relation's rows, float32, by name."""
    eligible, needs = situation.processing_time_s > 0, _needs(situation)
    setup_s = situation.problem.setup_s[situation.line_family[None, :], situation.family[:, None]]
    free = situation.orders
    planned_s, planned_line = schedule.start_s[free], schedule.line[free]
    proposed_s, proposed_line, _ = best_of_atc(situation) if len(free) else (planned_s, planned_line, 0)
    here = np.arange(situation.processing_time_s.shape[1])[None] == proposed_line[:, None]
    after_s = proposed_s[:, None] - situation.line_free_s[None]
    return {
        "orders": _orders(situation, ((planned_s, planned_line), (proposed_s, proposed_line))),
        "lines": _lines(situation),
        "components": _components(situation, event_known),
        "processing_time": _pad(_or_nan(situation.processing_time_s, eligible), MAX_LINES),
        "setup": _pad(_or_nan(setup_s, eligible), MAX_LINES),
        "proposal": _pad(_or_nan(after_s, here), MAX_LINES),
        "requirement": _pad(_or_nan(needs, needs > 0), MAX_COMPONENTS),
    }


def _orders(situation: Situation, plans: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    problem, rows = situation.problem, np.arange(len(situation.orders))
    eligible = situation.processing_time_s > 0
    shortest_s = np.where(eligible, situation.processing_time_s, np.iinfo(np.int64).max).min(1, initial=2**62)
    mean_s = situation.processing_time_s.sum(1) / np.maximum(eligible.sum(1), 1)
    due_in_s = situation.due_s - situation.now_s
    by_due = np.argsort(situation.due_s, kind="stable")
    material_by_due_s = _material_in_s(situation, by_due, together=True)
    columns = [
        situation.family,
        shortest_s,
        mean_s,
        situation.weight,
        due_in_s,
        due_in_s - shortest_s,
        _material_in_s(situation, rows, together=False),
        material_by_due_s,
        eligible.sum(1),
        (_needs(situation) * _is_late(problem, situation.now_s)[None]).sum(1),
    ]
    for start_s, line in plans:
        end_s = start_s + situation.processing_time_s[rows, line]
        columns += [start_s - situation.now_s, end_s - situation.due_s, _share(start_s)]
    work_s = np.empty(len(rows))
    work_s[by_due] = np.cumsum(mean_s[by_due])
    load = work_s / (len(situation.line_free_s) * np.maximum(due_in_s, mean_s))
    columns += [_share(situation.due_s), _share(material_by_due_s), np.minimum(load, 100.0)]
    return np.stack(columns, 1).astype(np.float32)


def _material_in_s(situation: Situation, order: np.ndarray, *, together: bool) -> np.ndarray:
    """When each row's components are there: claimed one after the other in ``order``, or each as if it came first."""
    ready_s = claims_ready_s(
        order, together, situation.part, situation.part_quantity, situation.claimed, situation.supply_time_s,
        situation.supply_total,
    )  # fmt: skip
    return np.maximum(ready_s - situation.now_s, 0)


def _lines(situation: Situation) -> np.ndarray:
    times_s = situation.processing_time_s
    eligible = times_s > 0
    mean_s = times_s.sum(1) / np.maximum(eligible.sum(1), 1)
    speed = np.where(eligible, mean_s[:, None] / np.maximum(times_s, 1), 0).sum(0) / np.maximum(eligible.sum(0), 1)
    free_in_s = situation.line_free_s - situation.now_s
    return np.stack([free_in_s, situation.line_family, speed, eligible.sum(0)], 1).astype(np.float32)


def _components(situation: Situation, event_known: bool) -> np.ndarray:
    problem, is_late = situation.problem, _is_late(situation.problem, situation.now_s)
    rows = []
    for k in range(problem.num_components):
        times_s, totals = situation.supply_time_s[k], situation.supply_total[k]
        here = int(totals[times_s <= situation.now_s][-1] - situation.claimed[k])
        coming = np.flatnonzero(times_s > situation.now_s)[:NUM_ARRIVALS]
        arrival_in_s, quantity = np.full(NUM_ARRIVALS, np.nan), np.zeros(NUM_ARRIVALS)
        arrival_in_s[: len(coming)] = times_s[coming] - situation.now_s
        quantity[: len(coming)] = totals[coming] - totals[coming - 1]
        late = float(event_known and is_late[k])
        rows.append([here, _needs(situation)[:, k].sum(), *arrival_in_s, *quantity, late])
    return np.array(rows, np.float32)


def _is_late(problem: Problem, now_s: int) -> np.ndarray:
    """Say of which components something that was planned is still to come late, smaller or out of quarantine."""
    changed = (problem.late_time_s > problem.delivery_time_s) | (problem.late_quantity != problem.delivery_quantity)
    found = (changed & (problem.late_time_s > now_s)).any(1)
    for component, _, until_s, units in problem.holds:
        found[component] |= units > 0 and until_s > now_s
    return found


def _needs(situation: Situation) -> np.ndarray:
    return situation.problem.requirement[situation.orders]


def _share(start_s: np.ndarray) -> np.ndarray:
    """Place in the order of starts, 0 (first) to 1."""
    rank = np.empty(len(start_s))
    rank[np.argsort(start_s, kind="stable")] = np.arange(len(start_s))
    return rank / max(len(start_s) - 1, 1)


def _or_nan(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    return np.where(known, values, np.nan).astype(np.float32)


def _pad(values: np.ndarray, width: int) -> np.ndarray:
    out = np.full((len(values), width), np.nan, np.float32)
    out[:, : values.shape[1]] = values
    return out
