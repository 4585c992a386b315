"""Rule-based planners given the same sensors as the model: LiDAR, odometry, route and light, and nothing of the simulator.

``lidar_idm`` follows the route with the intelligent driver model behind what its tracks say drives ahead; ``lidar_gap``
also forecasts every track at constant velocity and takes the fastest proposal that stays clear, as the expert does by
true state. Both stop for red and slow for curves. Read next: ``perception``, how they see.
"""

from __future__ import annotations

import numpy as np

from genba.machines.vehicle.bicycle import FRONT_M
from genba.machines.vehicle.expert import STOP_GAP_M, must_stop, plan_along, pursue, pursuit_distance_m
from genba.machines.vehicle.perception import Perception
from genba.machines.vehicle.simulator import VehicleEnv
from genba.spec.action import Action, ActionChunk, single
from genba.spec.observation import Observation

#: with a newest sweep older than this, one does not speed up
BLIND_S = 0.35
#: what one does while odometry or route say nothing, as the facts' value on a fault
STOPPING_MPS2 = -4.0


class LidarPlanner:
    """Drives by what the sensors say."""

    def __init__(self, env: VehicleEnv, *, name: str = "lidar_gap", forecast: bool = True) -> None:
        self.name = name
        # Facts only: nothing else of the environment is ever looked at.
        self._period_s = env.embodiment.control.period_s
        self._forecast = forecast
        self._perception = Perception()
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Forget everybody."""
        self._perception.reset()
        self._steering_rad = 0.0

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with the action for what is known now."""
        seen = self._perception.look(observation)
        if seen is None:
            return self._answer(observation, STOPPING_MPS2)
        stop_m = np.inf
        if seen.stop_line_m >= 0 and must_stop(seen.colour, seen.stop_line_m, seen.speed_mps):
            stop_m = seen.stop_line_m + FRONT_M - STOP_GAP_M
        acceleration = plan_along(
            seen.path, 0.0, seen.lateral_m, seen.speed_mps, seen.objects, stop_m, forecast=self._forecast
        )
        if seen.age_s > BLIND_S:
            acceleration = min(acceleration, 0.0)
        x, y, _, _ = seen.path.at(pursuit_distance_m(seen.speed_mps))
        self._steering_rad = pursue(x, y)
        return self._answer(observation, acceleration)

    def _answer(self, observation: Observation, acceleration: float) -> ActionChunk:
        action = Action(np.array([acceleration, self._steering_rad], np.float32))
        return single(observation.time_ns, self._period_s, action)


def lidar_idm(env: VehicleEnv) -> LidarPlanner:
    """Make the driver model on tracks, without a forecast."""
    return LidarPlanner(env, name="lidar_idm", forecast=False)
