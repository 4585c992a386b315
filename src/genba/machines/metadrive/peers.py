"""MetaDrive's own two drivers: the authors' trained network and their rule, run by the package's code.

``PpoExpert`` is the network whose weights come with the package (275 numbers in, trained with PPO by its authors), by its mean;
``IdmPolicy`` is the package's ``IDMPolicy``, which also drives the traffic. Both look into the package's objects themselves. Nothing of
either is written anew here. Read next: ``tasks``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from genba.machines.metadrive.simulator import MetaDriveEnv, package
from genba.spec.action import Action, ActionChunk, single
from genba.spec.observation import Observation


class PpoExpert:
    """The authors' network, without the noise that it was trained with."""

    name = "ppo_expert"

    def __init__(self, env: MetaDriveEnv) -> None:
        package()
        from metadrive.examples.ppo_expert import numpy_expert  # optional (extra `metadrive`)

        self._env, self._code = env, numpy_expert

    def reset(self, seed: int) -> None:
        """Forget the world that its observation was made for: the package keeps it for the process, whatever world comes."""
        self._code._expert_weights = self._code._expert_observation = None

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with one action."""
        command = self._code.expert(self._env.world.agent, deterministic=True)
        return _answer(self._env, observation, command)


class IdmPolicy:
    """The package's rule: follow a lane, keep a gap, change lanes for the route or to overtake."""

    name = "idm_policy"

    def __init__(self, env: MetaDriveEnv) -> None:
        package()
        self._env, self._driver, self._seed = env, None, 0

    def reset(self, seed: int) -> None:
        """Forget the last drive."""
        self._driver, self._seed = None, seed

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with one action."""
        if self._driver is None:
            from metadrive.policy.idm_policy import IDMPolicy  # optional (extra `metadrive`)

            self._driver = IDMPolicy(self._env.world.agent, random_seed=self._seed)
        return _answer(self._env, observation, self._driver.act())


def _answer(env: MetaDriveEnv, observation: Observation, command: Any) -> ActionChunk:
    action = Action(np.clip(np.asarray(command, np.float32), -1.0, 1.0))
    return single(observation.time_ns, env.embodiment.control.period_s, action)
