"""Messages in Protobuf: a topic's own description of its types, and numbers by path.

The description (a ``FileDescriptorSet``) comes with the log and is only ever data: ``protobuf`` builds the message types in a pool of
their own. Fields without presence that were not sent have their default, which is what their sender meant; a message
inside a message that was not sent is missing. Maps, groups and ``Any`` are not held. Read next: ``message_batches``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from genba.data.readers.message_batches import LEAF_LIMIT, Batch, Flat, MessageError, Wanted, group
from genba.data.readers.ros_definitions import DefinitionError
from genba.errors import ReaderError

#: Messages inside messages deeper than this are refused; ``protobuf`` itself stops at 100.
DEPTH_LIMIT = 64


class ProtoDecoder:
    """Decodes one topic's messages."""

    def __init__(self, name: str, descriptors: bytes, wanted: Wanted) -> None:
        """Build the message type.

        Args:
            name: its full name, e.g. ``"foxglove.CompressedImage"``.
            descriptors: a serialised ``FileDescriptorSet`` with everything it needs.
            wanted: which texts matter.

        Raises:
            DefinitionError: the description is not whole or does not hold that type.
        """
        self._wanted = wanted
        self._type = message_type(name, descriptors)

    def decode(self, blobs: Sequence[bytes]) -> Iterator[Batch]:
        """Yield batches that together hold every message once.

        Raises:
            MessageError: one that is not of this type.
        """
        decode_error = _protobuf().DecodeError
        flats = []
        for row, blob in enumerate(blobs):
            try:
                message = self._type.FromString(blob)
            except (decode_error, RuntimeError, ValueError) as error:
                raise MessageError(row, f"not a message of its type: {error}") from error
            flat: Flat = {}
            unheld: dict[str, str] = {}
            self._flatten(message, "", flat, unheld, 0, row)
            flats.append((flat, unheld))
        yield from group(flats)

    def _flatten(self, message: Any, prefix: str, flat: Flat, unheld: dict[str, str], depth: int, row: int) -> None:
        if depth > DEPTH_LIMIT:
            raise MessageError(row, f"{prefix}: got messages nested more than {DEPTH_LIMIT} deep")
        for field in message.DESCRIPTOR.fields:
            path = f"{prefix}.{field.name}" if prefix else field.name
            if len(flat) >= LEAF_LIMIT:
                if len(unheld) < LEAF_LIMIT:
                    unheld[path] = f"beyond {LEAF_LIMIT} fields"
                continue
            if field.has_presence and not message.HasField(field.name):
                continue
            value = getattr(message, field.name)
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                unheld[path] = "a map"
            elif not field.is_repeated:
                self._one(field, value, path, flat, unheld, depth, row)
            elif field.cpp_type in (field.CPPTYPE_MESSAGE, field.CPPTYPE_STRING):
                for i, item in enumerate(value):
                    self._one(field, item, f"{path}[{i}]", flat, unheld, depth, row)
            elif len(value):
                flat[path] = np.array(value, np.float64)

    def _one(self, field: Any, value: Any, path: str, flat: Flat, unheld: dict[str, str], depth: int, row: int) -> None:
        if field.cpp_type == field.CPPTYPE_MESSAGE:
            self._flatten(value, path, flat, unheld, depth + 1, row)
        elif isinstance(value, bytes):
            flat[path] = np.frombuffer(value, np.uint8)
        elif isinstance(value, str):
            if self._wanted(path):
                flat[path] = value
            elif len(unheld) < LEAF_LIMIT:
                unheld[path] = "text"
        else:
            flat[path] = float(value)


def message_type(name: str, descriptors: bytes) -> Any:
    """Build the message type ``name`` of a serialised ``FileDescriptorSet`` in a pool of its own.

    Raises:
        DefinitionError: the description is not whole or does not hold that type.
    """
    protobuf = _protobuf()
    try:
        files = {file.name: file for file in protobuf.FileDescriptorSet.FromString(descriptors).file}
        pool = protobuf.DescriptorPool()
        added: set[str] = set()
        # A file after those that it imports; with an explicit stack, for a hostile chain may be long.
        stack = list(files)
        while stack:
            needed = [d for d in files[stack[-1]].dependency if d in files and d not in added]
            if not needed:
                file = stack.pop()
                if file not in added:
                    pool.Add(files[file])
                    added.add(file)
                continue
            if len(stack) > 2 * len(files):
                raise DefinitionError(f"{name}: its files import each other in a circle")
            stack.append(needed[0])
        return protobuf.GetMessageClass(pool.FindMessageTypeByName(name))
    except DefinitionError:
        raise
    except Exception as error:  # whatever protobuf stumbles over in a foreign description
        raise DefinitionError(f"{name}: its FileDescriptorSet cannot be used: {error}") from error


class _Protobuf:
    """What is needed of the ``protobuf`` package."""

    def __init__(self) -> None:
        from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

        self.FileDescriptorSet = descriptor_pb2.FileDescriptorSet
        self.FileDescriptorProto = descriptor_pb2.FileDescriptorProto
        self.DescriptorPool = descriptor_pool.DescriptorPool
        self.GetMessageClass = message_factory.GetMessageClass
        self.DecodeError = message.DecodeError


def _protobuf() -> Any:
    # Imported here: it comes with an extra, and machines that read no such logs do without it.
    try:
        return _Protobuf()
    except ModuleNotFoundError as error:
        raise ReaderError("Protobuf messages need protobuf; install it with: pip install 'genba[readers]'") from error
