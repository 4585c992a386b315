"""A floor in the same process: the contract without a carrier, for what-if questions and for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from genba.floor.events import Change, FloorEvent
from genba.floor.plant import Plant
from genba.floor.protocol import Answer, NewPlan
from genba.floor.state import FloorState


class LocalFloor:
    """A connection to a ``Plant`` of this process."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._queue: asyncio.Queue[FloorEvent] = asyncio.Queue()
        self._stop_listening = plant.listen(self._queue.put_nowait)

    async def snapshot(self) -> FloorState:
        """Return the plant's state, which is a value."""
        return self._plant.state

    async def events(self) -> AsyncIterator[FloorEvent]:
        """Yield events as they are reported."""
        while True:
            yield await self._queue.get()

    async def events_since(self, number: int) -> list[FloorEvent]:
        """Return every event after ``number``."""
        return [event for event in self._plant.events if event.number > number]

    async def write_plan(self, plan: NewPlan) -> Answer:
        """Hand a plan over."""
        return self._plant.write(plan)

    async def report(self, event_id: str, change: Change) -> FloorEvent:
        """Report that something happened."""
        return self._plant.report(event_id, change)

    async def close(self) -> None:
        """Listen no longer."""
        self._stop_listening()
