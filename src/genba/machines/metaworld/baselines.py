"""What the model is compared with here: doing nothing. An imitation network beside it is measured by ``perf/meta_world.py``.

A task that succeeds while nothing is done would be none. Read next: ``tasks``.
"""

from __future__ import annotations

import numpy as np

from genba.machines.metaworld.simulator import MetaWorldEnv
from genba.spec.action import Action, ActionChunk, single
from genba.spec.observation import Observation


class Still:
    """Leaves the hand where it is, open."""

    name = "still"

    def __init__(self, env: MetaWorldEnv) -> None:
        self._period_s = env.embodiment.control.period_s

    def reset(self, seed: int) -> None:
        """Nothing to forget."""

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with no step and open fingers."""
        return single(observation.time_ns, self._period_s, Action(np.array([0.0, 0.0, 0.0, -1.0], np.float32)))
