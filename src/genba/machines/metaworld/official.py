"""Meta-World's own evaluation of any policy of this project: ``metaworld.evaluation.evaluation``, its goals, its count.

The package drives all tasks of a benchmark at once, each with its own environment, and asks for actions as arrays. ``Agent``
stands between: it keeps what a machine would have sensed of each, shows it to a policy, and hands back the actions. No code of the
evaluation is repeated here. Read next: ``perf/meta_world.py``, which calls it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from genba.errors import ConfigError, nearest
from genba.machines.metaworld.simulator import STATE, package, scene
from genba.machines.metaworld.task_list import INSTRUCTIONS, MT10, MT50
from genba.spec.action import ActionChunk
from genba.spec.embodiment import load_embodiment
from genba.spec.observation import observe
from genba.spec.protocols import Policy
from genba.spec.streams import Stream, StreamBuffer
from genba.spec.units import to_ns

#: The benchmarks that the package has a name for.
BENCHMARKS = {MT10: "MT10", MT50: "MT50"}


class Agent:
    """Genba's policies as the package's evaluation asks for an agent.

    Args:
        names: the task of each environment.
        policies: who acts in each.
        num_episodes: how many episodes of each environment count: when it had so many, its policy is not asked any more while the
            package waits for the others.
    """

    def __init__(self, names: Sequence[str], policies: Sequence[Policy], num_episodes: float = math.inf) -> None:
        self._embodiment = load_embodiment(STATE)
        self._history_ns = to_ns(self._embodiment.telemetry[0].history_s)
        self._names, self._policies, self._num_episodes = names, policies, num_episodes
        self._begun = [0] * len(names)
        self._steps = [0] * len(names)
        self._buffers = [StreamBuffer() for _ in names]
        self._chunks: list[ActionChunk | None] = [None] * len(names)

    def reset(self, env_mask: np.ndarray) -> None:
        """Begin a new episode where ``env_mask`` (bool ``[environment]``) says so."""
        for i in np.flatnonzero(env_mask).tolist():
            self._policies[i].reset(self._begun[i])
            self._begun[i] += 1
            self._steps[i], self._buffers[i], self._chunks[i] = 0, StreamBuffer(), None

    def eval_action(self, observations: np.ndarray) -> np.ndarray:
        """Answer the package's observations ``[environment, 39 or more]`` with actions float32 ``[environment, 4]``."""
        actions = np.zeros((len(observations), 4), np.float32)
        for i, row in enumerate(observations):
            if self._begun[i] <= self._num_episodes:
                actions[i] = self._act(i, row)
        return actions

    def _act(self, i: int, row: np.ndarray) -> np.ndarray:
        control = self._embodiment.control
        period_ns = to_ns(control.period_s)
        time_ns = self._steps[i] * period_ns
        self._buffers[i].append({"scene": Stream(np.array([time_ns], np.int64), scene(row)[None])})
        self._steps[i] += 1
        chunk = self._chunks[i]
        if chunk is None or time_ns >= chunk.time_ns + control.execute_length * period_ns or chunk.at(time_ns) is None:
            streams = self._buffers[i].streams()
            chunk = self._policies[i].act(observe(self._embodiment, streams, time_ns, INSTRUCTIONS[self._names[i]]))
            self._chunks[i] = chunk
            self._buffers[i].forget_before({"scene": time_ns - self._history_ns})
        action = chunk.at(time_ns)
        assert action is not None and action.continuous is not None
        return np.clip(action.continuous, -1.0, 1.0)


def evaluate(
    make_policy: Callable[[str], Policy], names: tuple[str, ...], *, seed: int, num_episodes: int
) -> dict[str, int]:
    """Let the package evaluate policies.

    Args:
        make_policy: task name -> who acts in it.
        names: the tasks; ``MT10`` and ``MT50`` are the package's benchmarks of that name.
        seed: of the package's fifty goals a task and of which come when; at least 1, as the package takes 0 for none.
        num_episodes: of each task.

    Returns:
        task name -> successful episodes.

    Raises:
        ConfigError: no task of that name, or a seed below 1.
        SimulatorError: Meta-World is not installed.
    """
    for name in names:
        if name not in INSTRUCTIONS:
            raise ConfigError(f"names: no task {name!r}{nearest(name, INSTRUCTIONS)}")
    if seed < 1:
        raise ConfigError(f"seed: got {seed}, expected at least 1: the package takes 0 for no seed")
    package()
    import gymnasium  # optional (extra `metaworld`), as is what is imported next
    from metaworld.evaluation import evaluation

    facts = {} if names in BENCHMARKS else {"envs_list": list(names)}
    with warnings.catch_warnings():
        # gymnasium warns that the package's bounds are float64 and its spaces float32
        warnings.simplefilter("ignore")
        envs: Any = gymnasium.make_vec(
            f"Meta-World/{BENCHMARKS.get(names, 'custom-mt-envs')}",
            vector_strategy="sync",
            seed=seed,
            use_one_hot=True,
            terminate_on_success=True,
            **facts,
        )
    try:
        agent = Agent(names, [make_policy(name) for name in names], num_episodes)
        _, _, shares, _ = evaluation(agent, envs, num_episodes=num_episodes)
    finally:
        envs.close()
    return {name: round(shares[name] * num_episodes) for name in names}
