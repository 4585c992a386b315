"""A real engine on a slow computer, whose time a test moves."""

from __future__ import annotations

from genba.runtime.engine import OnnxEngine


class Clock:
    """A clock that a test moves."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class SlowEngine:
    """A real engine; a flow step takes ``flow_step_s`` of ``clock``, foretelling ``candidate_s`` per candidate, all else nothing."""

    def __init__(self, engine: OnnxEngine, clock: Clock, *, flow_step_s: float = 0.0, candidate_s: float = 0.0) -> None:
        self.engine, self.clock = engine, clock
        self.flow_step_s, self.candidate_s = flow_step_s, candidate_s

    def __getattr__(self, name: str):
        return getattr(self.engine, name)

    def velocity(self, noisy, time, memory):
        self.clock.now += self.flow_step_s
        return self.engine.velocity(noisy, time, memory)

    def foretell(self, latents, actions, memory):
        self.clock.now += self.candidate_s * len(latents)
        return self.engine.foretell(latents, actions, memory)
