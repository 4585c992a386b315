"""Where the vault is: the option that the commands of ``genba data`` share."""

from __future__ import annotations

from typing import Annotated

import typer

VaultOption = Annotated[
    str,
    typer.Option("--vault", envvar="GENBA_VAULT", help="Folder of the vault, or s3://bucket/prefix (or $GENBA_VAULT)."),
]
DEFAULT_VAULT = "vault"
