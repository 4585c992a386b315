"""The teacher: a long search over plans at the event, a short one wherever another policy has led the plant.

It looks into the environment for the exact situation. Its plan of an earlier step is kept: as long as the plant follows
it, the answer is what is left of it; otherwise it searches again, warm. Read next: ``local_search``; ``exact`` is the other
teacher, for small instances.
"""

from __future__ import annotations

import numpy as np

from genba.machines.factory.baselines import answer
from genba.machines.factory.decoder import run_plan
from genba.machines.factory.local_search import HOT, LocalSearch
from genba.machines.factory.problem import Schedule, Situation, merge
from genba.machines.factory.search import best_of_atc, by_start
from genba.machines.factory.simulator import FactoryEnv
from genba.spec.action import ActionChunk
from genba.spec.observation import Observation


class SearchExpert:
    """Local search from the best known plan."""

    name = "expert"

    def __init__(self, env: FactoryEnv, *, num_moves: int = 10_000, num_warm_moves: int = 2_000) -> None:
        """Make a teacher.

        Args:
            env: the plant it looks into.
            num_moves: moves of the first search of an episode per free order; at 150 of them half a microsecond each.
            num_warm_moves: moves of later searches per free order.
        """
        self._env = env
        self._num_moves, self._num_warm_moves = num_moves, num_warm_moves
        self._plan: Schedule | None = None
        self._seed = 0

    def reset(self, seed: int) -> None:
        """Forget the plan of the last episode."""
        self._plan, self._seed = None, seed

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with the best plan known for the orders that are free now."""
        situation = self._env.situation()
        if self._plan is None or not _follows(self._env.plan, self._plan, situation):
            self._plan = self._search(situation)
        return answer(self._env, observation, self._plan.start_s[situation.orders], self._plan.line[situation.orders])

    def _search(self, situation: Situation) -> Schedule:
        moves_per_order = self._num_moves if self._plan is None else self._num_warm_moves
        if len(situation.orders) == 0:
            return self._env.plan
        starts = [best_of_atc(situation)[:2]]
        plans = [self._env.plan]
        if self._plan is not None and len(self._plan.start_s) == len(self._env.plan.start_s):
            # Where no order came in since, the plan of the last step may still be the best to begin with.
            plans.append(self._plan)
        starts += [(plan.start_s[situation.orders], plan.line[situation.orders]) for plan in plans]
        sequences = [(by_start(start_s), line) for start_s, line in starts]
        sequence, line = min(sequences, key=lambda start: run_plan(situation, *start)[1])
        search = LocalSearch(situation, sequence, line, seed=self._seed % 2**31)
        # What another policy made of the plant is searched from a cooler start: much of the last plan is still right.
        search.run(moves_per_order * len(situation.orders), hot=HOT if self._plan is None else HOT / 4)
        line = search.line
        start_s, _ = run_plan(situation, search.sequence, line)
        # Read back by start, as a decision is: reservation in order of start is never worse.
        again_s, _ = run_plan(situation, by_start(start_s), line)
        return merge(situation, self._env.plan, again_s, line)


def _follows(executed: Schedule, plan: Schedule, situation: Situation) -> bool:
    free = situation.orders
    if len(executed.start_s) != len(plan.start_s):
        return False
    return np.array_equal(executed.start_s[free], plan.start_s[free]) and np.array_equal(
        executed.line[free], plan.line[free]
    )
