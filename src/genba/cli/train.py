"""``genba train``: one model from everything in a vault."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.markup import escape

from genba.cli.trust_option import TrustOption
from genba.cli.vault_option import say_rules
from genba.data.mixture import Share
from genba.data.vault import Vault
from genba.errors import ConfigError, nearest
from genba.spec.statistics import Statistics
from genba.train import checkpoint
from genba.train.data import prepare
from genba.train.launch import launch
from genba.train.loop import train
from genba.train.mesh import process_group
from genba.train.recipe import RECIPES, recipe
from genba.trust.folder import TrustFolder

#: what a share may name
_SHARED_BY = ("owner", "task", "embodiment")

app = typer.Typer(no_args_is_help=True, help="Train one model on everything in a vault.")


@app.command()
def run(
    vault: Annotated[str, typer.Option(help="Where the episodes are.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; one that has checkpoints is gone on with.")],
    name: Annotated[str, typer.Option("--recipe", help="One of: " + ", ".join(RECIPES) + ".")] = "tiny",
    steps: Annotated[int | None, typer.Option(min=1, help="Train steps; by default the recipe's.")] = None,
    stop_at: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many steps; the schedule stays that of --steps.")
    ] = None,
    batch: Annotated[list[str] | None, typer.Option(help="EMBODIMENT=WINDOWS per step; may be repeated.")] = None,
    share: Annotated[
        list[str] | None,
        typer.Option(
            help="How much comes from whose episodes, e.g. '2 owner=acme' '1 owner=zeta task=arm/grip@1' (each after its own "
            "--share); an episode belongs to the first that matches, '0' leaves out, and a last '1' takes the rest."
        ),
    ] = None,
    embodiment: Annotated[
        list[str] | None, typer.Option(help="Train on this one (may be repeated); by default all in the vault.")
    ] = None,
    start_from: Annotated[
        Path | None, typer.Option(help="A checkpoint, or a run's folder, whose weights and statistics to begin with.")
    ] = None,
    resume_from: Annotated[
        Path | None,
        typer.Option(help="A checkpoint of another run to go on from exactly, e.g. the last one before a withdrawal."),
    ] = None,
    attribute: Annotated[
        int,
        typer.Option(min=0, help="Windows of each owner whose gradients are traced at each checkpoint; 0 for none."),
    ] = 0,
    seed: Annotated[int, typer.Option(help="Seeds weights, order and noise.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    leave_out_refused: Annotated[
        bool, typer.Option("--leave-out-refused", help="Train without data whose owner does not allow it.")
    ] = False,
    processes: Annotated[int, typer.Option(min=1, help="Processes on this computer, data-parallel.")] = 1,
    trust: TrustOption = None,
) -> None:
    """Train, or go on training, one model on all machines jointly."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: got 'cuda', but torch finds no GPU here; use --device cpu")
    if processes > 1 and "WORLD_SIZE" not in os.environ:
        arguments = sys.argv[1:]
        launch(arguments, processes)
        return
    if device == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    chosen = recipe(name)
    changes: dict[str, object] = {"seed": seed, "attribute_windows": attribute}
    if steps is not None:
        changes["num_steps"] = steps
    if batch:
        changes["batch_sizes"] = dict(chosen.batch_sizes) | dict(_batch_size(text) for text in batch)
    if share:
        changes["shares"] = tuple(_share(text) for text in share)
    chosen = dataclasses.replace(chosen, **changes)  # type: ignore[arg-type]
    store = Vault.open(vault, purpose="train", trust=TrustFolder.open(trust) if trust else None)
    say_rules(store, Console())
    known = store.catalog.embodiment_ids()
    found = embodiment or [i for i in known if any(e.num_windows for e in store.entries(embodiment_id=i))]
    start = statistics = None
    begun = checkpoint.newest(out)
    if resume_from is not None and start_from is not None:
        raise ConfigError(
            "got --resume-from and --start-from, expected one: a whole state to go on from, or weights to begin with"
        )
    if begun is not None:
        statistics = stored_statistics(begun)
    elif resume_from is not None:
        statistics = stored_statistics(resume_from)
    elif start_from is not None:
        start = start_from if (start_from / checkpoint.MANIFEST).is_file() else checkpoint.newest(start_from)
        if start is None:
            raise ConfigError(f"start_from: {start_from} holds no checkpoint")
        statistics = stored_statistics(start)
    with process_group(device):
        machines = [store.embodiment(i) for i in found]
        data = prepare(store, machines, chosen, statistics, leave_out_refused=leave_out_refused)
        for one in data.left_out:
            Console().print(f"left out: {one.num_episodes} episodes: {escape(one.reason)}", highlight=False)
        train(
            chosen,
            data,
            out,
            device=device,
            start_from=start,
            resume_from=resume_from,
            stop_at=stop_at,
            extra={"left_out": [dataclasses.asdict(one) for one in data.left_out]} if data.left_out else {},
            trust=store.trust,
        )
    if os.environ.get("RANK", "0") == "0":
        typer.echo(_about_passport(out, store.trust), err=True)


@app.command()
def recipes() -> None:
    """Show the recipes and what they choose."""
    console = Console()
    for key, make in RECIPES.items():
        made = make()
        console.print(f"[bold cyan]{key}[/]  {(make.__doc__ or '').strip()}", highlight=False)
        for field in dataclasses.fields(made):
            if field.name not in ("name", "model"):
                console.print(f"    {field.name} = {getattr(made, field.name)}", highlight=False)


def stored_statistics(path: Path) -> dict[str, Statistics]:
    """Return the statistics that a checkpoint was trained with."""
    return {name: Statistics.from_json(table) for name, table in checkpoint.read_manifest(path)["statistics"].items()}


def _about_passport(out: Path, trust: TrustFolder | None) -> str:
    if trust is None:
        return (
            f"no passport: without a trust folder nobody signs what {out} was made from, and only simulators may be driven by "
            f"it; make one with: genba trust init, then train with --trust"
        )
    return f"passport in {checkpoint.newest(out)}, signed for {trust.party}; look at it with: genba audit passport"


def _share(text: str) -> Share:
    weight, *named = text.split() or [""]
    pairs = {name: value for name, _, value in (pair.partition("=") for pair in named)}
    for name, value in pairs.items():
        if name not in _SHARED_BY or not value:
            raise ConfigError(f"share: {text!r}: got {name!r}, expected NAME=VALUE{nearest(name, _SHARED_BY)}")
    try:
        number = float(weight)
    except ValueError:
        raise ConfigError(f"share: got {text!r}, expected WEIGHT [owner=NAME] [task=ID] [embodiment=ID]") from None
    return Share(weight=number, **pairs)


def _batch_size(text: str) -> tuple[str, int]:
    key, _, number = text.partition("=")
    if not number.isdigit() or int(number) < 1:
        raise ConfigError(f"batch: got {text!r}, expected EMBODIMENT=WINDOWS, e.g. arm/panda-grip@1=64")
    return key, int(number)
