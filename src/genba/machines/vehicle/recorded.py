"""A recorded scene as a world to drive in: everybody else goes where they went, the ego goes where its policy steers it.

The car, its sensors and what ends an episode are those of ``simulator``; SUMO is not asked. Nobody reacts to the ego, which a
recording cannot do. An episode ends with the recording. Seeds draw the sensors' noise and, where a file holds several problems, which one.
Read next: ``commonroad``, which reads a file, and ``tasks.recorded``, which makes a task of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from genba.machines.vehicle import bicycle
from genba.machines.vehicle.bicycle import BicycleState
from genba.machines.vehicle.commonroad import Light, Problem, Recording, Track, read_recording
from genba.machines.vehicle.placed import PlacedEnv
from genba.machines.vehicle.recorded_route import find_route
from genba.machines.vehicle.simulator import GREEN, RED, YELLOW
from genba.machines.vehicle.traffic import NUM_COLUMNS
from genba.machines.vehicle.traffic_process import STEP_S
from genba.spec.action import Action
from genba.spec.protocols import Step

#: the format's colours -> the message's; a light that is off governs nobody
COLOURS = {"green": GREEN, "yellow": YELLOW, "red": RED, "redYellow": RED, "inactive": GREEN}


class RecordedEnv(PlacedEnv):
    """The car in a recorded scene.

    Args:
        path: a CommonRoad file.

    Raises:
        FormatError: it is none, or its problems cannot be driven.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.recording = read_recording(path)
        self._ways = [find_route(self.recording, problem) for problem in self.recording.problems]
        self._lay([lanelet.centre for lanelet in self.recording.lanelets.values()])

    def reset(self, seed: int) -> Step:
        """Begin the problem and the noise of ``seed``."""
        number = seed % len(self._ways)
        problem, (path, lights) = self.recording.problems[number], self._ways[number]
        self._max_steps = num_steps(self.recording, problem)
        replay = Replay(self.recording, problem, [self.recording.lights[light] for light in lights])
        self._traffic = replay  # type: ignore[assignment]
        colour, objects = replay.now()
        x, y, heading, speed = problem.start.tolist()
        ego = BicycleState(
            x - bicycle.CENTRE_M * math.cos(heading), y - bicycle.CENTRE_M * math.sin(heading), heading, speed
        )
        return self._begin(seed, ego, path, colour, replay.colour_since_s, objects)

    def step(self, action: Action | None) -> Step:
        """Drive for 0.1 s; the recording's end ends the episode."""
        step = super().step(action)
        return replace(step, truncated=not step.terminated and self._steps >= self._max_steps)


class Replay:
    """Everybody else and the ego's light, as they were: what ``traffic`` is to the simulated crossing."""

    def __init__(self, recording: Recording, problem: Problem, lights: Sequence[Light]) -> None:
        # Some files hold the ego's own drive too: whoever begins exactly where it begins is not somebody else.
        self._tracks = tuple(
            track for track in recording.tracks if not np.allclose(track.states[0], problem.start, atol=1e-3)
        )
        self._lights = tuple(lights)
        self._time_s = problem.start_s

    @property
    def colour_since_s(self) -> float:
        """For how long the light has had its colour; 0 where there is none."""
        return self._lights[0].at(self._time_s)[1] if self._lights else 0.0

    def now(self) -> tuple[int, np.ndarray]:
        """Return the light's colour and everybody else, float64 ``[objects, 8]`` in the columns of ``traffic``."""
        colours = [COLOURS.get(light.at(self._time_s)[0], RED) for light in self._lights]
        rows = [row for track in self._tracks if (row := _row(track, self._time_s)) is not None]
        # Several lights govern a lane together: the strictest counts.
        return min(colours, default=GREEN), np.array(rows).reshape(-1, NUM_COLUMNS)

    def step(self, x_m: float, y_m: float, heading_rad: float, speed_mps: float) -> tuple[int, np.ndarray]:
        """Let 0.1 s pass, wherever the ego is."""
        self._time_s += STEP_S
        return self.now()

    def close(self) -> None:
        """Nothing is open."""


def num_steps(recording: Recording, problem: Problem) -> int:
    """Return how many control steps there are until the goal's latest time or the recording's end, whichever is first."""
    ends = [float(track.times_s[-1]) for track in recording.tracks if math.isfinite(track.times_s[-1])]
    until_s = min(problem.until_s, max(ends, default=problem.until_s))
    return max(math.ceil((until_s - problem.start_s) / STEP_S - 1e-6), 1)


def _row(track: Track, time_s: float) -> list[float] | None:
    """Return a track's row at a time, between its states; None before its first and after its last."""
    times_s = track.times_s
    if not times_s[0] - 1e-9 <= time_s <= times_s[-1] + 1e-9:
        return None
    after = min(max(int(np.searchsorted(times_s, time_s)), 1), len(times_s) - 1)
    if len(times_s) == 1 or not math.isfinite(times_s[after]):
        x, y, heading, speed = track.states[0]
    else:
        before = after - 1
        share = min(max((time_s - times_s[before]) / (times_s[after] - times_s[before]), 0.0), 1.0)
        one, other = track.states[before], track.states[after]
        x, y, _, speed = one + share * (other - one)
        heading = one[2] + share * math.remainder(other[2] - one[2], 2 * math.pi)
    return [float(track.number), float(track.kind), x, y, heading, speed, track.length_m, track.width_m]
