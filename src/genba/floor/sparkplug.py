"""Sparkplug B payloads: their protobuf schema built at run time, and values in and out of metrics.

The schema is written here as a table of fields (names, numbers and types are the standard's) and handed to the protobuf
runtime, in a pool of its own. So there is no generated code tied to one version of protobuf, and no clash with other
packages that bring a Sparkplug schema; every package on PyPI that does pins an old protobuf. Data sets and templates are
not in it: nothing here sends them, and a message that holds them is read without.

Source: Sparkplug 3.0.0 specification, chapter 6 (payloads), sections 6.4.1 to 6.4.16.
"""

from __future__ import annotations

import functools
import importlib
import struct
from typing import Any

from genba.errors import FloorError

#: Data types of the standard (section 6.4.16).
INT64, UINT64, DOUBLE, BOOLEAN, STRING, INT64_ARRAY, DOUBLE_ARRAY, STRING_ARRAY = 4, 8, 10, 11, 12, 25, 31, 34

#: Sequence numbers run from 0 to 255.
NUM_SEQUENCE = 256

#: message -> field -> (number, type or message, repeated)
_SCHEMA: dict[str, dict[str, tuple[int, str, bool]]] = {
    "PropertyValue": {
        "type": (1, "uint32", False),
        "is_null": (2, "bool", False),
        "int_value": (3, "uint32", False),
        "long_value": (4, "uint64", False),
        "float_value": (5, "float", False),
        "double_value": (6, "double", False),
        "boolean_value": (7, "bool", False),
        "string_value": (8, "string", False),
    },
    "PropertySet": {"keys": (1, "string", True), "values": (2, "PropertyValue", True)},
    "Metric": {
        "name": (1, "string", False),
        "alias": (2, "uint64", False),
        "timestamp": (3, "uint64", False),
        "datatype": (4, "uint32", False),
        "is_historical": (5, "bool", False),
        "is_transient": (6, "bool", False),
        "is_null": (7, "bool", False),
        "properties": (9, "PropertySet", False),
        "int_value": (10, "uint32", False),
        "long_value": (11, "uint64", False),
        "float_value": (12, "float", False),
        "double_value": (13, "double", False),
        "boolean_value": (14, "bool", False),
        "string_value": (15, "string", False),
        "bytes_value": (16, "bytes", False),
    },
    "Payload": {
        "timestamp": (1, "uint64", False),
        "metrics": (2, "Metric", True),
        "seq": (3, "uint64", False),
        "uuid": (4, "string", False),
        "body": (5, "bytes", False),
    },
}


@functools.cache
def payload_type() -> Any:
    """Return the class of ``Payload`` messages.

    Raises:
        FloorError: protobuf is not installed.
    """
    try:
        # part of the extra: a floor over OPC UA does without
        pb2 = importlib.import_module("google.protobuf.descriptor_pb2")
        pools = importlib.import_module("google.protobuf.descriptor_pool")
        factory = importlib.import_module("google.protobuf.message_factory")
    except ModuleNotFoundError as error:
        raise FloorError("Sparkplug needs protobuf: pip install 'genba[mqtt]'") from error
    package = "org.eclipse.tahu.protobuf"
    file = pb2.FileDescriptorProto(name="sparkplug_b.proto", package=package, syntax="proto2")
    kinds = pb2.FieldDescriptorProto
    for message, fields in _SCHEMA.items():
        added = file.message_type.add(name=message)
        for name, (number, kind, repeated) in fields.items():
            field = added.field.add(
                name=name, number=number, label=kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            )
            if kind in _SCHEMA:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                field.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = pools.DescriptorPool()
    pool.Add(file)
    return factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Payload"))


def parse(data: bytes, *, where: str) -> Any:
    """Return the payload in ``data``.

    Raises:
        FloorError: it is none.
    """
    payload = payload_type()()
    try:
        payload.ParseFromString(bytes(data))
    except Exception as error:
        # protobuf's DecodeError, whose class depends on its back end
        raise FloorError(f"{where}: {len(data)} bytes that are no Sparkplug B payload: {error}") from error
    return payload


def put(metric: Any, value: Any) -> None:
    """Set a metric's value and data type from a plain value: bool, int, float, str, or a list of one of the last three."""
    if isinstance(value, bool):
        metric.datatype, metric.boolean_value = BOOLEAN, value
    elif isinstance(value, int):
        # a negative number travels as its two's complement
        metric.datatype, metric.long_value = INT64, value & 0xFFFFFFFFFFFFFFFF
    elif isinstance(value, float):
        metric.datatype, metric.double_value = DOUBLE, value
    elif isinstance(value, str):
        metric.datatype, metric.string_value = STRING, value
    elif value and isinstance(value[0], str):
        metric.datatype, metric.bytes_value = STRING_ARRAY, b"".join(item.encode() + b"\0" for item in value)
    elif value and isinstance(value[0], float):
        metric.datatype, metric.bytes_value = DOUBLE_ARRAY, struct.pack(f"<{len(value)}d", *value)
    else:
        metric.datatype, metric.bytes_value = INT64_ARRAY, struct.pack(f"<{len(value)}q", *value)


def get(metric: Any, datatype: int, *, where: str) -> Any:
    """Return a metric's value as ``put`` took it.

    Args:
        metric: the metric.
        datatype: as its birth certificate declared; a later message need not repeat it.
        where: names the message in errors.

    Raises:
        FloorError: a data type that no floor uses, or bytes that do not fit it.
    """
    data = metric.bytes_value
    if datatype == BOOLEAN:
        return bool(metric.boolean_value)
    if datatype in (INT64, UINT64):
        value = int(metric.long_value)
        return value - (1 << 64) if datatype == INT64 and value >= 1 << 63 else value
    if datatype == DOUBLE:
        return float(metric.double_value)
    if datatype == STRING:
        return str(metric.string_value)
    if datatype == STRING_ARRAY:
        if data and not data.endswith(b"\0"):
            raise FloorError(f"{where}: {metric.name}: an array of strings without its last terminator")
        return [item.decode() for item in data.split(b"\0")[:-1]]
    if datatype in (INT64_ARRAY, DOUBLE_ARRAY):
        if len(data) % 8:
            raise FloorError(f"{where}: {metric.name}: {len(data)} bytes of an array of 8-byte values")
        return list(struct.unpack(f"<{len(data) // 8}{'q' if datatype == INT64_ARRAY else 'd'}", data))
    raise FloorError(f"{where}: {metric.name}: data type {datatype}, expected one of a floor's columns")
