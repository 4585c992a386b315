"""The child process in which SUMO runs: ``python -m genba.machines.vehicle.traffic_process FD``.

libsumo holds one simulation per process and carries its own Arrow libraries, which must not meet pyarrow's; so SUMO
lives here alone. Requests come and replies go over one socket as frames: a 1-byte kind, a 4-byte length, a payload.
``R`` = reset (JSON of a scenario), ``S`` = step (4 float64: the ego's front x, y, heading, speed); a reply is ``K`` with float64
numbers or ``E`` with an error text. Read next: ``traffic``, the parent's side.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

HEADER = struct.Struct("<cI")
STEP_S = 0.1
#: how long SUMO drives everybody, the ego too, before the episode begins
WARM_UP_STEPS = 50
#: kind of a row
CAR, TRUCK, PERSON, CYCLIST = 0, 1, 2, 3
COLOURS = {"o": 0.0, "r": 1.0, "u": 1.0, "y": 2.0, "g": 3.0}
#: SUMO's phases of the programme: start in the cycle (s)
PHASE_ENDS_S = (11.0, 16.0, 19.0, 21.0, 32.0, 37.0, 40.0, 42.0)


class _World:
    def __init__(self, libsumo: Any) -> None:
        self._sumo = libsumo
        self._started = False
        self._cars: dict[str, tuple[float, float, float, float]] = {}
        self._link = 0
        self._has_light = True
        self._standing: list[dict[str, Any]] = []

    def reset(self, request: dict[str, Any]) -> list[float]:
        sumo = self._sumo
        options = [
            *("-n", request["net_file"], "--seed", str(request["seed"] % 2**31), "--step-length", str(STEP_S)),
            *("--no-step-log", "true", "--no-warnings", "true", "--time-to-teleport", "-1"),
            *("--collision.action", "none", "--default.speeddev", "0.08", "--xml-validation", "never"),
        ]
        if self._started:
            sumo.load(options)
        else:
            sumo.start(["sumo", *options])
            self._started = True
        self._cars.clear()
        for kind, length_m, width_m in (("car", 4.5, 1.8), ("truck", 8.0, 2.4), ("ego", 4.6, 1.85)):
            sumo.vehicletype.copy("DEFAULT_VEHTYPE", kind)
            sumo.vehicletype.setLength(kind, length_m)
            sumo.vehicletype.setWidth(kind, width_m)
        cycle_s = request["cycle_s"]
        phase = next(i for i, end_s in enumerate(PHASE_ENDS_S) if cycle_s < end_s)
        self._has_light = request["has_light"]
        if request["is_signal_off"]:
            sumo.trafficlight.setProgram("c", "off")
        elif self._has_light:
            sumo.trafficlight.setPhase("c", phase)
            sumo.trafficlight.setPhaseDuration("c", PHASE_ENDS_S[phase] - cycle_s)
        arms = "nesw"
        for origin in arms:
            for target in arms:
                if origin != target:
                    sumo.route.add(f"{origin}{target}", [f"{origin}_in", f"{target}_out"])
        self._add_ego(request)
        self._standing = request["standing"]
        for car in self._standing:
            sumo.vehicle.add(f"c{car['id']}", "sn", typeID=car["kind"], depart="0")
        for car in request["cars"]:
            name = f"c{car['id']}"
            start = (
                {"departPos": f"{car['position_m']:.2f}", "departSpeed": "7"}
                if car["position_m"] >= 0
                else {"departPos": "base", "departSpeed": "avg"}
            )
            sumo.vehicle.add(
                name,
                f"{car['origin']}{car['target']}",
                typeID=car["kind"],
                depart=f"{car['depart_s']:.1f}",
                departLane=str(car["lane"]),
                **start,
            )
        for person in request["persons"]:
            name, edge = f"p{person['id']}", f"{person['origin']}_in"
            sumo.person.add(name, edge, -person["distance_m"], depart=person["depart_s"])
            sumo.person.appendWalkingStage(name, [edge, f"{person['target']}_out"], 60.0)
            sumo.person.setSpeed(name, person["speed_mps"])
        for _ in range(WARM_UP_STEPS):
            self._hold()
            sumo.simulationStep()
        if "ego" not in sumo.vehicle.getIDList():
            raise RuntimeError(f"seed {request['seed']}: SUMO did not insert the ego")
        sumo.vehicle.setSpeedMode("ego", 0)
        x, y = sumo.vehicle.getPosition("ego")
        return [x, y, _heading(sumo.vehicle.getAngle("ego")), sumo.vehicle.getSpeed("ego"), *self._others()]

    def step(self, x_m: float, y_m: float, heading_rad: float, speed_mps: float) -> list[float]:
        sumo = self._sumo
        angle_deg = (90.0 - math.degrees(heading_rad)) % 360.0
        sumo.vehicle.moveToXY("ego", "", -1, x_m, y_m, angle_deg, 2)
        sumo.vehicle.setSpeed("ego", speed_mps)
        self._hold()
        sumo.simulationStep()
        return self._others()

    def _hold(self) -> None:
        """Keep what stands where it stands, wherever a lane or a route would have it."""
        for car in self._standing:
            name = f"c{car['id']}"
            angle_deg = (90.0 - math.degrees(car["heading_rad"])) % 360.0
            self._sumo.vehicle.moveToXY(name, "", -1, car["x_m"], car["y_m"], angle_deg, 2)
            self._sumo.vehicle.setSpeed(name, 0.0)

    def _add_ego(self, request: dict[str, Any]) -> None:
        target = {"left": "w", "straight": "n", "right": "e"}[request["manoeuvre"]]
        lane = request["ego_lane"]
        self._link = {("right", 1): 8, ("straight", 1): 9, ("straight", 2): 10, ("left", 2): 11}[
            request["manoeuvre"], lane
        ]
        self._sumo.vehicle.add(
            "ego",
            f"s{target}",
            typeID="ego",
            depart="0",
            departLane=str(lane),
            departPos=f"{request['ego_position_m']:.2f}",
            departSpeed=f"{request['ego_speed_mps']:.2f}",
        )
        self._sumo.vehicle.setLaneChangeMode("ego", 0)

    def _others(self) -> list[float]:
        """The light's colour for the ego (0 where none shines), then rows of id, kind, centre x, y, heading, speed, length, width."""
        sumo = self._sumo
        state = sumo.trafficlight.getRedYellowGreenState("c")[self._link] if self._has_light else "o"
        out = [COLOURS[state.lower()]]
        vehicle = sumo.vehicle
        for name in sorted(vehicle.getIDList(), key=_number):
            if name == "ego":
                continue
            if name not in self._cars:
                kind = vehicle.getTypeID(name)
                length_m, width_m = vehicle.getLength(name), vehicle.getWidth(name)
                self._cars[name] = (float(name[1:]), float(TRUCK if kind == "truck" else CAR), length_m, width_m)
            number, code, length_m, width_m = self._cars[name]
            x, y = vehicle.getPosition(name)
            heading = _heading(vehicle.getAngle(name))
            # SUMO gives the middle of the front bumper.
            x -= 0.5 * length_m * math.cos(heading)
            y -= 0.5 * length_m * math.sin(heading)
            out += [number, code, x, y, heading, vehicle.getSpeed(name), length_m, width_m]
        person = sumo.person
        for name in sorted(person.getIDList(), key=_number):
            x, y = person.getPosition(name)
            # Numbers of people begin at 1000, those of cars at 0.
            out += [1000.0 + float(name[1:]), float(PERSON), x, y, _heading(person.getAngle(name))]
            out += [person.getSpeed(name), 0.5, 0.5]
        return out


