"""Limits on discrete actions: scores that are numbers, and nothing that the machine is not able to do.

An assignment that its relation does not allow is struck out. Scores that are not numbers, or that leave a row without
any allowed answer, are refused whole: half a decision is not one. Read next: ``staleness``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from genba.spec.action import Action
from genba.spec.embodiment import Choice, Embodiment
from genba.spec.observation import Observation
from genba.spec.protocols import Verdict


class ChoiceGuard:
    """Checks ``Action.choices`` against the rows and relations of the observation that was decided on.

    A refused action comes back with no choices at all, which tells the machine to go on with its last decision.
    Reasons read ``"<choice>:missing"``, ``":shape"``, ``":nan"``, ``":nothing_allowed"`` (all refuse) and
    ``":not_allowed"`` (struck out, the rest stands).
    """

    def __init__(self, embodiment: Embodiment) -> None:
        self.embodiment = embodiment

    def reset(self) -> None:
        """Nothing is remembered."""

    def check(self, action: Action, observation: Observation) -> Verdict:
        """Pass, correct or refuse the choices; the continuous part is left as it is."""
        if not self.embodiment.action.choice or not action.choices:
            return Verdict(action)
        kept: dict[str, np.ndarray] = {}
        reasons: list[str] = []
        refused = False
        for choice in self.embodiment.action.choice:
            scores, why = self._check(choice, action.choices.get(choice.name), observation)
            reasons += [f"{choice.name}:{word}" for word in why]
            if scores is None:
                refused = True
            else:
                kept[choice.name] = scores
        return Verdict(replace(action, choices={} if refused else kept), tuple(reasons))

    def _check(
        self, choice: Choice, scores: np.ndarray | None, observation: Observation
    ) -> tuple[np.ndarray | None, list[str]]:
        if scores is None:
            return None, ["missing"]
        num_over = _num_rows(observation, choice.over)
        shape = (num_over,) if choice.kind == "rank" else (_num_rows(observation, choice.for_each), num_over)
        if np.shape(scores) != shape:
            return None, ["shape"]
        if np.isnan(scores).any():
            return None, ["nan"]
        if choice.kind == "rank":
            # +inf or -inf for one row is an order; for all of them it is no answer
            return (None, ["nothing_allowed"]) if num_over and not np.isfinite(scores).any() else (scores, [])
        relation = observation.streams.get(choice.allowed_by)
        if relation is None or not len(relation):
            return None, ["nothing_allowed"]
        able = np.isfinite(relation.sample(-1)[:, :num_over])
        struck = np.where(able, scores, -np.inf).astype(np.float32)
        why = ["not_allowed"] if bool((np.isfinite(scores) & ~able).any()) else []
        answered = (struck > -np.inf).any(axis=1)
        if bool((able.any(axis=1) & ~answered).any()):
            return None, [*why, "nothing_allowed"]
        return struck, why


def _num_rows(observation: Observation, name: str) -> int:
    stream = observation.streams.get(name)
    return 0 if stream is None or not len(stream) else len(stream.sample(-1))
