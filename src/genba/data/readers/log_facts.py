"""The facts of a machine that no registry knows: made from its log, or given by who imports it.

Every reader of a general format stands on this. Read next: ``derived`` and ``robot_facts``, which derive them for telemetry and for robots.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from genba.config import to_toml
from genba.data.readers.plain_names import log_id
from genba.errors import ConfigError, FormatError, ReaderError, SpecError
from genba.spec.conformance import check_episode
from genba.spec.embodiment import Embodiment, load_embodiment
from genba.spec.episode import Episode
from genba.trust.digest import digest_bytes

#: Help of the option that every reader with derived facts takes.
EMBODIMENT_OPTION = "the machine's facts: a registered id or a TOML file; by default derived from the log"


def named_by_facts(name: str, facts: Embodiment) -> Embodiment:
    """Return ``facts`` under the id ``log/<name>-<digest of the facts>@1``: equal facts get equal ids, others never."""
    text = to_toml(dataclasses.replace(facts, id="log/unnamed@1"))
    return dataclasses.replace(facts, id=log_id(name, digest_bytes(text.encode())))


def given_facts(place: Path | str, option: Any) -> Embodiment | None:
    """Return the facts that option ``embodiment`` names (an id, a file, or facts themselves); None where it is not given.

    Args:
        place: the log or the reader, for errors.

    Raises:
        ReaderError: there are no such facts.
    """
    if not option or isinstance(option, Embodiment):
        return option or None
    try:
        return load_embodiment(option if isinstance(option, Path) else str(option))
    except ConfigError as error:
        raise ReaderError(f"{place}: option embodiment: {error}") from error


def held_to(embodiment: Embodiment, episode: Episode, path: Path, *, given: bool = False) -> Episode:
    """Return ``episode`` where it fits ``embodiment``.

    Args:
        path: the log.
        given: whether the facts were given by who imports it: then they may be what is wrong.

    Raises:
        FormatError: naming the log, the channel, and what does not fit; where the facts were given, a ``ReaderError``.
    """
    try:
        check_episode(embodiment, episode)
    except SpecError as error:
        if given:
            raise ReaderError(f"{path}: does not fit the facts that were given: {error}") from error
        raise FormatError(path, f"values that its format does not allow: {error}") from error
    return episode


def narrow(values: Any) -> np.ndarray:
    """Return numbers as float32; what it cannot hold becomes an infinity, which no channel's limits allow."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values).astype(np.float32)
