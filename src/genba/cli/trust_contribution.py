"""``genba trust contribution``: what each owner's data contributed to a run, counted and estimated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genba.cli.vault_option import DEFAULT_VAULT, VaultOption
from genba.data.contribution import OwnerShare, read_traced, shares, to_json
from genba.data.storage import write_durably
from genba.data.vault import Vault
from genba.errors import ConfigError
from genba.trust.digest import canonical_json

#: stands above the numbers; measured: docs/withdrawal.md
ALIKE = "~ estimates: between owners whose data are alike they tell nothing"


def contribution(
    run: Annotated[Path, typer.Argument(help="Folder of a training run, or a checkpoint.")],
    vault: VaultOption = DEFAULT_VAULT,
    out: Annotated[Path | None, typer.Option(help="Write it as JSON too.")] = None,
    leakage: Annotated[
        bool, typer.Option("--leakage/--no-leakage", help="Test whether training episodes show by their loss.")
    ] = True,
) -> None:
    """Say what each owner's data contributed: hours, bytes, windows read; and, as estimates, loss, attribution, leakage.

    Attribution needs a run that recorded it: genba train run --attribute 32.
    """
    # Imported here because it needs torch, and the other commands of this noun run where there is none.
    from genba.train import checkpoint
    from genba.train.contribution import leakage_of

    path = run if (run / checkpoint.MANIFEST).is_file() else checkpoint.newest(run)
    if path is None:
        raise ConfigError(f"{run}: holds no checkpoint; expected a folder of genba train run")
    reads = checkpoint.reads_of(path)
    if reads is None:
        raise ConfigError(f"{path}: no record of what was read; it was made by an earlier Genba, train again")
    kept = Vault.open(vault, purpose="train")
    traced = read_traced(path.parent, until=reads.step)
    embodiments = [one.id for one in checkpoint.embodiments_of(path)]
    found = shares(kept, reads, traced, leakage_of(path, kept, reads) if leakage else {}, embodiments)
    console = Console()
    for line in (f"What each owner's data contributed to {path}, {reads.step} train steps", ALIKE):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    _show(console, found)
    if out is not None:
        table = to_json(found, run=str(path), step=reads.step, reads=reads)
        write_durably(out, canonical_json(json.loads(json.dumps(table))) + b"\n", replace=True)


def _show(console: Console, found: list[OwnerShare]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    numbers = (
        "episodes",
        "hours",
        "MB",
        "windows",
        "of windows",
        "of loss ~",
        "attribution ~",
        "by Adam ~",
        "told by loss ~",
    )
    table.add_column("owner", overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right")
    for one in found:
        told = one.leakage
        leak = "" if told is None else f"too few: {told.num_members} and {told.num_held_back}"
        if told is not None and told.value is not None:
            leak = f"{told.value:.2f} ({told.low:.2f} – {told.high:.2f})"
        table.add_row(
            escape(one.owner),
            str(one.episodes),
            f"{one.hours:.3g}",
            f"{one.bytes / 1e6:.1f}",
            str(one.windows),
            f"{one.window_share:.0%}",
            *(
                "" if value is None else f"{value:.0%}"
                for value in (one.loss_share, one.attribution, one.attribution_adam)
            ),
            leak,
        )
    console.print(table, highlight=False)
    console.print(
        "Attribution: of the decrease of the held-back loss, to first order, the part that an owner's gradients point "
        "at (TracIn); no price and no proof. Told by loss: how often a training episode has a smaller loss than a held-back one, 0.5 "
        "is chance, with its 95 % interval.",
        highlight=False,
    )


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("contribution")(contribution)
