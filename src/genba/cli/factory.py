"""``genba factory``: what is asked about a plant from the command line. Each command has a file of its own."""

from __future__ import annotations

import typer

from genba.cli.factory_check import check

app = typer.Typer(no_args_is_help=True, help="Check a plant's file.")


@app.callback()
def _factory() -> None:
    """Keep ``check`` a command of its own, though it is the only one."""


app.command()(check)
