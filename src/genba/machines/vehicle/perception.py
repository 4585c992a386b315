"""What the car's own sensors say now: where its route goes, what the light says, and who else is there, as tracks.

LiDAR, odometry, route and message only, nothing of the simulator. Whoever acts or says no by sensors looks through this:
the rule-based planners, the collision guard, and the way round. Read next: ``tracks``, how the sweeps are read, or
``lidar_planner``, ``collision_guard`` and ``way_round``, who look.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from genba.machines.vehicle.lidar import MOUNT_X_M
from genba.machines.vehicle.path import RoutePath, make_path
from genba.machines.vehicle.simulator import DARK
from genba.machines.vehicle.tracks import Tracker
from genba.machines.vehicle.traffic import HEADING, X, Y
from genba.spec.observation import Observation
from genba.spec.streams import Stream

#: columns of the route channel
NUM_WAYPOINTS = 10
CURVATURE, LATERAL, HEADING_ERROR, STOP_LINE, REMAINING = 20, 24, 25, 26, 27
#: the route is taken to go straight on beyond its last waypoint, this far
STRAIGHT_ON_M = 40.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Seen:
    """What is known at one moment, in the car's own frame (rear axle, x ahead, y to the left).

    Attributes:
        speed_mps: by the odometry, never negative.
        route: the newest sample of the route channel, float64 ``[28]``.
        path: the route from beside the rear axle on.
        colour: what the light's message says; ``DARK`` where there is none.
        objects: everybody who is tracked, float64 ``[objects, 8]`` in the columns of ``traffic``.
        num_seen: how many sweeps have shown each, int64 ``[objects]``.
        stood_s: for how long each has not moved, float64 ``[objects]``.
        age_s: how old the newest sweep is; infinite before the first.
    """

    speed_mps: float
    route: np.ndarray
    path: RoutePath
    colour: int
    objects: np.ndarray
    num_seen: np.ndarray
    stood_s: np.ndarray
    age_s: float

    @property
    def lateral_m(self) -> float:
        """How far to the left of the route the rear axle is."""
        return float(self.route[LATERAL])

    @property
    def stop_line_m(self) -> float:
        """Distance from the front bumper to the stop line; negative once past."""
        return float(self.route[STOP_LINE])


class Perception:
    """Follows everybody from observation to observation."""

    def __init__(self) -> None:
        self._tracker = Tracker()
        self.reset()

    def reset(self) -> None:
        """Forget everybody and begin a new odometry."""
        self._tracker.reset()
        self._pose = np.zeros(3)
        self._time_ns: int | None = None
        self._swept_ns = -1

    def look(self, observation: Observation) -> Seen | None:
        """Take in an observation and say what is known; None while odometry or route say nothing, or no numbers."""
        telemetry, route = observation.streams.get("telemetry"), observation.streams.get("route")
        if telemetry is None or route is None:
            return None
        facts, speed_mps = route.values[-1].astype(np.float64), max(float(telemetry.values[-1, 0]), 0.0)
        if not (np.isfinite(facts).all() and np.isfinite(telemetry.values[-1]).all()):
            return None
        self._advance(telemetry, observation.streams.get("lidar"))
        signal = observation.streams.get("signal")
        colour = DARK if signal is None or np.isnan(signal.values[-1, 0]) else round(float(signal.values[-1, 0]))
        return Seen(
            speed_mps=speed_mps,
            route=facts,
            path=path_ahead(facts),
            colour=colour,
            objects=self._in_base(observation.time_ns),
            num_seen=self._tracker.num_seen(observation.time_ns),
            stood_s=self._tracker.stood_s(observation.time_ns),
            age_s=self._tracker.age_s(observation.time_ns),
        )

    def _advance(self, telemetry: Stream, sweeps: Stream | None) -> None:
        """Advance the odometry through the new samples of the bus, and take in the new sweeps where they were taken."""
        new = [] if sweeps is None else [i for i, t in enumerate(sweeps.times_ns.tolist()) if t > self._swept_ns]
        pose_at = {i: self._pose.copy() for i in new}
        for time_ns, (speed_mps, _, yaw_rate, _) in zip(telemetry.times_ns.tolist(), telemetry.values, strict=True):
            if self._time_ns is None:
                self._time_ns = time_ns
            if time_ns <= self._time_ns or not math.isfinite(speed_mps + yaw_rate):
                continue
            dt_s = (time_ns - self._time_ns) / 1e9
            middle = self._pose[2] + 0.5 * dt_s * yaw_rate
            self._pose += np.array([speed_mps * math.cos(middle), speed_mps * math.sin(middle), yaw_rate]) * dt_s
            self._time_ns = time_ns
            for i in new:
                assert sweeps is not None
                if time_ns <= sweeps.times_ns[i]:
                    pose_at[i] = self._pose.copy()
        for i in new:
            assert sweeps is not None
            self._swept_ns = int(sweeps.times_ns[i])
            points = sweeps.sample(i)[:, :2].astype(np.float64)
            points = points[np.isfinite(points).all(axis=1)]
            # The driver counts columns from straight ahead; cut the ring behind the car instead, where nobody is followed.
            points = points[np.argsort(np.arctan2(points[:, 1], points[:, 0]), kind="stable")]
            x, y, heading = pose_at[i]
            c, s = math.cos(heading), math.sin(heading)
            sensor = np.array([x + MOUNT_X_M * c, y + MOUNT_X_M * s, heading])
            self._tracker.sweep(self._swept_ns, points @ np.array([[c, s], [-s, c]]) + sensor[:2], sensor)

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