def _number(name: str) -> int:
    return -1 if name == "ego" else int(name[1:])


def _heading(angle_deg: float) -> float:
    """SUMO's angle (0 = north, clockwise, degrees) as a heading (0 = east, anticlockwise, rad)."""
    return math.remainder(math.radians(90.0 - angle_deg), 2 * math.pi)


def serve(connection: socket.socket, make_world: Callable[[Any], Any] = _World) -> None:
    """Answer requests with a world that ``libsumo`` is given to, until the parent closes the socket."""
    reader = connection.makefile("rb")
    world: Any = None
    while len(header := reader.read(HEADER.size)) == HEADER.size:
        kind, length = HEADER.unpack(header)
        payload = reader.read(length)
        try:
            if world is None:
                import libsumo  # here, so that a missing system library reaches the parent as a message

                world = make_world(libsumo)
            numbers = world.reset(json.loads(payload)) if kind == b"R" else world.step(*struct.unpack("<4d", payload))
            reply, body = b"K", struct.pack(f"<{len(numbers)}d", *numbers)
        except Exception as error:
            # Whatever breaks in SUMO goes to the parent, which raises it with its place.
            reply, body = b"E", f"{type(error).__name__}: {error}".encode()
        connection.sendall(HEADER.pack(reply, len(body)) + body)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
