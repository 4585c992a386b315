"""A plant's lines, components and orders as a TOML file, and everything that may be wrong with one.

What a planner writes down, in hours and names, becomes a ``Problem`` in seconds and numbers; what could not be planned is refused
with the file, the row and what was expected. Nothing is put into force here: where a file is refused, the schedule that
runs goes on running.

    [[line]]                         [[component]]                 [[order]]
    name = "L1"                      name = "board"                name = "A-17"
    family = "pump"                  stock = 40                    family = "pump"
                                     delivery = [                  due_h = 30
    [[setup]]                          { in_h = 12, units = 80 },  on = [ { line = "L1", hours = 1.5 } ]
    from = "pump"                    ]                             needs = [ { component = "board", units = 2 } ]
    to = "valve"
    hours = 0.5

Read next: ``problem``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from genba.config import read_toml
from genba.errors import ConfigError, nearest
from genba.machines.factory.problem import MAX_PARTS, Problem

HOUR_S = 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class LineRow:
    """One line."""

    name: str
    #: what it is set up for now
    family: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SetupRow:
    """What it takes to set a line up for another family; none where no row says so."""

    from_: str = field(metadata={"key": "from"})
    to: str
    hours: float


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryRow:
    """Units that are announced."""

    #: from now
    in_h: float
    units: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ComponentRow:
    """One bought-in component."""

    name: str
    #: units that are here
    stock: int
    delivery: tuple[DeliveryRow, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class OnRow:
    """A line that can make an order, and how long it takes there."""

    line: str
    hours: float


@dataclass(frozen=True, kw_only=True, slots=True)
class NeedRow:
    """Units that an order takes when it starts."""

    component: str
    units: int


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderRow:
    """One order."""

    name: str
    family: str
    #: from now; negative where it is late already
    due_h: float
    on: tuple[OnRow, ...]
    needs: tuple[NeedRow, ...] = ()
    #: what an hour of lateness costs beside other orders'
    weight: int = 1
    #: orders that must have ended before; looked at for cycles, and not planned yet
    after: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PlantFile:
    """Everything in a file."""

    line: tuple[LineRow, ...]
    order: tuple[OrderRow, ...]
    component: tuple[ComponentRow, ...] = ()
    setup: tuple[SetupRow, ...] = ()


def read_plant(path: Path | str) -> Problem:
    """Read a plant's file.

    Raises:
        ConfigError: it cannot be read, or something in it cannot be planned; file and row are named.
    """
    return problem_of(read_toml(path, PlantFile), where=str(path))


def problem_of(plant: PlantFile, *, where: str) -> Problem:
    """Check what ``plant`` says and return it as a problem, now being 0.

    Args:
        plant: what a file holds.
        where: names the file in errors.

    Raises:
        ConfigError: naming the row that cannot be planned.
    """
    if not plant.line or not plant.order:
        raise ConfigError(f"{where}: got {len(plant.line)} lines and {len(plant.order)} orders, expected some of each")
    lines = _index(where, "line", [row.name for row in plant.line])
    components = _index(where, "component", [row.name for row in plant.component])
    orders = _index(where, "order", [row.name for row in plant.order])
    families = {name: i for i, name in enumerate(dict.fromkeys(row.family for row in (*plant.line, *plant.order)))}
    for number, component in enumerate(plant.component, 1):
        _check_component(f"{where}: component row {number} ({component.name!r})", component)
    setup_s = np.zeros((len(families), len(families)), np.int64)
    for number, setup in enumerate(plant.setup, 1):
        row = f"{where}: setup row {number}"
        ends = [_known(row, "family", name, families) for name in (setup.from_, setup.to)]
        if setup.hours < 0 or (ends[0] == ends[1] and setup.hours):
            raise ConfigError(
                f"{row}: hours: got {setup.hours} from {setup.from_!r} to {setup.to!r}, expected at least 0, "
                "and 0 within a family"
            )
        setup_s[ends[0], ends[1]] = round(setup.hours * HOUR_S)
    time_s = np.zeros((len(orders), len(lines)), np.int64)
    needs = np.zeros((len(orders), len(components)), np.int64)
    for i, order in enumerate(plant.order):
        row = f"{where}: order row {i + 1} ({order.name!r})"
        _check_order(row, order)
        for on in order.on:
            time_s[i, _known(row, "line", on.line, lines)] = max(round(on.hours * HOUR_S), 1)
        for need in order.needs:
            needs[i, _known(row, "component", need.component, components)] = need.units
    _check_after(where, plant.order, orders)
    _check_supply(where, plant, needs)
    width = max((len(row.delivery) for row in plant.component), default=0)
    delivery_s, units = np.zeros((2, len(components), width), np.int64)
    for k, component in enumerate(plant.component):
        for d, delivery in enumerate(component.delivery):
            delivery_s[k, d], units[k, d] = round(delivery.in_h * HOUR_S), delivery.units
    mean_s = time_s.sum(1) / (time_s > 0).sum(1)
    return Problem(
        seed=0,
        processing_time_s=time_s,
        family=np.array([families[row.family] for row in plant.order]),
        weight=np.array([row.weight for row in plant.order]),
        due_s=np.array([round(row.due_h * HOUR_S) for row in plant.order]),
        setup_s=setup_s,
        line_family=np.array([families[row.family] for row in plant.line]),
        requirement=needs,
        stock=np.array([row.stock for row in plant.component], np.int64),
        delivery_time_s=delivery_s,
        delivery_quantity=units,
        late_time_s=delivery_s,
        event_time_s=0,
        horizon_s=int(mean_s.sum() / len(lines)) + 1,
    )


def _check_component(row: str, component: ComponentRow) -> None:
    if component.stock < 0:
        raise ConfigError(f"{row}: stock: got {component.stock}, expected at least 0: what is owed is an order's need")
    for delivery in component.delivery:
        if delivery.in_h < 0 or delivery.units < 0:
            raise ConfigError(
                f"{row}: delivery: got {delivery.units} units in {delivery.in_h} h, expected neither below 0; what has come "
                "is stock"
            )


def _check_order(row: str, order: OrderRow) -> None:
    if not order.on:
        raise ConfigError(f"{row}: on: got no line, expected at least one that can make it")
    if order.weight < 1:
        raise ConfigError(f"{row}: weight: got {order.weight}, expected at least 1")
    for on in order.on:
        if on.hours <= 0:
            raise ConfigError(f"{row}: on: {on.line!r}: got {on.hours} hours, expected more than 0")
    for what, names in (("on", [on.line for on in order.on]), ("needs", [need.component for need in order.needs])):
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"{row}: {what}: {name!r} stands twice, expected once")
    for need in order.needs:
        if need.units < 1:
            raise ConfigError(f"{row}: needs: {need.component!r}: got {need.units} units, expected at least 1")
    if len(order.needs) > MAX_PARTS:
        raise ConfigError(f"{row}: needs: got {len(order.needs)} components, expected at most {MAX_PARTS}")


def _check_after(where: str, orders: Sequence[OrderRow], index: dict[str, int]) -> None:
    """Refuse precedences: unknown ones and cycles by name, all others because no planner here keeps them."""
    waits: dict[str, list[str]] = {}
    for number, order in enumerate(orders, 1):
        row = f"{where}: order row {number} ({order.name!r})"
        for name in order.after:
            _known(row, "order", name, index)
        waits[order.name] = list(order.after)
    finished: set[str] = set()
    for first in waits:
        path = [first]
        ahead = [iter(waits[first])] if first not in finished else []
        while ahead:
            following = next(ahead[-1], None)
            if following is None:
                finished.add(path.pop())
                ahead.pop()
            elif following in path:
                cycle = " after ".join(map(repr, [*path[path.index(following) :], following]))
                number = index[following] + 1
                raise ConfigError(
                    f"{where}: order row {number} ({following!r}): after: {cycle}: a cycle, so none can start"
                )
            elif following not in finished:
                path.append(following)
                ahead.append(iter(waits[following]))
    for number, order in enumerate(orders, 1):
        if order.after:
            raise ConfigError(
                f"{where}: order row {number} ({order.name!r}): after: got {list(order.after)}, expected none: an order is one "
                "operation here, and precedences are not planned"
            )


def _check_supply(where: str, plant: PlantFile, needs: np.ndarray) -> None:
    """Refuse the first order for which a component runs out for good."""
    for k, component in enumerate(plant.component):
        supply = component.stock + sum(delivery.units for delivery in component.delivery)
        used = np.cumsum(needs[:, k])
        if len(used) and used[-1] > supply:
            i = int((used > supply).argmax())
            raise ConfigError(
                f"{where}: order row {i + 1} ({plant.order[i].name!r}): needs: {component.name!r} runs out: all orders need "
                f"{used[-1]} units, expected at most the {supply} that are here or announced"
            )


def _index(where: str, what: str, names: list[str]) -> dict[str, int]:
    for number, name in enumerate(names, 1):
        if names.index(name) < number - 1:
            raise ConfigError(f"{where}: {what} row {number} ({name!r}): stands in row {names.index(name) + 1} too")
    return {name: i for i, name in enumerate(names)}


def _known(row: str, what: str, name: str, known: dict[str, int] | Iterable[str]) -> int:
    names = list(known)
    if name not in names:
        raise ConfigError(f"{row}: no {what} {name!r}{nearest(name, names)}")
    return names.index(name)
