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
    TIGHT_MARGIN,
    must_stop,
    pursue,
    pursuit_distance_m,
)
from genba.machines.vehicle.geometry import overlap
from genba.machines.vehicle.path import SPACING_M
from genba.machines.vehicle.perception import Perception, Seen
from genba.machines.vehicle.tracks import WALL_M
from genba.machines.vehicle.traffic import HEADING, KIND, LENGTH, SPEED, WIDTH, X, Y
from genba.machines.vehicle.traffic_process import CAR, CYCLIST, PERSON, STEP_S
from genba.spec.action import Action
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
#: the car is back on its route to a third over this distance
FADE_M = 8.0
#: how much larger others are taken: vehicles along and across, people who walk and who stand, and per second of forecast
ALONG_M, ACROSS_M, PERSON_M, STANDING_PERSON_M, GROWTH_MPS = 0.5, 0.25, 0.5, 0.05, 0.08
#: sweeps that must have shown somebody, and how many where that is within this distance
NUM_SEEN, NUM_SEEN_NEAR, NEAR_M = 3, 2, 14.0
#: small and fast is a cyclist only where so many sweeps agree, and up to this speed; else pieces of a car's side or of a wall
NUM_CYCLIST, CYCLIST_MPS = 10, 7.0
#: slower vehicles are taken to stand: their direction is noise
CREEPING_MPS = 1.5
#: control steps in a row that must find the proposal wrong before it is refused
NUM_ALARMS = 2
#: braking before a red light that a policy may leave for later
LIGHT_BRAKING_MPS2 = 3.0
#: how far before the line the front stands at the latest
LIGHT_GAP_M = 0.3
#: sideways acceleration that a bend may take, at most and as a share of the grip; the braking before it that may be left for later
BEND_MPS2, BEND_SHARE, BEND_BRAKING_MPS2 = 4.5, 0.8, 2.5
#: how far ahead bends are looked for
BEND_AHEAD_S = 2.5
#: steering that is farther than this from the arc back to the route is replaced by it; with the model that comes along the
#: difference was at most 0.07 rad in nominal traffic, and 0.3 rad where it left the road of a crossing it had never seen
OFF_ARC_RAD = 0.14
#: less braking than asked by this much, for so long, means that there is no more
SHORT_MPS2, SHORT_S = 0.8, 0.3
#: least grip that is believed
LEAST_GRIP_MPS2 = 1.5


class CollisionGuard:
    """Bounds what is proposed to what the sweeps, the light and the route allow.

    Reasons: ``"lidar:person ahead"``, ``"lidar:vehicle ahead"``, ``"signal:red"``, ``"route:bend"``, ``"route:aside"``.
    While odometry or route say nothing it lets everything pass: the limits on age and sense come after it.
    """

    def __init__(self) -> None:
        self._perception = Perception()
        self.reset()

    def reset(self) -> None:
        """Forget everybody, and take the road for dry."""
        self._perception.reset()
        self.grip_mps2 = MU * GRAVITY_MPS2
        self._asked_mps2: list[float] = []
        self._num_alarms = 0

    def check(self, action: Action, observation: Observation) -> Verdict:
        """Pass an action, or brake or steer."""
        seen = self._perception.look(observation)
        if seen is None or action.continuous is None or not np.isfinite(action.continuous).all():
            return Verdict(action)
        self._feel(observation, seen)
        acceleration, steering = (float(value) for value in action.continuous)
        reasons: list[str] = []
        for bound, reason in (
            self._before_light(seen),
            self._before_bend(seen),
            self._before_others(seen, acceleration),
        ):
            if bound < acceleration:
                acceleration = bound
                reasons.append(reason)
        wheel = self._towards_route(seen, steering)
        if wheel is not None:
            steering = wheel
            reasons.append("route:aside")
        self._asked_mps2 = [*self._asked_mps2, acceleration][-round(SHORT_S / STEP_S) :]
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
        long_enough = len(self._asked_mps2) >= round(SHORT_S / STEP_S)
        is_short = long_enough and acceleration - max(self._asked_mps2) > SHORT_MPS2 and acceleration < 0
        if is_short or steered - sideways > max(SHORT_MPS2, 0.2 * steered):
            felt = max(math.hypot(acceleration, sideways), LEAST_GRIP_MPS2)
            self.grip_mps2 = min(self.grip_mps2, felt)

    def _before_light(self, seen: Seen) -> tuple[float, str]:
        line_m, speed = seen.stop_line_m, seen.speed_mps
        if line_m < 0 or not must_stop(seen.colour, line_m, speed):
            return math.inf, ""
        left_m = line_m - LIGHT_GAP_M - speed * STEP_S
        needed = speed * speed / (2 * max(left_m, 0.05))
        least = min(LIGHT_BRAKING_MPS2, 0.8 * self.grip_mps2)
        if needed > 2 * MAX_BRAKING_MPS2 and speed > 1.0:
            return math.inf, ""  # it turned red under the bumper: to stop beyond the line helps nobody
        if needed > least or left_m < 0.5:
            return -min(max(needed, 0.5) * 1.1, MAX_BRAKING_MPS2), "signal:red"
        return math.inf, ""

    def _before_bend(self, seen: Seen) -> tuple[float, str]:
        """Brake where a bend ahead is too narrow for the speed."""
        sideways = min(BEND_MPS2, BEND_SHARE * self.grip_mps2)
        count = 1 + int(max(seen.speed_mps * BEND_AHEAD_S, 3.0) / SPACING_M)
        curvature = np.abs(seen.path.points[:count, 3])
        ahead_m = np.maximum(np.arange(len(curvature)) * SPACING_M, SPACING_M)
        needed = float(((seen.speed_mps**2 - sideways / np.maximum(curvature, 1e-4)) / (2 * ahead_m)).max())
        if needed > min(BEND_BRAKING_MPS2, 0.5 * self.grip_mps2):
            return -min(needed, 0.7 * self.grip_mps2, MAX_BRAKING_MPS2), "route:bend"
        return math.inf, ""

    def _before_others(self, seen: Seen, acceleration: float) -> tuple[float, str]:
        """Return the mildest braking that lets the car stay clear of everybody, where what is proposed does not."""
        rows = believed(seen)
        if not len(rows) or (seen.speed_mps < 0.05 and acceleration <= 0):
            return math.inf, ""
        path = seen.path
        scene = (seen.speed_mps, seen.lateral_m, path.points, path.speed_mps, rows)
        reserve = 0.9 * self.grip_mps2
        who = first_hit(*scene, acceleration, HELD_S, min(BRAKING_MPS2, reserve), min(PERSON_BRAKING_MPS2, reserve))
        # To go on is safe only where it stays so if the policy thinks better of speeding up.
        if who < 0 or all(
            first_hit(*scene, held, 99.0, 0.0, 0.0) < 0 for held in (acceleration, min(acceleration, 0.0))
        ):
            self._num_alarms = 0
            return math.inf, ""
        self._num_alarms += 1
        if self._num_alarms < NUM_ALARMS:
            return math.inf, ""
        reason = "lidar:person ahead" if rows[who, KIND] == PERSON else "lidar:vehicle ahead"
        harder = BRAKES_MPS2[acceleration > BRAKES_MPS2]
        for braking in harder:
            if first_hit(*scene, braking, 99.0, 0.0, 0.0) < 0:
                return float(braking), reason
        # No way keeps the whole margin. To stop in the way of who crosses may be the worst: what stays just clear is better.
        for held in (acceleration, *harder):
            if first_hit(*scene, held, 99.0, 0.0, 0.0, TIGHT_MARGIN) < 0:
                return (math.inf, "") if held == acceleration else (float(held), reason)
        return -MAX_BRAKING_MPS2, reason

    def _towards_route(self, seen: Seen, steering: float) -> float | None:
        """Return the wheel's angle towards the route, where the proposed one leads away from it."""
        x, y, _, _ = seen.path.at(pursuit_distance_m(seen.speed_mps))
        wheel = pursue(x, y)
        return wheel if abs(wheel - steering) > OFF_ARC_RAD and seen.speed_mps > 0.5 else None


