"""The mapping file of the reader ``table``: which columns of a plant's tables are which channels of a machine.

It is TOML, read strictly: an unknown key is refused with the nearest. ``EXAMPLE`` shows every key. It holds no code that
reads a table: see ``table``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa

from genba.config import read_toml
from genba.data.readers.derived import distinct_names
from genba.data.readers.plain_names import snake_case
from genba.data.readers.si import SPELLINGS, Conversion, to_si
from genba.errors import ConfigError, ReaderError, nearest

EXAMPLE = """\
# What the columns of a press line's tables are.
machine = "press-line"              # names the machine: log/press-line-<digest of these facts>@1
description = "A hydraulic press with its pump."
files = "*.csv"                     # which files of a folder; CSV (also .gz) and Parquet
episode = "file"                    # "file": one episode each; "folder": all files together are one
episode_column = ""                 # a column whose every different value is an episode of its own

[time]
column = "timestamp"
unit = "iso"                        # iso, s, ms, us, ns, d (days), or a strptime pattern such as "%d.%m.%Y %H:%M:%S"
epoch = ""                          # what numbers count from, e.g. "1899-12-30" for a spreadsheet's days; else as they are
timezone = "Asia/Tokyo"             # of times that do not say it themselves; UTC by default

[csv]                               # may be left out: these are the defaults but for the first two
separator = ";"
decimal = ","
encoding = "utf-8"
skip_rows = 0                       # lines above the line of names
names = []                          # the names where the file has no line of them
missing = ["", "NaN", "nan", "NA", "null", "None", "-"]

# [long]                            # for tables with one value per row
# name = "tag"                      # the column that says which number it is; "from" below is then such a name
# value = "value"                   # the column of the numbers

[[channel]]
name = "hydraulics"
rate_hz = 10.0                      # nominal; the samples keep their own times
files = ""                          # only these files of an episode, e.g. "hydraulics*.csv"
time = ""                           # another column of times than [time] says
column = [
  { from = "P1 [bar]", name = "pressure", unit = "bar", low = 0.0, high = 250.0 },   # limits in this unit
  { from = "T oil", name = "oil_temperature", unit = "degC", low = -20.0, high = 120.0 },
  { from = "state", name = "state", categories = 4 },                                # a class, 0 to 3
]
"""

_UNITS_OF_TIME = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1000, "ns": 1, "d": 86_400_000_000_000}


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeColumn:
    """What the times of a table are."""

    column: str
    #: ``iso``, a unit of ``s``, ``ms``, ``us``, ``ns``, ``d``, or a strptime pattern
    unit: str = "iso"
    #: an ISO date or time that numbers count from; as they stand where empty
    epoch: str = ""
    #: of times that do not say it themselves
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        if self.unit != "iso" and self.unit not in _UNITS_OF_TIME and "%" not in self.unit:
            hint = nearest(self.unit, ["iso", *_UNITS_OF_TIME])
            raise ValueError(f"unit: got {self.unit!r}, expected a unit of time, iso or a pattern with %{hint}")
        if self.epoch and self.unit not in _UNITS_OF_TIME:
            raise ValueError(f"epoch: got {self.epoch!r} with unit {self.unit!r}, expected one only with numbers")
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"timezone: got {self.timezone!r}, expected a name such as 'Asia/Tokyo'") from error

    @property
    def unit_ns(self) -> int | None:
        """Nanoseconds of one unit where times are numbers, else None."""
        return _UNITS_OF_TIME.get(self.unit)

    @property
    def kind(self) -> pa.DataType:
        """What a CSV's column is parsed as: whole numbers of nanoseconds do not fit into a float."""
        if self.unit_ns == 1:
            return pa.int64()
        return pa.string() if self.unit_ns is None else pa.float64()


@dataclass(frozen=True, kw_only=True, slots=True)
class Csv:
    """How a CSV is written."""

    separator: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    skip_rows: int = 0
    names: tuple[str, ...] = ()
    missing: tuple[str, ...] = ("", "NaN", "nan", "NA", "null", "None", "-")

    def __post_init__(self) -> None:
        for name, value in (("separator", self.separator), ("decimal", self.decimal)):
            if len(value) != 1 or not value.isascii():
                raise ValueError(f"{name}: got {value!r}, expected one character")
        if self.separator == self.decimal:
            raise ValueError(f"separator, decimal: got {self.decimal!r} for both, expected different ones")
        if self.skip_rows < 0:
            raise ValueError(f"skip_rows: got {self.skip_rows}, expected at least 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class Long:
    """The columns of a table with one value per row."""

    name: str
    value: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Mapped:
    """One column (of a long table: one tag) as a dimension."""

    source: str = field(metadata={"key": "from"})
    #: of the dimension; the column's own in snake case where empty
    name: str = ""
    #: as the log counts; any spelling of ``si``
    unit: str = "1"
    #: limits in ``unit``
    low: float = math.nan
    high: float = math.nan
    #: number of classes where the value is a class number, else 0
    categories: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or snake_case(self.source))
        if to_si(self.unit) is None:
            raise ValueError(
                f"unit: {self.source!r}: got {self.unit!r}, expected one that is known{nearest(self.unit, SPELLINGS)}"
            )
        if self.categories < 0 or self.categories == 1:
            raise ValueError(
                f"categories: {self.source!r}: got {self.categories}, expected at least 2, or 0 for a number"
            )
        if not self.categories and not self.low < self.high:
            raise ValueError(f"low, high: {self.source!r}: got {self.low}, {self.high}, expected limits in {self.unit}")

    @property
    def conversion(self) -> Conversion:
        """What one of ``unit`` is in SI."""
        found = to_si(self.unit)
        assert found is not None
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """The columns that are sampled together."""

    name: str
    rate_hz: float
    column: tuple[Mapped, ...]
    files: str = ""
    time: str = ""

    def __post_init__(self) -> None:
        if distinct_names([self.name]) != [self.name]:
            raise ValueError(
                f"name: got {self.name!r}, expected lower-case letters, digits and underscores, and no name of a stream that "
                f"is no channel; e.g. {distinct_names([self.name])[0]!r}"
            )
        if self.rate_hz <= 0:
            raise ValueError(f"rate_hz: {self.name}: got {self.rate_hz}, expected more than 0")
        if not self.column:
            raise ValueError(f"column: {self.name}: got none, expected at least one")


@dataclass(frozen=True, kw_only=True, slots=True)
class TableMapping:
    """What the columns of a machine's tables are."""

    machine: str
    time: TimeColumn
    channel: tuple[Channel, ...]
    description: str = ""
    files: str = "*.csv"
    episode: Literal["file", "folder"] = "file"
    episode_column: str = ""
    csv: Csv = field(default_factory=Csv)
    long: Long | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.machine):
            raise ValueError(f"machine: got {self.machine!r}, expected lower-case letters and digits joined by hyphens")
        if not self.channel:
            raise ValueError("channel: got none, expected at least one")
        if any(channel.files for channel in self.channel) and self.episode == "file":
            raise ValueError('files: got a channel with files of its own, expected episode = "folder" then')


def read_mapping(path: Path) -> TableMapping:
    """Read a mapping.

    Raises:
        ReaderError: naming the file, the place in it, and what was expected there.
    """
    try:
        return read_toml(path, TableMapping)
    except (ConfigError, UnicodeDecodeError, OSError, RecursionError) as error:
        where = "" if isinstance(error, ConfigError) else f"{path}: not a mapping: "
        raise ReaderError(f"{where}{error}") from error
