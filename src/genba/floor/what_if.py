"""What would happen if: an event and an answer to it, worked out on a copy of a floor's state."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass

import numpy as np

from genba.errors import ConfigError, SpecError, nearest
from genba.floor.admission import objections
from genba.floor.controller import plan_for
from genba.floor.decide import Decider, best_of
from genba.floor.events import Change, DeliveryChanged, FloorEvent, LineDown, OrderRushed
from genba.floor.explain import clock, span
from genba.floor.plant import with_plan
from genba.floor.protocol import NewPlan
from genba.floor.state import FloorState, apply

#: What an order weighs once somebody wants it now.
RUSH_WEIGHT = 8

_UNITS_S = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, kw_only=True, slots=True)
class WhatIf:
    """What an event would do to a floor, and what could be done about it."""

    change: Change
    #: in words
    title: str
    #: who would decide
    policy: str
    before: FloorState
    #: after the event, the old plan pushed back
    kept: FloorState
    #: after the event, with the new plan
    after: FloorState
    plan: NewPlan


def what_if(state: FloorState, change: Change, decider: Decider, *, deadline_s: float) -> WhatIf:
    """Apply ``change`` to a copy of ``state`` and let ``decider`` answer it.

    Args:
        state: the floor.
        change: what would happen now.
        decider: who would decide.
        deadline_s: for the decision, seconds.

    Raises:
        SpecError: the change does not fit the floor, or the decider's plan breaks a rule of the plant.
    """
    event = FloorEvent(
        number=state.newest_event + 1, event_id="what-if", time_s=state.now_s, raised_ns=0, change=change
    )
    kept = apply(state, event)
    plan = plan_for(kept, *best_of(kept, decider.decide(kept, deadline_s=deadline_s)), decision_id=uuid.uuid4().hex)
    if wrong := objections(kept, plan):
        raise SpecError(f"{decider.name}: {'; '.join(wrong)}")
    return WhatIf(
        change=change,
        title=f"If {_in_words(state, change)}",
        policy=decider.name,
        before=state,
        kept=kept,
        after=with_plan(kept, plan, kept.version + 1),
        plan=plan,
    )


def change_from_words(
    state: FloorState, *, delay: str | None = None, breakdown: str | None = None, rush: str | None = None
) -> Change:
    """Make a change from what a person types: ``component-2=8h``, ``line-3=2h``, ``order-0042`` or ``order-0042=6h``.

    Raises:
        ConfigError: a name that is not on the floor, or a length of time that cannot be read.
    """
    if delay is not None:
        name, length_s = _assigned(delay, "--delay")
        k = _known(name, state.component_names, "--delay")
        times_s = np.where(state.problem.delivery_quantity[k] > 0, state.problem.late_time_s[k], 0)
        coming = np.flatnonzero(times_s > state.now_s)
        if not len(coming):
            raise ConfigError(f"--delay {name}: no delivery of it is still to come")
        delivery = int(coming[times_s[coming].argmin()])
        return DeliveryChanged(component=name, delivery=delivery, time_s=int(times_s[delivery]) + length_s)
    if breakdown is not None:
        name, length_s = _assigned(breakdown, "--breakdown")
        _known(name, state.line_names, "--breakdown")
        return LineDown(line=name, until_s=state.now_s + length_s)
    if rush is None:
        raise ConfigError("got no event, expected a delay, a breakdown or a rush")
    name, length_s = _assigned(rush, "--rush") if "=" in rush else (rush, 0)
    i = _known(name, state.order_ids, "--rush")
    weight = max(RUSH_WEIGHT, int(state.problem.weight[i]))
    return OrderRushed(order=name, due_s=state.now_s + length_s, weight=weight)


def seconds_of(text: str, *, where: str) -> int:
    """Read a length of time: 90s, 45min, 8h, 1.5d.

    Raises:
        ConfigError: it reads differently.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h|d)", text.strip())
    if found is None or float(found[1]) <= 0:
        raise ConfigError(f"{where}: got {text!r}, expected a length of time above 0, e.g. 90s, 45min, 8h, 1.5d")
    return round(float(found[1]) * _UNITS_S[found[2]])


def _assigned(text: str, where: str) -> tuple[str, int]:
    name, equals, length = text.partition("=")
    if not equals:
        raise ConfigError(f"{where}: got {text!r}, expected NAME=TIME, e.g. component-2=8h")
    return name, seconds_of(length, where=f"{where} {name}")


def _known(name: str, names: tuple[str, ...], where: str) -> int:
    if name not in names:
        raise ConfigError(f"{where}: no {name!r} on this floor{nearest(name, names)}")
    return names.index(name)


def _in_words(state: FloorState, change: Change) -> str:
    match change:
        case DeliveryChanged():
            k = state.component_names.index(change.component)
            slip_s = change.time_s - int(state.problem.late_time_s[k, change.delivery])
            cut = f" and brings {change.quantity} units only" if change.quantity is not None else ""
            return f"the delivery of {change.component} comes {span(slip_s)} later, {clock(change.time_s)}{cut}"
        case LineDown():
            return f"{change.line} stands still for {span(change.until_s - state.now_s)}"
        case OrderRushed():
            return f"{change.order} is wanted by {clock(change.due_s)}"
        case _:
            return f"this happens: {change}"
