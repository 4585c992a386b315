"""Meta-World's benchmarks as tasks: MT10, MT50, ML45's two halves, and MT10 and MT50 seen by a camera.

Seeds go round the tasks of a benchmark, so a run over the first n of them meets every task alike. ``metaworld/ml45-test@1`` has no
train seeds: it measures the five tasks unseen. Adapting to them is training on ``metaworld/ml45-adapt@1``, whose worlds are
others than those both are measured on. Goals are shown in all of them, also in ML45's, which meta-learning hides. What is trained
on MT50 has seen ML45's five. Read next: ``official``, the package's own evaluation.
"""

from __future__ import annotations

from genba.machines.metaworld import task_list as names
from genba.machines.metaworld.baselines import Still
from genba.machines.metaworld.expert import Scripted
from genba.machines.metaworld.picture import draw
from genba.machines.metaworld.simulator import CAMERA, MAX_STEPS, STATE, MetaWorldEnv
from genba.machines.metaworld.verifier import METRICS, verify
from genba.spec.embodiment import load_embodiment
from genba.spec.task import Task


def _task(
    name: str, description: str, tasks: tuple[str, ...], embodiment_id: str = STATE, *, is_trained: bool = True
) -> Task:
    return Task(
        id=f"metaworld/{name}@1",
        description=description,
        embodiment=load_embodiment(embodiment_id),
        make_env=lambda: MetaWorldEnv(tasks, embodiment_id),
        policies={"scripted": Scripted, "still": Still},
        expert="scripted",
        baselines=("still",),
        verify=verify,
        draw=draw,
        metrics=METRICS,
        primary="success",
        train_seeds=range(1_000_000 if is_trained else 0),
        # 50 episodes a task with ten tasks, 10 with fifty: what published scores count.
        test_seeds=range(1_000_000, 1_000_500),
        max_steps=MAX_STEPS,
    )


MT10 = _task("mt10", "Ten of Meta-World's tasks, told apart by their instruction; full state.", names.MT10)
MT50 = _task("mt50", "All fifty of Meta-World's tasks, told apart by their instruction; full state.", names.MT50)
ML45 = _task("ml45", "The 45 tasks that ML45 trains on; full state with goals.", names.ML45_TRAIN)
ML45_ADAPT = _task("ml45-adapt", "The five tasks that ML45 holds back, to adapt to.", names.ML45_TEST)
ML45_TEST = _task("ml45-test", "The five tasks that ML45 holds back, never seen.", names.ML45_TEST, is_trained=False)
MT10_CAMERA = _task("mt10-camera", "MT10 seen by one camera, with the hand's own position.", names.MT10, CAMERA)
MT50_CAMERA = _task("mt50-camera", "MT50 seen by one camera, with the hand's own position.", names.MT50, CAMERA)
