"""Measure what a vault does to recorded LiDAR sweeps, and how well the next sweep's occupancy can be foretold.

    python perf/real_sweeps.py [--out docs/measurements/sweeps.json]

Every recording in ``$GENBA_SAMPLES/vehicle`` that has sweeps is read by its reader, stored in a sealed vault and read back: how far
a point then lies from where it was, and how many bytes of float32 one byte of the vault's files holds (keys, clocks and
headers included), of the places alone and of everything that a return says.

Where a recording has consecutive sweeps, the cells of a bird's-eye grid that the first one occupies are held against those of the
next: as they are (persistence), moved by the car's own motion as its poses until the first sweep foretell it, and, for what the
best knowledge of that motion would give, by its true one. Their overlap is intersection over union; its interval is a bootstrap over squares of the grid. Read next:
``genba.report.vehicle_logs``, which makes the table.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from genba.bench.results import commit, hardware
from genba.data.readers.argoverse2 import Argoverse2Reader
from genba.data.readers.boxes import rotation
from genba.data.readers.kitti import KittiReader
from genba.data.vault import Vault
from genba.spec.embodiment import Embodiment, PointsChannel
from genba.spec.episode import Episode
from genba.spec.protocols import Reader
from genba.spec.streams import Stream
from genba.spec.units import SECOND_NS, to_ns
from genba.trust.keys import FileKeys

FORMAT, VERSION = "genba-sweeps", 1
#: the grid: how far it reaches to every side, the side of a cell, and of a square that is drawn in one piece
REACH_M, CELL_M, SQUARE_M = 50.0, 0.5, 12.5
#: what stands on the road, above the wheels' ground (where the car's own frame is) and below what one drives under
LOW_M, HIGH_M = 0.3, 3.0
#: the car's motion is that of its poses over this long before a sweep
MOTION_S = 0.3
NUM_RESAMPLES = 2000


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/measurements/sweeps.json"))
    given = parser.parse_args()
    logs = Path(os.environ.get("GENBA_SAMPLES", "")) / "vehicle"
    found = list(recordings(logs))
    if not found:
        sys.exit(f"{logs}: got no recorded sweeps; name the folder of recordings in GENBA_SAMPLES")
    result = {
        "format": FORMAT,
        "version": VERSION,
        "command": "python perf/real_sweeps.py",
        "commit": commit(),
        "hardware": hardware(),
        "recordings": [stored(*one) for one in found],
        "occupancy": [pair for one in found for pair in occupancy(*one)],
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


def recordings(folder: Path) -> Iterator[tuple[str, Embodiment, Episode, PointsChannel]]:
    """Yield every recording with sweeps: its name, the facts of its machine, the episode, the sweeps' channel."""
    readers: tuple[tuple[str, Reader, list[Path]], ...] = (
        ("KITTI", KittiReader(), [folder / "kitti"]),
        ("Argoverse 2", Argoverse2Reader(), sorted((folder / "av2").glob("*"))),
    )
    for name, reader, paths in readers:
        for path in paths:
            if reader.recognises(path):
                facts = reader.embodiment(path)
                for episode in reader.read(path):
                    for channel in facts.points:
                        if channel.name in episode.streams:
                            yield name, facts, episode, channel


def stored(name: str, facts: Embodiment, episode: Episode, channel: PointsChannel) -> dict[str, Any]:
    """Return what storing a recording's sweeps costs and saves."""
    stream = episode.streams[channel.name]
    places = Stream(stream.times_ns, np.ascontiguousarray(stream.values[:, :3]), stream.splits)
    back, place_bytes = through_vault(facts, replace(channel, attribute=()), episode, places)
    whole, all_bytes = through_vault(facts, channel, episode, stream)
    off_m = back.values.astype(np.float64) - places.values
    assert np.array_equal(whole.values[:, 3:], stream.values[:, 3:], equal_nan=True)
    return {
        "name": name,
        "sweeps": len(stream),
        "points": len(stream.values),
        "numbers_per_point": stream.values.shape[1],
        "largest_error_mm": 1e3 * float(np.abs(off_m).max()),
        "largest_distance_mm": 1e3 * float(np.linalg.norm(off_m, axis=1).max()),
        "mean_distance_mm": 1e3 * float(np.linalg.norm(off_m, axis=1).mean()),
        "ratio_of_places": places.values.nbytes / place_bytes,
        "ratio_of_all": stream.values.nbytes / all_bytes,
    }


