"""The task ``metadrive/general@1``: MetaDrive's own test of generalisation, 200 scenes that training never sees.

Seeds are the package's scene numbers. Its authors test on scenes 0 to 199 and train on scenes from 5000; so does this. Read next:
``perf/meta_drive.py``, which measures policies beside each other.
"""

from __future__ import annotations

from genba.machines.metadrive.baselines import Straight
from genba.machines.metadrive.expert import Planner
from genba.machines.metadrive.peers import IdmPolicy, PpoExpert
from genba.machines.metadrive.picture import draw
from genba.machines.metadrive.simulator import MAX_STEPS, NUM_SCENES, MetaDriveEnv
from genba.machines.metadrive.verifier import METRICS, verify
from genba.spec.embodiment import load_embodiment
from genba.spec.task import Task

GENERAL = Task(
    id="metadrive/general@1",
    description="Follow a route over three procedurally made blocks of road among traffic; MetaDrive's 200 test scenes.",
    embodiment=load_embodiment("metadrive/car@1"),
    make_env=MetaDriveEnv,
    policies={"planner": Planner, "ppo_expert": PpoExpert, "idm_policy": IdmPolicy, "straight": Straight},
    expert="planner",
    baselines=("ppo_expert", "idm_policy", "straight"),
    verify=verify,
    draw=draw,
    metrics=METRICS,
    primary="success",
    train_seeds=range(5000, NUM_SCENES),
    test_seeds=range(200),
    max_steps=MAX_STEPS,
)
