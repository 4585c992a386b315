"""The factory's tasks: re-sequence parallel lines when deliveries slip, at four sizes.

``SHORTAGE`` (10x200) and its smaller and larger sisters may be trained on, and so may ``EVENTS``, where six things happen one
after the other. ``SHORTAGE_XL`` and ``TWO_AT_ONCE`` may not: they show what is left at a size and at events that no weights have seen.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from genba.machines.factory import baselines
from genba.machines.factory.expert import SearchExpert
from genba.machines.factory.picture import draw
from genba.machines.factory.simulator import FactoryEnv
from genba.machines.factory.verifier import verify
from genba.spec.embodiment import load_embodiment
from genba.spec.protocols import Env
from genba.spec.task import Metric, Task

_METRICS = (
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
)

_TEST_SEEDS = range(1_000_000, 1_000_060)


def _task(
    task_id: str,
    description: str,
    make_env: Callable[[], Env],
    *,
    max_steps: int,
    train_seeds: range = range(1_000_000),
) -> Task:
    return Task(
        id=task_id,
        description=description,
        embodiment=load_embodiment("factory/parallel-lines@2"),
        make_env=make_env,
        policies={"expert": SearchExpert, **baselines.POLICIES},
        expert="expert",
        baselines=baselines.COMPARED,
        verify=verify,
        draw=draw,
        metrics=_METRICS,
        primary="weighted_tardiness_s",
        train_seeds=train_seeds,
        test_seeds=_TEST_SEEDS,
        max_steps=max_steps,
    )


SHORTAGE = _task(
    "factory/shortage@1",
    "Ten lines, two hundred orders. After a fifth of the horizon the deliveries of two components slip by a third of "
    "it. One decision, within 0.25 s: sequence and line of some 150 orders that are still free.",
    FactoryEnv,
    max_steps=40,
)

SHORTAGE_S = _task(
    "factory/shortage-s@1",
    "Five lines, fifty orders, one component that slips; some 36 orders are free.",
    partial(FactoryEnv, "5x50"),
    max_steps=40,
)

SHORTAGE_L = _task(
    "factory/shortage-l@1",
    "Twenty lines, a thousand orders, four components that slip; some 770 orders are free.",
    partial(FactoryEnv, "20x1000"),
    max_steps=80,
)

SHORTAGE_XL = _task(
    "factory/shortage-xl@1",
    "Thirty lines, two thousand orders, four components that slip; never trained on.",
    partial(FactoryEnv, "30x2000"),
    max_steps=100,
    train_seeds=range(0),
)

EVENTS = _task(
    "factory/events@1",
    "Ten lines, two hundred orders. Six things happen one after the other: a delivery is late, cut, cancelled, a line breaks "
    "down, a rush order comes in, stock goes into quarantine. A decision at each.",
    partial(FactoryEnv, scenario="one_by_one"),
    max_steps=60,
)

TWO_AT_ONCE = _task(
    "factory/two-at-once@1",
    "Ten lines, two hundred orders. Twice, two different things happen at the same moment; never trained on.",
    partial(FactoryEnv, scenario="two_at_once"),
    max_steps=60,
    train_seeds=range(0),
)
