"""The teacher: the gap planner, a rule that looks into the world and labels any state.

It follows the route with the intelligent driver model behind what drives ahead, stops for red, slows for curves, and
forecasts everybody the LiDAR sees at constant velocity: of several ways to go on it takes the fastest that stays clear
of all of them. It keeps nothing between calls, so it may be asked in any state that somebody else steered into. It
does not react to what the LiDAR cannot see: that could not be imitated. Read next: ``baselines``.

Source: intelligent driver model: M. Treiber, A. Hennecke, D. Helbing, Phys. Rev. E 62 (2000), eq. 3-4. Choosing among
forecast proposals: D. Dauner et al., Parting with Misconceptions about Learning-based Vehicle Motion Planning (2023).
Pure pursuit: R. C. Coulter, CMU-RI-TR-92-01 (1992).
"""

from __future__ import annotations

import math

import numba
import numpy as np

from genba.machines.vehicle import bicycle
from genba.machines.vehicle.bicycle import CENTRE_M, FRONT_M
from genba.machines.vehicle.geometry import overlap
from genba.machines.vehicle.path import SPACING_M, RoutePath
from genba.machines.vehicle.simulator import RED, YELLOW, VehicleEnv, World
from genba.machines.vehicle.traffic import HEADING, KIND, LENGTH, SPEED, WIDTH, X, Y
from genba.machines.vehicle.traffic_process import PERSON
from genba.spec.action import Action, ActionChunk, single
from genba.spec.observation import Observation

#: intelligent driver model: acceleration, comfortable braking, time headway, standstill gap
IDM_ACCELERATION_MPS2 = 2.0
IDM_BRAKING_MPS2 = 2.5
IDM_HEADWAY_S = 1.6
IDM_GAP_M = 4.0
#: where the front bumper stands before a red light: as far off as a student's mistakes are large
STOP_GAP_M = 2.5
#: on yellow one stops where this braking is enough
YELLOW_BRAKING_MPS2 = 3.0
#: forecasts reach this far, in steps of
FORECAST_S = 4.5
FORECAST_STEP_S = 0.15
#: accelerations proposed beside the driver model's own, which bounds them all from above
PROPOSALS_MPS2 = np.array([99.0, 0.7, 0.0, -1.0, -2.0, -3.0, -4.5, -6.0, -8.0])
#: how much larger the others are taken: along, across, and per second of forecast
MARGIN_ALONG_M, MARGIN_ACROSS_M, MARGIN_GROWTH_MPS = 0.6, 0.35, 0.08
#: people who walk, and people who stand: those wait at the very kerb, 0.3 m beside a car in the curve
PERSON_MARGIN_M, STANDING_PERSON_MARGIN_M = 0.6, 0.05
#: where no proposal keeps the whole margin, the fastest that keeps this share of it is taken before an emergency stop
TIGHT_MARGIN = 0.4
#: strongest braking that the driver model asks for
MAX_BRAKING_MPS2 = 8.0
#: braking before a line where one is in no hurry
HALT_BRAKING_MPS2 = 1.5
#: room beside the car that a car or person ahead must leave not to be followed
LEAD_MARGIN_M, PERSON_LEAD_MARGIN_M = 0.25, 0.05

HALF_LENGTH_M, HALF_WIDTH_M = bicycle.LENGTH_M / 2, bicycle.WIDTH_M / 2


class GapExpert:
    """Drives by the true state of everything the LiDAR sees (``look="seen"``) or of all (``look="all"``)."""

    def __init__(self, env: VehicleEnv, *, name: str = "gap", look_all: bool = False, forecast: bool = True) -> None:
        self.name = name
        self._env = env
        self._look_all = look_all
        self._forecast = forecast

    def reset(self, seed: int) -> None:
        """Nothing is kept."""

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with the action for the world as it is now."""
        world = self._env.world
        acceleration = plan_acceleration(world, look_all=self._look_all, forecast=self._forecast)
        action = Action(np.array([acceleration, steer(world)], np.float32))
        return single(observation.time_ns, self._env.embodiment.control.period_s, action)


def steer(world: World) -> float:
    """Return the front wheel's angle of pure pursuit, in rad: the arc through a point ahead on the path."""
    ego = world.ego
    x, y, _, _ = world.path.at(world.along_m + pursuit_distance_m(ego.speed_mps))
    dx, dy = x - ego.x_m, y - ego.y_m
    c, s = math.cos(ego.heading_rad), math.sin(ego.heading_rad)
    return pursue(dx * c + dy * s, -dx * s + dy * c)


