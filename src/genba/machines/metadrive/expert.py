"""The teacher: a planner that looks into MetaDrive, follows the middle of a lane, and takes the fastest way that stays clear.

It stays in its lane unless that leads away from the goal or something stands in it; drives no faster than the bend allows and than lets
it stop behind what drives ahead; and forecasts all traffic near by along the lanes of its route, at the speed of now: of several speeds it
takes the fastest whose drive meets nobody. What it keeps between calls is the routes alone, so it labels any state that a student reaches.
Read next: ``route``, ``peers``.

Source: safe speed behind a leader: P. G. Gipps, Transp. Res. B 15 (1981), eq. 4 with equal braking. Pure pursuit: R. C. Coulter,
CMU-RI-TR-92-01 (1992).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from genba.errors import SpecError
from genba.machines.metadrive.route import NEVER, SPACING_M, Route, find_route
from genba.machines.metadrive.simulator import MetaDriveEnv
from genba.spec.action import Action, ActionChunk, single
from genba.spec.observation import Observation
from genba.spec.protocols import Env

#: fastest, and fastest while it waits for a gap to change lanes
SPEED_MPS, WAITING_MPS = 9.0, 3.0
#: greatest sideways acceleration in a bend
SIDEWAYS_MPS2 = 2.5
#: braking before a bend, and behind a leader; the gap at which it stands, and the time that it takes to react
BEND_BRAKING_MPS2, BRAKING_MPS2, STANDSTILL_M, REACTION_S = 2.0, 3.5, 4.0, 0.4
#: how far it looks along its path
LOOK_M = 45.0
#: forecasts reach this far, in steps of
FORECAST_S, FORECAST_STEP_S = 5.0, 0.25
#: speeds that are proposed, as shares of the greatest that bend and leader allow
SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
#: how the car gets to a proposed speed
ACCELERATION_MPS2, STOPPING_MPS2 = 2.0, 5.0
#: half a car's width and what it keeps clear of, per second of forecast too
HALF_WIDTH_M, MARGIN_M, MARGIN_GROWTH_MPS = 0.95, 0.35, 0.1
TIMES_S = np.arange(FORECAST_STEP_S, FORECAST_S + 1e-9, FORECAST_STEP_S)
#: the car as discs along its middle
OWN_DISCS_M = np.array([-1.4, 0.0, 1.4])
#: room behind and ahead, in the lane that it changes into
ROOM_BEHIND_M, ROOM_AHEAD_M = 12.0, 8.0
#: distance between the axles, and from bumper to bumper
WHEELBASE_M, LENGTH_M = 2.469, 4.515
#: what a leader does that is passed rather than followed
STANDING_MPS, PASS_WITHIN_M = 0.5, 25.0


class Planner:
    """Drives by the true state of road and traffic."""

    name = "planner"

    def __init__(self, env: Env) -> None:
        """Look into ``env``.

        Raises:
            SpecError: it is another machine's.
        """
        if not isinstance(env, MetaDriveEnv):
            raise SpecError(
                f"metadrive expert: got a {type(env).__name__}, expected a MetaDriveEnv, which it looks into"
            )
        self._env = env
        self._routes: dict[str, tuple[Any, Route]] = {}

    def reset(self, seed: int) -> None:
        """Forget the routes."""
        self._routes = {}

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with one action."""
        car = self._env.world.agent
        traffic = [v for v in self._env.world.engine.traffic_manager.vehicles if v is not car]
        near = [v for v in traffic if math.dist(v.position, car.position) < LOOK_M]
        command = plan(car, self._route(car), traffic, [(v, self._lanes(v)) for v in near])
        return single(observation.time_ns, self._env.embodiment.control.period_s, Action(command))

    def _route(self, car: Any) -> Route:
        """Return a vehicle's route, worked out once."""
        planned = car.navigation.checkpoints
        known = self._routes.get(car.name)
        if known is None or known[0] is not planned:
            known = self._routes[car.name] = (planned, find_route(car.navigation))
        return known[1]

    def _lanes(self, car: Any) -> np.ndarray | None:
        """Return the path along the lanes that a vehicle of the traffic will follow."""
        if car.navigation is None or car.navigation.current_ref_lanes is None:
            return None
        route = self._route(car)
        road, lane, along_m = locate(car, route)
        return route.path(road, lane, max(along_m, 0.0), FORECAST_S * max(float(car.speed), 1.0) + 1.0)


