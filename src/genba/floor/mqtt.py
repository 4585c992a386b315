"""A floor behind an MQTT broker that speaks Sparkplug B, as a controller sees it: the host's half of ``mqtt_node``.

It keeps the columns that the node's birth declared and its data messages change. A sequence number that is missing
means that something was lost: the connection is given up, and the next one begins with a birth. So does a death.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from genba.errors import ConfigError, FloorError
from genba.floor.events import Change, FloorEvent, change_to_dict, event_from_dict, from_json
from genba.floor.protocol import Answer, NewPlan, answer_from_json
from genba.floor.sparkplug import NUM_SEQUENCE, get, parse, payload_type, put
from genba.floor.state import FloorState
from genba.floor.tables import COLUMNS, from_tables

#: Within what time a node must answer, and how often a request is sent again within it, seconds.
ANSWER_S, AGAIN_S = 5.0, 1.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node is: broker, group and node id."""

    text: str
    host: str
    port: int
    group: str
    node: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``mqtt://host:port/group/node``.

        Raises:
            ConfigError: it reads differently.
        """
        parts = urlsplit(text)
        path = parts.path.strip("/").split("/")
        if parts.scheme != "mqtt" or not parts.hostname or len(path) != 2 or not all(path) or set("+#") & set(text):
            raise ConfigError(f"floor: got {text!r}, expected mqtt://HOST:PORT/GROUP/NODE")
        return cls(text, parts.hostname, parts.port or 1883, *path)

    def topic(self, kind: str) -> str:
        """Return the node's topic of one kind of message."""
        return f"spBv1.0/{self.group}/{kind}/{self.node}"

    @property
    def quiet(self) -> logging.Logger:
        """A logger that says nothing of lost connections: what matters is raised."""
        logger = logging.getLogger("genba.floor.mqtt.library")
        logger.setLevel(logging.CRITICAL)
        return logger


def library() -> Any:
    """Return ``aiomqtt``.

    Raises:
        FloorError: it is not installed.
    """
    try:
        # an optional extra: a floor over OPC UA does without
        return importlib.import_module("aiomqtt")
    except ModuleNotFoundError as error:
        raise FloorError("MQTT needs aiomqtt: pip install 'genba[mqtt]'") from error


def failure(address: str, error: BaseException) -> FloorError:
    """Return the error that a caller can act on."""
    return FloorError(f"{address}: {str(error) or type(error).__name__}; are the broker and the floor running there?")


