"""The independent judge: success and its metrics, recomputed from the trace with shapely.

It shares no geometry with the simulator: collisions are polygons that intersect, the red light is a segment crossed,
the road is a union of widened lane lines, arrival is the goal line crossed. Read next: ``picture``, which shows a trace.

Source of the comfort bounds: nuPlan closed-loop metrics (longitudinal acceleration -4.05..2.40 m/s^2, sideways
4.89 m/s^2, yaw rate 0.95 rad/s, longitudinal jerk 4.13 m/s^3).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import shapely

from genba.errors import VerificationError
from genba.spec.task import Metric

#: the ego's body, stated again on purpose: a judge does not read what it judges
LENGTH_M, WIDTH_M, REAR_OVERHANG_M = 4.6, 1.85, 0.9
#: half a lane and the paved strip beside it
DRIVABLE_M = 1.6 + 0.5
RED = 1
TIME_LIMIT_S = 80.0
#: largest distance that one control step can cover, with room for rounding
MAX_JUMP_M = 25.0 * 0.1
PERIOD_S = 0.1

METRICS = (
    Metric(name="success", unit="1", meaning="Arrived in time, unhurt, on the road, never past a red light.", better="higher"),
    Metric(name="collided", unit="1", meaning="Touched a car or a person.", better="lower"),
    Metric(name="ran_red", unit="1", meaning="Front bumper crossed the stop line while the light was red.", better="lower"),
    Metric(name="off_road", unit="1", meaning="A corner of the car left the paved lanes.", better="lower"),
    Metric(name="timed_out", unit="1", meaning="None of these and not there within 80 s.", better="lower"),
    Metric(name="time_s", unit="s", meaning="Time from the start to the end of the episode.", better="lower"),
    Metric(name="route_completion", unit="1", meaning="Share of the way to the goal line that was driven.", better="higher"),
    Metric(name="min_gap_m", unit="m", meaning="Least distance to any car or person while moving.", better="higher"),
    Metric(name="max_braking_mps2", unit="m/s^2", meaning="Hardest braking.", better="lower"),
    Metric(name="comfortable", unit="1", meaning="Share of control steps within nuPlan's comfort bounds.", better="higher"),
)  # fmt: skip


def verify(trace: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Judge one episode.

    Raises:
        VerificationError: the trace contradicts itself: clocks that do not rise by the control period, or an ego that
            jumps.
    """
    ego, colour = trace["ego"], trace["colour"]
    _check(trace)
    x, y, heading = ego[:, 1], ego[:, 2], ego[:, 3]
    bodies = _boxes(x, y, heading, -REAR_OVERHANG_M, LENGTH_M - REAR_OVERHANG_M, WIDTH_M / 2)

    objects, splits = trace["objects"], trace["object_splits"]
    step_of = np.repeat(np.arange(len(ego)), np.diff(splits))
    near = np.hypot(objects[:, 2] - x[step_of], objects[:, 3] - y[step_of]) < 15.0
    near_objects, near_steps = objects[near], step_of[near]
    half_length, half_width = near_objects[:, 6] / 2, near_objects[:, 7] / 2
    others = _boxes(near_objects[:, 2], near_objects[:, 3], near_objects[:, 4], -half_length, half_length, half_width)
    gaps = shapely.distance(bodies[near_steps], others)
    collided = bool((gaps <= 0).any())
    moving = ego[near_steps, 4] > 0.5
    min_gap_m = float(gaps[moving].min(initial=15.0))

    front = np.stack([x, y], 1) + (LENGTH_M - REAR_OVERHANG_M) * np.stack([np.cos(heading), np.sin(heading)], 1)
    crossed_stop = _crossings(front, trace["stop_line"])
    ran_red = bool((crossed_stop & (colour[:-1] == RED)).any())

    lane_splits = trace["lane_splits"]
    lines = [trace["lanes"][a:b] for a, b in itertools.pairwise(lane_splits)]
    drivable = shapely.union_all([shapely.buffer(shapely.LineString(line), DRIVABLE_M, quad_segs=32) for line in lines])
    shapely.prepare(drivable)
    points = shapely.get_coordinates(bodies).reshape(len(ego), 5, 2)
    off_road = not bool(shapely.contains_xy(drivable, points[..., 0].ravel(), points[..., 1].ravel()).all())

    arrived = bool(_crossings(np.stack([x, y], 1), trace["goal_line"]).any())
    time_s = float(ego[-1, 0] - ego[0, 0])
    in_time = time_s <= TIME_LIMIT_S + PERIOD_S / 2
    success = arrived and in_time and not (collided or ran_red or off_road)
    start_m, _, goal_m = trace["path_m"]
    route = shapely.LineString(trace["path"])
    reached_m = float(shapely.line_locate_point(route, shapely.Point(x[-1], y[-1])))

    jerk = np.diff(ego[:, 5], prepend=ego[0, 5]) / PERIOD_S
    comfortable = (
        (ego[:, 5] >= -4.05)
        & (ego[:, 5] <= 2.40)
        & (np.abs(ego[:, 4] * ego[:, 7]) <= 4.89)
        & (np.abs(ego[:, 7]) <= 0.95)
        & (np.abs(jerk) <= 4.13)
    )
    return {
        "success": float(success),
        "collided": float(collided),
        "ran_red": float(ran_red),
        "off_road": float(off_road),
        "timed_out": float(not (success or collided or ran_red or off_road)),
        "time_s": time_s,
        "route_completion": float(np.clip((reached_m - start_m) / (goal_m - start_m), 0.0, 1.0)),
        "min_gap_m": min_gap_m,
        "max_braking_mps2": float(max(-ego[:, 5].min(), 0.0)),
        "comfortable": float(comfortable.mean()),
    }


