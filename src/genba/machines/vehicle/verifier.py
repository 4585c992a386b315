"""The independent judge: success and its metrics, recomputed from the trace with shapely.

It shares no geometry with the simulator: collisions are polygons that intersect, the red light is a segment crossed,
the road is a union of widened lane lines, arrival is the goal line crossed. Read next: ``scores``, the field's own measures,
or ``picture``, which shows a trace.

Source of the comfort bounds: nuPlan closed-loop metrics (longitudinal acceleration -4.05..2.40 m/s^2, sideways
4.89 m/s^2, yaw rate 0.95 rad/s, longitudinal jerk 4.13 m/s^3).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import shapely

from genba.errors import VerificationError
from genba.machines.vehicle import scores
from genba.spec.task import Metric

#: the ego's body, stated again on purpose: a judge does not read what it judges
LENGTH_M, WIDTH_M, REAR_OVERHANG_M = 4.6, 1.85, 0.9
#: half a lane and the paved strip beside it
DRIVABLE_M = 1.6 + 0.5
RED = 1
#: at a stop sign one has stood once one was slower than this, this close before the line
STOOD_MPS, STOP_ZONE_M = 0.5, 3.0
#: nobody farther than this is looked at: at 25 m/s each, 0.95 s before a touch, and a truck's length
NEAR_M = 60.0
#: gaps wider than this are all the same
MIN_GAP_AT_MOST_M = 15.0
TIME_LIMIT_S = 80.0
#: largest distance that one control step can cover, with room for rounding
MAX_JUMP_M = 25.0 * 0.1
PERIOD_S = 0.1

METRICS = (
    Metric(name="success", unit="1", meaning="Arrived in time, unhurt, on the road, never past a red light.", better="higher"),
    Metric(name="collided", unit="1", meaning="Touched a car or a person.", better="lower"),
    Metric(name="at_fault", unit="1", meaning="Touched one, by its own fault as nuPlan has it.", better="lower"),
    Metric(name="not_at_fault", unit="1", meaning="Touched by others only.", better="lower"),
    Metric(name="ran_red", unit="1", meaning="Front bumper crossed the stop line while the light was red.", better="lower"),
    Metric(name="ran_stop", unit="1", meaning="Front bumper crossed the line of a stop sign and had not stood in the 3 m before it.", better="lower"),
    Metric(name="off_road", unit="1", meaning="A corner of the car left the paved lanes.", better="lower"),
    Metric(name="timed_out", unit="1", meaning="None of these and not there within 80 s.", better="lower"),
    Metric(name="time_s", unit="s", meaning="Time from the start to the end of the episode.", better="lower"),
    Metric(name="route_completion", unit="1", meaning="Share of the way to the goal line that was driven.", better="higher"),
    Metric(name="min_gap_m", unit="m", meaning="Least distance to any car or person while moving.", better="higher"),
    Metric(name="max_braking_mps2", unit="m/s^2", meaning="Hardest braking.", better="lower"),
    Metric(name="comfortable", unit="1", meaning="Share of control steps within nuPlan's comfort bounds.", better="higher"),
    Metric(name="comfort", unit="1", meaning="Never beyond nuPlan's comfort bounds.", better="higher"),
    Metric(name="ttc_within_bound", unit="1", meaning="Time to collision never under 0.95 s.", better="higher"),
    Metric(name="pdm_score", unit="1", meaning="NAVSIM's PDM score of the whole episode.", better="higher"),
    Metric(name="driving_score", unit="1", meaning="CARLA's driving score, as a share.", better="higher"),
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
    near = np.hypot(objects[:, 2] - x[step_of], objects[:, 3] - y[step_of]) < NEAR_M
    near_objects, near_steps = objects[near], step_of[near]
    half_length, half_width = near_objects[:, 6] / 2, near_objects[:, 7] / 2
    others = _boxes(near_objects[:, 2], near_objects[:, 3], near_objects[:, 4], -half_length, half_length, half_width)
    gaps = shapely.distance(bodies[near_steps], others)
    collided = bool((gaps <= 0).any())
    moving = ego[near_steps, 4] > 0.5
    min_gap_m = float(gaps[moving].min(initial=MIN_GAP_AT_MOST_M))
    touched = _first_touches(near_objects[:, 0], gaps)
    ways = [trace["path"], *(trace["lanes"][a:b] for a, b in itertools.pairwise(trace["lane_splits"]))]
    at_fault = any(
        scores.is_at_fault(ego[near_steps[i]], bodies[near_steps[i]], near_objects[i], others[i], ways) for i in touched
    )
    has_time = scores.has_time(ego[near_steps], bodies[near_steps], near_objects, others)

    front = np.stack([x, y], 1) + (LENGTH_M - REAR_OVERHANG_M) * np.stack([np.cos(heading), np.sin(heading)], 1)
    crossed_stop = _crossings(front, trace["stop_line"])
    ran_red = bool((crossed_stop & (colour[:-1] == RED)).any())
    ran_stop = bool(trace["has_stop_sign"]) and _ran_stop(front, ego[:, 4], crossed_stop, trace["stop_line"])

    lane_splits = trace["lane_splits"]
    lines = [trace["lanes"][a:b] for a, b in itertools.pairwise(lane_splits)]
    drivable = shapely.union_all([shapely.buffer(shapely.LineString(line), DRIVABLE_M, quad_segs=32) for line in lines])
    shapely.prepare(drivable)
    points = shapely.get_coordinates(bodies).reshape(len(ego), 5, 2)
    on_road = (
        shapely.contains_xy(drivable, points[..., 0].ravel(), points[..., 1].ravel()).reshape(len(ego), 5).all(axis=1)
    )
    off_road = not bool(on_road.all())
    driven_m = np.hypot(np.diff(x), np.diff(y))
    off_road_share = float(driven_m[~on_road[1:]].sum() / max(driven_m.sum(), 1e-9))

    arrived = bool(_crossings(np.stack([x, y], 1), trace["goal_line"]).any())
    time_s = float(ego[-1, 0] - ego[0, 0])
    in_time = time_s <= TIME_LIMIT_S + PERIOD_S / 2
    success = arrived and in_time and not (collided or ran_red or off_road)
    start_m, _, goal_m = trace["path_m"]
    route = shapely.LineString(trace["path"])
    reached_m = float(shapely.line_locate_point(route, shapely.Point(x[-1], y[-1])))
    progress = float(np.clip((reached_m - start_m) / (goal_m - start_m), 0.0, 1.0))

    jerk = np.diff(ego[:, 5], prepend=ego[0, 5]) / PERIOD_S
    comfortable = (
        (ego[:, 5] >= -4.05)
        & (ego[:, 5] <= 2.40)
        & (np.abs(ego[:, 4] * ego[:, 7]) <= 4.89)
        & (np.abs(ego[:, 7]) <= 0.95)
        & (np.abs(jerk) <= 4.13)
    )
    comfort = scores.is_comfortable(ego, PERIOD_S)
    pdm = scores.pdm_score(
        is_at_fault=at_fault, off_road=off_road, progress=progress, has_time=has_time, comfortable=comfort
    )
    hit = near_objects[touched, 1].tolist()
    driving = scores.driving_score(
        progress=progress, hit=hit, ran_red=ran_red, ran_stop=ran_stop, off_road_share=off_road_share
    )
    return {
        "success": float(success),
        "collided": float(collided),
        "at_fault": float(at_fault),
        "not_at_fault": float(collided and not at_fault),
        "ran_red": float(ran_red),
        "ran_stop": float(ran_stop),
        "off_road": float(off_road),
        "timed_out": float(not (success or collided or ran_red or off_road)),
        "time_s": time_s,
        "route_completion": progress,
        "min_gap_m": min_gap_m,
        "max_braking_mps2": float(max(-ego[:, 5].min(), 0.0)),
        "comfortable": float(comfortable.mean()),
        "comfort": float(comfort),
        "ttc_within_bound": float(has_time),
        "pdm_score": pdm,
        "driving_score": driving,
    }


def _first_touches(ids: np.ndarray, gaps: np.ndarray) -> list[int]:
    """Return for each body that was touched where its first touch stands in ``ids`` and ``gaps`` ``[pairs]``."""
    touching = np.flatnonzero(gaps <= 0)
    return [int(touching[i]) for i in np.unique(ids[touching], return_index=True)[1]]


def _ran_stop(front: np.ndarray, speed_mps: np.ndarray, crossed: np.ndarray, line: np.ndarray) -> bool:
    """Say whether the front bumper ``[steps, 2]`` crossed the line and was never slow enough in the zone before it."""
    if not crossed.any():
        return False
    before = slice(int(np.argmax(crossed)) + 1)
    near = shapely.distance(shapely.points(front[before]), shapely.LineString(line)) <= STOP_ZONE_M
    return not bool((speed_mps[before][near] < STOOD_MPS).any())


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
