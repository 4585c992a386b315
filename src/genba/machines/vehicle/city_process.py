"""The child process of a real crossing: ``python -m genba.machines.vehicle.city_process FD``.

SUMO drives a real net with its measured demand; then one of its cars, 30 to 85 m before the light, becomes the ego and keeps its
route: one that has green within half a minute, for these lights' cycles are longer than an episode. Requests and replies are framed as in ``traffic_process``. The reply to a reset holds the ego's front x, y, heading, speed, the
light's state and for how long it has been so, where the stop line and the goal lie on the route, the number of the route's points and
the points, and then everybody else. Coordinates are those of the net from its light on. Read next: ``city``, the parent's side.
"""

from __future__ import annotations

import itertools
import math
import random
import socket
import sys
from typing import Any

from genba.machines.vehicle.traffic_process import CAR, COLOURS, STEP_S, TRUCK, serve

EGO_LENGTH_M, EGO_WIDTH_M = 4.6, 1.85
#: how long one waits for a car that can be taken
PATIENCE_S = 120.0
#: a longer vehicle is a truck, whatever its class
LONGEST_CAR_M = 7.0
#: how far before the stop line it is taken
NEAREST_M, FARTHEST_M = 30.0, 85.0
#: for how long its light may yet be red or yellow
LONGEST_WAIT_S = 30.0
#: how far beyond the junction the goal and the route's end lie
GOAL_AFTER_M, END_AFTER_M = 35.0, 80.0


