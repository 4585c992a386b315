"""The task ``vehicle/intersection@1``: cross a signalised intersection with traffic, by LiDAR, odometry, route and message;
one whose worlds vary within what may be trained on; one task per condition that training never shows, one per real crossing, and one per file of a recorded scene.

Read next: ``README.md``, the numbers measured on it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from genba.config import read_toml
from genba.machines.vehicle.baselines import ConstantSpeed, idm
from genba.machines.vehicle.city import CityEnv
from genba.machines.vehicle.collision_guard import CollisionGuard
from genba.machines.vehicle.commonroad import read_recording
from genba.machines.vehicle.conditions import CONDITIONS, Condition
from genba.machines.vehicle.expert import GapExpert
from genba.machines.vehicle.lidar_planner import LidarPlanner, lidar_idm
from genba.machines.vehicle.objective import objective
from genba.machines.vehicle.oracle import Oracle
from genba.machines.vehicle.picture import draw
from genba.machines.vehicle.recorded import RecordedEnv, num_steps
from genba.machines.vehicle.simulator import MAX_STEPS, VehicleEnv
from genba.machines.vehicle.varied import vary
from genba.machines.vehicle.verifier import METRICS, verify
from genba.machines.vehicle.way_round import WayRound
from genba.spec.caution import Caution
from genba.spec.embodiment import load_embodiment
from genba.spec.task import Task

INTERSECTION = Task(
    id="vehicle/intersection@1",
    description="Drive left, straight on or right over a signalised urban intersection with cars and people.",
    embodiment=load_embodiment("vehicle/urban-car@1"),
    make_env=VehicleEnv,
    policies={
        "gap": GapExpert,
        "gap_all": lambda env: GapExpert(env, name="gap_all", look_all=True),
        "idm": idm,
        "constant_speed": ConstantSpeed,
        "lidar_idm": lidar_idm,
        "lidar_gap": LidarPlanner,
        "oracle": Oracle,
    },
    expert="gap",
    baselines=("constant_speed", "idm", "lidar_idm", "lidar_gap"),
    verify=verify,
    draw=draw,
    metrics=METRICS,
    primary="success",
    train_seeds=range(1_000_000),
    test_seeds=range(1_000_000, 1_000_100),
    max_steps=MAX_STEPS,
    caution=read_toml(Path(__file__).with_name("caution.toml"), Caution),
    objective=objective,
    make_guard=CollisionGuard,
    make_router=WayRound,
)

VARIED = replace(
    INTERSECTION,
    id="vehicle/varied@1",
    description="As vehicle/intersection@1, with a light or from a minor road, sparse to dense, with vehicles parked at kerbs.",
    make_env=lambda: VehicleEnv(vary),
)


def _held_out(condition: Condition) -> Task:
    """Make a condition's task: the nominal one with another world, and no seed that may be trained on."""
    return replace(
        INTERSECTION,
        id=f"vehicle/{condition.name}@1",
        description=f"As vehicle/intersection@1, held out of training: {condition.description}",
        make_env=lambda: VehicleEnv(condition),
        train_seeds=range(0),
    )


(
    RED_LIGHT_RUNNER,
    JAYWALKER,
    OCCLUDED_PEDESTRIAN,
    BLOCKED_LANE,
    LIDAR_DROP_OUT,
    STOPPED_IN_BOX,
    LOW_FRICTION,
    WRONG_WAY_CYCLIST,
    EMERGENCY_VEHICLE,
    SIGNAL_OFF,
    DENSE_PRIORITY_ROAD,
    SLIPPERY_JAYWALKER,
    ALL_WAY_STOP,
) = (_held_out(condition) for condition in CONDITIONS)


def _city(name: str, what: str, *, is_trained_on: bool) -> Task:
    """Make the task of a crossing that others drew, with the demand of an hour."""
    return replace(
        INTERSECTION,
        id=f"vehicle/{name}@1",
        description=f"Cross {what}; no people, no buildings." + ("" if is_trained_on else " Held out of training."),
        make_env=lambda: CityEnv(name),
        train_seeds=INTERSECTION.train_seeds if is_trained_on else range(0),
    )


COLOGNE, INGOLSTADT = (
    _city(name, f"a real intersection of {where}, among the cars of a measured hour", is_trained_on=is_trained_on)
    for name, where, is_trained_on in (("cologne1", "Cologne", True), ("ingolstadt1", "Ingolstadt", False))
)
RILSA1, RILSA3 = (
    _city(name, f"example {name[-1]} of the German guideline for traffic signals, among its cars", is_trained_on=False)
    for name in ("rilsa1", "rilsa3")
)


def recorded(path: Path) -> Task:
    """Make a task of a recorded scene: a CommonRoad file. Nothing of it may be trained on.

    Raises:
        FormatError: the file is none, or its problems cannot be driven.
    """
    recording = read_recording(path)
    name = re.sub("[^a-z0-9]+", "-", recording.name.lower()).strip("-")
    return replace(
        INTERSECTION,
        id=f"vehicle/recorded-{name}@1",
        description=f"Reach the goal of the recorded scene {recording.name} ({recording.source}); nobody reacts to the car.",
        make_env=lambda: RecordedEnv(path),
        train_seeds=range(0),
        max_steps=max(num_steps(recording, problem) for problem in recording.problems),
    )