def through_vault(facts: Embodiment, channel: PointsChannel, episode: Episode, stream: Stream) -> tuple[Stream, int]:
    """Store sweeps alone in a sealed vault; return what is read back, and the bytes of the vault's shards."""
    alone = replace(facts, id="perf/sweeps@1", telemetry=(), camera=(), points=(channel,), entities=(), relation=())
    with tempfile.TemporaryDirectory() as folder:
        keys = FileKeys(Path(folder) / "keys")
        vault = Vault.open(Path(folder) / "vault", create=True, embodiments=[alone], keys=keys)
        metadata = replace(episode.metadata, embodiment_id=alone.id)
        vault.append(Episode(metadata, {channel.name: stream}))
        back = vault.read(metadata.episode_id).streams[channel.name]
        return back, sum(shard.size_bytes for shard in vault.catalog.shards())


def occupancy(name: str, facts: Embodiment, episode: Episode, channel: PointsChannel) -> Iterator[dict[str, Any]]:
    """Yield how well each sweep foretells the next, where there is a next and the car's pose is known."""
    stream, poses = episode.streams[channel.name], episode.streams.get("ego_pose")
    if poses is None or channel.frame != "base":
        return
    for i in range(len(stream) - 1):
        now_ns, next_ns = int(stream.times_ns[i]), int(stream.times_ns[i + 1])
        now, following = stream.sample(i)[:, :3].astype(np.float64), occupied(stream.sample(i + 1)[:, :3])
        foretold, true = motion(poses, now_ns, next_ns), np.linalg.inv(_pose(poses, next_ns)) @ _pose(poses, now_ns)
        forecasts = {
            "persistence": now,
            "own motion": now @ foretold[:3, :3].T + foretold[:3, 3],
            "true own motion": now @ true[:3, :3].T + true[:3, 3],
        }
        yield {
            "name": name,
            "ahead_s": (next_ns - now_ns) / SECOND_NS,
            "moved_m": float(np.linalg.norm(true[:3, 3])),
            "turned_rad": float(abs(np.arctan2(true[1, 0], true[0, 0]))),
            "overlap": overlaps({key: occupied(points) for key, points in forecasts.items()}, following),
        }


def motion(poses: Stream, now_ns: int, next_ns: int) -> np.ndarray:
    """Return the next frame of the car from the present one (4 x 4), if it goes on as it did before ``now_ns``."""
    before_ns = now_ns - to_ns(MOTION_S)
    before_from_now = np.linalg.inv(_pose(poses, before_ns)) @ _pose(poses, now_ns)
    share = (next_ns - now_ns) / (now_ns - before_ns)
    yaw = share * np.arctan2(before_from_now[1, 0], before_from_now[0, 0])
    now_from_next = np.eye(4)
    now_from_next[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    # The way as the car sees it now.
    now_from_next[:3, 3] = share * (before_from_now[:3, :3].T @ before_from_now[:3, 3])
    return np.linalg.inv(now_from_next)


def _pose(poses: Stream, time_ns: int) -> np.ndarray:
    """Return city_from_base (4 x 4) of the newest pose at a time."""
    pose = poses.values[poses.until(time_ns) - 1].astype(np.float64)
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = rotation(pose[:4]), pose[4:7]
    return out


def occupied(points: np.ndarray) -> np.ndarray:
    """Return which cells hold a return between the two heights: bool ``[cell, cell]``."""
    inside = (np.abs(points[:, :2]) < REACH_M).all(1) & (points[:, 2] > LOW_M) & (points[:, 2] < HIGH_M)
    cells = ((points[inside, :2] + REACH_M) / CELL_M).astype(np.int64)
    grid = np.zeros((round(2 * REACH_M / CELL_M),) * 2, np.bool_)
    grid[cells[:, 0], cells[:, 1]] = True
    return grid


def overlaps(forecasts: dict[str, np.ndarray], following: np.ndarray) -> dict[str, dict[str, float]]:
    """Return each forecast's intersection over union and its 95 % interval, and of their difference, over the same squares."""
    side = round(SQUARE_M / CELL_M)

    def per_square(cells: np.ndarray) -> np.ndarray:
        parts = len(cells) // side
        return cells.reshape(parts, side, parts, side).sum((1, 3)).ravel()

    both = {name: per_square(grid & following) for name, grid in forecasts.items()}
    either = {name: per_square(grid | following) for name, grid in forecasts.items()}
    count = len(both["persistence"])
    drawn = np.random.default_rng(0).integers(0, count, (NUM_RESAMPLES, count))
    out, resampled = {}, {}
    for name in forecasts:
        resampled[name] = both[name][drawn].sum(1) / np.maximum(either[name][drawn].sum(1), 1)
        out[name] = _interval(both[name].sum() / either[name].sum(), resampled[name])
    gain = out["own motion"]["value"] - out["persistence"]["value"]
    return out | {"gain": _interval(gain, resampled["own motion"] - resampled["persistence"])}


def _interval(value: float, resampled: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return {"value": float(value), "low": float(low), "high": float(high)}


if __name__ == "__main__":
    main()
