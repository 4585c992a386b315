"""The floor over a real OPC UA connection on loopback, and processes that are killed in the middle."""

import asyncio
import json

import numpy as np
import pytest

pytest.importorskip("asyncua", reason="asyncua is not installed: pip install 'genba[opcua]'")

from processes import kill, wait_until

from genba.errors import FloorError
from genba.floor.controller import Controller
from genba.floor.decide import decider
from genba.floor.draw import draw_change
from genba.floor.events import LineDown
from genba.floor.journal import Journal
from genba.floor.opcua import NAMESPACE, OpcUaFloor
from genba.floor.opcua_server import OpcUaServer
from genba.floor.plant import Plant
from genba.floor.sensors import SENSORS, Sensors
from genba.floor.tables import COLUMNS, to_tables


def test_a_shortage_that_appears_on_the_server_is_answered_without_a_human(plant, tmp_path, free_port):
    address, seen = f"opc.tcp://127.0.0.1:{free_port}", []

    async def story() -> None:
        async with OpcUaServer(plant, address):
            controller = Controller(
                connect=lambda: OpcUaFloor.connect(address),
                decider=decider("atc_best_of_20"),
                journal=tmp_path / "c.jsonl",
                on_written=seen.append,
            )
            task = asyncio.create_task(controller.run(until=lambda: len(seen) == 5))
            other = await OpcUaFloor.connect(address)
            rng = np.random.default_rng(0)
            for number in range(5):
                while len(seen) < number:
                    await asyncio.sleep(0.01)
                event = await other.report(f"e{number}", draw_change(rng, (await other.snapshot())))
                assert event.number == number + 1
            await asyncio.wait_for(task, 20)
            assert to_tables(await other.snapshot()) == to_tables(plant.state)
            await other.close()

    asyncio.run(story())
    assert [written.answer.version for written in seen] == [1, 2, 3, 4, 5]
    assert all(written.cost_after_s <= written.cost_before_s for written in seen)
    assert all(written.answer.reaction_s > 0 for written in seen)


def test_every_column_stands_in_the_address_space_with_its_unit(plant, free_port):
    from asyncua import Client

    address, units = f"opc.tcp://127.0.0.1:{free_port}", {}

    async def story() -> None:
        async with OpcUaServer(plant, address), Client(address) as client:
            space = await client.get_namespace_index(NAMESPACE)
            floor = await client.nodes.objects.get_child(f"{space}:Floor")
            for name, (unit, _) in COLUMNS.items():
                node = await floor.get_child([f"{space}:{part}" for part in name.split("/")])
                if unit:
                    units[name] = (await (await node.get_child("0:EngineeringUnits")).read_value()).UnitId
            assert await (await floor.get_child([f"{space}:Components", f"{space}:Stock"])).read_value() == [
                int(units_there) for units_there in plant.state.problem.stock
            ]

    asyncio.run(story())
    # UNECE codes as OPC 10000-8 writes them: "SEC" is 0x53 0x45 0x43
    assert units["Orders/Due"] == 0x534543
    assert set(units) == {name for name, (unit, _) in COLUMNS.items() if unit}


def test_a_report_that_makes_no_sense_is_refused_in_words_and_the_floor_goes_on(plant, free_port):
    address = f"opc.tcp://127.0.0.1:{free_port}"

    async def story() -> None:
        async with OpcUaServer(plant, address):
            floor = await OpcUaFloor.connect(address)
            with pytest.raises(FloorError, match="no 'line-9' on this floor"):
                await floor.report("x", LineDown(line="line-9", until_s=10**9))
            assert (await floor.report("y", LineDown(line="line-1", until_s=10**6))).number == 1
            await floor.close()

    asyncio.run(story())


def test_an_address_where_nobody_answers_is_named(free_port):
    with pytest.raises(FloorError, match=f"127.0.0.1:{free_port}: .*is the floor running there"):
        asyncio.run(OpcUaFloor.connect(f"opc.tcp://127.0.0.1:{free_port}"))


