import asyncio
import json

import numpy as np

from genba.errors import FloorError
from genba.floor.controller import Controller
from genba.floor.decide import decider
from genba.floor.draw import draw_change
from genba.floor.events import LineDown, from_json
from genba.floor.local import LocalFloor
from genba.floor.plant import Plant


class RoughFloor(LocalFloor):
    """A connection that loses, repeats and reorders events, loses answers, and breaks off now and then; seeded."""

    rng = np.random.default_rng(0)

    async def events(self):
        kept = []
        async for event in super().events():
            kept.append(event)
            fate = self.rng.random()
            if fate < 0.2:
                continue  # lost for now
            if fate < 0.3:
                raise FloorError("the connection was lost")
            for one in self.rng.permutation(np.array([*kept, event], object)):
                yield one
            kept = []

    async def write_plan(self, plan):
        answer = await super().write_plan(plan)
        if self.rng.random() < 0.3:
            raise FloorError("no answer came")  # and yet it is in force
        return answer


def control(plant: Plant, journal, floor=LocalFloor, **facts) -> Controller:
    async def connect():
        return floor(plant)

    return Controller(connect=connect, decider=decider("atc"), journal=journal, **facts)


async def until(task: asyncio.Task[None], true) -> None:
    for _ in range(3_000):
        if true() or task.done():
            break
        await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert true()


def test_every_event_is_answered_once_on_a_connection_that_loses_repeats_and_reorders(plant, tmp_path):
    controller = control(plant, tmp_path / "c.jsonl", RoughFloor)

    async def story() -> None:
        task = asyncio.create_task(controller.run())
        rng = np.random.default_rng(1)
        for number in range(30):
            plant.report(f"e{number}", draw_change(rng, plant.state))
            await asyncio.sleep(0.01)
        # whoever lost the last event learns of it when something else happens
        counts = controller.counts
        for number in range(200):
            met = counts.duplicates and counts.gaps and counts.repeated and counts.connections > 1
            if met and plant.state.answers == plant.state.newest_event:
                break
            await asyncio.sleep(0.05)
            if number % 5 == 0:
                plant.report(f"nudge{number}", draw_change(rng, plant.state))
        await until(task, lambda: plant.state.answers == plant.state.newest_event)

    asyncio.run(story())
    versions = [answer.version for _, answer in plant.accepted]
    assert versions == list(range(1, len(versions) + 1))
    answered = [plan.answers for plan, _ in plant.accepted]
    assert answered == sorted(set(answered)), "an event was answered twice"
    assert controller.counts.duplicates > 0
    assert controller.counts.gaps > 0
    assert controller.counts.repeated > 0
    assert controller.counts.connections > 1
    for plan, _ in plant.accepted:
        assert len(set(plan.orders)) == len(plan.orders)


def test_a_plan_that_was_on_its_way_when_the_controller_died_is_sent_again_with_its_id(plant, tmp_path):
    class Deaf(LocalFloor):
        async def write_plan(self, plan):
            await super().write_plan(plan)
            raise asyncio.CancelledError  # killed after the floor took it, before it knew

    async def first() -> None:
        task = asyncio.create_task(control(plant, tmp_path / "c.jsonl", Deaf).run())
        await asyncio.sleep(0.05)
        plant.report("a", draw_change(np.random.default_rng(1), plant.state))
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(first())
    assert plant.state.version == 1
    second = control(plant, tmp_path / "c.jsonl")

    async def again() -> None:
        await until(asyncio.create_task(second.run()), lambda: second.counts.repeated == 1)

    asyncio.run(again())
    assert (plant.state.version, second.counts.written) == (1, 0)
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "c.jsonl").read_text().splitlines()]
    assert kinds == ["event", "plan", "answer"]


def test_a_plan_that_breaks_a_rule_never_leaves_the_controller(plant, tmp_path):
    class Wrong:
        name = "wrong"

        def decide(self, state, *, deadline_s):
            free = state.situation().orders
            return np.full(len(free), state.now_s), state.schedule.line[free]

    troubles: list[str] = []
    controller = control(plant, tmp_path / "c.jsonl", on_trouble=troubles.append)
    controller.decider = Wrong()

    async def story() -> None:
        task = asyncio.create_task(controller.run())
        await asyncio.sleep(0.05)
        # a stop long enough that the pushed-back plan costs something, or doing nothing would be kept
        plant.report("a", LineDown(line="line-0", until_s=plant.state.now_s + 400_000))
        await until(task, lambda: controller.counts.refused == 1)

    asyncio.run(story())
    assert plant.state.version == 0
    assert "wrong: a plan that may not be written" in troubles[0]


def test_a_decision_dearer_than_the_plan_in_force_is_not_taken(plant, tmp_path):
    # fifo is far dearer than the nominal plan, and a line that stops for a minute hardly disturbs that
    controller = control(plant, tmp_path / "c.jsonl")
    controller.decider = decider("fifo")
    seen = []
    controller.on_written = seen.append

    async def story() -> None:
        task = asyncio.create_task(controller.run())
        await asyncio.sleep(0.05)
        plant.report("a", LineDown(line="line-0", until_s=plant.state.now_s + 60))
        await until(task, lambda: len(seen) == 1)

    asyncio.run(story())
    assert seen[0].cost_after_s == seen[0].cost_before_s


def test_a_message_that_cannot_be_read_is_told_and_what_it_was_about_is_answered(plant, tmp_path):
    class Garbled(LocalFloor):
        async def events(self):
            async for event in super().events():
                if event.number == 1:
                    from_json("{", where="Events/Newest")
                yield event

    troubles: list[str] = []
    controller = control(plant, tmp_path / "c.jsonl", Garbled, on_trouble=troubles.append)

    async def story() -> None:
        task = asyncio.create_task(controller.run())
        await asyncio.sleep(0.05)
        plant.report("a", LineDown(line="line-0", until_s=plant.state.now_s + 60))
        await until(task, lambda: plant.state.answers == 1)

    asyncio.run(story())
    assert troubles[0].startswith("Events/Newest: not an event in JSON")
