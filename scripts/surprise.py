"""Measures the car's world model at work: what surprise tells before somebody becomes dangerous, and what heeding it or planning adds.

    python scripts/surprise.py record --policy BUNDLE --out RUN            # validation worlds, nominal and held-out
    python scripts/surprise.py choose RUN                                  # latents and threshold; they go into caution.toml
    python scripts/surprise.py record --policy BUNDLE --out RUN --frozen [--surprise heed] [--candidates 8 --margin 0.2]
    python scripts/surprise.py report RUN --policy BUNDLE                  # the result file and the tables of docs/reasoning.md

``record`` keeps one file per episode and never drives one twice, so it can be stopped, continued, and run in several processes (give
each its ``--task``). Deadlines are not enforced: a loaded computer would change the outcome; what a decision costs is CPU time.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from genba import registry
from genba.bench.metrics import wilson
from genba.bench.results import commit, hardware
from genba.machines.vehicle import verifier
from genba.machines.vehicle.conditions import DROP_OUT_S, FIRST_ID, LOW_MU
from genba.report.measurement import read_measurement
from genba.report.readme import with_table
from genba.runtime.bundle import Bundle
from genba.runtime.engine import OnnxEngine
from genba.runtime.executor import Executor
from genba.runtime.loop import run_episode
from genba.runtime.planning import Plan
from genba.runtime.policy import EnginePolicy
from genba.runtime.surprise import SurpriseWatch
from genba.spec.normalise import Normalizer
from genba.spec.observation import observe

RESULT, PAGE = Path("docs/measurements/vehicle-surprise.json"), Path("docs/reasoning.md")
FORMAT = ("genba-surprise", 1)
NOMINAL = "vehicle/intersection@1"
CONDITIONS = (
    "vehicle/red-light-runner@1",
    "vehicle/jaywalker@1",
    "vehicle/occluded-pedestrian@1",
    "vehicle/emergency-vehicle@1",
    "vehicle/wrong-way-cyclist@1",
    "vehicle/stopped-in-box@1",
    "vehicle/low-friction@1",
    "vehicle/lidar-drop-out@1",
)
FIRST_VALIDATION_SEED = 50_000
#: surprise is looked for in this long before danger; likewise in nominal stretches of this length
BEFORE_S = 2.0
#: danger: both going on as they do, the bodies come this close within this time
NEAR_M, AHEAD_S = 0.5, 1.5
#: share of nominal control steps whose smoothed score lies under the threshold
QUANTILE = 0.995
GRAVITY_MPS2 = 9.81
#: as in caution.toml, and seconds between two comparisons: a decision every two control steps
SMOOTHING_S, BETWEEN_S = 0.4, 0.2


def record(args: argparse.Namespace) -> None:
    """Drive and keep what was seen, one file per episode."""
    tasks = args.task or [NOMINAL, *CONDITIONS]
    for name in tasks:
        task = registry.task(name)
        bundle = Bundle.read(args.policy, task.embodiment)
        engine, env = OnnxEngine(bundle), task.make_env()
        watch = SurpriseWatch(engine, task.caution if args.surprise == "heed" else None)
        plan = None
        if args.candidates > 1:
            assert task.objective is not None
            plan = Plan(
                objective=task.objective,
                num_candidates=args.candidates,
                num_horizons=args.horizons,
                spread=args.spread,
                margin=args.margin,
            )
        policy = EnginePolicy(engine, watch=watch, plan=plan)
        executor = Executor(policy, task.embodiment, enforce_deadline=False, watch=watch)
        first = task.test_seeds[0] if args.frozen else FIRST_VALIDATION_SEED
        for seed in range(first, first + args.episodes):
            path = args.out / variant(args) / name.replace("/", "-") / f"{seed:07d}.npz"
            if path.exists():
                continue
            run = run_episode(env, executor, seed=seed, max_steps=task.max_steps)
            trace = env.trace()
            times = np.array([t for t, _ in watch.history], np.int64)
            ratios = np.array([r for _, r in watch.history]).reshape(len(times), len(engine.surprise_scale))
            path.parent.mkdir(parents=True, exist_ok=True)
            outcome = task.verify(trace)
            kept = {
                "weights": np.array(bundle.weights_digest),
                "time_s": trace["ego"][:, 0],
                "speed_mps": trace["ego"][:, 4],
                "danger_s": np.array(danger_s(name, trace)),
                "compared_s": times / 1e9,
                "ratios": ratios,
                "eased": np.array(run.log.num_eased),
            }
            kept |= {f"outcome/{metric}": np.array(value) for metric, value in outcome.items()}
            kept |= {f"place/{c}": np.array([p.start, p.stop]) for c, p in watch.places.items()}
            np.savez(path, allow_pickle=False, **kept)
            print(path, f"success {outcome['success']:.0f}", f"danger {kept['danger_s']:.1f}", flush=True)
        env.close()


def variant(args: argparse.Namespace) -> str:
    """Name what is driven."""
    seeds = "frozen" if args.frozen else "validation"
    if args.candidates > 1:
        plan = f"-{args.candidates}x{args.horizons}-spread{args.spread:g}-margin{args.margin:g}"
    else:
        plan = ""
    return f"{seeds}-{args.surprise}{plan}"


def danger_s(task: str, trace: Mapping[str, np.ndarray]) -> float:
    """Say when what the condition holds becomes dangerous, in the trace's seconds; NaN where it never does.

    Bodies of the condition: going on as they do, they and the car come within ``NEAR_M`` in ``AHEAD_S``. Low friction: the car first asks
    for nine tenths of the grip. A silent LiDAR: the first sweep that is missing while the car moves.
    """
    ego = trace["ego"]
    moving = ego[:, 4] > 0.5
    if "low-friction" in task:
        pull = np.hypot(ego[:, 5], ego[:, 4] * ego[:, 7])
        return _first(ego[:, 0], moving & (pull > 0.9 * LOW_MU * GRAVITY_MPS2))
    if "drop-out" in task:
        since = ego[:, 0] - ego[0, 0]
        return _first(ego[:, 0], moving & (since % (2 * DROP_OUT_S) >= DROP_OUT_S - 1e-6))
    objects, splits = trace["objects"], trace["object_splits"]
    step_of = np.repeat(np.arange(len(ego)), np.diff(splits))
    ours = (objects[:, 0] >= FIRST_ID) & moving[step_of]
    objects, step_of = objects[ours], step_of[ours]
    dangerous = np.zeros(len(ego), bool)
    for later_s in np.arange(0.0, AHEAD_S + 0.05, 0.1):
        me = ego[step_of]
        x, y = (me[:, 1 + i] + later_s * me[:, 4] * f(me[:, 3]) for i, f in enumerate((np.cos, np.sin)))
        body = verifier._boxes(x, y, me[:, 3], -0.9, 3.7, 0.925)
        ox, oy = (
            objects[:, 2 + i] + later_s * objects[:, 5] * f(objects[:, 4]) for i, f in enumerate((np.cos, np.sin))
        )
        half = objects[:, 6] / 2
        other = verifier._boxes(ox, oy, objects[:, 4], -half, half, objects[:, 7] / 2)
        dangerous[step_of[shapely.distance(body, other) < NEAR_M]] = True
    return _first(ego[:, 0], dangerous)


def _first(times_s: np.ndarray, holds: np.ndarray) -> float:
    return float(times_s[holds.argmax()]) if holds.any() else math.nan


@dataclasses.dataclass(frozen=True)
class Drive:
    """One kept episode."""

    seed: int
    data: Mapping[str, np.ndarray]

    def scores(self, channel: str, statistic: str) -> tuple[np.ndarray, np.ndarray]:
        """Return times and smoothed scores of the latents of a channel (empty: all), as the watch finds them."""
        ratios = self.data["ratios"]
        if channel:
            ratios = ratios[:, slice(*self.data[f"place/{channel}"])]
        known = ~np.isnan(ratios).all(1)
        ratios, times_s = ratios[known], self.data["compared_s"][known]
        raw = np.nanmean(ratios, 1) if statistic == "mean" else np.nanmax(ratios, 1)
        smooth = np.zeros(len(raw))
        keep = math.exp(-BETWEEN_S / SMOOTHING_S)
        for i, value in enumerate(raw):
            smooth[i] = value if i == 0 else keep * smooth[i - 1] + (1 - keep) * value
        return times_s, smooth

    def outcome(self, name: str) -> float:
        """Return one number of the verifier's."""
        return float(self.data[f"outcome/{name}"])


