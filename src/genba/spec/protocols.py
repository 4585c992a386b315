"""The contracts between the parts: what a policy, an environment, a guard, a reader and a sink are.

Each is checked by ``conformance``; every registered implementation passes the same suite.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from genba.spec.action import Action, ActionChunk
from genba.spec.embodiment import Embodiment
from genba.spec.episode import Episode
from genba.spec.observation import Observation
from genba.spec.streams import Stream


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What an environment gives after one control step.

    Attributes:
        time_ns: the machine's time now.
        samples: channel name -> the new samples since the step before, each on its own clock.
        terminated: the task ended by itself (success or failure).
        truncated: the time ran out.
        decision_due: whether the machine wants a new decision now. False where it goes on with the last one (a
            factory between events); the next ``step`` then takes None.
    """

    time_ns: int
    samples: Mapping[str, Stream]
    terminated: bool = False
    truncated: bool = False
    decision_due: bool = True


@runtime_checkable
class Env(Protocol):
    """A machine in its world. One control period passes per ``step``; the same seed gives the same world."""

    embodiment: Embodiment

    def reset(self, seed: int) -> Step:
        """Begin an episode; its first samples come back."""
        ...

    def step(self, action: Action | None) -> Step:
        """Apply one action for one control period."""
        ...

    def trace(self) -> dict[str, np.ndarray]:
        """Return the ground truth of the episode so far, for verifiers and pictures, never for a policy."""
        ...

    def instruction(self) -> str:
        """Return what is wanted, in words; empty where the machine takes no instruction."""
        ...

    def close(self) -> None:
        """Release processes and memory."""
        ...


@runtime_checkable
class Policy(Protocol):
    """What acts: a network, an expert or a baseline."""

    name: str

    def reset(self, seed: int) -> None:
        """Forget everything; ``seed`` seeds whatever is drawn."""
        ...

    def act(self, observation: Observation) -> ActionChunk:
        """Answer an observation with at least one action."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a guard makes of an action.

    Attributes:
        action: what may go to the machine.
        reasons: one word per intervention, e.g. ``"grip_force:rate"``; empty where nothing was changed.
    """

    action: Action
    reasons: tuple[str, ...] = field(default=())


@runtime_checkable
class Guard(Protocol):
    """What says no: between every policy and every actuator; knows limits, not models."""

    def reset(self) -> None:
        """Forget the last action."""
        ...

    def check(self, action: Action, observation: Observation) -> Verdict:
        """Pass, bound or replace an action."""
        ...


@runtime_checkable
class Router(Protocol):
    """What may replace the route in what a machine sees, before policy and guard see it; the record keeps what came."""

    def reset(self) -> None:
        """Forget the way round."""
        ...

    def see(self, observation: Observation) -> tuple[Observation, Observation]:
        """Return what the policy is shown and what the guard is: with the route to follow, and the guard all that was sensed."""
        ...


@runtime_checkable
class Reader(Protocol):
    """Reads one foreign log format into episodes."""

    name: str
    #: one line for people: what these logs are
    description: str
    #: option name -> what it says, for options beyond ``owner``, ``site``, ``jurisdiction`` and ``agreement``
    options: Mapping[str, str]

    def recognises(self, path: Path) -> bool:
        """Say whether ``path`` looks like this format, without reading it all; never raises."""
        ...

    def embodiment(self, path: Path, **options: Any) -> Embodiment:
        """Return the facts of the machine that recorded ``path``: registered ones, or derived from the log itself.

        Raises:
            ReaderError: naming the file and what does not fit.
        """
        ...

    def read(self, path: Path, **options: Any) -> Iterator[Episode]:
        """Yield the episodes of ``path``, each in the terms of ``embodiment(path)`` and named by its content.

        Raises:
            FormatError: naming the file, and the offset where one place is at fault.
            ReaderError: an option is missing, unknown or does not fit the log.
        """
        ...


@runtime_checkable
class PartedReader(Reader, Protocol):
    """A reader of logs with parts (scenes, frames, demonstrations), each of which can be read alone.

    An import spreads such parts over processes, and goes on after the last one that is stored. ``read`` then takes one
    option more, ``part``.
    """

    def parts(self, path: Path, **options: Any) -> list[str]:
        """Return the names of the parts of ``path`` in their order, without decoding them.

        Raises:
            ReaderError: naming the file and what does not fit.
        """
        ...


@runtime_checkable
class Writer(Protocol):
    """Writes episodes of one machine as a foreign format, for people and tools that work with it."""

    name: str
    #: one line for people: what is written, and what the format cannot hold
    description: str

    def write(self, path: Path, embodiment: Embodiment, episodes: Iterable[Episode]) -> None:
        """Write ``episodes`` to ``path``, which must not exist yet; whole or not at all.

        Raises:
            DataError: something that the format cannot hold and that may not be left out.
            StorageError: the disk refused; nothing is left behind.
        """
        ...


@runtime_checkable
class EpisodeSink(Protocol):
    """Takes finished episodes; a vault is one."""

    def append(self, episode: Episode) -> None:
        """Store one episode whole, or raise and store nothing of it."""
        ...
