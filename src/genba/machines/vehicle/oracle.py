"""The oracle: sees everything, knows which vehicles will never move, and drives around them. It proves what can be passed.

The gap planner keeps to its lane whatever stands there. The oracle bends the route around the condition's standing
vehicles and around the queue behind them, to whichever side stays clear of all of them and on the lanes, and then
drives that route with the same planner, by the true state of everybody. It is no baseline and teaches nobody: where it
arrives, the world can be passed. Read next: ``tasks``.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from genba.machines.vehicle import bicycle
from genba.machines.vehicle.conditions import STANDING_ID
from genba.machines.vehicle.expert import plan_acceleration, steer
from genba.machines.vehicle.geometry import corners, distance_to_segments, overlap
from genba.machines.vehicle.network import LANE_WIDTH_M, SHOULDER_M, Road, load_road
from genba.machines.vehicle.path import SPACING_M, RoutePath, blend, shifted, span
from genba.machines.vehicle.simulator import VehicleEnv, World
from genba.machines.vehicle.traffic import HEADING, ID, KIND, LENGTH, SPEED, WIDTH, X, Y
from genba.machines.vehicle.traffic_process import PERSON
from genba.spec.action import Action, ActionChunk, single
from genba.spec.observation import Observation
from genba.spec.units import SECOND_NS

#: sideways shifts of the route that are tried on either side, smallest first
SHIFTS_M = np.arange(0.4, 7.3, 0.4)
#: along the route, this much is used to swing out, where there is room, and to swing back in
SWING_M = 11.0
#: room beside the car to what is passed: wide where there is room, else narrow; and before and behind it
WIDE_M, NARROW_M, ROOM_ALONG_M = 0.5, 0.2, 1.0
#: who stands within this distance behind a vehicle that will never move is its queue
QUEUE_GAP_M = 9.0
#: who has stood for so long near it is taken to go on standing
STANDING_MPS, STANDING_S = 0.1, 4.0
NEAR_M = 15.0
#: speed where the route is bent
SPEED_MPS = 5.0


class Oracle:
    """Drives the bent route by the true state of all."""

    name = "oracle"

    def __init__(self, env: VehicleEnv) -> None:
        self._env = env
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Forget the bent route and who stood for how long."""
        self._around: frozenset[int] = frozenset()
        self._path: RoutePath | None = None
        self._stood_since_ns: dict[int, int] = {}

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with the action for the world as it is now."""
        world, road = self._env.world, load_road(self._env.condition.control)
        on_route, near = self._standing(world, observation.time_ns)
        around = frozenset(int(row[ID]) for row in near)
        if len(on_route) and around - self._around:
            self._around = around
            if self._path is None or not _is_clear(self._path, world, near, NARROW_M, road):
                self._path = bend(world, on_route, near, road) or self._path
        if self._path is not None:
            along_m, lateral_m = self._path.project(world.ego.x_m, world.ego.y_m, world.along_m)
            world = dataclasses.replace(world, path=self._path, along_m=along_m, lateral_m=lateral_m)
        acceleration = plan_acceleration(world, look_all=True)
        action = Action(np.array([acceleration, steer(world)], np.float32))
        return single(observation.time_ns, self._env.embodiment.control.period_s, action)

    def _standing(self, world: World, time_ns: int) -> tuple[np.ndarray, np.ndarray]:
        """Return who will not move and blocks the route (the condition's vehicles, their queue), and these with all who
        stand near them: float64 ``[objects, 8]`` each.
        """
        stands = (world.objects[:, KIND] != PERSON) & (world.objects[:, SPEED] < STANDING_MPS)
        objects = world.objects[stands]
        since = {int(row[ID]): self._stood_since_ns.get(int(row[ID]), time_ns) for row in objects}
        self._stood_since_ns = since
        spans = [span(world.path, row) for row in objects]
        on_route = [i for i, (_, stop_m, near_m) in enumerate(spans) if stop_m > world.along_m and near_m < 1.2]
        chosen = [i for i in on_route if objects[i, ID] == STANDING_ID]
        for i in sorted(on_route, key=lambda i: -spans[i][0]):
            if i not in chosen and any(0.0 <= spans[j][0] - spans[i][1] < QUEUE_GAP_M for j in chosen):
                chosen.append(i)
        near = [
            i
            for i, row in enumerate(objects)
            if i in chosen
            or (
                time_ns - since[int(row[ID])] > STANDING_S * SECOND_NS
                and any(np.hypot(*(objects[j, [X, Y]] - row[[X, Y]])) < NEAR_M for j in chosen)
            )
        ]
        return objects[chosen], objects[near]


def bend(world: World, on_route: np.ndarray, near: np.ndarray, road: Road) -> RoutePath | None:
    """Return the route bent the least around those ``on_route`` and clear of all who are ``near``; None where there is none.

    The lane beside in the same direction is tried before the oncoming one.
    """
    path = world.path
    spans = [span(path, row) for row in on_route]
    # The rear axle swings out before the front reaches the first and back in once the rear has passed the last.
    out_m = min(start for start, _, _ in spans) - bicycle.FRONT_M - ROOM_ALONG_M
    back_m = max(stop for _, stop, _ in spans) + bicycle.REAR_OVERHANG_M + ROOM_ALONG_M
    along = np.arange(len(path.points)) * SPACING_M
    begin_m = max(out_m - SWING_M, world.along_m)
    swung_out = blend((along - begin_m) / max(out_m - begin_m, 0.5 * SWING_M))
    swung_in = blend((back_m + SWING_M - along) / SWING_M)
    lane = next(lane for (_, lane), known in road.paths.items() if np.array_equal(known.points, path.points))
    own = -1.0 if lane == 2 else 1.0  # the inner lane has its neighbour on the right
    for room_m in (WIDE_M, NARROW_M):
        for side in (own, -own):
            for size_m in SHIFTS_M:
                left_m = (world.lateral_m + (side * size_m - world.lateral_m) * swung_out) * swung_in
                points = shifted(path.points, left_m)
                speed_mps = np.where(np.abs(left_m) > 0.1, np.minimum(path.speed_mps, SPEED_MPS), path.speed_mps)
                bent = dataclasses.replace(path, points=points, speed_mps=speed_mps)
                if _is_clear(bent, world, near, room_m, road):
                    return bent
    return None


def _is_clear(path: RoutePath, world: World, near: np.ndarray, room_m: float, road: Road) -> bool:
    """Say whether the car stays on the lanes and ``room_m`` from everybody, on the way that is left along a path."""
    half_length_m, half_width_m = bicycle.LENGTH_M / 2, bicycle.WIDTH_M / 2
    # A hand's breadth inside what counts as the road: the car does not follow the line exactly.
    limit_m = LANE_WIDTH_M / 2 + SHOULDER_M - 0.15
    start, stop = math.ceil(world.along_m / SPACING_M), math.floor(path.goal_m / SPACING_M)
    for x, y, heading, _ in path.points[start : stop + 1 : 2]:
        body = (
            x + bicycle.CENTRE_M * math.cos(heading),
            y + bicycle.CENTRE_M * math.sin(heading),
            heading,
            half_length_m,
            half_width_m,
        )
        for row in near:
            other = (row[X], row[Y], row[HEADING], row[LENGTH] / 2 + room_m, row[WIDTH] / 2 + room_m)
            if overlap(*body, *other):
                return False
        if any(distance_to_segments(*corner, road.segments) > limit_m for corner in corners(*body)):
            return False
    return True
