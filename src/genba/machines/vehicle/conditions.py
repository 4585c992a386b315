"""Conditions that training never shows: who else is in the scene, what the road grips, when the LiDAR is silent.

A condition changes the world, never a policy's view of it by a flag: vehicles that stand are SUMO's (its traffic queues
behind them), those that move are bodies stepped here, which the LiDAR sees and the judge judges. Moving bodies
wait for SUMO's vehicles and people ahead of them but not for the ego; SUMO's own traffic does not know of them. Read next: ``simulator``,
which puts them in, or ``tasks``, which gives each a task id.

Source: the child from behind a parked vehicle follows the idea of Euro NCAP's CPNCO test: 5 km/h, aimed at the middle of
the car's front, the parked vehicle 1 m beside the car's side. The protocol's text was not at hand: distances along the
road are ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from genba.machines.vehicle import bicycle
from genba.machines.vehicle.bicycle import MU
from genba.machines.vehicle.kerb import Parked
from genba.machines.vehicle.network import Control
from genba.machines.vehicle.path import SPACING_M, RoutePath
from genba.machines.vehicle.scenario import INITIAL_CARS_PER_LANE, PERSON_RATE_HZ, Scenario
from genba.machines.vehicle.traffic_process import CAR, CYCLIST, PERSON, TRUCK

Kind = Literal[
    "red_light_runner",
    "jaywalker",
    "occluded_pedestrian",
    "blocked_lane",
    "stopped_in_box",
    "wrong_way_cyclist",
    "emergency_vehicle",
    "none",
]
#: ids of bodies of a condition begin here; SUMO's people begin at 1000
FIRST_ID = 9000
#: the vehicle that stands on the lanes
STANDING_ID = FIRST_ID + 2
#: grip of packed snow or wet leaves
LOW_MU = 0.25
#: the LiDAR speaks and is silent for this long in turn
DROP_OUT_S = 2.0
RUNNER_SPEED_MPS = 12.0
FIRE_ENGINE_SPEED_MPS = 15.0
#: cars per second and arm of the road with priority (one every three seconds in both directions together) and of the minor one
PRIORITY_CAR_RATE_HZ, MINOR_CAR_RATE_HZ = 0.17, 0.04
#: where the runner enters: beyond the LiDAR's 60 m
RUNNER_START_M = 66.0
CHILD_SPEED_MPS = 5 / 3.6
#: how far to the right of the route the cyclist comes: 0.1 m to 0.6 m beside a car in the middle of its lane
CYCLIST_ASIDE_M = (1.35, 1.8)
#: length and width of a body of each kind
SIZES_M = {CAR: (4.5, 1.8), TRUCK: (8.0, 2.4), PERSON: (0.5, 0.5), CYCLIST: (1.8, 0.6)}
#: this much closer than a touch, and a car does not get past somebody who stands
STUCK_ROOM_M = 0.4
#: slower than this the ego counts as this fast when its arrival is forecast; standing, it triggers nothing
MIN_FORECAST_SPEED_MPS = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """What differs from the nominal task."""

    name: str
    description: str
    #: the event that the scene holds
    event: Kind = "none"
    #: friction of the tyres
    mu: float = MU
    #: whether the LiDAR is silent for 2 s of every 4 s
    lidar_drops_out: bool = False
    #: who goes first: what the light says; the road with priority, and the ego comes from the minor one; at stop signs, who came first
    control: Control = "signalised"
    #: whether the light is dark and its messages are missing: whoever comes from the right goes first
    is_signal_off: bool = False
    #: arms at which other than the usual number of cars enter, per second
    car_rates_hz: Mapping[str, float] | None = None
    #: people who set out per second
    person_rate_hz: float = PERSON_RATE_HZ
    #: cars on a lane at the start, on average
    initial_cars_per_lane: float = INITIAL_CARS_PER_LANE
    #: who is parked at which kerb
    parked: tuple[Parked, ...] = ()


NOMINAL = Condition(name="nominal", description="Nothing unusual.")

CONDITIONS = (
    Condition(name="red-light-runner", description="A car crosses at 12 m/s against its red.", event="red_light_runner"),
    Condition(name="jaywalker", description="Somebody walks over the exit road away from any crossing.", event="jaywalker"),
    Condition(
        name="occluded-pedestrian",
        description="A child steps out from behind a parked truck at 5 km/h, aimed at the middle of the car's front.",
        event="occluded_pedestrian",
    ),
    Condition(name="blocked-lane", description="A car stands in the exit lane.", event="blocked_lane"),
    Condition(name="lidar-drop-out", description="The LiDAR is silent for 2 s of every 4 s.", lidar_drops_out=True),
    Condition(name="stopped-in-box", description="A car stands across the route inside the junction.", event="stopped_in_box"),
    Condition(name="low-friction", description="Friction is 0.25 and nobody says so.", mu=LOW_MU),
    Condition(
        name="wrong-way-cyclist", description="A cyclist comes against traffic along the edge of the exit lane.", event="wrong_way_cyclist"
    ),
    Condition(
        name="emergency-vehicle",
        description="A fire engine crosses at 15 m/s against its red; its arm has been cleared for it.",
        event="emergency_vehicle",
    ),
    Condition(name="signal-off", description="The light is dark and sends nothing; right goes before left.", is_signal_off=True),
    Condition(
        name="dense-priority-road",
        description="No light: from a minor road over or into one with priority, where a car passes every three seconds.",
        control="priority",
        car_rates_hz={"e": PRIORITY_CAR_RATE_HZ, "w": PRIORITY_CAR_RATE_HZ, "s": MINOR_CAR_RATE_HZ, "n": MINOR_CAR_RATE_HZ},
    ),
    Condition(
        name="slippery-jaywalker",
        description="Somebody walks over the exit road, and friction is 0.25 and nobody says so.",
        event="jaywalker",
        mu=LOW_MU,
    ),
    Condition(
        name="all-way-stop",
        description="No light, a stop sign at every arm, of which no channel tells; who came first goes first.",
        control="allway_stop",
    ),
)  # fmt: skip


@dataclass(slots=True)
class Body:
    """Somebody who moves by a condition's script: stands until the ego's arrival is due, then goes straight on.

    ``start`` and ``heading_rad`` place it; ``conflict_along_m`` is where its way and the ego's route meet, and
    ``reach_m`` how far it goes to get there. It starts when the ego would arrive at the same time, within ``early_s``.
    A body with ``hidden`` is not in the scene before it starts (it comes from beyond the LiDAR's range).
    """

    id: int
    kind: int
    start: tuple[float, float]
    heading_rad: float
    speed_mps: float
    conflict_along_m: float = 0.0
    reach_m: float = 0.0
    early_s: float = 0.0
    hidden: bool = False
    gone_m: float = -1.0
    is_moving: bool = False

    def row(self) -> np.ndarray:
        """Return the body in the columns of ``traffic``, float64 ``[8]``."""
        gone_m = max(self.gone_m, 0.0)
        x = self.start[0] + gone_m * math.cos(self.heading_rad)
        y = self.start[1] + gone_m * math.sin(self.heading_rad)
        speed_mps = self.speed_mps if self.is_moving else 0.0
        return np.array([self.id, self.kind, x, y, self.heading_rad, speed_mps, *SIZES_M[self.kind]], np.float64)

    @property
    def is_present(self) -> bool:
        """Whether it is in the scene."""
        return not self.hidden or self.gone_m >= 0

    def advance(self, dt_s: float, ego_along_m: float, ego_speed_mps: float, others: np.ndarray) -> None:
        """Let ``dt_s`` pass; ``others`` float64 ``[objects, 8]`` are those it must not walk or drive through."""
        if self.speed_mps == 0.0:
            return
        row, self.is_moving = self.row(), False
        if self._is_blocked(row, others):
            return
        if self.gone_m < 0:
            to_go_m = self.conflict_along_m - ego_along_m - bicycle.FRONT_M
            arrival_s = to_go_m / max(ego_speed_mps, MIN_FORECAST_SPEED_MPS)
            if ego_speed_mps < 0.5 or arrival_s > self.reach_m / self.speed_mps + self.early_s:
                return
            self.gone_m = 0.0
        self.gone_m += self.speed_mps * dt_s
        self.is_moving = True

    def _is_blocked(self, row: np.ndarray, others: np.ndarray) -> bool:
        dx, dy = others[:, 2] - row[2], others[:, 3] - row[3]
        ahead = dx * math.cos(row[4]) + dy * math.sin(row[4])
        aside = np.abs(-dx * math.sin(row[4]) + dy * math.cos(row[4]))
        reach_m = 0.5 * (row[6] + others[:, 6]) + 0.3 * self.speed_mps
        turn = others[:, 4] - row[4]
        half_across = 0.5 * (others[:, 6] * np.abs(np.sin(turn)) + others[:, 7] * np.abs(np.cos(turn)))
        return bool(((ahead > 0) & (ahead < reach_m) & (aside < half_across + 0.5 * row[7])).any())


@dataclass(frozen=True, slots=True)
class Standing:
    """A vehicle that stands on the lanes; SUMO holds it, and its traffic reacts to it."""

    id: int
    kind: str
    #: middle of its front bumper
    x_m: float
    y_m: float
    heading_rad: float


def draw_bodies(condition: Condition, seed: int, path: RoutePath, ego_lane: int) -> tuple[list[Body], list[Standing]]:
    """Draw who the condition puts into the scene of ``seed``: bodies that are stepped here, vehicles that SUMO holds."""
    random = np.random.default_rng([seed, 0xC0, *condition.name.encode()])
    exit_m = float(random.uniform(path.goal_m - 22.0, path.goal_m - 12.0))
    early_s = float(random.uniform(-0.5, 0.5))
    if condition.event == "red_light_runner":
        return [_crosser(path, CAR, RUNNER_SPEED_MPS, 1.0, early_s)], []
    if condition.event == "jaywalker":
        side = 1.0 if random.random() < 0.5 else -1.0
        reach_m = 9.0 if side > 0 else 5.0
        return [_walker(path, exit_m, side * reach_m, float(random.uniform(1.2, 1.8)), early_s)], []
    if condition.event == "occluded_pedestrian":
        return _occluded(path, exit_m, early_s, ego_lane)
    if condition.event == "blocked_lane":
        return [], [_standing(path, exit_m, "car", 0.0, 0.0)]
    if condition.event == "stopped_in_box":
        box_m = path.stop_m + float(random.uniform(9.0, 15.0))
        return [], [_standing(path, box_m, "car", 0.0, float(random.uniform(-0.6, 0.6)))]
    if condition.event == "emergency_vehicle":
        # From the side that the ego's route meets: whoever turns right meets only those from the left.
        east = -1.0 if np.abs(path.points[-1, 1]) > 20.0 or path.points[-1, 0] < 0 else 1.0
        return [_crosser(path, TRUCK, FIRE_ENGINE_SPEED_MPS, east, early_s)], []
    if condition.event == "wrong_way_cyclist":
        # It does not wait for the car, so it must leave room to one that keeps to its lane, if little.
        x, y, heading = _beside(path, path.goal_m + 12.0, -float(random.uniform(*CYCLIST_ASIDE_M)))
        back = heading + math.pi
        return [Body(FIRST_ID, CYCLIST, (x, y), back, 4.5, path.goal_m - 10.0, 22.0, early_s)], []
    return [], []


def _beside(path: RoutePath, along_m: float, left_m: float) -> tuple[float, float, float]:
    x, y, heading, _ = (float(value) for value in path.at(along_m))
    return x - left_m * math.sin(heading), y + left_m * math.cos(heading), heading


def _walker(path: RoutePath, along_m: float, left_m: float, speed_mps: float, early_s: float) -> Body:
    """Walks across the route from ``left_m`` beside it (negative: from the right)."""
    x, y, heading = _beside(path, along_m, left_m)
    across = heading - math.copysign(math.pi / 2, left_m)
    return Body(FIRST_ID, PERSON, (x, y), across, speed_mps, along_m, abs(left_m), early_s)


def _crosser(path: RoutePath, kind: int, speed_mps: float, east: float, early_s: float) -> Body:
    """Drives over the junction, to the east (1) or the west (-1), on the lane that the route crosses or joins."""
    for size_m in (1.6, 4.8):
        line_y = -east * size_m
        met = np.flatnonzero(np.abs(path.points[:, 1] - line_y) < 0.5)
        if len(met):
            break
    x = float(path.points[met[0], 0])
    start, heading = (-east * RUNNER_START_M, line_y), 0.0 if east > 0 else math.pi
    reach_m = RUNNER_START_M + east * x
    return Body(FIRST_ID, kind, start, heading, speed_mps, met[0] * SPACING_M, reach_m, early_s, hidden=True)


def _occluded(path: RoutePath, along_m: float, early_s: float, ego_lane: int) -> tuple[list[Body], list[Standing]]:
    # The truck's side is 1 m from the ego's; the child stands 1 m past its front, hidden by it.
    aside_m = bicycle.WIDTH_M / 2 + 1.0 + SIZES_M[TRUCK][1] / 2
    child = _walker(path, along_m, -aside_m, CHILD_SPEED_MPS, early_s)
    if ego_lane == 2:  # the truck stands in the other lane, where SUMO's traffic must know of it
        return [child], [_standing(path, along_m - 1.25, "truck", -aside_m, 0.0)]
    x, y, heading = _beside(path, along_m - 1.25 - SIZES_M[TRUCK][0] / 2, -aside_m)
    return [child, Body(FIRST_ID + 1, TRUCK, (x, y), heading, 0.0)], []


def _standing(path: RoutePath, front_m: float, kind: str, left_m: float, turn_rad: float) -> Standing:
    x, y, heading = _beside(path, front_m, left_m)
    return Standing(STANDING_ID, kind, x, y, heading + turn_rad)


def made_way(
    condition: Condition,
    scenario: Scenario,
    standing: Sequence[Standing],
    bodies: Sequence[Body],
    ways: Mapping[tuple[str, str], list[np.ndarray]],
) -> Scenario:
    """Leave out the cars that would make the scene something else: who would wait for ever for somebody in the junction, and
    who would stand in a fire engine's way.

    SUMO's cars never drive around what stands inside a junction: they would wait there, and those behind them, until
    nobody could pass any more, however well they drove. Nor do they see bodies that move, whom drivers let through.
    """
    gone: set[tuple[str, str]] = set()
    if condition.event == "stopped_in_box":
        gone = {
            way for way, lines in ways.items() if any(_meets(line, vehicle) for line in lines for vehicle in standing)
        }
    if condition.event == "emergency_vehicle":
        gone = {way for way in ways if way[0] == ("w" if bodies[0].start[0] < 0 else "e")}
    return replace(scenario, cars=tuple(car for car in scenario.cars if (car.origin, car.target) not in gone))


def _meets(line: np.ndarray, vehicle: Standing) -> bool:
    """Say whether a car that follows ``line`` ``[points, 2]`` does not get past a vehicle that stands."""
    length_m, width_m = SIZES_M[CAR if vehicle.kind == "car" else TRUCK]
    along = np.array([math.cos(vehicle.heading_rad), math.sin(vehicle.heading_rad)])
    across = np.array([-along[1], along[0]])
    at_m = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    grid_m = np.arange(0.0, at_m[-1], 0.5)
    offset = np.stack([np.interp(grid_m, at_m, line[:, i]) for i in (0, 1)], 1) - [vehicle.x_m, vehicle.y_m]
    ahead, aside = offset @ along, np.abs(offset @ across)
    room_m = 0.5 * SIZES_M[CAR][1] + STUCK_ROOM_M
    return bool(((ahead < room_m) & (ahead > -length_m - room_m) & (aside < 0.5 * width_m + room_m)).any())
