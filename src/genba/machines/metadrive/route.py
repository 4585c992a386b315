"""Where the car may go: the lanes of each road of its route, which of them lead on, and the path along one of them.

The package gives a route as a row of roads, each of several lanes side by side; where roads join, some lanes end. This finds how many
lane changes each lane is away from the goal, which a planner needs and the package's navigation does not say. It holds no decision.
Read next: ``expert``, which decides.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

#: distance between two points of a path, in metres
SPACING_M = 0.5
#: lanes join where one ends within this distance of where the next begins
JOIN_M = 0.5
#: lane changes to a goal that no lane leads to
NEVER = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One scene's route.

    Attributes:
        roads: the package's lanes of each road, from left to right.
        changes: lane changes from each lane of each road to the goal; ``NEVER`` where it cannot be reached.
        following: the lane of the next road that each lane leads into; -1 for none.
    """

    roads: list[list[Any]]
    changes: list[list[float]]
    following: list[list[int]]

    def path(self, road: int, lane: int, along_m: float, length_m: float) -> np.ndarray:
        """Return the middle of a lane and of those that it leads into, from ``along_m`` on.

        Args:
            road, lane: where to begin.
            along_m: along that lane.
            length_m: how far; less where the route ends.

        Returns:
            float64 ``[points, 3]``: x, y, heading, ``SPACING_M`` apart.
        """
        rows: list[tuple[float, float, float]] = []
        wanted = round(length_m / SPACING_M)
        while len(rows) < wanted:
            here = self.roads[road][lane]
            # The last lane is thought to go on: the goal lies some metres before its end.
            last = road + 1 == len(self.roads) or self.following[road][lane] < 0
            while len(rows) < wanted and (along_m < here.length or last):
                x, y = here.position(along_m, 0.0)
                rows.append((x, y, here.heading_theta_at(min(along_m, here.length))))
                along_m += SPACING_M
            along_m -= here.length
            if not last:
                lane, road = self.following[road][lane], road + 1
        return np.array(rows)


def find_route(navigation: Any) -> Route:
    """Return the route that the package's navigation has planned."""
    graph = navigation.map.road_network.graph
    ends = navigation.checkpoints
    roads = [list(graph[a][b]) for a, b in itertools.pairwise(ends)]
    following = [[_next(lane, roads[k + 1]) for lane in roads[k]] for k in range(len(roads) - 1)]
    following.append([-1] * len(roads[-1]))
    changes: list[list[float]] = [[0.0] * len(roads[-1])]
    for k in range(len(roads) - 2, -1, -1):
        ahead = [changes[0][j] if j >= 0 else NEVER for j in following[k]]
        count = len(ahead)
        changes.insert(0, [min(abs(i - j) + ahead[j] for j in range(count)) for i in range(count)])
    return Route(roads, changes, following)


def _next(lane: Any, lanes: list[Any]) -> int:
    gaps = [math.dist(lane.end, other.start) for other in lanes]
    best = int(np.argmin(gaps))
    return best if gaps[best] < JOIN_M else -1
