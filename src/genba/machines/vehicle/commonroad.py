"""Reads recorded scenes in CommonRoad's XML: lanelets, lights, who drove and walked where, and the problems to solve in them.

Formats 2018b and 2020a. Times are the file's steps times its step size, places are metres in the file's own frame. What is read is what a
closed loop needs; signs, right of way and intersections' topology are not. Read next: ``recorded``, which drives in a scene.

Source: CommonRoad, XML scenario format 2020a, commonroad.in.tum.de; traffic lights as commonroad-io counts their cycles (the
format, not the code).
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genba.errors import FormatError
from genba.machines.vehicle.traffic_process import CAR, CYCLIST, PERSON, TRUCK

Element = ElementTree.Element

#: the format's types of obstacles -> the simulator's kinds; others are taken for cars
KINDS = {"truck": TRUCK, "bus": TRUCK, "train": TRUCK, "pedestrian": PERSON, "bicycle": CYCLIST, "motorcycle": CYCLIST}
VERSIONS = ("2018b", "2020a")
#: corners of a circle that is a goal
CIRCLE_CORNERS = 16


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Lanelet:
    """A piece of a lane.

    Attributes:
        left, right: its borders in the direction of driving, float64 ``[points, 2]``, as many of each.
        successors: lanelets that go on from it.
        beside: lanelets beside it in the same direction, that one may change to.
        lights: the lights that govern its end.
        stop_line: the two ends of its stop line ``[2, 2]``, where the file states them.
    """

    left: np.ndarray
    right: np.ndarray
    successors: tuple[int, ...]
    beside: tuple[int, ...]
    lights: tuple[int, ...]
    stop_line: np.ndarray | None

    @property
    def centre(self) -> np.ndarray:
        """The middle between the borders, ``[points, 2]``."""
        return (self.left + self.right) / 2

    @property
    def polygon(self) -> np.ndarray:
        """Its outline, ``[points, 2]``."""
        return np.concatenate([self.left, self.right[::-1]])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Track:
    """Where somebody was: ``times_s`` float64 ``[states]``, ``states`` ``[states, 4]`` centre x, y, heading, speed."""

    number: int
    kind: int
    length_m: float
    width_m: float
    times_s: np.ndarray
    states: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class Light:
    """A fixed programme: how long each colour lasts, in seconds, beginning at ``offset_s``."""

    durations_s: tuple[float, ...]
    colours: tuple[str, ...]
    offset_s: float

    def at(self, time_s: float) -> tuple[str, float]:
        """Return the colour at a time and for how long it has been."""
        phase_s = (time_s - self.offset_s) % sum(self.durations_s)
        for duration_s, colour in zip(self.durations_s, self.colours, strict=True):
            if phase_s < duration_s:
                return colour, phase_s
            phase_s -= duration_s
        return self.colours[-1], self.durations_s[-1]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Problem:
    """A car's task: from a state (centre x, y, heading, speed) into one of some areas before a time.

    Attributes:
        areas: polygons ``[points, 2]``.
        lanelets: or these lanelets.
    """

    number: int
    start: np.ndarray
    start_s: float
    until_s: float
    areas: tuple[np.ndarray, ...]
    lanelets: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Recording:
    """One file."""

    path: Path
    name: str
    #: where it was recorded, in the file's words
    source: str
    lanelets: Mapping[int, Lanelet]
    tracks: tuple[Track, ...]
    lights: Mapping[int, Light]
    problems: tuple[Problem, ...]


def read_recording(path: Path) -> Recording:
    """Read a scene.

    Raises:
        FormatError: it is no CommonRoad file, of another version, or holds what is not exact where it must be.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise FormatError(path, f"not a CommonRoad file ({error})") from error
    version = root.get("commonRoadVersion", "")
    if root.tag != "commonRoad" or version not in VERSIONS:
        raise FormatError(
            path, f"got <{root.tag}> of version {version!r}, expected <commonRoad> of {' or '.join(VERSIONS)}"
        )
    step_s = _float(path, root.get("timeStepSize"), "timeStepSize")
    lanelets = {_id(path, e): _lanelet(path, e) for e in root.findall("lanelet")}
    obstacles = [*root.findall("dynamicObstacle"), *root.findall("staticObstacle"), *root.findall("obstacle")]
    recording = Recording(
        path=path,
        name=root.get("benchmarkID", path.stem),
        source=root.get("source", ""),
        lanelets=lanelets,
        tracks=tuple(_track(path, e, step_s) for e in obstacles),
        lights={
            _id(path, e): _light(path, e, step_s) for e in root.findall("trafficLight") if e.find("cycle") is not None
        },
        problems=tuple(_problem(path, e, step_s) for e in root.findall("planningProblem")),
    )
    if not lanelets or not recording.problems:
        raise FormatError(
            path, f"got {len(lanelets)} lanelets and {len(recording.problems)} planning problems, expected some of each"
        )
    return recording


