"""Times of tables as integer nanoseconds: numbers of any unit, ISO 8601, or a pattern; with a zone where they have none."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genba.data.readers.table_mapping import TimeColumn
from genba.errors import FormatError

_LIMIT_NS = 2.0**63


def to_nanoseconds(column: pa.ChunkedArray, time: TimeColumn, file: Path, name: str) -> np.ndarray:
    """Return a column of times as int64 nanoseconds: since 1970 in UTC, or as the numbers count.

    Raises:
        FormatError: a blank cell, or one that is no such time, naming its row.
    """
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().combine_chunks().to_numpy(zero_copy_only=False))[0])
        raise FormatError(file, f"column {name!r}: row {row}: got a blank cell, expected a time")
    if pa.types.is_timestamp(column.type):
        return _from_timestamps(column, time, file, name)
    if time.unit_ns is not None:
        return _from_numbers(column, time, time.unit_ns, file, name)
    texts = pc.cast(column, pa.string())
    if time.unit != "iso":
        return _from_pattern(texts, time, file, name)
    # Zones stand in all of a column's cells or in none; the first one tells.
    first = texts[0].as_py().strip() if len(texts) else ""
    has_zone = first.endswith(("Z", "z")) or "+" in first[10:] or "-" in first[10:]
    try:
        trimmed = pc.call_function("utf8_trim_whitespace", [texts])
        parsed = pc.cast(trimmed, pa.timestamp("ns", tz="UTC" if has_zone else None))
    except pa.ArrowInvalid as error:
        raise FormatError(file, f"column {name!r}: expected times in ISO 8601: {error}") from error
    return _from_timestamps(parsed, time, file, name)


def _from_timestamps(column: pa.ChunkedArray, time: TimeColumn, file: Path, name: str) -> np.ndarray:
    try:
        whole = pc.cast(column, pa.timestamp("ns", tz=column.type.tz))
    except pa.ArrowInvalid as error:
        raise FormatError(file, f"column {name!r}: a time that nanoseconds cannot hold: {error}") from error
    times_ns = pc.cast(whole, pa.int64()).combine_chunks().to_numpy(zero_copy_only=False)
    return times_ns if column.type.tz else times_ns - _offsets_ns(times_ns, time.timezone)


def _offsets_ns(local_ns: np.ndarray, timezone: str) -> np.ndarray:
    """Return what is to be taken from local times, read as if UTC, to get UTC.

    Asked once per quarter of an hour: zones change on one. Of an hour that comes twice, the first one is meant.
    """
    quarter_ns = 900 * 10**9
    quarters, which = np.unique(local_ns // quarter_ns, return_inverse=True)
    zone, offsets = ZoneInfo(timezone), np.zeros(len(quarters), np.int64)
    for i, quarter in enumerate(quarters.tolist()):
        shift = datetime.fromtimestamp(quarter * 900, UTC).replace(tzinfo=zone).utcoffset()
        assert shift is not None
        offsets[i] = round(shift.total_seconds()) * 10**9
    return offsets[which.reshape(-1)]


def _from_numbers(column: pa.ChunkedArray, time: TimeColumn, unit_ns: int, file: Path, name: str) -> np.ndarray:
    epoch_ns = _epoch_ns(time, file)
    numbers = column.combine_chunks().to_numpy(zero_copy_only=False)
    if numbers.dtype.kind not in "iuf":
        raise FormatError(file, f"column {name!r}: got {column.type}, expected numbers of {time.unit}")
    largest = (_LIMIT_NS - abs(epoch_ns)) / unit_ns
    wrong = ~(np.abs(numbers.astype(np.float64)) < largest)
    if wrong.any():
        row = int(wrong.argmax())
        raise FormatError(file, f"column {name!r}: row {row}: got {numbers[row]}, expected a time within 292 years")
    if numbers.dtype.kind in "iu":
        return numbers.astype(np.int64) * unit_ns + epoch_ns
    # Whole units apart from the rest: a float64 of seconds since 1970 holds 0.2 µs, times 10^9 it would round again.
    whole = np.floor(numbers)
    return whole.astype(np.int64) * unit_ns + np.rint((numbers - whole) * unit_ns).astype(np.int64) + epoch_ns


def _epoch_ns(time: TimeColumn, file: Path) -> int:
    if not time.epoch:
        return 0
    try:
        moment = datetime.fromisoformat(time.epoch)
    except ValueError as error:
        raise FormatError(
            file, f"the mapping's epoch {time.epoch!r}: {error}; expected a date such as 1899-12-30"
        ) from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(time.timezone))
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000


def _from_pattern(texts: pa.ChunkedArray, time: TimeColumn, file: Path, name: str) -> np.ndarray:
    zone, begin = ZoneInfo(time.timezone), datetime(1970, 1, 1, tzinfo=UTC)
    times_ns = np.zeros(len(texts), np.int64)
    for row, text in enumerate(texts.to_pylist()):
        try:
            moment = datetime.strptime(text.strip(), time.unit)
        except ValueError as error:
            raise FormatError(file, f"column {name!r}: row {row}: {error}") from error
        since = (moment if moment.tzinfo else moment.replace(tzinfo=zone)) - begin
        times_ns[row] = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
    return times_ns