def read(folder: Path) -> list[Drive]:
    """Read the drives of one variant and task."""
    found = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            found.append(Drive(int(path.stem), {name: arrays[name] for name in arrays.files}))
    return found


def before_danger(drives: Sequence[Drive], channel: str, statistic: str) -> np.ndarray:
    """Return the greatest score in the ``BEFORE_S`` before each danger."""
    found = []
    for drive in drives:
        at = float(drive.data["danger_s"])
        times, scores = drive.scores(channel, statistic)
        seen = scores[(times >= at - BEFORE_S) & (times <= at)]
        if len(seen):
            found.append(seen.max())
    return np.array(found)


def nominal_stretches(drives: Sequence[Drive], channel: str, statistic: str) -> np.ndarray:
    """Return the greatest score in each stretch of ``BEFORE_S`` at whose end the car moves."""
    found = []
    for drive in drives:
        times, scores = drive.scores(channel, statistic)
        clock, speed = drive.data["time_s"], drive.data["speed_mps"]
        for at in np.arange(clock[0] + BEFORE_S, clock[-1], BEFORE_S):
            seen = scores[(times >= at - BEFORE_S) & (times <= at)]
            if len(seen) and np.interp(at, clock, speed) > 0.5:
                found.append(seen.max())
    return np.array(found)