def pursuit_distance_m(speed_mps: float) -> float:
    """Return how far ahead along the route the point lies that is steered for."""
    return min(max(0.45 * speed_mps + 2.0, 3.5), 8.0)


def pursue(ahead_m: float, left_m: float) -> float:
    """Return the front wheel's angle of the arc through a point, seen from the rear axle, in rad."""
    curvature = 2 * left_m / max(ahead_m * ahead_m + left_m * left_m, 1.0)
    angle = math.atan(bicycle.WHEELBASE_M * curvature)
    return min(max(angle, -bicycle.MAX_STEERING_RAD), bicycle.MAX_STEERING_RAD)


def plan_acceleration(world: World, *, look_all: bool = False, forecast: bool = True) -> float:
    """Return the acceleration to go on with, in m/s^2."""
    objects = world.objects if look_all else world.objects[world.visible]
    ego = world.ego
    stop_m = np.inf
    if world.stop_line_m >= 0 and must_stop(world.colour, world.stop_line_m, ego.speed_mps):
        stop_m = world.path.stop_m - STOP_GAP_M
    return plan_along(world.path, world.along_m, world.lateral_m, ego.speed_mps, objects, stop_m, forecast=forecast)


def must_stop(colour: int, distance_m: float, speed_mps: float) -> bool:
    """Say whether one stops for a light at this distance: always for red, for yellow where that is easy."""
    can_stop = distance_m - STOP_GAP_M * 0.5 >= speed_mps**2 / (2 * YELLOW_BRAKING_MPS2)
    return colour == RED or (colour == YELLOW and can_stop)


def plan_along(
    path: RoutePath,
    along_m: float,
    lateral_m: float,
    speed_mps: float,
    objects: np.ndarray,
    stop_m: float,
    *,
    forecast: bool = True,
) -> float:
    """Return the acceleration with which to go on along a path, in m/s^2.

    Args:
        path: where to.
        along_m, lateral_m: where on it the rear axle is.
        speed_mps: of the car.
        objects: the others, float64 ``[objects, 8]`` in the columns of ``traffic``, in the path's frame.
        stop_m: where along the path the front bumper shall stand; infinite where it need not.
        forecast: whether to look at where everybody will be; else only at who drives ahead.
    """
    proposals = PROPOSALS_MPS2 if forecast else PROPOSALS_MPS2[:1]
    rows = np.ascontiguousarray(objects)
    return float(_plan(speed_mps, along_m, lateral_m, path.points, path.speed_mps, rows, stop_m, proposals))


