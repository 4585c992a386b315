"""Rule-based planners given the same sensors as the model: LiDAR, odometry, route and light, and nothing of the simulator.

``lidar_idm`` follows the route with the intelligent driver model behind what its tracks say drives ahead; ``lidar_gap``
also forecasts every track at constant velocity and takes the fastest proposal that stays clear, as the expert does by
true state. Both stop for red and slow for curves. Read next: ``tracks``, how they see.
"""

from __future__ import annotations

import math

import numpy as np

from genba.machines.vehicle.bicycle import FRONT_M
from genba.machines.vehicle.expert import STOP_GAP_M, must_stop, plan_along, pursue, pursuit_distance_m
from genba.machines.vehicle.lidar import MOUNT_X_M
from genba.machines.vehicle.path import RoutePath, make_path
from genba.machines.vehicle.simulator import DARK, VehicleEnv
from genba.machines.vehicle.tracks import Tracker
from genba.machines.vehicle.traffic import HEADING, X, Y
from genba.spec.action import Action, ActionChunk, single
from genba.spec.observation import Observation
from genba.spec.streams import Stream

#: columns of the route channel
NUM_WAYPOINTS = 10
LATERAL, HEADING_ERROR, STOP_LINE = 24, 25, 26
#: the route is taken to go straight on beyond its last waypoint, this far
STRAIGHT_ON_M = 40.0
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
        self._tracker = Tracker()
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Forget everybody and begin a new odometry."""
        self._tracker.reset()
        self._pose = np.zeros(3)
        self._time_ns: int | None = None
        self._swept_ns = -1
        self._steering_rad = 0.0

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with the action for what is known now."""
        telemetry, route = observation.streams.get("telemetry"), observation.streams.get("route")
        if telemetry is None or route is None:
            return self._answer(observation, STOPPING_MPS2)
        facts, speed_mps = route.values[-1].astype(np.float64), max(float(telemetry.values[-1, 0]), 0.0)
        if not (np.isfinite(facts).all() and np.isfinite(telemetry.values[-1]).all()):
            return self._answer(observation, STOPPING_MPS2)
        self._look(observation, telemetry)
        stop_line_m, lateral_m = facts[STOP_LINE], facts[LATERAL]
        path = path_ahead(facts)
        signal = observation.streams.get("signal")
        colour = DARK if signal is None or np.isnan(signal.values[-1, 0]) else round(float(signal.values[-1, 0]))
        stop_m = np.inf
        if stop_line_m >= 0 and must_stop(colour, stop_line_m, speed_mps):
            stop_m = stop_line_m + FRONT_M - STOP_GAP_M
        objects = self._in_base(observation.time_ns)
        acceleration = plan_along(path, 0.0, lateral_m, speed_mps, objects, stop_m, forecast=self._forecast)
        if self._tracker.age_s(observation.time_ns) > BLIND_S:
            acceleration = min(acceleration, 0.0)
        x, y, _, _ = path.at(pursuit_distance_m(speed_mps))
        self._steering_rad = pursue(x, y)
        return self._answer(observation, acceleration)

    def _answer(self, observation: Observation, acceleration: float) -> ActionChunk:
        action = Action(np.array([acceleration, self._steering_rad], np.float32))
        return single(observation.time_ns, self._period_s, action)

    def _look(self, observation: Observation, telemetry: Stream) -> None:
        """Advance the odometry through the new samples of the bus, and take in a new sweep where it was taken."""
        sweeps = observation.streams.get("lidar")
        new_ns = -1 if sweeps is None else int(sweeps.times_ns[-1])
        is_new = new_ns > self._swept_ns
        pose_at_sweep = self._pose.copy()
        for time_ns, (speed_mps, _, yaw_rate, _) in zip(telemetry.times_ns.tolist(), telemetry.values, strict=True):
            if self._time_ns is None:
                self._time_ns = time_ns
            if time_ns <= self._time_ns or not math.isfinite(speed_mps + yaw_rate):
                continue
            dt_s = (time_ns - self._time_ns) / 1e9
            middle = self._pose[2] + 0.5 * dt_s * yaw_rate
            self._pose += np.array([speed_mps * math.cos(middle), speed_mps * math.sin(middle), yaw_rate]) * dt_s
            self._time_ns = time_ns
            if time_ns <= new_ns:
                pose_at_sweep = self._pose.copy()
        if not is_new:
            return
        assert sweeps is not None
        self._swept_ns = new_ns
        points = sweeps.sample(-1)[:, :2].astype(np.float64)
        points = points[np.isfinite(points).all(axis=1)]
        # The driver counts columns from straight ahead; cut the ring behind the car instead, where nobody is followed.
        points = points[np.argsort(np.arctan2(points[:, 1], points[:, 0]), kind="stable")]
        x, y, heading = pose_at_sweep
        c, s = math.cos(heading), math.sin(heading)
        sensor = np.array([x + MOUNT_X_M * c, y + MOUNT_X_M * s, heading])
        self._tracker.sweep(new_ns, points @ np.array([[c, s], [-s, c]]) + sensor[:2], sensor)

    def _in_base(self, time_ns: int) -> np.ndarray:
        rows = self._tracker.rows(time_ns)
        x, y, heading = self._pose
        dx, dy = rows[:, X] - x, rows[:, Y] - y
        rows[:, X] = dx * math.cos(heading) + dy * math.sin(heading)
        rows[:, Y] = -dx * math.sin(heading) + dy * math.cos(heading)
        rows[:, HEADING] -= heading
        return rows


def path_ahead(route: np.ndarray) -> RoutePath:
    """Return the route from beside the rear axle on, in the car's own frame, from one sample of the route channel."""
    lateral_m, heading_error = route[LATERAL], route[HEADING_ERROR]
    foot = np.array([[lateral_m * math.sin(heading_error), -lateral_m * math.cos(heading_error)]])
    waypoints = np.stack([route[:NUM_WAYPOINTS], route[NUM_WAYPOINTS : 2 * NUM_WAYPOINTS]], 1)
    onward = waypoints[-1] - waypoints[-2]
    beyond = waypoints[-1] + STRAIGHT_ON_M * onward / max(float(np.hypot(*onward)), 1e-6)
    return make_path(np.concatenate([foot, waypoints, beyond[None]]), stop_m=0.0, goal_m=0.0)


def lidar_idm(env: VehicleEnv) -> LidarPlanner:
    """Make the driver model on tracks, without a forecast."""
    return LidarPlanner(env, name="lidar_idm", forecast=False)
