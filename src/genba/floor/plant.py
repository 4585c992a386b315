"""A simulated floor with a memory on disk: it numbers events, holds the plan in force and says no to bad ones.

It is what stands behind the servers (``opcua_server``, ``mqtt_node``). Everything it has told anybody is in its journal
first, so that a floor that is killed comes back as it was. Its clock follows the events; between them an instance of
the factory generator runs its plan. Read next: ``controller``, its counterpart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from genba.config import build
from genba.errors import ConfigError, FloorError
from genba.floor.admission import objections
from genba.floor.events import Change, FloorEvent, event_from_dict, to_dict
from genba.floor.journal import Journal
from genba.floor.protocol import Answer, NewPlan
from genba.floor.state import FloorState, apply, begin, put_in_force
from genba.machines.factory.generator import generate


class Plant:
    """One floor.

    Args:
        journal: where it remembers.
        size, seed: the instance that it runs; a journal that was made for another is refused.
        clock_ns: nanoseconds since 1970, for reaction times.
    """

    def __init__(
        self, journal: Path | str, *, size: str, seed: int, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._clock_ns = clock_ns
        self._journal = Journal(journal)
        self.state = begin(*generate(seed, size))
        self.events: list[FloorEvent] = []
        #: every plan that was accepted, with what was answered
        self.accepted: list[tuple[NewPlan, Answer]] = []
        self._num_sessions = 0
        self._listeners: list[Callable[[FloorEvent], None]] = []
        head = {"kind": "floor", "size": size, "seed": seed}
        if not self._journal.lines:
            self._journal.append(head)
        elif self._journal.lines[0] != head:
            self._journal.close()
            raise FloorError(f"{journal}: line 1: got {self._journal.lines[0]}, expected {head}; use another journal")
        for number, line in enumerate(self._journal.lines[1:], 2):
            self._remember(line, where=f"{journal}: line {number}")

    def listen(self, listener: Callable[[FloorEvent], None]) -> Callable[[], None]:
        """Call ``listener`` with every event from now on, until what is returned is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def begin_session(self) -> int:
        """Return how many sessions at a broker there were before this one, and count it."""
        self._journal.append({"kind": "session"})
        self._num_sessions += 1
        return self._num_sessions - 1

    def report(self, event_id: str, change: Change, *, time_s: int | None = None) -> FloorEvent:
        """Take a report of something that happened; the same id twice is the event that it made first.

        Args:
            event_id: given by whoever reports.
            change: what happened.
            time_s: the plant's clock; None for where it stands.

        Raises:
            SpecError: it names what is not there, or leaves orders that can never be made; nothing changes.
        """
        for known in self.events:
            if known.event_id == event_id:
                if known.change != change:
                    raise FloorError(
                        f"event {event_id!r}: reported before with other facts; give each event its own id"
                    )
                return known
        event = FloorEvent(
            number=self.state.newest_event + 1,
            event_id=event_id,
            time_s=self.state.now_s if time_s is None else time_s,
            raised_ns=self._clock_ns(),
            change=change,
        )
        after = apply(self.state, event)
        self._journal.append({"kind": "event", "event": to_dict(event)})
        self.state = after
        self.events.append(event)
        for listener in self._listeners:
            listener(event)
        return event

    def write(self, plan: NewPlan) -> Answer:
        """Put a plan into force, or say why not."""
        for earlier, answer in self.accepted:
            if earlier.decision_id == plan.decision_id:
                return replace(answer, outcome="repeated", version=self.state.version)
        state = self.state
        if plan.base_version != state.version or plan.answers != state.newest_event:
            reason = (
                f"made for version {plan.base_version} and event {plan.answers}; in force is version {state.version}, "
                f"and the newest event is {state.newest_event}"
            )
            return Answer(outcome="stale", version=state.version, reason=reason)
        if wrong := objections(state, plan):
            return Answer(outcome="refused", version=state.version, reason="; ".join(wrong))
        reaction_s = (self._clock_ns() - self._oldest_unanswered_ns()) / 1e9
        answer = Answer(outcome="accepted", version=state.version + 1, reaction_s=reaction_s)
        self._journal.append({"kind": "plan", "plan": asdict(plan), "answer": asdict(answer)})
        self._accept(plan, answer)
        return answer

    def close(self) -> None:
        """Give the journal back."""
        self._journal.close()

    def _oldest_unanswered_ns(self) -> int:
        waiting = [event.raised_ns for event in self.events if event.number > self.state.answers]
        return min(waiting, default=self._clock_ns())

    def _accept(self, plan: NewPlan, answer: Answer) -> None:
        self.state = with_plan(self.state, plan, answer.version)
        self.accepted.append((plan, answer))

    def _remember(self, line: dict[str, Any], *, where: str) -> None:
        if line.get("kind") == "event":
            event = event_from_dict(line["event"], where=where)
            self.state = apply(self.state, event)
            self.events.append(event)
        elif line.get("kind") == "plan":
            plan = build(line["plan"], NewPlan, where=where, path="plan")
            self._accept(plan, build(line["answer"], Answer, where=where, path="answer"))
        elif line.get("kind") == "session":
            self._num_sessions += 1
        else:
            raise ConfigError(f"{where}: kind: got {line.get('kind')!r}, expected 'event', 'plan' or 'session'")


def with_plan(state: FloorState, plan: NewPlan, version: int) -> FloorState:
    """Return ``state`` with ``plan`` in force as ``version``; it must have passed ``admission.objections``."""
    rows = {order: row for row, order in enumerate(plan.orders)}
    free = state.situation().orders
    line = np.array([state.line_names.index(plan.lines[rows[state.order_ids[i]]]) for i in free], np.int64)
    start_s = np.array([plan.starts_s[rows[state.order_ids[i]]] for i in free], np.int64)
    new = put_in_force(state, start_s, line)
    return replace(new, version=version, decision_id=plan.decision_id, answers=plan.answers)
