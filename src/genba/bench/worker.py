"""A worker: one process with its own machine and policy, ``python -m genba.bench.worker FD``.

It is told a ``Job`` once and then seeds one by one, and sends back what happened. It imports the task and, for a
bundle, onnxruntime; neither torch nor the program that started it. When its parent is gone, it ends. Read next:
``pool``, the parent's side.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Literal

import numpy as np

from genba import registry
from genba.bench.masked import Masked
from genba.bench.perturb import Perturbed
from genba.errors import PassportError
from genba.guard import for_embodiment
from genba.runtime.bundle import Bundle, is_bundle
from genba.runtime.clearance import Clearance, clear
from genba.runtime.engine import OnnxEngine
from genba.runtime.executor import Executor
from genba.runtime.loop import EpisodeRun, run_episode
from genba.runtime.planning import Plan
from genba.runtime.policy import EnginePolicy
from genba.runtime.recorder import Recorder
from genba.runtime.surprise import SurpriseWatch
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.protocols import Env, Policy
from genba.spec.task import Task
from genba.trust.machine import MachineTrust

Surprise = Literal["off", "watch", "heed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What a worker does with each seed."""

    #: a registered task id, or ``"module:attribute"``
    task: str
    #: the name of one of the task's policies, or a bundle's path
    policy: str
    #: what results and records call the policy
    policy_name: str
    #: the name of one of the task's policies that labels every decision, or empty
    labeller: str = ""
    #: noise on what is executed (not on what is labelled), as a share of each action's range; 0 for none
    perturb: float = 0.0
    #: episode ids are ``"<task>/<tag>/<seed>"``; empty to record nothing
    record_as: str = ""
    #: owner, dataset, site, jurisdiction and agreement of what is recorded; what is not given is as ``EpisodeMetadata`` has it
    provenance: Mapping[str, Any] = field(default_factory=dict)
    #: seeds whose ground-truth trace comes back
    keep: frozenset[int] = frozenset()
    #: whether a late answer is treated as late
    enforce_deadline: bool = False
    #: flow steps and noise of a bundle's policy; None for what the bundle says
    flow_steps: int | None = None
    noise: str | None = None
    #: chunks that a bundle's policy chooses among by its world model; 1 for the flow's one answer
    candidates: int = 1
    #: what a bundle's world model is asked of what came: nothing, how surprising it is, or to hold back where it is
    surprise: Surprise = "off"
    #: channels that the policy is not shown
    masked: tuple[str, ...] = ()
    #: whether the machine's own guard and its way round are on, where the task has them
    guard: bool = False
    way_round: bool = False
    #: what was found of the bundle's passport before, in words, for the record; empty where there is no bundle
    passport: str = ""
    #: a machine's trust folder, which decides whether the bundle may act; empty where nothing is checked
    trust: str = ""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Done:
    """What came of one seed."""

    seed: int
    #: what the task's verifier found
    outcome: dict[str, float]
    run: EpisodeRun
    episode: Episode | None = None
    trace: dict[str, np.ndarray] | None = None


def find_task(name: str) -> Task:
    """Return a task by its registered id or by ``"module:attribute"``."""
    return registry.resolve(name) if ":" in name else registry.task(name)


def make_policy(job: Job, task: Task, env: Env) -> tuple[Policy, Clearance | None]:
    """Return the policy that a job names, and its clearance where that is checked.

    Raises:
        BundleError: a bundle is damaged, for another machine, or computes something else here.
        GenbaError: a bundle may not act here (``clearance.clear``).
    """
    if job.policy in task.policies:
        return task.policies[job.policy](env), None
    bundle = Bundle.read(job.policy, task.embodiment)
    # Recorded by whoever started the job, once, not by each of its workers.
    clearance = clear(bundle, MachineTrust(job.trust), record=False) if job.trust else None
    engine = OnnxEngine(bundle)
    watch = None
    if job.surprise != "off":
        watch = SurpriseWatch(engine, task.caution if job.surprise == "heed" else None)
    plan = None
    if job.candidates > 1:
        assert task.objective is not None, task.id
        plan = Plan(objective=task.objective, num_candidates=job.candidates)
    policy = EnginePolicy(
        engine, name=job.policy_name, flow_steps=job.flow_steps, noise=job.noise, watch=watch, plan=plan
    )
    return policy, clearance


