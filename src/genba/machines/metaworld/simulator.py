"""Meta-World's own environments behind ``Env``: a seed says which task it is and where its things and its goal are.

Physics, reset, observation, reward and ``success`` are the package's (MIT licence, ``metaworld==3.1.1``), unchanged; here they
become streams and steps. Goals are drawn from the package's own distribution by a generator seeded with the episode's seed, so a
seed is one world for ever. An episode ends at the first success, as in the package's evaluation, or after 500 control steps.
Read next: ``camera``, ``expert``, ``verifier``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from genba.errors import SimulatorError
from genba.machines.metaworld.task_list import INSTRUCTIONS, MT50
from genba.spec.action import Action
from genba.spec.conformance import commanded
from genba.spec.embodiment import load_embodiment
from genba.spec.protocols import Step
from genba.spec.streams import Stream
from genba.spec.units import to_ns

#: Most control steps of an episode: the package's ``max_path_length``.
MAX_STEPS = 500
STATE, CAMERA = "metaworld/sawyer@1", "metaworld/sawyer-camera@1"
#: Things are seen as far as this from the table's origin along each axis, in metres; what falls off the table falls for ever.
SEEN_M = 3.0


def package() -> Any:
    """Return the module ``metaworld``.

    Raises:
        SimulatorError: it is not installed.
    """
    try:
        import metaworld  # optional (extra `metaworld`): tasks are listed without it
    except ImportError as error:
        raise SimulatorError(
            f"metaworld: cannot be imported ({error}); install it with: pip install 'genba[metaworld]'"
        ) from error
    return metaworld


def scene(observation: np.ndarray) -> np.ndarray:
    """Return the channel ``scene``'s row for one of the package's observations.

    Args:
        observation: ``[39]`` or longer: hand and objects now (18), one step before (18), goal (3).

    Returns:
        float32 ``[21]``: hand (4), first object (7), second object (7, NaN where all 0: there is none), goal (3, NaN where all 0:
        hidden). What is farther than ``SEEN_M`` is seen at that distance.
    """
    row = np.concatenate([observation[:18], observation[36:39]]).astype(np.float32).clip(-SEEN_M, SEEN_M)
    for part in (slice(11, 18), slice(18, 21)):
        if not row[part].any():
            row[part] = np.nan
    return row


class MetaWorldEnv:
    """One Sawyer arm and some of the fifty tasks; see ``spec.protocols.Env``.

    Args:
        names: the tasks; seed ``s`` is one of task ``names[s % len(names)]``.
        embodiment_id: ``STATE`` or ``CAMERA``: what is sensed.

    Raises:
        SimulatorError: Meta-World is not installed.
    """

    def __init__(self, names: tuple[str, ...], embodiment_id: str = STATE) -> None:
        self.embodiment = load_embodiment(embodiment_id)
        self.names = names
        self._classes = package().env_dict.ALL_V3_ENVIRONMENTS
        # About 30 MB and 0.13 CPU-seconds each: made when first needed, then kept.
        self._worlds: dict[str, Any] = {}
        self._cameras: dict[str, Any] = {}
        self.name = ""
        #: the package's own observation ``[39]``, for an expert; a policy that is compared must not look at it
        self.raw = np.zeros(0)
        self._ended = True

    def reset(self, seed: int) -> Step:
        """Put a task's things where the seed says."""
        self.name, self._seed = self.names[seed % len(self.names)], seed
        if self.name not in self._worlds:
            self._worlds[self.name] = self._make(self.name)
        world = self._worlds[self.name]
        world.seed(seed)
        self.raw, _ = world.reset()
        self._control_step = 0
        self._log: dict[str, list[Any]] = {"success": [], "reward": [], "action": []}
        self._ended = False
        return Step(0, self._samples())

    def step(self, action: Action | None) -> Step:
        """Move the hand by one step and close or open the gripper for 12.5 ms.

        Raises:
            SpecError: no action, or one that is not four finite numbers.
            SimulatorError: not reset, or the episode has ended.
        """
        if self._ended:
            raise SimulatorError("metaworld: step: no episode is under way; call reset(seed) first")
        continuous = commanded(self.embodiment, action, "three steps and the grasp")
        command = np.clip(continuous, -1.0, 1.0).astype(np.float32)
        self.raw, reward, _, truncated, info = self._worlds[self.name].step(command)
        self._control_step += 1
        for name, value in (("success", bool(info["success"])), ("reward", float(reward)), ("action", command)):
            self._log[name].append(value)
        succeeded = bool(info["success"])
        self._ended = succeeded or bool(truncated)
        return Step(self._time_ns, self._samples(), terminated=succeeded, truncated=bool(truncated) and not succeeded)

    def trace(self) -> dict[str, np.ndarray]:
        """Return the episode so far in the package's own words: arrays named in ``verifier``.

        Raises:
            SimulatorError: not reset.
        """
        if not self.name:
            raise SimulatorError("metaworld: trace: no episode has begun; call reset(seed) first")
        return {
            "task": np.array(MT50.index(self.name)),
            "seed": np.array(self._seed),
            "success": np.array(self._log["success"], np.bool_),
            "reward": np.array(self._log["reward"], np.float64),
            "action": np.array(self._log["action"], np.float32).reshape(-1, 4),
        }

    def instruction(self) -> str:
        """Return what the task of this episode wants, in words."""
        return INSTRUCTIONS[self.name] if self.name else ""

    def close(self) -> None:
        """Release the worlds and their renderers."""
        for camera in self._cameras.values():
            camera.close()
        for world in self._worlds.values():
            world.close()
        self._cameras, self._worlds, self._ended = {}, {}, True

    def picture(self, height: int, width: int) -> np.ndarray:
        """Return what the camera ``corner2`` sees now: uint8 ``[height, width, 3]``.

        Raises:
            SimulatorError: no renderer could start.
        """
        from genba.machines.metaworld.camera import Camera  # needs mujoco (extra `metaworld`); tasks are listed without

        camera = self._cameras.get(self.name)
        if camera is None or camera.shape != (height, width):
            if camera is not None:
                camera.close()
            camera = self._cameras[self.name] = Camera(self._worlds[self.name], height, width)
        return camera.frame()

    @property
    def _time_ns(self) -> int:
        return self._control_step * to_ns(self.embodiment.control.period_s)

    def _samples(self) -> dict[str, Stream]:
        times_ns, row = np.array([self._time_ns], np.int64), scene(self.raw)
        if not self.embodiment.camera:
            return {"scene": Stream(times_ns, row[None])}
        eye = self.embodiment.camera[0]
        return {
            "hand": Stream(times_ns, row[None, :4]),
            eye.name: Stream(times_ns, self.picture(eye.height, eye.width)[None]),
        }

    def _make(self, name: str) -> Any:
        world = self._classes[name]()
        # What the package's `set_task` sets for a task of MT10 and MT50, but for goals: those come from the seed, not from a list
        # of fifty that is drawn for half a second.
        world._partially_observable = False
        world.__dict__.pop("sawyer_observation_space", None)
        world._set_task_called = True
        world._freeze_rand_vec, world.seeded_rand_vec = False, True
        return world
