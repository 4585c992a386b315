"""The benchmark problems of the arm: ``arm/grip@1`` and its conditions that no training sees.

A condition has no train seeds:
nothing collects demonstrations in it, and training refuses episodes that bear its id (``registry.HELD_OUT_TASKS``). All
meet the same 300 frozen boxes. The parts stand in this folder's other files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from genba.machines.arm.baselines import FIXED_FORCES_N, FixedForce, Reactive, oracle
from genba.machines.arm.conditions import CONDITIONS
from genba.machines.arm.expert import GripExpert
from genba.machines.arm.picture import draw
from genba.machines.arm.simulator import MAX_STEPS, GripEnv
from genba.machines.arm.verifier import METRICS, verify
from genba.spec.embodiment import load_embodiment
from genba.spec.protocols import Env, Policy
from genba.spec.task import Task


def _fixed(force_n: int) -> Callable[[Env], Policy]:
    return lambda env: FixedForce(lambda: float(force_n), f"fixed_{force_n}n")


_FIXED = {f"fixed_{force_n}n": _fixed(force_n) for force_n in FIXED_FORCES_N}

GRIP = Task(
    id="arm/grip@1",
    description="Lift a box of unknown mass, friction and strength, keep it while shaken, do not crush it.",
    embodiment=load_embodiment("arm/panda-grip@1"),
    make_env=GripEnv,
    policies={
        "expert": GripExpert,
        "reactive": lambda env: Reactive(),
        "oracle": oracle,
        **_FIXED,
    },
    expert="expert",
    baselines=("fixed_4n", "reactive"),
    verify=verify,
    draw=draw,
    metrics=METRICS,
    primary="success",
    train_seeds=range(1_000_000),
    test_seeds=range(1_000_000, 1_000_300),
    max_steps=MAX_STEPS,
)


def _under(name: str) -> Task:
    """Return ``arm/grip@1`` under a condition: nothing of it may be trained on."""
    condition = CONDITIONS[name]
    return replace(
        GRIP,
        id=f"arm/grip-{name}@1",
        description=condition.description,
        make_env=lambda: GripEnv(condition),
        baselines=(*_FIXED, "reactive"),
        train_seeds=range(0),
    )


HEAVY_FILLING = _under("heavy-filling")
SLIPPERY = _under("slippery")
CYLINDER = _under("cylinder")
OFF_CENTRE = _under("off-centre")
NOISY = _under("noisy")
DEAD_PAD = _under("dead-pad")
SLOW_GRIPPER = _under("slow-gripper")
KNOCK = _under("knock")
