"""What the model is compared with: driving on at constant speed, and the intelligent driver model.

``constant_speed`` holds 8 m/s along the route and ignores everything, so its score says how hard the traffic is.
``idm`` is privileged like the expert (it reads the true state of whatever drives ahead and of the light) but forecasts
nobody. Read next: ``tasks``.
"""

from __future__ import annotations

import numpy as np

from genba.machines.vehicle.expert import GapExpert, steer
from genba.machines.vehicle.simulator import VehicleEnv
from genba.spec.action import Action, ActionChunk, single
from genba.spec.observation import Observation

CONSTANT_SPEED_MPS = 8.0


class ConstantSpeed:
    """Follows the route at 8 m/s, blind to light and traffic."""

    name = "constant_speed"

    def __init__(self, env: VehicleEnv) -> None:
        self._env = env

    def reset(self, seed: int) -> None:
        """Nothing is kept."""

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with a proportional correction of the speed and pure pursuit."""
        world = self._env.world
        acceleration = min(max(1.5 * (CONSTANT_SPEED_MPS - world.ego.speed_mps), -2.0), 2.0)
        action = Action(np.array([acceleration, steer(world)], np.float32))
        return single(observation.time_ns, self._env.embodiment.control.period_s, action)


def idm(env: VehicleEnv) -> GapExpert:
    """Make the intelligent driver model with true state: lead car, red light, curves; no forecast."""
    return GapExpert(env, name="idm", look_all=True, forecast=False)
