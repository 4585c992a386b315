"""Roll a policy out over seeds and say how it did: ``roll_out(task, policy) -> Result``.

A policy is the name of one of the task's own, or the path of a bundle. The task's verifier judges every episode from
its ground-truth trace. A model is held to its deadline; an expert or a baseline is waited for, and its latency
reported. Read next: ``collect``, the same loop that keeps the episodes.
"""

from __future__ import annotations

import dataclasses
import datetime
import shlex
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from genba import __version__
from genba.bench.masked import check_channel
from genba.bench.metrics import Interval, mean_interval, share_or_mean, wilson
from genba.bench.pool import run_seeds
from genba.bench.progress import EpisodeProgress
from genba.bench.results import Result, commit, hardware, measure_latency
from genba.bench.worker import Done, Job, Surprise, find_task, is_policy
from genba.errors import ConfigError, PassportError, nearest
from genba.runtime.bundle import Bundle
from genba.runtime.clearance import clear
from genba.runtime.control_log import merged
from genba.spec.task import Metric, Task
from genba.trust.machine import MachineTrust

#: where the simulators of this project are
SIMULATORS = "genba.machines."
#: episodes of a measurement, where none are asked for
DEFAULT_EPISODES = 50


def roll_out(
    task: str,
    policy: str | Path,
    *,
    seeds: Sequence[int] | None = None,
    workers: int = 2,
    keep: Collection[int] = (),
    name: str | None = None,
    enforce_deadline: bool | None = None,
    flow_steps: int | None = None,
    noise: str | None = None,
    masked: Sequence[str] = (),
    candidates: int = 1,
    surprise: Surprise = "off",
    guard: bool | None = None,
    way_round: bool | None = None,
    trust: Path | str | None = None,
    allow_unchecked: bool = False,
    progress: bool = True,
) -> Result:
    """Measure a policy on a task.

    Args:
        task: a registered task id, or ``"module:attribute"``.
        policy: the name of one of the task's policies, or a bundle's path.
        seeds: worlds; None for the first 50 of the task's test seeds.
        workers: processes, each with its own machine; 0 runs in this process.
        keep: seeds whose ground-truth trace ``Result.traces`` shall hold.
        name: what the result calls the policy; None for its own name, ``"model"`` for a bundle.
        enforce_deadline: whether a late answer is treated as late; None for yes with a bundle, no otherwise.
        flow_steps: flow steps of a bundle's policy; None for what the bundle says.
        noise: noise of a bundle's policy; None for what the bundle says.
        masked: channels that the policy is not shown; the result's name says so.
        candidates: chunks that a bundle's policy chooses among by its world model; the result's name says so where more than 1.
        surprise: whether a bundle's world model watches what comes, and whether the machine holds back where it is surprised
            (``"heed"``; the result's name says so).
        guard: whether the machine's own guard is on, beside the limits of its facts, which always are; None for yes with a
            bundle where the task has one. What departs from that, the result's name says.
        way_round: whether the machine looks for a way round what blocks its route; None for no.
        trust: the machine's trust folder: it decides whether a bundle may act, and goes on deciding; None to check nothing.
        allow_unchecked: let a bundle act unchecked on what is no simulator of this project.
        progress: whether to show how far it is.

    Raises:
        ConfigError: neither a policy of the task nor a bundle; seeds that stand twice; a masked channel that is none; or a
            guard or way round that the task does not have.
        BundleError: the bundle is damaged or for another machine.
        PassportError, SignatureError: the bundle may not act here, or not any more.
        SimulatorError: an episode raised; task and seed are named.
    """
    found = find_task(task)
    policy = str(policy)
    seeds = list(found.test_seeds[:DEFAULT_EPISODES] if seeds is None else seeds)
    check_request(found, policy, seeds)
    bundle = None if policy in found.policies else Bundle.read(policy, found.embodiment)
    for channel in masked:
        check_channel(found.embodiment, channel)
    _check_world(found, bundle, masked, candidates, surprise)
    planning = f" choosing among {candidates}" if candidates > 1 else ""
    planning += " heeding surprise" if surprise == "heed" else ""
    aids = choose_aids(found, is_bundle=bundle is not None, guard=guard, way_round=way_round)
    passport = "" if bundle is None else check_passport(found, bundle, trust, allow_unchecked=allow_unchecked)
    job = Job(
        task=task,
        policy=policy,
        policy_name=name or ("model" if bundle else policy) + aids.words(masked) + planning,
        keep=frozenset(keep),
        enforce_deadline=bool(bundle) if enforce_deadline is None else enforce_deadline,
        flow_steps=flow_steps,
        noise=noise,
        masked=tuple(masked),
        candidates=candidates,
        surprise=surprise,
        guard=aids.guard,
        way_round=aids.way_round,
        trust=str(trust or ""),
    )
    started = time.perf_counter()
    done: dict[int, Done] = {}
    with EpisodeProgress(f"{found.id} {job.policy_name}", len(seeds), shown=progress) as shown:
        for episode in run_seeds(job, seeds, num_workers=workers):
            done[episode.seed] = episode
            successes = sum(d.outcome["success"] for d in done.values())
            shown.advance(f"success {successes / len(done):.0%}")
    ordered = [done[seed] for seed in seeds]
    result = _summarise(found, job, bundle, ordered, workers, time.perf_counter() - started)
    return dataclasses.replace(result, passport=passport)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Aids:
    """What stands beside a policy: on or off, and whether that is other than usual."""

    guard: bool
    way_round: bool
    #: which of them are on or off against what is usual
    added: tuple[str, ...]
    left_out: tuple[str, ...]

    def words(self, masked: Sequence[str] = ()) -> str:
        """Say in words what is other than usual, to be put behind a policy's name."""
        words = [("without", (*masked, *self.left_out)), ("with", self.added)]
        return "".join(f" {word} {' and '.join(names)}" for word, names in words if names)