def test_sensors_arrive_with_their_sources_clock_and_none_is_missing(plant, free_port):
    address, times_ns = f"opc.tcp://127.0.0.1:{free_port}", {name: [] for name in SENSORS}

    async def story() -> None:
        async with OpcUaServer(plant, address, sensors=Sensors(lambda: plant.state)):
            floor = await OpcUaFloor.connect(address)
            async for name, time_ns, values in floor.sensor_samples(list(SENSORS)):
                assert len(values) == 5
                times_ns[name].append(time_ns)
                if len(times_ns["Vibration"]) == 60:
                    break
            await floor.close()

    asyncio.run(story())
    # the first value is what stood there when the subscription began; then 50 a second, whatever the carrier does
    gaps_ms = np.diff(times_ns["Vibration"][1:]) / 1e6
    assert gaps_ms == pytest.approx(np.full(58, 20.0), abs=0.002)
    assert np.diff(times_ns["Power"][1:]) / 1e6 == pytest.approx(np.full(len(times_ns["Power"]) - 2, 100.0), abs=0.002)


def test_no_order_is_lost_or_scheduled_twice_when_controller_and_server_are_killed(tmp_path, free_port, start):
    address = f"opc.tcp://127.0.0.1:{free_port}"
    floor_journal, journal = tmp_path / "floor.jsonl", tmp_path / "controller.jsonl"
    serve = ("floor", "--opcua", address, "--size", "5x50", "--seed", "1", "--journal", str(floor_journal))
    control = ("run", "--floor", address, "--policy", "atc", "--journal", str(journal))

    def lines(path, kind):
        text = path.read_text() if path.exists() else ""
        found = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
        return [line for line in found if line["kind"] == kind]

    async def report(event_id, rng) -> None:
        for _ in range(200):
            try:
                floor = await OpcUaFloor.connect(address)
            except FloorError:
                await asyncio.sleep(0.1)
                continue
            await floor.report(event_id, draw_change(rng, await floor.snapshot()))
            await floor.close()
            return
        raise AssertionError("the floor did not come up")

    rng = np.random.default_rng(3)
    server, controller = start(*serve), start(*control)
    asyncio.run(report("e0", rng))
    wait_until(lambda: len(lines(floor_journal, "plan")) == 1, what="the first event is answered")
    # the controller dies as soon as it has written down what it is about to write
    asyncio.run(report("e1", rng))
    wait_until(lambda: len(lines(journal, "plan")) >= 2, what="a second decision")
    kill(controller)
    asyncio.run(report("e2", rng))
    controller = start(*control)
    wait_until(lambda: lines(floor_journal, "plan")[-1]["plan"]["answers"] == 3, what="events 2 and 3 are answered")
    # the server dies with an event that nobody has answered
    asyncio.run(report("e3", rng))
    kill(server)
    server = start(*serve)
    wait_until(lambda: lines(floor_journal, "plan")[-1]["plan"]["answers"] == 4, what="event 4 is answered")
    # both at once
    asyncio.run(report("e4", rng))
    kill(controller)
    kill(server)
    server, controller = start(*serve), start(*control)
    asyncio.run(report("e5", rng))
    wait_until(lambda: lines(floor_journal, "plan")[-1]["plan"]["answers"] == 6, what="event 6 is answered")
    kill(controller)
    kill(server)

    ids = [line["event"]["event_id"] for line in lines(floor_journal, "event")]
    assert ids == ["e0", "e1", "e2", "e3", "e4", "e5"]
    plans = [line["plan"] for line in lines(floor_journal, "plan")]
    assert [line["answer"]["version"] for line in lines(floor_journal, "plan")] == list(range(1, len(plans) + 1))
    assert len({plan["decision_id"] for plan in plans}) == len(plans)
    answered = [plan["answers"] for plan in plans]
    assert answered == sorted(set(answered)), "an event was answered twice"
    with Journal(floor_journal) as whole:
        assert len(whole.lines) == 1 + len(ids) + len(plans)
    after = Plant(floor_journal, size="5x50", seed=1)
    added = [
        line["event"]["change"]["order"] for line in lines(floor_journal, "event") if "lines" in line["event"]["change"]
    ]
    assert sorted(after.state.order_ids) == sorted([f"order-{i:04d}" for i in range(50)] + added)
    for plan, _ in after.accepted:
        assert len(set(plan.orders)) == len(plan.orders)
    after.close()