def _lanelet(path: Path, element: Element) -> Lanelet:
    left, right = (_points(path, _child(path, element, name)) for name in ("leftBound", "rightBound"))
    if len(left) != len(right) or len(left) < 2:
        raise FormatError(
            path, f"lanelet {element.get('id')}: got {len(left)} and {len(right)} points, expected as many, two or more"
        )
    beside = [e for name in ("adjacentLeft", "adjacentRight") for e in element.findall(name)]
    line = element.find("stopLine")
    ends = None if line is None else _points(path, line)
    lights = {_ref(path, e) for e in element.iter("trafficLightRef")}
    return Lanelet(
        left=left,
        right=right,
        successors=tuple(_ref(path, e) for e in element.findall("successor")),
        beside=tuple(_ref(path, e) for e in beside if e.get("drivingDir") == "same"),
        lights=tuple(sorted(lights)),
        stop_line=ends if ends is not None and len(ends) == 2 else None,
    )


def _track(path: Path, element: Element, step_s: float) -> Track:
    number = _id(path, element)
    length_m, width_m = _size(path, element, number)
    states = [_child(path, element, "initialState"), *element.findall("trajectory/state")]
    rows = [(_state_time(path, e) * step_s, *_state(path, e)) for e in states]
    if element.tag == "staticObstacle" or element.findtext("role") == "static":
        rows.append((math.inf, *rows[0][1:]))
    table = np.array(rows)
    if (np.diff(table[:, 0]) <= 0).any():
        raise FormatError(path, f"obstacle {number}: got times that do not rise")
    return Track(
        number=number,
        kind=KINDS.get((element.findtext("type") or "").strip(), CAR),
        length_m=length_m,
        width_m=width_m,
        times_s=table[:, 0],
        states=table[:, 1:],
    )


def _size(path: Path, element: Element, number: int) -> tuple[float, float]:
    shape = _child(path, element, "shape")
    if (rectangle := shape.find("rectangle")) is not None:
        sides = [_float(path, rectangle.findtext(name), f"obstacle {number}: {name}") for name in ("length", "width")]
        return sides[0], sides[1]
    if (circle := shape.find("circle")) is not None:
        diameter_m = 2 * _float(path, circle.findtext("radius"), f"obstacle {number}: radius")
        return diameter_m, diameter_m
    if (polygon := shape.find("polygon")) is not None:
        # In the obstacle's own frame: the box around it.
        length_m, width_m = (2 * np.abs(_points(path, polygon)).max(0)).tolist()
        return length_m, width_m
    raise FormatError(path, f"obstacle {number}: got {[e.tag for e in shape]}, expected a rectangle, circle or polygon")


def _state(path: Path, element: Element) -> tuple[float, float, float, float]:
    """Return centre x, y, heading, speed."""
    place = element.find("position/point")
    if place is None:
        raise FormatError(
            path, "got a state without an exact position, expected a point; uncertain positions cannot be driven in"
        )
    x, y = (_float(path, place.findtext(name), name) for name in "xy")
    speed = element.find("velocity")
    return x, y, _exact(path, _child(path, element, "orientation")), 0.0 if speed is None else _exact(path, speed)


