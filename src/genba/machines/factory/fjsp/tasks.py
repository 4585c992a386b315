"""The job shop's task: machines and order of operations, decided at the start and again at every period.

The classic instances are not among its seeds: they are what ``genba factory job-shop`` measures.
"""

from __future__ import annotations

from genba.machines.factory.fjsp import baselines
from genba.machines.factory.fjsp.expert import JobShopExpert
from genba.machines.factory.fjsp.features import EMBODIMENT_ID
from genba.machines.factory.fjsp.picture import draw
from genba.machines.factory.fjsp.simulator import JobShopEnv
from genba.machines.factory.fjsp.verifier import judge
from genba.spec.embodiment import load_embodiment
from genba.spec.task import Metric, Task

JOB_SHOP = Task(
    id="factory/job-shop@1",
    description="Flexible job shops of 8 to 20 jobs on 4 to 15 machines: which operation where and when, decided at the start and "
    "again after every four mean operations, each within 0.25 s.",
    embodiment=load_embodiment(EMBODIMENT_ID),
    make_env=JobShopEnv,
    policies={"expert": JobShopExpert, **baselines.POLICIES},
    expert="expert",
    baselines=baselines.COMPARED,
    verify=judge,
    draw=draw,
    metrics=(
        Metric(
            name="makespan",
            unit="count",
            meaning="When the last operation ends, in the instance's unit.",
            better="lower",
        ),
        Metric(
            name="share_of_best_rule",
            unit="1",
            meaning="Makespan over that of the best of four dispatching rules; success is at most 0.95, or the lower bound.",
            better="lower",
        ),
        Metric(name="over_lower_bound", unit="1", meaning="Makespan over a lower bound of it.", better="lower"),
    ),
    primary="share_of_best_rule",
    train_seeds=range(1_000_000),
    test_seeds=range(1_000_000, 1_000_060),
    # the longest of a thousand training seeds needs 25 under the worst rule
    # of a thousand training seeds the longest takes 20 under the worst rule
    max_steps=80,
)
