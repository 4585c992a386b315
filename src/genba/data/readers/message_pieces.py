"""The samples that messages give to channels, before they are channels; and when and where a message says it was captured.

Read next: ``ros_messages`` and ``point_messages``, which make pieces; ``message_tracks``, which joins them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from genba.data.readers.images import Picture
from genba.data.readers.message_batches import Batch
from genba.spec.units import SECOND_NS

#: Numbers of one message that become dimensions; what repeats in longer lists is left out by name.
DIMENSION_LIMIT = 512


class UnheldError(Exception):
    """A topic whose messages no channel can hold, and why."""


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """Telemetry: dimension name -> (unit, float64 ``[n]``); ``constants`` go to the calibration if they never change."""

    columns: Mapping[str, tuple[str, np.ndarray]]
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Camera frames, not yet decoded."""

    frames: list[Picture]


@dataclass(frozen=True, slots=True, eq=False)
class Sweeps:
    """Point clouds: float64 ``[points, 3 + attributes]`` each, every place finite."""

    sweeps: list[np.ndarray]
    attributes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Transforms:
    """A static transform: float64 ``[n, 7]``, translation in metres and quaternion x, y, z, w."""

    values: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """What messages of one structure give to one channel.

    Attributes:
        track: which channel of the topic, empty for its only one.
        rows: int64 ``[n]``, which of the messages each sample comes from, in rising order.
        stamp_ns: int64 ``[n]``, when each was captured as the message says; None where it does not.
        frame: the coordinate frame that the message names, else empty.
        content: the samples.
    """

    track: str
    rows: np.ndarray
    stamp_ns: np.ndarray | None
    frame: str
    content: Numbers | Pictures | Sweeps | Transforms


class Mapper(Protocol):
    """Says what the messages of one schema mean."""

    #: paths of bytes that JSON writes in base64
    binary: frozenset[str]

    def wants(self, path: str) -> bool:
        """Say whether the text at ``path`` matters."""
        ...

    def pieces(self, batch: Batch) -> Iterator[Piece]:
        """Yield what a batch gives to each channel.

        Raises:
            UnheldError: no channel can hold such messages.
        """
        ...

    def unheld(self, batch: Batch) -> dict[str, str]:
        """Return what of a batch is not held: path -> why."""
        ...


#: Where a message says when it was captured, and how its encoding spells seconds and nanoseconds.
STAMPS = ("header.stamp", "timestamp")
SECONDS = (("sec", "nanosec"), ("sec", "nsec"), ("seconds", "nanos"))
WHOLE = {seconds for seconds, _ in SECONDS}
SPELLINGS = {name for pair in SECONDS for name in pair}
FRAME_IDS = ("header.frame_id", "frame_id")


def stamp_ns(batch: Batch, path: str) -> np.ndarray | None:
    """Return the time at ``path`` in nanoseconds: int64 ``[n]``, 0 where it is not one; None where there is none."""
    for seconds, nanos in SECONDS:
        whole, part = batch.numbers.get(f"{path}.{seconds}"), batch.numbers.get(f"{path}.{nanos}")
        if whole is not None and part is not None and whole.ndim == part.ndim == 1:
            # A stamp that int64 cannot hold is none; it is told apart by being 0, as an unset one is.
            sane = np.abs(whole.astype(np.float64)) < 2**33
            return np.where(sane, whole, 0).astype(np.int64) * SECOND_NS + part.astype(np.float64).astype(np.int64)
    return None


def capture_ns(batch: Batch) -> np.ndarray | None:
    """Return when each message was captured, as it says: int64 ``[n]``, or None."""
    for path in STAMPS:
        found = stamp_ns(batch, path)
        if found is not None:
            return found
    return None


def frame_of(batch: Batch) -> str:
    """Return the coordinate frame that the messages name, else the empty name."""
    for path in FRAME_IDS:
        if path in batch.texts:
            return batch.texts[path].lstrip("/")
    return ""
