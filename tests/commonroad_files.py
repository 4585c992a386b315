"""Writes small CommonRoad files: a straight road of two lanes to the east, a light at 50 m, cars at constant speed."""

from __future__ import annotations

from pathlib import Path


def points(y_m: float, xs: tuple[float, ...] = (0.0, 50.0, 100.0)) -> str:
    return "".join(f"<point><x>{x}</x><y>{y_m}</y></point>" for x in xs)


def exact(name: str, value: float) -> str:
    return f"<{name}><exact>{value}</exact></{name}>"


def state(step: int, x_m: float, y_m: float, heading: float, speed_mps: float, tag: str = "state") -> str:
    place = f"<position><point><x>{x_m}</x><y>{y_m}</y></point></position>"
    said = exact("time", step) + place + exact("orientation", heading) + exact("velocity", speed_mps)
    return f"<{tag}>{said}</{tag}>"


def lanelet(number: int, low_m: float, xs: tuple[float, ...], more: str = "") -> str:
    left, right = points(low_m + 3.0, xs), points(low_m, xs)
    return f'<lanelet id="{number}"><leftBound>{left}</leftBound><rightBound>{right}</rightBound>{more}</lanelet>'


def car(number: int, x_m: float, y_m: float, speed_mps: float, num_states: int = 101, *, begin: int = 0) -> str:
    """A car that drives to the east from ``begin``, a state every 0.1 s."""
    rest = "".join(state(begin + i, x_m + speed_mps * 0.1 * i, y_m, 0.0, speed_mps) for i in range(1, num_states))
    return (
        f'<dynamicObstacle id="{number}"><type>car</type><shape><rectangle><length>4.5</length><width>1.8</width></rectangle>'
        f"</shape>{state(begin, x_m, y_m, 0.0, speed_mps, 'initialState')}<trajectory>{rest}</trajectory></dynamicObstacle>"
    )


def problem(number: int = 900, speed_mps: float = 8.0, goal: str = '<lanelet ref="3"/>', until: int = 100) -> str:
    """From 10 m on the southern lane into the goal."""
    times = f"<time><intervalStart>0</intervalStart><intervalEnd>{until}</intervalEnd></time>"
    return (
        f'<planningProblem id="{number}">{state(0, 10.0, 1.5, 0.0, speed_mps, "initialState")}'
        f"<goalState><position>{goal}</position>{times}</goalState></planningProblem>"
    )


#: Lanelets 1 to 3 go on from one another on the southern lane (y from 0 to 3), 4 lies beside the second on the northern one.
ROAD = (
    lanelet(1, 0.0, (0.0, 25.0, 50.0), '<successor ref="2"/><trafficLightRef ref="70"/>')
    + lanelet(2, 0.0, (50.0, 65.0, 80.0), '<successor ref="3"/><adjacentLeft ref="4" drivingDir="same"/>')
    + lanelet(3, 0.0, (80.0, 100.0, 120.0))
    + lanelet(4, 3.0, (50.0, 65.0, 80.0), '<successor ref="5"/>')
    + lanelet(5, 3.0, (80.0, 100.0, 120.0))
)


def light(*, offset: int = 0) -> str:
    """3 s of green, 1 s of yellow, 4 s of red."""
    cycle = "".join(
        f"<cycleElement><duration>{d}</duration><color>{c}</color></cycleElement>"
        for d, c in ((30, "green"), (10, "yellow"), (40, "red"))
    )
    return f'<trafficLight id="70"><cycle>{cycle}<timeOffset>{offset}</timeOffset></cycle></trafficLight>'


def write(path: Path, *parts: str, version: str = "2020a") -> Path:
    """Write a file of these parts, steps of 0.1 s."""
    head = f'<commonRoad commonRoadVersion="{version}" benchmarkID="ZAM_Made-1_1" source="made" timeStepSize="0.1">'
    path.write_text(f'<?xml version="1.0"?>{head}{"".join(parts)}</commonRoad>')
    return path
