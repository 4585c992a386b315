"""Scores of the planning field, from the ground truth: whose fault a touch was, time to collision, comfort, PDM, driving score.

Each follows the definition that its docstring names, as far as this world has what it asks for, and says where it
departs. They are part of the judge: nothing here is shared with the simulator or with any planner. No published number
may stand beside ours: the worlds differ. Read next: ``verifier``, which calls these.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely

#: columns of an object's row
KIND, X, Y, HEADING, SPEED, LENGTH, WIDTH = 1, 2, 3, 4, 5, 6, 7
PERSON, CYCLIST = 2, 3
#: slower than this, somebody stands (nuPlan)
STANDING_MPS = 0.05
#: seen from the rear axle, an object beyond this angle is behind (nuPlan)
BEHIND_RAD = np.radians(150.0)
#: half a lane and nuPlan's 0.3 m of tolerance
OWN_LANE_M = 1.6 + 0.3
#: a collision must be further off than this, with everybody going on as they do (nuPlan)
LEAST_TTC_S = 0.95
#: nuPlan's comfort bounds: m/s^2, m/s^2, rad/s, rad/s^2, m/s^3, m/s^3
LON_ACCELERATION_MPS2, LAT_ACCELERATION_MPS2 = (-4.05, 2.40), 4.89
YAW_RATE_RADPS, YAW_ACCELERATION_RADPS2 = 0.95, 1.93
LON_JERK_MPS3, JERK_MPS3 = 4.13, 8.37
#: windows of the fits, in samples at 10 Hz: acceleration, jerk, yaw
ACCELERATION_WINDOW, JERK_WINDOW, YAW_WINDOW = 7, 15, 5
#: what is left of CARLA's driving score after hitting a person, hitting a vehicle, passing a red light, passing a stop sign
PERSON_PENALTY, VEHICLE_PENALTY, RED_PENALTY, STOP_PENALTY = 0.50, 0.60, 0.70, 0.80


def is_at_fault(
    ego: np.ndarray, body: shapely.Polygon, other: np.ndarray, other_body: shapely.Polygon, lanes: Sequence[np.ndarray]
) -> bool:
    """Say whether a touch counts against the car.

    Not its fault: it stood; or it was hit from behind; or from the side while it was wholly within one lane. Its fault:
    the other stood; or its front bumper touched; or its side did while it was in more than one lane.

    Args:
        ego: ``[5 or more]``: time, rear axle x, y, heading, speed.
        body: its outline, whose first and last corner are those of the front bumper.
        other: row of the other.
        other_body: outline of the other.
        lanes: centre lines ``[points, 2]``, one of them the route.

    Source: nuPlan ``no_ego_at_fault_collisions``; C. Dauner et al., NAVSIM (2024), NC.
    """
    if ego[4] <= STANDING_MPS:
        return False
    if other[SPEED] <= STANDING_MPS:
        return True
    if bearing(ego, other) > BEHIND_RAD:
        return False
    corners = shapely.get_coordinates(body)[:4]
    if shapely.intersects(shapely.LineString(corners[[0, 3]]), other_body):
        return True
    points = shapely.points(corners)
    return not any(shapely.distance(points, shapely.LineString(lane)).max() <= OWN_LANE_M for lane in lanes)


def bearing(ego: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the angle from the car's heading to the others' middles as seen from its rear axle, 0 to pi, ``[...]``."""
    ahead = np.arctan2(other[..., Y] - ego[..., 2], other[..., X] - ego[..., 1]) - ego[..., 3]
    return np.abs(np.arctan2(np.sin(ahead), np.cos(ahead)))


def has_time(ego: np.ndarray, bodies: np.ndarray, others: np.ndarray, other_bodies: np.ndarray) -> bool:
    """Say whether nobody would be touched within ``LEAST_TTC_S`` if everybody went on straight at their speed.

    Judged while the car moves, for everybody who is not behind it: what nuPlan does inside intersections, done
    everywhere. The way of the others relative to the car is swept as a whole, where nuPlan steps by 0.1 s.

    Args:
        ego: ``[pairs, 5 or more]``, the car's state of each pair.
        bodies: its outlines ``[pairs]``.
        others: rows ``[pairs, 8]``.
        other_bodies: their outlines ``[pairs]``.

    Source: nuPlan ``time_to_collision_within_bound``.
    """
    reach_m = 6.0 + 0.5 * others[:, LENGTH] + LEAST_TTC_S * (ego[:, 4] + others[:, SPEED])
    apart_m = np.hypot(others[:, X] - ego[:, 1], others[:, Y] - ego[:, 2])
    asked = (ego[:, 4] > 0.005) & (bearing(ego, others) <= BEHIND_RAD) & (apart_m < reach_m)
    ego, bodies, others, other_bodies = ego[asked], bodies[asked], others[asked], other_bodies[asked]
    if not len(ego):
        return True
    vx = others[:, SPEED] * np.cos(others[:, HEADING]) - ego[:, 4] * np.cos(ego[:, 3])
    vy = others[:, SPEED] * np.sin(others[:, HEADING]) - ego[:, 4] * np.sin(ego[:, 3])
    now = shapely.get_coordinates(other_bodies).reshape(len(ego), 5, 2)[:, :4]
    later = now + LEAST_TTC_S * np.stack([vx, vy], 1)[:, None]
    swept = shapely.convex_hull(shapely.multipoints(np.concatenate([now, later], 1)))
    return not bool(shapely.intersects(bodies, swept).any())


