"""Says whether a plan may go into force on a floor: every rule of the plant, checked in plain arithmetic of its own.

It shares nothing with the decoder, the search or the push-back: what says no does not trust what proposes. The
controller asks before it writes, and the floor asks again before it accepts.
"""

from __future__ import annotations

from genba.floor.protocol import NewPlan
from genba.floor.state import FloorState

#: An order that starts within this time of the decision may not be moved, seconds.
FROZEN_S = 1800
#: A plan whose starts lie this far before the floor's clock was thought about for too long, seconds.
LATE_S = 900


def objections(state: FloorState, plan: NewPlan, *, limit: int = 5) -> list[str]:
    """Return what is wrong with ``plan`` on this floor, each as one sentence; empty where it may go into force.

    Args:
        state: the floor now.
        plan: all free orders, each with line and start.
        limit: how many objections to list at most.
    """
    found = _who(state, plan)
    if not found:
        where = dict(zip(plan.orders, zip(plan.lines, plan.starts_s)))
        line = [int(m) for m in state.schedule.line]
        start_s = [int(s) for s in state.schedule.start_s]
        for i, order in enumerate(state.order_ids):
            if order in where:
                name, start_s[i] = where[order]
                line[i] = state.line_names.index(name)
        found = _lines(state, plan, line, start_s) or _material(state, plan, start_s)
    return found[:limit]


def _who(state: FloorState, plan: NewPlan) -> list[str]:
    """Every free order once, no other, on lines that are there and can make it."""
    if not plan.decided_at_s <= state.now_s <= plan.decided_at_s + LATE_S:
        return [f"made for {plan.decided_at_s} s, and it is {state.now_s} s; expected at most {LATE_S} s between them"]
    frozen = {
        order
        for order, start in zip(state.order_ids, state.schedule.start_s)
        if int(start) < plan.decided_at_s + FROZEN_S
    }
    found, seen = [], set()
    rows = {order: i for i, order in enumerate(state.order_ids)}
    for order, name in zip(plan.orders, plan.lines):
        if order not in rows:
            found.append(f"{order}: no such order on this floor")
        elif order in seen:
            found.append(f"{order}: planned twice")
        elif order in frozen:
            found.append(f"{order}: has started or starts within {FROZEN_S} s, and may not be moved")
        elif name not in state.line_names:
            found.append(f"{order}: no line {name!r} on this floor")
        elif int(state.problem.processing_time_s[rows[order]][state.line_names.index(name)]) <= 0:
            found.append(f"{order}: {name} cannot make it")
        seen.add(order)
    found += [f"{order}: not in the plan" for order in state.order_ids if order not in frozen and order not in seen]
    return found


def _lines(state: FloorState, plan: NewPlan, line: list[int], start_s: list[int]) -> list[str]:
    """One order at a time on a line, set-ups between families, nothing new in the past or while a line stands still."""
    found, planned = [], set(plan.orders)
    times_s, setup_s = state.problem.processing_time_s.tolist(), state.problem.setup_s.tolist()
    family = state.problem.family.tolist()
    for m, name in enumerate(state.line_names):
        free_s, before = 0, int(state.problem.line_family[m])
        for i in sorted((i for i in range(len(line)) if line[i] == m), key=lambda i: start_s[i]):
            earliest_s = free_s
            if state.order_ids[i] in planned:
                earliest_s = max(free_s, plan.decided_at_s, int(state.down_until_s[m]))
            earliest_s += setup_s[before][family[i]]
            if start_s[i] < earliest_s:
                found.append(
                    f"{state.order_ids[i]}: starts at {start_s[i]} s on {name}, which is ready for it at {earliest_s} s"
                )
            free_s, before = start_s[i] + times_s[i][m], family[i]
    return found


def _material(state: FloorState, plan: NewPlan, start_s: list[int]) -> list[str]:
    """At no time from now on have more units been taken of a component than have come."""
    found, problem = [], state.problem
    needs = problem.requirement.tolist()
    for k, name in enumerate(state.component_names):
        moves = [(max(int(t), 0), 0, int(q)) for t, q in zip(problem.late_time_s[k], problem.delivery_quantity[k]) if q]
        moves += [(start_s[i], 1, -needs[i][k]) for i in range(len(start_s)) if needs[i][k]]
        units = int(problem.stock[k])
        for time_s, _, quantity in sorted(moves):
            units += quantity
            # what is held or cut now was there before: only what is still to come can be wrong
            if units < 0 and time_s > plan.decided_at_s and quantity < 0:
                found.append(f"{name}: {-units} units missing at {time_s} s")
                break
    return found