@numba.njit(cache=True)
def _plan(speed, along, lateral, points, limits, objects, stop_m, proposals):
    """Return the first proposal, from fast to slow, that stays clear; the last where none does."""
    count = len(objects)
    # What drives ahead on the path: nearest along it, narrow enough sideways, and in about its direction.
    lead_m, lead_speed = np.inf, 0.0
    start = max(int(along / SPACING_M), 0)
    for i in range(count):
        best, best_index = 1e9, -1
        for j in range(start, min(start + 140, len(points))):
            d = (points[j, 0] - objects[i, X]) ** 2 + (points[j, 1] - objects[i, Y]) ** 2
            if d < best:
                best, best_index = d, j
        if best_index < 0:
            continue
        dx, dy = objects[i, X] - points[best_index, 0], objects[i, Y] - points[best_index, 1]
        heading = points[best_index, 2]
        offset = abs(-dx * math.sin(heading) + dy * math.cos(heading))
        ahead = best_index * SPACING_M + dx * math.cos(heading) + dy * math.sin(heading)
        turn = objects[i, HEADING] - heading
        c, s = abs(math.cos(turn)), abs(math.sin(turn))
        half_along = 0.5 * (objects[i, LENGTH] * c + objects[i, WIDTH] * s)
        half_across = 0.5 * (objects[i, LENGTH] * s + objects[i, WIDTH] * c)
        person = objects[i, KIND] == PERSON
        room = 0.25 + PERSON_LEAD_MARGIN_M if person else half_across + LEAD_MARGIN_M
        if ahead < along + CENTRE_M or offset > HALF_WIDTH_M + room:
            continue
        slow = objects[i, SPEED] * math.cos(turn)
        if not person and math.cos(turn) < 0.5 and objects[i, SPEED] > 0.5:
            continue  # crosses; the forecast deals with it
        rear = ahead - half_along
        if rear < lead_m:
            lead_m, lead_speed = rear, max(slow, 0.0) if not person else 0.0
    answer = 0.0
    for share in (1.0, TIGHT_MARGIN):
        for p in range(len(proposals)):
            v, s_m, a_first = speed, along, 0.0
            clear = True
            steps = round(FORECAST_S / FORECAST_STEP_S) if len(proposals) > 1 else 1
            for k in range(steps):
                t = k * FORECAST_STEP_S
                index = min(max(int(s_m / SPACING_M), 0), len(limits) - 1)
                a = _follow(v, limits[index], lead_m + lead_speed * t - (s_m + FRONT_M), lead_speed)
                if stop_m < 1e8 and stop_m + STOP_GAP_M > s_m + FRONT_M:
                    a = min(a, _halt(v, limits[index], stop_m - (s_m + FRONT_M)))
                a = max(min(a, proposals[p]), -MAX_BRAKING_MPS2)
                if k == 0:
                    a_first = a
                v_next = max(v + a * FORECAST_STEP_S, 0.0)
                s_m += 0.5 * (v + v_next) * FORECAST_STEP_S
                v = v_next
                if len(proposals) == 1:
                    break
                t += FORECAST_STEP_S
                index = min(max(int(s_m / SPACING_M), 0), len(points) - 1)
                h = points[index, 2]
                rest = s_m - index * SPACING_M + CENTRE_M
                fade = lateral * math.exp(-t / 1.0)
                x = points[index, 0] + rest * math.cos(h) - fade * math.sin(h)
                y = points[index, 1] + rest * math.sin(h) + fade * math.cos(h)
                for i in range(count):
                    person = objects[i, KIND] == PERSON
                    ox = objects[i, X] + t * objects[i, SPEED] * math.cos(objects[i, HEADING])
                    oy = objects[i, Y] + t * objects[i, SPEED] * math.sin(objects[i, HEADING])
                    grow = MARGIN_GROWTH_MPS * t
                    if person:
                        margin = PERSON_MARGIN_M + grow if objects[i, SPEED] > 0.3 else STANDING_PERSON_MARGIN_M
                        half_l = half_w = 0.25 + share * margin
                    else:
                        half_l, half_w = (
                            0.5 * objects[i, LENGTH] + share * (MARGIN_ALONG_M + grow),
                            0.5 * objects[i, WIDTH] + share * MARGIN_ACROSS_M,
                        )
                    if not overlap(x, y, h, HALF_LENGTH_M, HALF_WIDTH_M, ox, oy, objects[i, HEADING], half_l, half_w):
                        continue
                    # Not ours to avoid: somebody who comes from behind, or who drives into a car that stands.
                    back = (ox - x) * math.cos(h) + (oy - y) * math.sin(h)
                    if s_m - along < 0.4 or (back < -1.5 and math.cos(objects[i, HEADING] - h) > 0.3):
                        continue
                    clear = False
                    break
                if not clear:
                    break
            answer = a_first
            if clear:
                return answer
    return answer


@numba.njit(cache=True)
def _follow(v, limit, gap, lead_speed):
    """Intelligent driver model with a desired speed that may lie below the present one."""
    if v <= limit:
        free = IDM_ACCELERATION_MPS2 * (1 - (v / max(limit, 0.1)) ** 4)
    else:
        free = -min(IDM_BRAKING_MPS2, 2.0 * (v - limit))
    if gap > 200.0:
        return free
    wanted = IDM_GAP_M + max(
        0.0, v * IDM_HEADWAY_S + v * (v - lead_speed) / (2 * math.sqrt(IDM_ACCELERATION_MPS2 * IDM_BRAKING_MPS2))
    )
    return max(min(free, IDM_ACCELERATION_MPS2 * (1 - (wanted / max(gap, 0.3)) ** 2)), -MAX_BRAKING_MPS2)


@numba.njit(cache=True)
def _halt(v, limit, gap):
    """Braking to stand ``gap`` metres ahead: constant once it takes 1.5 m/s^2, creeping up before."""
    if gap <= 0.05:
        return -3.0 if v < 4.0 else -MAX_BRAKING_MPS2
    needed = v * v / (2 * gap)
    if needed > HALT_BRAKING_MPS2:
        return -min(needed * 1.05, MAX_BRAKING_MPS2)
    target = min(limit, math.sqrt(2 * HALT_BRAKING_MPS2 * gap))
    return min(IDM_ACCELERATION_MPS2, (target - v) * 1.5)