class SparkplugFloor:
    """A connection to a node through its broker; ``connect`` opens it."""

    def __init__(self, address: str) -> None:
        self.address = Address.parse(address)
        self._aiomqtt = library()
        self._client = self._aiomqtt.Client(self.address.host, self.address.port, logger=self.address.quiet)
        self._announced: asyncio.Queue[str | FloorError] = asyncio.Queue()
        self._sensed: asyncio.Queue[tuple[str, int, list[float]] | FloorError] = asyncio.Queue()
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._names: dict[int, str] = {}
        self._types: dict[str, int] = {}
        self._values: dict[str, Any] = {}
        self._sequence: int | None = None
        self._birth_number: int | None = None
        self._born = asyncio.Event()
        self._lost: FloorError | None = None
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, address: str) -> SparkplugFloor:
        """Open a connection and wait for the node's birth.

        Raises:
            FloorError: no broker, or no node.
        """
        self = cls(address)
        try:
            await self._client.__aenter__()
        except self._aiomqtt.MqttError as error:
            raise failure(self.address.text, error) from error
        try:
            for kind in ("NBIRTH", "NDATA", "NDEATH"):
                await self._client.subscribe(self.address.topic(kind), qos=1)
            self._task = asyncio.create_task(self._listen())
            await self._until(self._born.wait(), lambda: self._command("Node Control/Rebirth", True))
        except BaseException as error:
            await self.close()
            if isinstance(error, self._aiomqtt.MqttError):
                raise failure(self.address.text, error) from error
            raise
        return self

    async def snapshot(self) -> FloorState:
        """Return the floor as births and data have told it; a message changes all its columns at once."""
        self._raise_if_lost()
        return from_tables({name: self._values.get(name) for name in COLUMNS}, where=self.address.text)

    async def events(self) -> AsyncIterator[FloorEvent]:
        """Yield the events that were announced since the connection was opened."""
        while True:
            text = await self._announced.get()
            if isinstance(text, FloorError):
                raise text
            yield from_json(text, where=f"{self.address.text}: Floor/Event")

    async def events_since(self, number: int) -> list[FloorEvent]:
        """Ask for every event after ``number``."""
        found = await self._request("events_since", number=number)
        return [event_from_dict(event, where=f"{self.address.text}: events_since") for event in found]

    async def write_plan(self, plan: NewPlan) -> Answer:
        """Send a plan, again until an answer comes; the node takes it once."""
        answer = await self._request("write_plan", plan=plan.to_json())
        return answer_from_json(json.dumps(answer), where=f"{self.address.text}: write_plan")

    async def report(self, event_id: str, change: Change) -> FloorEvent:
        """Report that something happened."""
        answer = await self._request("report", event_id=event_id, change=change_to_dict(change))
        return event_from_dict(answer, where=f"{self.address.text}: report")

    async def sensor_samples(self, names: list[str]) -> AsyncIterator[tuple[str, int, list[float]]]:
        """Yield (sensor, time in ns since 1970 by the source's clock, one value per line) from now on.

        Raises:
            FloorError: the floor has no such sensor, or the connection was lost.
        """
        for name in names:
            if f"Sensors/{name}" not in self._types:
                raise FloorError(f"{self.address.text}: no sensor {name!r}; start the floor with --sensors")
        while True:
            sample = await self._sensed.get()
            if isinstance(sample, FloorError):
                raise sample
            if sample[0] in names:
                yield sample

    async def close(self) -> None:
        """Close the connection; a broker that is gone is no error."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(self._aiomqtt.MqttError):
            await self._client.__aexit__(None, None, None)

    async def _listen(self) -> None:
        try:
            async for message in self._client.messages:
                topic = str(message.topic)
                self._take(topic.split("/")[2], parse(message.payload, where=topic))
        except FloorError as error:
            self._lose(error)
        except self._aiomqtt.MqttError as error:
            self._lose(failure(self.address.text, error))

    def _take(self, kind: str, payload: Any) -> None:
        """Take in one message of the node.

        Raises:
            FloorError: the node died, or a message was lost.
        """
        where = f"{self.address.text}: {kind}"
        if kind == "NDEATH":
            number = next((int(m.long_value) for m in payload.metrics if m.name == "bdSeq"), None)
            # the will of a session before this birth comes late and says nothing of this one
            if self._born.is_set() and number == self._birth_number:
                raise FloorError(f"{where}: the floor's node has died")
            return
        if kind == "NBIRTH":
            self._names = {m.alias: m.name for m in payload.metrics if m.HasField("alias")}
            self._types = {m.name: m.datatype for m in payload.metrics}
            self._birth_number = next((int(m.long_value) for m in payload.metrics if m.name == "bdSeq"), None)
        elif self._sequence is None:
            # from before the birth that was asked for
            return
        elif payload.seq != (self._sequence + 1) % NUM_SEQUENCE:
            raise FloorError(
                f"{where}: sequence number {payload.seq} after {self._sequence}: a message was lost; starting anew"
            )
        self._sequence = int(payload.seq)
        for metric in payload.metrics:
            name = metric.name or self._names.get(metric.alias, "")
            if name and not metric.is_null:
                self._hand_out(name, get(metric, metric.datatype or self._types[name], where=where), metric.timestamp)
        if kind == "NBIRTH":
            self._born.set()

    def _hand_out(self, name: str, value: Any, timestamp_ms: int) -> None:
        if name == "Floor/Event":
            self._announced.put_nowait(value)
        elif name == "Floor/Answer":
            answer = json.loads(value)
            future = self._waiting.pop(answer["id"], None)
            if future is not None and not future.done():
                future.set_result(answer["answer"])
        elif name.startswith("Sensors/") and self._born.is_set():
            self._sensed.put_nowait((name.partition("/")[2], timestamp_ms * 1_000_000, value))
        else:
            self._values[name] = value

    async def _request(self, what: str, **facts: Any) -> Any:
        self._raise_if_lost()
        number = uuid.uuid4().hex
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        text = json.dumps({"id": number, "what": what, **facts})
        answer = await self._until(future, lambda: self._command("Floor/Request", text))
        if isinstance(answer, dict) and "refused" in answer:
            raise FloorError(f"{self.address.text}: refused: {answer['refused']}")
        return answer

    async def _until(self, waiting: Any, send: Any) -> Any:
        """Send, and again now and then, until what is waited for has come."""
        task = asyncio.ensure_future(waiting)
        try:
            for _ in range(round(ANSWER_S / AGAIN_S)):
                await send()
                await asyncio.wait([task], timeout=AGAIN_S)
                self._raise_if_lost()
                if task.done():
                    return task.result()
        except self._aiomqtt.MqttError as error:
            raise failure(self.address.text, error) from error
        finally:
            task.cancel()
        raise failure(self.address.text, TimeoutError(f"no answer within {ANSWER_S:g} s"))

    async def _command(self, name: str, value: Any) -> None:
        payload = payload_type()()
        put(payload.metrics.add(name=name), value)
        await self._client.publish(self.address.topic("NCMD"), payload.SerializeToString(), qos=1)

    def _lose(self, error: FloorError) -> None:
        self._lost = error
        self._announced.put_nowait(error)
        self._sensed.put_nowait(error)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)

    def _raise_if_lost(self) -> None:
        if self._lost is not None:
            raise self._lost
