"""The factory as an environment: a nominal plan runs, something happens, the plan is made anew, hours pass.

``reset`` runs the nominal plan to the first event; the decision that is due is how to go on. Each ``step`` is one
control period (four hours), or less where the next event comes before its end. At an event the plan in force is pushed
back to what is now possible, and a decision is due. Between events the plan stands and ``step`` takes None; snapshots of
every channel still come at each step. Read next: ``events`` for what can happen, ``features`` for what is shown, ``decoder`` for how a decision becomes a plan.
"""

from __future__ import annotations

import dataclasses
from collections import deque

import numpy as np

from genba.errors import ConfigError, SimulatorError, nearest
from genba.machines.factory.decoder import run_plan, sample_decode
from genba.machines.factory.events import Event, apply, draw_events
from genba.machines.factory.features import channels
from genba.machines.factory.generator import generate, generate_undisturbed
from genba.machines.factory.problem import Problem, Schedule, Situation, merge, situation_at
from genba.machines.factory.search import by_start
from genba.spec.action import Action
from genba.spec.embodiment import load_embodiment
from genba.spec.protocols import Step
from genba.spec.streams import ragged
from genba.spec.units import to_ns

#: What can happen in an episode: the supplier's call of the shortage tasks, or moments and events at each of them.
SCENARIOS: dict[str, tuple[int, int] | None] = {"shortage": None, "one_by_one": (6, 1), "two_at_once": (2, 2)}

#: How often a network's scores are decoded, by size: what is left on one core of 10, 30, 150 and 600 ms after preset ``tiny``.
NUM_SAMPLES = {"5x50": 64, "10x200": 64, "20x1000": 12, "30x2000": 12}


class FactoryEnv:
    """One plant per episode, and what happens to it."""

    def __init__(self, size: str = "10x200", *, scenario: str = "shortage", num_samples: int | None = None) -> None:
        """Make an environment.

        Args:
            size: a name of ``generator.SIZES``.
            scenario: a name of ``SCENARIOS``.
            num_samples: how often soft scores are decoded, varied, the best by the planner's own objective being kept
                (``decoder.sample_decode``); 1 decodes them as they are, None as often as ``NUM_SAMPLES`` says of the size.

        Raises:
            ConfigError: no such size or scenario.
        """
        if size not in NUM_SAMPLES:
            raise ConfigError(f"factory size: got {size!r}, expected a known one{nearest(size, NUM_SAMPLES)}")
        if scenario not in SCENARIOS:
            raise ConfigError(f"factory scenario: got {scenario!r}, expected a known one{nearest(scenario, SCENARIOS)}")
        self.embodiment = load_embodiment("factory/parallel-lines@2")
        self.size, self.scenario = size, scenario
        self.num_samples = NUM_SAMPLES[size] if num_samples is None else num_samples
        self._problem: Problem | None = None

    def reset(self, seed: int) -> Step:
        """Draw the instance of ``seed`` and run its nominal plan to the first event."""
        self._seed, drawn = seed, SCENARIOS[self.scenario]
        self._events: deque[Event] = deque()
        if drawn is None:
            self._problem, self.nominal = generate(seed, self.size)
        else:
            self._problem, self.nominal = generate_undisturbed(seed, self.size)
            self._events.extend(
                draw_events(self._problem, self.nominal, seed, num_moments=drawn[0], num_at_once=drawn[1])
            )
        self.now_s = self._problem.event_time_s
        self.plan = self.unchanged = self.nominal
        # What would be if nobody ever decided: how much is held depends on what was used until then.
        self._unchanged_problem = self._problem
        #: event times and the plan that was in force when each came
        self.history: list[tuple[int, Schedule]] = []
        self._happen()
        return self._step(decision_due=True)

    def step(self, action: Action | None) -> Step:
        """Re-plan where an action is given, then let time pass: one control period, or until the next event.

        Raises:
            SpecError: the action's scores are not over the free orders of now.
        """
        situation = self.situation()
        if action is not None:
            self.plan = self._decide(situation, action)
        self.now_s += round(self.embodiment.control.period_s)
        happens = bool(self._events) and self._events[0].time_s <= self.now_s
        if happens:
            self.now_s = self._events[0].time_s
            self._happen()
        return self._step(decision_due=happens)

    def _happen(self) -> None:
        """Let the events of this moment happen and push the plan in force back to what is now possible."""
        self.history.append((self.now_s, self.plan))
        while self._events and self._events[0].time_s <= self.now_s:
            event = self._events.popleft()
            self._unchanged_problem, self.unchanged = apply(event, self._unchanged_problem, self.unchanged)
            self._problem, self.plan = apply(event, self.problem, self.plan)
        self.unchanged = push_back(situation_at(self._unchanged_problem, self.unchanged, self.now_s), self.unchanged)
        #: the plan as it was meant before what happened: material is claimed in its order
        self.intended = self.plan
        self.plan = push_back(self.situation(), self.plan)

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
        """Return the instance as far as it is known, the nominal plan, what doing nothing came to, the plan in force at
        each event, and the executed plan.
        """
        num_orders = self.problem.num_orders
        facts = {field.name: np.asarray(getattr(self.problem, field.name)) for field in dataclasses.fields(Problem)}
        return {
            **facts,
            "nominal_start_s": _widen(self.nominal.start_s, num_orders),
            "nominal_line": _widen(self.nominal.line, num_orders),
            "unchanged_start_s": self.unchanged.start_s,
            "unchanged_line": self.unchanged.line,
            "unchanged_holds": np.asarray(self._unchanged_problem.holds),
            "start_s": self.plan.start_s,
            "line": self.plan.line,
            "scenario": np.asarray(self.scenario),
            "history_time_s": np.array([time_s for time_s, _ in self.history]),
            # -1: not known then
            "history_start_s": np.stack([_widen(plan.start_s, num_orders) for _, plan in self.history]),
            "history_line": np.stack([_widen(plan.line, num_orders) for _, plan in self.history]),
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
        start_s, chosen, _ = sample_decode(situation, sequence, line, num_samples=self.num_samples, seed=self._seed)
        return merge(situation, self.plan, start_s, chosen)

    def _step(self, *, decision_due: bool) -> Step:
        situation = self.situation()
        time_ns = to_ns(self.now_s)
        samples = {name: ragged([time_ns], [rows]) for name, rows in channels(situation, self.plan).items()}
        ended = len(situation.orders) == 0 and not self._events
        return Step(time_ns, samples, terminated=ended, decision_due=decision_due and len(situation.orders) > 0)


def push_back(situation: Situation, schedule: Schedule) -> Schedule:
    """Return ``schedule`` with lines and order kept and every free order as early as its material allows."""
    start_s, line = schedule.start_s[situation.orders], schedule.line[situation.orders]
    new_start_s, _ = run_plan(situation, by_start(start_s), line)
    return merge(situation, schedule, new_start_s, line)


def _widen(values: np.ndarray, num_orders: int) -> np.ndarray:
    return np.pad(values, (0, num_orders - len(values)), constant_values=-1)
