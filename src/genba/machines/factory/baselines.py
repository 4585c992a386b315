"""What a plant does without a learned policy: nothing, a dispatching rule, or a short search.

They read ``FactoryEnv.situation()``, which holds what the planning system knows at the moment of the decision and
nothing that comes later. Each answers with a plan that is executed exactly as the rule made it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from genba.machines.factory.decoder import ATC, EDD, FIFO, WSPT, as_decision, run_plan, run_rule
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
        start_s, line = self._planner(self._env, self._env.situation())
        return answer(self._env, observation, start_s, line)


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
        # the nominal starts: material is claimed in the order in which the old plan meant to use it
        lambda env, situation: (env.nominal.start_s[situation.orders], env.nominal.line[situation.orders]),
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
    """Anneal the best of twenty for 20 000 moves, some 0.1 s on one core: what the deadline leaves a classical planner."""
    return PlanPolicy(env, "search_in_deadline", _search_in_deadline)


def _search_in_deadline(_: FactoryEnv, situation: Situation) -> tuple[np.ndarray, np.ndarray]:
    start_s, line, _cost = best_of_atc(situation)
    # a cool start: measured better than the long search's temperature at this few moves
    sequence, line, _cost = anneal(situation, by_start(start_s), line, num_moves=20_000, seed=0, hot=0.005, cold=0.0001)
    return run_plan(situation, sequence, line)[0], line
