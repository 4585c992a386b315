"""A pack while it is made: its files, what is missing, and what does not hold."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """Something that an auditor looks for and that is not in the pack."""

    what: str
    why: str
    mend: str = ""
    """What would bring it in; empty where nothing does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Something that is in the pack and does not hold."""

    place: str
    message: str


class PackFolder:
    """Files by name, each written once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.missing: list[Missing] = []
        self.problems: list[Problem] = []

    def add(self, name: str, data: bytes) -> None:
        """Write a file.

        Raises:
            OSError: the disk refused, or there is one of this name.
        """
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            file.write(data)

    def add_json(self, name: str, table: Any) -> None:
        """Write a table for people and programs: the same bytes for the same content."""
        self.add(name, json_bytes(table))

    def copy(self, name: str, source: Path) -> None:
        """Take a file over as it is.

        Raises:
            OSError: it cannot be read, or the disk refused.
        """
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)

    def miss(self, what: str, why: str, mend: str = "") -> None:
        """List something as missing."""
        self.missing.append(Missing(what=what, why=why, mend=mend))

    def doubt(self, place: str, message: object) -> None:
        """List something as not holding."""
        # The folder has another name once it is whole.
        words = str(message).replace(f"{self.path}/", "").removeprefix(f"{place}: ")
        self.problems.append(Problem(place=place, message=words))

    def names(self) -> list[str]:
        """Return every file, sorted."""
        return sorted(path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if path.is_file())


def json_bytes(table: Any) -> bytes:
    """Return a table as JSON that people read too: one form, keys sorted, one to a line."""
    return (json.dumps(table, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