def plan(car: Any, route: Route, traffic: list[Any], near: list[tuple[Any, np.ndarray | None]]) -> np.ndarray:
    """Return steering and throttle, float32 ``[2]``.

    Args:
        car: the package's vehicle that is driven.
        route: its route.
        traffic: the other vehicles.
        near: those within ``LOOK_M``, each with the lanes that it will follow.
    """
    road, lane, along_m = locate(car, route)
    target, limit_mps = choose_lane(car, route, road, lane, along_m, traffic)
    target_m = max(route.roads[road][target].local_coordinates(car.position)[0], 0.0)
    path = route.path(road, target, target_m, LOOK_M)
    lines = [path] if target == lane else [path, route.path(road, lane, max(along_m, 0.0), LOOK_M)]
    others = _describe([v for v, _ in near])
    moments = forecast(others, [lanes for _, lanes in near])
    allowed_mps = min(limit_mps, bend_speed(path), *(leader_speed(line, others) for line in lines))
    speed_mps = clear_speed(path, others, moments, float(car.speed), allowed_mps)
    return np.array([steer(car, path), throttle(float(car.speed), speed_mps)], np.float32)


def locate(car: Any, route: Route) -> tuple[int, int, float]:
    """Return the number of the road and of the lane that the car is in, and how far along it is."""
    first = car.navigation._target_checkpoints_index[0]
    best, found = math.inf, (first, 0, 0.0)
    for road in range(first, min(first + 2, len(route.roads))):
        for lane, here in enumerate(route.roads[road]):
            along_m, lateral_m = here.local_coordinates(car.position)
            beyond_m = max(-along_m, along_m - here.length, 0.0)
            distance_m = abs(lateral_m) + 3.0 * beyond_m
            if distance_m < best:
                best, found = distance_m, (road, lane, along_m)
    return found


def choose_lane(car: Any, route: Route, road: int, lane: int, along_m: float, traffic: list[Any]) -> tuple[int, float]:
    """Return the lane to steer for, and the greatest speed: lower while the car waits for room in the lane that it wants.

    Args:
        car: the package's vehicle that is driven.
        route, road, lane, along_m: its route, and where on it the car is.
        traffic: the other vehicles.
    """
    changes, lanes = route.changes[road], route.roads[road]
    left_m = lanes[lane].length - along_m
    leads_on = route.following[road][lane] >= 0 or road + 1 == len(route.roads)
    wanted = lane
    if changes[lane] >= 1 or not leads_on:
        # One change nearer to where a lane leads on without one.
        wanted = min(
            (other for other in (lane - 1, lane + 1) if 0 <= other < len(lanes)),
            key=lambda other: changes[other],
            default=lane,
        )
        if changes[wanted] >= changes[lane] or changes[wanted] >= NEVER:
            wanted = lane
    elif _is_blocked(lanes[lane], along_m, traffic):
        wanted = next(
            (o for o in (lane - 1, lane + 1) if 0 <= o < len(lanes) and changes[o] < NEVER and left_m > 25.0), lane
        )
    if wanted == lane:
        return lane, SPEED_MPS
    if _has_room(lanes[wanted], car, traffic):
        return wanted, SPEED_MPS
    # Wait for room: the slower, the nearer the lane's end.
    return lane, max(WAITING_MPS, min(SPEED_MPS, math.sqrt(2 * BEND_BRAKING_MPS2 * max(left_m - 12.0, 0.0))))


def _is_blocked(lane: Any, along_m: float, traffic: list[Any]) -> bool:
    for other in traffic:
        if other.speed < STANDING_MPS:
            s, lateral_m = lane.local_coordinates(other.position)
            if 0 < s - along_m < PASS_WITHIN_M and abs(lateral_m) < lane.width / 2:
                return True
    return False


