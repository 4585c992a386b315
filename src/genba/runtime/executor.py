"""The executor: one action per control step, whatever the policy does.

Each chunk carries the time that it answers, and its actions are looked up by absolute time. Nothing is popped and no
latency is estimated, so a late, repeated or skipped chunk cannot shift the ones after it. Where an answer is late, in
this order: the rest of the last chunk; what the machine does on a fault (for a choice: go on). The late chunk, once
the machine's time has passed what it took, may serve the control steps that it still reaches. Every action passes the
guard, and everything is counted in a ``ControlLog``. A model that loses its clearance is not asked any more, and nothing of what it
said is executed: the machine does what it does on a fault. Read next: ``loop``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from genba.guard import fault_action, for_embodiment
from genba.runtime.clearance import Clearance
from genba.runtime.control_log import ControlLog
from genba.runtime.surprise import SurpriseWatch
from genba.spec.action import Action, ActionChunk
from genba.spec.embodiment import Embodiment
from genba.spec.observation import Observation
from genba.spec.protocols import Guard, Policy, Router
from genba.spec.units import to_ns


@dataclass(frozen=True, slots=True, eq=False)
class _Late:
    """A chunk that is not there yet, and the machine's time from which it is."""

    chunk: ActionChunk
    there_ns: int


class Executor:
    """Drives one machine with one policy.

    Args:
        policy: what proposes; where it has a true ``anytime``, its ``act`` is given the deadline.
        embodiment: the facts of the machine.
        guard: what says no; None for the one that the embodiment's facts ask for.
        router: what may show policy and guard another route; None for the route as it comes.
        enforce_deadline: whether a late answer is treated as late. Misses are counted either way; without enforcement
            the machine waits, which only a simulator does.
        clearance: whether the policy may still act; None where that was not checked.
        watch: finds how surprising each observation is, and holds back where the machine's facts say so; the policy gives it its
            decisions.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        policy: Policy,
        embodiment: Embodiment,
        *,
        guard: Guard | None = None,
        router: Router | None = None,
        enforce_deadline: bool = True,
        clearance: Clearance | None = None,
        watch: SurpriseWatch | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.policy = policy
        self.clearance = clearance
        self.watch = watch
        self.embodiment = embodiment
        self.guard = for_embodiment(embodiment) if guard is None else guard
        self.router = router
        self.enforce_deadline = enforce_deadline
        self._clock = clock
        self._anytime = bool(getattr(policy, "anytime", False))
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Forget everything and begin a new log."""
        self.policy.reset(seed)
        self.guard.reset()
        if self.watch is not None:
            self.watch.reset()
        if self.router is not None:
            self.router.reset()
        self.log = ControlLog()
        self._chunk: ActionChunk | None = None
        self._late: _Late | None = None
        self._last: np.ndarray | None = None

    def step(self, observation: Observation, *, arrived: float | None = None) -> Action | None:
        """Return what the machine is told now; None tells it to go on with its last choices.

        Args:
            observation: what it sees.
            arrived: the clock's time at which the observation came; None for now.
        """
        arrived = self._clock() if arrived is None else arrived
        self.log.num_steps += 1
        shown, watched = (observation, observation) if self.router is None else self.router.see(observation)
        if self.watch is not None:
            self.log.surprises.append(self.watch.see(shown))
        if self.clearance is not None and (refusal := self.clearance.refusal):
            self.log.refusals[refusal] += 1
            self._chunk = self._late = None
        else:
            self._adopt_late(observation.time_ns)
            if self._late is None and self._is_due(observation.time_ns):
                self._decide(shown, arrived)
        proposed = self._proposed(observation.time_ns)
        if proposed is None:
            self.log.num_fallbacks += 1
            if not self.embodiment.action.continuous:
                return None
            proposed = Action(fault_action(self.embodiment, observation, self._last))
        if self.watch is not None:
            eased = self.watch.ease(proposed, shown)
            self.log.num_eased += eased is not proposed
            proposed = eased
        verdict = self.guard.check(proposed, watched)
        if verdict.reasons:
            self.log.num_guarded += 1
            self.log.interventions.update(verdict.reasons)
        action = verdict.action
        if self.watch is not None:
            self.watch.did(action)
        if action.continuous is None:
            return action if action.choices else None
        self._last = action.continuous
        return action

    def _is_due(self, time_ns: int) -> bool:
        """Say whether the chunk in hand has been executed for as long as it should be."""
        if self._chunk is None or self._chunk.at(time_ns) is None:
            return True
        control = self.embodiment.control
        return time_ns >= self._chunk.time_ns + control.execute_length * to_ns(control.period_s)

    def _decide(self, observation: Observation, arrived: float) -> None:
        deadline = arrived + self.embodiment.control.deadline_s
        if self._anytime and self.enforce_deadline:
            chunk = self.policy.act(observation, deadline)  # type: ignore[call-arg]
        else:
            chunk = self.policy.act(observation)
        latency_s = self._clock() - arrived
        self.log.num_decisions += 1
        self.log.latencies_s.append(latency_s)
        if (flow_steps := getattr(self.policy, "flow_steps_taken", 0)) > 0:
            self.log.flow_steps[flow_steps] += 1
        if latency_s <= self.embodiment.control.deadline_s:
            self._chunk = chunk
            return
        self.log.num_misses += 1
        if self.enforce_deadline:
            self._late = _Late(chunk, observation.time_ns + to_ns(latency_s))
        else:
            self._chunk = chunk

    def _adopt_late(self, time_ns: int) -> None:
        """Take a late chunk into use once its time has come."""
        if self._late is None or time_ns < self._late.there_ns:
            return
        late, self._late = self._late.chunk, None
        # scores are over the rows of an observation that is gone: late choices are worth nothing
        if late.continuous is not None and late.at(time_ns) is not None:
            self._chunk = late

    def _proposed(self, time_ns: int) -> Action | None:
        """Return the action of the chunk in hand for this time, or None where it does not reach."""
        if self._chunk is None:
            return None
        action = self._chunk.at(time_ns)
        if action is None:
            return None
        if self._late is not None:
            self.log.num_tails += 1
        # a chunk's choices are one decision, over the rows of the observation that it answers
        return action if self._chunk.time_ns == time_ns else Action(action.continuous)
