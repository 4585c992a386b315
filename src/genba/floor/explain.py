"""What a new plan changes, and why, in one sentence per moved order, for the person who answers for the plant.

The reasons are read off the two plans and the facts, not off whoever decided: an order's old place is looked at for what
made it impossible or gave it to another order, and its new place for what it gains there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genba.floor.state import FloorState

#: Starts that differ by less are the same for a person, seconds.
SAME_S = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """One order whose line or start changed."""

    order: str
    line_before: str
    line_after: str
    start_before_s: int
    start_after_s: int
    #: in words, a whole sentence
    sentence: str
    #: weighted tardiness, seconds
    cost_before_s: int
    cost_after_s: int


def moves(before: FloorState, after: FloorState) -> list[Move]:
    """Return what differs from ``before`` (its plan) to ``after`` (an event later, a new plan), dearest change first."""
    old, new = _Plan(before), _Plan(after)
    found = []
    for i, order in enumerate(before.order_ids):
        j = after.order_ids.index(order)
        if old.line[i] == new.line[j] and abs(int(old.start_s[i] - new.start_s[j])) < SAME_S:
            continue
        found.append(
            Move(
                order=order,
                line_before=before.line_names[old.line[i]],
                line_after=after.line_names[new.line[j]],
                start_before_s=int(old.start_s[i]),
                start_after_s=int(new.start_s[j]),
                sentence=_sentence(old, new, i, j),
                cost_before_s=old.cost_s(i),
                cost_after_s=new.cost_s(j),
            )
        )
    return sorted(found, key=lambda move: (-abs(move.cost_after_s - move.cost_before_s), move.start_after_s))


def clock(time_s: int) -> str:
    """Write a time of the plant's clock: day 2, 14:20."""
    day, rest = divmod(int(time_s), 86_400)
    return f"day {day + 1}, {rest // 3600:02d}:{rest % 3600 // 60:02d}"


def span(length_s: int) -> str:
    """Write a length of time: 2 days 3 h, 3 h 5 min, 40 min."""
    minutes = round(abs(length_s) / 60)
    days, rest = divmod(minutes, 1440)
    hours, minutes = divmod(rest, 60)
    parts = [f"{days} day{'s' if days > 1 else ''}" if days else "", f"{hours} h" if hours else ""]
    parts.append(f"{minutes} min" if minutes and not days else "")
    return " ".join(part for part in parts if part) or "0 min"


class _Plan:
    """A plan with what each order follows and waits for."""

    def __init__(self, state: FloorState) -> None:
        self.state, self.problem = state, state.problem
        self.start_s, self.line = state.schedule.start_s, state.schedule.line
        self.end_s = state.schedule.end_s(self.problem)
        order = np.argsort(self.start_s, kind="stable")
        self.before = np.full(len(order), -1)
        last: dict[int, int] = {}
        for i in order:
            self.before[i] = last.get(int(self.line[i]), -1)
            last[int(self.line[i])] = int(i)
        #: when each order's components are there if claimed in order of start, and which comes last
        self.ready_s, self.waits_for = np.zeros(len(order), np.int64), np.full(len(order), -1)
        claimed = np.zeros(self.problem.num_components, np.int64)
        for i in order:
            claimed = claimed + self.problem.requirement[i]
            for k in np.flatnonzero(self.problem.requirement[i]):
                if (ready_s := self.arrival_s(int(k), int(claimed[k]))) > self.ready_s[i]:
                    self.ready_s[i], self.waits_for[i] = ready_s, k

    def arrival_s(self, k: int, units: int) -> int:
        """When the running total of component ``k`` reaches ``units``."""
        total = int(self.problem.stock[k])
        if total >= units:
            return 0
        for d in np.argsort(self.problem.late_time_s[k], kind="stable"):
            total += int(self.problem.delivery_quantity[k, d])
            if total >= units:
                return int(self.problem.late_time_s[k, d])
        return int(self.problem.late_time_s[k].max())

    def late_s(self, i: int) -> int:
        return max(0, int(self.end_s[i] - self.problem.due_s[i]))

    def cost_s(self, i: int) -> int:
        return int(self.problem.weight[i]) * self.late_s(i)

    def setup_s(self, i: int) -> int:
        """The set-up before order ``i``."""
        at = self.before[i]
        family = self.problem.line_family[self.line[i]] if at < 0 else self.problem.family[at]
        return int(self.problem.setup_s[family, self.problem.family[i]])


