"""What a plant does without a learned policy: nothing, a dispatching rule, or a short search.

They read ``FactoryEnv.situation()``, which holds what the planning system knows at the moment of the decision and
nothing that comes later. Each answers with a plan that is executed exactly as the rule made it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from genba.machines.factory.decoder import ATC, EDD, FIFO, WSPT, as_decision, run_plan, run_rule
from genba.machines.factory.local_search import LocalSearch
from genba.machines.factory.problem import Situation
from genba.machines.factory.search import anneal, best_of_atc, by_start
from genba.machines.factory.simulator import FactoryEnv
from genba.spec.action import Action, ActionChunk, single
from genba.spec.observation import Observation

Planner = Callable[[FactoryEnv, Situation], tuple[np.ndarray, np.ndarray]]


class PlanPolicy:
    """A rule that makes a whole plan from a situation."""

    def __init__(self, env: FactoryEnv, name: str, planner: Planner) -> None:
        self.name = name
        self._env, self._planner = env, planner

    def reset(self, seed: int) -> None:
        """Do nothing: rules draw nothing."""

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with the rule's plan for the orders that are free now."""
        start_s, line = self.plan(self._env.situation())
        return answer(self._env, observation, start_s, line)

    def plan(self, situation: Situation) -> tuple[np.ndarray, np.ndarray]:
        """Return ``start_s`` and ``line`` int64 ``[free]`` of the rule's plan."""
        return self._planner(self._env, situation)


def answer(env: FactoryEnv, observation: Observation, start_s: np.ndarray, line: np.ndarray) -> ActionChunk:
    """Write a plan of the free orders as the answer to ``observation``."""
    width = len(observation.streams["lines"].sample(-1))
    sequence, lines = as_decision(start_s, line, width)
    return single(
        observation.time_ns, env.embodiment.control.period_s, Action(choices={"sequence": sequence, "line": lines})
    )


def right_shift(env: FactoryEnv) -> PlanPolicy:
    """Keep the plan that stands: every order waits on its line until its material is there."""
    return PlanPolicy(
        env,
        "right_shift",
        lambda env, situation: (env.intended.start_s[situation.orders], env.intended.line[situation.orders]),
    )


def fifo(env: FactoryEnv) -> PlanPolicy:
    """Dispatch in order number."""
    return PlanPolicy(env, "fifo", lambda _, situation: run_rule(situation, FIFO)[:2])


def edd(env: FactoryEnv) -> PlanPolicy:
    """Dispatch by earliest due date."""
    return PlanPolicy(env, "edd", lambda _, situation: run_rule(situation, EDD)[:2])


def wspt(env: FactoryEnv) -> PlanPolicy:
    """Dispatch by weight over processing time."""
    return PlanPolicy(env, "wspt", lambda _, situation: run_rule(situation, WSPT)[:2])


def atc(env: FactoryEnv) -> PlanPolicy:
    """Dispatch by apparent tardiness cost with set-ups, one pass, k1 = k2 = 1: the best pair on training seeds."""
    return PlanPolicy(env, "atc", lambda _, situation: run_rule(situation, ATC)[:2])


def atc_best_of_20(env: FactoryEnv) -> PlanPolicy:
    """Dispatch with twenty pairs (k1, k2), keep the best."""
    return PlanPolicy(env, "atc_best_of_20", lambda _, situation: best_of_atc(situation)[:2])


def search_in_deadline(env: FactoryEnv) -> PlanPolicy:
    """Search from the best of twenty for 200 000 moves, some 0.1 s on one core: what the deadline leaves a planner."""
    return PlanPolicy(env, "search_in_deadline", lambda _, situation: _searched(situation, num_moves=200_000))


def annealing_for(budget_s: float) -> Callable[[FactoryEnv], PlanPolicy]:
    """Return a policy that anneals as this project did before ``local_search``: a whole run from the changed place on."""

    def plan(_: FactoryEnv, situation: Situation) -> tuple[np.ndarray, np.ndarray]:
        began_s = time.thread_time()
        start_s, line, _cost = best_of_atc(situation)
        sequence = by_start(start_s)
        if len(sequence) < 2:
            return start_s, line
        # Its schedule is over moves: a few tell how many fit.
        anneal(situation, sequence, line, num_moves=1, seed=0)
        probe_s = time.thread_time()
        anneal(situation, sequence, line, num_moves=500, seed=0, hot=0.005, cold=0.0001)
        now_s = time.thread_time()
        num_moves = int(500 * (budget_s - (now_s - began_s)) / max(now_s - probe_s, 1e-6))
        hot, cold = (0.005, 0.0001) if budget_s < 0.5 else (0.01, 0.0003)
        sequence, line, _cost = anneal(
            situation, sequence, line, num_moves=max(num_moves, 0), seed=0, hot=hot, cold=cold
        )
        return run_plan(situation, sequence, line)[0], line

    return lambda env: PlanPolicy(env, f"annealing_{budget_s:g}s", plan)


def local_search_for(budget_s: float) -> Callable[[FactoryEnv], PlanPolicy]:
    """Return a policy that searches from the best of twenty for so many CPU seconds, those of the twenty included."""

    def plan(_: FactoryEnv, situation: Situation) -> tuple[np.ndarray, np.ndarray]:
        return _searched(situation, budget_s=budget_s)

    return lambda env: PlanPolicy(env, f"local_search_{budget_s:g}s", plan)


def cp_sat_for(budget_s: float) -> Callable[[FactoryEnv], PlanPolicy]:
    """Return a policy that gives CP-SAT the best of twenty and so many seconds on two workers; for small instances."""

    def make(env: FactoryEnv) -> PlanPolicy:
        # Here, before anything is timed: with pandas behind it, OR-Tools takes 0.25 s to load, and every command that knows
        # the tasks would pay for it.
        from genba.machines.factory.exact import solve

        def plan(_: FactoryEnv, situation: Situation) -> tuple[np.ndarray, np.ndarray]:
            return solve(situation, best_of_atc(situation), limit_s=budget_s, num_workers=2, seed=0)[:2]

        return PlanPolicy(env, f"cp_sat_{budget_s:g}s", plan)

    return make


def _searched(situation: Situation, *, num_moves: int = 0, budget_s: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    began_s = time.thread_time()
    start_s, line, _cost = best_of_atc(situation)
    search = LocalSearch(situation, by_start(start_s), line)
    if num_moves:
        search.run(num_moves)
    else:
        search.run_for(budget_s - (time.thread_time() - began_s))
    return run_plan(situation, search.sequence, search.line)[0], search.line


#: Seconds that anytime planners are compared at.
BUDGETS_S = (0.1, 1.0, 10.0)

#: What the table of results shows, in its order, and everything that can be asked for by name.
COMPARED = ("right_shift", "fifo", "edd", "wspt", "atc", "atc_best_of_20", "search_in_deadline")
POLICIES: dict[str, Callable[[FactoryEnv], PlanPolicy]] = {
    "right_shift": right_shift,
    "fifo": fifo,
    "edd": edd,
    "wspt": wspt,
    "atc": atc,
    "atc_best_of_20": atc_best_of_20,
    "search_in_deadline": search_in_deadline,
    **{f"annealing_{s:g}s": annealing_for(s) for s in BUDGETS_S},
    **{f"local_search_{s:g}s": local_search_for(s) for s in BUDGETS_S},
    **{f"cp_sat_{s:g}s": cp_sat_for(s) for s in BUDGETS_S},
}
