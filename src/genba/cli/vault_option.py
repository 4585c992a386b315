"""Where the vault is: the option that the commands of ``genba data`` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

VaultOption = Annotated[
    Path, typer.Option("--vault", envvar="GENBA_VAULT", help="Folder of the vault (or $GENBA_VAULT).")
]
DEFAULT_VAULT = Path("vault")