def area(positive: np.ndarray, negative: np.ndarray) -> tuple[float, float, float]:
    """Return the area under the ROC curve with a 95 % interval (Hanley and McNeil 1982, eq. 2)."""
    if not len(positive) or not len(negative):
        return math.nan, math.nan, math.nan
    above = (positive[:, None] > negative).mean() + 0.5 * (positive[:, None] == negative).mean()
    q1, q2 = above / (2 - above), 2 * above**2 / (1 + above)
    m, n = len(positive), len(negative)
    error = math.sqrt(max(0.0, above * (1 - above) + (m - 1) * (q1 - above**2) + (n - 1) * (q2 - above**2)) / (m * n))
    return float(above), float(max(0.0, above - 1.96 * error)), float(min(1.0, above + 1.96 * error))


def lead_times_s(drives: Sequence[Drive], channel: str, statistic: str, threshold: float) -> list[float]:
    """Return for each danger how long before it the score first rose above the threshold within ``BEFORE_S``; NaN where not."""
    found = []
    for drive in drives:
        at = float(drive.data["danger_s"])
        if math.isnan(at):
            continue
        times, scores = drive.scores(channel, statistic)
        above = times[(times >= at - BEFORE_S) & (times <= at) & (scores > threshold)]
        found.append(at - float(above[0]) if len(above) else math.nan)
    return found


def compare(run: Path, variant_name: str) -> list[dict[str, Any]]:
    """Return for every choice of latents its areas per condition, best mean first."""
    folder = run / variant_name
    nominal = read(folder / NOMINAL.replace("/", "-"))
    held = {task: read(folder / task.replace("/", "-")) for task in CONDITIONS}
    rows: list[dict[str, Any]] = []
    for channel, statistic in itertools.product(("", "telemetry", "route", "signal", "lidar"), ("mean", "max")):
        negative = nominal_stretches(nominal, channel, statistic)
        areas = {t: area(before_danger(d, channel, statistic), negative)[0] for t, d in held.items()}
        every = np.concatenate([drive.scores(channel, statistic)[1] for drive in nominal])
        row: dict[str, Any] = {"channel": channel or "all", "statistic": statistic, "areas": areas}
        row |= {"mean_area": float(np.nanmean(list(areas.values()))), "threshold": float(np.quantile(every, QUANTILE))}
        rows.append(row | {"nominal_mean": float(every.mean())})
    return sorted(rows, key=lambda row: -row["mean_area"])


def choose(args: argparse.Namespace) -> None:
    """Print every choice of latents on validation worlds."""
    for row in compare(args.run, "validation-watch"):
        areas = " ".join(f"{t.split('/')[1][:12]}={a:.2f}" for t, a in row["areas"].items())
        print(
            f"{row['channel']:10s}{row['statistic']:5s} mean area {row['mean_area']:.3f} threshold {row['threshold']:.2f} nominal mean {row['nominal_mean']:.2f}  {areas}"
        )


