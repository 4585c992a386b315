"""What a job shop does without a learned policy: a dispatching rule, or a search that begins at the best of them.

They read ``JobShopEnv.situation()``, which holds what the planning system knows. Each answers with a plan that is executed exactly
as the rule made it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from genba.machines.factory.fjsp.decoder import RULES, Plan, as_decision, best_rule, latest_starts, run_rule
from genba.machines.factory.fjsp.instance import Situation
from genba.machines.factory.fjsp.local_search import LocalSearch
from genba.machines.factory.fjsp.simulator import JobShopEnv
from genba.spec.action import Action, ActionChunk, single
from genba.spec.observation import Observation

Planner = Callable[[Situation], Plan]


class PlanPolicy:
    """A rule that makes a whole plan from a situation."""

    def __init__(self, env: JobShopEnv, name: str, planner: Planner) -> None:
        self.name = name
        self._env, self._planner = env, planner

    def reset(self, seed: int) -> None:
        """Do nothing: rules draw nothing."""

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with the rule's plan for the operations that are left."""
        situation = self._env.situation()
        plan = self._planner(situation)
        return answer(self._env, observation, situation, latest_starts(situation, plan), plan[1])


def answer(
    env: JobShopEnv, observation: Observation, situation: Situation, when: np.ndarray, machine: np.ndarray
) -> ActionChunk:
    """Write a plan of the operations that are left, in the order of ``when`` ``[operations]``, as the answer to ``observation``."""
    sequence, machines = as_decision(situation, when, machine)
    return single(
        observation.time_ns,
        env.embodiment.control.period_s,
        Action(choices={"sequence": sequence, "machine": machines}),
    )


def searched(situation: Situation, *, num_moves: int = 0, budget_s: float = 0.0) -> Plan:
    """Search from the best rule: so many moves per operation that is left, or so many CPU seconds."""
    search = LocalSearch(situation, best_rule(situation))
    if num_moves:
        search.run(num_moves * len(situation.operations))
    else:
        search.run_for(budget_s)
    return search.plan


def _policy(name: str, planner: Planner) -> Callable[[JobShopEnv], PlanPolicy]:
    return lambda env: PlanPolicy(env, name, planner)


#: What the table of results shows, in its order, and everything that can be asked for by name.
COMPARED = (*RULES, "best_of_4", "search_in_deadline")
POLICIES: dict[str, Callable[[JobShopEnv], PlanPolicy]] = {
    **{rule: _policy(rule, partial(run_rule, rule=rule)) for rule in RULES},
    "best_of_4": _policy("best_of_4", best_rule),
    # limited by moves, so that a seed repeats: at 300 operations 0.15 CPU-s
    "search_in_deadline": _policy("search_in_deadline", partial(searched, num_moves=500)),
    "local_search_1s": _policy("local_search_1s", partial(searched, budget_s=1.0)),
}
