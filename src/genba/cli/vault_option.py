"""Where the vault is and what it is read for: the options that the commands of ``genba data`` share."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from genba.data.vault import Vault
from genba.trust.requests import PURPOSES

VaultOption = Annotated[
    str,
    typer.Option("--vault", envvar="GENBA_VAULT", help="Folder of the vault, or s3://bucket/prefix (or $GENBA_VAULT)."),
]
DEFAULT_VAULT = "vault"

PurposeOption = Annotated[
    str, typer.Option("--purpose", help=f"What a governed vault is read for: {', '.join(PURPOSES)}.")
]
#: data is kept to be trained on: who looks at it, checks it or hands it on works towards that
DEFAULT_PURPOSE = "train"


def say_rules(vault: Vault, console: Console) -> None:
    """Say in one line whether owners' agreements are asked."""
    if vault.gate is None:
        line = "open vault: nobody asks owners' agreements here (genba trust govern)"
    else:
        trust = vault.gate.trust
        line = f"governed vault: {trust.party} at {trust.site}, ledger {vault.gate.ledger_id[7:19]}"
    console.print(f"[dim]{escape(line)}[/]", highlight=False)
