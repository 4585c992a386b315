"""The ego's way through a recorded scene: from where it starts, over lanelets, into its goal.

Where following lanes does not lead there, it changes to a lane beside, over that lanelet's whole length. Read next: ``recorded``.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

import numpy as np
import shapely

from genba.errors import FormatError
from genba.machines.vehicle.bicycle import CENTRE_M, FRONT_M
from genba.machines.vehicle.commonroad import Lanelet, Problem, Recording
from genba.machines.vehicle.path import RoutePath, make_path

#: a lane goes the ego's way where it does not differ by more
HEADING_RAD = math.pi / 4
#: what a change of lanes counts as, in metres of driving
CHANGE_M = 50.0
#: how far the path goes on behind the start and beyond the goal
MARGIN_M = 60.0
#: lines are looked at in steps of
STEP_M = 0.25


def find_route(recording: Recording, problem: Problem) -> tuple[RoutePath, tuple[int, ...]]:
    """Return the path of the rear axle, and the lights that govern it (none where no light stands before the goal).

    Raises:
        FormatError: the start lies on no lane that goes its way, or no lanes lead to the goal.
    """
    starts = _starts(recording, problem)
    if not starts:
        raise FormatError(recording.path, f"planningProblem {problem.number}: got a start on no lane that goes its way")
    goals = [shapely.Polygon(area) for area in problem.areas]
    goals += [shapely.Polygon(_lanelet(recording, i).polygon) for i in problem.lanelets]
    goal = shapely.union_all([shapely.make_valid(one) for one in goals])
    chain = _chain(recording, starts, goal)
    if chain is None:
        raise FormatError(
            recording.path, f"planningProblem {problem.number}: got no way over its lanes from start to goal"
        )
    line = _line(recording, chain)
    at_m = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    grid_m = np.arange(0.0, at_m[-1], STEP_M)
    dense = np.stack([np.interp(grid_m, at_m, line[:, i]) for i in (0, 1)], 1)
    start_m = float(grid_m[np.argmin(np.linalg.norm(dense - problem.start[:2], axis=1))])
    inside = shapely.contains_xy(goal, dense[:, 0], dense[:, 1]) & (grid_m >= start_m)
    goal_m = float(grid_m[np.argmax(inside)])
    stop_m, lights = _stop(recording, chain, dense, grid_m, start_m, goal_m)
    # The centre of the car has to get there; the path is the rear axle's.
    whole = np.concatenate([_beyond(line[::-1])[::-1], line, _beyond(line)])
    path = make_path(whole, stop_m=stop_m + MARGIN_M, goal_m=goal_m - CENTRE_M + MARGIN_M)
    return path, lights


def _lanelet(recording: Recording, number: int) -> Lanelet:
    if number not in recording.lanelets:
        raise FormatError(recording.path, f"got a reference to lanelet {number}, expected one of the file's")
    return recording.lanelets[number]


def _starts(recording: Recording, problem: Problem) -> list[int]:
    place, heading = shapely.Point(problem.start[:2]), problem.start[2]
    found = []
    for number, lanelet in recording.lanelets.items():
        if shapely.contains(shapely.make_valid(shapely.Polygon(lanelet.polygon)), place):
            centre = lanelet.centre
            nearest = int(np.argmin(np.linalg.norm(centre[:-1] - problem.start[:2], axis=1)))
            dx, dy = centre[nearest + 1] - centre[nearest]
            turn = abs(math.remainder(math.atan2(dy, dx) - heading, 2 * math.pi))
            if turn < HEADING_RAD:
                found.append((turn, number))
    return [number for _, number in sorted(found)]


def _chain(recording: Recording, starts: Sequence[int], goal: shapely.Geometry) -> list[int] | None:
    """Return the shortest chain of lanelets whose last one reaches the goal (Dijkstra)."""
    waiting = [(0.0, [number]) for number in starts]
    seen: set[int] = set()
    while waiting:
        driven_m, chain = heapq.heappop(waiting)
        number = chain[-1]
        if number in seen:
            continue
        seen.add(number)
        lanelet = _lanelet(recording, number)
        # Touching is not enough: the lane before one that is the goal ends where that begins.
        if shapely.length(shapely.intersection(goal, shapely.LineString(lanelet.centre))) > 2 * STEP_M:
            return chain
        length_m = float(np.linalg.norm(np.diff(lanelet.centre, axis=0), axis=1).sum())
        for following in lanelet.successors:
            heapq.heappush(waiting, (driven_m + length_m, [*chain, following]))
        for beside in lanelet.beside:
            heapq.heappush(waiting, (driven_m + CHANGE_M, [*chain, beside]))
    return None


def _line(recording: Recording, chain: Sequence[int]) -> np.ndarray:
    """Return the line ``[points, 2]`` along a chain; where two lie beside each other, it goes over from one to the other."""
    pieces: list[np.ndarray] = []
    for i, number in enumerate(chain):
        centre = _lanelet(recording, number).centre
        if i and number in _lanelet(recording, chain[i - 1]).beside:
            before, share = pieces.pop(), np.linspace(0, 1, 50)
            weight = np.clip(2 * share - 0.5, 0, 1)[:, None]
            centre = (1 - weight) * _resampled(before, share) + weight * _resampled(centre, share)
        pieces.append(centre)
    line = np.concatenate(pieces)
    apart = np.linalg.norm(np.diff(line, axis=0), axis=1) > 1e-3
    return line[np.concatenate([[True], apart])]


def _resampled(line: np.ndarray, share: np.ndarray) -> np.ndarray:
    at = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    return np.stack([np.interp(share * at[-1], at, line[:, i]) for i in (0, 1)], 1)


def _beyond(line: np.ndarray) -> np.ndarray:
    """Go straight on from the end of a line for ``MARGIN_M``, without its last point."""
    along = line[-1] - line[-2]
    along = along / np.linalg.norm(along)
    return line[-1] + along * np.linspace(1.0, MARGIN_M, round(MARGIN_M))[:, None]


def _stop(
    recording: Recording, chain: Sequence[int], dense: np.ndarray, grid_m: np.ndarray, start_m: float, goal_m: float
) -> tuple[float, tuple[int, ...]]:
    """Return where the next stop line with a light crosses the path before the goal, and its lights."""
    for number in chain:
        lanelet = _lanelet(recording, number)
        lights = tuple(light for light in lanelet.lights if light in recording.lights)
        if not lights:
            continue
        middle = lanelet.centre[-1] if lanelet.stop_line is None else lanelet.stop_line.mean(0)
        stop_m = float(grid_m[np.argmin(np.linalg.norm(dense - middle, axis=1))])
        if start_m + FRONT_M - CENTRE_M <= stop_m <= goal_m:
            return stop_m, lights
    # Far behind: the line counts as passed.
    return -MARGIN_M, ()
