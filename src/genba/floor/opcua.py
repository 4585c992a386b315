"""A floor behind an OPC UA server, as a controller sees it: the client's half of ``opcua_server``."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

from genba.errors import FloorError
from genba.floor.events import Change, FloorEvent, change_to_dict, event_from_dict, from_json
from genba.floor.protocol import Answer, NewPlan, answer_from_json
from genba.floor.state import FloorState
from genba.floor.tables import COLUMNS, from_tables

NAMESPACE = "urn:genba:floor"

#: Within what time a server must answer, seconds.
ANSWER_S = 5.0
#: How often a server sends what has changed, milliseconds.
PUBLISH_MS = 10.0
#: How often it is asked whether it is still there, seconds.
ALIVE_S = 0.5

T = TypeVar("T")


def library() -> Any:
    """Return ``asyncua``.

    Raises:
        FloorError: it is not installed.
    """
    try:
        # an optional extra, and LGPL: nothing else of Genba needs it
        found = importlib.import_module("asyncua")
    except ModuleNotFoundError as error:
        raise FloorError("OPC UA needs asyncua (LGPL-3.0-or-later): pip install 'genba[opcua]'") from error
    # it logs every lost connection with a trace; what matters is raised
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    return found


def failure(address: str, error: BaseException) -> FloorError:
    """Return the error that a caller can act on."""
    reason = str(error) or type(error).__name__
    return FloorError(f"{address}: {reason}; is the floor running there? (genba factory floor)")


class OpcUaFloor:
    """A connection to an OPC UA server; ``connect`` opens it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._asyncua = library()
        self._client = self._asyncua.Client(address, timeout=ANSWER_S)
        self._announced: asyncio.Queue[str | None] = asyncio.Queue()
        self._alive: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, address: str) -> OpcUaFloor:
        """Open a connection and begin to listen.

        Raises:
            FloorError: nothing answers there, or what answers is no floor.
        """
        self = cls(address)
        await self._ask(self._client.connect())
        try:
            await self._listen()
        except BaseException:
            await self.close()
            raise
        return self

    async def _listen(self) -> None:
        spaces = await self._ask(self._client.get_namespace_array())
        if NAMESPACE not in spaces:
            raise FloorError(f"{self.address}: no name space {NAMESPACE}; expected a floor's server")
        self._space = spaces.index(NAMESPACE)
        self._floor = await self._ask(self._client.nodes.objects.get_child(f"{self._space}:Floor"))
        self._subscription = await self._ask(self._client.create_subscription(PUBLISH_MS, _Handler(self._announced)))
        await self._ask(
            self._subscription.subscribe_data_change(self._node("Events/Newest"), queuesize=1000, sampling_interval=0)
        )
        self._alive = asyncio.create_task(self._watch())

    async def snapshot(self) -> FloorState:
        """Read every column in one request, again until the server is not changing them and two readings agree."""
        nodes = [self._node(name) for name in ("Plant/Changing", *COLUMNS)]
        before: list[Any] | None = None
        while True:
            changing, *values = await self._ask(self._client.read_values(nodes))
            if not changing and values == before:
                return from_tables(dict(zip(COLUMNS, values)), where=self.address)
            before = values

    async def events(self) -> AsyncIterator[FloorEvent]:
        """Yield the events that were announced since the connection was opened; the newest earlier one comes again."""
        while True:
            text = await self._announced.get()
            if text is None:
                raise FloorError(f"{self.address}: the connection was lost")
            if text:
                yield from_json(text, where=f"{self.address}: Events/Newest")

    async def events_since(self, number: int) -> list[FloorEvent]:
        """Call ``EventsSince``."""
        ua = self._asyncua.ua
        text = await self._call("EventsSince", ua.Variant(number, ua.VariantType.UInt64))
        where = f"{self.address}: EventsSince"
        return [from_json(event, where=where) for event in json.loads(text)]

    async def write_plan(self, plan: NewPlan) -> Answer:
        """Call ``WritePlan``."""
        return answer_from_json(await self._call("WritePlan", plan.to_json()), where=f"{self.address}: WritePlan")

    async def report(self, event_id: str, change: Change) -> FloorEvent:
        """Call ``Report``."""
        answer = json.loads(await self._call("Report", event_id, json.dumps(change_to_dict(change))))
        if "refused" in answer:
            raise FloorError(f"{self.address}: refused: {answer['refused']}")
        return event_from_dict(answer, where=f"{self.address}: Report")

    async def sensor_samples(self, names: list[str]) -> AsyncIterator[tuple[str, int, list[float]]]:
        """Yield (sensor, time in ns since 1970 by the source's clock, one value per line) from now on.

        Raises:
            FloorError: the floor has no such sensor, or the connection was lost.
        """
        queue: asyncio.Queue[tuple[str, int, list[float]]] = asyncio.Queue()
        nodes = [self._node(f"Sensors/{name}") for name in names]
        handler = _SensorHandler(queue, {node.nodeid: name for node, name in zip(nodes, names)})
        subscription = await self._ask(self._client.create_subscription(PUBLISH_MS, handler))
        # a queue as long as anything that can wait: no sample is thinned out
        await self._ask(subscription.subscribe_data_change(nodes, queuesize=10_000, sampling_interval=0))
        while self._alive is not None and not self._alive.done():
            try:
                yield await asyncio.wait_for(queue.get(), ALIVE_S)
            except TimeoutError:
                continue
        raise FloorError(f"{self.address}: the connection was lost")

    async def close(self) -> None:
        """Close the connection; a server that is gone is no error."""
        if self._alive is not None:
            self._alive.cancel()
        try:
            await asyncio.wait_for(self._client.disconnect(), 1.0)
        except Exception as error:
            # whatever the library meets on a dead connection: it is being given up
            logging.getLogger(__name__).debug("%s: while closing: %s", self.address, error)

    def _node(self, name: str) -> Any:
        return self._client.get_node(self._asyncua.ua.NodeId(name, self._space))

    async def _call(self, method: str, *arguments: Any) -> str:
        return str(await self._ask(self._floor.call_method(f"{self._space}:{method}", *arguments)))

    async def _watch(self) -> None:
        """Ask now and then whether the server is there; say so in the queue when it is not."""
        try:
            while True:
                await self._ask(self._client.check_connection())
                await self._ask(self._node("Plant/Now").read_value())
                await asyncio.sleep(ALIVE_S)
        except FloorError:
            self._announced.put_nowait(None)

    async def _ask(self, request: Awaitable[T]) -> T:
        try:
            return await asyncio.wait_for(request, ANSWER_S)
        except (OSError, TimeoutError, asyncio.CancelledError, self._asyncua.ua.UaError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            raise failure(self.address, error) from error


class _Handler:
    """Puts each announced event into a queue."""

    def __init__(self, queue: asyncio.Queue[str | None]) -> None:
        self._queue = queue

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        self._queue.put_nowait(value or "")


class _SensorHandler:
    """Puts each sample into a queue with its source's time."""

    def __init__(self, queue: asyncio.Queue[tuple[str, int, list[float]]], names: dict[Any, str]) -> None:
        self._queue, self._names = queue, names

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        moment = data.monitored_item.Value.SourceTimestamp
        time_ns = round(moment.timestamp() * 1e6) * 1000
        self._queue.put_nowait((self._names[node.nodeid], time_ns, list(value)))
