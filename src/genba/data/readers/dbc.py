"""A DBC compiled into shifts and scales, so that a million CAN frames decode in a handful of array operations.

A signal is a run of bits in a frame: little endian (Intel) counts up from its least significant bit, big endian
(Motorola) starts at its most significant bit and runs on through the bytes. ``cantools`` reads the file; the decoding
here is compared with its own, bit for bit, in the tests. Read next: ``comma2k19``.

Source: Vector, DBC File Format Documentation, version 1.0.5, section 8 (signal definitions).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cantools
import numpy as np
from cantools.database.can import Database, Message, Signal

from genba.errors import ReaderError, nearest


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledSignal:
    """Where a signal's bits are and what they mean: value = raw * scale + offset, in ``unit``."""

    name: str
    #: position of the most significant bit (big endian: counted from byte 0's bit 7 on) or of the least (little endian)
    start: int
    length: int
    big_endian: bool
    signed: bool
    scale: float
    offset: float
    #: as the DBC spells it
    unit: str

    @property
    def first_byte(self) -> int:
        """The first byte of a frame that holds a bit of it."""
        return self.start // 8

    @property
    def last_byte(self) -> int:
        """The last byte of a frame that holds a bit of it."""
        return (self.start + self.length - 1) // 8

    def decode(self, frames: np.ndarray) -> np.ndarray:
        """Decode ``frames`` uint8 ``[frame, byte]``: float64 ``[frame]`` in the DBC's unit."""
        word = np.zeros(len(frames), np.uint64)
        order = range(self.first_byte, self.last_byte + 1)
        for byte in order if self.big_endian else reversed(order):
            word = (word << np.uint64(8)) | frames[:, byte].astype(np.uint64)
        below = 8 * (self.last_byte + 1) - self.start - self.length if self.big_endian else self.start % 8
        # To the top and back: what stands above the signal is cut off, and an arithmetic shift brings its sign along.
        room = np.uint64(64 - self.length)
        word = (word >> np.uint64(below)) << room
        raw = (word.view(np.int64) >> np.int64(room)) if self.signed else (word >> room)
        return raw.astype(np.float64) * self.scale + self.offset


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledMessage:
    """One kind of frame."""

    name: str
    frame_id: int
    #: bytes of a frame
    length: int
    signals: Mapping[str, CompiledSignal]
    #: the DBC, for errors
    place: str

    def signal(self, name: str) -> CompiledSignal:
        """Return one signal.

        Raises:
            ReaderError: the message has no such signal, naming the nearest.
        """
        if name not in self.signals:
            raise ReaderError(f"{self.place}: message {self.name}: no signal {name!r}{nearest(name, self.signals)}")
        return self.signals[name]


class Dbc:
    """The messages of a DBC file, compiled when asked for."""

    def __init__(self, path: Path | str) -> None:
        """Read a DBC.

        Raises:
            ReaderError: there is no such file, or it is not a DBC.
        """
        self.path = Path(path)
        if not self.path.is_file():
            raise ReaderError(f"{self.path}: no such file, expected a DBC")
        try:
            self._messages = _load(self.path)
        except (cantools.database.Error, UnicodeDecodeError, KeyError) as error:
            raise ReaderError(f"{self.path}: not a DBC: {error}") from error

    def message(self, name: str) -> CompiledMessage:
        """Compile one message.

        Raises:
            ReaderError: no such message, or a signal in it that cannot be compiled.
        """
        known = {message.name: message for message in self._messages}
        if name not in known:
            raise ReaderError(f"{self.path}: no message {name!r}{nearest(name, known)}; is it this machine's DBC?")
        message = known[name]
        signals = {signal.name: self._compile(name, signal) for signal in message.signals}
        return CompiledMessage(
            name=name, frame_id=message.frame_id, length=message.length, signals=signals, place=str(self.path)
        )

    def _compile(self, message: str, signal: Signal) -> CompiledSignal:
        place = f"{self.path}: {message}.{signal.name}"
        if signal.is_float or signal.multiplexer_ids is not None:
            what = "a floating-point signal" if signal.is_float else "a multiplexed signal"
            raise ReaderError(f"{place}: got {what}, expected an integer one that is in every frame")
        big_endian = signal.byte_order == "big_endian"
        # The DBC numbers a byte's bits from the right; counted from the left a Motorola signal is one unbroken run.
        start = 8 * (signal.start // 8) + 7 - signal.start % 8 if big_endian else signal.start
        compiled = CompiledSignal(
            name=signal.name,
            start=start,
            length=signal.length,
            big_endian=big_endian,
            signed=signal.is_signed,
            scale=float(signal.scale),
            offset=float(signal.offset),
            unit=signal.unit or "",
        )
        if compiled.last_byte - compiled.first_byte >= 8:
            raise ReaderError(f"{place}: got {signal.length} bits over more than 8 bytes, expected at most 8 bytes")
        return compiled


def _load(path: Path) -> list[Message]:
    # Not strict: real DBCs hold overlapping signals in messages that nobody here asks for.
    database = cantools.database.load_file(str(path), database_format="dbc", strict=False)
    assert isinstance(database, Database), "a DBC describes a CAN bus"
    return list(database.messages)
