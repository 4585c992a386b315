"""One environment for all tests of the arm: compiling the scene takes half a second."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from genba.machines.arm.simulator import GripEnv
from genba.spec.action import Action
from genba.spec.observation import observe
from genba.spec.protocols import Policy, Step
from genba.spec.streams import StreamBuffer


@pytest.fixture(scope="session")
def env() -> GripEnv:
    return GripEnv()


@pytest.fixture
def command() -> Callable[[float, float], Action]:
    return lambda force_n, speed_mps: Action(np.array([force_n, speed_mps], np.float32))


def play(env: GripEnv, policy: Policy, seed: int) -> tuple[Step, StreamBuffer]:
    """Run one episode to its end; return the last step and everything sensed."""
    step, buffer = env.reset(seed), StreamBuffer()
    policy.reset(seed)
    buffer.append(step.samples)
    while not (step.terminated or step.truncated):
        observation = observe(env.embodiment, buffer.streams(), step.time_ns)
        step = env.step(policy.act(observation).at(step.time_ns))
        buffer.append(step.samples)
    return step, buffer


@pytest.fixture
def run() -> Callable[[GripEnv, Policy, int], tuple[Step, StreamBuffer]]:
    return play
