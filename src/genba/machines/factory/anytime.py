"""One scheduler with a hard deadline and a plan always in force: what a plant leaves switched on.

Every stage starts from the best plan so far and only a cheaper one that ``feasibility`` finds no fault with takes its
place:

1. right shift: the standing plan, every order as early as line and material allow (microseconds);
2. dispatching rules, one at a time while there is time (``search.ATC_GRID``);
3. a proposal from outside, a network's or a person's: scores that the decoder turns into a plan, as it is and varied;
4. local search until the deadline, from the proposal where there is one, else from the best of these.

A proposal is searched from even where a rule's plan costs less: on twenty lines the plans of a network of a million weights
cost 13 % more than the best of twenty rules and after 50 ms of search 11 % less than a search from those.

It imports no model: ``propose`` is any callable. What a stage costs is learnt from its last runs, and a stage that
would not end in time is not begun. Read next: ``local_search``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from genba.errors import SpecError, VerificationError
from genba.machines.factory.decoder import ATC, decode, is_plan, run_plan, run_rule, variants
from genba.machines.factory.feasibility import fault
from genba.machines.factory.local_search import COLD, HOT, LocalSearch
from genba.machines.factory.problem import Schedule, Situation, merge
from genba.machines.factory.search import ATC_GRID, by_start

#: What gives scores for a situation: ``sequence`` ``[free]``, higher first, and ``line`` ``[free, lines]``, as the
#: task's two choices.
Propose = Callable[[Situation], tuple[np.ndarray, np.ndarray]]

#: ``start_s``, ``line`` of the free orders and what they cost.
Plan = tuple[np.ndarray, np.ndarray, int]

#: First temperature of a search from a proposal (in mean weighted processing times) where less than ``SHORT_S`` are left and
#: where more are; chosen on training seeds. Searches from rules take the default.
HOT_SHORT, HOT_LONG, SHORT_S = 0.3, 1.0, 0.2

#: Share of the deadline that varied decodings of a proposal may take.
VARY_SHARE = 0.25

#: Time kept back at the end for putting a plan into force, in seconds and as a share of the deadline.
RESERVE_S, RESERVE_SHARE = 0.0005, 0.03


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """What one stage of a decision came to."""

    name: str
    #: weighted tardiness of the free orders in the best plan after it, in seconds
    cost_s: int
    #: when it ended, in seconds of the scheduler's clock after the decision began
    at_s: float
    #: why its plan was not taken though it was cheaper, or empty
    refused: str = ""


class AnytimeScheduler:
    """Keeps a schedule in force and makes it anew when it is told what has changed.

    Args:
        schedule: what is in force.
        clock: seconds; deadlines are meant on this clock. CPU time (``time.thread_time``) for comparisons.
        seed: of the search.
    """

    def __init__(self, schedule: Schedule, *, clock: Callable[[], float] = time.perf_counter, seed: int = 0) -> None:
        self.schedule = schedule
        #: stages of the last decision
        self.stages: list[Stage] = []
        self._clock, self._seed = clock, seed
        self._best: Plan | None = None
        self._proposed: Plan | None = None
        # what a stage took at its dearest, in seconds, by stage and size
        self._dearest_s: dict[tuple[str, int], float] = {}

    def decide(self, situation: Situation, deadline_s: float, propose: Propose | None = None) -> Schedule:
        """Return the schedule that is in force from now on, within ``deadline_s``.

        Args:
            situation: what is open now, under the schedule in force.
            deadline_s: seconds of the clock from this call; right shift is done even where it is 0.
            propose: asked once for scores or a plan; None for none. What it answers too late is not looked at.

        Returns:
            The new schedule; it never costs more than the old one pushed back. A proposal that does not fit the
            situation is passed over; ``stages`` says why.

        Raises:
            VerificationError: the schedule in force cannot be pushed back, so the situation is not one that it led to.
        """
        self._began_s = self._clock()
        self._end_s = self._began_s + deadline_s - RESERVE_S - RESERVE_SHARE * deadline_s
        self._situation, self._best, self._proposed, self.stages = situation, None, None, []
        if len(situation.orders):
            start_s, line = self.schedule.start_s[situation.orders], self.schedule.line[situation.orders]
            pushed_s, cost_s = run_plan(situation, by_start(start_s), line)
            self._offer("right shift", [(pushed_s, line, cost_s)])
            # A proposal of a planner that knows more leaves the rules but one.
            self._offer("rules", self._while_time("rule", self._rules(ATC_GRID if propose is None else ATC_GRID[:1])))
            if propose is not None and self._has_time("proposal"):
                self._propose(propose)
            self._search()
            assert self._best is not None
            self.schedule = merge(situation, self.schedule, *self._best[:2])
        return self.schedule

    def _rules(self, grid: Iterable[tuple[float, float]]) -> Iterator[Plan]:
        for k1, k2 in grid:
            yield run_rule(self._situation, ATC, k1=k1, k2=k2)

    def _propose(self, propose: Propose) -> None:
        began_s = self._clock()
        sequence, line = propose(self._situation)
        self._learn("proposal", self._clock() - began_s)
        if self._clock() > self._end_s:
            self._note("proposal", refused="came too late")
            return
        try:
            plan = decode(self._situation, sequence, line)
        except SpecError as error:
            self._note("proposal", refused=str(error))
            return
        self._proposed = plan
        self._offer("proposal", [plan])
        if not is_plan(line):
            until_s = self._clock() + VARY_SHARE * (self._end_s - self._began_s)
            varied = variants(self._situation, sequence, line, seed=self._seed)
            self._proposed = min([plan, *self._while_time("varied", varied, until_s)], key=lambda found: found[2])
            self._offer("varied", [self._proposed])

    def _search(self) -> None:
        left_s = self._end_s - self._clock()
        if left_s <= 0 or self._best is None:
            return
        start_s, line, _ = self._proposed or self._best
        search = LocalSearch(self._situation, by_start(start_s), line, seed=self._seed)
        warm = HOT_SHORT if left_s < SHORT_S else HOT_LONG
        hot = HOT if self._proposed is None else warm
        search.run_for(self._end_s - self._clock(), clock=self._clock, hot=hot, cold=COLD)
        # Read back by start, as a decision is: reservation in order of start is never worse.
        found_s, _ = run_plan(self._situation, search.sequence, search.line)
        again_s, cost_s = run_plan(self._situation, by_start(found_s), search.line)
        self._offer("search", [(again_s, search.line, cost_s)])

    def _offer(self, stage: str, plans: Iterable[Plan]) -> None:
        """Take the cheapest of ``plans`` where it is cheaper than the best so far and no fault is found with it."""
        cheapest = min(plans, key=lambda plan: plan[2], default=None)
        refused = ""
        if cheapest is not None and (self._best is None or cheapest[2] < self._best[2]):
            refused = fault(self._situation, *cheapest[:2])
            if not refused:
                self._best = cheapest
            elif self._best is None:
                raise VerificationError(f"{stage}: the schedule in force cannot be pushed back: {refused}")
        self._note(stage, refused)

    def _note(self, stage: str, refused: str = "") -> None:
        assert self._best is not None
        at_s = self._clock() - self._began_s
        self.stages.append(Stage(name=stage, cost_s=self._best[2], at_s=at_s, refused=refused))

    def _while_time(self, stage: str, plans: Iterator[Plan], until_s: float = float("inf")) -> Iterator[Plan]:
        """Pass plans on as long as the next would be made in time."""
        while self._has_time(stage, until_s):
            began_s = self._clock()
            plan = next(plans, None)
            if plan is None:
                return
            self._learn(stage, self._clock() - began_s)
            yield plan

    def _has_time(self, stage: str, until_s: float = float("inf")) -> bool:
        return self._clock() + self._dearest_s.get(self._key(stage), 0.0) < min(self._end_s, until_s)

    def _learn(self, stage: str, took_s: float) -> None:
        key = self._key(stage)
        # A single slow run (a first compilation, a busy computer) is forgotten again.
        self._dearest_s[key] = max(took_s, 0.8 * self._dearest_s.get(key, 0.0))

    def _key(self, stage: str) -> tuple[str, int]:
        # by size in powers of two: a dispatching rule's time grows with the square of the free orders
        return stage, len(self._situation.orders).bit_length()
