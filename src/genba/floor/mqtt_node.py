"""A floor as a Sparkplug B edge node: births, data, death, commands.

* ``NBIRTH`` holds every column of ``tables.COLUMNS`` with name, alias, unit and value, and ``bdSeq``; it comes at the
  start and whenever a host asks for it (``Node Control/Rebirth``). ``NDEATH`` with the same ``bdSeq`` is left with the
  broker as the will, so that a node that is killed is known to be dead.
* ``NDATA`` holds the columns that changed, by alias, and ``Floor/Event``, each new event as JSON. Sequence numbers run
  from 0 to 255; a host that misses one asks for a birth.
* ``NCMD`` carries requests in ``Floor/Request`` as JSON with an id (``write_plan``, ``report``, ``events_since``); the
  answer is in ``NDATA``'s ``Floor/Answer``, with the same id.

Source: Sparkplug 3.0.0 specification, chapters 4 (topics), 5 (sessions) and 6 (payloads).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

from genba.errors import ConfigError, FloorError, GenbaError
from genba.floor.events import FloorEvent, change_from_dict, to_dict, to_json
from genba.floor.mqtt import Address, failure, library
from genba.floor.plant import Plant
from genba.floor.protocol import plan_from_json
from genba.floor.sensors import SENSORS, Sensors
from genba.floor.sparkplug import NUM_SEQUENCE, STRING, parse, payload_type, put
from genba.floor.tables import COLUMNS, to_tables

REBIRTH, REQUEST, ANSWER, EVENT, BD_SEQ = (
    "Node Control/Rebirth",
    "Floor/Request",
    "Floor/Answer",
    "Floor/Event",
    "bdSeq",
)


class SparkplugNode:
    """Publishes a plant at a broker; ``async with`` starts and stops it.

    Args:
        plant: what is published.
        address: ``mqtt://host:port/group/node``.
        birth_number: of this session, ``bdSeq``; one more than the last session's.
        sensors: what its sensors measure; None for a floor without.

    Raises:
        FloorError: the broker cannot be reached, or the extra is not installed.
    """

    def __init__(self, plant: Plant, address: str, *, birth_number: int = 0, sensors: Sensors | None = None) -> None:
        self.plant, self.address = plant, Address.parse(address)
        self._birth_number, self._sensors = birth_number % NUM_SEQUENCE, sensors
        self._aiomqtt = library()
        self._tasks: list[asyncio.Task[None]] = []
        self._announced: asyncio.Queue[FloorEvent] = asyncio.Queue()
        self._sequence = 0
        self._published: dict[str, Any] = {}
        self._names = [*COLUMNS, EVENT, ANSWER, *(f"Sensors/{name}" for name in (SENSORS if sensors else ()))]

    async def __aenter__(self) -> SparkplugNode:
        death = payload_type()()
        self._add_birth_number(death)
        self._client = self._aiomqtt.Client(
            self.address.host,
            self.address.port,
            will=self._aiomqtt.Will(self.address.topic("NDEATH"), death.SerializeToString(), qos=1),
            logger=self.address.quiet,
        )
        try:
            await self._client.__aenter__()
            await self._client.subscribe(self.address.topic("NCMD"), qos=1)
            await self._birth()
        except self._aiomqtt.MqttError as error:
            raise failure(self.address.text, error) from error
        self._stop_listening = self.plant.listen(self._announced.put_nowait)
        self._tasks = [asyncio.create_task(self._serve()), asyncio.create_task(self._announce())]
        if self._sensors is not None:
            self._tasks += [asyncio.create_task(self._measure(name)) for name in SENSORS]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop_listening()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        death = payload_type()()
        self._add_birth_number(death)
        with contextlib.suppress(self._aiomqtt.MqttError):
            # a clean end sends no will: the node says itself that it goes
            await self._client.publish(self.address.topic("NDEATH"), death.SerializeToString(), qos=1)
            await self._client.__aexit__(None, None, None)

    async def wait(self) -> None:
        """Serve until the broker is gone.

        Raises:
            FloorError: it is.
        """
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if (error := task.exception()) is not None:
                raise failure(self.address.text, error) from error

    def _add_birth_number(self, payload: Any) -> None:
        payload.timestamp = _now_ms()
        metric = payload.metrics.add(name=BD_SEQ, timestamp=_now_ms())
        put(metric, self._birth_number)

    async def _birth(self) -> None:
        tables = to_tables(self.plant.state)
        payload = payload_type()()
        self._add_birth_number(payload)
        self._sequence = 0
        payload.seq = 0
        put(payload.metrics.add(name=REBIRTH, timestamp=_now_ms()), False)
        for alias, name in enumerate(self._names):
            metric = payload.metrics.add(name=name, alias=alias, timestamp=_now_ms())
            if name in COLUMNS:
                put(metric, tables[name])
                if unit := COLUMNS[name][0]:
                    _add_unit(metric, unit)
            elif name.startswith("Sensors/"):
                put(metric, [0.0] * self.plant.state.problem.num_lines)
                _add_unit(metric, SENSORS[name.partition("/")[2]].unit)
            else:
                metric.datatype, metric.is_null = STRING, True
        self._published = tables
        await self._client.publish(self.address.topic("NBIRTH"), payload.SerializeToString(), qos=0)

    async def _data(self, values: dict[str, Any], *, timestamp_ms: int | None = None) -> None:
        """Publish the columns that changed, and ``values`` beside them."""
        tables = to_tables(self.plant.state)
        changed = {name: value for name, value in tables.items() if value != self._published[name]}
        self._published = tables
        payload = payload_type()()
        payload.timestamp = _now_ms()
        self._sequence = (self._sequence + 1) % NUM_SEQUENCE
        payload.seq = self._sequence
        for name, value in {**changed, **values}.items():
            metric = payload.metrics.add(alias=self._names.index(name), timestamp=timestamp_ms or _now_ms())
            put(metric, value)
        await self._client.publish(self.address.topic("NDATA"), payload.SerializeToString(), qos=0)

    async def _announce(self) -> None:
        while True:
            event = await self._announced.get()
            await self._data({EVENT: to_json(event)})

    async def _measure(self, name: str) -> None:
        assert self._sensors is not None
        async for time_ns, values in self._sensors.samples(name):
            row = [float(value) for value in values]
            await self._data({f"Sensors/{name}": row}, timestamp_ms=time_ns // 1_000_000)

    async def _serve(self) -> None:
        async for message in self._client.messages:
            try:
                payload = parse(message.payload, where=str(message.topic))
            except FloorError:
                # not a command at all: nobody waits for an answer
                continue
            for metric in payload.metrics:
                if metric.name == REBIRTH and metric.boolean_value:
                    await self._birth()
                elif metric.name == REQUEST:
                    await self._data({ANSWER: self._answer(metric.string_value)})

    def _answer(self, text: str) -> str:
        request: Any = None
        try:
            request = json.loads(text)
            answer = self._do(request)
        except (GenbaError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            answer = {"refused": f"{type(error).__name__}: {error}"}
        return json.dumps({"id": request.get("id") if isinstance(request, dict) else None, "answer": answer})

    def _do(self, request: dict[str, Any]) -> Any:
        match request["what"]:
            case "write_plan":
                return json.loads(self.plant.write(plan_from_json(request["plan"], where="write_plan")).to_json())
            case "report":
                change = change_from_dict(request["change"], where="report")
                return to_dict(self.plant.report(request["event_id"], change))
            case "events_since":
                return [to_dict(event) for event in self.plant.events if event.number > request["number"]]
            case other:
                raise ConfigError(f"{REQUEST}: what: got {other!r}, expected write_plan, report or events_since")


def _add_unit(metric: Any, unit: str) -> None:
    metric.properties.keys.append("engUnit")
    metric.properties.values.add(type=STRING, string_value=unit)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
