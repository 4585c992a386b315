"""A way round what blocks the lane: where the car has stood behind somebody who does not move, another route is shown.

The route channel is what navigation says. Where nothing is red, the car has stood for ``STOOD_S`` and somebody ahead for as
long, the route is bent past them, mostly over the lane to the left, and back; policy and guard see the bent route, and
nobody else is driven for. The bend is begun only while the sweeps show it free of all who stand and of all who come.
Sensors only; the map says how wide lanes are, not where they end. Read next: ``perception``, or ``oracle``, which bends by
the true state of all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from genba.machines.vehicle.bicycle import CENTRE_M, FRONT_M, REAR_OVERHANG_M
from genba.machines.vehicle.expert import HALF_LENGTH_M, HALF_WIDTH_M
from genba.machines.vehicle.geometry import overlap
from genba.machines.vehicle.path import SPACING_M, RoutePath, blend, shifted, span
from genba.machines.vehicle.perception import (
    CURVATURE,
    HEADING_ERROR,
    LATERAL,
    NUM_WAYPOINTS,
    REMAINING,
    Perception,
    Seen,
    path_ahead,
)
from genba.machines.vehicle.simulator import CURVATURES_M, GREEN, WAYPOINTS_M
from genba.machines.vehicle.traffic import HEADING, KIND, LENGTH, SPEED, WIDTH, X, Y
from genba.machines.vehicle.traffic_process import PERSON
from genba.spec.observation import Observation

#: slower than this the car stands; so long it must have stood, and so long somebody ahead, before a way round is looked for
STANDING_MPS, STOOD_S = 0.3, 8.0
#: whose nearest corner is this close to the route blocks it, if it begins within this distance before the front bumper
BLOCKS_M, NEAR_M = 1.1, 12.0
#: who stands within this distance behind somebody who blocks is its queue
QUEUE_GAP_M = 9.0
#: sideways shifts that are tried, smallest first, to the left and then to the right
SHIFTS_M = np.concatenate([np.arange(1.6, 4.1, 0.2), -np.arange(1.6, 3.3, 0.2)])
#: along the route, this much is used to swing back in, and at the least to swing out
BACK_M, OUT_M = 11.0, 6.0
#: room beside the car to who stands, wide if there is, and narrow; and before and behind
ROOM_M, ROOM_ALONG_M = (0.5, 0.3), 1.0
#: who moves is taken to go on like this, with this much room, while the car goes round at this speed
SPEED_MPS, MOVING_ROOM_M = 3.5, 0.8
#: largest curvature that the channel holds
MAX_CURVATURE = 0.3


@dataclass(frozen=True, slots=True)
class Bend:
    """How far to the left of the route the car shall be, over the distance that remains to the goal."""

    #: where the swing out begins and has ended, and where the swing in begins and has ended: metres to the goal, falling
    marks_m: tuple[float, float, float, float]
    start_left_m: float
    left_m: float

    def at(self, remaining_m: np.ndarray) -> np.ndarray:
        """Return the shift to the left in metres, where so many metres remain."""
        begin, out, back, end = self.marks_m
        swung_out = blend((begin - remaining_m) / (begin - out))
        swung_in = 1.0 - blend((back - remaining_m) / (back - end))
        return (self.start_left_m + (self.left_m - self.start_left_m) * swung_out) * swung_in


class WayRound:
    """Replaces the route in the observations of a car that is stuck."""

    def __init__(self) -> None:
        self._perception = Perception()
        self.reset()

    def reset(self) -> None:
        """Forget the bend and for how long the car stood."""
        self._perception.reset()
        self._bend: Bend | None = None
        self._standing_since_ns: int | None = None

    def see(self, observation: Observation) -> Observation:
        """Return the observation with the route as it shall be driven."""
        route, telemetry = observation.streams.get("route"), observation.streams.get("telemetry")
        if route is None or telemetry is None or not np.isfinite(route.values[-1]).all():
            return observation
        facts = route.values[-1].astype(np.float64)
        if not telemetry.values[-1, 0] < STANDING_MPS:  # not a number is not standing either
            self._standing_since_ns = None
            self._perception.reset()
        else:
            seen = self._perception.look(observation)
            if seen is not None and self._is_stuck(seen, observation.time_ns):
                self._bend = find_bend(seen) or self._bend
        if self._bend is not None and facts[REMAINING] < self._bend.marks_m[-1]:
            self._bend = None
        if self._bend is None:
            return observation
        values = route.values.copy()
        values[-1] = bent_route(facts, self._bend)
        return replace(observation, streams={**observation.streams, "route": replace(route, values=values)})

    def _is_stuck(self, seen: Seen, time_ns: int) -> bool:
        """Say whether the car has stood for long enough, with nothing that would make it wait: red, or a line without a light."""
        if seen.stop_line_m >= 0 and seen.colour != GREEN:
            self._standing_since_ns = None
            return False
        if self._standing_since_ns is None:
            self._standing_since_ns = time_ns
        return time_ns - self._standing_since_ns >= STOOD_S * 1e9


def bent_route(facts: np.ndarray, bend: Bend) -> np.ndarray:
    """Return a sample of the route channel with its waypoints, curvatures and errors along the bent route."""
    base = path_ahead(facts)
    remaining_m = facts[REMAINING] - SPACING_M * np.arange(len(base.points))
    path = replace(base, points=shifted(base.points, bend.at(remaining_m)))
    along_m, lateral_m = path.project(0.0, 0.0, 0.0)
    answer = facts.copy()
    ahead = np.array([path.at(along_m + distance_m) for distance_m in WAYPOINTS_M])
    answer[:NUM_WAYPOINTS], answer[NUM_WAYPOINTS : 2 * NUM_WAYPOINTS] = ahead[:, 0], ahead[:, 1]
    curvature = [path.at(along_m + distance_m)[3] for distance_m in CURVATURES_M]
    answer[CURVATURE : CURVATURE + len(curvature)] = np.clip(curvature, -MAX_CURVATURE, MAX_CURVATURE)
    answer[LATERAL], answer[HEADING_ERROR] = lateral_m, -path.at(along_m)[2]
    return answer


def find_bend(seen: Seen) -> Bend | None:
    """Return the smallest bend of the route past who blocks it; None where nobody does, or none is free."""
    stands = (seen.objects[:, KIND] != PERSON) & (seen.objects[:, SPEED] == 0.0)
    spans = [span(seen.path, row) for row in seen.objects]
    on_route = [i for i in np.flatnonzero(stands) if spans[i][1] > FRONT_M and spans[i][2] < BLOCKS_M]
    chosen: list[int] = []
    reach_m = FRONT_M + NEAR_M
    for i in sorted(on_route, key=lambda i: spans[i][0]):
        if spans[i][0] > reach_m:
            break
        if not chosen and seen.stood_s[i] < STOOD_S - 1.0:
            return None
        chosen.append(i)
        reach_m = spans[i][1] + QUEUE_GAP_M
    if not chosen:
        return None
    out_m = max(min(spans[i][0] for i in chosen) - FRONT_M - ROOM_ALONG_M, OUT_M)
    back_m = max(spans[i][1] for i in chosen) + REAR_OVERHANG_M + ROOM_ALONG_M
    remaining_m = float(seen.route[REMAINING])
    marks_m = (remaining_m, remaining_m - out_m, remaining_m - back_m, remaining_m - back_m - BACK_M)
    along = SPACING_M * np.arange(len(seen.path.points))
    for room_m in ROOM_M:
        for left_m in SHIFTS_M:
            bend = Bend(marks_m, seen.lateral_m, float(left_m))
            points = shifted(seen.path.points, bend.at(remaining_m - along))
            if is_free(replace(seen.path, points=points), back_m + BACK_M, seen.objects, room_m):
                return bend
    return None


def is_free(path: RoutePath, until_m: float, objects: np.ndarray, room_m: float) -> bool:
    """Say whether a car that goes along a path at ``SPEED_MPS`` stays clear of all who stand or go on as they do."""
    for index in range(1, min(round(until_m / SPACING_M), len(path.points))):
        x, y, heading, _ = path.points[index]
        middle = x + CENTRE_M * math.cos(heading), y + CENTRE_M * math.sin(heading)
        later_s = index * SPACING_M / SPEED_MPS
        for row in objects:
            moved_m = later_s * row[SPEED]
            room = room_m if moved_m == 0.0 else MOVING_ROOM_M
            place = row[X] + moved_m * math.cos(row[HEADING]), row[Y] + moved_m * math.sin(row[HEADING])
            size = row[LENGTH] / 2 + room, row[WIDTH] / 2 + room
            if overlap(*middle, heading, HALF_LENGTH_M, HALF_WIDTH_M, *place, row[HEADING], *size):
                return False
    return True
