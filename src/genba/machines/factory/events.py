"""What happens to a plant while it runs, and what is known afterwards.

An event turns what is known (a ``Problem`` and the schedule in force) into what is known from then on: deliveries
that come later, smaller or not at all (what is missing is ordered again), a line that breaks down, a rush order, stock
in quarantine. Nothing here decides anything; ``simulator`` lets events happen when their time has come.

What is committed is never hurt: only deliveries after ``FREEZE_S`` change, and only units that nobody claims are held. A
line's breakdown is the exception: what runs there pauses, and what was about to start there is free again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from genba.machines.factory.problem import (
    FREEZE_S,
    Problem,
    Schedule,
    situation_at,
    with_delivery,
    with_order,
)

#: What can happen, in the order in which ``draw_events`` numbers it.
KINDS = ("delay", "cut", "cancel", "breakdown", "rush", "hold")
Kind = Literal["delay", "cut", "cancel", "breakdown", "rush", "hold"]

#: When events come, as shares of the horizon: the first as the supplier's call of the shortage tasks.
FIRST_SHARE, LAST_SHARE = 0.20, 0.60


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happens at one moment.

    Attributes:
        time_s: when, on the plant's clock.
        kind: what.
        target: the component (``delay``, ``cut``, ``cancel``, ``hold``), the line (``breakdown``) or the family (``rush``).
        length_s: how much later the target's next deliveries come (``delay``), how long what is missing takes to come after
            all (``cut``, ``cancel``), how long the line stands (``breakdown``), until when a rush order is due, or how
            long units are held.
        share: of the next delivery that is missing (``cut``) or of the free stock that is held (``hold``).
        seed: of what else a rush order is.
    """

    time_s: int
    kind: Kind
    target: int
    length_s: int
    share: float = 1.0
    seed: int = 0


def apply(event: Event, problem: Problem, schedule: Schedule) -> tuple[Problem, Schedule]:
    """Return what is known after an event, and the schedule in force with a place for a rush order at its end."""
    if event.kind == "breakdown":
        outage = (event.target, event.time_s, event.time_s + event.length_s)
        return replace(problem, outages=(*problem.outages, outage)), schedule
    if event.kind == "rush":
        return _add_order(event, problem, schedule)
    if event.kind == "hold":
        situation = situation_at(problem, schedule, event.time_s)
        here = situation.supply_total[event.target][situation.supply_time_s[event.target] <= event.time_s][-1]
        units = int(event.share * max(here - situation.claimed[event.target], 0))
        hold = (event.target, event.time_s, event.time_s + event.length_s, units)
        return replace(problem, holds=(*problem.holds, hold)), schedule
    return _change_deliveries(event, problem), schedule


def _change_deliveries(event: Event, problem: Problem) -> Problem:
    k = event.target
    coming = np.flatnonzero((problem.late_time_s[k] > event.time_s + FREEZE_S) & (problem.late_quantity[k] > 0))
    if not len(coming):
        return problem
    if event.kind == "delay":
        # Its next two: a supplier in trouble is late more than once.
        late_s = problem.late_time_s.copy()
        nearest = coming[np.argsort(late_s[k, coming], kind="stable")][:2]
        late_s[k, nearest] += event.length_s
        return replace(problem, late_time_s=late_s)
    first = coming[problem.late_time_s[k, coming].argmin()]
    missing = int(np.ceil(event.share * problem.late_quantity[k, first]))
    quantity = problem.late_quantity.copy()
    quantity[k, first] -= missing
    again = np.zeros(problem.num_components, np.int64)
    again[k] = missing
    return _add_delivery(
        replace(problem, late_quantity=quantity), problem.late_time_s[k, first] + event.length_s, again
    )


def _add_delivery(problem: Problem, time_s: int, units: np.ndarray) -> Problem:
    """Add a delivery that nobody had planned: ``units`` ``[components]`` at ``time_s``."""
    at_s = np.full(problem.num_components, time_s, np.int64)
    return with_delivery(problem, at_s, planned=np.zeros_like(units), coming=units)


