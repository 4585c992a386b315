"""Which file of a pack answers which clause of ISO/IEC 42001 and of the AI Act, Articles 10 to 12, and what no software answers.

The clauses stand in ``requirements.toml``. An index says where to look; whether a clause is met is for auditors.

Source: ISO/IEC 42001:2023; Regulation (EU) 2024/1689, Articles 10 to 12 and annex IV.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from genba.config import read_toml

FILE = "requirements.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirement:
    """One clause, or several of one subject."""

    framework: str
    clause: str
    about: str
    """Its subject, in our words."""
    files: tuple[str, ...] = ()
    """Patterns of the pack's files that answer it; none where no software does."""
    shows: str = ""
    """What they show."""
    left: str = ""
    """What they do not answer; empty where nothing is left."""

    def __post_init__(self) -> None:
        if bool(self.files) != bool(self.shows):
            raise ValueError(
                f"{self.clause}: got files {list(self.files)} and shows {self.shows!r}, expected both or neither"
            )
        if not self.files and not self.left:
            raise ValueError(f"{self.clause}: neither files nor what is left, expected one at least")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Index:
    requirements: tuple[Requirement, ...]


def requirements() -> tuple[Requirement, ...]:
    """Return every clause, in order."""
    return read_toml(Path(__file__).with_suffix(".toml"), _Index).requirements


def index(files: Iterable[str]) -> list[dict[str, Any]]:
    """Return for each clause which of a pack's files answer it, and what is left.

    Args:
        files: every file of the pack.
    """
    names = sorted(files)
    rows = []
    for one in requirements():
        found = [name for name in names if any(fnmatchcase(name, pattern) for pattern in one.files)]
        absent = [pattern for pattern in one.files if not any(fnmatchcase(name, pattern) for name in names)]
        rows.append(
            {
                "framework": one.framework,
                "clause": one.clause,
                "about": one.about,
                "answered": _state(one, found, absent),
                "shows": one.shows if found else "",
                "files": found,
                "absent": absent,
                "not_answered": one.left,
            }
        )
    return rows


def _state(one: Requirement, found: list[str], absent: list[str]) -> str:
    if not one.files:
        return "not by software"
    if not found:
        return "not by this pack"
    return "in part" if absent or one.left else "yes"