def is_policy(task: Task, policy: str) -> bool:
    """Say whether ``policy`` names one of the task's policies or a bundle."""
    return policy in task.policies or is_bundle(policy)


class Runner:
    """Runs a job's seeds on one machine, one after the other; ``recorder`` records them in place of the usual one."""

    def __init__(self, job: Job, *, recorder: Recorder | None = None) -> None:
        self.job = job
        self.task = find_task(job.task)
        self.env = self.task.make_env()
        policy, self.clearance = make_policy(job, self.task, self.env)
        self._watched = contextlib.ExitStack()
        if self.clearance is not None:
            self._watched.enter_context(self.clearance)
        actor = Perturbed(policy, self.task.embodiment, job.perturb) if job.perturb else policy
        if job.masked:
            actor = Masked(actor, self.task.embodiment, job.masked)
        make_guard, make_router = self.task.make_guard, self.task.make_router
        self._executor = Executor(
            actor,
            self.task.embodiment,
            guard=for_embodiment(self.task.embodiment, make_guard() if job.guard and make_guard else None),
            router=make_router() if job.way_round and make_router else None,
            enforce_deadline=job.enforce_deadline,
            clearance=self.clearance,
            watch=getattr(policy, "watch", None),
        )
        # who acts and labels is asked once: an expert's plan may have taken a long search
        teacher = policy if job.labeller == job.policy else None
        self._labeller = teacher or (self.task.policies[job.labeller](self.env) if job.labeller else None)
        self._recorder = recorder or (Recorder(self.task.embodiment) if job.record_as else None)

    def run(self, seed: int) -> Done:
        """Run one seed and let the task's verifier judge it.

        Raises:
            PassportError: the bundle lost its clearance; an episode under way goes to its end without it, none begins.
        """
        if self.clearance is not None and self.clearance.refusal:
            raise PassportError(self.clearance.refusal)
        run = run_episode(
            self.env,
            self._executor,
            seed=seed,
            max_steps=self.task.max_steps,
            labeller=self._labeller,
            recorder=self._recorder,
        )
        trace = self.env.trace()
        outcome = {name: float(value) for name, value in self.task.verify(trace).items()}
        episode = None
        if self._recorder is not None:
            episode = self._recorder.episode(
                EpisodeMetadata(
                    episode_id=episode_id(self.task.id, self.job.record_as, seed),
                    embodiment_id=self.task.embodiment.id,
                    task_id=self.task.id,
                    policy=self.job.policy_name,
                    seed=seed,
                    instruction=self.env.instruction(),
                    outcome=outcome | {f"guard.{why}": float(n) for why, n in sorted(run.log.interventions.items())},
                    **self.job.provenance,
                    source=f"passport {self.job.passport}" if self.job.passport else "",
                )
            )
        kept = trace if seed in self.job.keep else None
        return Done(seed=seed, outcome=outcome, run=run, episode=episode, trace=kept)

    def close(self) -> None:
        """Release the machine."""
        self._watched.close()
        self.env.close()


def episode_id(task_id: str, tag: str, seed: int) -> str:
    """Return the id of a recorded episode."""
    return f"{task_id}/{tag}/{seed:07d}"


def main(connection: Connection) -> None:
    """Serve one parent until it says so or is gone."""
    # an interrupt at the terminal reaches every process: the parent decides, and closes the connection
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        job, path = connection.recv()
        sys.path[:] = path
        try:
            runner = Runner(job)
        except Exception as error:
            connection.send(_told(error))
            return
        try:
            connection.send(None)
            while (seed := connection.recv()) is not None:
                try:
                    answer: object = runner.run(seed)
                except Exception as error:
                    answer = _told(error)
                connection.send(answer)
        finally:
            runner.close()


def _told(error: Exception) -> tuple[str, str, str]:
    """Return an error as class name, message and traceback: not every exception survives the way to the parent."""
    return type(error).__name__, str(error), "".join(traceback.format_exception(error))


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    # run as a script this module is __main__; the classes that are sent must be those of genba.bench.worker
    from genba.bench import worker

    worker.main(Connection(int(sys.argv[1])))
