"""A Rerun recording as a file: whether there is a screen instead, the name that it must have, and how to open it elsewhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console

from genba.errors import DataError


def has_display() -> bool:
    """Say whether a window can be opened here."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def check_name(path: Path) -> None:
    """Refuse a name by which Rerun would not know a recording.

    Raises:
        DataError: it does not end in ``.rrd``.
    """
    if path.suffix != ".rrd":
        raise DataError(f"{path}: got a name that ends in {path.suffix!r}, expected .rrd, by which Rerun knows it")


def say_saved(path: Path, console: Console) -> None:
    """Say how large a recording is, and by which command it opens where there is a screen."""
    console.print(f"[bold]{path}[/] ({path.stat().st_size / 1e6:.1f} MB); open it where there is a screen with:")
    # Its reports are on by default outside of this command; CI is the variable that its code asks for.
    console.print(f"  CI=1 TELEMETRY_ENABLED=false rerun {path}", highlight=False)
