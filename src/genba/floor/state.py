"""What a planner knows of a floor at one moment, and what an event makes of it: values and pure functions.

Floor and controller both hold a ``FloorState`` and apply the same events to it, so each can check the other. Between
events the plan in force stands; an event pushes it back (lines and order kept, everything as early as its material and
its line allow), so a plan is always in force and the controller can only make it better. A new order waits behind
everything else on its fastest line until somebody decides.

An order that has started, or starts within half an hour, stays where it is, unless the event itself makes that
impossible. Read next: ``admission``, which says what may be written to a floor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from genba.errors import SpecError, nearest
from genba.floor.events import DeliveryChanged, FloorEvent, LineDown, OrderAdded, OrderRushed, UnitsHeld
from genba.machines.factory.problem import (
    FREEZE_S,
    MAX_PARTS,
    Problem,
    Schedule,
    Situation,
    is_committed,
    merge,
    situation_at,
    with_delivery,
    with_order,
)
from genba.machines.factory.simulator import push_back


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FloorState:
    """A plant under a plan. Seconds on the plant's clock.

    Attributes:
        problem: lines, orders, stock, deliveries; ``late_time_s`` are the deliveries as announced now.
        order_ids, line_names, component_names: what the floor calls them, in the problem's order.
        schedule: the plan in force.
        down_until_s: int64 ``[lines]``, 0 where a line runs.
        now_s: the plant's clock.
        newest_event: number of the last event in here.
        version: of the plan in force, 0 for the one that the floor began with.
        decision_id: of the decision that made the plan in force, empty for version 0.
        answers: number of the last event that the plan in force was made for.
    """

    problem: Problem
    order_ids: tuple[str, ...]
    line_names: tuple[str, ...]
    component_names: tuple[str, ...]
    schedule: Schedule
    down_until_s: np.ndarray
    now_s: int
    newest_event: int = 0
    version: int = 0
    decision_id: str = ""
    answers: int = 0

    def situation(self) -> Situation:
        """Return what can still be decided now."""
        situation = situation_at(self.problem, self.schedule, self.now_s)
        return replace(situation, line_free_s=np.maximum(situation.line_free_s, self.down_until_s))

    def cost_s(self) -> int:
        """Return the weighted tardiness of the plan in force, in seconds."""
        return self.schedule.weighted_tardiness_s(self.problem)


def begin(problem: Problem, nominal: Schedule) -> FloorState:
    """Return a floor that runs ``nominal`` at the moment before ``problem``'s event, with deliveries as planned."""
    return FloorState(
        problem=replace(problem, late_time_s=problem.delivery_time_s),
        order_ids=tuple(f"order-{i:04d}" for i in range(problem.num_orders)),
        line_names=tuple(f"line-{m}" for m in range(problem.num_lines)),
        component_names=tuple(f"component-{k}" for k in range(problem.num_components)),
        schedule=nominal,
        down_until_s=np.zeros(problem.num_lines, np.int64),
        now_s=problem.event_time_s,
    )


def apply(state: FloorState, event: FloorEvent) -> FloorState:
    """Return the floor after an event, its plan pushed back.

    Raises:
        SpecError: the event is not the next one, names what is not there, or leaves orders that can never be made.
    """
    where = f"event {event.number} ({event.event_id})"
    if event.number != state.newest_event + 1:
        raise SpecError(f"{where}: got number {event.number}, expected {state.newest_event + 1}, the next one")
    state = replace(state, now_s=max(state.now_s, event.time_s), newest_event=event.number)
    match event.change:
        case DeliveryChanged():
            state = _change_delivery(state, event.change, where)
        case UnitsHeld():
            state = _hold_units(state, event.change, where)
        case LineDown():
            state = _stop_line(state, event.change, where)
        case OrderAdded():
            state = _add_order(state, event.change, where)
        case OrderRushed():
            state = _rush_order(state, event.change, where)
    _expect_enough(state, where)
    situation = _released(state).situation()
    return replace(state, schedule=push_back(situation, state.schedule))


def put_in_force(state: FloorState, start_s: np.ndarray, line: np.ndarray) -> FloorState:
    """Return ``state`` with a new plan for the orders that are free now, int64 ``[free]`` each."""
    return replace(state, schedule=merge(state.situation(), state.schedule, start_s, line))


