"""The task ``vehicle/intersection@1``: cross a signalised intersection with traffic, by LiDAR, odometry, route and message.

Read next: ``README.md``, the numbers measured on it.
"""

from __future__ import annotations

from genba.machines.vehicle.baselines import ConstantSpeed, idm
from genba.machines.vehicle.expert import GapExpert
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
    },
    expert="gap",
    baselines=("constant_speed", "idm"),
    verify=verify,
    draw=draw,
    metrics=METRICS,
    primary="success",
    train_seeds=range(1_000_000),
    test_seeds=range(1_000_000, 1_000_100),
    max_steps=MAX_STEPS,
)
