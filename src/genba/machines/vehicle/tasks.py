"""The task ``vehicle/intersection@1``: cross a signalised intersection with traffic, by LiDAR, odometry, route and message;
and one task per condition that training never shows.

Read next: ``README.md``, the numbers measured on it.
"""

from __future__ import annotations

from dataclasses import replace

from genba.machines.vehicle.baselines import ConstantSpeed, idm
from genba.machines.vehicle.conditions import CONDITIONS, Condition
from genba.machines.vehicle.expert import GapExpert
from genba.machines.vehicle.lidar_planner import LidarPlanner, lidar_idm
from genba.machines.vehicle.oracle import Oracle
from genba.machines.vehicle.picture import draw
from genba.machines.vehicle.simulator import MAX_STEPS, VehicleEnv
from genba.machines.vehicle.verifier import METRICS, verify
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
) = (_held_out(condition) for condition in CONDITIONS)
