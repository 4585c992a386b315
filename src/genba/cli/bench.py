"""``genba bench``: drive a machine with a policy in closed loop and keep the result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genba import registry
from genba.bench.collect import collect as collect_episodes
from genba.bench.conditions import measure_conditions
from genba.bench.results import Result
from genba.bench.rollout import DEFAULT_EPISODES, roll_out
from genba.cli.default_command import DefaultCommand
from genba.cli.trust_option import TrustOption
from genba.cli.vault_option import say_rules
from genba.data.vault import Vault
from genba.errors import ConfigError, RegistryError
from genba.report.run import write_pictures

GuardOption = Annotated[
    bool | None,
    typer.Option(
        "--guard/--no-guard", help="The machine's own guard, beside its limits; by default with a bundle only."
    ),
]
WayRoundOption = Annotated[
    bool | None,
    typer.Option("--way-round/--no-way-round", help="A way round what blocks the route; by default none."),
]


class _RunFirst(DefaultCommand):
    """``genba bench TASK --policy POLICY`` means ``genba bench run TASK --policy POLICY``."""

    default = "run"


app = typer.Typer(
    cls=_RunFirst,
    no_args_is_help=True,
    help="Drive a machine with a policy in closed loop and keep the result: genba bench TASK --policy POLICY.",
)


@app.command()
def run(
    task: Annotated[str, typer.Argument(help="A task, e.g. arm/grip@1; see 'genba bench list'; or a CommonRoad file.")],
    policy: Annotated[str, typer.Option(help="One of the task's policies, or the folder of a bundle.")],
    episodes: Annotated[int, typer.Option(min=1, help="How many of the task's frozen test seeds.")] = DEFAULT_EPISODES,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 runs in this one.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Write the result here as JSON.")] = None,
    flow_steps: Annotated[int | None, typer.Option(min=1, help="Flow steps; by default what the bundle says.")] = None,
    deadline: Annotated[
        bool | None,
        typer.Option("--deadline/--no-deadline", help="Treat late answers as late; by default with a bundle only."),
    ] = None,
    mask_channel: Annotated[
        list[str] | None, typer.Option(help="A channel that the policy is not shown; may be given several times.")
    ] = None,
    candidates: Annotated[
        int,
        typer.Option(min=1, help="Chunks that a bundle chooses among by its world model; 1 takes the flow's answer."),
    ] = 1,
    surprise: Annotated[
        Literal["off", "watch", "heed"],
        typer.Option(
            help="Whether a bundle's world model watches what comes, and whether the machine holds back then."
        ),
    ] = "off",
    guard: GuardOption = None,
    way_round: WayRoundOption = None,
    name: Annotated[str | None, typer.Option(help="What the result calls the policy; by default its own name.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="Draw the first episode into this folder.")] = None,
    trust: TrustOption = None,
) -> None:
    """Measure a policy on a task's frozen test seeds."""
    found = registry.task(task)
    if episodes > len(found.test_seeds):
        raise ConfigError(f"{task}: episodes: got {episodes}, expected at most {len(found.test_seeds)} test seeds")
    seeds = found.test_seeds[:episodes]
    result = roll_out(
        task,
        policy,
        seeds=seeds,
        workers=workers,
        keep=[seeds[0]] if pictures else [],
        name=name,
        enforce_deadline=deadline,
        flow_steps=flow_steps,
        masked=mask_channel or (),
        candidates=candidates,
        surprise=surprise,
        guard=guard,
        way_round=way_round,
        trust=trust,
    )
    if out is not None:
        result.write(out)
    _show(result)
    if out is not None:
        Console().print(f"written to {out}", highlight=False)
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
        for picture in found.draw(result.traces[seeds[0]], result.policy):
            kind = picture.media_type.partition("/")[2].partition("+")[0]
            path = pictures / f"{picture.title.lower().replace(' ', '-')}.{kind}"
            path.write_bytes(picture.data)
            Console().print(f"drawn to {path}", highlight=False)


