"""Reads a file of the Skoltech Anomaly Benchmark: a water-circulation bench with eight sensors, about once a second.

A file is a CSV with semicolons; most have two more columns, ``anomaly`` and ``changepoint`` (0 or 1 per row). These were
marked by people afterwards, so they are no sense of the bench: they become the episode's traces ``trace.anomaly`` and
``trace.changepoint``, on the same clock, which no window and no policy ever sees and a score can read. A file without
the columns (``anomaly-free.csv``) has no trace. Times have no zone; they are taken as UTC. Read next:
``skab_bench.toml``, the facts of the bench.

Source: Katser and Kozitsin, "Skoltech Anomaly Benchmark (SKAB)", 2020, doi 10.34740/KAGGLE/DSV/1693952.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv

from genba.data.readers.log_facts import held_to
from genba.data.readers.options import provenance
from genba.data.readers.si import to_si
from genba.errors import FormatError, ReaderError
from genba.spec.embodiment import Embodiment, load_embodiment
from genba.spec.episode import TRACE, Episode, EpisodeMetadata
from genba.spec.streams import Stream
from genba.trust.digest import digest_file

EMBODIMENT_ID = "factory/skab-bench@1"

#: Column -> the dimension that it fills, and the unit in the file.
COLUMNS: dict[str, tuple[str, str]] = {
    "Accelerometer1RMS": ("vibration_1", "gn"),
    "Accelerometer2RMS": ("vibration_2", "gn"),
    "Current": ("motor_current", "A"),
    "Pressure": ("pump_pressure", "bar"),
    "Temperature": ("motor_temperature", "degC"),
    "Thermocouple": ("fluid_temperature", "degC"),
    "Voltage": ("motor_voltage", "V"),
    "Volume Flow RateRMS": ("flow", "L/min"),
}
MARKS = ("anomaly", "changepoint")

_TIME, _SEPARATOR = "datetime", ";"
_HEADS = {names: _SEPARATOR.join((_TIME, *COLUMNS, *names)).encode() for names in ((), MARKS)}


class SkabReader:
    """Files of the Skoltech Anomaly Benchmark."""

    name = "skab"
    description = "a CSV of the Skoltech Anomaly Benchmark: a water-circulation bench with eight sensors"
    options: Mapping[str, str] = {}

    def recognises(self, path: Path) -> bool:
        """Say whether the first line of ``path`` names the bench's columns."""
        return _head(Path(path)) in _HEADS.values()

    def embodiment(self, path: Path, **options: Any) -> Embodiment:
        """Return the registered facts of the bench."""
        return load_embodiment(EMBODIMENT_ID)

    def read(self, path: Path, **options: Any) -> Iterator[Episode]:
        """Yield the one episode of a file.

        Args:
            path: the CSV.
            options: ``owner``, ``site``, ``jurisdiction``, ``agreement``; those of the published data set by default.

        Raises:
            FormatError: other columns, or a cell that is no number or no time.
        """
        path = Path(path)
        given = provenance(
            self, options, owner="Skoltech", site="water circulation bench", jurisdiction="RU", agreement="GPL-3.0"
        )
        head = _head(path)
        names = next((names for names, line in _HEADS.items() if line == head), None)
        if names is None:
            if not path.is_file():
                raise ReaderError(f"{path}: no such file, expected a CSV of SKAB")
            raise FormatError(path, f"got a first line {head[:80]!r}, expected the columns of SKAB", offset=0)
        table = _read(path, names)
        times_ns = pc.cast(table.column(_TIME), pa.int64()).combine_chunks().to_numpy(zero_copy_only=False)
        if not len(times_ns) or table.column(_TIME).null_count or bool((np.diff(times_ns) < 0).any()):
            raise FormatError(
                path, f"got {len(times_ns)} rows, expected some, each with a time not before the last one's"
            )
        columns = []
        for column, (_, unit) in COLUMNS.items():
            conversion = to_si(unit)
            assert conversion is not None
            columns.append(_numbers(table, column) * conversion.scale + conversion.offset)
        streams = {"bench": Stream(times_ns, np.stack(columns, -1).astype(np.float32))}
        for name in names:
            streams[f"{TRACE}.{name}"] = Stream(times_ns, _numbers(table, name).astype(np.float32)[:, None])
        metadata = EpisodeMetadata(
            # Named by its content: the same file imported twice is refused by the vault.
            episode_id=f"{EMBODIMENT_ID}/skab/{digest_file(path)[7:19]}",
            embodiment_id=EMBODIMENT_ID,
            **given,
            source=f"SKAB {path.parent.name}/{path.name}",
        )
        yield held_to(load_embodiment(EMBODIMENT_ID), Episode(metadata, streams), path)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4096).partition(b"\n")[0].rstrip(b"\r")
    except OSError:
        return b""


def _read(path: Path, names: tuple[str, ...]) -> pa.Table:
    kinds = {_TIME: pa.timestamp("ns"), **{name: pa.float64() for name in (*COLUMNS, *names)}}
    try:
        return pc_csv.read_csv(
            path,
            pc_csv.ReadOptions(use_threads=False),
            pc_csv.ParseOptions(delimiter=_SEPARATOR),
            pc_csv.ConvertOptions(column_types=kinds, null_values=["", "NaN", "nan"]),
        )
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FormatError(path, f"not a table of the bench: {error}") from error


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    return table.column(name).combine_chunks().to_numpy(zero_copy_only=False).astype(np.float64)
