"""``genba factory``: run a factory floor, re-sequence one, ask what would happen if, check a plant's file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
import webbrowser
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from genba.cli.factory_anomalies import anomalies
from genba.cli.factory_check import check
from genba.cli.factory_job_shop import job_shop
from genba.cli.trust_option import TrustOption
from genba.data.vault import Vault
from genba.errors import ConfigError, FloorError
from genba.floor.connect import connect
from genba.floor.controller import Controller, Written
from genba.floor.decide import decider
from genba.floor.draw import draw_change
from genba.floor.events import Change, change_from_dict
from genba.floor.explain import moves, span
from genba.floor.mqtt_node import SparkplugNode
from genba.floor.opcua_server import OpcUaServer
from genba.floor.plant import Plant
from genba.floor.protocol import SensingFloor
from genba.floor.sensors import EMBODIMENT_ID, SENSORS, SensorRecorder, Sensors
from genba.floor.state import FloorState, begin
from genba.floor.what_if import WhatIf, change_from_words, what_if
from genba.machines.factory.generator import generate
from genba.report.gantt import write_gantt
from genba.spec.episode import EpisodeMetadata

app = typer.Typer(no_args_is_help=True, help="Run a factory floor, re-sequence one, ask what would happen if.")
app.command()(check)
app.command()(anomalies)
app.command(name="job-shop")(job_shop)

#: Before a node asks its broker again, seconds.
BROKER_PAUSE_S = 1.0

FloorOption = Annotated[str, typer.Option(help="opc.tcp://HOST:PORT or mqtt://HOST:PORT/GROUP/NODE.")]
PolicyOption = Annotated[str, typer.Option(help="A rule (atc, edd, ...), 'search', or the folder of a bundle.")]
DelayOption = Annotated[
    str | None, typer.Option(help="COMPONENT=TIME: its next delivery comes that much later, e.g. component-2=8h.")
]
BreakdownOption = Annotated[
    str | None, typer.Option(help="LINE=TIME: the line stands still that long, e.g. line-3=2h.")
]
RushOption = Annotated[str | None, typer.Option(help="ORDER or ORDER=TIME: wanted now, or within that time.")]
EventOption = Annotated[Path | None, typer.Option(help="A JSON file with any other change; see docs/factory.md.")]


@app.command()
def floor(
    journal: Annotated[Path, typer.Option(help="Where the floor remembers; the same again goes on.")],
    opcua: Annotated[str | None, typer.Option(help="Serve OPC UA here.")] = None,
    mqtt: Annotated[str | None, typer.Option(help="Be a Sparkplug B node here: mqtt://HOST:PORT/GROUP/NODE.")] = None,
    size: Annotated[str, typer.Option(help="Lines x orders.")] = "10x200",
    seed: Annotated[int, typer.Option(min=0, help="Which instance.")] = 0,
    sensors: Annotated[
        bool, typer.Option(help="Measure as well: vibration, power, temperature of every line.")
    ] = False,
    events_every: Annotated[float, typer.Option(min=0, help="Draw an event this often, in seconds; 0: none.")] = 0.0,
) -> None:
    """Run a simulated floor until interrupted."""
    if opcua is None and mqtt is None:
        raise ConfigError("genba factory floor: got neither --opcua nor --mqtt, expected at least one")
    plant = Plant(journal, size=size, seed=seed)
    sensing = Sensors(lambda: plant.state, seed=seed) if sensors else None
    asyncio.run(_serve(plant, opcua, mqtt, sensing, events_every))


async def _serve(
    plant: Plant, opcua: str | None, mqtt: str | None, sensors: Sensors | None, events_every_s: float
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        if opcua is not None:
            await stack.enter_async_context(OpcUaServer(plant, opcua, sensors=sensors))
        state = plant.state
        Console().print(
            f"floor: {state.problem.num_lines} lines, {state.problem.num_orders} orders, event {state.newest_event}, "
            f"plan version {state.version}; {' and '.join(filter(None, (opcua, mqtt)))}",
            highlight=False,
            soft_wrap=True,
        )
        tasks = [asyncio.create_task(_be_node(plant, mqtt, sensors))] if mqtt is not None else []
        if events_every_s:
            tasks.append(asyncio.create_task(_draw_events(plant, events_every_s)))
        # whichever fails ends the floor; without any the server runs until it is interrupted
        await (asyncio.gather(*tasks) if tasks else asyncio.Event().wait())


async def _be_node(plant: Plant, mqtt: str, sensors: Sensors | None) -> None:
    """Be a node at the broker, again and again: a broker that is gone comes back, and the plant goes on meanwhile."""
    while True:
        try:
            async with SparkplugNode(plant, mqtt, birth_number=plant.begin_session(), sensors=sensors) as node:
                await node.wait()
        except FloorError as error:
            Console().print(f"trouble: {error}", highlight=False, soft_wrap=True)
            await asyncio.sleep(BROKER_PAUSE_S)


async def _draw_events(plant: Plant, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        number = plant.state.newest_event + 1
        plant.report(f"drawn-{number}", draw_change(np.random.default_rng([plant.state.now_s, number]), plant.state))


@app.command()
def run(
    floor: FloorOption,
    journal: Annotated[Path, typer.Option(help="Where the controller remembers; the same again goes on.")],
    policy: PolicyOption = "search",
    trust: TrustOption = None,
    deadline: Annotated[float, typer.Option(min=0.001, help="Time for a decision, in seconds.")] = 0.25,
    plans: Annotated[int, typer.Option(min=0, help="End after this many plans in force; 0: never.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Append each plan's times and costs here, one JSON object a line.")
    ] = None,
) -> None:
    """Re-sequence a floor whenever something happens, until interrupted."""
    console, count = Console(), 0

    def written(plan: Written) -> None:
        nonlocal count
        count += 1
        console.print(
            f"version {plan.answer.version} answers event {plan.plan.answers}: {span(plan.cost_before_s)} -> "
            f"{span(plan.cost_after_s)} weighted lateness, in force {plan.answer.reaction_s * 1e3:.0f} ms after the event",
            highlight=False,
            soft_wrap=True,
        )
        if out is not None:
            with out.open("a", encoding="utf-8") as file:
                facts = {
                    "version": plan.answer.version,
                    "answers": plan.plan.answers,
                    "reaction_s": plan.answer.reaction_s,
                    "decision_s": plan.decision_s,
                    "cost_before_s": plan.cost_before_s,
                    "cost_after_s": plan.cost_after_s,
                }
                file.write(json.dumps(facts) + "\n")

    controller = Controller(
        connect=lambda: connect(floor),
        decider=decider(policy, trust=trust),
        journal=journal,
        deadline_s=deadline,
        on_written=written,
        on_trouble=lambda sentence: console.print(f"trouble: {sentence}", highlight=False, soft_wrap=True),
    )
    asyncio.run(controller.run(until=lambda: bool(plans) and count >= plans))


@app.command()
def report(
    floor: FloorOption,
    delay: DelayOption = None,
    breakdown: BreakdownOption = None,
    rush: RushOption = None,
    event: EventOption = None,
    event_id: Annotated[str | None, typer.Option(help="The event's id: the same twice is one event.")] = None,
) -> None:
    """Tell a floor that something happened."""

    async def tell(to: SensingFloor) -> None:
        change = _change(await to.snapshot(), delay, breakdown, rush, event)
        told = await to.report(event_id or uuid.uuid4().hex, change)
        Console().print(f"event {told.number} ({told.event_id}): {change}", highlight=False, soft_wrap=True)

    asyncio.run(_with_floor(floor, tell))


@app.command(name="what-if")
def what_if_command(
    floor: Annotated[str | None, typer.Option(help="A running floor; without one, a drawn instance is asked.")] = None,
    size: Annotated[str, typer.Option(help="Of the instance, lines x orders.")] = "10x200",
    seed: Annotated[int, typer.Option(min=0, help="Which instance.")] = 0,
    delay: DelayOption = None,
    breakdown: BreakdownOption = None,
    rush: RushOption = None,
    event: EventOption = None,
    policy: PolicyOption = "search",
    trust: TrustOption = None,
    deadline: Annotated[float, typer.Option(min=0.001, help="Time for the decision, in seconds.")] = 1.0,
    show: Annotated[int, typer.Option(min=0, help="How many moved orders to list.")] = 10,
    page: Annotated[Path | None, typer.Option(help="Write both plans as an interactive page.")] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Report the event to the floor and put the plan in force.")
    ] = False,
) -> None:
    """Show what an event would cost and which orders would move; changes nothing without --write."""
    if write and floor is None:
        raise ConfigError("genba factory what-if --write: expected --floor, the floor to write to")

    def ask(state: FloorState) -> WhatIf:
        change = _change(state, delay, breakdown, rush, event)
        found = what_if(state, change, decider(policy, trust=trust, acts=write), deadline_s=deadline)
        _show(found, show)
        if page is not None:
            write_gantt(page, found.before, found.after, title=found.title)
            Console().print(f"{page}", highlight=False, soft_wrap=True)
            if open_page and not webbrowser.open(page.resolve().as_uri()):
                Console().print("no browser was found to open it, or none may be started here", highlight=False)
        return found

    async def ask_floor(to: SensingFloor) -> None:
        found = ask(await to.snapshot())
        if write:
            told = await to.report(uuid.uuid4().hex, found.change)
            answer = await to.write_plan(found.plan)
            Console().print(
                f"event {told.number}; plan {answer.outcome}, version {answer.version} {answer.reason}", highlight=False
            )

    if floor is None:
        ask(begin(*generate(seed, size)))
    else:
        asyncio.run(_with_floor(floor, ask_floor))


@app.command()
def record(
    floor: FloorOption,
    vault: Annotated[str, typer.Option(help="Where the episodes go; made where there is none.")],
    seconds: Annotated[float, typer.Option(min=0.1, help="How long in all.")] = 60.0,
    episode_seconds: Annotated[float, typer.Option(min=0.1, help="Length of an episode.")] = 60.0,
    owner: Annotated[str, typer.Option(help="Who owns them.")] = "genba",
    dataset: Annotated[str, typer.Option(help="Which of the owner's data sets they belong to.")] = "default",
    site: Annotated[str, typer.Option(help="Where the floor is.")] = "floor",
    jurisdiction: Annotated[str, typer.Option(help="Whose law applies, e.g. JP.")] = "none",
    agreement: Annotated[str, typer.Option(help="Under which agreement they may be used.")] = "genba-demo",
) -> None:
    """Record a floor's sensors into a vault, each at its own rate and on its own clock."""
    sink = Vault.open(vault, create=True)

    async def listen(to: SensingFloor) -> None:
        recorder = SensorRecorder()
        until_s = time.monotonic() + seconds
        cut_s = min(until_s, time.monotonic() + episode_seconds)
        async for name, time_ns, values in to.sensor_samples(list(SENSORS)):
            recorder.add(name, time_ns, values)
            if time.monotonic() >= cut_s:
                number = recorder.num_samples
                episode = recorder.episode(
                    EpisodeMetadata(
                        episode_id=f"{EMBODIMENT_ID}/{time_ns}",
                        embodiment_id=EMBODIMENT_ID,
                        owner=owner,
                        site=site,
                        source=floor,
                        dataset=dataset,
                        jurisdiction=jurisdiction,
                        agreement=agreement,
                    )
                )
                sink.append(episode)
                Console().print(f"{episode.metadata.episode_id}: {number} samples", highlight=False)
                cut_s = min(until_s, time.monotonic() + episode_seconds)
                if time.monotonic() >= until_s:
                    return

    asyncio.run(_with_floor(floor, listen))


