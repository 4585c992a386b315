"""Collect demonstrations: roll a policy out, label where asked, and append every episode to a sink.

Without a labeller the episodes teach what was done. With one they teach what the labeller would have done in the
states that the policy came to (DAgger: Ross, Gordon and Bagnell 2011, arXiv 1011.0686, algorithm 3.1). Only finished
episodes cross from the workers; the sink stays in this process. Runs resume: what the sink already has is not made
again.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from genba.bench.metrics import Interval, wilson
from genba.bench.pool import run_seeds
from genba.bench.progress import EpisodeProgress
from genba.bench.rollout import check_passport, check_request
from genba.bench.worker import Job, episode_id, find_task
from genba.errors import ConfigError, nearest
from genba.runtime.bundle import Bundle
from genba.spec.protocols import EpisodeSink


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What was collected.

    Attributes:
        num_new: episodes appended now.
        num_existing: episodes that were already there.
        success: share of the new ones that succeeded.
        simulated_s: machine time of the new ones, in seconds.
        wall_s: time that it took, in seconds.
    """

    num_new: int
    num_existing: int
    success: Interval
    simulated_s: float
    wall_s: float


def collect(
    task: str,
    *,
    policy: str | Path,
    seeds: Sequence[int],
    sink: EpisodeSink,
    workers: int = 2,
    labeller: str | None = None,
    perturb: float = 0.0,
    tag: str | None = None,
    existing: Collection[str] = (),
    provenance: Mapping[str, str] | None = None,
    trust: Path | str | None = None,
    allow_unchecked: bool = False,
    progress: bool = True,
) -> Collected:
    """Collect one episode per seed.

    Args:
        task: a registered task id, or ``"module:attribute"``.
        policy: who acts: the name of one of the task's policies, or a bundle's path.
        seeds: of the task's train seeds.
        sink: where the episodes go, e.g. a vault; appended to from this process, in order of completion.
        workers: processes, each with its own machine; 0 runs in this process.
        labeller: the name of one of the task's policies (usually its expert) that labels every decision; None for none.
        perturb: noise on what is executed, as a share of each action's range; needs a labeller, who is not perturbed.
        tag: episode ids are ``"<task>/<tag>/<seed>"``; None for the policy's name (``"model"`` for a bundle).
        existing: episode ids that need not be made again.
        provenance: owner, dataset, site, jurisdiction and agreement of the episodes, those that are not a simulation's own.
        trust: the machine's trust folder: it decides whether a bundle may act, and goes on deciding; None to check nothing.
        allow_unchecked: let a bundle act unchecked on what is no simulator of this project.
        progress: whether to show how far it is.

    Raises:
        ConfigError: an unknown policy or labeller, a seed that may not be trained on, or a task without any that may.
        PassportError, SignatureError: the bundle may not act here, or not any more.
        SimulatorError: an episode raised; task and seed are named. What was appended before stays.
    """
    found = find_task(task)
    policy = str(policy)
    check_request(found, policy, seeds)
    if labeller is not None and labeller not in found.policies:
        raise ConfigError(f"{found.id}: no labeller {labeller!r}{nearest(labeller, found.policies)}")
    if perturb and labeller is None:
        raise ConfigError(f"{found.id}: perturb: got {perturb} without a labeller, who says what should have been done")
    if not found.train_seeds:
        raise ConfigError(f"{found.id}: measures what is never trained on: it has no train seeds, nothing is collected")
    if forbidden := [seed for seed in seeds if seed not in found.train_seeds]:
        raise ConfigError(f"{found.id}: seeds: got {forbidden[0]}, expected train seeds {found.train_seeds}")
    name = policy if policy in found.policies else "model"
    tag = tag or name
    wanted = [seed for seed in seeds if episode_id(found.id, tag, seed) not in existing]
    passport = ""
    if wanted and policy not in found.policies:
        passport = check_passport(found, Bundle.read(policy, found.embodiment), trust, allow_unchecked=allow_unchecked)
    started, num_successes, simulated_s = time.perf_counter(), 0, 0.0
    # an answer is waited for: demonstrations shall not depend on how busy this computer is
    job = Job(
        task=task,
        policy=policy,
        policy_name=name,
        labeller=labeller or "",
        perturb=perturb,
        record_as=tag,
        provenance=dict(provenance or {}),
        passport=passport,
        trust=str(trust or ""),
    )
    if wanted:
        with EpisodeProgress(f"{found.id} {tag}", len(wanted), shown=progress) as shown:
            for done in run_seeds(job, wanted, num_workers=workers):
                assert done.episode is not None
                sink.append(done.episode)
                num_successes += round(done.outcome["success"])
                simulated_s += done.run.simulated_s
                shown.advance()
    return Collected(
        num_new=len(wanted),
        num_existing=len(seeds) - len(wanted),
        success=wilson(num_successes, len(wanted)),
        simulated_s=simulated_s,
        wall_s=time.perf_counter() - started,
    )