def _check(trace: Mapping[str, np.ndarray]) -> None:
    ego = trace["ego"]
    if len(ego) > 1:
        periods = np.diff(ego[:, 0])
        if np.abs(periods - PERIOD_S).max() > 1e-6:
            raise VerificationError(
                f"trace: ego: clock steps from {periods.min():g} to {periods.max():g} s, expected {PERIOD_S} s"
            )
        jumps = np.hypot(np.diff(ego[:, 1]), np.diff(ego[:, 2]))
        if jumps.max() > MAX_JUMP_M:
            raise VerificationError(
                f"trace: ego: moved {jumps.max():.2f} m in one control step, expected at most {MAX_JUMP_M} m"
            )
        driven = 0.5 * (ego[1:, 4] + ego[:-1, 4]) * PERIOD_S
        if np.abs(jumps - driven).max() > 0.15:
            raise VerificationError(
                f"trace: ego: positions and speeds differ by {np.abs(jumps - driven).max():.2f} m in one control step, "
                "expected at most 0.15 m"
            )
    for name in ("objects", "lidar"):
        splits = trace["object_splits" if name == "objects" else "lidar_splits"]
        if len(splits) != len(ego) + 1 or splits[-1] != len(trace[name]):
            raise VerificationError(f"trace: {name}: splits do not fit {len(ego)} steps and {len(trace[name])} rows")


def _boxes(x, y, heading, rear, front, half_width) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Polygons of boxes that reach from ``rear`` to ``front`` along their heading."""
    shape = np.broadcast(x, rear).shape
    rear, front, half_width = (np.broadcast_to(value, shape) for value in (rear, front, half_width))
    along = np.stack([front, rear, rear, front], 1)
    across = np.stack([half_width, half_width, -half_width, -half_width], 1)
    c, s = np.cos(heading)[:, None], np.sin(heading)[:, None]
    return shapely.polygons(np.stack([x[:, None] + along * c - across * s, y[:, None] + along * s + across * c], 2))


def _crossings(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Say for each move between points ``[steps, 2]`` whether it crosses the segment ``line``: bool ``[steps - 1]``."""
    moves = shapely.linestrings(np.stack([points[:-1], points[1:]], 1))
    return shapely.intersects(moves, shapely.LineString(line))
