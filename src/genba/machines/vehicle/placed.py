"""What worlds at other places than the generated crossing share: the same car, sensors and end, no buildings.

Read next: ``recorded`` and ``city``, the two kinds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genba.machines.vehicle.bicycle import BicycleState
from genba.machines.vehicle.path import SPACING_M, RoutePath
from genba.machines.vehicle.simulator import VehicleEnv
from genba.spec.protocols import Step
from genba.spec.streams import dense
from genba.spec.units import SECOND_NS


class PlacedEnv(VehicleEnv):
    """The car on lanes that somebody else drew."""

    def __init__(self) -> None:
        super().__init__()
        self._buildings = np.zeros((0, 6))
        self._bodies = []

    def trace(self) -> dict[str, np.ndarray]:
        """Return the ground truth so far, as ``VehicleEnv`` does."""
        return super().trace() | {"buildings": np.zeros((0, 4))}

    def _lay(self, lines: Sequence[np.ndarray]) -> None:
        """Lay lanes: their centre lines, each ``[points, 2]``."""
        self._lane_lines = [line[np.concatenate([[True], _apart(line)])] for line in lines]
        self._segments = np.concatenate([np.concatenate([line[:-1], line[1:]], axis=1) for line in self._lane_lines])

    def _begin(
        self,
        seed: int,
        ego: BicycleState,
        path: RoutePath,
        colour: int,
        colour_since_s: float,
        objects: np.ndarray,
    ) -> Step:
        """Begin an episode: where the ego is, its route, the light and for how long it has been so, and everybody else."""
        self._path = path
        self._random = np.random.default_rng([seed, 0xE6])
        self._colour_since_s = -colour_since_s
        self._steps = 0
        self._rows, self._object_rows, self._sweeps = [], [], []
        self._last_seen: dict[int, int] = {}
        self._time_ns = SECOND_NS
        near_m = SPACING_M * float(np.argmin(np.linalg.norm(path.points[:, :2] - [ego.x_m, ego.y_m], axis=1)))
        return self._finish(ego, ego, colour, objects, near_m, dense([self._time_ns], self._measure([ego])))


def _apart(line: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.diff(line, axis=0), axis=1) > 1e-6
