"""One world for all tests of MetaDrive: it takes about two CPU-seconds to start, and a process may have one."""

from collections.abc import Iterator

import numpy as np
import pytest

from genba.errors import SimulatorError
from genba.machines.metadrive.simulator import MetaDriveEnv
from genba.spec.observation import Observation
from genba.spec.protocols import Policy, Step


@pytest.fixture(scope="session")
def env() -> Iterator[MetaDriveEnv]:
    try:
        made = MetaDriveEnv()
    except SimulatorError as error:
        pytest.skip(str(error))
    yield made
    made.close()


def play(env: MetaDriveEnv, policy: Policy, seed: int, *, num_steps: int = 1000) -> list[Step]:
    """Let a policy that needs no observation act; return every step."""
    steps = [env.reset(seed)]
    policy.reset(seed)
    while not (steps[-1].terminated or steps[-1].truncated) and len(steps) <= num_steps:
        time_ns = steps[-1].time_ns
        steps.append(env.step(policy.act(Observation(env.embodiment.id, time_ns, {})).at(time_ns)))
    return steps


def in_car(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Return points ``[n, 2]`` of the world as the car at ``pose`` (x, y, heading) has them: ahead, left."""
    c, s = np.cos(pose[2]), np.sin(pose[2])
    return (points - pose[:2]) @ np.array([[c, -s], [s, c]])
