"""The environment: SUMO's traffic, our own car in it, and the car's sensors, each on its own clock.

One control step is 0.1 s: the bicycle moves in five steps of 0.02 s, then SUMO moves everybody else, then the sensors
speak. Policies get the samples only; experts may read ``world``. It judges nothing beyond when to stop: the verifier
does. Read next: ``expert``, ``verifier``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from genba.errors import SimulatorError
from genba.machines.vehicle import bicycle, lidar
from genba.machines.vehicle.bicycle import BicycleState
from genba.machines.vehicle.can_bus import CanBus
from genba.machines.vehicle.conditions import DROP_OUT_S, NOMINAL, Body, Condition, draw_bodies, made_way
from genba.machines.vehicle.geometry import corners, distance_to_segments, first_overlap
from genba.machines.vehicle.kerb import FIRST_PARKED_ID, place, with_free_pavements
from genba.machines.vehicle.network import (
    BUILDING_HEIGHT_M,
    BUILDINGS,
    CYCLE_S,
    GREEN_S,
    LANE_WIDTH_M,
    SHOULDER_M,
    YELLOW_S,
    load_road,
)
from genba.machines.vehicle.path import RoutePath
from genba.machines.vehicle.scenario import draw_scenario
from genba.machines.vehicle.traffic import HEADING, ID, KIND, LENGTH, NUM_COLUMNS, SPEED, WIDTH, Traffic, X, Y
from genba.machines.vehicle.traffic_process import CYCLIST, PERSON, STEP_S, TRUCK, WARM_UP_STEPS
from genba.spec.action import Action
from genba.spec.embodiment import load_embodiment
from genba.spec.protocols import Step
from genba.spec.streams import Stream, dense, ragged
from genba.spec.units import MILLISECOND_NS, SECOND_NS, to_ns

MAX_STEPS = 800
NUM_SUBSTEPS = 5
#: LiDAR sweeps end this long before the control step; the light's message is this old when it arrives
LIDAR_AGE_NS = 20 * MILLISECOND_NS
SIGNAL_AGE_NS = 60 * MILLISECOND_NS
#: distances along the route at which the map gives waypoints and curvatures
WAYPOINTS_M = 3.0 * np.arange(1, 11)
CURVATURES_M = np.array([5.0, 10.0, 18.0, 28.0])
#: largest curvature that the route channel holds, 1/m: a real map's lanes have kinks that are sharper than any arc
MAX_CURVATURE = 0.3
#: standard deviations of the noise of speed, acceleration, yaw rate, steering angle; of lateral and heading error
TELEMETRY_NOISE = np.array([0.05, 0.1, 0.005, 0.002])
LATERAL_NOISE_M, HEADING_NOISE_RAD = 0.03, 0.003
#: heights of a car, a truck, a person, a cyclist
HEIGHTS_M = np.array([1.5, 3.2, 1.75, 1.75])
DARK, RED, YELLOW, GREEN = 0, 1, 2, 3
#: an object counts as seen while a sweep within this time had at least so many returns of it
MEMORY_S = 0.3
MIN_RETURNS = 2

_BUILDING_BOXES = np.array(
    [
        [(x0 + x1) / 2, (y0 + y1) / 2, 0.0, (x1 - x0) / 2, (y1 - y0) / 2, BUILDING_HEIGHT_M]
        for x0, y0, x1, y1 in BUILDINGS
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class World:
    """What is true now, for experts and verifiers.

    Attributes:
        ego: the car.
        path, along_m, lateral_m: its route, and where on it the rear axle is.
        colour: the light that governs its lane: 0 none, 1 red, 2 yellow, 3 green.
        objects: everybody else, float64 ``[objects, 8]`` in the columns of ``traffic``.
        visible: bool ``[objects]``: the LiDAR has seen it within ``MEMORY_S``.
    """

    ego: BicycleState
    path: RoutePath
    along_m: float
    lateral_m: float
    colour: int
    objects: np.ndarray
    visible: np.ndarray

    @property
    def stop_line_m(self) -> float:
        """Distance from the front bumper to the stop line; negative once past."""
        return self.path.stop_m - self.along_m - bicycle.FRONT_M


class VehicleEnv:
    """A car that has to cross the intersection along its route.

    Args:
        condition: what is different from the nominal world, or a function that says it for a seed.
        bus: a CAN bus that the telemetry crosses before anybody sees it; None hands on what was measured.
    """

    def __init__(self, condition: Condition | Callable[[int], Condition] = NOMINAL, bus: CanBus | None = None) -> None:
        self._condition_of = condition if callable(condition) else lambda seed: condition
        #: of the episode that runs; before the first, of seed 0
        self.condition = self._condition_of(0)
        self.bus = bus
        self.embodiment = load_embodiment("vehicle/urban-car@1")
        self._traffic = Traffic()
        self._buildings = _BUILDING_BOXES
        self._world: World | None = None

    @property
    def world(self) -> World:
        """What is true now.

        Raises:
            SimulatorError: ``reset`` was not called yet.
        """
        if self._world is None:
            raise SimulatorError("vehicle: no world yet; call reset(seed) first")
        return self._world

    def reset(self, seed: int) -> Step:
        """Begin the scenario of ``seed``, after its warm-up.

        Raises:
            SimulatorError: SUMO cannot start.
        """
        self.condition = condition = self._condition_of(seed)
        road = load_road(condition.control)
        scenario = draw_scenario(
            seed,
            condition.car_rates_hz,
            person_rate_hz=condition.person_rate_hz,
            initial_cars_per_lane=condition.initial_cars_per_lane,
        )
        self._random = np.random.default_rng([seed, 0xE6])
        self._segments = road.segments
        self._lane_lines = [road.lanes[name] for name in sorted(road.lanes)]
        self._path = road.paths[scenario.manoeuvre, scenario.ego_lane]
        self._bodies, standing = draw_bodies(condition, seed, self._path, scenario.ego_lane)
        scenario = made_way(condition, scenario, standing, self._bodies, road.ways)
        scenario = with_free_pavements(scenario, condition.parked)
        for i, parked in enumerate(condition.parked):
            x, y, heading = place(parked, road)
            self._bodies.append(Body(FIRST_PARKED_ID + i, parked.kind, (x, y), heading, 0.0))
        front, colour, objects = self._traffic.reset(
            scenario, standing, control=condition.control, is_signal_off=condition.is_signal_off
        )
        objects = self._with_bodies(objects)
        x, y, heading, speed = (float(value) for value in front)
        ego = BicycleState(
            x - bicycle.FRONT_M * math.cos(heading), y - bicycle.FRONT_M * math.sin(heading), heading, speed
        )
        along_m = float(np.hypot(*(np.array([ego.x_m, ego.y_m]) - self._path.points[0, :2])))
        # The light's state has lasted since its start in the fixed programme.
        cycle_s = (scenario.cycle_s + WARM_UP_STEPS * STEP_S) % CYCLE_S
        since_s = {DARK: cycle_s, GREEN: 0.0, YELLOW: GREEN_S, RED: GREEN_S + YELLOW_S}[colour]
        self._colour_since_s = since_s - cycle_s
        self._steps = 0
        self._rows: list[np.ndarray] = []
        self._object_rows: list[np.ndarray] = []
        self._sweeps: list[np.ndarray] = []
        self._last_seen: dict[int, int] = {}
        self._time_ns = SECOND_NS
        telemetry = dense([self._time_ns], self._measure([ego]))
        return self._finish(ego, ego, colour, objects, along_m, telemetry)

    def step(self, action: Action | None) -> Step:
        """Drive for 0.1 s.

        Raises:
            SimulatorError: SUMO broke off, or ``reset`` was not called.
        """
        world = self.world
        assert action is not None and action.continuous is not None, "the car wants a decision at every control step"
        acceleration, steering = float(action.continuous[0]), float(action.continuous[1])
        states = [world.ego]
        for _ in range(NUM_SUBSTEPS):
            states.append(bicycle.advance(states[-1], acceleration, steering, STEP_S / NUM_SUBSTEPS, self.condition.mu))
        ego = states[-1]
        colour, objects = self._traffic.step(
            ego.x_m + bicycle.FRONT_M * math.cos(ego.heading_rad),
            ego.y_m + bicycle.FRONT_M * math.sin(ego.heading_rad),
            ego.heading_rad,
            ego.speed_mps,
        )
        for body in self._bodies:
            body.advance(STEP_S, world.along_m, world.ego.speed_mps, objects)
        objects = self._with_bodies(objects)
        self._steps += 1
        if colour != world.colour:
            self._colour_since_s = self._steps * STEP_S
        period_ns = to_ns(STEP_S / NUM_SUBSTEPS)
        times = self._time_ns + period_ns * np.arange(1, NUM_SUBSTEPS + 1)
        self._time_ns += to_ns(STEP_S)
        return self._finish(ego, states[-2], colour, objects, world.along_m, dense(times, self._measure(states[1:])))

    def trace(self) -> dict[str, np.ndarray]:
        """Return the ground truth so far.

        ``ego`` float64 ``[steps, 9]``: time_s, rear axle x, y, heading, speed, acceleration, steering, yaw rate, distance
        along the path. ``colour`` int64 ``[steps]``. ``objects`` ``[rows, 8]`` with ``object_splits`` ``[steps + 1]``.
        ``lidar`` float32 ``[points, 3]`` in the sensor's frame with ``lidar_splits``. ``path`` ``[points, 2]``,
        ``stop_line`` and ``goal_line`` ``[2, 2]``, ``lanes`` ``[points, 2]`` with ``lane_splits``, ``buildings``
        ``[buildings, 4]``, ``path_m`` ``[3]``: start, stop and goal along the path. ``has_stop_sign`` bool ``[]``.
        """
        path = self._path
        lane_lengths = [len(line) for line in self._lane_lines]
        return {
            "ego": np.stack(self._rows),
            "colour": np.array([row[-1] for row in self._rows], np.int64),
            "objects": np.concatenate(self._object_rows),
            "object_splits": _splits([len(rows) for rows in self._object_rows]),
            "lidar": np.concatenate(self._sweeps),
            "lidar_splits": _splits([len(rows) for rows in self._sweeps]),
            "path": path.points[:, :2].copy(),
            "path_m": np.array([self._rows[0][8], path.stop_m, path.goal_m]),
            "stop_line": _across(path, path.stop_m, LANE_WIDTH_M / 2),
            "goal_line": _across(path, path.goal_m, 3 * LANE_WIDTH_M),
            "lanes": np.concatenate(self._lane_lines),
            "lane_splits": _splits(lane_lengths),
            "buildings": BUILDINGS.copy(),
            "has_stop_sign": np.array(self.condition.control == "allway_stop"),
        }

    def instruction(self) -> str:
        """The route says it all."""
        return ""

    def close(self) -> None:
        """End SUMO's process."""
        self._traffic.close()

    def _finish(
        self,
        ego: BicycleState,
        ego_at_sweep: BicycleState,
        colour: int,
        objects: np.ndarray,
        near_m: float,
        telemetry: Stream,
    ) -> Step:
        """Project the ego, let the slower sensors speak, keep the truth, and see whether it is over."""
        before = self._world if self._steps else None
        along_m, lateral_m = self._path.project(ego.x_m, ego.y_m, near_m)
        points, returns = self._sweep(ego_at_sweep, objects)
        # A drop-out: what the sensor would have seen is neither kept nor handed on.
        silent = self.condition.lidar_drops_out and (self._steps * STEP_S) % (2 * DROP_OUT_S) >= DROP_OUT_S - 1e-9
        if silent:
            points, returns = points[:0], np.zeros_like(returns)
        for i in np.flatnonzero(returns >= MIN_RETURNS):
            self._last_seen[int(objects[i, ID])] = self._steps
        oldest = self._steps - round(MEMORY_S / STEP_S)
        visible = np.array([self._last_seen.get(int(row[ID]), -(10**6)) >= oldest for row in objects], bool)
        world = World(
            ego=ego,
            path=self._path,
            along_m=along_m,
            lateral_m=lateral_m,
            colour=colour,
            objects=objects,
            visible=visible,
        )
        self._world = world
        self._rows.append(
            np.array(
                [
                    *(self._time_ns / SECOND_NS, ego.x_m, ego.y_m, ego.heading_rad, ego.speed_mps),
                    *(ego.acceleration_mps2, ego.steering_rad, ego.yaw_rate_radps, along_m, colour),
                ]
            )
        )
        self._object_rows.append(objects)
        self._sweeps.append(points)
        samples = {
            "telemetry": telemetry if self.bus is None else self.bus.cross(telemetry),
            "route": dense([self._time_ns], self._route(world)[None]),
        }
        if not self.condition.is_signal_off:
            samples["signal"] = dense([self._time_ns - SIGNAL_AGE_NS], self._signal(world)[None])
        if not silent:
            samples["lidar"] = ragged([self._time_ns - LIDAR_AGE_NS], [points])
        terminated = self._is_over(world, before)
        truncated = not terminated and self._steps >= MAX_STEPS
        return Step(self._time_ns, samples, terminated, truncated)

    def _with_bodies(self, objects: np.ndarray) -> np.ndarray:
        present = [body.row() for body in self._bodies if body.is_present]
        return np.concatenate([objects, np.stack(present)]) if present else objects

    def _measure(self, states: list[BicycleState]) -> np.ndarray:
        true = np.array([[s.speed_mps, s.acceleration_mps2, s.yaw_rate_radps, s.steering_rad] for s in states])
        noisy = true + self._random.standard_normal(true.shape) * TELEMETRY_NOISE
        return noisy.astype(np.float32)

    def _sweep(self, ego: BicycleState, objects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        age_s = LIDAR_AGE_NS / SECOND_NS if self._steps else 0.0
        boxes = np.empty((len(objects), 6))
        boxes[:, 0] = objects[:, X] - age_s * objects[:, SPEED] * np.cos(objects[:, HEADING])
        boxes[:, 1] = objects[:, Y] - age_s * objects[:, SPEED] * np.sin(objects[:, HEADING])
        boxes[:, 2] = objects[:, HEADING]
        boxes[:, 3] = objects[:, LENGTH] / 2
        boxes[:, 4] = objects[:, WIDTH] / 2
        boxes[:, 5] = HEIGHTS_M[objects[:, KIND].astype(np.int64)]
        sensor = np.array(
            [
                ego.x_m + lidar.MOUNT_X_M * math.cos(ego.heading_rad),
                ego.y_m + lidar.MOUNT_X_M * math.sin(ego.heading_rad),
                lidar.MOUNT_Z_M,
                ego.heading_rad,
            ]
        )
        points, returns = lidar.sweep(sensor, np.concatenate([boxes, self._buildings]), self._random)
        return points, returns[: len(objects)]

    def _route(self, world: World) -> np.ndarray:
        lateral_noise_m = self._random.standard_normal() * LATERAL_NOISE_M
        heading_noise = self._random.standard_normal() * HEADING_NOISE_RAD
        ego, path = world.ego, world.path
        heading = ego.heading_rad + heading_noise
        ahead = np.array([path.at(world.along_m + distance) for distance in WAYPOINTS_M])
        # Where localisation believes the car to be: shifted sideways by its error.
        dx = ahead[:, 0] - (ego.x_m - lateral_noise_m * math.sin(ego.heading_rad))
        dy = ahead[:, 1] - (ego.y_m + lateral_noise_m * math.cos(ego.heading_rad))
        x = dx * math.cos(heading) + dy * math.sin(heading)
        y = -dx * math.sin(heading) + dy * math.cos(heading)
        here = path.at(world.along_m)
        numbers = [
            *np.clip(x, -45, 45),
            *np.clip(y, -45, 45),
            *np.clip(
                [path.at(world.along_m + distance)[3] for distance in CURVATURES_M], -MAX_CURVATURE, MAX_CURVATURE
            ),
            min(max(world.lateral_m + lateral_noise_m, -15.0), 15.0),
            math.remainder(heading - here[2], 2 * math.pi),
            min(max(world.stop_line_m, -80.0), 140.0),
            min(max(path.goal_m - world.along_m, -10.0), 250.0),
        ]
        return np.array(numbers, np.float32)

    def _signal(self, world: World) -> np.ndarray:
        distance_m = min(max(world.stop_line_m, -80.0), 140.0)
        since_s = min(self._steps * STEP_S - self._colour_since_s, 30.0)
        if world.stop_line_m < 0 or world.colour == DARK:
            return np.array([0, distance_m, 0], np.float32)
        return np.array([world.colour, distance_m, since_s], np.float32)

    def _is_over(self, world: World, before: World | None) -> bool:
        """Arrived, collided, ran a red light, or left the road."""
        if world.along_m >= world.path.goal_m:
            return True
        ego, objects = world.ego, world.objects
        box = np.array(
            [
                ego.x_m + bicycle.CENTRE_M * math.cos(ego.heading_rad),
                ego.y_m + bicycle.CENTRE_M * math.sin(ego.heading_rad),
                ego.heading_rad,
                bicycle.LENGTH_M / 2,
                bicycle.WIDTH_M / 2,
            ]
        )
        others = objects[:, [X, Y, HEADING, LENGTH, WIDTH]] * [1, 1, 1, 0.5, 0.5]
        if first_overlap(box, others) >= 0:
            return True
        if before is not None and before.colour == RED and before.stop_line_m >= 0 > world.stop_line_m:
            return True
        limit_m = LANE_WIDTH_M / 2 + SHOULDER_M
        return any(distance_to_segments(x, y, self._segments) > limit_m for x, y in corners(*box))


def _across(path: RoutePath, along_m: float, half_width_m: float) -> np.ndarray:
    x, y, heading, _ = path.at(along_m)
    side = np.array([-math.sin(heading), math.cos(heading)]) * half_width_m
    return np.array([x, y]) + np.stack([side, -side])


def _splits(lengths: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


assert NUM_COLUMNS == WIDTH + 1 and TRUCK < PERSON < CYCLIST < len(HEIGHTS_M)
