"""Descriptions of Protobuf messages that ``writers.mcap`` writes: two of Foxglove's schemas, and numbers by name.

Only what is written is described: field names and numbers are Foxglove's, so every tool that knows the schema by its name shows the
messages. Read next: ``writers.mcap``.

Source: Foxglove schemas ``CompressedImage``, ``PointCloud``, ``PackedElementField``, ``Pose``, ``Vector3``, ``Quaternion`` (MIT),
https://github.com/foxglove/foxglove-sdk, folder schemas/proto.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genba.errors import DataError

#: A field: name, number, type; a type with a capital is a message.
_Fields = Sequence[tuple[str, int, str]]

_COMPRESSED_IMAGE: _Fields = (
    ("timestamp", 1, "google.protobuf.Timestamp"),
    ("data", 2, "bytes"),
    ("format", 3, "string"),
    ("frame_id", 4, "string"),
)
_POINT_CLOUD: _Fields = (
    ("timestamp", 1, "google.protobuf.Timestamp"),
    ("frame_id", 2, "string"),
    ("pose", 3, "foxglove.Pose"),
    ("point_stride", 4, "fixed32"),
    ("fields", 5, "repeated foxglove.PackedElementField"),
    ("data", 6, "bytes"),
)
_POSE: _Fields = (("position", 1, "foxglove.Vector3"), ("orientation", 2, "foxglove.Quaternion"))
_VECTOR3: _Fields = tuple((axis, i, "double") for i, axis in enumerate("xyz", start=1))
_QUATERNION: _Fields = tuple((axis, i, "double") for i, axis in enumerate("xyzw", start=1))
_PACKED_ELEMENT_FIELD: _Fields = (
    ("name", 1, "string"),
    ("offset", 2, "fixed32"),
    ("type", 3, "foxglove.PackedElementField.NumericType"),
)

#: ``PackedElementField.NumericType``.
NUMERIC_TYPES = ("UNKNOWN", "UINT8", "INT8", "UINT16", "INT16", "UINT32", "INT32", "FLOAT32", "FLOAT64")
FLOAT32 = NUMERIC_TYPES.index("FLOAT32")

#: Field numbers that Protobuf keeps to itself.
_RESERVED = range(19_000, 20_000)


def compressed_image() -> Any:
    """Return the ``FileDescriptorSet`` of ``foxglove.CompressedImage``."""
    return _set(_timestamp(), _file("foxglove", {"CompressedImage": _COMPRESSED_IMAGE}))


def point_cloud() -> Any:
    """Return the ``FileDescriptorSet`` of ``foxglove.PointCloud``."""
    messages = {
        "PointCloud": _POINT_CLOUD,
        "Pose": _POSE,
        "Vector3": _VECTOR3,
        "Quaternion": _QUATERNION,
        "PackedElementField": _PACKED_ELEMENT_FIELD,
    }
    file = _file("foxglove", messages)
    kind = next(m for m in file.message_type if m.name == "PackedElementField").enum_type.add(name="NumericType")
    for number, name in enumerate(NUMERIC_TYPES):
        kind.value.add(name=name, number=number)
    return _set(_timestamp(), file)


def numbers(name: str, dimensions: Sequence[str]) -> Any:
    """Return the description of message ``genba.<name>`` with one float per dimension.

    Raises:
        DataError: more dimensions than Protobuf numbers in a row.
    """
    return _set(_file("genba", {name: _floats(name, dimensions)}))


def rows(name: str, dimensions: Sequence[str]) -> Any:
    """Return the description of message ``genba.<name>`` with repeated ``rows``, each with one float per dimension."""
    row = f"{name}_row"
    return _set(_file("genba", {name: (("rows", 1, f"repeated genba.{row}"),), row: _floats(name, dimensions)}))


def lists(name: str) -> Any:
    """Return the description of message ``genba.<name>`` with repeated ``rows`` of repeated ``values``."""
    row = f"{name}_row"
    messages: dict[str, _Fields] = {
        name: (("rows", 1, f"repeated genba.{row}"),),
        row: (("values", 1, "repeated float"),),
    }
    return _set(_file("genba", messages))


def values(name: str) -> Any:
    """Return the description of message ``genba.<name>`` with repeated ``values``."""
    return _set(_file("genba", {name: (("values", 1, "repeated float"),)}))


def _floats(name: str, dimensions: Sequence[str]) -> _Fields:
    if len(dimensions) >= _RESERVED.start:
        raise DataError(f"{name}: got {len(dimensions)} dimensions, expected fewer than {_RESERVED.start} for Protobuf")
    # A name of Protobuf does not begin with a digit.
    return [(f"_{d}" if d[0].isdigit() else d, i, "float") for i, d in enumerate(dimensions, start=1)]


def _file(package: str, messages: dict[str, _Fields]) -> Any:
    pb2 = _descriptor_pb2()
    file = pb2.FileDescriptorProto(name=f"{package}/{next(iter(messages))}.proto", package=package, syntax="proto3")
    if any(kind == "google.protobuf.Timestamp" for fields in messages.values() for _, _, kind in fields):
        file.dependency.append("google/protobuf/timestamp.proto")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field_name, number, kind in fields:
            kind, is_repeated = kind.removeprefix("repeated "), kind.startswith("repeated ")
            field = message.field.add(name=field_name, number=number)
            field.label = field.LABEL_REPEATED if is_repeated else field.LABEL_OPTIONAL
            if "." in kind:
                field.type = field.TYPE_ENUM if kind.endswith("NumericType") else field.TYPE_MESSAGE
                field.type_name = f".{kind}"
            else:
                field.type = getattr(field, f"TYPE_{kind.upper()}")
    return file


def _timestamp() -> Any:
    from google.protobuf import timestamp_pb2  # comes with an extra, as below

    file = _descriptor_pb2().FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(file)
    return file


def _set(*files: Any) -> Any:
    return _descriptor_pb2().FileDescriptorSet(file=files)


def _descriptor_pb2():  # type: ignore[no-untyped-def]
    # Imported here: it comes with an extra, and machines that write no such files do without it.
    try:
        from google.protobuf import descriptor_pb2
    except ModuleNotFoundError as error:
        raise DataError("MCAP files need protobuf; install it with: pip install 'genba[readers]'") from error
    return descriptor_pb2
