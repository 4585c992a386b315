"""Whose data, under which agreement, a checkpoint's weights come from: a file that stays with the checkpoint.

It names owners, which a passport never does, and is what an export is decided by (``genba.train.passport`` writes it).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from genba.errors import PassportError
from genba.trust.digest import canonical_json
from genba.trust.requests import Holding

FILE, FORMAT = "sources.json", "genba-sources@1"


def to_bytes(sources: Iterable[Holding]) -> bytes:
    """Return sources as they are stored."""
    return canonical_json({"format": FORMAT, "sources": [list(one) for one in sorted(sources)]})


def read_sources(checkpoint: Path) -> tuple[Holding, ...]:
    """Return whose data, under which agreement, a checkpoint's weights come from.

    Raises:
        PassportError: the file is missing or no list of sources.
    """
    path = checkpoint / FILE
    try:
        table = json.loads(path.read_bytes())
        if table["format"] != FORMAT:
            raise ValueError(f"format {table['format']!r}, expected {FORMAT!r}")
        sources = tuple(Holding(*one) for one in table["sources"])
        if not all(isinstance(name, str) and name for one in sources for name in one):
            raise TypeError("expected owner, data set and agreement of each")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PassportError(
            f"{path}: whose data this checkpoint was made from is not known ({error}); copy the whole checkpoint again"
        ) from error
    return sources
