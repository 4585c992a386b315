"""A floor's state as named columns of plain values: how it travels, and how a server shows it to other programs.

A column per property, one value per order, line, component or delivery, so that a plant of a thousand orders is two dozen
variables and not ten thousand, and each is read and changed whole. Names and units are in ``COLUMNS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from genba.errors import SpecError
from genba.floor.state import FloorState
from genba.machines.factory.problem import Problem, Schedule

#: The tables of a floor: column -> (unit, axes of its values). How states travel and how servers show them.
COLUMNS: dict[str, tuple[str, str]] = {
    "Plant/Now": ("s", ""),
    "Plant/Horizon": ("s", ""),
    "Orders/Id": ("", "orders"),
    "Orders/Family": ("", "orders"),
    "Orders/Weight": ("1", "orders"),
    "Orders/Due": ("s", "orders"),
    "Orders/ProcessingTime": ("s", "orders lines"),
    "Orders/Requirement": ("count", "orders components"),
    "Lines/Name": ("", "lines"),
    "Lines/FirstFamily": ("", "lines"),
    "Lines/DownUntil": ("s", "lines"),
    "Families/SetupTime": ("s", "families families"),
    "Components/Name": ("", "components"),
    "Components/Stock": ("count", "components"),
    "Deliveries/PlannedTime": ("s", "components deliveries"),
    "Deliveries/Time": ("s", "components deliveries"),
    "Deliveries/Quantity": ("count", "components deliveries"),
    "Schedule/Start": ("s", "orders"),
    "Schedule/Line": ("", "orders"),
    "Schedule/Version": ("", ""),
    "Schedule/Decision": ("", ""),
    "Schedule/Answers": ("", ""),
    "Events/NewestNumber": ("", ""),
}


def to_tables(state: FloorState) -> dict[str, Any]:
    """Return a state as one plain value per name of ``COLUMNS``: numbers, strings and flat lists, row by row."""
    problem = state.problem

    def flat(values: np.ndarray) -> list[int]:
        return [int(value) for value in values.ravel()]

    return {
        "Plant/Now": state.now_s,
        "Plant/Horizon": problem.horizon_s,
        "Orders/Id": list(state.order_ids),
        "Orders/Family": flat(problem.family),
        "Orders/Weight": flat(problem.weight),
        "Orders/Due": flat(problem.due_s),
        "Orders/ProcessingTime": flat(problem.processing_time_s),
        "Orders/Requirement": flat(problem.requirement),
        "Lines/Name": list(state.line_names),
        "Lines/FirstFamily": flat(problem.line_family),
        "Lines/DownUntil": flat(state.down_until_s),
        "Families/SetupTime": flat(problem.setup_s),
        "Components/Name": list(state.component_names),
        "Components/Stock": flat(problem.stock),
        "Deliveries/PlannedTime": flat(problem.delivery_time_s),
        "Deliveries/Time": flat(problem.late_time_s),
        "Deliveries/Quantity": flat(problem.delivery_quantity),
        "Schedule/Start": flat(state.schedule.start_s),
        "Schedule/Line": flat(state.schedule.line),
        "Schedule/Version": state.version,
        "Schedule/Decision": state.decision_id,
        "Schedule/Answers": state.answers,
        "Events/NewestNumber": state.newest_event,
    }


def from_tables(tables: Mapping[str, Any], *, where: str) -> FloorState:
    """Build a state from what ``to_tables`` gave.

    Raises:
        SpecError: a column is missing, or its length does not fit the others.
    """
    for name in COLUMNS:
        if tables.get(name) is None:
            raise SpecError(f"{where}: no {name}; expected a floor with the columns of genba.floor.tables.COLUMNS")
    num = {
        "orders": len(tables["Orders/Id"]),
        "lines": len(tables["Lines/Name"]),
        "components": len(tables["Components/Name"]),
    }
    num["families"] = round(len(tables["Families/SetupTime"]) ** 0.5)
    num["deliveries"] = len(tables["Deliveries/Time"]) // max(num["components"], 1)
    column: dict[str, np.ndarray] = {}
    for name, (_, axes) in COLUMNS.items():
        if axes and name not in ("Orders/Id", "Lines/Name", "Components/Name"):
            shape = tuple(num[axis] for axis in axes.split())
            if len(tables[name]) != int(np.prod(shape)):
                raise SpecError(f"{where}: {name}: got {len(tables[name])} values, expected {axes} = {shape}")
            column[name] = np.array(tables[name], np.int64).reshape(shape)
    return FloorState(
        problem=Problem(
            seed=-1,
            processing_time_s=column["Orders/ProcessingTime"],
            family=column["Orders/Family"],
            weight=column["Orders/Weight"],
            due_s=column["Orders/Due"],
            setup_s=column["Families/SetupTime"],
            line_family=column["Lines/FirstFamily"],
            requirement=column["Orders/Requirement"],
            stock=column["Components/Stock"],
            delivery_time_s=column["Deliveries/PlannedTime"],
            delivery_quantity=column["Deliveries/Quantity"],
            late_time_s=column["Deliveries/Time"],
            event_time_s=int(tables["Plant/Now"]),
            horizon_s=int(tables["Plant/Horizon"]),
        ),
        order_ids=tuple(tables["Orders/Id"]),
        line_names=tuple(tables["Lines/Name"]),
        component_names=tuple(tables["Components/Name"]),
        schedule=Schedule(column["Schedule/Start"], column["Schedule/Line"]),
        down_until_s=column["Lines/DownUntil"],
        now_s=int(tables["Plant/Now"]),
        newest_event=int(tables["Events/NewestNumber"]),
        version=int(tables["Schedule/Version"]),
        decision_id=str(tables["Schedule/Decision"]),
        answers=int(tables["Schedule/Answers"]),
    )
