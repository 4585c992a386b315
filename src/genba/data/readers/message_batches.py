"""Messages of one topic, many at a time, whatever they were encoded in: numbers by path, and the texts that matter.

A path is written as in the message: ``angular_velocity.x``, ``points[0].positions``, ``name[2]``. Messages in one batch
have the same structure, so a path is one array over all of them. What cannot be a number stands in ``unheld`` by
path, so that whoever reads says what was left out. Read next: ``cdr``, ``json_messages`` and ``proto_messages``, which make
batches; ``ros_messages``, which says what they mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

#: Leaves of one message that are looked at; one with more (a list of thousands of markers) is left out beyond.
LEAF_LIMIT = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Messages of the same structure.

    Attributes:
        rows: int64 ``[n]``, which of the messages that were given, in rising order.
        numbers: path -> ``[n]``, or ``[n, k]`` for k numbers or bytes, each in its own dtype.
        texts: path -> the text, which is the same in all of them; only paths that were wanted.
        unheld: path -> why it is not a number.
    """

    rows: np.ndarray
    numbers: Mapping[str, np.ndarray]
    texts: Mapping[str, str]
    unheld: Mapping[str, str]

    def number(self, path: str, default: float = 0.0) -> np.ndarray:
        """Return ``[n]``; ``default`` where the messages have no such number."""
        values = self.numbers.get(path)
        return np.full(len(self.rows), default) if values is None or values.ndim != 1 else values


class MessageError(Exception):
    """A message that is not what its schema says; whoever knows the log says so in its terms.

    Attributes:
        row: which of the messages that were given.
    """

    def __init__(self, row: int, message: str) -> None:
        self.row = row
        super().__init__(message)


class Decoder(Protocol):
    """Decodes the messages of one topic."""

    def decode(self, blobs: Sequence[bytes]) -> Iterator[Batch]:
        """Yield batches that together hold every message once.

        Raises:
            MessageError: one that is not what its schema says.
        """
        ...


#: Says whether a text matters: its path -> bool.
Wanted = Callable[[str], bool]

#: What a message's tree is flattened to: path -> number, text, or array of numbers.
Flat = dict[str, "float | int | str | np.ndarray"]


def group(flats: Sequence[tuple[Flat, Mapping[str, str]]]) -> Iterator[Batch]:
    """Make batches of messages that were flattened one by one, in order of each structure's first appearance."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for row, (flat, _) in enumerate(flats):
        key = tuple(
            (path, value if isinstance(value, str) else value.shape if isinstance(value, np.ndarray) else None)
            for path, value in flat.items()
        )
        groups.setdefault(key, []).append(row)
    for rows in groups.values():
        first, unheld = flats[rows[0]]
        texts = {path: value for path, value in first.items() if isinstance(value, str)}
        numbers = {
            path: np.array([flats[row][0][path] for row in rows])
            for path, value in first.items()
            if not isinstance(value, str)
        }
        yield Batch(np.array(rows, np.int64), numbers, texts, unheld)


def snake(path: str) -> str:
    """Return a path, topic or name as a dimension's name: lower-case letters, digits and single underscores."""
    # Finer than plain_names.snake_case: aBCd is a_b_cd. Stored machines have these names.
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", path)
    name = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
    return name or "value"