class _City:
    def __init__(self, libsumo: Any) -> None:
        self._sumo = libsumo
        self._started = False

    def reset(self, request: dict[str, Any]) -> list[float]:
        sumo, draw = self._sumo, random.Random(request["seed"])
        begin_s = draw.uniform(request["begin_s"], request["end_s"] - request["warm_up_s"] - PATIENCE_S)
        options = [
            *("-n", request["net_file"], "-r", request["route_file"], "--begin", f"{begin_s:.0f}"),
            *("--seed", str(request["seed"] % 2**31), "--step-length", str(STEP_S), "--no-step-log", "true"),
            *("--no-warnings", "true", "--time-to-teleport", "-1", "--collision.action", "none"),
            *("--xml-validation", "never"),
        ]
        if request["additional_files"]:
            options += ["-a", ",".join(request["additional_files"])]
        if self._started:
            sumo.load(options)
        else:
            sumo.start(["sumo", *options])
            self._started = True
        self._light = sumo.trafficlight.getIDList()[0]
        self._origin, self._most_ahead = tuple(request["origin"]), request["most_ahead"]
        self._bodies: dict[str, tuple[float, float, float, float]] = {}
        for _ in range(round(request["warm_up_s"] / STEP_S)):
            sumo.simulationStep()
        for _ in range(round(PATIENCE_S / STEP_S)):
            sumo.simulationStep()
            found = [found for name in sorted(sumo.vehicle.getIDList()) if (found := self._way(name)) is not None]
            if found:
                return self._take(*draw.choice(found))
        raise RuntimeError(f"seed {request['seed']}: no car came to the light within {PATIENCE_S:.0f} s")

    def step(self, x_m: float, y_m: float, heading_rad: float, speed_mps: float) -> list[float]:
        sumo = self._sumo
        x, y, angle_deg = x_m + self._origin[0], y_m + self._origin[1], (90.0 - math.degrees(heading_rad)) % 360.0
        # At the end of its route SUMO takes the ego out; nobody needs it then.
        if self._ego in sumo.vehicle.getIDList():
            sumo.vehicle.moveToXY(self._ego, "", -1, x, y, angle_deg, 2)
            sumo.vehicle.setSpeed(self._ego, speed_mps)
        sumo.simulationStep()
        return [self._colour(), *self._others()]

    def _way(self, name: str) -> tuple[str, list[str], int] | None:
        """Return a car's lanes from the one that it is on to beyond the light, and its link there; None where it is no candidate."""
        sumo = self._sumo
        vehicle, lane = sumo.vehicle, sumo.vehicle.getLaneID(name)
        if not self._is_car(name) or not lane:
            return None
        left_m = sumo.lane.getLength(lane) - vehicle.getLanePosition(name)
        links = [link[0] if link else ("", "", "") for link in sumo.trafficlight.getControlledLinks(self._light)]
        if not NEAREST_M <= left_m <= FARTHEST_M or lane not in {link[0] for link in links}:
            return None
        if self._most_ahead is not None:
            at_m = vehicle.getLanePosition(name)
            ahead = [other for other in sumo.lane.getLastStepVehicleIDs(lane) if vehicle.getLanePosition(other) > at_m]
            if len(ahead) > self._most_ahead:
                return None
        route = vehicle.getRoute(name)[vehicle.getRouteIndex(name) :]
        lanes, beyond_m = [lane], 0.0
        while beyond_m < END_AFTER_M:
            following = self._following(lanes[-1], route)
            if following is None:
                break
            lanes += following
            beyond_m += sumo.lane.getLength(following[-1])
        if len(lanes) < 3:
            return None
        target = next(one for one in lanes[1:] if not one.startswith(":"))
        number = next((i for i, link in enumerate(links) if link[:2] == (lane, target)), None)
        if number is None or self._wait_s(number) > LONGEST_WAIT_S:
            return None
        return name, lanes, number

    def _is_car(self, name: str) -> bool:
        vehicle = self._sumo.vehicle
        return vehicle.getVehicleClass(name) == "passenger" and vehicle.getLength(name) <= LONGEST_CAR_M

    def _wait_s(self, link: int) -> float:
        """Return how long it takes until a link of the light has green; infinite where it never has."""
        light = self._sumo.trafficlight
        program = next(
            p for p in light.getAllProgramLogics(self._light) if p.programID == light.getProgram(self._light)
        )
        phases, at = program.phases, light.getPhase(self._light)
        wait_s = 0.0
        for i in range(len(phases)):
            if phases[(at + i) % len(phases)].state[link].lower() == "g":
                return wait_s
            left_s = light.getNextSwitch(self._light) - self._sumo.simulation.getTime()
            wait_s += phases[(at + i) % len(phases)].duration if i else left_s
        return math.inf

    def _following(self, lane: str, route: Any) -> list[str] | None:
        """Return the lanes inside the junction and the one behind it, towards the route's next edge; None at its end."""
        edge = self._sumo.lane.getEdgeID(lane)
        at = list(route).index(edge)
        if at + 1 >= len(route):
            return None
        for link in self._sumo.lane.getLinks(lane):
            target, inner = link[0], link[4]
            if self._sumo.lane.getEdgeID(target) != route[at + 1]:
                continue
            inside: list[str] = []
            while inner:
                inside.append(inner)
                inner = next((more[4] for more in self._sumo.lane.getLinks(inner)), "")
            return [*inside, target]
        return None

    def _take(self, name: str, lanes: list[str], link: int) -> list[float]:
        sumo = self._sumo
        self._ego, self._link = name, link
        vehicle = sumo.vehicle
        vehicle.setLength(name, EGO_LENGTH_M)
        vehicle.setWidth(name, EGO_WIDTH_M)
        vehicle.setLaneChangeMode(name, 0)
        vehicle.setSpeedMode(name, 0)
        shapes = [sumo.lane.getShape(lane) for lane in lanes]
        stop_m = _length(shapes[0])
        num_inside = next(i for i, lane in enumerate(lanes[1:]) if not lane.startswith(":"))
        goal_m = stop_m + sum(_length(shape) for shape in shapes[1 : 1 + num_inside]) + GOAL_AFTER_M
        points = [number for shape in shapes for x, y in shape for number in (x - self._origin[0], y - self._origin[1])]
        x, y = vehicle.getPosition(name)
        ego = [x - self._origin[0], y - self._origin[1], _heading(vehicle.getAngle(name)), vehicle.getSpeed(name)]
        since_s = sumo.trafficlight.getSpentDuration(self._light)
        return [*ego, self._colour(), since_s, stop_m, goal_m, len(points) / 2, *points, *self._others()]

    def _colour(self) -> float:
        return COLOURS.get(self._sumo.trafficlight.getRedYellowGreenState(self._light)[self._link].lower(), 3.0)

    def _others(self) -> list[float]:
        """Rows of id, kind, centre x, y, heading, speed, length, width."""
        vehicle, out = self._sumo.vehicle, list[float]()
        for name in sorted(vehicle.getIDList()):
            if name == self._ego:
                continue
            if name not in self._bodies:
                kind = CAR if self._is_car(name) else TRUCK
                size = vehicle.getLength(name), vehicle.getWidth(name)
                self._bodies[name] = (float(len(self._bodies)), float(kind), *size)
            number, kind_number, length_m, width_m = self._bodies[name]
            x, y = vehicle.getPosition(name)
            heading = _heading(vehicle.getAngle(name))
            # SUMO gives the middle of the front bumper.
            x -= self._origin[0] + 0.5 * length_m * math.cos(heading)
            y -= self._origin[1] + 0.5 * length_m * math.sin(heading)
            out += [number, kind_number, x, y, heading, vehicle.getSpeed(name), length_m, width_m]
        return out


def _heading(angle_deg: float) -> float:
    """SUMO's angle (0 = north, clockwise, degrees) as a heading (0 = east, anticlockwise, rad)."""
    return math.remainder(math.radians(90.0 - angle_deg), 2 * math.pi)


def _length(shape: Any) -> float:
    return sum(math.dist(a, b) for a, b in itertools.pairwise(shape))


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), _City)