def _has_room(lane: Any, car: Any, traffic: list[Any]) -> bool:
    along_m = lane.local_coordinates(car.position)[0]
    for other in traffic:
        s, lateral_m = lane.local_coordinates(other.position)
        if abs(lateral_m) < lane.width / 2 + 0.5:
            closing_m = 1.5 * (float(other.speed) - float(car.speed))
            if -ROOM_BEHIND_M - max(closing_m, 0.0) < s - along_m < ROOM_AHEAD_M + max(-closing_m, 0.0):
                return False
    return True


def bend_speed(path: np.ndarray) -> float:
    """Return the greatest speed now from which every bend ahead can be slowed down for, in m/s."""
    turns = np.abs(np.angle(np.exp(1j * np.diff(path[:, 2])))) / SPACING_M
    # Where lanes meet the heading may jump a little: a bend is what lasts for 2 m.
    curvature = np.convolve(np.pad(turns, (2, 1), mode="edge"), np.full(4, 0.25), mode="valid")
    limits = np.sqrt(SIDEWAYS_MPS2 / np.maximum(curvature, 1e-3))
    ahead_m = SPACING_M * np.arange(len(limits))
    return float(np.sqrt(limits**2 + 2 * BEND_BRAKING_MPS2 * ahead_m).min())


def _describe(vehicles: list[Any]) -> np.ndarray:
    """Return x, y, heading, speed, length, width of each ``[vehicles, 6]``."""
    rows = [[*v.position, v.heading_theta, v.speed, v.LENGTH, v.WIDTH] for v in vehicles]
    return np.array(rows, np.float64).reshape(-1, 6)


def leader_speed(line: np.ndarray, others: np.ndarray) -> float:
    """Return the speed that lets the car stop behind whoever is ahead on a line ``[points, 3]``, in m/s."""
    least = math.inf
    for x, y, heading, speed, length, width in others:
        dx, dy = x - line[:, 0], y - line[:, 1]
        at = int(np.argmin(dx**2 + dy**2))
        turn, there = heading - line[at, 2], line[at, 2]
        across_m = abs(-dx[at] * math.sin(there) + dy[at] * math.cos(there))
        half_m = 0.5 * (width * abs(math.cos(turn)) + length * abs(math.sin(turn)))
        # Who crosses is the forecast's business.
        if at == 0 or across_m > half_m + HALF_WIDTH_M + 0.15 or (math.cos(turn) < 0.5 and speed > STANDING_MPS):
            continue
        gap_m = at * SPACING_M - 0.5 * (length + LENGTH_M) - STANDSTILL_M
        delay = BRAKING_MPS2 * REACTION_S
        square = delay**2 + max(speed * math.cos(turn), 0.0) ** 2 + 2 * BRAKING_MPS2 * gap_m
        least = min(least, max(math.sqrt(max(square, 0.0)) - delay, 0.0))
    return least


def forecast(others: np.ndarray, paths: list[np.ndarray | None]) -> np.ndarray:
    """Return where everybody will be at the forecast's moments, at the speed of now: x, y, heading ``[others, moments, 3]``.

    Args:
        others: as ``_describe`` has them.
        paths: the lanes that each will follow, from where it is; None for straight on.
    """
    moments = np.empty((len(others), len(TIMES_S), 3))
    for i, (x, y, heading, speed, _, _) in enumerate(others):
        line = paths[i]
        if line is None or not len(line):
            away = speed * TIMES_S
            moments[i] = np.stack(
                [x + away * math.cos(heading), y + away * math.sin(heading), np.full(len(away), heading)], 1
            )
            continue
        at = np.minimum((speed * TIMES_S / SPACING_M).round().astype(int), len(line) - 1)
        # It keeps its place beside the middle of its lane, less and less.
        aside = (np.array([x, y]) - line[0, :2]) * np.exp(-TIMES_S)[:, None]
        moments[i] = np.concatenate([line[at, :2] + aside, line[at, 2:]], 1)
    return moments


