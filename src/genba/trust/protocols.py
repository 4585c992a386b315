"""What the parts that decide need of the parts that keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Recorder(Protocol):
    """Keeps what happened, in order; a ledger is one."""

    def append(self, kind: str, body: Mapping[str, Any]) -> object:
        """Keep ``body``, which is plain values, before returning; raise where it could not be kept."""
        ...
