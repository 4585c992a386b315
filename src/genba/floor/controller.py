"""The controller: listens to a floor, decides when something happens, and writes the new plan back, nobody in between.

Exactly once, whatever dies:

* An event counts once, by its number. A repeated one is dropped, one that is too early waits, and a gap is asked for.
* Before a plan is written it is in the controller's journal. If the controller dies before the answer, it sends the same
  plan with the same id when it comes back, and the floor knows whether it has it. A plan that has become stale is made
  anew from a fresh snapshot.
* A lost connection is opened again, with a pause that grows; what happened meanwhile is in the snapshot.

A plan passes ``admission.objections`` here before it goes out. An event that cannot be understood, or a plan that is
refused, leaves the plan in force as it is and is written down.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from genba.config import build
from genba.errors import ConfigError, FloorError, SpecError
from genba.floor.admission import objections
from genba.floor.decide import Decider, best_of
from genba.floor.events import FloorEvent
from genba.floor.journal import Journal
from genba.floor.plant import with_plan
from genba.floor.protocol import Answer, Floor, NewPlan
from genba.floor.state import FloorState, apply

#: Pauses before a connection is opened again, seconds; the last one repeats.
PAUSES_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


@dataclass(slots=True)
class Counts:
    """What a controller has met since it started."""

    events: int = 0
    duplicates: int = 0
    gaps: int = 0
    connections: int = 0
    written: int = 0
    repeated: int = 0
    stale: int = 0
    refused: int = 0
    #: events that this controller could not apply
    not_understood: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """One plan that went into force."""

    plan: NewPlan
    answer: Answer
    #: weighted tardiness of the plan that stood and of the new one, seconds
    cost_before_s: int
    cost_after_s: int
    #: CPU time of the decision, seconds
    decision_s: float


@dataclass
class Controller:
    """Re-sequences one floor.

    Args:
        connect: opens a new connection to the floor.
        decider: who decides.
        journal: the file in which it remembers.
        deadline_s: for a decision, seconds.
        on_written: called with each plan that went into force.
        on_trouble: called with a sentence about what went wrong and was survived.
    """

    connect: Callable[[], Awaitable[Floor]]
    decider: Decider
    journal: Path
    deadline_s: float = 0.25
    on_written: Callable[[Written], None] = lambda written: None
    on_trouble: Callable[[str], None] = lambda sentence: None
    counts: Counts = field(default_factory=Counts)

    async def run(self, *, until: Callable[[], bool] = lambda: False) -> None:
        """Control the floor until ``until`` says so after an event, or for ever."""
        with Journal(self.journal) as journal:
            self._journal = journal
            self._pending: NewPlan | None = _pending(journal)
            self._attempt = 0
            while not until():
                try:
                    floor = await self.connect()
                    self.counts.connections += 1
                    async with contextlib.aclosing(_Closing(floor)):
                        await self._follow(floor, until)
                except (FloorError, ConfigError, SpecError) as error:
                    self.on_trouble(str(error))
                    # a message that cannot be read is as good as lost: the next snapshot holds what it was about; it
                    # may come again at once, so that is no reason for haste
                    turn = self._attempt if isinstance(error, FloorError) else len(PAUSES_S)
                    await asyncio.sleep(PAUSES_S[min(turn, len(PAUSES_S) - 1)])
                    self._attempt += 1

    async def _follow(self, floor: Floor, until: Callable[[], bool]) -> None:
        # listening begins before the snapshot, so that nothing falls between the two
        events = floor.events()
        state = await self._settle(floor, await floor.snapshot())
        self._attempt = 0
        async for event in events:
            if until():
                return
            if event.number <= state.newest_event:
                self.counts.duplicates += 1
                continue
            batch = [event]
            if event.number > state.newest_event + 1:
                self.counts.gaps += 1
                batch = await floor.events_since(state.newest_event)
            state = await self._handle(floor, state, batch)
            if until():
                return

    async def _handle(self, floor: Floor, state: FloorState, batch: list[FloorEvent]) -> FloorState:
        """Apply the events of ``batch`` that are new, decide once, write."""
        try:
            for event in sorted(batch, key=lambda event: event.number):
                if event.number > state.newest_event:
                    state = apply(state, event)
                    self.counts.events += 1
                    self._journal.append({"kind": "event", "number": event.number, "event_id": event.event_id})
        except SpecError as error:
            # the plan in force stays; a snapshot shows what the floor makes of it
            self.counts.not_understood += 1
            self.on_trouble(str(error))
            return await self._settle(floor, await floor.snapshot())
        return await self._decide_and_write(floor, state)

    async def _settle(self, floor: Floor, state: FloorState) -> FloorState:
        """Bring a floor that was just connected to up to date: finish what was begun, answer what has happened."""
        if self._pending is not None:
            answer = await floor.write_plan(self._pending)
            self._settled(self._pending, answer)
            state = await floor.snapshot()
        if state.newest_event > state.answers:
            state = await self._decide_and_write(floor, state)
        return state

    async def _decide_and_write(self, floor: Floor, state: FloorState) -> FloorState:
        while True:
            began_s = time.thread_time()
            start_s, line = best_of(state, self.decider.decide(state, deadline_s=self.deadline_s))
            decision_s = time.thread_time() - began_s
            plan = plan_for(state, start_s, line, decision_id=uuid.uuid4().hex)
            if wrong := objections(state, plan):
                self.counts.refused += 1
                self._journal.append({"kind": "refused_here", "answers": plan.answers, "why": wrong})
                self.on_trouble(f"{self.decider.name}: a plan that may not be written: {'; '.join(wrong)}")
                return state
            self._pending = plan
            self._journal.append({"kind": "plan", "plan": asdict(plan)})
            answer = await floor.write_plan(plan)
            self._settled(plan, answer)
            if answer.outcome in ("accepted", "repeated"):
                new = with_plan(state, plan, answer.version)
                self.on_written(
                    Written(
                        plan=plan,
                        answer=answer,
                        cost_before_s=state.cost_s(),
                        cost_after_s=new.cost_s(),
                        decision_s=decision_s,
                    )
                )
                return new
            self.on_trouble(f"the floor did not take a plan ({answer.outcome}): {answer.reason}")
            fresh = await floor.snapshot()
            if answer.outcome == "refused" and fresh.newest_event == state.newest_event:
                return fresh
            state = fresh

    def _settled(self, plan: NewPlan, answer: Answer) -> None:
        name: Literal["written", "repeated", "stale", "refused"] = (
            "written" if answer.outcome == "accepted" else answer.outcome
        )
        setattr(self.counts, name, getattr(self.counts, name) + 1)
        self._pending = None
        self._journal.append({"kind": "answer", "decision_id": plan.decision_id, "answer": asdict(answer)})


def plan_for(state: FloorState, start_s: np.ndarray, line: np.ndarray, *, decision_id: str) -> NewPlan:
    """Return the message that puts ``start_s`` and ``line``, int64 ``[free]``, into force on a floor in ``state``."""
    return NewPlan(
        decision_id=decision_id,
        base_version=state.version,
        answers=state.newest_event,
        decided_at_s=state.now_s,
        orders=tuple(state.order_ids[i] for i in state.situation().orders),
        lines=tuple(state.line_names[m] for m in line),
        starts_s=tuple(int(s) for s in start_s),
    )


def _pending(journal: Journal) -> NewPlan | None:
    """Return the plan that was about to be written when the journal's last owner died, if any."""
    pending = None
    for number, line in enumerate(journal.lines, 1):
        if line.get("kind") == "plan":
            pending = build(line["plan"], NewPlan, where=f"{journal.path}: line {number}", path="plan")
        elif line.get("kind") == "answer":
            pending = None
    return pending


class _Closing:
    """Lets ``aclosing`` give a floor's connection back."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    async def aclose(self) -> None:
        with contextlib.suppress(FloorError):
            await self._floor.close()
