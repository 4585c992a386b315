"""A way round what blocks the lane: where the car has stood behind somebody who does not move, another route is shown.

The route channel is what navigation says. Where nothing is red, the car has stood for ``STOOD_S`` and somebody ahead for as
long, the route is bent past them over the lane to the left, and back. Policy and guard see the bent route. The policy is not shown
the returns of those who are passed: one that never saw a car pass another stands before it for ever, whatever its route
says (measured, see docs/vehicle.md). The guard sees them. The bend is begun only while the sweeps show it free of all who stand and of all who come.
Sensors only; the map says how wide lanes are, not where they end. Read next: ``perception``, or ``oracle``, which bends by
the true state of all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from genba.machines.vehicle.bicycle import CENTRE_M, FRONT_M, REAR_OVERHANG_M, BicycleState, advance
from genba.machines.vehicle.expert import HALF_LENGTH_M, HALF_WIDTH_M, pursue, pursuit_distance_m
from genba.machines.vehicle.geometry import corners, overlap
from genba.machines.vehicle.lidar import MOUNT_X_M
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
from genba.machines.vehicle.simulator import CURVATURES_M, GREEN, MAX_CURVATURE, WAYPOINTS_M
from genba.machines.vehicle.tracks import NUM_BELIEVED
from genba.machines.vehicle.traffic import HEADING, KIND, LENGTH, SPEED, WIDTH, X, Y
from genba.machines.vehicle.traffic_process import PERSON, STEP_S
from genba.spec.observation import Observation
from genba.spec.streams import ragged
from genba.spec.units import to_ns

#: slower than this the car stands; so long it must have stood, and so long somebody ahead, before a way round is looked for
STANDING_MPS, STOOD_S = 0.3, 8.0
#: whose nearest corner is this close to the route blocks it, if it begins within this distance before the front bumper
BLOCKS_M, NEAR_M = 1.1, 12.0
#: who stands within this distance behind somebody who blocks is its queue
QUEUE_GAP_M = 9.0
#: shifts to the left that are tried, smallest first; where the road ends on the right is not known
SHIFTS_M = np.arange(1.6, 4.7, 0.2)
#: returns this close around those who are passed are theirs
HIDDEN_M = 0.8
#: along the route, this much is used to swing back in, and at the least to swing out
BACK_M, OUT_M = 11.0, 6.0
#: a bend is looked for so often
LOOK_S = 0.5
#: room beside the car to who stands, wide if there is, and narrow; and before and behind
ROOM_M, ROOM_ALONG_M, PERSON_ROOM_M = (0.5, 0.25), 1.0, 0.1
#: who moves is taken to go on as it does for so long, and kept this far away from; later the guard sees to it
MOVING_S, MOVING_ROOM_M = 6.0, 0.8
#: the car starts like this, and goes round at this speed
START_MPS2, SPEED_MPS = 1.2, 3.5


@dataclass(frozen=True, slots=True)
class Bend:
    """How far to the left of the route the car shall be, over the distance that remains to the goal."""

    #: where the swing out begins and has ended, and where the swing in begins and has ended: metres to the goal, falling
    marks_m: tuple[float, float, float, float]
    start_left_m: float
    left_m: float
    #: where those who are passed are: metres to the goal from and until, and metres to the left of the route from and until
    passed_m: tuple[float, float, float, float]

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
        self._look_at_ns = 0

    def see(self, observation: Observation) -> tuple[Observation, Observation]:
        """Return what the policy is shown and what the guard is: both the route as it shall be driven, the policy without
        the returns of those who are passed.
        """
        route, telemetry = observation.streams.get("route"), observation.streams.get("telemetry")
        if route is None or telemetry is None or not np.isfinite(route.values[-1]).all():
            return observation, observation
        facts, speed_mps = route.values[-1].astype(np.float64), float(telemetry.values[-1, 0])
        if not speed_mps < STANDING_MPS:  # not a number is not standing either
            self._standing_since_ns = None
            self._perception.reset()
        else:
            seen = self._perception.look(observation)
            if seen is not None and self._is_stuck(seen, observation.time_ns):
                bend = find_bend(seen)
                self._bend = bend or self._bend
                # Not again in each control step; and with a bend, only where it has led to nothing for as long again.
                wait_s = STOOD_S if bend else LOOK_S
                self._look_at_ns = observation.time_ns + to_ns(wait_s)
        if self._bend is not None and facts[REMAINING] < self._bend.marks_m[-1]:
            self._bend = None
        if self._bend is None:
            return observation, observation
        values = route.values.copy()
        values[-1] = bent_route(facts, self._bend)
        streams = {**observation.streams, "route": replace(route, values=values)}
        watched = replace(observation, streams=streams)
        sweeps = observation.streams.get("lidar")
        if sweeps is None:
            return watched, watched
        ages_s = (observation.time_ns - sweeps.times_ns) / 1e9
        shown = [without_passed(sweeps.sample(i), facts, self._bend, speed_mps * ages_s[i]) for i in range(len(sweeps))]
        return replace(observation, streams={**streams, "lidar": ragged(sweeps.times_ns, shown)}), watched

    def _is_stuck(self, seen: Seen, time_ns: int) -> bool:
        """Say whether the car has stood for long enough, with nothing that would make it wait: red, or a line without a light."""
        if seen.stop_line_m >= 0 and seen.colour != GREEN:
            self._standing_since_ns = None
            return False
        if self._standing_since_ns is None:
            self._standing_since_ns = time_ns
            self._look_at_ns = time_ns + to_ns(STOOD_S)
        return time_ns >= self._look_at_ns


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


def without_passed(sweep: np.ndarray, facts: np.ndarray, bend: Bend, moved_m: float) -> np.ndarray:
    """Return a sweep's points without those who are passed.

    Args:
        sweep: float32 ``[points, 3]`` in the sensor's frame.
        facts: the newest sample of the route channel, as it came.
        bend: the bend.
        moved_m: how far the car has gone since the sweep.
    """
    path = path_ahead(facts).points
    x, y = sweep[:, 0] + MOUNT_X_M - moved_m, sweep[:, 1]
    nearest = ((path[:, :1] - x) ** 2 + (path[:, 1:2] - y) ** 2).argmin(axis=0)
    dx, dy, heading = x - path[nearest, 0], y - path[nearest, 1], path[nearest, 2]
    remaining_m = facts[REMAINING] - nearest * SPACING_M - dx * np.cos(heading) - dy * np.sin(heading)
    left_m = -dx * np.sin(heading) + dy * np.cos(heading)
    first, last, right, left = bend.passed_m
    is_passed = (remaining_m <= first) & (remaining_m >= last) & (left_m >= right) & (left_m <= left)
    return sweep[~is_passed]


def find_bend(seen: Seen) -> Bend | None:
    """Return the smallest bend of the route past who blocks it; None where nobody does, or none is free."""
    stands = (seen.objects[:, KIND] != PERSON) & (seen.objects[:, SPEED] == 0.0)
    spans = [span(seen.path, row) for row in seen.objects]
    on_route = [i for i in np.flatnonzero(stands).tolist() if spans[i][1] > FRONT_M and spans[i][2] < BLOCKS_M]
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
    sides = [
        seen.path.project(px, py, spans[i][0])[1]
        for i in chosen
        for px, py in corners(*seen.objects[i, [X, Y, HEADING]], *(seen.objects[i, [LENGTH, WIDTH]] / 2))
    ]
    passed_m = (
        remaining_m - min(spans[i][0] for i in chosen) + HIDDEN_M,
        remaining_m - max(spans[i][1] for i in chosen) - HIDDEN_M,
        min(sides) - HIDDEN_M,
        max(sides) + HIDDEN_M,
    )
    along = SPACING_M * np.arange(len(seen.path.points))
    there = seen.objects[seen.num_seen >= NUM_BELIEVED]
    ways = []
    for left_m in SHIFTS_M:
        bend = Bend(marks_m, seen.lateral_m, float(left_m), passed_m)
        points = shifted(seen.path.points, bend.at(remaining_m - along))
        ways.append((bend, driven(replace(seen.path, points=points), back_m + BACK_M)))
    return next((bend for room_m in ROOM_M for bend, way in ways if is_free(way, there, room_m)), None)


def driven(path: RoutePath, until_m: float) -> np.ndarray:
    """Return how a car that stands at the origin goes along a path by pure pursuit.

    Returns:
        The middle of the car each ``STEP_S``, float64 ``[steps, 3]``: x, y, heading. A path may bend more than a car can.
    """
    car, along_m = BicycleState(0.0, 0.0, 0.0, 0.0), 0.0
    rows = []
    while along_m < until_m and len(rows) < 300:
        x, y, _, _ = path.at(along_m + pursuit_distance_m(car.speed_mps))
        c, s = math.cos(car.heading_rad), math.sin(car.heading_rad)
        dx, dy = x - car.x_m, y - car.y_m
        car = advance(
            car, START_MPS2 if car.speed_mps < SPEED_MPS else 0.0, pursue(dx * c + dy * s, -dx * s + dy * c), STEP_S
        )
        along_m, _ = path.project(car.x_m, car.y_m, along_m)
        c, s = math.cos(car.heading_rad), math.sin(car.heading_rad)
        rows.append((car.x_m + CENTRE_M * c, car.y_m + CENTRE_M * s, car.heading_rad))
    return np.array(rows)


def is_free(way: np.ndarray, objects: np.ndarray, room_m: float) -> bool:
    """Say whether a car that goes a way of ``driven`` stays clear of all who stand or go on as they do.

    Who stands is kept ``room_m`` away from, who moves by ``MOVING_ROOM_M``.
    """
    for row in objects:
        moves = row[SPEED] > 0.0
        room = MOVING_ROOM_M if moves else PERSON_ROOM_M if row[KIND] == PERSON else room_m
        c, s = math.cos(row[HEADING]), math.sin(row[HEADING])
        size = row[LENGTH] / 2 + room, row[WIDTH] / 2 + room
        steps = way[: round(MOVING_S / STEP_S)] if moves else way
        for step, (x, y, heading) in enumerate(steps.tolist()):
            moved_m = (step + 1) * STEP_S * row[SPEED]
            place = row[X] + moved_m * c, row[Y] + moved_m * s
            if overlap(x, y, heading, HALF_LENGTH_M, HALF_WIDTH_M, *place, row[HEADING], *size):
                return False
    return True
