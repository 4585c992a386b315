"""Plant defects into sound episodes and print how many are found, kind by kind; and what sound ones are blamed for.

    python perf/quality.py [--seeds N] [--first-seed N] [--simulated N] [--vault DIR] [--json FILE] [--misses]

The rover of the tests is driven with ``--seeds`` seeds; ``--simulated`` records so many episodes of the arm, and a share of it of the
arm's and the car's held-out conditions, of the car and of the factory; every episode of ``--vault`` is taken as sound besides. An
episode is inspected beside others of its machine, as in a vault. A defect counts as found
if a finding has its kind and its stream (and its dimension, where one was changed).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from planted import Planted
from planted_bench import Bench, is_found
from planted_cases import (
    copy_cases,
    decision_cases,
    hidden_cases,
    noisy_part_cases,
    rover_cases,
    sensor_cases,
    timing_cases,
)
from rover import ROVER, drive

from genba.bench.pool import run_seeds
from genba.bench.worker import Job, find_task
from genba.data.quality.findings import Finding
from genba.data.quality.inspect import Inspector
from genba.data.quality.samples import view_episode
from genba.data.vault import Vault
from genba.spec.embodiment import Embodiment
from genba.spec.episode import Episode

#: Sound episodes that a broken one is compared with.
NUM_PEERS = 6

#: Shifts of a clock that only shows in what a stream holds, in seconds.
HIDDEN_S = (0.45, 0.6, 1.0, 1.5, 3.0)

#: (task, policy, share of ``--simulated``)
SIMULATED = (
    [("arm/grip@1", "reactive", 1.0)]
    + [
        (f"arm/grip-{condition}@1", "reactive", 0.1)
        for condition in ("heavy-filling", "slippery", "cylinder", "off-centre", "noisy", "slow-gripper", "knock")
    ]
    + [("vehicle/intersection@1", "idm", 0.1), ("vehicle/low-friction@1", "idm", 0.05)]
    + [("factory/shortage@1", "edd", 0.1)]
)


def simulated(first_seed: int, number: int) -> Iterator[tuple[Embodiment, list[Episode]]]:
    """Record episodes of the simulators, machine by machine; of conditions held out of training on their test seeds."""
    found: dict[str, tuple[Embodiment, list[Episode]]] = {}
    held_out = 0
    for name, policy, share in SIMULATED:
        task, count = find_task(name), max(2, round(share * number))
        if task.train_seeds:
            seeds = range(first_seed, first_seed + count)
        else:
            # Conditions share their worlds, and one world twice is a near duplicate.
            seeds, held_out = task.test_seeds[held_out : held_out + count], held_out + count
        job = Job(task=name, policy=policy, policy_name=policy, record_as=policy)
        _, episodes = found.setdefault(task.embodiment.id, (task.embodiment, []))
        episodes += [done.episode for done in run_seeds(job, list(seeds), num_workers=0) if done.episode is not None]
    yield from found.values()


def machines(arguments: argparse.Namespace) -> Iterator[tuple[Embodiment, list[Episode]]]:
    """Yield (facts, sound episodes)."""
    if arguments.seeds:
        yield ROVER, [drive(arguments.first_seed + i) for i in range(arguments.seeds)]
    if arguments.simulated:
        yield from simulated(arguments.first_seed, arguments.simulated)
    if arguments.vault:
        vault = Vault.open(arguments.vault)
        for machine in vault.catalog.embodiment_ids():
            entries = vault.entries(embodiment_id=machine)
            yield vault.embodiment(machine), [vault.read(entry.episode_id) for entry in entries]


def blame(facts: Embodiment, episodes: list[Episode]) -> list[str]:
    """Return what is found in sound episodes of one machine, inspected together as those of a vault are."""
    views = {episode.metadata.episode_id: view_episode(facts, episode) for episode in episodes}
    inspector = Inspector(views.__getitem__)
    for view in views.values():
        inspector.add(view)
    return [f"{v.episode_id}: {f.kind} {f.place}: {f.message}" for v in inspector.verdicts() for f in v.findings]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--first-seed", type=int, default=0, help="of the drives and simulators")
    parser.add_argument("--simulated", type=int, default=0, help="episodes of the arm that are recorded")
    parser.add_argument("--each", type=int, default=6, help="episodes of a machine that defects are planted into")
    parser.add_argument("--vault", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--misses", action="store_true", help="print every defect that was not found")
    arguments = parser.parse_args()
    begin, rows, sound_rows = time.process_time(), [], []
    for facts, episodes in machines(arguments):
        print(f"{time.process_time() - begin:.0f} CPU-seconds, now {facts.id}", file=sys.stderr)
        blamed = blame(facts, episodes)
        for i, episode in enumerate(episodes[: arguments.each]):
            others = [e for k, e in enumerate(episodes) if k != i][:NUM_PEERS]
            bench = Bench(facts, others)
            rng = np.random.default_rng(arguments.first_seed + i)
            cases = [*timing_cases(facts, episode, rng)] if _has_rates(facts) else []
            cases += [*sensor_cases(facts, episode, rng), *decision_cases(facts, episode)]
            cases += hidden_cases(facts, episode, HIDDEN_S)
            if facts is ROVER:
                cases += rover_cases(facts, episode, rng)
            for name, strength, make in cases:
                planted = make()
                rows.append(_row(facts, episode, name, strength, planted, bench.findings(planted.episode)))
            twins = Bench(facts, [episode, *others])
            for name, strength, make in (*copy_cases(facts, episode, rng), *noisy_part_cases(facts, episode, rng)):
                planted = make()
                rows.append(_row(facts, episode, name, strength, planted, twins.findings(planted.episode)))
        sound_rows.append(
            {"machine": facts.id, "episodes": len(episodes), "false_findings": len(blamed), "blamed": blamed}
        )
    _print(rows, sound_rows, misses=arguments.misses)
    print(f"{time.process_time() - begin:.0f} CPU-seconds")
    if arguments.json:
        result = {"command": " ".join(sys.argv), "sound": sound_rows, "defects": _table(rows)}
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _has_rates(facts: Embodiment) -> bool:
    return any(getattr(channel, "rate_hz", 0.0) > 0 for channel in facts.channels)


def _row(
    facts: Embodiment, episode: Episode, name: str, strength: str, planted: Planted, findings: tuple[Finding, ...]
) -> dict[str, object]:
    what = [f"{f.kind} {f.place}: {f.message}" for f in findings]
    other = [text for f, text in zip(findings, what) if f.kind != planted.kind or f.stream != planted.stream]
    wanted = f"{planted.kind} {planted.stream}{'.' if planted.dimension else ''}{planted.dimension}"
    return {
        "machine": facts.id, "episode": episode.metadata.episode_id, "defect": name, "strength": strength,
        "wanted": wanted, "found": is_found(planted, findings), "also": other, "all": what,
    }  # fmt: skip


def _table(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    groups: dict[tuple[str, str, str], list[dict[str, object]]] = defaultdict(list)
    for row in rows:
        groups[str(row["machine"]), str(row["defect"]), str(row["strength"])].append(row)
    return [
        {
            "machine": machine,
            "defect": defect,
            "strength": strength,
            "planted": len(group),
            "found": sum(bool(row["found"]) for row in group),
            "with_other_findings": sum(bool(row["also"]) for row in group),
        }
        for (machine, defect, strength), group in groups.items()
    ]


def _print(rows: list[dict[str, object]], sound: list[dict[str, object]], *, misses: bool) -> None:
    print(f"{'machine':28} {'defect':20} {'strength':26} {'found':>9} {'others too':>10}")
    table = _table(rows)
    for row in table:
        found = f"{row['found']}/{row['planted']}"
        print(
            f"{row['machine']:28} {row['defect']:20} {row['strength']:26} {found:>9} {row['with_other_findings']:>10}"
        )
    if misses:
        for row in rows:
            if not row["found"] or row["also"]:
                print("MISS" if not row["found"] else "ALSO", row["machine"], row["defect"], row["strength"])
                print("   wanted", row["wanted"], "got", *row["all"], sep="\n      ")  # type: ignore[misc]
    planted, found = len(rows), sum(bool(row["found"]) for row in rows)
    print(f"{found} of {planted} defects found")
    for row in sound:
        print(f"{row['machine']:28} {row['episodes']} sound episodes, {row['false_findings']} findings")
        for text in row["blamed"]:  # type: ignore[union-attr]
            print("   ", text)


if __name__ == "__main__":
    main()
