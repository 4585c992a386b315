"""Vehicles parked at a kerb: where they stand, and the pavements that people then do not use.

They stand still on the pavement beside the outer lane with nobody behind them, so that a truck at the kerb alone means nothing. SUMO does
not know of them: they block no lane. Read next: ``varied``, which draws them, or ``simulator``, which puts them in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from genba.machines.vehicle import bicycle
from genba.machines.vehicle.network import Road
from genba.machines.vehicle.scenario import Scenario

#: ids of parked vehicles begin here, past those of a condition's bodies
FIRST_PARKED_ID = 9100


@dataclass(frozen=True, kw_only=True, slots=True)
class Parked:
    """A vehicle that is parked."""

    #: ``traffic_process.CAR`` or ``TRUCK``, and its width
    kind: int
    width_m: float
    arm: str
    #: beside those who come to the junction, or those who leave it
    side: Literal["in", "out"]
    #: its middle's distance from the junction
    from_junction_m: float
    #: between its side and that of the ego's car in the middle of the outer lane
    gap_m: float


def place(parked: Parked, road: Road) -> tuple[float, float, float]:
    """Return a parked vehicle's middle x, y and its heading, that of the lane it stands beside."""
    start, stop = road.lanes[f"{parked.arm}_{parked.side}_1"][[0, -1]]
    along = (stop - start) / np.linalg.norm(stop - start)
    x, y = stop - parked.from_junction_m * along if parked.side == "in" else start + parked.from_junction_m * along
    right_m = bicycle.WIDTH_M / 2 + parked.gap_m + parked.width_m / 2
    return float(x + right_m * along[1]), float(y - right_m * along[0]), math.atan2(along[1], along[0])


def with_free_pavements(scenario: Scenario, parked: Sequence[Parked]) -> Scenario:
    """Leave out the people whose way ends on a pavement on which somebody is parked: they would walk through the vehicle.

    On the way in nobody need be left out: people set out nearer to the junction than ``varied`` parks.
    """
    closed = {vehicle.arm for vehicle in parked if vehicle.side == "out"}
    return replace(scenario, persons=tuple(person for person in scenario.persons if person.target not in closed))
