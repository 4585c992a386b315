"""A DBC compiled into shifts and scales, so that a million CAN frames decode in a handful of array operations.

A signal is a run of bits in a frame: little endian (Intel) counts up from its least significant bit, big endian
(Motorola) starts at its most significant bit and runs on through the bytes. Its bits are an integer or an IEEE 754
number; where a frame is shorter than the signal needs, or a multiplexer of the frame selects other signals, there is no
value and NaN stands for it. ``cantools`` reads the file; the decoding here is compared with its own, bit for bit, in the
tests. It knows no log: read next ``can_log``, and ``comma2k19``.

Source: Vector, DBC File Format Documentation, version 1.0.5, section 8 (signal definitions).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genba.errors import ReaderError, nearest
from genba.trust.digest import digest_file

if TYPE_CHECKING:
    from cantools.database.can import Message, Signal

#: Set in an id of 29 bits, as in a DBC, so that it never equals one of 11 bits.
EXTENDED_ID = 1 << 31

#: Bits of the longest frame (CAN FD).
MAX_FRAME_BITS = 512

_FLOATS = {16: (np.uint16, np.float16), 32: (np.uint32, np.float32), 64: (np.uint64, np.float64)}


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledSignal:
    """Where a signal's bits are and what they mean: value = raw * scale + offset, in ``unit``."""

    name: str
    #: position of the most significant bit (big endian: counted from byte 0's bit 7 on) or of the least (little endian)
    start: int
    #: bits, at most 64
    length: int
    big_endian: bool
    signed: bool
    scale: float
    offset: float
    #: as the DBC spells it
    unit: str
    #: the bits are an IEEE 754 number of 16, 32 or 64 bits
    is_float: bool = False
    #: the signal that says whether this one is in a frame; None where it is in every frame
    selector: CompiledSignal | None = None
    #: inclusive ranges of the selector's raw number under which this signal is in a frame
    selected_by: tuple[tuple[int, int], ...] = ()

    @property
    def first_byte(self) -> int:
        """The first byte of a frame that holds a bit of it."""
        return self.start // 8

    @property
    def last_byte(self) -> int:
        """The last byte of a frame that holds a bit of it."""
        return (self.start + self.length - 1) // 8

    @property
    def limits(self) -> tuple[float, float]:
        """The least and greatest value that its bits can hold, in ``unit``; those of float32 where they are a number."""
        if self.is_float:
            low, high = (float(v) for v in (np.finfo(np.float32).min, np.finfo(np.float32).max))
            return low, high
        raw = (-(2 ** (self.length - 1)), 2 ** (self.length - 1) - 1) if self.signed else (0, 2**self.length - 1)
        ends = [end * self.scale + self.offset for end in raw]
        return min(ends), max(ends)

    def decode(self, frames: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Decode ``frames`` uint8 ``[frame, byte]``: float64 ``[frame]`` in the DBC's unit, NaN where it is not there.

        Args:
            lengths: bytes that each frame really holds, ``[frame]``; all of ``frames`` where None.
        """
        if frames.shape[1] <= self.last_byte:
            return np.full(len(frames), np.nan)
        # An IEEE number may be none, or beyond what a float64 holds once scaled.
        with np.errstate(over="ignore", invalid="ignore"):
            values = self._raw(frames).astype(np.float64) * self.scale + self.offset
        there = self._present(frames, lengths)
        return values if there is None else np.where(there, values, np.nan)

    def _raw(self, frames: np.ndarray) -> np.ndarray:
        """Return the number that the bits are: uint64, int64 or a float ``[frame]``."""
        # Little endian is big endian with the bytes in the other order.
        order = range(self.first_byte, self.last_byte + 1)
        bytes_ = [frames[:, byte].astype(np.uint64) for byte in (order if self.big_endian else reversed(order))]
        below = 8 * (self.last_byte + 1) - self.start - self.length if self.big_endian else self.start % 8
        word = np.zeros(len(frames), np.uint64)
        for byte in bytes_[:8]:
            word = (word << np.uint64(8)) | byte
        if len(bytes_) == 9:
            # 64 bits that begin inside a byte: the last byte's upper bits come in below. ``below`` is 1 to 7 then.
            word = (word << np.uint64(8 - below)) | (bytes_[8] >> np.uint64(below))
            below = 0
        # To the top and back: what stands above the signal is cut off, and an arithmetic shift brings its sign along.
        room = np.uint64(64 - self.length)
        word = (word >> np.uint64(below)) << room
        if self.is_float:
            bits, number = _FLOATS[self.length]
            return (word >> room).astype(bits).view(number)
        return (word.view(np.int64) >> np.int64(room)) if self.signed else (word >> room)

    def _present(self, frames: np.ndarray, lengths: np.ndarray | None) -> np.ndarray | None:
        """Say for each frame whether the signal is in it; None where it is in all."""
        there = None if lengths is None or int(lengths.min(initial=255)) > self.last_byte else lengths > self.last_byte
        if self.selector is None:
            return there
        if frames.shape[1] <= self.selector.last_byte:
            return np.zeros(len(frames), bool)
        raw, selected = self.selector._raw(frames), np.zeros(len(frames), bool)
        for first, last in self.selected_by:
            selected |= (raw >= first) & (raw <= last)
        for other in (there, self.selector._present(frames, lengths)):
            if other is not None:
                selected &= other
        return selected


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledMessage:
    """One kind of frame."""

    name: str
    #: of 11 bits, or of 29 bits where ``is_extended``
    frame_id: int
    #: bytes of a frame
    length: int
    signals: Mapping[str, CompiledSignal]
    #: the DBC, for errors
    place: str
    is_extended: bool = False
    #: time between two frames where the DBC states it, else 0
    cycle_s: float = 0.0

    @property
    def address(self) -> int:
        """The id with ``EXTENDED_ID`` set where it has 29 bits."""
        return self.frame_id | (EXTENDED_ID if self.is_extended else 0)

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
            self._messages = {message.name: message for message in _load(self.path)}
            self.digest = digest_file(self.path)
        except ReaderError:
            raise
        # Anything at all comes out of a parser that is fed what is no DBC.
        except Exception as error:
            raise ReaderError(f"{self.path}: not a DBC: {error}") from error

    @property
    def addresses(self) -> dict[int, str]:
        """Id (``EXTENDED_ID`` set where it has 29 bits) -> name of every message that has a signal, by id."""
        found = {
            message.frame_id | (EXTENDED_ID if message.is_extended_frame else 0): name
            for name, message in self._messages.items()
            if message.signals
        }
        return dict(sorted(found.items()))

    def message(self, name: str) -> CompiledMessage:
        """Compile one message.

        Raises:
            ReaderError: no such message, or a signal in it that cannot be compiled.
        """
        if name not in self._messages:
            hint = nearest(name, self._messages)
            raise ReaderError(f"{self.path}: no message {name!r}{hint}; is it this machine's DBC?")
        message = self._messages[name]
        signals: dict[str, CompiledSignal] = {}
        for signal in message.signals:
            self._compile(message, signal.name, signals, ())
        return CompiledMessage(
            name=name,
            frame_id=message.frame_id,
            length=message.length,
            # In the DBC's order, whatever multiplexer was compiled first.
            signals={signal.name: signals[signal.name] for signal in message.signals},
            place=str(self.path),
            is_extended=message.is_extended_frame,
            cycle_s=_cycle_s(message.cycle_time),
        )

    def _compile(
        self, message: Message, name: str, done: dict[str, CompiledSignal], through: tuple[str, ...]
    ) -> CompiledSignal:
        if name in done:
            return done[name]
        try:
            signal: Signal = message.get_signal_by_name(name)
        except KeyError as error:
            place = f"{self.path}: {message.name}.{through[-1]}"
            raise ReaderError(f"{place}: got the multiplexer {name!r}, expected a signal of its message") from error
        place = f"{self.path}: {message.name}.{name}"
        if signal.is_float and signal.length not in _FLOATS:
            raise ReaderError(f"{place}: got a number of {signal.length} bits, expected 16, 32 or 64")
        if not 1 <= signal.length <= 64:
            raise ReaderError(f"{place}: got {signal.length} bits, expected 1 to 64")
        if not 0 <= signal.start < MAX_FRAME_BITS:
            raise ReaderError(f"{place}: got bit {signal.start}, expected one of a frame, 0 to {MAX_FRAME_BITS - 1}")
        selector, selected_by = None, []
        if signal.multiplexer_ids is not None:
            if signal.multiplexer_signal is None or name in through:
                raise ReaderError(
                    f"{place}: got a multiplexed signal without a multiplexer, expected one in its message"
                )
            selector = self._compile(message, signal.multiplexer_signal, done, (*through, name))
            selected_by = _runs(signal.multiplexer_ids)
        big_endian = signal.byte_order == "big_endian"
        # The DBC numbers a byte's bits from the right; counted from the left a Motorola signal is one unbroken run.
        start = 8 * (signal.start // 8) + 7 - signal.start % 8 if big_endian else signal.start
        done[name] = CompiledSignal(
            name=name,
            start=start,
            length=signal.length,
            big_endian=big_endian,
            signed=signal.is_signed,
            scale=float(signal.scale),
            offset=float(signal.offset),
            unit=signal.unit or "",
            is_float=signal.is_float,
            selector=selector,
            selected_by=tuple(selected_by),
        )
        return done[name]


def _cycle_s(stated: object) -> float:
    """Return the time between two frames that a DBC states, in milliseconds, in seconds; 0 where it states none."""
    return stated / 1000 if isinstance(stated, (int, float)) and 0 < stated < float("inf") else 0.0


def _runs(ids: list[int]) -> list[tuple[int, int]]:
    """Return the inclusive ranges that ``ids`` make up: extended multiplexing lists thousands one by one."""
    runs: list[tuple[int, int]] = []
    for number in sorted(set(ids)):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _load(path: Path) -> list[Message]:
    # Imported here: cantools comes with an extra, and logs of other kinds do without it.
    try:
        import cantools
        from cantools.database.can import Database
    except ModuleNotFoundError as error:
        raise ReaderError(
            f"{path}: reading a DBC needs cantools; install it with: pip install 'genba[readers]'"
        ) from error
    # Not strict: real DBCs hold overlapping signals in messages that nobody here asks for.
    database = cantools.database.load_file(str(path), database_format="dbc", strict=False)
    assert isinstance(database, Database), "a DBC describes a CAN bus"
    return list(database.messages)