def _change_delivery(state: FloorState, change: DeliveryChanged, where: str) -> FloorState:
    problem = state.problem
    k = _index(state.component_names, change.component, f"{where}: component")
    quantity, time_s = problem.delivery_quantity.copy(), problem.late_time_s.copy()
    if not 0 <= change.delivery < quantity.shape[1]:
        raise SpecError(f"{where}: delivery: got {change.delivery}, expected 0 to {quantity.shape[1] - 1}")
    if time_s[k, change.delivery] <= state.now_s:
        raise SpecError(
            f"{where}: delivery {change.delivery} of {change.component} came at {time_s[k, change.delivery]} s; "
            f"expected one that is still to come at {state.now_s} s"
        )
    if change.time_s < state.now_s:
        raise SpecError(f"{where}: time_s: got {change.time_s}, expected {state.now_s} or later")
    announced = int(quantity[k, change.delivery])
    time_s[k, change.delivery] = change.time_s
    problem = replace(problem, late_time_s=time_s)
    if change.quantity is not None and change.rest_time_s is not None:
        if not 0 <= change.quantity < announced or change.rest_time_s < change.time_s:
            raise SpecError(
                f"{where}: quantity, rest_time_s: got {change.quantity} at {change.time_s} s and the rest at "
                f"{change.rest_time_s} s, expected fewer than the {announced} announced and the rest after them"
            )
        quantity[k, change.delivery] = change.quantity
        problem = _with_delivery(
            replace(problem, delivery_quantity=quantity, late_quantity=quantity),
            k,
            announced - change.quantity,
            change.rest_time_s,
        )
    return replace(state, problem=problem)


def _hold_units(state: FloorState, change: UnitsHeld, where: str) -> FloorState:
    problem = state.problem
    k = _index(state.component_names, change.component, f"{where}: component")
    started = state.schedule.start_s <= state.now_s
    arrived = problem.delivery_quantity[k][problem.late_time_s[k] <= state.now_s].sum()
    here = int(problem.stock[k] + arrived - problem.requirement[started, k].sum())
    if not 0 < change.quantity <= here:
        raise SpecError(f"{where}: quantity: got {change.quantity}, expected 1 to the {here} that are in stock")
    if change.until_s <= state.now_s:
        raise SpecError(f"{where}: until_s: got {change.until_s}, expected after {state.now_s}")
    stock = problem.stock.copy()
    # may fall below zero where deliveries have come since time 0: it is the running total that counts
    stock[k] -= change.quantity
    return replace(state, problem=_with_delivery(replace(problem, stock=stock), k, change.quantity, change.until_s))


def _stop_line(state: FloorState, change: LineDown, where: str) -> FloorState:
    m = _index(state.line_names, change.line, f"{where}: line")
    if change.until_s <= state.now_s:
        raise SpecError(f"{where}: until_s: got {change.until_s}, expected after {state.now_s}")
    down_until_s, times_s = state.down_until_s.copy(), state.problem.processing_time_s.copy()
    # an earlier stop of this line that is not over yet has been counted until its own end
    since_s = max(state.now_s, int(down_until_s[m]))
    end_s = state.schedule.end_s(state.problem)
    running = (state.schedule.line == m) & (state.schedule.start_s <= state.now_s) & (end_s > state.now_s)
    times_s[running, m] += max(change.until_s - since_s, 0)
    down_until_s[m] = max(int(down_until_s[m]), change.until_s)
    return replace(state, problem=replace(state.problem, processing_time_s=times_s), down_until_s=down_until_s)