def report(args: argparse.Namespace) -> None:
    """Write the result file and the tables of the page."""
    caution = registry.task(NOMINAL).caution
    assert caution is not None
    watched = args.run / f"{args.worlds}-watch"
    nominal = read(watched / folder_of(NOMINAL))
    negative = nominal_stretches(nominal, caution.channel, "mean")
    every = np.concatenate([drive.scores(caution.channel, "mean")[1] for drive in nominal])
    foretold = {}
    for task in CONDITIONS:
        drives = read(watched / folder_of(task))
        if not drives:
            continue
        leads = lead_times_s(drives, caution.channel, "mean", caution.threshold)
        warned = [lead for lead in leads if not math.isnan(lead)]
        foretold[task] = {
            "episodes": len(drives),
            "dangers": len(leads),
            "area": rounded(area(before_danger(drives, caution.channel, "mean"), negative)),
            "warned": len(warned),
            "median_lead_s": round(float(np.median(warned)), 2) if warned else None,
        }
    variants = {}
    for folder in sorted(args.run.iterdir()):
        variants[folder.name] = {
            task: outcomes(drives) for task in (NOMINAL, *CONDITIONS) if (drives := read(folder / folder_of(task)))
        }
    result = {
        "format": FORMAT[0],
        "version": FORMAT[1],
        "weights_digest": str(nominal[0].data["weights"]),
        "caution": dataclasses.asdict(caution),
        "nominal": {
            "episodes": len(nominal),
            "stretches": len(negative),
            "mean_score": round(float(every.mean()), 3),
            "share_above": round(float((every > caution.threshold).mean()), 4),
        },
        "foretold": foretold,
        "chosen_among": [
            # No area where nothing was dangerous.
            row | {"areas": {task: rounded([a])[0] for task, a in row["areas"].items()}}
            for row in compare(args.run, "validation-watch")
        ],
        "variants": variants,
        "cpu_ms": cost_cpu_ms(args.policy),
        "worlds": args.worlds,
        "first_seed": {"validation": FIRST_VALIDATION_SEED, "frozen": registry.task(NOMINAL).test_seeds[0]},
        "hardware": hardware(),
        "commit": commit(),
    }
    RESULT.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    generate(check=False)


def cost_cpu_ms(policy: Path) -> dict[str, float]:
    """Return the median CPU time of a decision by the number of candidates, and of a comparison, on one observation of the car."""
    task = registry.task(NOMINAL)
    assert task.objective is not None
    engine = OnnxEngine(Bundle.read(policy, task.embodiment))
    env = task.make_env()
    step = env.reset(FIRST_VALIDATION_SEED)
    observation = observe(task.embodiment, step.samples, step.time_ns)
    env.close()
    found = {}
    for count in (1, 4, 8, 16):
        plan = Plan(objective=task.objective, num_candidates=count) if count > 1 else None
        acting = EnginePolicy(engine, plan=plan)
        found[f"{count} candidates"] = median_cpu_ms(lambda acting=acting: acting.act(observation))
    normalizer = Normalizer(task.embodiment, engine.statistics)
    packed = normalizer.pack(observation)
    memory, now = engine.encode(packed), engine.latents(packed)
    actions = np.zeros((1, task.embodiment.control.horizon, len(task.embodiment.action.continuous)), np.float32)
    found["comparison"] = median_cpu_ms(
        lambda: (engine.latents(normalizer.pack(observation)), engine.foretell(now["latents"], actions, memory))
    )
    return found


def median_cpu_ms(act: Callable[[], object]) -> float:
    """Return the median CPU time of a call, of 40."""
    spent = []
    for _ in range(40):
        before = time.process_time()
        act()
        spent.append(time.process_time() - before)
    return round(1e3 * float(np.median(spent)), 2)


def outcomes(drives: Sequence[Drive]) -> dict[str, object]:
    """Return how drives ended."""
    return {
        "seeds": [drive.seed for drive in drives],
        "success": [round(drive.outcome("success")) for drive in drives],
        "collided": [round(drive.outcome("collided")) for drive in drives],
        "time_s": round(float(np.mean([drive.outcome("time_s") for drive in drives])), 2),
        "eased_steps": int(sum(int(drive.data["eased"]) for drive in drives)),
        "steps": sum(len(drive.data["time_s"]) for drive in drives),
    }


def folder_of(task: str) -> str:
    """Return what a task's folder is called."""
    return task.replace("/", "-")


def rounded(values: Sequence[float]) -> list[float | None]:
    """Round for a file; None where there is no number."""
    return [None if math.isnan(value) else round(value, 3) for value in values]


