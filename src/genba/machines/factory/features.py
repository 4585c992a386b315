"""What the planning system shows a policy: the channels of ``embodiment.toml`` computed from a situation.

Everything here is known at the moment of the decision. Two plans are shown beside the facts: the one that stands (pushed
back by the shortage) and the planning system's own proposal, the best of twenty dispatching rules; a policy may follow
or overrule them.
"""

from __future__ import annotations

import numpy as np

from genba.machines.factory.decoder import material_ready_s
from genba.machines.factory.problem import Schedule, Situation
from genba.machines.factory.search import best_of_atc

#: Deliveries shown per component.
NUM_ARRIVALS = 4

#: Columns of the relations beyond the instance's own lines and components are NaN.
MAX_LINES, MAX_COMPONENTS = 10, 6


def channels(situation: Situation, schedule: Schedule, *, event_known: bool = True) -> dict[str, np.ndarray]:
    """Return every entity channel's and relation's rows, float32, by name."""
    return {
        "orders": _orders(situation, schedule),
        "lines": _lines(situation),
        "components": _components(situation, event_known),
        "processing_time": _pad(_or_nan(situation.processing_time_s, situation.processing_time_s > 0), MAX_LINES),
        "setup": _pad(
            _or_nan(
                situation.problem.setup_s[situation.line_family[None, :], situation.family[:, None]],
                situation.processing_time_s > 0,
            ),
            MAX_LINES,
        ),
        "requirement": _pad(_or_nan(_needs(situation), _needs(situation) > 0), MAX_COMPONENTS),
    }


def _orders(situation: Situation, schedule: Schedule) -> np.ndarray:
    problem, rows = situation.problem, np.arange(len(situation.orders))
    eligible = situation.processing_time_s > 0
    shortest_s = np.where(eligible, situation.processing_time_s, np.iinfo(np.int64).max).min(1, initial=2**62)
    mean_s = situation.processing_time_s.sum(1) / np.maximum(eligible.sum(1), 1)
    due_in_s = situation.due_s - situation.now_s
    late_component = (problem.late_time_s > problem.delivery_time_s) & (problem.late_time_s > situation.now_s)
    planned_s, planned_line = schedule.start_s[situation.orders], schedule.line[situation.orders]
    proposed_s, proposed_line, _ = best_of_atc(situation) if len(rows) else (planned_s, planned_line, 0)
    columns = [
        situation.family,
        shortest_s,
        mean_s,
        situation.weight,
        due_in_s,
        due_in_s - shortest_s,
        _material_in_s(situation, rows, together=False),
        _material_in_s(situation, np.argsort(situation.due_s, kind="stable"), together=True),
        eligible.sum(1),
        (_needs(situation) * np.any(late_component, axis=1)[None]).sum(1),
    ]
    for start_s, line in ((planned_s, planned_line), (proposed_s, proposed_line)):
        end_s = start_s + situation.processing_time_s[rows, line]
        columns += [start_s - situation.now_s, end_s - situation.due_s, _share(start_s)]
    return np.stack(columns, 1).astype(np.float32)


def _material_in_s(situation: Situation, order: np.ndarray, *, together: bool) -> np.ndarray:
    """When each row's components are there: claimed one after the other in ``order``, or each as if it came first."""
    claimed = situation.claimed.copy()
    out = np.zeros(len(order), np.int64)
    for i in order:
        ready_s = material_ready_s(
            i, situation.part, situation.part_quantity, claimed, situation.supply_time_s, situation.supply_total
        )
        out[i] = max(ready_s - situation.now_s, 0)
        if together:
            known = situation.part[i] >= 0
            claimed[situation.part[i][known]] += situation.part_quantity[i][known]
    return out


def _lines(situation: Situation) -> np.ndarray:
    times_s = situation.processing_time_s
    eligible = times_s > 0
    mean_s = times_s.sum(1) / np.maximum(eligible.sum(1), 1)
    speed = np.where(eligible, mean_s[:, None] / np.maximum(times_s, 1), 0).sum(0) / np.maximum(eligible.sum(0), 1)
    free_in_s = situation.line_free_s - situation.now_s
    return np.stack([free_in_s, situation.line_family, speed, eligible.sum(0)], 1).astype(np.float32)


def _components(situation: Situation, event_known: bool) -> np.ndarray:
    problem = situation.problem
    rows = []
    for k in range(problem.num_components):
        times_s, totals = situation.supply_time_s[k], situation.supply_total[k]
        here = int(totals[times_s <= situation.now_s][-1] - situation.claimed[k])
        coming = np.flatnonzero(times_s > situation.now_s)[:NUM_ARRIVALS]
        arrival_in_s, quantity = np.full(NUM_ARRIVALS, np.nan), np.zeros(NUM_ARRIVALS)
        arrival_in_s[: len(coming)] = times_s[coming] - situation.now_s
        quantity[: len(coming)] = totals[coming] - totals[coming - 1]
        slipped = (problem.late_time_s[k] > problem.delivery_time_s[k]) & (problem.late_time_s[k] > situation.now_s)
        late = float(event_known and slipped.any())
        rows.append([here, _needs(situation)[:, k].sum(), *arrival_in_s, *quantity, late])
    return np.array(rows, np.float32)


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
