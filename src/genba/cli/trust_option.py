"""``--trust``, as every command that asks the trust folder takes it, the options of commands that look through runs and bundles, and
the head that is signed when a command ends.

What it names is ``$GENBA_TRUST`` for every process that the command starts (``confined``).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from genba.errors import GenbaError
from genba.trust.folder import LEDGER_FOLDER, VARIABLE, TrustFolder

TrustOption = Annotated[
    Path | None,
    typer.Option("--trust", envvar=VARIABLE, help="The trust folder; a machine's small one serves to drive it."),
]

RunsOption = Annotated[
    list[Path] | None, typer.Option("--runs", help="Folder of training runs, or above such (may be repeated).")
]
BundlesOption = Annotated[
    list[Path] | None, typer.Option("--bundles", help="Folder of bundles, or above such (may be repeated).")
]


def sign_head() -> None:
    """Sign a head over what was entered into the ledger, where rules were named; a machine's folder has none."""
    if not os.environ.get(VARIABLE):
        return
    try:
        trust = TrustFolder.from_environment()
        if trust is not None and (trust.path / LEDGER_FOLDER).is_dir():
            trust.sign_head()
    except GenbaError as error:
        # The command is over and its entries are on disk: whoever has the key can sign them later.
        Console(stderr=True).print(
            f"[bold]genba:[/] the ledger's newest entries are under no signed head: {escape(str(error))}",
            highlight=False,
        )