def _add_order(state: FloorState, change: OrderAdded, where: str) -> FloorState:
    problem = state.problem
    if change.order in state.order_ids:
        raise SpecError(f"{where}: order: {change.order!r} is on the floor already")
    if not 0 <= change.family < len(problem.setup_s):
        raise SpecError(f"{where}: family: got {change.family}, expected 0 to {len(problem.setup_s) - 1}")
    if not change.lines or any(item.processing_time_s <= 0 for item in change.lines):
        raise SpecError(f"{where}: lines: expected at least one line that can make it, each in more than 0 s")
    if len(change.needs) > MAX_PARTS or any(need.quantity <= 0 for need in change.needs):
        raise SpecError(f"{where}: needs: expected at most {MAX_PARTS} components, more than 0 units of each")
    time_s, need = np.zeros(problem.num_lines, np.int64), np.zeros(problem.num_components, np.int64)
    for item in change.lines:
        time_s[_index(state.line_names, item.line, f"{where}: lines")] = item.processing_time_s
    for item in change.needs:
        need[_index(state.component_names, item.component, f"{where}: needs")] = item.quantity
    line = int(np.where(time_s > 0, time_s, np.iinfo(np.int64).max).argmin())
    # behind everything else until somebody decides; the push-back finds the exact time
    last_s = max(int(state.schedule.end_s(problem).max()), state.now_s + FREEZE_S) + 1
    return replace(
        state,
        problem=with_order(
            problem,
            processing_time_s=time_s,
            family=change.family,
            weight=change.weight,
            due_s=change.due_s,
            requirement=need,
            known_from_s=state.now_s,
        ),
        order_ids=(*state.order_ids, change.order),
        schedule=Schedule(np.append(state.schedule.start_s, last_s), np.append(state.schedule.line, line)),
    )


def _rush_order(state: FloorState, change: OrderRushed, where: str) -> FloorState:
    i = _index(state.order_ids, change.order, f"{where}: order")
    if int(state.schedule.start_s[i]) <= state.now_s:
        raise SpecError(f"{where}: order: {change.order} has started; expected one that has not")
    if change.weight < 1:
        raise SpecError(f"{where}: weight: got {change.weight}, expected at least 1")
    due_s, weight = state.problem.due_s.copy(), state.problem.weight.copy()
    due_s[i], weight[i] = change.due_s, change.weight
    return replace(state, problem=replace(state.problem, due_s=due_s, weight=weight))


def _with_delivery(problem: Problem, k: int, quantity: int, time_s: int) -> Problem:
    """Announce one delivery more for component ``k``; the other components get an empty one that came at time 0."""
    quantities, times_s = (np.zeros(problem.num_components, np.int64) for _ in range(2))
    quantities[k], times_s[k] = quantity, time_s
    return with_delivery(problem, times_s, planned=quantities, coming=quantities)


def _released(state: FloorState) -> FloorState:
    """Take those of the next half hour's orders off their places that cannot start as planned any more."""
    problem, start_s = state.problem, state.schedule.start_s.copy()
    soon = is_committed(problem, state.schedule, state.now_s) & (start_s > state.now_s)
    stands = soon & (start_s < state.down_until_s[state.schedule.line])
    claimed = problem.requirement[start_s <= state.now_s].sum(0)
    for i in np.flatnonzero(soon)[np.argsort(start_s[soon], kind="stable")]:
        need = claimed + problem.requirement[i]
        there = problem.stock + (problem.delivery_quantity * (problem.late_time_s <= start_s[i])).sum(1)
        if stands[i] or bool(((problem.requirement[i] > 0) & (need > there)).any()):
            start_s[i] = state.now_s + FREEZE_S
        else:
            claimed = need
    # what ran into an order that was to follow on the same line pushes that one off as well
    end_s = Schedule(start_s, state.schedule.line).end_s(problem)
    for m in range(problem.num_lines):
        on_line = np.flatnonzero((state.schedule.line == m) & (start_s < state.now_s + FREEZE_S))
        free_s, family = 0, int(problem.line_family[m])
        for i in on_line[np.argsort(start_s[on_line], kind="stable")]:
            if start_s[i] > state.now_s and start_s[i] < free_s + problem.setup_s[family, problem.family[i]]:
                start_s[i] = state.now_s + FREEZE_S
            else:
                free_s, family = int(end_s[i]), int(problem.family[i])
    return replace(state, schedule=Schedule(start_s, state.schedule.line))


def _expect_enough(state: FloorState, where: str) -> None:
    problem = state.problem
    missing = problem.requirement.sum(0) - problem.stock - problem.delivery_quantity.sum(1)
    for k in np.flatnonzero(missing > 0)[:1]:
        raise SpecError(
            f"{where}: {state.component_names[k]}: {missing[k]} units missing for all orders together; expected a "
            "delivery that brings them"
        )


def _index(names: tuple[str, ...], name: str, where: str) -> int:
    if name not in names:
        raise SpecError(f"{where}: no {name!r} on this floor{nearest(name, names)}")
    return names.index(name)