def believed(seen: Seen) -> np.ndarray:
    """Return who is there beyond doubt, float64 ``[objects, 8]``: no walls, no pieces of something else."""
    rows = seen.objects.copy()
    near = np.hypot(rows[:, X], rows[:, Y]) < NEAR_M
    sure = seen.num_seen >= np.where(near, NUM_SEEN_NEAR, NUM_SEEN)
    cyclist = rows[:, KIND] == CYCLIST
    sure &= ~cyclist | ((seen.num_seen >= NUM_CYCLIST) & (rows[:, SPEED] <= CYCLIST_MPS))
    rows[(rows[:, KIND] == CAR) & (rows[:, SPEED] < CREEPING_MPS), SPEED] = 0.0
    return np.ascontiguousarray(rows[sure & (rows[:, LENGTH] <= WALL_M)])


@numba.njit(cache=True)
def first_hit(speed, lateral, points, limits, objects, held, held_s, braking, person_braking, share=1.0):
    """Return the index of the first of ``objects`` that is touched, or -1: ``held`` m/s^2 for ``held_s``, then braking.

    ``share`` is how much of the margins is kept.
    """
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
            fade = lateral * math.exp(-s_m / FADE_M)
            x = points[index, 0] + rest * math.cos(h) - fade * math.sin(h)
            y = points[index, 1] + rest * math.sin(h) + fade * math.cos(h)
            grow = GROWTH_MPS * t
            if person:
                half_l = half_w = 0.25 + share * (PERSON_M + grow if objects[i, SPEED] > 0.3 else STANDING_PERSON_M)
            else:
                half_l = 0.5 * objects[i, LENGTH] + share * (ALONG_M + grow)
                half_w = 0.5 * objects[i, WIDTH] + share * ACROSS_M
            ox, oy = objects[i, X] + t * objects[i, SPEED] * c, objects[i, Y] + t * objects[i, SPEED] * s
            if not overlap(x, y, h, HALF_LENGTH_M, HALF_WIDTH_M, ox, oy, objects[i, HEADING], half_l, half_w):
                continue
            # Not ours to avoid: somebody who comes from behind, or who drives into a car that stands along its way.
            back, turn = (ox - x) * math.cos(h) + (oy - y) * math.sin(h), math.cos(objects[i, HEADING] - h)
            if s_m < 0.4 or (back < -1.5 and turn > 0.3) or (not person and v < 0.1 and abs(turn) > 0.8):
                break
            return i
    return -1
