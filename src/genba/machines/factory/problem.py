"""The scheduling problem: lines, orders, components, a shortage; what a planner knows at one moment.

Every time is an integer number of seconds on the plant's clock, which starts at 0 with the first shift. This file holds
the nouns only: how instances are drawn is in ``generator``, how a plan becomes start times is in ``decoder``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

#: An order that starts within this time is committed: its material is at the line and its people are there.
FREEZE_S = 30 * 60

#: The most components that one order needs.
MAX_PARTS = 4


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Problem:
    """Facts of one instance. Integer arrays; seconds on the plant's clock.

    Attributes:
        seed: what it was drawn from.
        processing_time_s: ``[orders, lines]``, 0 where the line is not eligible for the order.
        family: ``[orders]``, product family.
        weight: ``[orders]``, what a second of tardiness costs.
        due_s: ``[orders]``.
        setup_s: ``[families, families]``, set-up time from one family to the next, 0 on the diagonal.
        line_family: ``[lines]``, the family that each line is set up for at time 0.
        requirement: ``[orders, components]``, units consumed when the order starts.
        stock: ``[components]``, units at time 0.
        delivery_time_s: ``[components, deliveries]`` as planned.
        delivery_quantity: ``[components, deliveries]``.
        late_time_s: ``[components, deliveries]``, when they come as far as is known, from ``event_time_s`` on.
        event_time_s: when something happens for the first time.
        horizon_s: roughly when the nominal plan ends.
        late_quantity: ``[components, deliveries]``, how much comes as far as is known; by default as planned.
        known_from_s: ``[orders]``, when each order came in; by default all at 0.
        outages: lines that broke down: line, from, until. What runs then pauses and goes on after it.
        holds: stock in quarantine: component, from, until, units.
    """

    seed: int
    processing_time_s: np.ndarray
    family: np.ndarray
    weight: np.ndarray
    due_s: np.ndarray
    setup_s: np.ndarray
    line_family: np.ndarray
    requirement: np.ndarray
    stock: np.ndarray
    delivery_time_s: np.ndarray
    delivery_quantity: np.ndarray
    late_time_s: np.ndarray
    event_time_s: int
    horizon_s: int
    late_quantity: np.ndarray = None  # type: ignore[assignment]
    known_from_s: np.ndarray = None  # type: ignore[assignment]
    outages: tuple[tuple[int, int, int], ...] = ()
    holds: tuple[tuple[int, int, int, int], ...] = ()

    def __post_init__(self) -> None:
        if self.late_quantity is None:
            object.__setattr__(self, "late_quantity", self.delivery_quantity)
        if self.known_from_s is None:
            object.__setattr__(self, "known_from_s", np.zeros(len(self.family), np.int64))

    @property
    def num_orders(self) -> int:
        """Orders of the whole horizon."""
        return len(self.family)

    @property
    def num_lines(self) -> int:
        """Parallel lines."""
        return len(self.line_family)

    @property
    def num_components(self) -> int:
        """Kinds of bought-in components."""
        return len(self.stock)


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """Where and when each order runs.

    Attributes:
        start_s: int64 ``[orders]``.
        line: int64 ``[orders]``.
    """

    start_s: np.ndarray
    line: np.ndarray

    def end_s(self, problem: Problem) -> np.ndarray:
        """Return when each order ends, int64 ``[orders]``: after its processing time and what its line stood still."""
        end_s = self.start_s + problem.processing_time_s[np.arange(problem.num_orders), self.line]
        for line, from_s, until_s in sorted(problem.outages, key=lambda outage: outage[1]):
            paused = (self.line == line) & (self.start_s < from_s) & (from_s < end_s)
            end_s = np.where(paused, end_s + until_s - from_s, end_s)
        return end_s

    def weighted_tardiness_s(self, problem: Problem) -> int:
        """Return the sum over orders of weight times seconds after the due time."""
        late_s = np.maximum(self.end_s(problem) - problem.due_s, 0)
        return int((problem.weight * late_s).sum())


@dataclass(frozen=True, slots=True, eq=False)
class Situation:
    """What is still open at ``now_s``; arrays over the free orders, int64, ready for the compiled kernels.

    Attributes:
        problem: the facts.
        now_s: the moment.
        orders: ``[free]``, order numbers in the problem.
        processing_time_s: ``[free, lines]``, 0 where not eligible.
        family, weight, due_s: ``[free]``.
        part, part_quantity: ``[free, MAX_PARTS]``, component numbers (-1: none) and units.
        line_free_s: ``[lines]``, when each line has finished what is committed, never before ``now_s``.
        line_family: ``[lines]``, what it is set up for then.
        claimed: ``[components]``, units that started or committed orders take.
        supply_time_s, supply_total: ``[components, deliveries + 1]``, arrivals as known now, in order of time, and the
            units that have come by then; the first entry is the stock.
        committed_tardiness_s: weighted tardiness of started and committed orders.
    """

    problem: Problem
    now_s: int
    orders: np.ndarray
    processing_time_s: np.ndarray
    family: np.ndarray
    weight: np.ndarray
    due_s: np.ndarray
    part: np.ndarray
    part_quantity: np.ndarray
    line_free_s: np.ndarray
    line_family: np.ndarray
    claimed: np.ndarray
    supply_time_s: np.ndarray
    supply_total: np.ndarray
    committed_tardiness_s: int

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The kernels' arguments, in their order."""
        return (
            self.processing_time_s,
            self.family,
            self.weight,
            self.due_s,
            self.part,
            self.part_quantity,
            self.problem.setup_s,
            self.line_free_s,
            self.line_family,
            self.claimed,
            self.supply_time_s,
            self.supply_total,
        )


