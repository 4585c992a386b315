"""What the model is compared with beside the package's own drivers: going straight on. Read next: ``peers``."""

from __future__ import annotations

import numpy as np

from genba.machines.metadrive.simulator import MetaDriveEnv
from genba.spec.action import Action, ActionChunk, single
from genba.spec.observation import Observation


class Straight:
    """Drives straight on with a little throttle: what no route and no sensor is worth."""

    name = "straight"

    def __init__(self, env: MetaDriveEnv) -> None:
        self._period_s = env.embodiment.control.period_s

    def reset(self, seed: int) -> None:
        """Nothing to forget."""

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with one action."""
        return single(observation.time_ns, self._period_s, Action(np.array([0.0, 0.2], np.float32)))
