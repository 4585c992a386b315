"""Lance: one table per stream in its 2.1 file format, read with ``take``, one call per stream for all windows asked for.

A row of telemetry is a block of half a second (fixed-size lists), a row of the LiDAR one sweep, a row of a camera one
JPEG. Clocks are read once and kept, as a training loader would; then every window is a handful of row numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
from mixed_set import CAMERAS, LIDAR_NS, TELEMETRY, TELEMETRY_NS, Source, frame_numbers, span
from pictures import decode


def build(set_folder: Path, num_episodes: int, folder: Path) -> None:
    """Write the tables."""
    sources = [Source(set_folder, e) for e in range(num_episodes)]
    for name, (columns, rate_hz) in TELEMETRY.items():
        rows, parts = round(rate_hz / 2), []
        for source in sources:
            times, values = source.times(name), source.values(name)
            whole = -(-len(times) // rows) * rows
            times_in = np.full(whole, np.iinfo(np.int64).max)
            values_in = np.zeros((whole, columns), np.float32)
            times_in[: len(times)], values_in[: len(times)] = times, values
            parts.append(
                pa.table(
                    {
                        "times": pa.FixedSizeListArray.from_arrays(pa.array(times_in), rows),
                        "values": pa.FixedSizeListArray.from_arrays(pa.array(values_in.reshape(-1)), rows * columns),
                    }
                )
            )
        lance.write_dataset(pa.concat_tables(parts), folder / f"{name}.lance", data_storage_version="2.1")
    parts = []
    for source in sources:
        values, splits = source.values("lidar"), source.splits()
        offsets = pa.array((splits * 4).astype(np.int64))
        points = pa.LargeListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(values).reshape(-1)))
        parts.append(pa.table({"time": pa.array(source.times("lidar")), "values": points}))
    lance.write_dataset(pa.concat_tables(parts), folder / "lidar.lance", data_storage_version="2.1")
    for camera in CAMERAS:
        parts = [
            pa.table({"time": pa.array(s.times(camera)), "jpeg": pa.array(s.jpegs(camera), pa.large_binary())})
            for s in sources
        ]
        lance.write_dataset(pa.concat_tables(parts), folder / f"{camera}.lance", data_storage_version="2.1")


class Store:
    """Opened tables."""

    def __init__(self, folder: Path, set_folder: Path, num_episodes: int) -> None:
        names = [*TELEMETRY, "lidar", *CAMERAS]
        self.tables = {name: lance.dataset(folder / f"{name}.lance") for name in names}
        # Which rows are whose: known to whoever wrote them.
        self.first: dict[str, list[int]] = {}
        self.clocks: dict[str, list[np.ndarray]] = {}
        for name in names:
            telemetry = name in TELEMETRY
            column = self.tables[name].to_table(columns=["times" if telemetry else "time"]).column(0)
            times = column.combine_chunks()
            times = times.flatten().to_numpy() if telemetry else times.to_numpy()
            rows = round(TELEMETRY[name][1] / 2) if telemetry else 1
            self.first[name], self.clocks[name], at = [], [], 0
            for episode in range(num_episodes):
                length = len(Source(set_folder, episode).times(name))
                self.first[name].append(at // rows)
                self.clocks[name].append(times[at : at + length])
                at += -(-length // rows) * rows

    def windows(self, episodes: np.ndarray, times_ns: np.ndarray, kind: str) -> list[dict[str, Any]]:
        """Return the windows, each name -> array, from one ``take`` per table."""
        asked = list(zip(episodes.tolist(), times_ns.tolist(), strict=True))
        out: list[dict[str, Any]] = [{} for _ in asked]
        for name, (columns, rate_hz) in TELEMETRY.items():
            rows = round(rate_hz / 2)
            runs = [span(self.clocks[name][e], t - TELEMETRY_NS, t + TELEMETRY_NS) for e, t in asked]
            blocks = [
                range(self.first[name][e] + low // rows, self.first[name][e] + (high - 1) // rows + 1)
                for (e, _), (low, high) in zip(asked, runs, strict=True)
            ]
            taken = self.tables[name].take([b for block in blocks for b in block], columns=["values"])
            values = taken.column(0).combine_chunks().flatten().to_numpy().reshape(-1, rows, columns)
            at = 0
            for window, (e, _), (low, high), block in zip(out, asked, runs, blocks, strict=True):
                run = values[at : at + len(block)].reshape(-1, columns)
                window[f"{name}.times"] = self.clocks[name][e][low:high]
                window[f"{name}.values"] = run[low % rows : low % rows + high - low]
                at += len(block)
        if kind == "telemetry":
            return out
        runs = [span(self.clocks["lidar"][e], t - LIDAR_NS, t) for e, t in asked]
        wanted = [self.first["lidar"][e] + i for (e, _), run in zip(asked, runs, strict=True) for i in range(*run)]
        taken = self.tables["lidar"].take(wanted, columns=["values"]).column(0).combine_chunks()
        values, offsets, at = taken.values.to_numpy().reshape(-1, 4), taken.offsets.to_numpy() // 4, 0
        for window, (e, _), (low, high) in zip(out, asked, runs, strict=True):
            splits = offsets[at : at + high - low + 1]
            window["lidar.times"] = self.clocks["lidar"][e][low:high]
            window["lidar.splits"], window["lidar.values"] = splits - splits[0], values[splits[0] : splits[-1]]
            at += high - low
        for camera in CAMERAS:
            chosen = [frame_numbers(self.clocks[camera][e], t, kind) for e, t in asked]
            wanted = [self.first[camera][e] + i for (e, _), run in zip(asked, chosen, strict=True) for i in run]
            jpegs, at = self.tables[camera].take(wanted, columns=["jpeg"]).column(0).combine_chunks(), 0
            data, starts = np.frombuffer(jpegs.buffers()[2], np.uint8), jpegs.buffers()[1]
            bounds = np.frombuffer(starts, np.int64)[jpegs.offset : jpegs.offset + len(jpegs) + 1].tolist()
            for window, run in zip(out, chosen, strict=True):
                window[camera] = decode([data[bounds[i] : bounds[i + 1]] for i in range(at, at + len(run))])
                at += len(run)
        return out

    @staticmethod
    def unpack(answer: list[dict[str, Any]]) -> list[dict[str, np.ndarray]]:
        """Return one dictionary per window."""
        return answer
