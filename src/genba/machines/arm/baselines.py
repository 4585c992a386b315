"""What the model is compared with: fixed forces, the scripted reactive controller, and an oracle as the ceiling.

``fixed_<N>n`` commands one force and lifts. ``reactive`` uses the grip law of ``expert`` with friction and load taken
from the pads' noisy forces alone: what a model must match. ``oracle`` knows mass, friction and the shake. Read next:
``tasks``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from genba.machines.arm.expert import LIFTING_MPS, MEMORY_S, grip, truth
from genba.machines.arm.sensing import SENSING
from genba.machines.arm.simulator import CONTROL_PERIOD_S
from genba.spec.action import Action, ActionChunk, single
from genba.spec.observation import Observation
from genba.spec.protocols import Env
from genba.spec.units import SECOND_NS

#: The forces of the sweep, in N; 4 N was the best of them on the test seeds (README.md).
FIXED_FORCES_N = (2, 3, 4, 5, 6, 8, 10, 12, 16)
#: How long the grip closes before a fixed force lifts, in seconds.
CLOSING_S = 0.3
#: The oracle's share over the required force.
ORACLE_MARGIN = 1.2
#: Touch samples averaged for one estimate.
_SAMPLES = 4


class FixedForce:
    """Commands one force per episode, waits until it is there, and lifts."""

    def __init__(self, force_n: Callable[[], float], name: str) -> None:
        self.name = name
        self._force_n = force_n
        self._start_ns: int | None = None

    def reset(self, seed: int) -> None:
        """Forget when the episode began."""
        self._start_ns = None

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with one action."""
        if self._start_ns is None:
            self._start_ns = observation.time_ns
        closed = observation.time_ns - self._start_ns >= CLOSING_S * SECOND_NS
        return _answer(observation, self._force_n(), LIFTING_MPS if closed else 0.0)


class Reactive:
    """The grip law on what the pads feel: friction is the greatest ratio of shear to normal force so far."""

    name = "reactive"

    def __init__(self) -> None:
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Forget the friction and the loads felt."""
        self._friction = 0.3
        self._loads_n: list[float] = []

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with one action."""
        command_n = float(observation.streams["gripper"].values[-1, 0])
        felt = observation.streams.get("touch")
        if felt is None:
            # Without feeling there is nothing to react to: keep what is held, and stay.
            return _answer(observation, command_n, 0.0)
        touch = felt.values[-_SAMPLES:]
        normal_n, shear_n = touch[:, [0, 3]].mean(), touch[:, [1, 4]].mean()
        # Two standard errors off, or the luckiest noise of a light grip would pass for friction.
        doubt_n = 2.0 * SENSING.force_noise_n / np.sqrt(2 * _SAMPLES)
        self._friction = max(self._friction, float((shear_n - doubt_n) / (normal_n + doubt_n)))
        self._loads_n.append(max(float(shear_n), 0.0))
        loads_n = np.array(self._loads_n[-round(MEMORY_S / CONTROL_PERIOD_S) :])
        height_m = float(observation.streams["hand"].values[-1, 0])
        return _answer(observation, *grip(command_n, loads_n, self._friction, height_m))


def oracle(env: Env) -> FixedForce:
    """Return the policy that commands a small margin over the truly required force; the ceiling, no fair competitor."""
    known = truth(env)

    def force_n() -> float:
        assert known.thing is not None, "the environment is reset before the policy acts"
        return ORACLE_MARGIN * known.thing.required_force_n

    return FixedForce(force_n, "oracle")


def _answer(observation: Observation, force_n: float, speed_mps: float) -> ActionChunk:
    action = Action(np.array([force_n, speed_mps], np.float32))
    return single(observation.time_ns, CONTROL_PERIOD_S, action)
