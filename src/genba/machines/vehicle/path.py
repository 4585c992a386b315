"""A route as a line: evenly spaced points with heading, curvature and a speed the curve allows.

Holds geometry only, no traffic and no choice of when to stop. Read next: ``expert``, which drives along it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from genba.machines.vehicle.bicycle import GRAVITY_MPS2, MU
from genba.machines.vehicle.geometry import corners

#: distance between the points of a path
SPACING_M = 0.5
#: how fast one drives where the road is straight, a little under the limit of 11.11 m/s
CRUISE_SPEED_MPS = 10.5
#: sideways acceleration that passengers accept in a curve, and the braking that they accept before it
CURVE_ACCELERATION_MPS2 = 2.5
CURVE_BRAKING_MPS2 = 2.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RoutePath:
    """The line that the rear axle follows.

    Attributes:
        points: float64 ``[points, 4]``: x, y in metres, heading in rad, curvature in 1/m, ``SPACING_M`` apart.
        speed_mps: float64 ``[points]``: the speed from which every curve ahead can be taken comfortably.
        stop_m: where along the path the stop line crosses it (for the front bumper).
        goal_m: where along the path the goal line crosses it (for the rear axle).
    """

    points: np.ndarray
    speed_mps: np.ndarray
    stop_m: float
    goal_m: float

    def at(self, along_m: float) -> np.ndarray:
        """Return x, y, heading, curvature at a distance along the path, straight on beyond its ends."""
        last = len(self.points) - 1
        index = min(max(int(along_m / SPACING_M), 0), last - 1)
        rest_m = along_m - index * SPACING_M
        x, y, heading, curvature = self.points[index]
        return np.array([x + rest_m * math.cos(heading), y + rest_m * math.sin(heading), heading, curvature])

    def project(self, x_m: float, y_m: float, near_m: float, window_m: float = 15.0) -> tuple[float, float]:
        """Return how far along the path the nearest point lies and the signed offset (left is positive).

        Only ``window_m`` around ``near_m`` is searched: a path that turns back cannot catch a point twice.
        """
        start = max(int((near_m - window_m) / SPACING_M), 0)
        stop = min(int((near_m + window_m) / SPACING_M) + 2, len(self.points))
        piece = self.points[start:stop]
        index = start + int(np.argmin((piece[:, 0] - x_m) ** 2 + (piece[:, 1] - y_m) ** 2))
        px, py, heading, _ = self.points[index]
        dx, dy = x_m - px, y_m - py
        along_m = index * SPACING_M + dx * math.cos(heading) + dy * math.sin(heading)
        return along_m, -dx * math.sin(heading) + dy * math.cos(heading)


def make_path(line: np.ndarray, *, stop_m: float, goal_m: float) -> RoutePath:
    """Make a path from a polyline ``[points, 2]``: resampled, smoothed over 3 m, with its curve speeds."""
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    line = line[np.concatenate([[True], steps > 1e-6])]
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    grid = np.arange(0.0, along[-1], SPACING_M)
    x, y = np.interp(grid, along, line[:, 0]), np.interp(grid, along, line[:, 1])
    half = round(1.5 / SPACING_M)
    kernel = np.hanning(2 * half + 3)[1:-1]
    kernel /= kernel.sum()
    for values in (x, y):
        inner = np.convolve(values, kernel, mode="valid")
        values[half : len(values) - half] = inner
    heading = np.unwrap(np.arctan2(np.gradient(y), np.gradient(x)))
    curvature = np.gradient(heading) / SPACING_M
    allowed = np.sqrt(CURVE_ACCELERATION_MPS2 / np.maximum(np.abs(curvature), 1e-6))
    assert CURVE_ACCELERATION_MPS2 < MU * GRAVITY_MPS2
    speed = np.minimum(allowed, CRUISE_SPEED_MPS)
    for i in range(len(speed) - 2, -1, -1):
        speed[i] = min(speed[i], math.sqrt(speed[i + 1] ** 2 + 2 * CURVE_BRAKING_MPS2 * SPACING_M))
    return RoutePath(points=np.stack([x, y, heading, curvature], axis=1), speed_mps=speed, stop_m=stop_m, goal_m=goal_m)


def blend(share: np.ndarray) -> np.ndarray:
    """Return 0 below 0 and 1 above 1, with a flat start and end between."""
    share = np.clip(share, 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


def shifted(points: np.ndarray, left_m: np.ndarray) -> np.ndarray:
    """Return a path's points ``[points, 4]``, each moved to the left of the path by ``left_m`` ``[points]``."""
    x = points[:, 0] - left_m * np.sin(points[:, 2])
    y = points[:, 1] + left_m * np.cos(points[:, 2])
    heading = np.unwrap(np.arctan2(np.gradient(y), np.gradient(x)))
    return np.stack([x, y, heading, np.gradient(heading) / SPACING_M], axis=1)


def span(path: RoutePath, row: np.ndarray) -> tuple[float, float, float]:
    """Return where along a path a body begins and ends, and how far its nearest corner is from the path.

    Args:
        path: the path.
        row: the body, ``[8]`` in the columns of ``traffic``.
    """
    x, y, heading, _, length_m, width_m = row[2:]
    points = corners(x, y, heading, length_m / 2, width_m / 2)
    index = int(np.argmin((path.points[:, 0] - x) ** 2 + (path.points[:, 1] - y) ** 2))
    along, lateral = zip(*(path.project(px, py, index * SPACING_M) for px, py in points), strict=True)
    near_m = 0.0 if min(lateral) <= 0.0 <= max(lateral) else min(abs(value) for value in lateral)
    return min(along), max(along), near_m