@app.command()
def collect(
    task: Annotated[str, typer.Argument(help="A task, e.g. arm/grip@1; see 'genba bench list'.")],
    vault: Annotated[str, typer.Option(help="Where the episodes go; made where there is none.")],
    policy: Annotated[str, typer.Option(help="Who acts: one of the task's policies, or a bundle's folder.")],
    episodes: Annotated[int, typer.Option(min=1, help="How many; those already there are not made again.")] = 100,
    first_seed: Annotated[int, typer.Option(min=0, help="The first train seed.")] = 0,
    labeller: Annotated[str | None, typer.Option(help="Who says at each step what should be done (DAgger).")] = None,
    perturb: Annotated[float, typer.Option(help="Noise on what is executed, as a share of each action's range.")] = 0.0,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 runs in this one.")] = 2,
    owner: Annotated[str | None, typer.Option(help="Who owns what is recorded.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Which of the owner's data sets it belongs to.")] = None,
    site: Annotated[str | None, typer.Option(help="Where it is recorded.")] = None,
    jurisdiction: Annotated[str | None, typer.Option(help="Whose law applies, e.g. JP.")] = None,
    agreement: Annotated[str | None, typer.Option(help="Under which agreement it may be used.")] = None,
    trust: TrustOption = None,
) -> None:
    """Collect demonstrations, or corrections of a policy, into a vault."""
    given = {"owner": owner, "dataset": dataset, "site": site, "jurisdiction": jurisdiction, "agreement": agreement}
    sink = Vault.open(vault, create=True)
    say_rules(sink, Console())
    existing = {entry.episode_id for entry in sink.entries(task_id=task)}
    done = collect_episodes(
        task,
        policy=policy,
        seeds=range(first_seed, first_seed + episodes),
        sink=sink,
        workers=workers,
        labeller=labeller,
        perturb=perturb,
        existing=existing,
        provenance={name: value for name, value in given.items() if value is not None},
        trust=trust,
    )
    Console().print(
        f"{done.num_new} new episodes in {vault}, {done.num_existing} were there; success {done.success}",
        highlight=False,
    )


@app.command()
def conditions(
    machine: Annotated[str, typer.Argument(help="arm, vehicle or factory.")],
    policy: Annotated[
        list[str], typer.Option(help="A policy of the tasks, or a bundle's folder; may be given several times.")
    ],
    out: Annotated[Path, typer.Option(help="Results go to OUT/TASK/POLICY.json; what is there is not measured again.")],
    episodes: Annotated[int, typer.Option(min=1, help="How many of each task's frozen test seeds.")] = 100,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 runs in this one.")] = 2,
    deadline: Annotated[
        bool | None,
        typer.Option("--deadline/--no-deadline", help="Treat late answers as late; by default with a bundle only."),
    ] = None,
    guard: GuardOption = None,
    way_round: WayRoundOption = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Draw each first episode into this run's folder, for 'genba report RUN_DIR'.")
    ] = None,
    trust: TrustOption = None,
) -> None:
    """Measure policies on a machine's main task and on every condition that training never shows."""
    measured = measure_conditions(
        machine,
        policy,
        out,
        episodes=episodes,
        workers=workers,
        enforce_deadline=deadline,
        guard=guard,
        way_round=way_round,
        trust=trust,
    )
    for path, result in measured:
        Console().print(f"{path}: success {result.success}", highlight=False, soft_wrap=True)
        if pictures is not None:
            for trace in result.traces.values():
                write_pictures(pictures, result.task, registry.task(result.task).draw(trace, result.policy))


@app.command("list")
def list_tasks() -> None:
    """List the tasks, their policies and their metrics."""
    console = Console()
    for task_id in registry.TASKS:
        console.print(f"[bold cyan]{task_id}[/]", highlight=False)
        try:
            task = registry.task(task_id)
        except RegistryError as error:
            console.print(f"  not installed: {error}\n", highlight=False, markup=False)
            continue
        names = ", ".join(name for name in task.policies if name != task.expert)
        console.print(f"  {task.description}", highlight=False)
        console.print(f"  policies  [bold]{task.expert}[/] (expert), {names}", highlight=False)
        console.print("  metrics   " + ", ".join(f"{m.name} ({m.unit})" for m in task.metrics), highlight=False)
        console.print(f"  worlds    {len(task.test_seeds)} frozen test seeds\n", highlight=False)


def _show(result: Result) -> None:
    console, control = Console(), result.control
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_row("success", f"{result.success} (95 % Wilson, {len(result.seeds)} episodes)")
    for name, interval in result.metrics.items():
        table.add_row(name, str(interval))
    latency = result.latency
    held = "enforced" if result.deadline_enforced else "not enforced"
    table.add_row(
        "latency",
        f"p50 {latency.p50_s * 1e3:.3g} ms, p99 {latency.p99_s * 1e3:.3g} ms; deadline {result.deadline_s * 1e3:g} ms "
        f"({held}), missed {control['num_misses']} of {latency.num_decisions}",
    )
    table.add_row("fallbacks", f"{control['num_fallbacks']} of {control['num_steps']} control steps")
    reasons = ", ".join(f"{name} {count}" for name, count in control["interventions"].items())
    table.add_row("guard", f"{control['num_guarded']} of {control['num_steps']} control steps  {reasons}".rstrip())
    if result.passport:
        table.add_row("passport", result.passport)
    for reason, count in control.get("refusals", {}).items():
        table.add_row("refused", f"{count} of {control['num_steps']} control steps: {escape(reason)}")
    console.print(f"[bold]{result.task}[/] {result.policy}", highlight=False)
    console.print(table, highlight=False)
