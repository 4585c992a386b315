"""The teacher: the fifty scripted policies that come with Meta-World, each for its own task.

They are the package's (MIT licence), unchanged, and see its whole observation. They have no memory, so they label any state that a
student reaches; on the package's own goals they succeed in about 98 % of episodes. Read next: ``tasks``.
"""

from __future__ import annotations

import warnings

import numpy as np

from genba.errors import SpecError
from genba.machines.metaworld.simulator import MetaWorldEnv, package
from genba.spec.action import Action, ActionChunk, single
from genba.spec.observation import Observation
from genba.spec.protocols import Env


class Scripted:
    """Answers what the package's script for this episode's task would do now."""

    name = "scripted"

    def __init__(self, env: Env) -> None:
        """Look into ``env``.

        Raises:
            SpecError: it is another machine's.
        """
        if not isinstance(env, MetaWorldEnv):
            raise SpecError(
                f"metaworld expert: got a {type(env).__name__}, expected a MetaWorldEnv, which it looks into"
            )
        package()
        from metaworld.policies import ENV_POLICY_MAP  # optional (extra `metaworld`)

        self._env = env
        self._scripts = {name: ENV_POLICY_MAP[name]() for name in env.names}

    def reset(self, seed: int) -> None:
        """Nothing to forget: everything is read from the environment."""

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with one action."""
        with warnings.catch_warnings():
            # It warns that environments clip what is greater than 1; so do we.
            warnings.simplefilter("ignore")
            # A copy: the scripts of the two doors change what they are given, and whoever is asked next would see that.
            command = self._scripts[self._env.name].get_action(self._env.raw.copy())
        action = Action(np.clip(command, -1.0, 1.0).astype(np.float32))
        return single(observation.time_ns, self._env.embodiment.control.period_s, action)
