"""What a controller and a floor say to each other, whatever carries it: the ``Floor`` contract and its two messages.

A new plan names the version that it replaces and the newest event that it takes into account, and carries an id made by
the controller. A floor takes each id at most once and no plan that was made for another version or before its newest
event, so a message that was sent twice, or by a controller that died and came back, changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Literal, Protocol

from genba.config import build
from genba.errors import ConfigError
from genba.floor.events import Change, FloorEvent
from genba.floor.state import FloorState

#: ``accepted``; ``repeated``: this id was accepted before; ``stale``: made for another version or an older event;
#: ``refused``: it breaks a rule of the plant.
Outcome = Literal["accepted", "repeated", "stale", "refused"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NewPlan:
    """A plan for every order that is free, as it is written to a floor."""

    #: made by the controller; the same for a plan that is sent again
    decision_id: str
    #: the version that it replaces
    base_version: int
    #: number of the newest event that it takes into account
    answers: int
    #: the moment that it was made for, seconds on the plant's clock
    decided_at_s: int
    orders: tuple[str, ...]
    lines: tuple[str, ...]
    #: seconds on the plant's clock
    starts_s: tuple[int, ...]

    def __post_init__(self) -> None:
        if not len(self.orders) == len(self.lines) == len(self.starts_s):
            raise ValueError(
                f"got {len(self.orders)} orders, {len(self.lines)} lines, {len(self.starts_s)} starts; expected one each"
            )

    def to_json(self) -> str:
        """Write it on one line."""
        return json.dumps(asdict(self), separators=(",", ":"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a floor says to a new plan."""

    outcome: Outcome
    #: of the plan in force now
    version: int
    #: in words, where it was not accepted
    reason: str = ""
    #: from the newest event answered to the plan being in force, seconds of the floor's own clock; below 0: not known
    reaction_s: float = -1.0

    def to_json(self) -> str:
        """Write it on one line."""
        return json.dumps(asdict(self), separators=(",", ":"))


def plan_from_json(text: str, *, where: str) -> NewPlan:
    """Read what ``NewPlan.to_json`` wrote.

    Raises:
        ConfigError: naming the field at fault.
    """
    return build(_parse(text, where), NewPlan, where=where, path="")


def answer_from_json(text: str, *, where: str) -> Answer:
    """Read what ``Answer.to_json`` wrote.

    Raises:
        ConfigError: naming the field at fault.
    """
    return build(_parse(text, where), Answer, where=where, path="")


def _parse(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where}: not JSON: {error}") from error


class Floor(Protocol):
    """A factory floor as a controller sees it. One connection; a new object for a new one."""

    async def snapshot(self) -> FloorState:
        """Return the floor as it is, all of one moment.

        Raises:
            FloorError: the floor cannot be reached.
        """
        ...

    def events(self) -> AsyncIterator[FloorEvent]:
        """Yield events as they are announced: perhaps twice, late or in another order, as the carrier has it.

        Raises:
            FloorError: the connection was lost.
        """
        ...

    async def events_since(self, number: int) -> list[FloorEvent]:
        """Return every event after ``number``, in order, for whoever has missed some.

        Raises:
            FloorError: the floor cannot be reached.
        """
        ...

    async def write_plan(self, plan: NewPlan) -> Answer:
        """Hand a new plan over.

        Raises:
            FloorError: no answer came; whether the plan is in force is not known, and it may be sent again.
        """
        ...

    async def report(self, event_id: str, change: Change) -> FloorEvent:
        """Report that something happened, as other systems of the plant do; the same id twice is one event.

        Raises:
            FloorError: the floor cannot be reached, or refuses the report.
        """
        ...

    async def close(self) -> None:
        """Give the connection back."""
        ...


class SensingFloor(Floor, Protocol):
    """A floor whose lines' sensors can be listened to as well."""

    def sensor_samples(self, names: list[str]) -> AsyncIterator[tuple[str, int, list[float]]]:
        """Yield (sensor, time in ns since 1970 by the source's clock, one value per line) from now on.

        Raises:
            FloorError: the floor has no such sensor, or the connection was lost.
        """
        ...
