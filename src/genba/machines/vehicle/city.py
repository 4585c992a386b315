"""Crossings that others drew, with demand of an hour: Cologne and Ingolstadt, as the RESCO benchmark of signal control has them, and
two examples of the German guideline for traffic signals.

RESCO's nets and routes come with the wheel ``sumo-rl`` (extra ``maps``), the guideline's with SUMO itself (``rilsa``); nothing is copied.
They hold no people and no buildings, and a light with its own programme. Everybody else is SUMO's; one of its cars becomes
the ego before the light. Read next: ``city_process``, which takes it, and ``tasks``.

Source: J. Ault and G. Sharon, "Reinforcement Learning Benchmarks for Traffic Signal Control", NeurIPS 2021 Datasets and Benchmarks
(RESCO); demand from the TAPASCologne and InTAS scenarios, packed in sumo-rl under MIT.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import math
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genba.errors import SimulatorError
from genba.machines.vehicle import bicycle, rilsa
from genba.machines.vehicle.bicycle import BicycleState
from genba.machines.vehicle.path import make_path
from genba.machines.vehicle.placed import PlacedEnv
from genba.machines.vehicle.traffic import NUM_COLUMNS, Traffic
from genba.spec.protocols import Step

#: Crossing -> the seconds of the day of which it has demand.
CROSSINGS = {
    "cologne1": (25_200.0, 28_800.0),
    "ingolstadt1": (57_600.0, 61_200.0),
    "rilsa1": (0.0, 3_600.0),
    "rilsa3": (0.0, 3_600.0),
}
#: seconds of traffic before a car is taken; the guideline's arms are 490 m long, and a cycle of its lights takes 72 s to 87 s
WARM_UP_S, LONG_WARM_UP_S = 60.0, 180.0
#: at the guideline's crossings the ego has at most so many cars before it: what a green of 12 s lets pass, for the next one would be too late
MOST_AHEAD = 4
#: numbers of a reset's reply before the route's points
HEAD = 9


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class City:
    """A crossing: its files, where its light stands in the net's coordinates, and lane centre lines from there."""

    net_file: Path
    route_file: Path
    #: what SUMO reads beside them: vehicle types, light programmes
    additional_files: tuple[Path, ...]
    warm_up_s: float
    #: how many cars may be between the ego and the light at first; None: any number
    most_ahead: int | None
    origin: tuple[float, float]
    lanes: tuple[np.ndarray, ...]


@functools.lru_cache(maxsize=len(CROSSINGS))
def load_city(name: str) -> City:
    """Return a crossing.

    Raises:
        SimulatorError: the wheel that carries it is not installed.
    """
    is_of_guideline = name in rilsa.EXAMPLES
    net_file, route_file, additional_files = rilsa.find_files(name) if is_of_guideline else (*_resco_files(name), ())
    root = ElementTree.parse(net_file).getroot()
    light = next(e for e in root.iter("junction") if e.get("type") == "traffic_light")
    origin = float(light.attrib["x"]), float(light.attrib["y"])
    lanes = [
        np.array([point.split(",")[:2] for point in lane.attrib["shape"].split()], np.float64) - origin
        for edge in root.iter("edge")
        for lane in edge.iter("lane")
        if edge.get("function") not in ("crossing", "walkingarea")
    ]
    return City(
        net_file=net_file,
        route_file=route_file,
        additional_files=additional_files,
        warm_up_s=LONG_WARM_UP_S if is_of_guideline else WARM_UP_S,
        most_ahead=MOST_AHEAD if is_of_guideline else None,
        origin=origin,
        lanes=tuple(lanes),
    )


def _resco_files(name: str) -> tuple[Path, Path]:
    # Found, not imported: its package wants a SUMO of its own.
    found = importlib.util.find_spec("sumo_rl")
    folder = None if found is None or found.origin is None else Path(found.origin).parent / "nets" / "RESCO" / name
    if folder is None or not folder.is_dir():
        raise SimulatorError(
            f"vehicle: the crossing {name} comes with sumo-rl; install it with: pip install 'genba[maps]'"
        )
    return folder / f"{name}.net.xml", folder / f"{name}.rou.xml"


class CityEnv(PlacedEnv):
    """The car at one of ``CROSSINGS``.

    Raises:
        SimulatorError: the wheel that carries the crossing is not installed.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self._city = name, load_city(name)
        self._cars = _CityTraffic()
        self._traffic = self._cars
        self._lay(self._city.lanes)

    def reset(self, seed: int) -> Step:
        """Begin where a car of the city's demand came near the light at a time that ``seed`` draws.

        Raises:
            SimulatorError: SUMO cannot start.
        """
        numbers = self._cars.begin(self.name, self._city, seed)
        x, y, heading, speed, colour, since_s, stop_m, goal_m, num_points = numbers[:HEAD].tolist()
        rest = HEAD + 2 * int(num_points)
        path = make_path(numbers[HEAD:rest].reshape(-1, 2), stop_m=stop_m, goal_m=goal_m)
        # The front bumper is SUMO's.
        front_m = bicycle.FRONT_M
        ego = BicycleState(x - front_m * math.cos(heading), y - front_m * math.sin(heading), heading, speed)
        return self._begin(seed, ego, path, int(colour), since_s, numbers[rest:].reshape(-1, NUM_COLUMNS))


class _CityTraffic(Traffic):
    program = "genba.machines.vehicle.city_process"

    def begin(self, name: str, city: City, seed: int) -> np.ndarray:
        """Begin a seed's traffic; return the reply of ``city_process``."""
        begin_s, end_s = CROSSINGS[name]
        request = {"seed": seed, "begin_s": begin_s, "end_s": end_s, "origin": city.origin}
        request |= {"net_file": str(city.net_file), "route_file": str(city.route_file), "warm_up_s": city.warm_up_s}
        request |= {"additional_files": [str(path) for path in city.additional_files], "most_ahead": city.most_ahead}
        return self._ask(b"R", json.dumps(request).encode())
