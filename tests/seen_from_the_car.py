"""Observations of the car as its sensors would make them, of scenes that a test writes down; no noise but the LiDAR's."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from genba.machines.vehicle.lidar import MOUNT_X_M, MOUNT_Z_M, sweep
from genba.machines.vehicle.path import make_path
from genba.machines.vehicle.simulator import CURVATURES_M, GREEN, LIDAR_AGE_NS, WAYPOINTS_M
from genba.spec.observation import Observation
from genba.spec.streams import dense, ragged
from genba.spec.units import SECOND_NS

#: the car's, straight on, where a scene says nothing else
SPEED_MPS = 9.0
PERIOD_NS = SECOND_NS // 10


def observation_of(
    step: int,
    *,
    boxes: Sequence[tuple[float, ...]] = (),
    speed_mps: float = SPEED_MPS,
    sensed_mps2: float = 0.0,
    stop_line_m: float = -20.0,
    colour: int = GREEN,
    remaining_m: float = 60.0,
    bend: tuple[float, float] | None = None,
    without: Collection[str] = (),
) -> Observation:
    """Return what is seen at a control step.

    Args:
        step: 0, 1, ...
        boxes: who is there, as seen from the rear axle now: x, y in metres, heading, half length, half width, height.
        speed_mps, sensed_mps2: what the bus says.
        stop_line_m, colour, remaining_m: what route and message say.
        bend: how far ahead the route bends to the left, and its radius; None for straight on.
        without: channels that say nothing.
    """
    time_ns = SECOND_NS + step * PERIOD_NS
    times = time_ns + np.arange(-19, 1) * (PERIOD_NS // 5)
    eye = np.array([MOUNT_X_M, 0.0, MOUNT_Z_M, 0.0])
    points, _ = sweep(eye, np.array(boxes, np.float64).reshape(-1, 6), np.random.default_rng(step))
    streams = {
        "telemetry": dense(times, np.tile(np.array([speed_mps, sensed_mps2, 0.0, 0.0], np.float32), (20, 1))),
        "route": dense([time_ns], _route(stop_line_m, remaining_m, bend)[None]),
        "signal": dense([time_ns], np.array([[colour, stop_line_m, 5.0]], np.float32)),
        "lidar": ragged([time_ns - LIDAR_AGE_NS], [points]),
    }
    return Observation("vehicle/urban-car@1", time_ns, {k: v for k, v in streams.items() if k not in without})


def _route(stop_line_m: float, remaining_m: float, bend: tuple[float, float] | None) -> np.ndarray:
    line = np.array([[0.0, 0.0], [200.0, 0.0]])
    if bend is not None:
        ahead_m, radius_m = bend
        turn = np.linspace(0.0, math.pi / 2, 40)
        arc = np.stack([ahead_m + radius_m * np.sin(turn), radius_m * (1 - np.cos(turn))], 1)
        line = np.concatenate([[[0.0, 0.0]], arc, [*arc[-1:], [0.0, 60.0]]])
    path = make_path(line, stop_m=0.0, goal_m=0.0)
    ahead = np.array([path.at(distance_m) for distance_m in WAYPOINTS_M])
    curvature = [path.at(distance_m)[3] for distance_m in CURVATURES_M]
    return np.array([*ahead[:, 0], *ahead[:, 1], *curvature, 0.0, 0.0, stop_line_m, remaining_m], np.float32)
