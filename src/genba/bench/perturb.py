"""Demonstrations that stray: an expert's actions with slow noise on them, while its labels stay what they were.

An expert alone shows only states on its own way, so who imitates it never learns to come back to it. With noise in what
is executed, and not in what is taught, every episode shows small errors and how they are mended (DART: Laskey et al.
2017, arXiv 1703.09327).
"""

from __future__ import annotations

import numpy as np

from genba.errors import ConfigError
from genba.spec.action import ActionChunk
from genba.spec.embodiment import Embodiment
from genba.spec.observation import Observation
from genba.spec.protocols import Policy
from genba.spec.statistics import apply_scale, undo_scale

#: How much of the noise stays from one decision to the next; the rest is drawn anew.
PERSISTENCE = 0.9


class Perturbed:
    """A policy whose continuous actions get correlated Gaussian noise; choices are left as they are.

    Args:
        policy: who acts.
        embodiment: of the machine.
        share: standard deviation of the noise, as a share of each dimension's range on its own scale, in (0, 0.5].

    Raises:
        ConfigError: no continuous action, or a share out of range.
    """

    def __init__(self, policy: Policy, embodiment: Embodiment, share: float) -> None:
        if not embodiment.action.continuous:
            raise ConfigError(f"perturb: {embodiment.id} has no continuous action to perturb")
        if not 0 < share <= 0.5:
            raise ConfigError(f"perturb: got {share}, expected more than 0 and at most 0.5 of an action's range")
        self.name = policy.name
        self._policy = policy
        self._dimensions = embodiment.action.continuous
        self._limits = np.array([[d.low for d in self._dimensions], [d.high for d in self._dimensions]])
        scaled = apply_scale(self._limits, self._dimensions)
        self._spread = share * (scaled[1] - scaled[0])
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Begin again with other noise."""
        self._policy.reset(seed)
        self._rng = np.random.default_rng([seed, 77])
        self._noise = np.zeros(len(self._dimensions))

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with the policy's chunk, shifted by the noise of this decision and kept within the limits."""
        chunk = self._policy.act(observation)
        fresh = self._rng.standard_normal(len(self._noise)) * np.sqrt(1 - PERSISTENCE**2)
        self._noise = PERSISTENCE * self._noise + fresh
        assert chunk.continuous is not None
        scaled = apply_scale(chunk.continuous, self._dimensions) + self._noise * self._spread
        shifted = np.clip(undo_scale(scaled, self._dimensions), *self._limits).astype(np.float32)
        return ActionChunk(chunk.time_ns, chunk.period_s, shifted, chunk.choices, chunk.surprise)