def _add_order(event: Event, problem: Problem, schedule: Schedule) -> tuple[Problem, Schedule]:
    """Add an order that counts most and is due soon; its components come with it, by courier."""
    rng = np.random.default_rng(event.seed)
    like = rng.choice(np.flatnonzero(problem.family == event.target))
    time_s = problem.processing_time_s[like]
    requirement = problem.requirement[like]
    shortest_s = int(time_s[time_s > 0].min())
    grown = with_order(
        problem,
        processing_time_s=time_s,
        family=event.target,
        weight=4,
        due_s=event.time_s + shortest_s + event.length_s,
        requirement=requirement,
        known_from_s=event.time_s,
    )
    grown = _add_delivery(grown, event.time_s + FREEZE_S, requirement)
    # Its place in the schedule in force: last on the line where that ends soonest.
    end_s, best = schedule.end_s(problem), None
    for line in np.flatnonzero(time_s):
        on_line = schedule.line == line
        free_s, family = event.time_s + FREEZE_S, problem.line_family[line]
        if on_line.any():
            last = np.flatnonzero(on_line)[end_s[on_line].argmax()]
            free_s, family = max(free_s, int(end_s[last])), problem.family[last]
        start_s = free_s + int(problem.setup_s[family, event.target])
        if best is None or start_s + time_s[line] < best[0]:
            best = start_s + int(time_s[line]), start_s, int(line)
    assert best is not None
    return grown, Schedule(np.append(schedule.start_s, best[1]), np.append(schedule.line, best[2]))


def draw_events(problem: Problem, nominal: Schedule, seed: int, *, num_moments: int, num_at_once: int) -> list[Event]:
    """Draw what happens in an episode; the same seed gives the same.

    Args:
        problem: the plant as planned, of ``generator.generate_undisturbed``.
        nominal: its plan.
        seed: of the draw.
        num_moments: moments at which something happens, from ``FIRST_SHARE`` to ``LAST_SHARE`` of the horizon.
        num_at_once: events at each moment, of different kinds.

    Returns:
        Events in order of time.
    """
    rng = np.random.default_rng([seed, num_moments, num_at_once, 11])
    shares = np.linspace(FIRST_SHARE, LAST_SHARE, num_moments) if num_moments > 1 else np.array([FIRST_SHARE])
    kinds = [kind for _ in range(-(-num_moments * num_at_once // len(KINDS))) for kind in rng.permutation(KINDS)]
    events = []
    for moment, share in enumerate(shares):
        time_s = int(share * problem.horizon_s)
        here = kinds[moment * num_at_once : (moment + 1) * num_at_once]
        events += [_draw(str(kind), time_s, problem, nominal, rng) for kind in here]
    return events


def _draw(kind: str, time_s: int, problem: Problem, nominal: Schedule, rng: np.random.Generator) -> Event:
    """Draw one event that hurts: the component or line that the plan needs most in the next third of the horizon."""
    soon = (nominal.start_s >= time_s) & (nominal.start_s < time_s + problem.horizon_s // 3)
    needed = np.argsort(-problem.requirement[soon].sum(0), kind="stable")
    component, length_s = int(rng.choice(needed[:2])), int(rng.uniform(0.2, 0.4) * problem.horizon_s)
    if kind == "delay" or kind == "cancel":
        return Event(time_s=time_s, kind=kind, target=component, length_s=length_s)
    if kind == "cut":
        return Event(time_s=time_s, kind="cut", target=component, length_s=length_s, share=float(rng.uniform(0.4, 0.8)))
    if kind == "hold":
        return Event(
            time_s=time_s, kind="hold", target=component, length_s=length_s // 2, share=float(rng.uniform(0.5, 1))
        )
    if kind == "breakdown":
        line = int(np.bincount(nominal.line[soon], minlength=problem.num_lines).argmax())
        return Event(time_s=time_s, kind="breakdown", target=line, length_s=length_s // 2)
    family = int(rng.choice(problem.family))
    return Event(time_s=time_s, kind="rush", target=family, length_s=4 * FREEZE_S, seed=int(rng.integers(2**31)))
