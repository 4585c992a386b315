"""Draws events that can happen on a floor now, for demonstrations and measurements; seeded."""

from __future__ import annotations

import numpy as np

from genba.floor.events import Change, DeliveryChanged, LineDown, LineTime, Need, OrderAdded, OrderRushed, UnitsHeld
from genba.floor.state import FloorState

HOUR_S = 3600


def draw_change(rng: np.random.Generator, state: FloorState) -> Change:
    """Draw a change that the floor in ``state`` can go through: a kind at random, then its facts.

    Kinds that are not possible now (no delivery to come, nothing in stock, no units to spare) are passed over; a line can
    always stop.
    """
    makers = [_delivery_late, _delivery_cut, _held, _added, _rushed, _line_down]
    drawn = (makers[i](rng, state) for i in rng.permutation(len(makers)))
    return next(change for change in drawn if change is not None)


def _delivery_late(rng: np.random.Generator, state: FloorState) -> Change | None:
    coming = _coming(state)
    if not len(coming):
        return None
    k, d = (int(v) for v in coming[rng.integers(len(coming))])
    slip_s = int(rng.uniform(2, 12)) * HOUR_S
    return DeliveryChanged(
        component=state.component_names[k], delivery=d, time_s=int(state.problem.late_time_s[k, d]) + slip_s
    )


def _delivery_cut(rng: np.random.Generator, state: FloorState) -> Change | None:
    coming = _coming(state)
    if not len(coming):
        return None
    k, d = (int(v) for v in coming[rng.integers(len(coming))])
    time_s, quantity = int(state.problem.late_time_s[k, d]), int(state.problem.delivery_quantity[k, d])
    return DeliveryChanged(
        component=state.component_names[k],
        delivery=d,
        time_s=time_s,
        quantity=quantity // 2,
        rest_time_s=time_s + int(rng.uniform(4, 16)) * HOUR_S,
    )


def _held(rng: np.random.Generator, state: FloorState) -> Change | None:
    problem = state.problem
    started = state.schedule.start_s <= state.now_s
    arrived = (problem.delivery_quantity * (problem.late_time_s <= state.now_s)).sum(1)
    here = problem.stock + arrived - problem.requirement[started].sum(0)
    if not (here > 1).any():
        return None
    k = int(rng.choice(np.flatnonzero(here > 1)))
    return UnitsHeld(
        component=state.component_names[k],
        quantity=int(here[k]) // 2,
        until_s=state.now_s + int(rng.uniform(2, 12)) * HOUR_S,
    )


def _added(rng: np.random.Generator, state: FloorState) -> Change | None:
    problem = state.problem
    spare = problem.stock + problem.delivery_quantity.sum(1) - problem.requirement.sum(0)
    if not (spare > 0).any():
        return None
    k = int(rng.choice(np.flatnonzero(spare > 0)))
    like = int(rng.integers(problem.num_orders))
    lines = np.flatnonzero(problem.processing_time_s[like])
    return OrderAdded(
        order=f"rush-{state.newest_event + 1:04d}",
        family=int(problem.family[like]),
        weight=8,
        due_s=state.now_s + int(rng.uniform(4, 12)) * HOUR_S,
        lines=tuple(
            LineTime(line=state.line_names[m], processing_time_s=int(problem.processing_time_s[like, m])) for m in lines
        ),
        needs=(Need(component=state.component_names[k], quantity=1),),
    )


def _rushed(rng: np.random.Generator, state: FloorState) -> Change | None:
    free = state.situation().orders
    if not len(free):
        return None
    i = int(rng.choice(free))
    return OrderRushed(order=state.order_ids[i], due_s=state.now_s + int(rng.uniform(4, 12)) * HOUR_S, weight=8)


def _line_down(rng: np.random.Generator, state: FloorState) -> Change | None:
    m = int(rng.integers(state.problem.num_lines))
    return LineDown(line=state.line_names[m], until_s=state.now_s + int(rng.uniform(1, 6)) * HOUR_S)


def _coming(state: FloorState) -> np.ndarray:
    """Deliveries that are still to come, ``[some, 2]``: component and delivery."""
    problem = state.problem
    return np.argwhere((problem.late_time_s > state.now_s) & (problem.delivery_quantity > 1))