def is_comfortable(ego: np.ndarray, period_s: float) -> bool:
    """Say whether an episode stays within nuPlan's comfort bounds throughout; one too short to fit a curve does.

    Acceleration is smoothed and jerk and yaw derived by Savitzky-Golay fits over nuPlan's windows (7 samples for its 8: an
    even one has no middle).

    Args:
        ego: ``[steps, 8 or more]``: time, x, y, heading, speed, acceleration, steering, yaw rate.
        period_s: between steps.

    Source: nuPlan ``ego_is_comfortable``.
    """
    if len(ego) < YAW_WINDOW:
        return True
    lon = fit(ego[:, 5], ACCELERATION_WINDOW, 2, 0, period_s)
    lat = fit(ego[:, 4] * ego[:, 7], ACCELERATION_WINDOW, 2, 0, period_s)
    size = fit(np.hypot(ego[:, 5], ego[:, 4] * ego[:, 7]), ACCELERATION_WINDOW, 2, 0, period_s)
    heading = np.unwrap(ego[:, 3])
    within = (
        (lon > LON_ACCELERATION_MPS2[0]) & (lon < LON_ACCELERATION_MPS2[1]),
        np.abs(lat) < LAT_ACCELERATION_MPS2,
        np.abs(fit(lon, JERK_WINDOW, 2, 1, period_s)) < LON_JERK_MPS3,
        np.abs(fit(size, JERK_WINDOW, 2, 1, period_s)) < JERK_MPS3,
        np.abs(fit(heading, YAW_WINDOW, 2, 1, period_s)) < YAW_RATE_RADPS,
        np.abs(fit(heading, YAW_WINDOW, 3, 2, period_s)) < YAW_ACCELERATION_RADPS2,
    )
    return all(bool(bound.all()) for bound in within)


def fit(values: np.ndarray, window: int, order: int, derivative: int, period_s: float) -> np.ndarray:
    """Return a derivative of a polynomial fitted around each sample, ``[samples]``; at the ends, of the last whole window.

    Source: A. Savitzky and M. J. E. Golay, Analytical Chemistry 36 (1964).
    """
    window = min(window, len(values) - 1 + len(values) % 2)
    half = window // 2
    offsets = (np.arange(window) - half) * period_s
    powers = np.arange(order + 1)
    coefficients = (
        np.lib.stride_tricks.sliding_window_view(values, window) @ np.linalg.pinv(offsets[:, None] ** powers).T
    )
    index = np.arange(len(values))
    middle = np.clip(index, half, len(values) - 1 - half)
    at_s = (index - middle) * period_s
    falling = np.array([np.prod(np.arange(power, power - derivative, -1)) for power in powers], np.float64)
    terms = [falling[p] * at_s ** (p - derivative) for p in range(derivative, order + 1)]
    return np.sum(coefficients[middle - half, derivative:].T * terms, axis=0)


def pdm_score(*, is_at_fault: bool, off_road: bool, progress: float, has_time: bool, comfortable: bool) -> float:
    """Return NC x DAC x (5 EP + 5 TTC + 2 C) / 12, between 0 and 1, over the whole closed-loop episode.

    NC is 0 after a touch that was the car's fault, DAC 0 off the road. EP is the share of the route that was driven;
    NAVSIM divides by what its own planner would reach within 4 s. It knows no traffic lights: a red light that is passed
    shows in success and driving score.

    Source: D. Dauner et al., NAVSIM: Data-driven non-reactive autonomous vehicle simulation and benchmarking (2024).
    """
    if is_at_fault or off_road:
        return 0.0
    return (5.0 * progress + 5.0 * has_time + 2.0 * comfortable) / 12.0


def driving_score(
    *, progress: float, hit: Sequence[float], ran_red: bool, ran_stop: bool, off_road_share: float
) -> float:
    """Return route completion times the penalty of every infraction, between 0 and 1.

    Args:
        progress: share of the route that was driven.
        hit: the kind of each body that was touched, whosever fault it was.
        ran_red: whether a red light was passed.
        ran_stop: whether a stop sign was passed without a stop.
        off_road_share: share of the driven way that lay off the road.

    Left out: scenario time-outs, minimum speed, and yielding to emergency vehicles, who here do not wait for the car: who
    does not yield is hit. An episode ends at the first touch.

    Source: CARLA Leaderboard 2.0, infraction penalties.
    """
    score = progress * (1.0 - off_road_share)
    score *= (RED_PENALTY if ran_red else 1.0) * (STOP_PENALTY if ran_stop else 1.0)
    for kind in hit:
        score *= PERSON_PENALTY if kind in (PERSON, CYCLIST) else VEHICLE_PENALTY
    return score
