"""The teacher of job shops: a search over plans at the start, a short one wherever another policy has led the shop.

Its answer orders operations by how late they could start without a longer schedule: of the many orders that give the same
schedule, the one that says what matters. Read next: ``local_search``; ``exact`` is the other teacher.
"""

from __future__ import annotations

import numpy as np

from genba.machines.factory.fjsp.baselines import answer
from genba.machines.factory.fjsp.decoder import Plan, best_rule, in_order, latest_starts, run_plan
from genba.machines.factory.fjsp.instance import Situation
from genba.machines.factory.fjsp.local_search import HOT, LocalSearch
from genba.machines.factory.fjsp.simulator import JobShopEnv
from genba.spec.action import ActionChunk
from genba.spec.observation import Observation


class JobShopExpert:
    """Local search from the best known plan."""

    name = "expert"

    def __init__(self, env: JobShopEnv, *, num_moves: int = 3_000, num_warm_moves: int = 1_000) -> None:
        """Make a teacher.

        Args:
            env: the shop it looks into.
            num_moves: moves of the first search of an episode per operation that is left; at 100 of them half a microsecond each.
            num_warm_moves: moves of later searches per operation.
        """
        self._env = env
        self._num_moves, self._num_warm_moves = num_moves, num_warm_moves
        self._plan: Plan | None = None
        self._seed = 0

    def reset(self, seed: int) -> None:
        """Forget the plan of the last episode."""
        self._plan, self._seed = None, seed

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with the best plan known for the operations that are left."""
        situation, env = self._env.situation(), self._env
        rows = situation.operations
        followed = self._plan is not None and all(
            np.array_equal(mine[rows], theirs[rows]) for mine, theirs in zip(self._plan[:2], (env.start, env.machine))
        )
        if not followed:
            self._plan = self._search(situation)
        assert self._plan is not None
        kept = run_plan(situation, in_order(situation, self._plan[0][rows]), self._plan[1])
        return answer(env, observation, situation, latest_starts(situation, kept), kept[1])

    def _search(self, situation: Situation) -> Plan:
        moves = self._num_moves if self._plan is None else self._num_warm_moves
        rows = situation.operations
        in_force = run_plan(situation, in_order(situation, self._env.start[rows]), self._env.machine)
        search = LocalSearch(
            situation, min(best_rule(situation), in_force, key=lambda plan: plan[2]), seed=self._seed % 2**31
        )
        # What another policy made of the shop is searched from a cooler start: much of it is right.
        search.run(moves * len(rows), hot=HOT if self._plan is None else HOT / 4)
        return search.plan
