"""A task: a versioned benchmark problem on one machine, with frozen seeds, baselines and an independent verifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from genba.spec.caution import Caution
from genba.spec.embodiment import Embodiment
from genba.spec.protocols import Env, Guard, Policy, Router

#: what a world model foretells of several action chunks (``runtime.planning.roll_forward``), and their actions
#: ``[candidate, chunk, dimension]`` -> how good each is, float64 ``[candidate]``
Objective = Callable[[Mapping[str, np.ndarray], np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """Something to look at: an image or an animation of a machine at work."""

    title: str
    caption: str
    #: ``image/png``, ``image/gif`` or ``image/svg+xml``
    media_type: str
    data: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One number of an outcome."""

    name: str
    unit: str
    #: one sentence
    meaning: str
    better: Literal["higher", "lower", "neither"] = "neither"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Task:
    """A benchmark problem.

    ``verify`` computes the outcome from the ground-truth trace by code that shares nothing with the simulator's own
    bookkeeping. An outcome always has ``success`` (0 or 1) and every name of ``metrics``.
    """

    #: ``"machine/problem@version"``
    id: str
    description: str
    embodiment: Embodiment
    make_env: Callable[[], Env]
    #: name -> makes the policy for an environment of ``make_env``; experts may look into it, baselines may not
    policies: Mapping[str, Callable[[Any], Policy]]
    #: which of ``policies`` teaches
    expert: str
    #: which of ``policies`` the model is compared with by default, in the order of the table
    baselines: tuple[str, ...]
    #: trace -> metric name -> value
    verify: Callable[[Mapping[str, np.ndarray]], dict[str, float]]
    #: traces -> pictures for the report, given the trace of one episode and the name of who acted
    draw: Callable[[Mapping[str, np.ndarray], str], list[Picture]]
    metrics: tuple[Metric, ...]
    #: the metric that ranks policies
    primary: str
    #: seeds that may be trained on (none where the task measures what no training may see), and frozen ones that may not
    train_seeds: range
    test_seeds: range
    #: most control steps of an episode
    max_steps: int
    #: when a surprised machine holds back; None where that is not known
    caution: Caution | None = None
    #: what a policy that plans tries to reach; None where nobody wrote it down
    objective: Objective | None = None
    #: makes the machine's own guard, which comes before the limits of its facts; None where there is none
    make_guard: Callable[[], Guard] | None = None
    #: makes what finds the machine a way round what blocks its route; None where there is none
    make_router: Callable[[], Router] | None = None

    def __post_init__(self) -> None:
        assert set(self.baselines) <= set(self.policies) and self.expert in self.policies, self.id
        assert not set(self.train_seeds) & set(self.test_seeds), f"{self.id}: a test seed may be trained on"
        assert self.primary == "success" or self.primary in {metric.name for metric in self.metrics}, self.id
