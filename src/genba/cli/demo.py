"""``genba demo``: the whole job on one computer, each stage of which can be interrupted and gone on with.

    collect demonstrations → train → export → let the model drive and be corrected → train on → export → measure → report

Each stage looks at what is already there (episodes in the vault, checkpoints, bundles, result files) and does the
rest. It runs confined, under the agreements of three invented owners (``demo_trust``). How much of everything is in ``Plan``; how each thing is done is in ``bench``, ``train``, ``runtime``, ``report``.
"""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from genba import registry
from genba.bench.collect import collect
from genba.bench.results import Result, commit, hardware
from genba.bench.rollout import roll_out
from genba.cli.bundle import export_run
from genba.cli.demo_trust import OWNERS, default_out
from genba.data.vault import Vault
from genba.errors import ConfigError
from genba.report.page import write_page
from genba.report.run import RunRecord, Stage, write_pictures
from genba.report.where import where_data_stayed
from genba.runtime.bundle import Bundle, is_bundle
from genba.spec.task import Task
from genba.train import checkpoint
from genba.train.launch import launch
from genba.train.recipe import recipe
from genba.trust.folder import TrustFolder

app = typer.Typer(help="The whole job on this computer: collect, train, deploy, measure, report.")
console = Console(stderr=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """How much of one task the demo does."""

    #: demonstrations, labelled by the expert
    demonstrations: int
    #: episodes per round in which the model acts and the expert says what it should have done (DAgger)
    corrections: int
    #: test episodes per policy; none where it is only trained on
    episodes: int
    #: windows per train step; tasks of one machine share the sum of theirs
    batch: int
    #: policies measured beside the model
    compared: tuple[str, ...] = ()
    #: noise on what is executed in a demonstration, as a share of each action's range
    perturb: float = 0.0
    #: who acts in demonstrations, which the expert labels; empty for the expert itself. Where an observation shows what was
    #: decided before, an expert's own way teaches to repeat it.
    driver: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much the demo does of everything."""

    name: str
    recipe: str
    #: train steps after which the model is corrected, once each, and train steps in all
    correct_at: tuple[int, ...]
    steps: int
    shares: Mapping[str, Share] = field(default_factory=dict)
    #: wall time that it is meant to take on two cores
    budget_s: float = 900.0
    #: one sentence per thing that is smaller than a measurement for publication would have it
    cut_short: tuple[str, ...] = ()


FULL = Plan(
    name="full",
    recipe="tiny",
    correct_at=(250, 550),
    steps=1500,
    shares={
        "arm/grip@1": Share(
            demonstrations=200,
            corrections=60,
            episodes=300,
            batch=96,
            perturb=0.0015,
            compared=("fixed_4n", "reactive"),
        ),
        "vehicle/intersection@1": Share(
            demonstrations=120,
            corrections=80,
            episodes=100,
            batch=96,
            perturb=0.04,
            compared=("constant_speed", "idm"),
        ),
        "factory/shortage@1": Share(
            demonstrations=120,
            corrections=0,
            episodes=30,
            batch=2,
            driver="atc",
            compared=("right_shift", "fifo", "edd", "wspt", "atc", "atc_best_of_20", "search_in_deadline"),
        ),
    },
)
LONG = Plan(
    name="long",
    recipe="tiny",
    correct_at=(400, 1200, 2600),
    steps=5500,
    budget_s=5400.0,
    shares={
        "arm/grip@1": dataclasses.replace(FULL.shares["arm/grip@1"], demonstrations=400, corrections=150),
        "vehicle/intersection@1": dataclasses.replace(
            FULL.shares["vehicle/intersection@1"], demonstrations=200, corrections=120, batch=56
        ),
        "vehicle/varied@1": Share(demonstrations=160, corrections=80, episodes=0, batch=24, perturb=0.04),
        "vehicle/cologne1@1": Share(demonstrations=60, corrections=30, episodes=0, batch=16, perturb=0.04),
        "factory/shortage@1": dataclasses.replace(FULL.shares["factory/shortage@1"], demonstrations=240, batch=3),
        "factory/shortage-s@1": Share(demonstrations=240, corrections=0, episodes=0, batch=2, driver="atc"),
        "factory/events@1": Share(demonstrations=60, corrections=0, episodes=0, batch=1, driver="atc"),
        "factory/job-shop@1": Share(
            demonstrations=240, corrections=0, episodes=30, batch=4, compared=("best_of_4", "search_in_deadline")
        ),
        # teachers that switch between phases leave a student standing at the switch: corrections are of there
        "metaworld/mt50@1": Share(demonstrations=2000, corrections=250, episodes=0, batch=96, perturb=0.05),
    },
)
QUICK = Plan(
    name="quick",
    recipe="debug",
    correct_at=(10,),
    steps=20,
    shares={
        "arm/grip@1": Share(demonstrations=4, corrections=2, episodes=2, batch=8, compared=("fixed_4n",)),
        "vehicle/intersection@1": Share(
            demonstrations=3, corrections=1, episodes=2, batch=8, compared=("constant_speed",)
        ),
        "factory/shortage@1": Share(
            demonstrations=3, corrections=0, episodes=2, batch=2, driver="atc", compared=("edd",)
        ),
    },
    cut_short=("This is the quick demo: a few episodes and train steps that show the way, not what a model can do.",),
)


@app.callback(invoke_without_command=True)
def demo(
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run, by default demo-run, demo-run-quick or demo-run-long; it is gone on with."
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few minutes: every stage, nothing learnt.")] = False,
    long: Annotated[
        bool, typer.Option("--long", help="An hour and a quarter: more of everything, for a model worth keeping.")
    ] = False,
    processes: Annotated[int, typer.Option(min=1, help="Processes that simulate and train.")] = 2,
) -> None:
    """Do the whole job: about a quarter of an hour on two cores; interrupt it and start it again as you like."""
    if quick and long:
        raise ConfigError("--quick, --long: got both, expected at most one")
    plan = QUICK if quick else LONG if long else FULL
    out = out or default_out(plan.name)
    run = _Run(plan, out, processes)
    stages: list[tuple[str, Callable[[], str]]] = [
        ("Collect demonstrations", run.collect_demonstrations),
        *[
            stage
            for round_number, steps in enumerate(plan.correct_at)
            for stage in (
                (f"Train one model on all machines, to step {steps}", partial(run.train, steps)),
                (f"Export bundles of step {steps}", partial(run.export, steps)),
                (f"Let the model of step {steps} act and be corrected", partial(run.collect_corrections, round_number)),
            )
        ],
        (f"Train on, to step {plan.steps}", partial(run.train, plan.steps)),
        ("Export bundles", partial(run.export, plan.steps)),
        ("Measure in closed loop", run.measure),
        ("Make the report", run.report),
    ]
    for number, (name, do) in enumerate(stages, start=1):
        console.rule(f"[bold]{number} of {len(stages)}. {name}", align="left")
        run.stage(name, do)
    console.print(f"\n[bold green]Done[/] in {run.elapsed_s() / 60:.1f} minutes. Look at {out / 'report.html'}\n")


class _Run:
    def __init__(self, plan: Plan, out: Path, num_processes: int) -> None:
        self.plan, self.out, self.num_processes = plan, out, num_processes
        self.tasks: dict[str, Task] = {task_id: registry.task(task_id) for task_id in plan.shares}
        self.trust = TrustFolder.from_environment()
        #: the same folder serves the simulated machines, which stand where the demo runs
        self._machine = self.trust.path if self.trust else None
        out.mkdir(parents=True, exist_ok=True)
        path, command = out / "run.json", "genba demo" + ("" if plan is FULL else f" --{plan.name}")
        self.record = (
            RunRecord.read(path)
            if path.is_file()
            else RunRecord(
                command=command,
                date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                commit=commit(),
                preset=plan.recipe,
                hardware=hardware(),
                budget_s=plan.budget_s,
                cut_short=plan.cut_short,
            )
        )
        if self.record.command != command:
            raise ConfigError(f"{out}: holds a run of {self.record.command!r}, not of {command!r}; name another --out")

    def stage(self, name: str, do: Callable[[], str]) -> None:
        """Do one stage and add its time to the record, also where it breaks off."""
        began_s, detail = time.monotonic(), ""
        try:
            detail = do()
        finally:
            stages = {stage.name: stage for stage in self.record.stages}
            earlier = stages.get(name, Stage(name=name, wall_s=0.0))
            took_s = round(earlier.wall_s + time.monotonic() - began_s, 1)
            stages[name] = Stage(name=name, wall_s=took_s, detail=detail or earlier.detail)
            self.record = dataclasses.replace(self.record, stages=tuple(stages.values()))
            self.record.write(self.out)

    def elapsed_s(self) -> float:
        """Return the wall time of all stages, over all starts."""
        return sum(stage.wall_s for stage in self.record.stages)

    def collect_demonstrations(self) -> str:
        """Let every expert drive, or label what another does."""
        said = []
        for task_id, share in self.plan.shares.items():
            expert = self.tasks[task_id].expert
            # The expert labels every control step, also those where no decision is due or where noise led it astray.
            seeds = range(share.demonstrations)
            done = self._collect(task_id, share.driver or expert, seeds, labeller=expert, perturb=share.perturb)
            said.append(f"{done} {task_id}")
        return "demonstrations: " + ", ".join(said)

    def collect_corrections(self, round_number: int) -> str:
        """Let the model drive, on worlds of their own, and the expert label what it should have done."""
        said = []
        for task_id, share in self.plan.shares.items():
            if share.corrections:
                first = share.demonstrations + round_number * share.corrections
                bundle = self._bundle(task_id, self.plan.correct_at[round_number])
                expert = self.tasks[task_id].expert
                done = self._collect(task_id, str(bundle), range(first, first + share.corrections), labeller=expert)
                said.append(f"{done} {task_id}")
        return "corrected episodes: " + ", ".join(said)

    def train(self, until: int) -> str:
        """Train up to ``until`` steps; the learning rate follows one schedule over all of them."""
        folder = self.out / "train"
        newest = checkpoint.newest(folder)
        if newest is None or checkpoint.read_manifest(newest)["step"] < until:
            arguments = ["train", "run", "--vault", str(self.out / "vault"), "--out", str(folder)]
            arguments += ["--recipe", self.plan.recipe, "--steps", str(self.plan.steps), "--stop-at", str(until)]
            batch = Counter[str]()
            for task_id, share in self.plan.shares.items():
                batch[self.tasks[task_id].embodiment.id] += share.batch
            for embodiment_id, windows in batch.items():
                arguments += ["--batch", f"{embodiment_id}={windows}"]
            launch(arguments, self.num_processes)
        return f"{until} of {self.plan.steps} steps, {sum(s.batch for s in self.plan.shares.values())} windows each"

    def export(self, steps: int) -> str:
        """Export the mean weights for every machine whose bundle is not there yet."""
        missing = {}
        for task_id, task in self.tasks.items():
            path = self._bundle(task_id, steps)
            wanted = steps == self.plan.steps or self.plan.shares[task_id].corrections
            if wanted and not is_bundle(path):
                missing[task.embodiment.id] = path
        reports = export_run(self.out / "train", list(missing), missing, trust=self.trust) if missing else {}
        for report in reports.values():
            console.print(
                f"  {report.path}: {report.num_bytes / 1e6:.1f} MB, differs from torch by {report.max_difference:.0e}",
                highlight=False,
            )
        if steps == self.plan.steps:
            bundle = Bundle.read(self._bundle(next(iter(self.tasks)), steps))
            count = int(bundle.provenance["num_parameters"])
            self.record = dataclasses.replace(
                self.record, num_parameters=count, seed=recipe(self.plan.recipe).seed, preset=self.plan.recipe
            )
        return "ONNX graphs of each machine, checked against torch"

    def measure(self) -> str:
        """Drive every machine with the model and with what it is compared with, on the frozen test seeds."""
        measured = {task_id: share for task_id, share in self.plan.shares.items() if share.episodes}
        for task_id, share in measured.items():
            task = self.tasks[task_id]
            seeds = task.test_seeds[: share.episodes]
            bundle = self._bundle(task_id, self.plan.steps)
            for policy in (str(bundle), *share.compared):
                name = "model" if policy == str(bundle) else policy
                path = self.out / "results" / task_id / f"{name}.json"
                if path.is_file() and (
                    name != "model" or Result.read(path).weights_digest == Bundle.read(bundle).weights_digest
                ):
                    continue
                keep = [seeds[0]] if name == "model" else []
                result = roll_out(
                    task_id, policy, seeds=seeds, workers=self.num_processes, keep=keep, trust=self._machine
                )
                for seed in keep:
                    write_pictures(self.out, task_id, task.draw(result.traces[seed], name))
                result.write(path)
        return ", ".join(f"{share.episodes} {task_id}" for task_id, share in measured.items()) + " per policy"

    def report(self) -> str:
        """Write the page, with where the data stayed where this runs under a trust folder."""
        if self.trust is not None:
            self.record = dataclasses.replace(self.record, trust=where_data_stayed(self.trust))
        self.record.write(self.out)
        path = write_page(self.out)
        return f"{path.stat().st_size / 1e6:.1f} MB in one file"

    def _collect(self, task_id: str, policy: str, seeds: range, *, labeller: str, perturb: float = 0.0) -> int:
        vault = Vault.open(self.out / "vault", create=True)
        existing = {entry.episode_id for entry in vault.entries(task_id=task_id)}
        collect(
            task_id,
            policy=policy,
            seeds=seeds,
            sink=vault,
            workers=self.num_processes,
            labeller=labeller,
            perturb=perturb,
            existing=existing,
            provenance=OWNERS.get(task_id) if self.trust else None,
            trust=self._machine,
        )
        return len(seeds)

    def _bundle(self, task_id: str, steps: int) -> Path:
        """Say where the bundle lies that drives a task: one a machine, called by the first of its tasks."""
        machine = self.tasks[task_id].embodiment.id
        first = next(other for other, task in self.tasks.items() if task.embodiment.id == machine)
        return self.out / "bundles" / f"step_{steps:06d}" / first
