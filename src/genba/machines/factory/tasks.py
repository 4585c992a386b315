"""The factory's task: re-sequence ten lines when deliveries of two components slip."""

from __future__ import annotations

from genba.machines.factory import baselines
from genba.machines.factory.expert import SearchExpert
from genba.machines.factory.picture import draw
from genba.machines.factory.simulator import FactoryEnv
from genba.machines.factory.verifier import verify
from genba.spec.embodiment import load_embodiment
from genba.spec.task import Metric, Task

SHORTAGE = Task(
    id="factory/shortage@1",
    description=(
        "Ten lines, two hundred orders. After a fifth of the horizon the deliveries of two components slip by a third of "
        "it. One decision, within 0.25 s: sequence and line of some 150 orders that are still free."
    ),
    embodiment=load_embodiment("factory/parallel-lines@1"),
    make_env=FactoryEnv,
    policies={
        "expert": SearchExpert,
        "right_shift": baselines.right_shift,
        "fifo": baselines.fifo,
        "edd": baselines.edd,
        "wspt": baselines.wspt,
        "atc": baselines.atc,
        "atc_best_of_20": baselines.atc_best_of_20,
        "search_in_deadline": baselines.search_in_deadline,
    },
    expert="expert",
    baselines=("right_shift", "fifo", "edd", "wspt", "atc", "atc_best_of_20", "search_in_deadline"),
    verify=verify,
    draw=draw,
    metrics=(
        Metric(
            name="weighted_tardiness_s",
            unit="s",
            meaning="Sum over orders of weight times time after the due date.",
            better="lower",
        ),
        Metric(
            name="share_of_doing_nothing",
            unit="1",
            meaning="Weighted tardiness over that of keeping the old plan; success is at most a third.",
            better="lower",
        ),
        Metric(name="late_orders", unit="count", meaning="Orders that end after their due date.", better="lower"),
        Metric(name="makespan_s", unit="s", meaning="When the last order ends.", better="neither"),
    ),
    primary="weighted_tardiness_s",
    train_seeds=range(1_000_000),
    test_seeds=range(1_000_000, 1_000_030),
    max_steps=40,
)
