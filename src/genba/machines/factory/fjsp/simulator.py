"""A job shop as an environment: a schedule is in force, machines work it off, at each period the rest may be planned anew.

``reset`` draws an instance and puts the best of four dispatching rules into force. A ``step`` plans what has not started by the
action, or leaves it where the action is None; then a control period passes: four mean operations. The episode ends when everything
has started. Read next: ``features`` for what is shown, ``decoder`` for how a decision becomes a schedule.
"""

from __future__ import annotations

import math

import numpy as np

from genba.errors import SimulatorError
from genba.machines.factory.fjsp.decoder import best_rule, decode
from genba.machines.factory.fjsp.features import EMBODIMENT_ID, channels, second
from genba.machines.factory.fjsp.generator import generate
from genba.machines.factory.fjsp.instance import JobShop, Situation, begin, situation_at
from genba.spec.action import Action
from genba.spec.embodiment import load_embodiment
from genba.spec.protocols import Step
from genba.spec.streams import ragged
from genba.spec.units import to_ns


class JobShopEnv:
    """One job shop per episode."""

    def __init__(self) -> None:
        self.embodiment = load_embodiment(EMBODIMENT_ID)
        self._shop: JobShop | None = None

    def reset(self, seed: int) -> Step:
        """Draw the instance of ``seed``; nothing has started, and the best rule's schedule is in force."""
        self._shop, self._now_s = generate(seed), 0.0
        start, machine, _ = best_rule(begin(self._shop))
        #: ``start`` and ``machine`` in force, int64 ``[operations]``
        self.start, self.machine = start, machine
        self._rule = start, machine
        #: moments and what was in force until then
        self._history = [(0, start, machine)]
        return self._step()

    def step(self, action: Action | None) -> Step:
        """Plan what has not started where an action is given, then let a control period pass.

        Raises:
            SpecError: the action's scores are not over the operations that are left.
        """
        if action is not None:
            situation = self.situation()
            start, machine, _ = decode(
                situation, np.asarray(action.choices["sequence"]), np.asarray(action.choices["machine"])
            )
            rows = situation.operations
            self.start, self.machine = self.start.copy(), self.machine.copy()
            self.start[rows], self.machine[rows] = start[rows], machine[rows]
        self._now_s += self.embodiment.control.period_s
        self._history.append((self.situation().now, self.start, self.machine))
        return self._step()

    @property
    def shop(self) -> JobShop:
        """The running instance."""
        if self._shop is None:
            raise SimulatorError("job shop: no episode is running; call reset(seed) first")
        return self._shop

    def situation(self) -> Situation:
        """Return what is left now."""
        return situation_at(self.shop, self.start, self.machine, math.ceil(self._now_s * second(self.shop)))

    def trace(self) -> dict[str, np.ndarray]:
        """Return the instance, the schedule in force at each moment, the best rule's, and the executed one, in the instance's unit."""
        return {
            "job": self.shop.job,
            "time": self.shop.time,
            "rule_start": self._rule[0],
            "rule_machine": self._rule[1],
            "history_now": np.array([now for now, _, _ in self._history]),
            "history_start": np.stack([start for _, start, _ in self._history]),
            "history_machine": np.stack([machine for _, _, machine in self._history]),
            "start": self.start,
            "machine": self.machine,
        }

    def instruction(self) -> str:
        """Return nothing: the objective is always the same."""
        return ""

    def close(self) -> None:
        """Forget the episode."""
        self._shop = None

    def _step(self) -> Step:
        situation = self.situation()
        time_ns = to_ns(self._now_s)
        samples = {name: ragged([time_ns], [rows]) for name, rows in channels(situation).items()}
        ended = not len(situation.operations)
        return Step(time_ns, samples, terminated=ended, decision_due=not ended)