def _state_time(path: Path, element: Element) -> float:
    time = element.find("time")
    return 0.0 if time is None else _exact(path, time)


def _light(path: Path, element: Element, step_s: float) -> Light:
    cycle = _child(path, element, "cycle")
    parts = cycle.findall("cycleElement")
    durations = [_float(path, e.findtext("duration"), "duration") * step_s for e in parts]
    if not parts or min(durations) <= 0:
        raise FormatError(path, f"trafficLight {element.get('id')}: got durations {durations}, expected more than 0")
    return Light(
        durations_s=tuple(durations),
        colours=tuple((e.findtext("color") or "").strip() for e in parts),
        offset_s=_float(path, cycle.findtext("timeOffset", "0"), "timeOffset") * step_s,
    )


def _problem(path: Path, element: Element, step_s: float) -> Problem:
    number, begin = _id(path, element), _child(path, element, "initialState")
    areas: list[np.ndarray] = []
    lanelets: list[int] = []
    until_s = 0.0
    for goal in element.findall("goalState"):
        until_s = max(until_s, step_s * _latest(path, _child(path, goal, "time")))
        for place in goal.findall("position/*"):
            if place.tag == "lanelet":
                lanelets.append(_ref(path, place))
            else:
                areas.append(_area(path, place, number))
    if not areas and not lanelets:
        raise FormatError(path, f"planningProblem {number}: got a goal without a place, expected an area or lanelets")
    return Problem(
        number=number,
        start=np.array(_state(path, begin)),
        start_s=_state_time(path, begin) * step_s,
        until_s=until_s,
        areas=tuple(areas),
        lanelets=tuple(lanelets),
    )


def _area(path: Path, place: Element, number: int) -> np.ndarray:
    if place.tag == "polygon":
        return _points(path, place)
    middle = place.find("center")
    x, y = (0.0, 0.0) if middle is None else (_float(path, middle.findtext(name), name) for name in "xy")
    if place.tag == "circle":
        angle = np.linspace(0, 2 * np.pi, CIRCLE_CORNERS, endpoint=False)
        return _float(path, place.findtext("radius"), "radius") * np.stack([np.cos(angle), np.sin(angle)], 1) + [x, y]
    if place.tag == "rectangle":
        length_m, width_m = (_float(path, place.findtext(name), name) for name in ("length", "width"))
        turn = _float(path, place.findtext("orientation", "0"), "orientation")
        corners = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * [length_m / 2, width_m / 2]
        return corners @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + [x, y]
    raise FormatError(
        path, f"planningProblem {number}: got a goal in a {place.tag}, expected rectangle, circle, polygon or lanelet"
    )


def _points(path: Path, element: Element) -> np.ndarray:
    rows = [[_float(path, point.findtext(name), name) for name in "xy"] for point in element.findall("point")]
    return np.array(rows, np.float64).reshape(-1, 2)


def _exact(path: Path, element: Element) -> float:
    if element.find("exact") is None:
        raise FormatError(path, f"got an uncertain {element.tag}, expected an exact one")
    return _float(path, element.findtext("exact"), element.tag)


def _latest(path: Path, element: Element) -> float:
    name = "exact" if element.find("exact") is not None else "intervalEnd"
    return _float(path, element.findtext(name), f"{element.tag}: {name}")


def _child(path: Path, element: Element, name: str) -> Element:
    found = element.find(name)
    if found is None:
        raise FormatError(path, f"{element.tag} {element.get('id', '')}: got no {name}".replace("  ", " "))
    return found


def _id(path: Path, element: Element) -> int:
    return int(_float(path, element.get("id"), f"{element.tag}: id"))


def _ref(path: Path, element: Element) -> int:
    return int(_float(path, element.get("ref"), f"{element.tag}: ref"))


def _float(path: Path, text: str | None, what: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FormatError(path, f"{what}: got {text!r}, expected a number")
    return value
