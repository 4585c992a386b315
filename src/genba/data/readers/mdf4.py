"""Reads ASAM MDF 4 measurement files: each channel group becomes one channel on its own master clock.

Conversions to physical values are applied (linear, rational, tables); units become SI. Times are nanoseconds since 1970:
the start in the file's header plus the master channel's seconds. Integers keep the limits that their bits can hold, floats
those of float32, so two files of the same structure give the same facts. What cannot be a number in time (texts, arrays,
byte arrays, raw bus frames, masters of angle or distance) is left out and said by name; a value with texts for some numbers
stays its number.

Nothing in a file is ever evaluated: an algebraic conversion (a formula as text) is refused for that channel, which is left out
by name. Files that were not closed properly, and the column-wise blocks of version 4.2, are refused. Read next: ``mdf4_blocks``.

Source: ASAM MDF, version 4.1.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genba.data.readers.derived import (
    as_si,
    derive,
    distinct_names,
    hold_to,
    nominal_rate_hz,
    telemetry,
)
from genba.data.readers.log_facts import EMBODIMENT_OPTION, given_facts
from genba.data.readers.mdf4_blocks import HEADER_AT, Block, Blocks
from genba.data.readers.options import provenance
from genba.data.readers.si import NONE, Conversion, to_si
from genba.errors import FormatError, ReaderError
from genba.spec.embodiment import Dimension, Embodiment, TelemetryChannel
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.streams import Stream
from genba.spec.units import SECOND_NS
from genba.trust.digest import digest_file

_LOG = logging.getLogger(__name__)

_FLOAT32 = float(np.finfo(np.float32).max)
_MAGIC, _UNFINISHED = b"MDF     ", b"UnFinMF "
#: kind, synchronisation, type of data, bit offset, byte offset, bits, flags, place of the invalidation bit
_CHANNEL = struct.Struct("<BBBBIIII")
#: record id, cycles, flags, separator, nothing, bytes of a record, bytes of its invalidation bits
_GROUP = struct.Struct("<QQHHIII")
#: kind, precision, flags, links, values, least and greatest physical value
_CONVERSION = struct.Struct("<BBHHHdd")
_FIXED, _MASTER, _VIRTUAL_MASTER, _SYNC, _VIRTUAL = 0, 2, 3, 4, 6
_TIME = 1
_UNSIGNED, _SIGNED, _FLOATS = (0, 1), (2, 3), (4, 5)
_VLSD_GROUP, _BUS_GROUP, _REMOTE_MASTER = 1, 2, 8
_ALL_INVALID, _HAS_INVALID_BIT = 1, 2
#: A structure in a structure in a structure: deeper is damage.
_MAX_DEPTH = 4
_MAX_TIME_S = 2.0**63 / SECOND_NS


class Mdf4Reader:
    """ASAM MDF 4 measurement files."""

    name = "mdf4"
    description = "an ASAM MDF 4 measurement file (.mf4): every channel group on its own clock"
    options: Mapping[str, str] = {"embodiment": EMBODIMENT_OPTION}

    def __init__(self) -> None:
        # The file has to be read to know its facts; what was found is kept for the ``read`` that follows.
        self._kept: tuple[Any, _Log] | None = None

    def recognises(self, path: Path) -> bool:
        """Say whether ``path`` begins as an MDF file of version 4 does."""
        try:
            with Path(path).open("rb") as file:
                head = file.read(16)
        except OSError:
            return False
        return head[:8] in (_MAGIC, _UNFINISHED) and head[8:10] == b"4."

    def embodiment(self, path: Path, **options: Any) -> Embodiment:
        """Return the facts that the option ``embodiment`` names, else those that the file gives.

        Raises:
            ReaderError: the file cannot be read.
        """
        provenance(self, options)
        return given_facts(Path(path), options.get("embodiment")) or self._log(Path(path)).facts()

    def read(self, path: Path, **options: Any) -> Iterator[Episode]:
        """Yield the one episode of a file.

        Args:
            path: the file.
            options: ``embodiment``; ``owner``, ``site``, ``jurisdiction``, ``agreement``.

        Raises:
            FormatError: bytes that the format does not allow.
            ReaderError: an option that does not fit.
        """
        path, given = Path(path), provenance(self, options)
        facts = given_facts(path, options.get("embodiment"))
        log = self._log(path)
        self._kept = None
        streams: Mapping[str, Stream] = log.streams
        if facts is None:
            facts = log.facts()
        else:
            streams = hold_to(facts, path, {channel.name: channel for channel in log.channels}, streams)
        yield Episode(
            EpisodeMetadata(
                # Named by its content: the same file imported twice is found.
                episode_id=f"{facts.id}/mdf4/{digest_file(path)[7:19]}",
                embodiment_id=facts.id,
                **given,
                source=path.name + log.remark,
            ),
            streams,
        )

    def _log(self, path: Path) -> _Log:
        try:
            state = path.stat()
            key = (path, state.st_size, state.st_mtime_ns)
            if self._kept is None or self._kept[0] != key:
                with path.open("rb") as file:
                    self._kept = (key, _read(Blocks(path, file), file.read(HEADER_AT)))
        except OSError as error:
            raise ReaderError(f"{path}: {error.strerror}, expected an MDF file") from error
        return self._kept[1]


@dataclass(frozen=True, slots=True, eq=False)
class _Log:
    """Everything of a file that is a number in time."""

    channels: tuple[TelemetryChannel, ...]
    streams: Mapping[str, Stream]
    remark: str

    def facts(self) -> Embodiment:
        """Return the facts of a machine with one channel per group."""
        key = [[c.name, c.rate_hz, [[d.name, d.unit, d.low, d.high] for d in c.dimensions]] for c in self.channels]
        return derive("mdf4", "A machine as recorded in MDF 4 files.", self.channels, key)


def _read(blocks: Blocks, head: bytes) -> _Log:
    if head[:8] == _UNFINISHED:
        raise FormatError(
            blocks.path,
            "the recorder did not close this file (UnFinMF); finalise it with the recorder's tool",
            offset=0,
        )
    if len(head) < HEADER_AT or head[:8] != _MAGIC or head[8:10] != b"4.":
        raise FormatError(blocks.path, f"got {head[:16]!r}, expected 'MDF     4.', the first bytes of MDF 4", offset=0)
    header = blocks.read(HEADER_AT, "HD", num_links=6, num_bytes=16)
    start_ns, _, _, flags = struct.unpack_from("<QhhB", header.data)
    if start_ns >= 1 << 62:
        raise blocks.error(HEADER_AT, f"got a start of {start_ns} ns, expected one before the year 2116")
    left_out: list[str] = []
    groups: list[_Group] = []
    for data_group in blocks.chain(header.links[0], "DG", 4, 1):
        groups += _read_data_group(blocks, data_group, start_ns, left_out)
    if left_out:
        _LOG.warning("%s: left out: %s", blocks.path, "; ".join(left_out))
    if not groups:
        raise FormatError(blocks.path, "got no channel group with a clock, samples and numbers, expected at least one")
    names = distinct_names(group.name or "group" for group in groups)
    channels = tuple(
        telemetry(name, nominal_rate_hz(group.times_ns), group.dimensions)
        for name, group in zip(names, groups, strict=True)
    )
    streams = {name: Stream(group.times_ns, group.values) for name, group in zip(names, groups, strict=True)}
    return _Log(channels, streams, "" if not flags & 1 else "; started in local time, no zone known")


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    name: str
    #: int64 ``[sample]``
    times_ns: np.ndarray
    #: float32 ``[sample, dimension]``, SI
    values: np.ndarray
    dimensions: tuple[Dimension, ...]


@dataclass(frozen=True, slots=True)
class _Channel:
    """Where a channel's bits are in a record, and what they mean."""

    at: int
    name: str
    kind: int
    sync: int
    dtype: int
    bit_offset: int
    byte_offset: int
    num_bits: int
    flags: int
    invalid_bit: int
    unit: str
    conversion: _Rule | None

    @property
    def is_virtual(self) -> bool:
        """Its raw value is the record's number; there are no bits."""
        return self.kind in (_VIRTUAL_MASTER, _VIRTUAL)


