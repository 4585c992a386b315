"""``--trust``, as every command that asks the trust folder takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genba.trust.folder import VARIABLE

TrustOption = Annotated[
    Path | None,
    typer.Option("--trust", envvar=VARIABLE, help="The trust folder; a machine's small one serves to drive it."),
]
