"""What a policy answers: an action chunk; and what one control step of it gives the machine: an action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from genba.spec.units import to_ns


@dataclass(frozen=True, slots=True, eq=False)
class Action:
    """What a machine is told for one control step.

    Attributes:
        continuous: float32 ``[dimension]`` in the units of the action space, or None where it has no such dimensions.
        choices: choice name -> scores, float32: ``rank`` ``[rows]``, ``assign`` ``[for_each rows, over rows]`` with
            -inf where not allowed. Rows are those of the observation that the decision was made on.
    """

    continuous: np.ndarray | None = None
    choices: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class ActionChunk:
    """Consecutive actions from one inference; action ``i`` is meant for ``time_ns + i * period_s``.

    Attributes:
        time_ns: the time of the observation that it answers.
        period_s: the control period.
        continuous: float32 ``[chunk, dimension]`` or None.
        choices: as in ``Action``; one decision for the whole chunk.
        surprise: how unlikely the world model finds the observation, dimensionless; NaN where not known.
    """

    time_ns: int
    period_s: float
    continuous: np.ndarray | None = None
    choices: Mapping[str, np.ndarray] = field(default_factory=dict)
    surprise: float = float("nan")

    def __len__(self) -> int:
        return 1 if self.continuous is None else len(self.continuous)

    def at(self, time_ns: int) -> Action | None:
        """Return the action meant for ``time_ns``, or None where the chunk does not reach that far."""
        index = round((time_ns - self.time_ns) / to_ns(self.period_s))
        if not 0 <= index < len(self):
            return None
        return Action(None if self.continuous is None else self.continuous[index], self.choices)


def single(time_ns: int, period_s: float, action: Action) -> ActionChunk:
    """Wrap one action as a chunk of length one."""
    continuous = None if action.continuous is None else np.asarray(action.continuous, np.float32)[None]
    return ActionChunk(time_ns, period_s, continuous, action.choices)
