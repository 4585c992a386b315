"""A log of raw CAN frames and a DBC become the telemetry of a machine that no registry need know.

Every message of the DBC that occurs in the log is one channel on its own clock, named after the message; its signals are
the channel's dimensions, in SI (``si``; a unit that is not known there is kept as a plain number, and said). Limits are what
a signal's bits can hold; the rate is the cycle time that the DBC states, else a preferred number near the log's. So the
facts, and with them the id ``log/can-...@1``, follow from the DBC, the set of messages and their rates. A signal that a
multiplexer did not select, or that a short frame does not hold, is NaN. Remote and error frames say nothing and are left
out, as are frames of ids that the DBC does not know: both are counted and said.

Text values of a signal (``VAL_``) stay numbers. J1939 messages are found by their exact 29-bit id. What the bytes of
``candump``, ``asc`` and ``blf`` files mean is in the files of these names.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from genba.data.readers.dbc import CompiledMessage, CompiledSignal, Dbc
from genba.data.readers.derived import (
    as_si,
    derive,
    distinct_names,
    hold_to,
    nominal_rate_hz,
    telemetry,
)
from genba.data.readers.log_facts import EMBODIMENT_OPTION, given_facts
from genba.data.readers.options import provenance
from genba.data.readers.si import NONE, to_si
from genba.errors import FormatError, ReaderError, nearest
from genba.spec.embodiment import Dimension, Embodiment, TelemetryChannel
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.streams import Stream
from genba.spec.units import SECOND_NS
from genba.trust.digest import digest_file, digest_json

#: Bytes of the longest frame (CAN FD).
MAX_FRAME_BYTES = 64

#: A clock that jumps back by more was started again; less is frames of several buses merged out of order.
REORDER_NS = SECOND_NS

_FLOAT32 = float(np.finfo(np.float32).max)

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Some frames of a log, in the order in which they stand there."""

    #: int64 ``[frame]``
    times_ns: np.ndarray
    #: ``[frame]``, an index into ``buses``
    bus: np.ndarray
    #: uint32 ``[frame]``; ``dbc.EXTENDED_ID`` is set in ids of 29 bits
    address: np.ndarray
    #: uint8 ``[frame]``: bytes that each frame holds
    lengths: np.ndarray
    #: uint8 ``[frame, byte]``, zero beyond a frame's bytes
    data: np.ndarray
    #: what the log calls its buses
    buses: tuple[str, ...]
    #: remote and error frames, and other things, that were left out beside these
    num_left_out: int = 0