def with_delivery(problem: Problem, time_s: np.ndarray, *, planned: np.ndarray, coming: np.ndarray) -> Problem:
    """Return ``problem`` with one more delivery of each component.

    Args:
        problem: what was known before.
        time_s: int64 ``[components]``, when each comes.
        planned: int64 ``[components]``, units that were planned to come; 0 where nobody had planned it.
        coming: int64 ``[components]``, units that come as far as is known.
    """

    def widen(table: np.ndarray, column: np.ndarray) -> np.ndarray:
        return np.concatenate([table, column[:, None]], 1)

    return replace(
        problem,
        delivery_time_s=widen(problem.delivery_time_s, time_s),
        delivery_quantity=widen(problem.delivery_quantity, planned),
        late_time_s=widen(problem.late_time_s, time_s),
        late_quantity=widen(problem.late_quantity, coming),
    )


def with_order(
    problem: Problem,
    *,
    processing_time_s: np.ndarray,
    family: int,
    weight: int,
    due_s: int,
    requirement: np.ndarray,
    known_from_s: int,
) -> Problem:
    """Return ``problem`` with one more order: ``processing_time_s`` int64 ``[lines]``, ``requirement`` int64 ``[components]``."""
    return replace(
        problem,
        processing_time_s=np.concatenate([problem.processing_time_s, processing_time_s[None]]),
        family=np.append(problem.family, family),
        weight=np.append(problem.weight, weight),
        due_s=np.append(problem.due_s, due_s),
        requirement=np.concatenate([problem.requirement, requirement[None]]),
        known_from_s=np.append(problem.known_from_s, known_from_s),
    )


