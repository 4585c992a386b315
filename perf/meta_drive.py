"""MetaDrive's 200 test scenes: policies beside each other, in one command that goes on where it was stopped.

    genba bench collect metadrive/general@1 --vault V --policy planner --labeller planner --perturb 0.1 --first-seed 5000 --episodes 200
    genba train run --vault V --out RUN --steps 2000 --batch metadrive/car@1=64
    genba bundle export RUN --embodiment metadrive/car@1 --out BUNDLE
    genba bench collect metadrive/general@1 --vault V --policy BUNDLE --labeller planner --first-seed 5200 --episodes 100   # and train on
    python perf/meta_drive.py drive --policy ppo_expert --policy idm_policy --policy BUNDLE --out docs/measurements/metadrive/test.json
    python perf/meta_drive.py lines --out docs/measurements/metadrive/lines.json

Every policy drives a scene before the next scene begins, so what was measured when it is stopped is of the same scenes but for one. What
stands in the file is not measured again; a policy with other weights is another policy.
``lines`` drives nothing: it counts the scenes in which a continuous line lies across every lane of a road of the route.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from genba import registry
from genba.bench.metrics import wilson
from genba.bench.results import commit, hardware
from genba.bench.worker import Job, make_policy
from genba.machines.metadrive.lines import continuous_lines, crossings, is_shut
from genba.machines.metadrive.route import find_route
from genba.runtime.bundle import Bundle
from genba.runtime.executor import Executor
from genba.runtime.loop import run_episode

TASK = "metadrive/general@1"


def describe(policy: str) -> tuple[str, dict[str, Any]]:
    """Return what a policy is called in the file and what is to be said of it."""
    task = registry.task(TASK)
    if policy in task.policies:
        return policy, {
            "kind": "expert" if policy == task.expert else "package" if policy != "straight" else "baseline"
        }
    bundle = Bundle.read(policy, task.embodiment)
    said = {"kind": "model", "weights_digest": bundle.weights_digest, "provenance": bundle.provenance}
    return f"model {bundle.weights_digest.removeprefix('sha256:')[:12]}", said


def write(found: dict[str, Any], out: Path) -> None:
    """Write the measurement, whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f".{out.name}.part")
    unfinished.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(out)


def measure(policies: list[str], num_scenes: int, out: Path) -> None:
    """Let every policy drive the scenes that the file does not have of it yet."""
    found: dict[str, Any] = {"task": TASK, "policies": {}}
    if out.exists():
        found = json.loads(out.read_text(encoding="utf-8"))
    task = registry.task(TASK)
    found |= {
        "hardware": hardware(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }
    now = commit()
    env, executors = task.make_env(), {}
    for policy in policies:
        name, said = describe(policy)
        if name in executors:
            raise SystemExit(f"--policy {policy}: the same as another one")
        found["policies"].setdefault(name, {**said, "outcomes": {}, "cpu_s": 0.0})
        actor, _ = make_policy(Job(task=TASK, policy=policy, policy_name=name), task, env)
        executors[name] = Executor(actor, task.embodiment, enforce_deadline=said["kind"] == "model")
    try:
        for scene in task.test_seeds[:num_scenes]:
            for name, executor in executors.items():
                entry = found["policies"][name]
                if str(scene) in entry["outcomes"]:
                    continue
                began_s = time.process_time()
                run = run_episode(env, executor, seed=scene, max_steps=task.max_steps)
                entry["outcomes"][str(scene)] = {**task.verify(env.trace()), "num_steps": run.num_steps, "commit": now}
                entry["cpu_s"] = round(entry["cpu_s"] + time.process_time() - began_s, 2)
                write(found, out)
                outcomes = entry["outcomes"].values()
                print(
                    f"scene {scene} {name}: {wilson(sum(o['success'] > 0 for o in outcomes), len(outcomes))}",
                    flush=True,
                )
    finally:
        env.close()


def count_lines(num_scenes: int, out: Path) -> None:
    """Find where continuous lines cross the lanes of each scene's route."""
    task = registry.task(TASK)
    found: dict[str, Any] = {"task": TASK, "scenes": {}}
    if out.exists():
        found = json.loads(out.read_text(encoding="utf-8"))
    found |= {"commit": commit(), "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])}
    env = task.make_env()
    try:
        for scene in task.test_seeds[:num_scenes]:
            if str(scene) in found["scenes"]:
                continue
            env.reset(scene)
            route = find_route(env.world.agent.navigation)
            lanes = crossings(route, continuous_lines(env.world))
            found["scenes"][str(scene)] = {
                "blocks": "".join(block.ID for block in env.world.current_map.blocks),
                "is_shut": is_shut(lanes),
                "first_m": [[None if math.isinf(m) else m for m in road] for road in lanes],
            }
            write(found, out)
    finally:
        env.close()
    print(f"shut: {sum(one['is_shut'] for one in found['scenes'].values())} of {len(found['scenes'])} scenes")


def main() -> None:
    """Measure, or go on measuring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    drive, lines = commands.add_parser("drive"), commands.add_parser("lines")
    drive.add_argument("--policy", action="append", required=True, help="one of the task's, or a bundle; several times")
    for one in (drive, lines):
        one.add_argument("--scenes", type=int, default=200)
        one.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    if given.command == "drive":
        measure(given.policy, given.scenes, given.out)
    else:
        count_lines(given.scenes, given.out)


if __name__ == "__main__":
    main()