def choose_aids(task: Task, *, is_bundle: bool, guard: bool | None = None, way_round: bool | None = None) -> Aids:
    """Decide whether a task's guard and way round are on: as asked, else the guard with a bundle only and the way round not.

    Raises:
        ConfigError: one is asked for, or asked away, that the task does not have.
    """
    asked = {"guard": guard, "way round": way_round}
    there = {"guard": task.make_guard is not None, "way round": task.make_router is not None}
    for name, wanted in asked.items():
        if wanted is not None and not there[name]:
            got = "on" if wanted else "off"
            raise ConfigError(f"{task.id}: {name}: got {got}, expected nothing: this task has no {name} of its own")
    usual = {"guard": is_bundle and there["guard"], "way round": False}
    chosen = {name: usual[name] if wanted is None else wanted for name, wanted in asked.items()}
    return Aids(
        guard=chosen["guard"],
        way_round=chosen["way round"],
        added=tuple(name for name in asked if chosen[name] and not usual[name]),
        left_out=tuple(name for name in asked if usual[name] and not chosen[name]),
    )


def check_passport(task: Task, bundle: Bundle, trust: Path | str | None, *, allow_unchecked: bool = False) -> str:
    """Say in words what was found of a bundle's passport, where the bundle may act.

    Args:
        task: what it shall do.
        bundle: what shall act.
        trust: the machine's trust folder; None to check nothing.
        allow_unchecked: check nothing also where the task is no simulator of this project.

    Raises:
        PassportError: nothing was to be checked, and the task is no simulator of this project.
        GenbaError: it may not act (``genba.runtime.clearance.clear``).
    """
    if trust:
        clearance = clear(bundle, MachineTrust(trust))
        return f"checked: {clearance.digest}, released by {', '.join(clearance.released_by)}"
    # A ``partial`` is as what it calls.
    make_env = getattr(task.make_env, "func", task.make_env)
    if not str(getattr(make_env, "__module__", "")).startswith(SIMULATORS) and not allow_unchecked:
        raise PassportError(
            f"{task.id}: not a simulator of this project, so no bundle acts on it unchecked; name the machine's trust folder "
            f"(--trust, or trust=)"
        )
    return "not checked (no --trust)"