def supply(problem: Problem, *, event_known: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return arrival times and running totals, int64 ``[components, deliveries + 1]``, stock first."""
    time_s = problem.late_time_s if event_known else problem.delivery_time_s
    quantity = problem.late_quantity if event_known else problem.delivery_quantity
    stock = problem.stock
    if problem.holds and event_known:
        # Held units are taken from what is here and come back like a delivery.
        stock = stock.copy()
        back_s, back = (np.zeros((problem.num_components, len(problem.holds)), np.int64) for _ in range(2))
        for column, (component, _, until_s, units) in enumerate(problem.holds):
            stock[component] -= units
            back_s[component, column], back[component, column] = until_s, units
        time_s, quantity = np.concatenate([time_s, back_s], 1), np.concatenate([quantity, back], 1)
    order = np.argsort(time_s, axis=1, kind="stable")
    times_s = np.take_along_axis(time_s, order, 1)
    quantity = np.take_along_axis(quantity, order, 1)
    start = np.zeros((problem.num_components, 1), np.int64)
    totals = np.cumsum(np.concatenate([stock[:, None], quantity], 1), axis=1)
    return np.concatenate([start, times_s], 1), totals


def is_committed(problem: Problem, schedule: Schedule, now_s: int) -> np.ndarray:
    """Say which orders have started or start within ``FREEZE_S`` on a line that runs: bool ``[orders]``."""
    committed = schedule.start_s < now_s + FREEZE_S
    for line, from_s, until_s in problem.outages:
        if from_s <= now_s < until_s:
            committed &= (schedule.line != line) | (schedule.start_s < now_s)
    return committed


def situation_at(problem: Problem, schedule: Schedule | None, now_s: int, *, event_known: bool = True) -> Situation:
    """Return what is open at ``now_s`` when ``schedule`` has been executed until then (None: nothing planned yet)."""
    line_free_s = np.full(problem.num_lines, now_s, np.int64)
    line_family = problem.line_family.astype(np.int64).copy()
    committed = np.zeros(problem.num_orders, np.bool_)
    tardiness = 0
    if schedule is not None:
        committed = is_committed(problem, schedule, now_s)
        end_s = schedule.end_s(problem)
        for order in np.flatnonzero(committed)[np.argsort(schedule.start_s[committed], kind="stable")]:
            line = schedule.line[order]
            line_free_s[line] = max(now_s, end_s[order])
            line_family[line] = problem.family[order]
        late_s = np.maximum(end_s - problem.due_s, 0)
        tardiness = int((problem.weight * late_s)[committed].sum())
    for broken, from_s, until_s in problem.outages:
        if from_s <= now_s < until_s:
            line_free_s[broken] = max(line_free_s[broken], until_s)
    free = np.flatnonzero(~committed)
    part = np.full((problem.num_orders, MAX_PARTS), -1, np.int64)
    quantity = np.zeros((problem.num_orders, MAX_PARTS), np.int64)
    order, needs = np.nonzero(problem.requirement)
    place = np.arange(len(order)) - np.searchsorted(order, order)
    part[order, place] = needs
    quantity[order, place] = problem.requirement[order, needs]
    times_s, totals = supply(problem, event_known=event_known)
    return Situation(
        problem=problem,
        now_s=now_s,
        orders=free,
        processing_time_s=np.ascontiguousarray(problem.processing_time_s[free]),
        family=problem.family[free],
        weight=problem.weight[free],
        due_s=problem.due_s[free],
        part=part[free],
        part_quantity=quantity[free],
        line_free_s=line_free_s,
        line_family=line_family,
        claimed=problem.requirement[committed].sum(0),
        supply_time_s=times_s,
        supply_total=totals,
        committed_tardiness_s=tardiness,
    )


def merge(situation: Situation, schedule: Schedule | None, start_s: np.ndarray, line: np.ndarray) -> Schedule:
    """Return ``schedule`` with the free orders' new ``start_s`` and ``line``, int64 ``[free]``, put in."""
    num_orders = situation.problem.num_orders
    starts = np.full(num_orders, -1, np.int64) if schedule is None else schedule.start_s.copy()
    lines = np.full(num_orders, -1, np.int64) if schedule is None else schedule.line.copy()
    starts[situation.orders] = start_s
    lines[situation.orders] = line
    return Schedule(starts, lines)
