"""Names of a log as an embodiment allows them, and the ids of machines that are known from their logs alone.

Names go into ids, and an id that was stored must come out the same for ever. So there are two spellings, which would
otherwise be one: ``snake_case`` parts the words of ``EngineSpeed``, as readers of telemetry have always done it, and
``plain_name`` leaves them together, as readers of robots' data sets have. (``message_batches.snake`` parts a little finer
than ``snake_case``.) Read next: ``log_facts``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable


def plain_name(text: str) -> str:
    """Return ``text`` as a name of a channel or dimension: lower-case ASCII letters, digits and single underscores."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "unnamed"


def snake_case(text: str) -> str:
    """Return ``plain_name`` of ``text``, with its words parted where a capital letter begins one."""
    return plain_name(re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3_\2\4", text))


def numbered(names: Iterable[str], reserved: Iterable[str] = ()) -> list[str]:
    """Return ``names``, those that stand there before (or are ``reserved``) with ``_2``, ``_3`` and so on behind them."""
    taken, out = set(reserved), []
    for name in names:
        found, count = name, 2
        while found in taken:
            found, count = f"{name}_{count}", count + 1
        taken.add(found)
        out.append(found)
    return out


def log_id(kind: str, digest: str) -> str:
    """Return the id of a machine that is known from its log: ``log/<kind>-<12 digits>@1``.

    Args:
        kind: what its logs are, or what they call it; left out where empty.
        digest: ``"sha256:..."`` of everything that makes it another machine.
    """
    return f"log/{kind}{'-' if kind else ''}{digest.removeprefix('sha256:')[:12]}@1"
