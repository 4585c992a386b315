"""A small log for the reader ``asc``, by python-can."""

from pathlib import Path

import can
from logs.can_messages import write


def write_log(folder: Path, seed: int = 0) -> tuple[Path, dict[str, object]]:
    """Write a log and its DBC; return the log and the reader's options."""
    return write(can.ASCWriter, folder / "drive.asc", seed)
