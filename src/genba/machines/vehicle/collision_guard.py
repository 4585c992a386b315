"""The car's own guard: lets the policy drive, and says no where its sensors show that it will be too late otherwise.

It brakes where the proposed acceleration, held until the next control step and followed by braking, would hit somebody
whom the sweeps show, going on at constant velocity; it does not go over a red light, does not enter a bend faster than the
tyres hold, and steers for the route where the car leaves it. It never speeds up and never takes another way: it is no planner.
How hard the car can brake is taken from what braking and steering achieved lately. No rated safety function.
Read next: ``perception``, what it sees, or ``genba.guard``, which bounds what it answers.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numba
import numpy as np

from genba.machines.vehicle.bicycle import CENTRE_M, GRAVITY_MPS2, MU, WHEELBASE_M
from genba.machines.vehicle.expert import (
    HALF_LENGTH_M,
    HALF_WIDTH_M,
    MAX_BRAKING_MPS2,
    must_stop,
    pursue,
    pursuit_distance_m,
)
from genba.machines.vehicle.geometry import overlap
from genba.machines.vehicle.path import SPACING_M
from genba.machines.vehicle.perception import HEADING_ERROR, Perception, Seen
from genba.machines.vehicle.tracks import WALL_M
from genba.machines.vehicle.traffic import HEADING, KIND, LENGTH, SPEED, WIDTH, X, Y
from genba.machines.vehicle.traffic_process import PERSON
from genba.spec.action import Action
from genba.spec.embodiment import Embodiment
from genba.spec.observation import Observation
from genba.spec.protocols import Verdict

#: the proposed acceleration goes on for this long: a control step, and what the actuators take
HELD_S = 0.25
#: then the car brakes like this, for vehicles and for people: not harder, so that there is something in reserve
BRAKING_MPS2, PERSON_BRAKING_MPS2 = 4.0, 2.4
#: what is tried, from mild to hard, where the policy's own proposal is refused
BRAKES_MPS2 = np.array([0.0, -0.7, -1.5, -2.4, -3.2, -4.0, -5.0, -6.5, -MAX_BRAKING_MPS2])
#: forecasts reach this far, in steps of
FORECAST_S, FORECAST_STEP_S = 4.5, 0.1
#: how much larger others are taken: vehicles along and across, people who walk and who stand, and per second of forecast
ALONG_M, ACROSS_M, PERSON_M, STANDING_PERSON_M, GROWTH_MPS = 0.5, 0.25, 0.5, 0.05, 0.08
#: sweeps that must have shown somebody, and how many where that is within this distance
NUM_SEEN, NUM_SEEN_NEAR, NEAR_M = 5, 2, 14.0
#: braking before a red light that a policy may leave for later
LIGHT_BRAKING_MPS2 = 3.0
#: how far before the line the front stands at the latest
LIGHT_GAP_M = 0.3
#: share of the grip that a bend may take, and how far ahead bends are looked for
BEND_SHARE, BEND_AHEAD_S = 0.85, 2.5
#: beside the route by this much in this time, the wheels are turned towards it
ASIDE_M, ASIDE_S = 0.7, 0.4
#: less braking than asked by this much, for so long, means that there is no more
SHORT_MPS2, SHORT_S = 0.8, 0.3
#: least grip that is believed
LEAST_GRIP_MPS2 = 1.5


class CollisionGuard:
    """Bounds what is proposed to what the sweeps, the light and the route allow.

    Reasons: ``"lidar:person ahead"``, ``"lidar:vehicle ahead"``, ``"signal:red"``, ``"route:bend"``, ``"route:aside"``.
    While odometry or route say nothing it lets everything pass: the limits on age and sense come after it.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        self._period_s = embodiment.control.period_s
        self._perception = Perception()
        self.reset()

    def reset(self) -> None:
        """Forget everybody, and take the road for dry."""
        self._perception.reset()
        self.grip_mps2 = MU * GRAVITY_MPS2
        self._asked_mps2: list[float] = []

    def check(self, action: Action, observation: Observation) -> Verdict:
        """Pass an action, or brake or steer."""
        seen = self._perception.look(observation)
        if seen is None or action.continuous is None or not np.isfinite(action.continuous).all():
            return Verdict(action)
        self._feel(observation, seen)
        acceleration, steering = (float(value) for value in action.continuous)
        reasons: list[str] = []
        for bound, reason in (self._before_light(seen), self._before_bend(seen), self._before_others(seen, acceleration)):
            if bound < acceleration:
                acceleration = bound
                reasons.append(reason)
        wheel = self._towards_route(seen, steering)
        if wheel is not None:
            steering = wheel
            reasons.append("route:aside")
        self._asked_mps2 = [*self._asked_mps2, acceleration][-round(SHORT_S / self._period_s) :]
        if not reasons:
            return Verdict(action)
        return Verdict(replace(action, continuous=np.array([acceleration, steering], np.float32)), tuple(reasons))

    def _feel(self, observation: Observation, seen: Seen) -> None:
        """Learn from the bus how much grip there is: less braking than asked, or less turning than steered."""
        telemetry = observation.streams["telemetry"].values[-5:].astype(np.float64)
        speed, acceleration, yaw_rate, wheel = telemetry.mean(axis=0)
        if speed < 2.0:
            return
        sideways, steered = abs(yaw_rate * speed), abs(speed * speed * math.tan(wheel) / WHEELBASE_M)
        long_enough = len(self._asked_mps2) >= round(SHORT_S / self._period_s)
        is_short = long_enough and acceleration - max(self._asked_mps2) > SHORT_MPS2 and acceleration < 0
        if is_short or steered - sideways > max(SHORT_MPS2, 0.2 * steered):
            felt = max(math.hypot(acceleration, sideways), LEAST_GRIP_MPS2)
            self.grip_mps2 = min(self.grip_mps2, felt)

    def _before_light(self, seen: Seen) -> tuple[float, str]:
        line_m, speed = seen.stop_line_m, seen.speed_mps
        if line_m < 0 or not must_stop(seen.colour, line_m, speed):
            return math.inf, ""
        left_m = line_m - LIGHT_GAP_M - speed * self._period_s
        needed = speed * speed / (2 * max(left_m, 0.05))
        least = min(LIGHT_BRAKING_MPS2, 0.8 * self.grip_mps2)
        if needed > 2 * MAX_BRAKING_MPS2 and speed > 1.0:
            return math.inf, ""  # it turned red under the bumper: to stop beyond the line helps nobody
        if needed > least or left_m < 0.5:
            return -min(max(needed, 0.5) * 1.1, MAX_BRAKING_MPS2), "signal:red"
        return math.inf, ""

    def _before_bend(self, seen: Seen) -> tuple[float, str]:
        """Bound the speed in the bends ahead to what the tyres hold."""
        grip = BEND_SHARE * self.grip_mps2
        ahead = np.arange(len(seen.path.points)) * SPACING_M
        curvature = np.abs(seen.path.points[:, 3])
        near = ahead <= max(seen.speed_mps * BEND_AHEAD_S, 3.0)
        allowed = np.sqrt(grip / np.maximum(curvature[near], 1e-3))
        braking = 0.7 * grip
        needed = (seen.speed_mps**2 - allowed**2) / (2 * np.maximum(ahead[near], 0.5))
        worst = float(needed.max(initial=-math.inf))
        if worst > braking or (worst > 0 and bool((allowed[ahead[near] < 2.0] < seen.speed_mps).any())):
            return -min(worst, braking), "route:bend"
        return math.inf, ""

    def _before_others(self, seen: Seen, acceleration: float) -> tuple[float, str]:
        """Return the mildest braking that lets the car stay clear of everybody, where what is proposed does not."""
        sure = (seen.num_seen >= NUM_SEEN) | (
            (np.hypot(seen.objects[:, X], seen.objects[:, Y]) < NEAR_M) & (seen.num_seen >= NUM_SEEN_NEAR)
        )
        rows = np.ascontiguousarray(seen.objects[sure & (seen.objects[:, LENGTH] <= WALL_M)])
        if not len(rows) or seen.speed_mps < 0.05 and acceleration <= 0:
            return math.inf, ""
        path = seen.path
        scene = (seen.speed_mps, seen.lateral_m, path.points, path.speed_mps, rows)
        reserve = 0.9 * self.grip_mps2
        if first_hit(*scene, acceleration, 99.0, 0.0, 0.0) < 0:
            return math.inf, ""
        who = first_hit(*scene, acceleration, HELD_S, min(BRAKING_MPS2, reserve), min(PERSON_BRAKING_MPS2, reserve))
        if who < 0:
            return math.inf, ""
        reason = "lidar:person ahead" if rows[who, KIND] == PERSON else "lidar:vehicle ahead"
        for braking in BRAKES_MPS2[BRAKES_MPS2 < acceleration]:
            if first_hit(*scene, braking, 99.0, 0.0, 0.0) < 0:
                return float(braking), reason
        return -MAX_BRAKING_MPS2, reason

    def _towards_route(self, seen: Seen, steering: float) -> float | None:
        """Return the wheel's angle towards the route, where the car would be too far beside it."""
        later_m = seen.lateral_m + ASIDE_S * seen.speed_mps * math.sin(seen.route[HEADING_ERROR])
        if abs(later_m) < ASIDE_M or seen.speed_mps < 0.5:
            return None
        x, y, _, _ = seen.path.at(pursuit_distance_m(seen.speed_mps))
        wheel = pursue(x, y)
        return wheel if (wheel - steering) * later_m < 0 else None