async def _with_floor(address: str, use: Callable[[SensingFloor], Awaitable[None]]) -> None:
    opened = await connect(address)
    try:
        await use(opened)
    finally:
        await opened.close()


def _change(
    state: FloorState, delay: str | None, breakdown: str | None, rush: str | None, event: Path | None
) -> Change:
    given = [
        name
        for name, value in (("--delay", delay), ("--breakdown", breakdown), ("--rush", rush), ("--event", event))
        if value
    ]
    if len(given) != 1:
        raise ConfigError(
            f"got {' and '.join(given) or 'no event'}, expected one of --delay, --breakdown, --rush, --event"
        )
    if event is not None:
        try:
            table = json.loads(event.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ConfigError(f"{event}: not a JSON file: {error}") from error
        return change_from_dict(table, where=str(event))
    return change_from_words(state, delay=delay, breakdown=breakdown, rush=rush)


def _show(found: WhatIf, limit: int) -> None:
    console = Console()
    console.print(f"\n[bold]{found.title}[/]\n", highlight=False, soft_wrap=True)
    for words, cost_s in (
        ("weighted lateness now", found.before.cost_s()),
        ("with the event, plan kept", found.kept.cost_s()),
        (f"with the event, re-planned ({found.policy})", found.after.cost_s()),
    ):
        console.print(f"  {words:<44} {cost_s / 3600:12.1f} h", highlight=False)
    moved = moves(found.before, found.after)
    console.print(
        f"\n{len(moved)} orders move" + (f"; the {limit} that it matters most to:" if len(moved) > limit else ":"),
        highlight=False,
    )
    for move in moved[:limit]:
        console.print(f"  {move.sentence}", highlight=False, soft_wrap=True)
