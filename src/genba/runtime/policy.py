"""``EnginePolicy``: a network behind the ``Policy`` contract, with an answer at any time.

Take out what silent sensors say, pack the observation, encode it once, integrate the flow, unpack. It measures what a flow step costs and takes as many
as fit before the deadline, never fewer than one, always ending at the actions: fewer steps are longer steps. It does
not decide what happens to a late answer; that is the ``executor``, to read next.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from genba.errors import BundleError
from genba.runtime.engine import Engine, integrate
from genba.runtime.planning import Plan, choose
from genba.runtime.surprise import SurpriseWatch
from genba.spec.action import ActionChunk
from genba.spec.normalise import Normalizer
from genba.spec.observation import Observation
from genba.spec.twins import TwinWatch

#: weight of the newest measurement in the running cost of a flow step
COST_WEIGHT = 0.2


class EnginePolicy:
    """Acts with an engine.

    Args:
        engine: runs the model.
        name: what results and records call it.
        flow_steps: flow steps to take when there is time for all; None for the engine's.
        noise: ``"zero"`` or ``"gaussian"``; None for the engine's.
        watch: is given every decision, to compare it with what comes; None for nobody.
        plan: how to choose among several chunks by what the world model says comes of them; None for the flow's one answer.
        clock: monotonic seconds; the deadline is a time of this clock.
    """

    #: ``act`` takes a deadline
    anytime = True

    def __init__(
        self,
        engine: Engine,
        *,
        name: str = "model",
        flow_steps: int | None = None,
        noise: str | None = None,
        watch: SurpriseWatch | None = None,
        plan: Plan | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.engine = engine
        self.name = name
        self.flow_steps = engine.flow_steps if flow_steps is None else flow_steps
        self.noise = engine.noise if noise is None else noise
        if self.flow_steps < 1 or self.noise not in ("zero", "gaussian"):
            raise BundleError(
                f"flow_steps, noise: got {self.flow_steps}, {self.noise!r}, expected at least 1 and 'zero' or 'gaussian'"
            )
        if plan is not None and not engine.surprise_scale.size:
            raise BundleError(f"{engine.embodiment.id}: this bundle has no world model to plan with; export it again")
        self.watch, self.plan = watch, plan
        self.embodiment = engine.embodiment
        self._normalizer = Normalizer(engine.embodiment, engine.statistics)
        self._twins = TwinWatch(engine.embodiment)
        self._clock = clock
        self._step_cost_s = 0.0
        self._candidate_cost_s = 0.0
        #: chunks that the last ``act`` chose among
        self.candidates_taken = 1
        #: flow steps taken by the last ``act``
        self.flow_steps_taken = 0
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Seed the noise and take every sensor for alive; what a flow step costs is kept."""
        self._rng = np.random.default_rng(seed)
        self._twins.reset()

    def act(self, observation: Observation, deadline: float | None = None) -> ActionChunk:
        """Answer an observation, with as many flow steps as fit before ``deadline`` (a time of the clock).

        Raises:
            SpecError: the observation does not fit the embodiment.
        """
        self._twins.look(observation)
        packed = self._normalizer.pack(self._twins.without_silent(observation))
        outputs = self.engine.encode(packed)
        if self.watch is not None:
            self.watch.anchor(observation.time_ns, packed, outputs)
        continuous = None
        if self.embodiment.action.continuous:
            normalised = self._flow(outputs, deadline)
            if self.plan is not None:
                normalised = self._plan(self.plan, packed, outputs, normalised, deadline)
            continuous = self._normalizer.unpack_actions(normalised[0], packed["action.base"])
        return ActionChunk(
            observation.time_ns,
            self.embodiment.control.period_s,
            continuous,
            self._choices(outputs, observation),
            surprise=math.nan if self.watch is None else self.watch.score,
        )

    def _flow(self, memory: dict[str, np.ndarray], deadline: float | None) -> np.ndarray:
        control = self.embodiment.control
        shape = (1, control.chunk_length, len(self.embodiment.action.continuous))
        # drawn in either mode, so that the number of draws does not depend on it
        drawn = self._rng.standard_normal(shape).astype(np.float32)
        x = drawn if self.noise == "gaussian" else np.zeros(shape, np.float32)
        left, at = self.flow_steps, 1.0
        self.flow_steps_taken = 0
        while left > 0:
            before = self._clock()
            if deadline is not None and self._step_cost_s > 0:
                left = max(1, min(left, int((deadline - before) / self._step_cost_s)))
            x = x - np.float32(at / left) * self.engine.velocity(x, at, memory)
            at -= at / left
            left -= 1
            self.flow_steps_taken += 1
            cost_s = self._clock() - before
            weight = COST_WEIGHT if self._step_cost_s > 0 else 1.0
            self._step_cost_s += weight * (cost_s - self._step_cost_s)
        return x

    def _plan(
        self,
        plan: Plan,
        packed: dict[str, np.ndarray],
        memory: dict[str, np.ndarray],
        first: np.ndarray,
        deadline: float | None,
    ) -> np.ndarray:
        """Draw further chunks while there is time, and return the best of all as the world model foretells them."""
        chunks = [first]
        while len(chunks) < plan.num_candidates:
            before = self._clock()
            # What is left must do for drawing one more chunk, and for rolling it and all others forward.
            needed_s = plan.flow_steps * self._step_cost_s + self._candidate_cost_s * (len(chunks) + 1)
            if deadline is not None and before + needed_s > deadline:
                break
            x = plan.spread * self._rng.standard_normal(first.shape).astype(np.float32)
            chunks.append(integrate(self.engine, x, memory, plan.flow_steps))
        before = self._clock()
        best = choose(plan, self.engine, self._normalizer, packed, memory, np.concatenate(chunks))
        cost_s = (self._clock() - before) / len(chunks)
        weight = COST_WEIGHT if self._candidate_cost_s > 0 else 1.0
        self._candidate_cost_s += weight * (cost_s - self._candidate_cost_s)
        self.candidates_taken = len(chunks)
        return chunks[best]

    def _choices(self, outputs: dict[str, np.ndarray], observation: Observation) -> dict[str, np.ndarray]:
        """Cut each choice's scores to the rows of the observation."""
        choices: dict[str, np.ndarray] = {}
        for choice in self.embodiment.action.choice:
            scores = outputs[f"choice.{choice.name}"][0]
            num_over = _num_rows(observation, choice.over)
            if choice.kind == "rank":
                choices[choice.name] = scores[:num_over]
            else:
                choices[choice.name] = scores[: _num_rows(observation, choice.for_each), :num_over]
        return choices


def _num_rows(observation: Observation, name: str) -> int:
    stream = observation.streams.get(name)
    return 0 if stream is None or not len(stream) else len(stream.sample(-1))
