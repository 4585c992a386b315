"""What can happen on a floor, as facts with a number and an id, and how they travel as JSON.

The floor numbers events without gaps from 1; whoever reports one gives it an id, and the same id reported twice is the
same event. So a listener knows of a gap, a repetition and a wrong order from the number alone. What an event does to
the plan is in ``state``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from genba.config import build
from genba.errors import ConfigError, nearest


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryChanged:
    """A delivery comes at another time, whole or in part; a part that is cut comes at ``rest_time_s``."""

    component: str
    #: which of the component's deliveries, counted from 0 in the order in which they were announced
    delivery: int
    #: when it comes now, seconds on the plant's clock
    time_s: int
    #: units that come then; None for all
    quantity: int | None = None
    #: when the rest comes, seconds on the plant's clock; needed where ``quantity`` is given
    rest_time_s: int | None = None

    def __post_init__(self) -> None:
        if (self.quantity is None) != (self.rest_time_s is None):
            raise ValueError(
                f"quantity, rest_time_s: got {self.quantity}, {self.rest_time_s}, expected both or neither: "
                "units that never come leave orders that can never be made"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitsHeld:
    """Quality holds units of a component that are in stock until ``until_s``."""

    component: str
    quantity: int
    #: when they are released, seconds on the plant's clock
    until_s: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LineDown:
    """A line stands still until ``until_s``; the order on it goes on then."""

    line: str
    #: when it runs again, as expected now, seconds on the plant's clock
    until_s: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LineTime:
    """How long an order takes on a line, in seconds."""

    line: str
    processing_time_s: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """Units of a component that an order takes when it starts."""

    component: str
    quantity: int


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderAdded:
    """An order that was not there before."""

    order: str
    #: product family, as in the plant's set-up table
    family: int
    #: what a second of tardiness costs
    weight: int
    #: seconds on the plant's clock
    due_s: int
    #: lines that are not named cannot make it
    lines: tuple[LineTime, ...]
    needs: tuple[Need, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderRushed:
    """An order that is not made yet is wanted earlier, or matters more than before."""

    order: str
    #: seconds on the plant's clock
    due_s: int
    #: what a second of tardiness costs now
    weight: int


Change = DeliveryChanged | UnitsHeld | LineDown | OrderAdded | OrderRushed

#: What each kind of change is called where it travels.
KINDS: dict[str, type[Change]] = {
    "delivery_changed": DeliveryChanged,
    "units_held": UnitsHeld,
    "line_down": LineDown,
    "order_added": OrderAdded,
    "order_rushed": OrderRushed,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FloorEvent:
    """One event, as the floor announces it."""

    #: 1, 2, 3, ... without gaps
    number: int
    #: given by whoever reported it
    event_id: str
    #: when it became known, seconds on the plant's clock
    time_s: int
    #: when it became known, nanoseconds of the floor's host since 1970: what reaction times count from
    raised_ns: int
    change: Change


def to_dict(event: FloorEvent) -> dict[str, Any]:
    """Return an event as plain values."""
    return {**asdict(event), "change": change_to_dict(event.change)}


def to_json(event: FloorEvent) -> str:
    """Write an event on one line."""
    return json.dumps(to_dict(event), separators=(",", ":"))


def from_json(text: str, *, where: str) -> FloorEvent:
    """Read what ``to_json`` wrote.

    Args:
        text: one event.
        where: names the source in errors.

    Raises:
        ConfigError: not an event, naming the field at fault.
    """
    try:
        table = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where}: not an event in JSON: {error}") from error
    return event_from_dict(table, where=where)


def event_from_dict(table: Any, *, where: str) -> FloorEvent:
    """Build an event from plain values, strictly.

    Raises:
        ConfigError: naming the field at fault.
    """
    if not isinstance(table, dict) or "change" not in table:
        raise ConfigError(f"{where}: got {str(table)[:80]}, expected a table with 'change', 'event_id' and 'number'")
    plain = {name: value for name, value in table.items() if name != "change"}
    head = build(plain, _Head, where=where, path="")
    return FloorEvent(
        number=head.number,
        event_id=head.event_id,
        time_s=head.time_s,
        raised_ns=head.raised_ns,
        change=change_from_dict(table["change"], where=where),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Head:
    number: int
    event_id: str
    time_s: int
    raised_ns: int


def change_to_dict(change: Change) -> dict[str, Any]:
    """Return a change as plain values with its ``kind``."""
    kind = next(name for name, cls in KINDS.items() if isinstance(change, cls))
    return {"kind": kind, **asdict(change)}


def change_from_dict(table: Any, *, where: str) -> Change:
    """Build a change from plain values, strictly.

    Raises:
        ConfigError: an unknown kind, or a field that does not fit.
    """
    kind = table.get("kind") if isinstance(table, Mapping) else None
    if kind not in KINDS:
        raise ConfigError(f"{where}: change.kind: got {kind!r}, expected a known one{nearest(str(kind), KINDS)}")
    # JSON says null where TOML says nothing
    facts = {name: value for name, value in table.items() if name != "kind" and value is not None}
    return build(facts, KINDS[kind], where=where, path="change")
