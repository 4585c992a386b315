"""One episode: a machine, an executor, and on request a labeller and a recorder.

The world stands still while the policy thinks, as simulators do; the executor decides from measured time what would
have been late. Read next: ``genba.bench.rollout``, which runs many of these.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass

from genba.runtime.control_log import ControlLog
from genba.runtime.executor import Executor
from genba.runtime.recorder import Recorder
from genba.spec.embodiment import Embodiment
from genba.spec.observation import observe
from genba.spec.protocols import Env, Policy
from genba.spec.streams import StreamBuffer
from genba.spec.units import SECOND_NS, to_ns


@dataclass(frozen=True, kw_only=True, slots=True)
class EpisodeRun:
    """How one episode went; its outcome is for a verifier to say."""

    seed: int
    #: control steps taken
    num_steps: int
    terminated: bool
    #: by the environment or by ``max_steps``
    truncated: bool
    #: length in the machine's time, in seconds
    simulated_s: float
    #: time that it took, in seconds
    wall_s: float
    log: ControlLog


def run_episode(
    env: Env,
    executor: Executor,
    *,
    seed: int,
    max_steps: int,
    labeller: Policy | None = None,
    recorder: Recorder | None = None,
) -> EpisodeRun:
    """Run one episode to its end or for ``max_steps`` control steps.

    Args:
        env: the machine in its world.
        executor: drives it.
        seed: of the world and of the policy.
        max_steps: most control steps.
        labeller: says at each control step, also where no decision is due, what it would do; recorded, not executed.
        recorder: collects the episode.
    """
    embodiment, buffer = env.embodiment, StreamBuffer()
    started = time.perf_counter()
    step = env.reset(seed)
    begin_ns = step.time_ns
    executor.reset(seed)
    if labeller is not None:
        labeller.reset(seed)
    if recorder is not None:
        recorder.reset()
    num_steps = 0
    with _no_garbage_collection():
        while True:
            buffer.append(step.samples)
            if recorder is not None:
                recorder.samples(step.samples)
            if step.terminated or step.truncated or num_steps >= max_steps:
                break
            action = None
            labels = labeller is not None and recorder is not None
            if step.decision_due or labels:
                observation = observe(embodiment, buffer.streams(), step.time_ns, env.instruction(), buffer.went_back)
                buffer.forget_before(_oldest_needed_ns(embodiment, step.time_ns))
                if labeller is not None and recorder is not None:
                    recorder.label(step.time_ns, labeller.act(observation).at(step.time_ns))
                if step.decision_due:
                    action = executor.step(observation)
                    if recorder is not None:
                        recorder.action(step.time_ns, action)
            step = env.step(action)
            num_steps += 1
    return EpisodeRun(
        seed=seed,
        num_steps=num_steps,
        terminated=step.terminated,
        truncated=step.truncated or not step.terminated,
        simulated_s=(step.time_ns - begin_ns) / SECOND_NS,
        wall_s=time.perf_counter() - started,
        log=executor.log,
    )


def _oldest_needed_ns(embodiment: Embodiment, time_ns: int) -> dict[str, int]:
    """Return per channel the time before which no later observation looks."""
    # one period more than ``observe`` cuts: jitter
    oldest = {
        channel.name: time_ns - to_ns(channel.history_s + 1.0 / channel.rate_hz)
        for channel in (*embodiment.telemetry, *embodiment.camera, *embodiment.points)
    }
    for name in (*(c.name for c in embodiment.entities), *(r.name for r in embodiment.relation)):
        oldest[name] = time_ns
    return oldest


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep the collector out of an episode: a full collection takes 7-150 ms, which is a missed deadline.

    Only what is young is collected before, for the same reason: episodes can be short.
    """
    was_enabled = gc.isenabled()
    gc.collect(1)
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()