@dataclass(frozen=True, slots=True)
class _Rule:
    """A conversion: its kind and its parameters."""

    kind: int
    values: tuple[float, ...]


def _read_data_group(blocks: Blocks, data_group: Block, start_ns: int, left_out: list[str]) -> list[_Group]:
    id_bytes = data_group.data[0]
    if id_bytes not in (0, 1, 2, 4, 8):
        raise blocks.error(data_group.at, f"got record ids of {id_bytes} bytes, expected 0, 1, 2, 4 or 8")
    found: dict[int, tuple[Block, tuple[Any, ...]]] = {}
    for group in blocks.chain(data_group.links[1], "CG", 6, _GROUP.size):
        facts = _GROUP.unpack_from(group.data)
        if facts[0] in found:
            raise blocks.error(group.at, f"got the record id {facts[0]} for a second group, expected distinct ones")
        found[facts[0]] = (group, facts)
    if not found:
        return []
    if len(found) > 1 and not id_bytes:
        raise blocks.error(data_group.at, f"got {len(found)} groups without record ids, expected one")
    data = blocks.joined(data_group.links[2])
    records = _demultiplex(blocks, data_group.at, data, id_bytes, {k: f for k, (_, f) in found.items()})
    out = []
    for key, (group, facts) in found.items():
        _, cycles, flags, _, _, data_bytes, _ = facts
        name = blocks.text(group.links[2])
        if flags & _VLSD_GROUP or not cycles:
            continue
        if flags & (_BUS_GROUP | _REMOTE_MASTER):
            what = "raw bus frames" if flags & _BUS_GROUP else "a clock in another group"
            left_out.append(f"group {name!r} at byte {group.at} ({what})")
            continue
        rows = records[key]
        if len(rows) < cycles:
            raise blocks.error(
                group.at, f"got {len(rows)} records of {data_bytes} bytes, expected {cycles}; the file was cut"
            )
        made = _read_group(blocks, group, name, rows[:cycles], data_bytes, start_ns, left_out)
        if made is not None:
            out.append(made)
    return out