def check_request(task: Task, policy: str, seeds: Sequence[int]) -> None:
    """Refuse a policy that is neither of the task's nor a bundle, and seeds that are none or stand twice.

    Raises:
        ConfigError: with what was got and what was expected.
    """
    if not is_policy(task, policy):
        raise ConfigError(
            f"{task.id}: policy {policy!r} is neither one of the task's nor a bundle's folder"
            f"{nearest(policy, task.policies)}"
        )
    if not seeds or len(set(seeds)) != len(seeds):
        raise ConfigError(
            f"{task.id}: seeds: got {len(seeds)} of which {len(set(seeds))} differ, expected distinct ones"
        )


def _check_world(task: Task, bundle: Bundle | None, masked: Sequence[str], candidates: int, surprise: Surprise) -> None:
    """Refuse planning and surprise where there is no world model, no objective or no caution."""
    asked = ["--candidates"] * (candidates > 1) + ["--surprise"] * (surprise != "off")
    if not asked:
        return
    names = " and ".join(asked)
    if bundle is None or not bundle.has_world:
        raise ConfigError(
            f"{task.id}: {names}: got a policy without a world model, expected a bundle that has one; export it again "
            f"(only machines whose actions are all continuous have one)"
        )
    if candidates > 1 and task.objective is None:
        raise ConfigError(
            f"{task.id}: --candidates: this machine has no objective, so nothing says which chunk is best"
        )
    if surprise == "heed" and task.caution is None:
        raise ConfigError(f"{task.id}: --surprise heed: this machine has no caution; ask for 'watch'")
    if masked and surprise != "off":
        raise ConfigError(
            f"{task.id}: --surprise: the watch sees what the policy is not shown; leave out --mask-channel"
        )


def _summarise(
    task: Task, job: Job, bundle: Bundle | None, done: Sequence[Done], num_workers: int, wall_s: float
) -> Result:
    log = merged(episode.run.log for episode in done)
    outcomes = tuple({**episode.outcome, "num_steps": float(episode.run.num_steps)} for episode in done)
    num_successes = sum(round(outcome["success"]) for outcome in outcomes)
    metrics = {
        metric.name: _interval(metric, [outcome[metric.name] for outcome in outcomes])
        for metric in task.metrics
        if metric.name != "success"
    }
    return Result(
        task=task.id,
        policy=job.policy_name,
        kind=_kind(task, job.policy),
        weights_digest=bundle.weights_digest if bundle else "",
        provenance=bundle.provenance if bundle else {},
        seeds=tuple(episode.seed for episode in done),
        on_test_seeds=all(episode.seed in task.test_seeds for episode in done),
        success=wilson(num_successes, len(done)),
        metrics=metrics,
        outcomes=outcomes,
        latency=measure_latency(log.latencies_s),
        deadline_s=task.embodiment.control.deadline_s,
        deadline_enforced=job.enforce_deadline,
        control=log.counts(),
        simulated_s=sum(episode.run.simulated_s for episode in done),
        wall_s=wall_s,
        num_workers=num_workers,
        hardware=hardware(),
        genba_version=__version__,
        commit=commit(),
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        traces={episode.seed: episode.trace for episode in done if episode.trace is not None},
    )


def _interval(metric: Metric, values: Sequence[float]) -> Interval:
    # what has a unit is never a share of episodes, even where all its values happen to be 0
    return share_or_mean(values) if metric.unit == "1" else mean_interval(values)


def _kind(task: Task, policy: str) -> str:
    if policy not in task.policies:
        return "model"
    if policy == task.expert:
        return "expert"
    return "baseline" if policy in task.baselines else "other"
