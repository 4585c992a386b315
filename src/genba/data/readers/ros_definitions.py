"""Definitions of ROS messages as a tree of types: from ``ros2msg`` and ``ros2idl`` text, and for standard messages by name.

``rosbags`` parses the text and knows the standard messages; it needs no ROS. Only its parsers and tables are used, never the
Python code that it would make from a definition and run: a log's text must not become code. Read next: ``cdr``, which
reads bytes along the tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from genba.errors import ReaderError, nearest

#: ROS's name -> NumPy's, without byte order.
NUMBERS = {
    "bool": "u1",
    "byte": "u1",
    "char": "u1",
    "int8": "i1",
    "uint8": "u1",
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "int64": "i8",
    "uint64": "u8",
    "float32": "f4",
    "float64": "f8",
}

#: Definitions that contain themselves or nest deeper are refused; ROS's deepest standard message nests seven times.
DEPTH_LIMIT = 32

DEFAULT_DISTRIBUTION = "humble"


class DefinitionError(Exception):
    """A definition that cannot be used; whoever knows the log and the topic says so in its terms."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number: NumPy's name for it, without byte order."""

    dtype: str


@dataclass(frozen=True, slots=True)
class Text:
    """A string of bytes."""


@dataclass(frozen=True, slots=True)
class Struct:
    """Named fields in order."""

    fields: tuple[tuple[str, FieldType], ...]


@dataclass(frozen=True, slots=True)
class Repeated:
    """Several of one type; ``length`` is None where each message says how many."""

    item: Number | Text | Struct
    length: int | None


FieldType = Number | Text | Struct | Repeated


def parse_definition(name: str, text: str, encoding: str, distribution: str = DEFAULT_DISTRIBUTION) -> Struct:
    """Parse a message's definition.

    Args:
        name: e.g. ``"sensor_msgs/msg/Imu"``.
        text: with the definitions of what it contains; what is missing is taken from the standard messages.
        encoding: ``"ros2msg"`` or ``"ros2idl"``.
        distribution: of ROS 2, whose standard messages are meant.

    Raises:
        DefinitionError: text that is no definition, or a type that nobody defines.
    """
    typesys = _typesys()
    # rosbags' grammar knows neither a CR before a line's end nor a line of fewer than 80 signs between definitions.
    text = re.sub(r"^={3,}[ \t]*$", "=" * 80, text.replace("\r\n", "\n"), flags=re.MULTILINE)
    try:
        parse = typesys.get_types_from_msg if encoding == "ros2msg" else None
        if parse is not None:
            found = parse(text, full_name(name))
        else:
            found = {}
            for part in _idl_parts(text):
                found |= typesys.get_types_from_idl(part)
    except Exception as error:  # whatever a parser of foreign text stumbles over
        # Its message repeats the whole text.
        why = " ".join(str(error).split())[:200]
        raise DefinitionError(f"not a {encoding} definition: {why}") from error
    return _Builder(found, distribution).struct(full_name(name), 0)


def standard_definition(name: str, distribution: str = DEFAULT_DISTRIBUTION) -> Struct:
    """Return the definition of a standard message.

    Raises:
        DefinitionError: it is not one.
        ReaderError: no such distribution.
    """
    return _Builder({}, distribution).struct(full_name(name), 0)


def full_name(name: str) -> str:
    """Return ``"package/msg/Name"`` for ``"package/Name"`` as well."""
    parts = name.split("/")
    return f"{parts[0]}/msg/{parts[1]}" if len(parts) == 2 else name


def distributions() -> dict[str, str]:
    """Return ROS 2 distributions whose standard messages are known: name -> what ``rosbags`` calls it."""
    return {
        store.value.removeprefix("ros2_"): store.value for store in _typesys().Stores if store.value.startswith("ros2_")
    }


class _Builder:
    def __init__(self, found: Mapping[str, Any], distribution: str) -> None:
        self.found, self.distribution = found, distribution
        self.done: dict[str, Struct] = {}

    def struct(self, name: str, depth: int) -> Struct:
        if depth > DEPTH_LIMIT:
            raise DefinitionError(f"{name}: got types nested more than {DEPTH_LIMIT} deep, or that contain themselves")
        if name not in self.done:
            fields = self._fields(name)
            self.done[name] = Struct(tuple((field, self._type(spec, name, depth)) for field, spec in fields))
        return self.done[name]

    def _fields(self, name: str) -> list[Any]:
        for types in (self.found, _standard(self.distribution)):
            if name in types:
                return types[name][1]
        raise DefinitionError(f"no definition of {name}")

    def _type(self, spec: Any, owner: str, depth: int) -> FieldType:
        kind, value = spec
        match kind.name:
            case "BASE":
                base = value[0]
                if base == "string":
                    return Text()
                if base not in NUMBERS:
                    raise DefinitionError(f"{owner}: got a {base}, whose bytes are not defined alike everywhere")
                return Number(NUMBERS[base])
            case "NAME":
                return self.struct(value, depth + 1)
            case _:
                item = self._type(value[0], owner, depth)
                assert not isinstance(item, Repeated), "ROS knows no arrays of arrays"
                return Repeated(item, value[1] if kind.name == "ARRAY" else None)


def _idl_parts(text: str) -> Iterable[str]:
    """Split the IDL files that a recorder joined with lines of ``=`` and a line ``IDL: name``."""
    part: list[str] = []
    for line in text.split("\n"):
        if line.startswith("===") and not line.strip("= "):
            if any(kept.strip() for kept in part):
                yield "\n".join(part)
            part = []
        elif not line.startswith("IDL: "):
            part.append(line)
    if any(line.strip() for line in part):
        yield "\n".join(part)


_STANDARD: dict[str, Mapping[str, Any]] = {}


def _standard(distribution: str) -> Mapping[str, Any]:
    if distribution not in _STANDARD:
        known = distributions()
        if distribution not in known:
            raise ReaderError(f"no ROS 2 distribution {distribution!r}{nearest(distribution, known)}")
        typesys = _typesys()
        _STANDARD[distribution] = typesys.get_typestore(typesys.Stores(known[distribution])).fielddefs
    return _STANDARD[distribution]


def _typesys():  # type: ignore[no-untyped-def]
    # Imported here: rosbags comes with an extra, and machines that read no ROS logs do without it.
    try:
        import rosbags.typesys
    except ModuleNotFoundError as error:
        raise ReaderError("ROS messages need rosbags; install it with: pip install 'genba[readers]'") from error
    return rosbags.typesys