def generate(*, check: bool) -> None:
    """Write the tables into the page, or say whether they stand there."""
    found = read_measurement(RESULT, FORMAT, written_by="python scripts/surprise.py report RUN")
    before = PAGE.read_text(encoding="utf-8")
    after = with_table(
        before, "\n\n".join([foretold_table(found), outcome_table(found), cost_table(found)]), where=str(PAGE)
    )
    if not check:
        PAGE.write_text(after, encoding="utf-8")
    elif before != after:
        raise SystemExit(f"{PAGE} is not what {RESULT} gives; run: python scripts/surprise.py table")


def foretold_table(found: Mapping[str, Any]) -> str:
    """Return what surprise says before danger, as Markdown."""
    lines = [
        "| condition | episodes | of them with a danger | area under the ROC curve (95 %) | warned before it | median lead |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for task, row in found["foretold"].items():
        mean, low, high = row["area"]
        shown = "–" if mean is None else f"{mean:.2f} [{low:.2f}, {high:.2f}]"
        lead = "–" if row["median_lead_s"] is None else f"{row['median_lead_s']:.1f} s"
        lines.append(
            f"| `{task}` | {row['episodes']} | {row['dangers']} | {shown} | {row['warned']} of {row['dangers']} | {lead} |"
        )
    return "\n".join(lines)


def outcome_table(found: Mapping[str, Any]) -> str:
    """Return how the variants did on the worlds that each of them and the plain model drove, as Markdown."""
    lines = [
        "| condition | variant | success | collided | without it, same worlds: success, collided | control steps held back |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for task in (NOMINAL, *CONDITIONS):
        for name, tasks in found["variants"].items():
            if task not in tasks:
                continue
            plain = found["variants"][f"{name.partition('-')[0]}-watch"].get(task, {"seeds": []})
            row, base = tasks[task], {seed: i for i, seed in enumerate(plain["seeds"])}
            both = [(i, base[seed]) for i, seed in enumerate(row["seeds"]) if seed in base]
            if not both:
                continue
            wins, hits = (sum(row[what][i] for i, _ in both) for what in ("success", "collided"))
            ours, theirs = (sum(plain[what][j] for _, j in both) for what in ("success", "collided"))
            beside = "–" if name.endswith("-watch") else f"{ours}, {theirs}"
            lines.append(
                f"| `{task}` | {name} | {wins} of {len(both)} {interval(wins, len(both))} | {hits} | {beside} "
                f"| {row['eased_steps'] / row['steps']:.1%} |"
            )
    return "\n".join(lines)


def cost_table(found: Mapping[str, Any]) -> str:
    """Return what a decision and a comparison cost, as Markdown."""
    costs = found["cpu_ms"]
    rows = [["", *costs], ["---", *["---:"] * len(costs)], ["CPU per call", *(f"{ms:.1f} ms" for ms in costs.values())]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def interval(wins: int, count: int) -> str:
    """Return a share's 95 % Wilson interval in percent."""
    found = wilson(wins, count)
    return f"[{found.low:.0%}, {found.high:.0%}]"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("--policy", required=True)
    recording.add_argument("--out", type=Path, required=True)
    recording.add_argument("--task", action="append")
    recording.add_argument("--episodes", type=int, default=30)
    recording.add_argument("--frozen", action="store_true")
    recording.add_argument("--surprise", choices=("watch", "heed"), default="watch")
    recording.add_argument("--candidates", type=int, default=1)
    recording.add_argument("--horizons", type=int, default=1)
    recording.add_argument("--spread", type=float, default=1.0)
    recording.add_argument("--margin", type=float, default=0.0)
    recording.set_defaults(act=record)
    choosing = commands.add_parser("choose")
    choosing.add_argument("run", type=Path)
    choosing.set_defaults(act=choose)
    reporting = commands.add_parser("report")
    reporting.add_argument("run", type=Path)
    reporting.add_argument("--worlds", choices=("validation", "frozen"), default="frozen")
    reporting.add_argument("--policy", type=Path, required=True)
    reporting.set_defaults(act=report)
    table = commands.add_parser("table", help="Only the tables, from the result file.")
    table.add_argument("--check", action="store_true")
    table.set_defaults(act=lambda args: generate(check=args.check))
    args = parser.parse_args()
    args.act(args)


if __name__ == "__main__":
    main()
