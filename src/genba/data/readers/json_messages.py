"""Messages in JSON: numbers by path, flattened one message at a time.

The structure is what the messages themselves show; a ``jsonschema`` beside them may be empty and is not needed. Booleans are 0
and 1, null is a value that is missing. Read next: ``message_batches``.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from genba.data.readers.message_batches import LEAF_LIMIT, Batch, Flat, MessageError, Wanted, group

#: Objects and lists nested deeper are refused.
DEPTH_LIMIT = 64


class JsonDecoder:
    """Decodes one topic's messages."""

    def __init__(self, wanted: Wanted, binary: frozenset[str]) -> None:
        """Make a decoder.

        Args:
            wanted: which texts matter.
            binary: paths of bytes, which are in base64 as Foxglove's schemas say.
        """
        self._wanted, self._binary = wanted, binary

    def decode(self, blobs: Sequence[bytes]) -> Iterator[Batch]:
        """Yield batches that together hold every message once.

        Raises:
            MessageError: one that is not a JSON object in UTF-8.
        """
        flats = []
        for row, blob in enumerate(blobs):
            try:
                value = json.loads(blob)
                if not isinstance(value, dict):
                    raise MessageError(row, f"got a JSON {type(value).__name__}, expected an object")
                flat: Flat = {}
                unheld: dict[str, str] = {}
                self._flatten(value, "", flat, unheld, 0, row)
            except (ValueError, RecursionError, OverflowError) as error:
                raise MessageError(row, f"not JSON: {error}") from error
            flats.append((flat, unheld))
        yield from group(flats)

    def _flatten(self, value: Any, path: str, flat: Flat, unheld: dict[str, str], depth: int, row: int) -> None:
        if depth > DEPTH_LIMIT:
            raise MessageError(row, f"{path}: got values nested more than {DEPTH_LIMIT} deep")
        match value:
            case bool() | int() | float():
                _put(flat, unheld, path, float(value))
            case None:
                pass
            case str() if path in self._binary:
                flat[path] = np.frombuffer(base64.b64decode(value, validate=True), np.uint8)
            case str() if self._wanted(path):
                flat[path] = value
            case str():
                unheld[path] = "text"
            case dict():
                for key, inner in value.items():
                    self._flatten(inner, f"{path}.{key}" if path else key, flat, unheld, depth + 1, row)
            case _ if value and all(isinstance(item, int | float) or item is None for item in value):
                numbers = [math.nan if item is None else float(item) for item in value]
                _put(flat, unheld, path, np.array(numbers))
            case _:
                for i, inner in enumerate(value):
                    self._flatten(inner, f"{path}[{i}]", flat, unheld, depth + 1, row)


def _put(flat: Flat, unheld: dict[str, str], path: str, value: float | np.ndarray) -> None:
    # A key with a point in it may meet the path of an object in an object.
    while path in flat:
        path += "_"
    if len(flat) < LEAF_LIMIT:
        flat[path] = value
    elif len(unheld) < LEAF_LIMIT:
        unheld[path] = f"beyond {LEAF_LIMIT} fields"
