"""Where continuous lines, which end an episode when they are touched, cross the lanes of a route.

Some of MetaDrive's scenes have a ramp whose line lies across the whole road: whoever follows the route touches it. This finds them without
driving, so that a success rate can be read beside the greatest that there can be. It is no part of a policy. Read next: ``route``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from genba.machines.metadrive.route import SPACING_M, Route

#: half the width of the package's car, 1.852 m, and of a line, 0.075 m
REACH_M = 0.5 * 1.852 + 0.5 * 0.075
#: distance between two points of a line
POINTS_M = 0.25


def continuous_lines(world: Any) -> np.ndarray:
    """Return points ``[points, 2]`` on all continuous lines of the package's world, as its physics has them."""
    from panda3d.core import NodePath  # optional (extra `metadrive`)

    static = world.engine.physics_world.static_world
    rows = []
    for node in (*static.getGhosts(), *static.getRigidBodies()):
        if "SOLID" not in node.getName():
            continue
        place = NodePath(node)
        turn = math.radians(place.getH())
        for shape in node.getShapes():
            half = shape.getHalfExtentsWithMargin()
            # A box that is long one way: along its own x or its own y.
            if half[1] > half[0]:
                direction, length = np.array([-math.sin(turn), math.cos(turn)]), half[1]
            else:
                direction, length = np.array([math.cos(turn), math.sin(turn)]), half[0]
            count = max(2, math.ceil(2 * length / POINTS_M) + 1)
            rows.append(np.array(place.getPos())[:2] + np.linspace(-length, length, count)[:, None] * direction)
    return np.concatenate(rows) if rows else np.empty((0, 2))


def crossings(route: Route, lines: np.ndarray) -> list[list[float]]:
    """Return for each lane of each road how far along it a car in its middle first touches a line, in metres; infinite for never."""
    return [[_first(lane, lines) for lane in lanes] for lanes in route.roads]


def is_shut(found: list[list[float]]) -> bool:
    """Say whether a road of the route has a line across every one of its lanes."""
    return any(all(math.isfinite(along_m) for along_m in road) for road in found)


def _first(lane: Any, lines: np.ndarray) -> float:
    # Its ends are its neighbours' too.
    along_m = np.arange(SPACING_M, lane.length, SPACING_M)
    middle = np.array([lane.position(m, 0.0) for m in along_m]).reshape(-1, 2)
    if not len(middle):
        return math.inf
    near = lines[((lines > middle.min(0) - 1.0) & (lines < middle.max(0) + 1.0)).all(1)]
    if not len(near):
        return math.inf
    touched = np.linalg.norm(middle[:, None] - near, axis=-1).min(1) < REACH_M
    return float(along_m[touched.argmax()]) if touched.any() else math.inf
