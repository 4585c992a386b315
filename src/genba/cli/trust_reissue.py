"""``genba trust reissue``: a new passport for the same weights, under agreements that were renewed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from genba.errors import CheckpointError
from genba.trust.folder import VARIABLE, TrustFolder


def reissue_command(
    run: Annotated[Path, typer.Argument(help="A checkpoint, or the folder of a training run: its newest.")],
    trust: Annotated[Path, typer.Option("--trust", envvar=VARIABLE, help=f"The trust folder (or ${VARIABLE}).")],
) -> None:
    """Make a checkpoint's passport anew under the agreements in force, once every owner's allows it; the weights stay.

    The passport that it replaces is named in the ledger and kept there. Bundles keep the one that they were exported with: export again.
    """
    # Imported here because it needs torch, and the other commands of this noun run where there is none.
    from genba.train import checkpoint
    from genba.train.reissue import reissue

    path = run if (run / checkpoint.MANIFEST).is_file() else checkpoint.newest(run)
    if path is None:
        raise CheckpointError(f"{run}: no checkpoint here; expected a folder of genba train run")
    done, console = reissue(TrustFolder.open(trust), path), Console()
    if not done.replaces:
        console.print(
            f"{path}: the agreements in force allow what passport {done.digest} says: {done.passport.deploy}; nothing was changed",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        return
    for line in (
        f"{path}: passport {done.digest} {done.passport.deploy}",
        f"  replaces {done.replaces}, which holds until it ends; the ledger keeps both",
        f"Next: genba bundle export {path} --embodiment MACHINE --out BUNDLE --trust {trust}",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("reissue")(reissue_command)
