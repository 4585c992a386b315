"""The teacher of ``arm/grip@1``, and the grip law that it shares with the reactive baseline.

The law: command a margin over the force that friction needs for the greatest load of the last second, rise slowly until
the load no longer grows, then lift. The teacher knows the true friction and load; the reactive baseline in
``baselines`` estimates both from the pads. While pads slide, load / normal force *is* the friction, so what the teacher
knows beyond a policy has shown in the observation before it matters. Read next: ``baselines``.
"""

from __future__ import annotations

import numpy as np

from genba.errors import SpecError
from genba.machines.arm.simulator import CONTROL_PERIOD_S, LIGHT_TOUCH_N, GripEnv
from genba.spec.action import Action, ActionChunk, single
from genba.spec.observation import Observation
from genba.spec.protocols import Env

#: Grip force over the force that only just holds; a crush load is at least 1.5 times what the heaviest moment needs. A student
#: that was taught 1.25 held 1.251 times the force required.
MARGIN = 1.24
#: Greatest relative rise and fall of the grip force in one control step, and how far over the wanted force is left alone.
#: Rise and fall are alike: who imitates them without knowing the wanted force exactly settles where both are as likely.
#: With 1.06 and 0.98 a student that had learnt their mean held 1.7 times the force required and crushed a third.
RISE, FALL, SLACK = 1.05, 1 / 1.05, 1.04
#: Hand speeds while friction and weight show, and while lifting, in m/s.
LOADING_MPS, LIFTING_MPS = 0.004, 0.10
#: The hand has let the pads feel something after this height, and is lifting for good after that one, in metres.
FELT_M, COMMITTED_M = 0.0015, 0.020
#: How long a load is remembered, in seconds: three periods of the shake; and over how long it must have stayed level.
MEMORY_S, LEVEL_S = 1.0, 0.12


def grip(command_n: float, load_n: np.ndarray, friction: float, height_m: float) -> tuple[float, float]:
    """Return the next grip force (N) and hand speed (m/s).

    Args:
        command_n: the grip force commanded last, N per pad.
        load_n: what one pad carried at each control step of the last ``MEMORY_S``, newest last, N.
        friction: Coulomb coefficient between pad and object.
        height_m: how far the hand has risen.
    """
    wanted_n = max(MARGIN * float(load_n.max()) / friction, LIGHT_TOUCH_N)
    if command_n < wanted_n:
        force_n = min(wanted_n, command_n * RISE)
    elif command_n > SLACK * wanted_n:
        force_n = max(wanted_n, command_n * FALL)
    else:
        force_n = command_n
    before_n = load_n[-1 - min(round(LEVEL_S / CONTROL_PERIOD_S), len(load_n) - 1)]
    carried = height_m > FELT_M and force_n >= 0.97 * wanted_n and load_n[-1] < 1.04 * before_n + 0.02
    return force_n, LIFTING_MPS if carried or height_m > COMMITTED_M else LOADING_MPS


def truth(env: Env) -> GripEnv:
    """Return ``env`` as the grip environment whose truth an expert may see.

    Raises:
        SpecError: it is another machine's.
    """
    if not isinstance(env, GripEnv):
        raise SpecError(f"arm expert: got a {type(env).__name__}, expected a GripEnv, whose truth it looks into")
    return env


class GripExpert:
    """Answers what to do now in any state, from the environment's truth; it has no memory of its own."""

    name = "expert"

    def __init__(self, env: Env) -> None:
        self._env = truth(env)

    def reset(self, seed: int) -> None:
        """Nothing to forget: everything is read from the environment."""

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with one action."""
        env = self._env
        assert env.thing is not None
        load_n = np.maximum(env.recent_load_n(MEMORY_S), 0.0)
        force_n, speed_mps = grip(env.grip_command_n, load_n, env.thing.friction, env.hand_height_m)
        action = Action(np.array([force_n, speed_mps], np.float32))
        return single(observation.time_ns, CONTROL_PERIOD_S, action)
