"""A small MCAP file written by ``mcap``: ROS 2 messages in CDR, JSON and Protobuf beside each other."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from logs.ros2 import START_NS, STORE, messages
from mcap.writer import CompressionType, Writer

#: A Protobuf message with every kind of field: number, list, message, text, bytes, enumeration, one that may be absent.
GAUGE = descriptor_pb2.FileDescriptorProto(name="gauge.proto", package="plant", syntax="proto3")
_READING = GAUGE.message_type.add(name="Reading")
for _number, (_name, _kind) in enumerate((("celsius", "DOUBLE"), ("counts", "UINT32")), start=1):
    _READING.field.add(name=_name, number=_number, type=f"TYPE_{_kind}", label="LABEL_OPTIONAL")
_GAUGE = GAUGE.message_type.add(name="Gauge")
_GAUGE.field.add(name="reading", number=1, type="TYPE_MESSAGE", type_name=".plant.Reading", label="LABEL_OPTIONAL")
_GAUGE.field.add(name="history", number=2, type="TYPE_FLOAT", label="LABEL_REPEATED")
_GAUGE.field.add(name="serial", number=3, type="TYPE_STRING", label="LABEL_OPTIONAL")
_GAUGE.field.add(name="is_open", number=4, type="TYPE_BOOL", label="LABEL_OPTIONAL")
GAUGE_SET = descriptor_pb2.FileDescriptorSet(file=[GAUGE]).SerializeToString()


def proto_class(descriptors: bytes, name: str) -> Any:
    """Return the class of a message described by a ``FileDescriptorSet``."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


class Log:
    """An MCAP file in the making: topics are registered when their first message comes."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.path = path
        self.stream = path.open("wb")
        self.writer = Writer(self.stream, **options)
        self.writer.start(profile="", library="tests")
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}

    def add(
        self,
        topic: str,
        log_ns: int,
        data: bytes,
        *,
        encoding: str,
        schema: str = "",
        described: tuple[str, bytes] = ("", b""),
    ) -> None:
        if topic not in self._channels:
            if schema and schema not in self._schemas:
                self._schemas[schema] = self.writer.register_schema(schema, *described)
            self._channels[topic] = self.writer.register_channel(topic, encoding, self._schemas.get(schema, 0))
        self.writer.add_message(self._channels[topic], log_ns, data, log_ns)

    def ros(self, topic: str, log_ns: int, message: Any) -> None:
        kind = message.__msgtype__
        definition = STORE.generate_msgdef(kind, ros_version=2)[0].encode()
        data = bytes(STORE.serialize_cdr(message, kind))
        self.add(topic, log_ns, data, encoding="cdr", schema=kind, described=("ros2msg", definition))

    def json(self, topic: str, log_ns: int, value: Any, schema: str = "") -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.add(topic, log_ns, data, encoding="json", schema=schema, described=("jsonschema", b"{}"))

    def proto(self, topic: str, log_ns: int, message: Any, descriptors: bytes) -> None:
        name = message.DESCRIPTOR.full_name
        data = message.SerializeToString()
        self.add(topic, log_ns, data, encoding="protobuf", schema=name, described=("protobuf", descriptors))

    def finish(self) -> Path:
        self.writer.finish()
        self.stream.close()
        return self.path


def write_ros(path: Path, found: Iterable[tuple[str, int, Any]], **options: Any) -> Path:
    """Write ROS 2 messages as one MCAP file."""
    log = Log(path, **options)
    for topic, log_ns, message in found:
        log.ros(topic, log_ns, message)
    return log.finish()


def write_log(folder: Path, seed: int = 0) -> tuple[Path, dict[str, object]]:
    """Write a file with all three encodings, whose ``/cmd_vel`` is the machine's action."""
    gauge = proto_class(GAUGE_SET, "plant.Gauge")
    log = Log(folder / "log.mcap", compression=CompressionType.ZSTD, chunk_size=4096)
    for i, (topic, log_ns, message) in enumerate(messages(seed)):
        log.ros(topic, log_ns, message)
        if topic == "/cmd_vel":
            log.json("/door", log_ns, {"isOpen": bool(i % 2), "angle": seed + i * 0.1, "hinges": [1.0, None]})
            reading = gauge(reading={"celsius": 20.0 + i, "counts": i}, history=[1.0, 2.0], serial="A1", is_open=True)
            log.proto("/gauge", START_NS + i, reading, GAUGE_SET)
    return log.finish(), {"action": "/cmd_vel"}
