"""The floor over a real broker: births, deaths, sequence numbers; and the payloads byte by byte."""

import asyncio
import json
import os
import shutil
import subprocess
import time

import numpy as np
import pytest

pytest.importorskip("aiomqtt", reason="aiomqtt is not installed: pip install 'genba[mqtt]'")

from processes import kill, wait_until

from genba.errors import ConfigError, FloorError
from genba.floor.controller import Controller
from genba.floor.decide import decider
from genba.floor.draw import draw_change
from genba.floor.events import LineDown
from genba.floor.mqtt import Address, SparkplugFloor
from genba.floor.mqtt_node import SparkplugNode
from genba.floor.sensors import SENSORS, Sensors
from genba.floor.sparkplug import get, parse, payload_type, put
from genba.floor.tables import COLUMNS, to_tables

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed: apt install mosquitto")


@pytest.fixture
def address(free_port, tmp_path):
    """A floor's address at a broker of this test."""
    broker = subprocess.Popen([MOSQUITTO, "-p", str(free_port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.3)
    yield f"mqtt://127.0.0.1:{free_port}/genba/floor"
    broker.kill()
    broker.wait()


def test_a_payload_has_the_bytes_of_the_standard():
    payload = payload_type()(timestamp=1, seq=2)
    put(payload.metrics.add(name="a", alias=3), "hi")
    # protobuf by hand: field 1 varint 1; field 2, 11 bytes: name 0a01'a', alias 1003, datatype 200c (12, String),
    # string_value 7a02'hi' (field 15, length 2); field 3 varint 2
    assert payload.SerializeToString() == b"\x08\x01\x12\x0b\x0a\x01a\x10\x03\x20\x0c\x7a\x02hi\x18\x02"


@pytest.mark.parametrize("value", [True, False, -5, 2**40, 1.5, "text", [1, -2, 2**62], ["a", "bc"], [0.5, -1.0], []])
def test_a_value_survives_its_way_in_a_metric(value):
    payload = payload_type()()
    put(payload.metrics.add(name="x"), value)
    metric = parse(payload.SerializeToString(), where="test").metrics[0]
    assert get(metric, metric.datatype, where="test") == value


def test_bytes_that_are_no_payload_are_refused():
    with pytest.raises(FloorError, match="3 bytes that are no Sparkplug B payload"):
        parse(b"\xff\xff\xff", where="spBv1.0/x")
    metric = payload_type()().metrics.add(name="x", bytes_value=b"123")
    with pytest.raises(FloorError, match="3 bytes of an array of 8-byte values"):
        get(metric, 25, where="test")


@pytest.mark.parametrize("text", ["mqtt://host", "mqtt://host/only", "mqtt://h/a/+", "http://h/a/b"])
def test_an_address_without_group_and_node_is_refused(text):
    with pytest.raises(ConfigError, match="expected mqtt://HOST:PORT/GROUP/NODE"):
        Address.parse(text)


@needs_broker
def test_the_same_controller_answers_a_floor_behind_a_broker(plant, tmp_path, address):
    seen = []

    async def story() -> None:
        async with SparkplugNode(plant, address):
            controller = Controller(
                connect=lambda: SparkplugFloor.connect(address),
                decider=decider("atc"),
                journal=tmp_path / "c.jsonl",
                on_written=seen.append,
            )
            task = asyncio.create_task(controller.run(until=lambda: len(seen) == 5))
            other = await SparkplugFloor.connect(address)
            rng = np.random.default_rng(0)
            for number in range(5):
                while len(seen) < number:
                    await asyncio.sleep(0.01)
                await other.report(f"e{number}", draw_change(rng, plant.state))
            with pytest.raises(FloorError, match="no 'line-9' on this floor"):
                await other.report("x", LineDown(line="line-9", until_s=10**9))
            await asyncio.wait_for(task, 20)
            assert to_tables(await other.snapshot()) == to_tables(plant.state)
            await other.close()

    asyncio.run(story())
    assert [written.answer.version for written in seen] == [1, 2, 3, 4, 5]


@needs_broker
def test_births_carry_names_units_and_numbers_and_data_only_what_changed(plant, address):
    from aiomqtt import Client

    node, messages = Address.parse(address), []

    async def story() -> None:
        async with Client(node.host, node.port) as host:
            await host.subscribe("spBv1.0/#")
            async with SparkplugNode(plant, address, birth_number=7):
                plant.report("a", LineDown(line="line-1", until_s=plant.state.now_s + 9_000))
                await asyncio.sleep(0.3)
            async for message in host.messages:
                messages.append((str(message.topic).split("/")[2], parse(message.payload, where="test")))
                if messages[-1][0] == "NDEATH":
                    return

    asyncio.run(story())
    assert [kind for kind, _ in messages] == ["NBIRTH", "NDATA", "NDEATH"]
    birth, data, death = (payload for _, payload in messages)
    named = {metric.name: metric for metric in birth.metrics}
    assert set(COLUMNS) < set(named)
    assert named["Orders/Due"].properties.values[0].string_value == "s"
    assert (birth.seq, data.seq) == (0, 1)
    assert named["bdSeq"].long_value == death.metrics[0].long_value == 7
    names = {metric.alias: metric.name for metric in birth.metrics}
    assert not any(metric.name for metric in data.metrics)
    changed = {names[metric.alias] for metric in data.metrics}
    assert {"Lines/DownUntil", "Events/NewestNumber", "Floor/Event"} <= changed
    assert "Orders/Due" not in changed


@needs_broker
def test_a_message_that_was_lost_and_a_node_that_dies_end_the_connection_in_words(plant, address):
    async def story() -> None:
        async with SparkplugNode(plant, address) as node:
            floor = await SparkplugFloor.connect(address)
            node._sequence += 1  # as if one message had been lost on its way
            plant.report("a", LineDown(line="line-1", until_s=plant.state.now_s + 9_000))
            with pytest.raises(FloorError, match="sequence number 2 after 0: a message was lost"):
                async for _ in floor.events():
                    pass
            await floor.close()
            again = await SparkplugFloor.connect(address)
            assert (await again.snapshot()).newest_event == 1
        with pytest.raises(FloorError, match="the floor's node has died"):
            async for _ in again.events():
                pass
        await again.close()

    asyncio.run(story())


@needs_broker
def test_sensors_keep_their_sources_clock_behind_a_broker(plant, address):
    times_ns = []

    async def story() -> None:
        async with SparkplugNode(plant, address, sensors=Sensors(lambda: plant.state)):
            floor = await SparkplugFloor.connect(address)
            async for name, time_ns, values in floor.sensor_samples(list(SENSORS)):
                assert len(values) == 5
                if name == "Vibration":
                    times_ns.append(time_ns)
                if len(times_ns) == 50:
                    break
            await floor.close()

    asyncio.run(story())
    # 50 a second, cut to the milliseconds that Sparkplug counts
    assert np.diff(times_ns) / 1e6 == pytest.approx(np.full(49, 20.0), abs=1.0)


@needs_broker
def test_a_broker_that_is_killed_and_comes_back_loses_nothing(tmp_path, free_port, start):
    address, journal = f"mqtt://127.0.0.1:{free_port}/genba/floor", tmp_path / "floor.jsonl"

    def broker():
        return subprocess.Popen([MOSQUITTO, "-p", str(free_port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def report(event_id) -> None:
        for _ in range(20):
            try:
                floor = await SparkplugFloor.connect(address)
                break
            except FloorError:
                await asyncio.sleep(0.2)
        await floor.report(event_id, LineDown(line="line-0", until_s=10**6))
        await floor.close()

    first = broker()
    start("floor", "--mqtt", address, "--size", "5x50", "--seed", "1", "--journal", str(journal))
    asyncio.run(report("e0"))
    kill(first)
    second = broker()
    try:
        asyncio.run(report("e1"))
    finally:
        kill(second)
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [line["event"]["event_id"] for line in lines if line["kind"] == "event"] == ["e0", "e1"]
    assert sum(line["kind"] == "session" for line in lines) >= 2


@needs_broker
def test_a_node_that_is_killed_is_known_to_be_dead_and_comes_back_with_everything(tmp_path, address, start):
    journal = tmp_path / "floor.jsonl"
    serve = ("floor", "--mqtt", address, "--size", "5x50", "--seed", "1", "--journal", str(journal))
    control = ("run", "--floor", address, "--policy", "atc", "--journal", str(tmp_path / "c.jsonl"))

    def plans():
        text = journal.read_text() if journal.exists() else ""
        lines = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
        return [line["plan"] for line in lines if line["kind"] == "plan"]

    async def report(event_id) -> None:
        for _ in range(20):
            try:
                floor = await SparkplugFloor.connect(address)
                break
            except FloorError:
                continue
        state = await floor.snapshot()
        await floor.report(event_id, LineDown(line="line-0", until_s=int(state.down_until_s.max()) + 90_000))
        await floor.close()

    server, _ = start(*serve), start(*control)
    asyncio.run(report("e0"))
    wait_until(lambda: len(plans()) == 1, what="the first event is answered")
    kill(server)
    start(*serve)
    asyncio.run(report("e1"))
    wait_until(lambda: len(plans()) == 2, what="the second event is answered")
    assert [plan["answers"] for plan in plans()] == [1, 2]