@numba.njit(cache=True)
def first_hit(speed, lateral, points, limits, objects, held, held_s, braking, person_braking):
    """Return the index of the first of ``objects`` that is touched, or -1: ``held`` m/s^2 for ``held_s``, then braking."""
    for i in range(len(objects)):
        person = objects[i, KIND] == PERSON
        brake = person_braking if person else braking
        c, s = math.cos(objects[i, HEADING]), math.sin(objects[i, HEADING])
        v, s_m = speed, 0.0
        for k in range(round(FORECAST_S / FORECAST_STEP_S)):
            t = (k + 1) * FORECAST_STEP_S
            a = held if k * FORECAST_STEP_S < held_s - 1e-9 else -brake
            index = min(int(s_m / SPACING_M), len(limits) - 1)
            v_next = max(v + a * FORECAST_STEP_S, 0.0)
            if a > 0:
                v_next = min(v_next, max(v, limits[index], 3.0))
            s_m += 0.5 * (v + v_next) * FORECAST_STEP_S
            v = v_next
            index = min(int(s_m / SPACING_M), len(points) - 1)
            h = points[index, 2]
            rest = s_m - index * SPACING_M + CENTRE_M
            fade = lateral * math.exp(-t)
            x = points[index, 0] + rest * math.cos(h) - fade * math.sin(h)
            y = points[index, 1] + rest * math.sin(h) + fade * math.cos(h)
            grow = GROWTH_MPS * t
            if person:
                half_l = half_w = 0.25 + (PERSON_M + grow if objects[i, SPEED] > 0.3 else STANDING_PERSON_M)
            else:
                half_l, half_w = 0.5 * objects[i, LENGTH] + ALONG_M + grow, 0.5 * objects[i, WIDTH] + ACROSS_M
            ox, oy = objects[i, X] + t * objects[i, SPEED] * c, objects[i, Y] + t * objects[i, SPEED] * s
            if not overlap(x, y, h, HALF_LENGTH_M, HALF_WIDTH_M, ox, oy, objects[i, HEADING], half_l, half_w):
                continue
            # Not ours to avoid: somebody who comes from behind, or who drives into a car that stands.
            back = (ox - x) * math.cos(h) + (oy - y) * math.sin(h)
            if s_m < 0.4 or (back < -1.5 and math.cos(objects[i, HEADING] - h) > 0.3):
                break
            return i
    return -1