class CanReader(ABC):
    """What the readers of CAN logs share; a subclass only knows the bytes of its format.

    ``embodiment`` has to read the log, because only there it says which messages occur. What it found is kept for the
    ``read`` that follows, then dropped.
    """

    name: str
    description: str
    options: Mapping[str, str] = {
        "dbc": "the machine's message definitions (required)",
        "bus": "which bus of the log, by its name or number there, where messages of the DBC are on several",
        "embodiment": EMBODIMENT_OPTION,
    }

    def __init__(self) -> None:
        self._kept: tuple[Any, _Log] | None = None

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Say whether ``path`` is a log of this format, by its first bytes."""

    @abstractmethod
    def frames(self, path: Path) -> Iterator[Frames]:
        """Yield the data frames of a log, some at a time.

        Raises:
            FormatError: bytes that the format does not allow.
        """

    def started(self, path: Path) -> str:
        """Return what the log itself says about when it was started, as it is written there; empty if nothing."""
        return ""

    def embodiment(self, path: Path, **options: Any) -> Embodiment:
        """Return the facts that the option ``embodiment`` names, else those that the log and its DBC give.

        Raises:
            ReaderError: no DBC was given, it is not this machine's, or the log cannot be read.
        """
        provenance(self, options)
        given = given_facts(Path(path), options.get("embodiment"))
        return given or self._log(Path(path), options).facts()

    def read(self, path: Path, **options: Any) -> Iterator[Episode]:
        """Yield the one episode of a log, in nanoseconds of the log's own clock.

        Args:
            path: the log.
            options: ``dbc`` (required), ``bus``, ``embodiment``; ``owner``, ``site``, ``jurisdiction``, ``agreement``.

        Raises:
            FormatError: bytes that the format does not allow.
            ReaderError: the DBC or another option does not fit the log.
        """
        path, given = Path(path), provenance(self, options)
        facts = given_facts(path, options.get("embodiment"))
        log = self._log(path, options)
        self._kept = None
        streams = log.streams()
        if facts is None:
            facts = log.facts()
        else:
            streams = hold_to(facts, path, log.channels_of(facts), streams, log.names.values())
        started = self.started(path)
        yield Episode(
            EpisodeMetadata(
                # Named by its content: the same bus of the same log imported twice is found.
                episode_id=f"{facts.id}/{self.name}/{digest_json([log.digest, log.bus])[7:19]}",
                embodiment_id=facts.id,
                **given,
                source=f"{path.name}, bus {log.bus}, with {log.dbc.path.name}" + (f"; {started}" if started else ""),
            ),
            streams,
        )

    def _log(self, path: Path, options: Mapping[str, Any]) -> _Log:
        if options.get("dbc") is None:
            raise ReaderError(
                f"{path}: raw CAN frames need the machine's message definitions; give them with --dbc FILE"
            )
        bus = None if options.get("bus") is None else str(options["bus"])
        dbc_path = Path(options["dbc"])
        try:
            key = (path, _state(path), dbc_path, _state(dbc_path) if dbc_path.is_file() else None, bus)
            if self._kept is None or self._kept[0] != key:
                self._kept = (key, _collect(path, self.frames(path), Dbc(dbc_path), bus))
        except OSError as error:
            raise ReaderError(f"{path}: {error.strerror}, expected a log of the format {self.name}") from error
        return self._kept[1]


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


@dataclass(slots=True, eq=False)
class _Kept:
    """The frames of one message, as they come."""

    message: CompiledMessage
    #: bytes of a frame that its signals need
    width: int
    times_ns: list[np.ndarray] = field(default_factory=list)
    lengths: list[np.ndarray] = field(default_factory=list)
    data: list[np.ndarray] = field(default_factory=list)

    def join(self) -> None:
        """Make one array of each list, in time order."""
        times_ns = np.concatenate(self.times_ns)
        order = None
        if bool((np.diff(times_ns) < 0).any()):
            order = np.argsort(times_ns, kind="stable")
        for parts in (self.times_ns, self.lengths, self.data):
            whole = np.concatenate(parts) if len(parts) > 1 else parts[0]
            parts[:] = [whole if order is None else whole[order]]


@dataclass(frozen=True, slots=True, eq=False)
class _Log:
    """The frames of one bus that the DBC knows, by message."""

    path: Path
    dbc: Dbc
    digest: str
    bus: str
    #: address -> its frames, in the order of addresses
    kept: Mapping[int, _Kept]
    #: address -> channel, for every message of the DBC that has a signal
    names: Mapping[int, str]

    def channel(self, address: int, times_ns: np.ndarray) -> TelemetryChannel:
        """Return the channel that a message makes; ``times_ns`` tells its rate where the DBC does not."""
        message = self.kept[address].message if address in self.kept else self.dbc.message(self.dbc.addresses[address])
        rate_hz = 1 / message.cycle_s if message.cycle_s > 0 else nominal_rate_hz(times_ns)
        names = distinct_names(message.signals, ())
        dimensions = [_dimension(name, s, message) for name, s in zip(names, message.signals.values(), strict=True)]
        return telemetry(self.names[address], rate_hz, dimensions)

    def channels_of(self, facts: Embodiment) -> dict[str, TelemetryChannel]:
        """Return the channels that ``facts`` name and the DBC describes, whether they occur in the log or not."""
        wanted, nothing = {channel.name for channel in facts.channels}, np.zeros(0, np.int64)
        return {name: self.channel(address, nothing) for address, name in self.names.items() if name in wanted}

    def facts(self) -> Embodiment:
        """Return the facts of a machine with one channel per message that occurs."""
        channels = [self.channel(address, kept.times_ns[0]) for address, kept in self.kept.items()]
        key = [self.dbc.digest, [[channel.name, channel.rate_hz] for channel in channels]]
        description = f"A machine as recorded on its CAN bus, messages of {self.dbc.path.name}."
        return derive("can", description, channels, key)

    def streams(self) -> dict[str, Stream]:
        """Decode every message."""
        unknown: dict[str, list[str]] = {}
        out = {}
        for address, kept in self.kept.items():
            message, name = kept.message, self.names[address]
            frames, lengths = kept.data[0], kept.lengths[0]
            values = np.empty((len(frames), len(message.signals)), np.float32)
            for i, signal in enumerate(message.signals.values()):
                conversion = to_si(signal.unit)
                if conversion is None:
                    unknown.setdefault(signal.unit, []).append(f"{message.name}.{signal.name}")
                values[:, i] = as_si(signal.decode(frames, lengths), conversion or NONE)
            short = int((lengths < message.length).sum())
            if short:
                _LOG.warning(
                    "%s: %d of %d frames of %s are shorter than its %d bytes: signals beyond their end are missing",
                    self.path, short, len(frames), message.name, message.length,
                )  # fmt: skip
            out[name] = Stream(kept.times_ns[0], values)
        if unknown:
            said = "; ".join(f"{unit!r} of {', '.join(signals)}" for unit, signals in unknown.items())
            _LOG.warning("%s: units that are not known, kept as plain numbers: %s", self.dbc.path, said)
        return out


def _dimension(name: str, signal: CompiledSignal, message: CompiledMessage) -> Dimension:
    conversion = to_si(signal.unit) or NONE
    low, high = (float(np.clip(v * conversion.scale + conversion.offset, -_FLOAT32, _FLOAT32)) for v in signal.limits)
    if not low < high:
        raise ReaderError(
            f"{message.place}: {message.name}.{signal.name}: got scale {signal.scale} and offset {signal.offset}, "
            f"expected finite ones and a scale other than 0"
        )
    return Dimension(name=name, unit=conversion.unit, low=low, high=high)


def _collect(path: Path, blocks: Iterator[Frames], dbc: Dbc, wanted: str | None) -> _Log:
    """Sort the frames of a log by bus and message, keeping what the DBC knows.

    Raises:
        FormatError: no frame, or a clock that starts again.
        ReaderError: no frame of a message of the DBC, or ones on several buses where none is named.
    """
    addresses = dbc.addresses
    known = np.array(list(addresses), np.uint32)
    kept: dict[str, dict[int, _Kept]] = {}
    seen: dict[str, int] = {}
    num_frames, num_known, num_left_out, num_moved, latest = 0, 0, 0, 0, None
    for block in blocks:
        num_left_out += block.num_left_out
        if not len(block.times_ns):
            continue
        running = np.maximum.accumulate(block.times_ns if latest is None else np.r_[latest, block.times_ns])
        back_ns = running[-len(block.times_ns) :] - block.times_ns
        if int(back_ns.max()) > REORDER_NS:
            at = num_frames + int(back_ns.argmax())
            raise FormatError(
                path,
                f"got a clock that jumps back by {int(back_ns.max()) / SECOND_NS:.3f} s before data frame {at}, expected "
                f"at most {REORDER_NS / SECOND_NS} s; the recorder was started again: split the log there",
            )
        num_moved += int((back_ns > 0).sum())
        latest, num_frames = running[-1], num_frames + len(block.times_ns)
        for bus in np.unique(block.bus).tolist():
            of_bus = block.bus == bus
            name = block.buses[bus]
            seen[name] = seen.get(name, 0) + int(of_bus.sum())
            rows = np.flatnonzero(of_bus & np.isin(block.address, known))
            num_known += len(rows)
            if len(rows) and wanted in (None, name):
                _sort_in(block, rows, kept.setdefault(name, {}), dbc, addresses)
    if not num_frames:
        raise FormatError(path, "got no data frame, expected some")
    if wanted is not None and wanted not in seen:
        raise ReaderError(f"{path}: option bus: got {wanted!r}, expected a bus of the log{nearest(wanted, seen)}")
    if not kept:
        raise ReaderError(
            f"{path}: got {num_frames} frames on bus {', '.join(sorted(seen))}, expected some of a message of {dbc.path}"
            f"{'' if wanted is None else f' on bus {wanted}'}; is it this machine's DBC?"
        )
    if len(kept) > 1:
        counts = {bus: sum(len(t) for k in of.values() for t in k.times_ns) for bus, of in sorted(kept.items())}
        raise ReaderError(
            f"{path}: got frames of messages of {dbc.path} on buses "
            f"{', '.join(f'{bus} ({count})' for bus, count in counts.items())}, expected one bus; name it with "
            f"--option bus={next(iter(counts))}"
        )
    if num_moved:
        _LOG.warning("%s: %d of %d frames were out of order; sorted", path, num_moved, num_frames)
    _LOG.info(
        "%s: %d frames, %d of messages of %s; %d remote, error or other frames left out",
        path, num_frames, num_known, dbc.path.name, num_left_out,
    )  # fmt: skip
    ((bus, messages),) = kept.items()
    for frames in messages.values():
        frames.join()
    channels = dict(zip(addresses, distinct_names(addresses.values()), strict=True))
    return _Log(path, dbc, digest_file(path), bus, dict(sorted(messages.items())), channels)


def _sort_in(block: Frames, rows: np.ndarray, kept: dict[int, _Kept], dbc: Dbc, addresses: Mapping[int, str]) -> None:
    of_row = block.address[rows]
    order = np.argsort(of_row, kind="stable")
    ends = np.flatnonzero(np.diff(of_row[order])) + 1
    for part in np.split(rows[order], ends):
        address = int(block.address[part[0]])
        if address not in kept:
            message = dbc.message(addresses[address])
            last = max(signal.last_byte for signal in message.signals.values())
            kept[address] = _Kept(message, min(max(message.length, last + 1), MAX_FRAME_BYTES))
        one = kept[address]
        data = np.zeros((len(part), one.width), np.uint8)
        width = min(one.width, block.data.shape[1])
        data[:, :width] = block.data[part, :width]
        one.times_ns.append(block.times_ns[part])
        one.lengths.append(block.lengths[part])
        one.data.append(data)
