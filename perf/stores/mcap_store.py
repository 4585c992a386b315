"""MCAP: one file per episode, one message per sample in its plainest form (no schema to parse), zstd chunks of 128 KB.

Smaller chunks than the writer's default (1 MB) serve random access better. A window is what the indexed reader gives
between two times; frames before the window's first are found by their clock, which is kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from mixed_set import CAMERAS, LIDAR_NS, TELEMETRY, TELEMETRY_NS, Source, frame_numbers
from pictures import decode


def build(set_folder: Path, num_episodes: int, folder: Path) -> None:
    """Write the files, all channels in the order of time."""
    folder.mkdir(parents=True, exist_ok=True)
    for episode in range(num_episodes):
        source, messages = Source(set_folder, episode), []
        for name in TELEMETRY:
            rows = np.ascontiguousarray(source.values(name))
            messages += [(t, name, row.tobytes()) for t, row in zip(source.times(name).tolist(), rows, strict=True)]
        points, splits = np.ascontiguousarray(source.values("lidar")), source.splits()
        for i, t in enumerate(source.times("lidar").tolist()):
            messages.append((t, "lidar", points[splits[i] : splits[i + 1]].tobytes()))
        for camera in CAMERAS:
            messages += [
                (t, camera, b) for t, b in zip(source.times(camera).tolist(), source.jpegs(camera), strict=True)
            ]
        messages.sort(key=lambda m: m[0])
        with (folder / f"{episode:03d}.mcap").open("wb") as file:
            writer = Writer(file, chunk_size=128 * 1024, compression=CompressionType.ZSTD)
            writer.start()
            channels = {n: writer.register_channel(n, "raw", 0) for n in [*TELEMETRY, "lidar", *CAMERAS]}
            for time_ns, name, data in messages:
                writer.add_message(channels[name], time_ns, data, time_ns)
            writer.finish()


class Store:
    """Opened files."""

    def __init__(self, folder: Path, set_folder: Path, num_episodes: int) -> None:
        self.readers = [make_reader((folder / f"{e:03d}.mcap").open("rb")) for e in range(num_episodes)]
        for reader in self.readers:
            reader.get_summary()
        self.clocks = {c: [Source(set_folder, e).times(c) for e in range(num_episodes)] for c in CAMERAS}

    def windows(self, episodes: np.ndarray, times_ns: np.ndarray, kind: str) -> list[dict[str, Any]]:
        """Return the windows one by one; the format knows no batches."""
        return [self._window(e, t, kind) for e, t in zip(episodes.tolist(), times_ns.tolist(), strict=True)]

    def _window(self, episode: int, time_ns: int, kind: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        found = self._messages(episode, list(TELEMETRY), time_ns - TELEMETRY_NS, time_ns + TELEMETRY_NS)
        for name, (columns, _) in TELEMETRY.items():
            times, blobs = found[name]
            out[f"{name}.times"] = np.array(times, np.int64)
            out[f"{name}.values"] = np.frombuffer(b"".join(blobs), np.float32).reshape(-1, columns)
        if kind == "telemetry":
            return out
        times, blobs = self._messages(episode, ["lidar"], time_ns - LIDAR_NS, time_ns)["lidar"]
        out["lidar.times"] = np.array(times, np.int64)
        out["lidar.splits"] = np.cumsum([0] + [len(b) // 16 for b in blobs])
        out["lidar.values"] = np.frombuffer(b"".join(blobs), np.float32).reshape(-1, 4)
        for camera in CAMERAS:
            clock = self.clocks[camera][episode]
            stamps = clock[frame_numbers(clock, time_ns, kind)].tolist()
            if kind == "dense":
                frames = self._messages(episode, [camera], stamps[0], stamps[-1])[camera][1]
            else:
                frames = [self._messages(episode, [camera], t, t)[camera][1][0] for t in stamps]
            out[camera] = decode(frames)
        return out

    def _messages(self, episode: int, topics: list[str], low_ns: int, high_ns: int) -> dict[str, tuple[list, list]]:
        found: dict[str, tuple[list, list]] = {name: ([], []) for name in topics}
        # The reader's end is exclusive.
        for _, channel, message in self.readers[episode].iter_messages(topics, low_ns, high_ns + 1):
            times, blobs = found[channel.topic]
            times.append(message.log_time)
            blobs.append(message.data)
        return found

    @staticmethod
    def unpack(answer: list[dict[str, Any]]) -> list[dict[str, np.ndarray]]:
        """Return one dictionary per window."""
        return answer
