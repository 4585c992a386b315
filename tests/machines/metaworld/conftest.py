"""One environment for all tests of Meta-World: a world takes 0.13 CPU-seconds to make, and is kept."""

from collections.abc import Iterator

import numpy as np
import pytest

from genba.machines.metaworld.expert import Scripted
from genba.machines.metaworld.simulator import MetaWorldEnv
from genba.machines.metaworld.task_list import MT10
from genba.spec.observation import Observation
from genba.spec.protocols import Step


@pytest.fixture(scope="session")
def env() -> Iterator[MetaWorldEnv]:
    made = MetaWorldEnv(MT10)
    yield made
    made.close()


def play(env: MetaWorldEnv, seed: int, *, num_steps: int = 500) -> tuple[list[Step], list[np.ndarray]]:
    """Let the script act; return every step, and the package's own observation at each."""
    expert, steps = Scripted(env), [env.reset(seed)]
    raws = [np.array(env.raw)]
    while not (steps[-1].terminated or steps[-1].truncated) and len(steps) <= num_steps:
        time_ns = steps[-1].time_ns
        steps.append(env.step(expert.act(Observation(env.embodiment.id, time_ns, {})).at(time_ns)))
        raws.append(np.array(env.raw))
    return steps, raws
