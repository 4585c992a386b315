"""The factory as an environment: a nominal plan runs, a supplier calls, the plan is made anew, hours pass.

``reset`` runs the nominal plan to the moment of the call; the one decision that is due is how to go on. Each ``step``
is one control period (four hours). Between events the plan stands and ``step`` takes None; snapshots of every channel
still come at each step. Read next: ``features`` for what is shown, ``decoder`` for how a decision becomes a plan.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from genba.errors import SimulatorError
from genba.machines.factory.decoder import decode, run_plan, sample_decode
from genba.machines.factory.features import channels
from genba.machines.factory.generator import generate
from genba.machines.factory.problem import Problem, Schedule, Situation, merge, situation_at
from genba.machines.factory.search import by_start
from genba.spec.action import Action
from genba.spec.embodiment import load_embodiment
from genba.spec.protocols import Step
from genba.spec.streams import ragged
from genba.spec.units import to_ns


class FactoryEnv:
    """One plant under one shortage per episode."""

    def __init__(self, size: str = "10x200", *, num_samples: int = 1) -> None:
        """Make an environment.

        Args:
            size: a name of ``generator.SIZES``.
            num_samples: 1 decodes a decision as it is; more decode it perturbed as well and keep the best by the
                planner's own objective (``decoder.sample_decode``).
        """
        self.embodiment = load_embodiment("factory/parallel-lines@2")
        self.size = size
        self.num_samples = num_samples
        self._problem: Problem | None = None

    def reset(self, seed: int) -> Step:
        """Draw the instance of ``seed`` and run its nominal plan to the supplier's call."""
        self._problem, self.nominal = generate(seed, self.size)
        self._seed = seed
        self.now_s = self._problem.event_time_s
        self.plan = self.nominal
        self.plan = self.unchanged = push_back(self.situation(), self.nominal)
        return self._step(decision_due=True)

    def step(self, action: Action | None) -> Step:
        """Re-plan where an action is given, then let one control period pass.

        Raises:
            SpecError: the action's scores are not over the free orders of now.
        """
        situation = self.situation()
        if action is not None:
            self.plan = self._decide(situation, action)
        self.now_s += round(self.embodiment.control.period_s)
        return self._step(decision_due=False)

    @property
    def problem(self) -> Problem:
        """Facts of the running instance."""
        if self._problem is None:
            raise SimulatorError("factory: no episode is running; call reset(seed) first")
        return self._problem

    def situation(self) -> Situation:
        """Return what the planning system knows now: open orders, lines, stock, and deliveries as announced."""
        return situation_at(self.problem, self.plan, self.now_s)

    def trace(self) -> dict[str, np.ndarray]:
        """Return the instance, the nominal plan, the pushed-back plan and the executed plan."""
        facts = {field.name: np.asarray(getattr(self.problem, field.name)) for field in dataclasses.fields(Problem)}
        return {
            **facts,
            "nominal_start_s": self.nominal.start_s,
            "nominal_line": self.nominal.line,
            "unchanged_start_s": self.unchanged.start_s,
            "unchanged_line": self.unchanged.line,
            "start_s": self.plan.start_s,
            "line": self.plan.line,
        }

    def instruction(self) -> str:
        """Return nothing: the objective is always the same."""
        return ""

    def close(self) -> None:
        """Forget the episode."""
        self._problem = None

    def _decide(self, situation: Situation, action: Action) -> Schedule:
        sequence = np.asarray(action.choices["sequence"])
        line = np.asarray(action.choices["line"])
        if line.ndim == 2 and line.shape[1] > self.problem.num_lines:
            line = line[:, : self.problem.num_lines]
        if self.num_samples > 1:
            start_s, chosen, _ = sample_decode(situation, sequence, line, num_samples=self.num_samples, seed=self._seed)
        else:
            start_s, chosen, _ = decode(situation, sequence, line)
        return merge(situation, self.plan, start_s, chosen)

    def _step(self, *, decision_due: bool) -> Step:
        situation = self.situation()
        time_ns = to_ns(self.now_s)
        samples = {name: ragged([time_ns], [rows]) for name, rows in channels(situation, self.plan).items()}
        ended = len(situation.orders) == 0
        return Step(time_ns, samples, terminated=ended, decision_due=decision_due and not ended)


def push_back(situation: Situation, schedule: Schedule) -> Schedule:
    """Return ``schedule`` with lines and order kept and every free order as early as its material allows."""
    start_s, line = schedule.start_s[situation.orders], schedule.line[situation.orders]
    new_start_s, _ = run_plan(situation, by_start(start_s), line)
    return merge(situation, schedule, new_start_s, line)
