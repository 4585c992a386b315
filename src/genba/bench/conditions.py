"""Measure policies on a machine's main task and on every condition held out of it: one result file per task and policy.

What is there already is not measured again, so an interrupted measurement goes on where it stopped. Read next:
``rollout``, which measures one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from genba.bench.results import Result
from genba.bench.rollout import choose_aids, roll_out
from genba.bench.worker import find_task, is_policy
from genba.errors import ConfigError, nearest
from genba.registry import HELD_OUT_TASKS, MAIN_TASKS


def tasks_of(machine: str) -> list[str]:
    """Return the ids of a machine's main task and of its held-out ones.

    Raises:
        ConfigError: naming the nearest known machine.
    """
    main = {name.partition("/")[0]: name for name in MAIN_TASKS}
    if machine not in main:
        raise ConfigError(f"no machine {machine!r}{nearest(machine, main)}")
    return [main[machine], *sorted(name for name in HELD_OUT_TASKS if name.startswith(f"{machine}/"))]


def measure_conditions(
    machine: str,
    policies: Sequence[str],
    out: Path,
    *,
    episodes: int,
    workers: int = 2,
    enforce_deadline: bool | None = None,
    guard: bool | None = None,
    way_round: bool | None = None,
    trust: Path | None = None,
    progress: bool = True,
) -> Iterator[tuple[Path, Result]]:
    """Yield each result's file and the result, as they are measured or found; measured ones hold the first episode's trace.

    Args:
        machine: e.g. ``"vehicle"``.
        policies: names of the tasks' policies, or bundles' folders.
        out: results go to ``<out>/<task id>/<policy>.json``; a bundle's is called ``model``, with what is left out beside it.
        episodes: of each task's frozen test seeds.
        workers: processes.
        enforce_deadline: whether a late answer is treated as late; None for a bundle's only.
        guard, way_round: whether the machine's own guard and its way round are on; None for the guard with a bundle only.
        trust: the machine's trust folder, where a bundle acts.
        progress: whether to show how far it is.

    Raises:
        ConfigError: an unknown machine or policy, two bundles, more episodes than test seeds, or a file there of another
            number of episodes.
    """
    tasks = tasks_of(machine)
    for task in tasks:
        found = find_task(task)
        for policy in policies:
            if not is_policy(found, policy):
                known = nearest(policy, found.policies)
                raise ConfigError(
                    f"{task}: policy {policy!r} is neither one of the task's nor a bundle's folder{known}"
                )
        if not 1 <= episodes <= len(found.test_seeds):
            raise ConfigError(f"{task}: episodes: got {episodes}, expected between 1 and {len(found.test_seeds)}")
    first = find_task(tasks[0])
    names = []
    for policy in policies:
        aids = choose_aids(first, is_bundle=policy not in first.policies, guard=guard, way_round=way_round)
        names.append((policy if policy in first.policies else "model") + aids.words().replace(" ", "-"))
    if len(set(names)) != len(names):
        raise ConfigError(f"policies: got {', '.join(policies)}, expected distinct ones and one bundle at most")
    for policy, name in zip(policies, names, strict=True):
        for task in tasks:
            path = out / task / f"{name}.json"
            if path.exists():
                result = Result.read(path)
                if len(result.seeds) != episodes:
                    raise ConfigError(
                        f"{path}: holds {len(result.seeds)} episodes, {episodes} were asked for; remove it to measure anew"
                    )
            else:
                seeds = find_task(task).test_seeds[:episodes]
                result = roll_out(
                    task,
                    policy,
                    seeds=seeds,
                    workers=workers,
                    keep=seeds[:1],
                    enforce_deadline=enforce_deadline,
                    guard=guard,
                    way_round=way_round,
                    trust=trust,
                    progress=progress,
                )
                result.write(path)
            yield path, result
