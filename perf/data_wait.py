"""Print what share of its steps a training run waits for data, at a preset, as the run itself measures it.

    python perf/data_wait.py [--vault DIR] [--recipe tiny] [--steps 30] [--embodiment ID ...]

Without ``--vault``, random episodes of the registered machines' real channels and rates are stored in a temporary vault
first, sealed as vaults are. The share is ``data_wait`` of the run's metrics: the time between asking for a batch and
having it, over the time of the steps, evaluations and checkpoints not counted. The first batches are made while the model
is; how long that and finding the windows took is ``startup_s``. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from random_episodes import random_episode

from genba.data.vault import Vault
from genba.spec.embodiment import load_embodiment
from genba.train.data import prepare
from genba.train.loop import train
from genba.train.recipe import recipe
from genba.trust.keys import FileKeys

MACHINES = ("arm/panda-grip@1", "vehicle/urban-car@1", "factory/parallel-lines@2")


def main() -> None:
    """Parse the command line, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vault", type=Path, help="train on this vault instead")
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--report-every", type=int, default=10)
    parser.add_argument("--episodes", type=int, default=12, help="random episodes of each machine")
    parser.add_argument(
        "--embodiment", action="append", help="may be repeated; by default the three simulated machines"
    )
    arguments = parser.parse_args()
    facts = [load_embodiment(name) for name in arguments.embodiment or MACHINES]
    chosen = replace(
        recipe(arguments.recipe),
        num_steps=arguments.steps,
        log_every=arguments.report_every,
        evaluate_every=arguments.steps,
        checkpoint_every=arguments.steps,
        evaluate_batches=1,
    )
    with tempfile.TemporaryDirectory() as folder:
        if arguments.vault:
            vault = Vault.open(arguments.vault)
        else:
            keys = FileKeys(Path(folder) / "keys")
            vault = Vault.open(Path(folder) / "vault", create=True, embodiments=facts, keys=keys)
            for embodiment in facts:
                for seed in range(arguments.episodes):
                    vault.append(random_episode(embodiment, seed, num_steps=60))
        data = prepare(vault, facts, chosen)
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        train(chosen, data, Path(folder) / "run")
        spent = time.process_time() - began_cpu_s, time.perf_counter() - began_s
        lines = [json.loads(line) for line in (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()]
        waits = {line["step"] + 1: line["data_wait"] for line in lines if "data_wait" in line}
        for step, wait in waits.items():
            print(f"step {step:5}: data_wait {wait:7.2%}")
        started_s = next(line["startup_s"] for line in lines if "startup_s" in line)
        print(f"mean of {len(waits)} reports {sum(waits.values()) / len(waits):.2%}; startup_s {started_s:.2f}")
        print(f"{spent[0]:.1f} CPU-seconds in {spent[1]:.1f} s")
        # What a batch costs by itself, everything met before: the least that the loader's thread needs per step.
        count, began_cpu_s = 0, time.process_time()
        while count < 3 or time.process_time() - began_cpu_s < 1:
            data.training.batch(count)
            count += 1
        print(f"{(time.process_time() - began_cpu_s) / count * 1e3:.1f} CPU-ms per batch of all machines")


if __name__ == "__main__":
    main()
