"""A floor as an OPC UA server: its tables as variables with units, its events, and methods to report and to re-plan.

Address space, under ``Objects/Floor`` in the name space ``urn:genba:floor``: one folder per table and one array variable
per column of ``tables.COLUMNS`` (one value per order, line, component or delivery; matrices row by row), each with its
``EngineeringUnits``; ``Events/Newest``, the newest event as JSON, which listeners subscribe to; and three methods:
``WritePlan(json) -> json``, ``Report(event_id, json) -> json`` and ``EventsSince(number) -> json[]``. Sensors stand under
``Sensors``, each with the source's time stamps.

Anyone who reaches the port may read and write: security policy None, anonymous. It binds to loopback unless told
otherwise; a plant that lets others in puts a gateway with certificates before it. ``asyncua`` is LGPL, an optional extra.

Source: OPC 10000-8 (units), UNECE Recommendation 20 (codes of units).
"""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import Sequence
from typing import Any

from genba.errors import GenbaError
from genba.floor.events import FloorEvent, change_from_dict, to_json
from genba.floor.opcua import NAMESPACE, failure, library
from genba.floor.plant import Plant
from genba.floor.protocol import plan_from_json
from genba.floor.sensors import SENSORS, Sensors
from genba.floor.tables import COLUMNS, to_tables

#: Unit -> UNECE code and name.
UNITS = {"s": ("SEC", "second"), "count": ("C62", "one"), "1": ("C62", "one"), "K": ("KEL", "kelvin")}
UNITS |= {"W": ("WTT", "watt"), "m/s^2": ("MSK", "metre per second squared")}


class OpcUaServer:
    """Serves a plant; ``async with`` starts and stops it.

    Args:
        plant: what is served.
        endpoint: e.g. ``opc.tcp://127.0.0.1:4840``.
        sensors: what its sensors measure; None for a floor without.

    Raises:
        FloorError: the extra is not installed, or the port is taken.
    """

    def __init__(self, plant: Plant, endpoint: str, *, sensors: Sensors | None = None) -> None:
        self.plant, self.endpoint, self._sensors = plant, endpoint, sensors
        self._asyncua = library()
        self._nodes: dict[str, Any] = {}
        self._newest: Any = None
        self._changing: Any = None
        self._tasks: list[asyncio.Task[None]] = []
        self._announced: asyncio.Queue[FloorEvent | None] = asyncio.Queue()

    async def __aenter__(self) -> OpcUaServer:
        ua = self._asyncua.ua
        self._server = self._asyncua.Server()
        await self._server.init()
        self._server.set_endpoint(self.endpoint)
        self._server.set_server_name("Genba floor")
        self._server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        self._space = await self._server.register_namespace(NAMESPACE)
        await self._build()
        try:
            await self._server.start()
        except OSError as error:
            raise failure(self.endpoint, error) from error
        self._stop_listening = self.plant.listen(self._announced.put_nowait)
        self._tasks = [asyncio.create_task(self._announce())]
        if self._sensors is not None:
            self._tasks += [asyncio.create_task(self._measure(name)) for name in SENSORS]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop_listening()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.stop()

    async def _build(self) -> None:
        ua, space = self._asyncua.ua, self._space
        floor = await self._server.nodes.objects.add_object(space, "Floor")
        folders: dict[str, Any] = {}
        for name, value in to_tables(self.plant.state).items():
            folder, _, column = name.partition("/")
            if folder not in folders:
                folders[folder] = await floor.add_folder(space, folder)
            node = await folders[folder].add_variable(
                ua.NodeId(name, space), ua.QualifiedName(column, space), value, varianttype=_type_of(ua, value)
            )
            await self._add_unit(node, COLUMNS[name][0])
            self._nodes[name] = node
        # true while the columns are being changed: who reads them then reads again
        self._changing = await folders["Plant"].add_variable(
            ua.NodeId("Plant/Changing", space), ua.QualifiedName("Changing", space), False
        )
        newest = to_json(self.plant.events[-1]) if self.plant.events else ""
        self._newest = await folders["Events"].add_variable(
            ua.NodeId("Events/Newest", space), ua.QualifiedName("Newest", space), newest
        )
        text, number = ua.VariantType.String, ua.VariantType.UInt64
        for method, call, inputs in (
            ("WritePlan", self._write, [text]),
            ("Report", self._report, [text, text]),
            ("EventsSince", self._since, [number]),
        ):
            await floor.add_method(ua.NodeId(method, space), ua.QualifiedName(method, space), call, inputs, [text])
        if self._sensors is not None:
            folder = await floor.add_folder(space, "Sensors")
            for name, sensor in SENSORS.items():
                node = await folder.add_variable(
                    ua.NodeId(f"Sensors/{name}", space),
                    ua.QualifiedName(name, space),
                    [0.0] * self.plant.state.problem.num_lines,
                )
                await self._add_unit(node, sensor.unit)
                self._nodes[f"Sensors/{name}"] = node

    async def _add_unit(self, node: Any, unit: str) -> None:
        if not unit:
            return
        ua = self._asyncua.ua
        code, name = UNITS[unit]
        facts = ua.EUInformation(
            NamespaceUri="http://www.opcfoundation.org/UA/units/un/cefact",
            UnitId=int.from_bytes(code.encode(), "big"),
            DisplayName=ua.LocalizedText(unit),
            Description=ua.LocalizedText(name),
        )
        await node.add_property(ua.NodeId(), ua.QualifiedName("EngineeringUnits", 0), facts)

    async def _announce(self) -> None:
        """Publish each event, after the tables that it changed."""
        while True:
            event = await self._announced.get()
            await self._publish()
            if event is not None:
                await self._newest.write_value(to_json(event))

    async def _publish(self) -> None:
        await self._changing.write_value(True)
        for name, value in to_tables(self.plant.state).items():
            await self._nodes[name].write_value(value, varianttype=_type_of(self._asyncua.ua, value))
        await self._changing.write_value(False)

    async def _measure(self, name: str) -> None:
        assert self._sensors is not None
        ua, node = self._asyncua.ua, self._nodes[f"Sensors/{name}"]
        async for time_ns, values in self._sensors.samples(name):
            # OPC UA counts 100 ns; asyncua takes microseconds
            moment = datetime.datetime.fromtimestamp(time_ns / 1e9, datetime.UTC)
            await node.write_value(ua.DataValue(ua.Variant([float(v) for v in values]), SourceTimestamp=moment))

    def _write(self, _: Any, text: Any) -> Sequence[Any]:
        answer = self.plant.write(plan_from_json(text.Value, where="WritePlan"))
        if answer.outcome == "accepted":
            self._announced.put_nowait(None)
        return [self._text(answer.to_json())]

    def _report(self, _: Any, event_id: Any, text: Any) -> Sequence[Any]:
        try:
            event = self.plant.report(event_id.Value, change_from_dict(json.loads(text.Value), where="Report"))
        except (GenbaError, json.JSONDecodeError) as error:
            return [self._text(json.dumps({"refused": str(error)}))]
        return [self._text(to_json(event))]

    def _since(self, _: Any, number: Any) -> Sequence[Any]:
        events = [to_json(event) for event in self.plant.events if event.number > number.Value]
        return [self._text(json.dumps(events))]

    def _text(self, text: str) -> Any:
        return self._asyncua.ua.Variant(text, self._asyncua.ua.VariantType.String)


def _type_of(ua: Any, value: Any) -> Any:
    first = value[0] if isinstance(value, list) and value else value
    return ua.VariantType.String if isinstance(first, str) else ua.VariantType.Int64