def _demultiplex(
    blocks: Blocks, at: int, data: bytes, id_bytes: int, groups: Mapping[int, tuple[Any, ...]]
) -> dict[int, np.ndarray]:
    """Return the records of each group: uint8 ``[record, byte]``."""
    sizes = {key: facts[5] + facts[6] for key, facts in groups.items()}
    if not id_bytes:
        ((key, size),) = sizes.items()
        cycles = groups[key][1]
        if not size:
            blocks.allow_values(at, cycles)
            return {key: np.zeros((cycles, 0), np.uint8)}
        return {key: np.frombuffer(data, np.uint8, len(data) // size * size).reshape(-1, size)}
    starts: dict[int, list[int]] = {key: [] for key in sizes}
    variable = {key for key, facts in groups.items() if facts[2] & _VLSD_GROUP}
    position, end = 0, len(data)
    while position < end:
        key = int.from_bytes(data[position : position + id_bytes], "little")
        if key not in sizes:
            raise blocks.error(at, f"got a record of the unknown id {key} at byte {position} of the group's data")
        position += id_bytes
        size = sizes[key]
        if key in variable:
            size = 4 + int.from_bytes(data[position : position + 4], "little")
        if position + size > end:
            raise blocks.error(at, f"the group's data end inside a record of id {key}; the file was cut")
        starts[key].append(position)
        position += size
    buffer = np.frombuffer(data, np.uint8)
    return {
        key: buffer[np.array(starts[key], np.int64)[:, None] + np.arange(size)]
        for key, size in sizes.items()
        if key not in variable
    }


def _read_group(
    blocks: Blocks, group: Block, name: str, rows: np.ndarray, data_bytes: int, start_ns: int, left_out: list[str]
) -> _Group | None:
    place = f"group {name!r} at byte {group.at}"
    channels = list(_channels(blocks, group.links[1], place, left_out, 0))
    masters = [c for c in channels if c.kind in (_MASTER, _VIRTUAL_MASTER)]
    clocks = [c for c in masters if c.sync == _TIME]
    kept = [c for c in channels if c not in masters and c.kind != _SYNC]
    if len(clocks) != 1 or not kept:
        left_out.append(f"{place} ({'no channel of numbers' if len(clocks) == 1 else 'no clock'})")
        return None
    blocks.allow_values(group.at, len(rows) * (len(kept) + 1))
    unit = to_si(clocks[0].unit)
    scale_s = unit.scale if unit is not None and unit.unit == "s" else 1.0
    seconds = _values(blocks, clocks[0], rows, data_bytes) * scale_s
    if not bool((np.abs(seconds) < _MAX_TIME_S / 2).all()):
        raise blocks.error(clocks[0].at, f"{place}: got a time that is no number or beyond 146 years")
    times_ns = start_ns + np.rint(seconds * SECOND_NS).astype(np.int64)
    order = None
    if bool((np.diff(times_ns) < 0).any()):
        _LOG.warning("%s: %s: samples were not in the order of their times; sorted", blocks.path, place)
        order = np.argsort(times_ns, kind="stable")
    values, dimensions = np.empty((len(rows), len(kept)), np.float32), []
    for i, (channel, plain) in enumerate(zip(kept, distinct_names((c.name for c in kept), ()), strict=True)):
        conversion = to_si(channel.unit)
        if conversion is None:
            _LOG.warning(
                "%s: unit %r of %s is not known: kept as plain numbers", blocks.path, channel.unit, channel.name
            )
        conversion = conversion or NONE
        values[:, i] = as_si(_values(blocks, channel, rows, data_bytes), conversion)
        low, high = _limits(channel, conversion)
        dimensions.append(Dimension(name=plain, unit=conversion.unit, low=low, high=high))
    if order is not None:
        times_ns, values = times_ns[order], values[order]
    return _Group(name, times_ns, values, tuple(dimensions))


def _channels(blocks: Blocks, at: int, place: str, left_out: list[str], depth: int) -> Iterator[_Channel]:
    """Yield the channels of a chain that are numbers, members of structures too; say what is none."""
    for block in blocks.chain(at, "CN", 8, _CHANNEL.size):
        kind, sync, dtype, bit_offset, byte_offset, num_bits, flags, invalid_bit = _CHANNEL.unpack_from(block.data)
        name = blocks.text(block.links[2])
        composition = block.links[1]
        if composition:
            if blocks.kind(composition) == "CN":
                if depth >= _MAX_DEPTH:
                    raise blocks.error(block.at, f"got structures more than {_MAX_DEPTH} deep")
                yield from _channels(blocks, composition, place, left_out, depth + 1)
            else:
                left_out.append(f"{name!r} in {place} (an array)")
            continue
        is_number = dtype in (*_UNSIGNED, *_SIGNED) and 1 <= num_bits <= 64 and bit_offset < 8
        is_number = is_number or (dtype in _FLOATS and num_bits in (16, 32, 64) and not bit_offset)
        rule, problem = _conversion(blocks, block.links[4])
        if kind not in (_FIXED, _MASTER, _VIRTUAL_MASTER, _SYNC, _VIRTUAL):
            problem = "of variable length"
        elif not is_number and kind not in (_VIRTUAL_MASTER, _VIRTUAL):
            problem = f"data of type {dtype} and {num_bits} bits"
        if problem:
            left_out.append(f"{name!r} in {place} ({problem})")
            continue
        unit = blocks.text(block.links[6])
        if not unit and block.links[4]:
            unit = blocks.text(blocks.read(block.links[4], "CC", num_links=2).links[1])
        yield _Channel(
            block.at, name, kind, sync, dtype, bit_offset, byte_offset, num_bits, flags, invalid_bit, unit, rule
        )


def _conversion(blocks: Blocks, at: int) -> tuple[_Rule | None, str]:
    """Return how raw values become physical ones (None: as they are), and why a channel cannot be read, if so."""
    if not at:
        return None, ""
    block = blocks.read(at, "CC", num_links=4, num_bytes=_CONVERSION.size)
    kind, _, _, _, count, _, _ = _CONVERSION.unpack_from(block.data)
    if len(block.data) < _CONVERSION.size + 8 * count:
        raise blocks.error(at, f"got a conversion of {count} values in {len(block.data)} bytes, expected all of them")
    values = struct.unpack_from(f"<{count}d", block.data, _CONVERSION.size)
    least = {1: 2, 2: 6, 4: 2, 5: 2, 6: 4}.get(kind, 0)
    if count < least or (kind in (4, 5) and count % 2) or (kind == 6 and count % 3 != 1):
        raise blocks.error(at, f"got a conversion of kind {kind} with {count} values, expected at least {least}")
    if kind == 3:
        return None, "a formula, which is never evaluated"
    if kind in (9, 10):
        return None, "a text"
    # Kinds 0, 7, 8 and 11: as it is, or texts for some numbers, which stay their numbers.
    return (_Rule(kind, values), "") if kind in (1, 2, 4, 5, 6) else (None, "")


def _raw(blocks: Blocks, channel: _Channel, rows: np.ndarray, data_bytes: int) -> np.ndarray:
    if channel.is_virtual:
        return np.arange(len(rows), dtype=np.float64)
    num_bytes = (channel.bit_offset + channel.num_bits + 7) // 8
    first = channel.byte_offset
    if first + num_bytes > data_bytes or num_bytes > 8:
        raise blocks.error(
            channel.at,
            f"{channel.name!r}: got bytes {first} to {first + num_bytes} of a record of {data_bytes}, expected them in it, "
            f"at most 8",
        )
    part = rows[:, first : first + num_bytes]
    # Little endian: the last byte is the most significant one.
    order = range(num_bytes) if channel.dtype % 2 else reversed(range(num_bytes))
    word = np.zeros(len(rows), np.uint64)
    for byte in order:
        word = (word << np.uint64(8)) | part[:, byte]
    if channel.dtype in _FLOATS:
        bits, real = {16: ("u2", "f2"), 32: ("u4", "f4"), 64: ("u8", "f8")}[channel.num_bits]
        return word.astype(bits).view(real).astype(np.float64)
    # To the top and back: what stands above is cut off, and an arithmetic shift brings the sign along.
    room = np.uint64(64 - channel.num_bits)
    word = (word >> np.uint64(channel.bit_offset)) << room
    return ((word.view(np.int64) >> np.int64(room)) if channel.dtype in _SIGNED else (word >> room)).astype(np.float64)


def _values(blocks: Blocks, channel: _Channel, rows: np.ndarray, data_bytes: int) -> np.ndarray:
    """Return a channel's physical values, float64 ``[record]``; NaN where they are marked as invalid."""
    raw = _raw(blocks, channel, rows, data_bytes)
    values = _physical(channel.conversion, raw, is_float=channel.dtype in _FLOATS)
    if channel.flags & _ALL_INVALID:
        return np.full(len(rows), np.nan)
    if channel.flags & _HAS_INVALID_BIT:
        byte = data_bytes + channel.invalid_bit // 8
        if byte >= rows.shape[1]:
            raise blocks.error(
                channel.at, f"{channel.name!r}: got invalidation bit {channel.invalid_bit} beyond the record"
            )
        values = np.where(rows[:, byte] >> (channel.invalid_bit % 8) & 1, np.nan, values)
    return values


def _physical(rule: _Rule | None, raw: np.ndarray, *, is_float: bool) -> np.ndarray:
    if rule is None:
        return raw
    with np.errstate(all="ignore"):
        v = np.array(rule.values)
        if rule.kind == 1:
            return v[0] + v[1] * raw
        if rule.kind == 2:
            return (v[0] * raw * raw + v[1] * raw + v[2]) / (v[3] * raw * raw + v[4] * raw + v[5])
        if rule.kind == 6:
            out = np.full(len(raw), v[-1])
            # The upper end of a range belongs to it for whole numbers, not for others.
            for low, high, value in v[:-1].reshape(-1, 3):
                out[(raw >= low) & ((raw < high) if is_float else (raw <= high))] = value
            return out
        keys, values = v[0::2], v[1::2]
        if rule.kind == 4:
            return np.interp(raw, keys, values)
        # The nearest key counts, the lower one of two.
        at = np.clip(np.searchsorted(keys, raw), 1, len(keys) - 1) if len(keys) > 1 else np.zeros(len(raw), np.int64)
        if len(keys) > 1:
            at = np.where(raw - keys[at - 1] <= keys[at] - raw, at - 1, at)
        return values[at]


def _limits(channel: _Channel, conversion: Conversion) -> tuple[float, float]:
    """Return the least and greatest value that the bits can mean, in SI; those of float32 where that is not known."""
    ends = [-_FLOAT32, _FLOAT32]
    rule = channel.conversion
    if rule is not None and rule.kind in (4, 5):
        ends = list(rule.values[1::2])
    elif rule is not None and rule.kind == 6:
        ends = [*rule.values[2:-1:3], rule.values[-1]]
    elif (rule is None or rule.kind == 1) and channel.dtype in (*_UNSIGNED, *_SIGNED) and not channel.is_virtual:
        bits = channel.num_bits
        raw = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if channel.dtype in _SIGNED else (0.0, 2.0**bits - 1)
        ends = [float(v) for v in _physical(rule, np.array(raw), is_float=False)]
    ends = [value * conversion.scale + conversion.offset for value in ends]
    if not np.isfinite(ends).all():
        return -_FLOAT32, _FLOAT32
    low, high = (float(np.clip(v, -_FLOAT32, _FLOAT32)) for v in (min(ends), max(ends)))
    if low < high:
        return low, high
    # A table with one value: anything around it would do.
    return (low - 1.0, high + 1.0) if abs(low) < 1e6 else (-_FLOAT32, _FLOAT32)