def _sentence(old: _Plan, new: _Plan, i: int, j: int) -> str:
    name, where = old.state.order_ids[i], ""
    if old.line[i] != new.line[j]:
        names = new.state.line_names
        where = f"moves from {names[old.line[i]]} to {names[new.line[j]]}"
    shift_s = int(new.start_s[j] - old.start_s[i])
    when = "at the same time" if abs(shift_s) < SAME_S else f"{span(shift_s)} {'later' if shift_s > 0 else 'earlier'}"
    what = f"{where} and starts {when}" if where else f"starts {when} on {new.state.line_names[new.line[j]]}"
    due = clock(int(new.problem.due_s[j]))
    late_s, was_s = new.late_s(j), old.late_s(i)
    if late_s:
        end = f"due {due}, it will be {span(late_s)} late" + (f" (before: {span(was_s)})" if was_s else "")
    else:
        end = f"due {due}, it is on time" + (f" (before: {span(was_s)} late)" if was_s else "")
    return f"{name} {what}, because {_reason(old, new, i, j)}; {end}."


def _reason(old: _Plan, new: _Plan, i: int, j: int) -> str:
    state = new.state
    if (new.problem.due_s[j], new.problem.weight[j]) != (old.problem.due_s[i], old.problem.weight[i]):
        return f"it is wanted by {clock(int(new.problem.due_s[j]))} now, at weight {int(new.problem.weight[j])}"
    line, start_s = int(old.line[i]), int(old.start_s[i])
    if start_s < state.down_until_s[line] and state.down_until_s[line] > old.state.down_until_s[line]:
        return f"{state.line_names[line]} stands still until {clock(int(state.down_until_s[line]))}"
    k = int(new.waits_for[j])
    if k >= 0 and new.ready_s[j] > start_s + SAME_S:
        return f"{state.component_names[k]} for it is only there at {clock(int(new.ready_s[j]))}"
    if new.start_s[j] > start_s:
        taker = _taker(old, new, line, start_s, int(old.end_s[i]), j)
        if taker is not None:
            return taker
    saved_s = old.setup_s(i) - new.setup_s(j)
    at = int(new.before[j])
    if saved_s > 0 and at >= 0 and new.problem.family[at] == new.problem.family[j]:
        return f"it follows {state.order_ids[at]} of the same family, which saves a set-up of {span(saved_s)}"
    if new.start_s[j] < start_s:
        gone = _gone(old, new, line=int(new.line[j]), start_s=int(new.start_s[j]), end_s=int(new.end_s[j]), j=j)
        if gone is not None:
            return gone
    if at >= 0:
        return f"it follows {state.order_ids[at]} in the new sequence of {state.line_names[new.line[j]]}"
    return f"it is the next order on {state.line_names[new.line[j]]}"


def _taker(old: _Plan, new: _Plan, line: int, start_s: int, end_s: int, j: int) -> str | None:
    """Who has the old place now, and what speaks for it."""
    on_line = (new.line == line) & (new.start_s < end_s) & (new.end_s > start_s)
    on_line[j] = False
    for other in np.flatnonzero(on_line)[np.argsort(new.start_s[on_line], kind="stable")]:
        name = new.state.order_ids[other]
        if name not in old.state.order_ids:
            return f"the new order {name} takes its place"
        was = old.state.order_ids.index(name)
        if old.line[was] == new.line[other] and abs(int(old.start_s[was] - new.start_s[other])) < SAME_S:
            continue
        if new.problem.weight[other] > new.problem.weight[j]:
            why = f"which weighs {int(new.problem.weight[other])} instead of {int(new.problem.weight[j])}"
        elif new.problem.due_s[other] < new.problem.due_s[j]:
            why = f"which is due {span(int(new.problem.due_s[j] - new.problem.due_s[other]))} earlier"
        else:
            why = f"whose components are there at {clock(max(int(new.ready_s[other]), new.state.now_s))}"
        return f"its place goes to {name}, {why}"
    return None


def _gone(old: _Plan, new: _Plan, *, line: int, start_s: int, end_s: int, j: int) -> str | None:
    """Who had the new place before, and why it left."""
    on_line = (old.line == line) & (old.start_s < end_s) & (old.end_s > start_s)
    for other in np.flatnonzero(on_line)[np.argsort(old.start_s[on_line], kind="stable")]:
        now = new.state.order_ids.index(old.state.order_ids[other])
        if now == j or (new.line[now] == line and new.start_s[now] < end_s and new.end_s[now] > start_s):
            continue
        name, k = old.state.order_ids[other], int(new.waits_for[now])
        if k >= 0 and new.ready_s[now] > old.start_s[other]:
            return f"{name}, which was there, waits for {new.state.component_names[k]}"
        return f"{name}, which was there, has moved"
    return None
