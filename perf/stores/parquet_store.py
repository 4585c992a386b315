"""Parquet: one file per stream, one row group per episode, zstd; frames as JPEG bytes.

Parquet reads whole row groups: a window costs its episode's columns. Clocks come with them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mixed_set import CAMERAS, LIDAR_NS, TELEMETRY, TELEMETRY_NS, Source, frame_numbers, span
from pictures import decode


def build(set_folder: Path, num_episodes: int, folder: Path) -> None:
    """Write the files."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = [Source(set_folder, e) for e in range(num_episodes)]
    for name in [*TELEMETRY, "lidar", *CAMERAS]:
        writer = None
        for source in sources:
            if name in TELEMETRY:
                flat = pa.array(np.ascontiguousarray(source.values(name)).reshape(-1))
                values = pa.FixedSizeListArray.from_arrays(flat, TELEMETRY[name][0])
            elif name == "lidar":
                flat = pa.array(np.ascontiguousarray(source.values(name)).reshape(-1))
                values = pa.LargeListArray.from_arrays(pa.array(source.splits() * 4), flat)
            else:
                values = pa.array(source.jpegs(name), pa.binary())
            table = pa.table({"time": pa.array(source.times(name)), "values": values})
            writer = writer or pq.ParquetWriter(folder / f"{name}.parquet", table.schema, compression="zstd")
            writer.write_table(table, row_group_size=len(table))
        assert writer is not None
        writer.close()


class Store:
    """Opened files."""

    def __init__(self, folder: Path, set_folder: Path, num_episodes: int) -> None:
        names = [*TELEMETRY, "lidar", *CAMERAS]
        self.files = {name: pq.ParquetFile(folder / f"{name}.parquet", memory_map=True) for name in names}

    def windows(self, episodes: np.ndarray, times_ns: np.ndarray, kind: str) -> list[dict[str, Any]]:
        """Return the windows one by one: each needs its own episode's row groups."""
        return [self._window(e, t, kind) for e, t in zip(episodes.tolist(), times_ns.tolist(), strict=True)]

    def _read(self, name: str, episode: int) -> tuple[np.ndarray, pa.Array]:
        table = self.files[name].read_row_group(episode, use_threads=False)
        return table.column(0).combine_chunks().to_numpy(), table.column(1).combine_chunks()

    def _window(self, episode: int, time_ns: int, kind: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, (columns, _) in TELEMETRY.items():
            times, values = self._read(name, episode)
            low, high = span(times, time_ns - TELEMETRY_NS, time_ns + TELEMETRY_NS)
            out[f"{name}.times"] = times[low:high]
            out[f"{name}.values"] = values.flatten().to_numpy().reshape(-1, columns)[low:high]
        if kind == "telemetry":
            return out
        times, sweeps = self._read("lidar", episode)
        low, high = span(times, time_ns - LIDAR_NS, time_ns)
        splits = sweeps.offsets.to_numpy()[low : high + 1] // 4
        out["lidar.times"], out["lidar.splits"] = times[low:high], splits - splits[0]
        out["lidar.values"] = sweeps.values.to_numpy().reshape(-1, 4)[splits[0] : splits[-1]]
        for camera in CAMERAS:
            times, jpegs = self._read(camera, episode)
            chosen = frame_numbers(times, time_ns, kind)
            out[camera] = decode([np.frombuffer(jpegs[i].as_buffer(), np.uint8) for i in chosen])
        return out

    @staticmethod
    def unpack(answer: list[dict[str, Any]]) -> list[dict[str, np.ndarray]]:
        """Return one dictionary per window."""
        return answer
