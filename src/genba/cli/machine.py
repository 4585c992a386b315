"""``genba machine``: look at a machine at work."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from genba import registry
from genba.bench.rollout import check_passport, check_request
from genba.bench.worker import Job, Runner
from genba.cli.rerun_file import check_name, has_display, say_saved
from genba.cli.trust_option import TrustOption
from genba.errors import ConfigError
from genba.report.live_view import LiveRecorder, start_viewer, stop_viewer
from genba.runtime.bundle import Bundle

app = typer.Typer(no_args_is_help=True, help="Look at a machine at work.")


@app.callback()
def machine() -> None:
    """Look at a machine at work."""


@app.command()
def watch(
    task: Annotated[str, typer.Argument(help="A task, e.g. arm/grip@1; see 'genba bench list'.")],
    policy: Annotated[str, typer.Option(help="One of the task's policies, or the folder of a bundle.")],
    seed: Annotated[int | None, typer.Option(min=0, help="The world; by default the first frozen test seed.")] = None,
    save: Annotated[
        Path | None, typer.Option(help="Save the recording here (.rrd) instead of showing it live.")
    ] = None,
    speed: Annotated[float, typer.Option(min=0.01, help="Machine seconds per second on the screen.")] = 1.0,
    trust: TrustOption = None,
) -> None:
    """Watch one episode in Rerun while it happens: sensors, points, actions, what the guard did, and how it ended.

    Without a display the recording is saved beside you and the command that opens it is printed. Rerun's usage reports are
    off in everything that is started here.
    """
    console, found = Console(), registry.task(task)
    seed = found.test_seeds[0] if seed is None else seed
    if seed not in found.test_seeds and seed not in found.train_seeds:
        raise ConfigError(f"{task}: seed: got {seed}, expected a train seed or one of the frozen test seeds")
    check_request(found, policy, [seed])
    bundle = None if policy in found.policies else Bundle.read(policy, found.embodiment)
    if bundle is not None:
        check_passport(found, bundle, trust)
    if save is None and not has_display():
        save = Path(f"{task.replace('/', '-')}-{Path(policy).name}-{seed}.rrd")
    if save is not None:
        check_name(save)
    name = "model" if bundle else policy
    job = Job(
        task=task,
        policy=policy,
        policy_name=name,
        record_as="watch",
        keep=frozenset([seed]),
        enforce_deadline=bool(bundle),
        guard=bool(bundle),
        trust=str(trust or ""),
    )
    viewer, port = (None, 0) if save else start_viewer()
    try:
        lines = _episode(job, seed, LiveRecorder(found.embodiment, path=save, port=port, speed=0.0 if save else speed))
    except BaseException:
        # What was never filled is not left open; an interrupt at the terminal reaches this process alone.
        if viewer is not None:
            stop_viewer(viewer)
        raise
    console.print("\n".join(lines), highlight=False, markup=False)
    if save is not None:
        say_saved(save, console)
    elif viewer is not None:
        console.print("Close the viewer's window to end.")
        viewer.wait()


def _episode(job: Job, seed: int, recorder: LiveRecorder) -> list[str]:
    """Run one episode before the recorder; return how it ended, a line per number."""
    try:
        runner = Runner(job, recorder=recorder)
        try:
            done = runner.run(seed)
        finally:
            runner.close()
        lines = [
            f"- {metric}: {'none' if math.isnan(value) else f'{value:g}'}" for metric, value in done.outcome.items()
        ]
        lines += [f"- guard, {why}: {count} control steps" for why, count in done.run.log.interventions.items()]
        title = f"# {job.task} by {job.policy_name}, seed {seed}"
        recorder.show(runner.task.draw(done.trace or {}, job.policy_name), "\n".join([title, "", *lines]))
    finally:
        recorder.close()
    return lines