def clear_speed(
    path: np.ndarray, others: np.ndarray, moments: np.ndarray, speed_mps: float, allowed_mps: float
) -> float:
    """Return the greatest of the proposed speeds whose drive along the path meets nobody; where none does, that which does last.

    Args:
        path: where the car goes, ``[points, 3]``.
        others: as ``_describe`` has them.
        moments: where they will be: what ``forecast`` returns.
        speed_mps: of the car.
        allowed_mps: the greatest speed to propose.
    """
    if not len(others):
        return allowed_mps
    # Whoever is behind on the path follows, and is not forecast: it would run into whatever brakes.
    x, y, heading = path[0]
    along, across = np.array([math.cos(heading), math.sin(heading)]), np.array([-math.sin(heading), math.cos(heading)])
    places = others[:, :2] - [x, y]
    follows = (places @ along < 0) & (np.abs(places @ across) < 2.2) & (np.cos(others[:, 2] - heading) > 0.5)
    if follows.all():
        return allowed_mps
    moments, shapes = moments[~follows], others[~follows, 4:]
    reach = 0.5 * (shapes[:, 0] - shapes[:, 1])
    discs = np.stack([-reach, np.zeros(len(reach)), reach], 1)
    facing = np.stack([np.cos(moments[..., 2]), np.sin(moments[..., 2])], -1)
    #: ``[other, disc, moment, 2]``
    centres = moments[:, None, :, :2] + discs[:, :, None, None] * facing[:, None]
    room_m = 0.5 * shapes[:, 1][:, None] + HALF_WIDTH_M + MARGIN_M + MARGIN_GROWTH_MPS * TIMES_S
    best_s, best_mps = -1.0, 0.0
    for share in SHARES:
        wanted = share * allowed_mps
        if wanted > speed_mps:
            speeds = np.minimum(speed_mps + ACCELERATION_MPS2 * TIMES_S, wanted)
        else:
            speeds = np.maximum(speed_mps - STOPPING_MPS2 * TIMES_S, wanted)
        away = FORECAST_STEP_S * np.cumsum(0.5 * (speeds + np.concatenate([[speed_mps], speeds[:-1]])))
        at = np.minimum((away / SPACING_M).round().astype(int), len(path) - 1)
        ahead = np.stack([np.cos(path[at, 2]), np.sin(path[at, 2])], 1)
        #: ``[own disc, moment, 2]``
        mine = path[at, :2] + OWN_DISCS_M[:, None, None] * ahead
        gaps = np.linalg.norm(centres[:, :, None] - mine, axis=-1)
        meets = (gaps < room_m[:, None, None]).any((0, 1, 2))
        if not meets.any():
            return wanted
        first_s = float(TIMES_S[int(meets.argmax())])
        if first_s >= best_s:
            best_s, best_mps = first_s, wanted
    return best_mps


def steer(car: Any, path: np.ndarray) -> float:
    """Return the steering of pure pursuit, as a share of the greatest angle."""
    distance_m = min(max(0.5 * float(car.speed) + 2.5, 4.0), 8.0)
    x, y, _ = path[min(round(distance_m / SPACING_M), len(path) - 1)]
    dx, dy = x - car.position[0], y - car.position[1]
    c, s = math.cos(car.heading_theta), math.sin(car.heading_theta)
    # From the rear axle, which lies behind the middle.
    ahead_m, left_m = dx * c + dy * s + 0.5 * WHEELBASE_M, -dx * s + dy * c
    angle = math.atan(2 * WHEELBASE_M * left_m / max(ahead_m**2 + left_m**2, 1.0))
    return min(max(angle / math.radians(car.max_steering), -1.0), 1.0)


def throttle(speed_mps: float, wanted_mps: float) -> float:
    """Return the throttle that brings the car to a speed; below 0 it brakes, to a stand where none is wanted."""
    if wanted_mps < 0.1 and speed_mps < 1.0:
        return -0.3
    difference = wanted_mps - speed_mps
    return min(0.5 * difference, 1.0) if difference > 0 else max(0.2 * difference, -1.0)
