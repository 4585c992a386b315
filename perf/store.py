"""Print what sealing costs, what the codecs save, and how fast episodes are stored, packed and opened.

    python perf/store.py [--episodes 8] [--seconds 4]

A mixed set of a robot's day is made up (two cameras at 15 Hz, a LiDAR at 10 Hz, 21 joints at 500 Hz, 64 sensors at 50 Hz, 16
vehicle signals at 100 Hz, each on its own clock) and stored sealed, in clear, and with H.264. A sparse window is one second of
all telemetry, four sweeps, and two frames of each camera, decoded; a dense one has sixteen frames of each. Rates are
per CPU-second of this process. Ratios are taken on the real sweeps in ``$GENBA_SAMPLES`` where these are. Nothing is
asserted: the numbers depend on the machine.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather

from genba.config import read_toml_text
from genba.data.codecs import StorageChoices
from genba.data.compact import compact
from genba.data.points import decode_sweep, encode_sweep
from genba.data.stored import StoredStream
from genba.data.vault import Vault
from genba.spec.embodiment import Embodiment
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.streams import Stream, ragged
from genba.spec.units import SECOND_NS, to_ns
from genba.trust.keys import FileKeys

LENGTH_S = 20.0
SIDE = 160
TELEMETRY = {"joints": (21, 500.0), "sensors": (64, 50.0), "signals": (16, 100.0)}
CAMERAS = ("left", "right")

_FACTS = 'id = "perf/mixed@1"\ndescription = "For measuring."\nframes = ["base"]\n[control]\nperiod_s = 0.1\ndeadline_s = 0.1\n'
_FACTS += "".join(
    f'[[telemetry]]\nname = "{name}"\nrate_hz = {rate_hz}\nframe = "base"\nhistory_s = 1.0\n'
    f'dimension = [{{ name = "value", unit = "1", low = -10.0, high = 10.0, repeat = {width} }}]\n'
    for name, (width, rate_hz) in TELEMETRY.items()
)
_FACTS += "".join(
    f'[[camera]]\nname = "{name}"\nrate_hz = 15.0\nframe = "base"\nhistory_s = 1.0\nheight = {SIDE}\nwidth = {SIDE}\n'
    for name in CAMERAS
)
_FACTS += '[[points]]\nname = "lidar"\nrate_hz = 10.0\nframe = "base"\nhistory_s = 0.4\nmax_points = 2200\nrange_max_m = 60.0\n'


def made_up(embodiment: Embodiment, seed: int) -> Episode:
    """Return an episode whose numbers drift and whose pictures move, as a machine's do."""
    rng = np.random.default_rng(seed)
    streams: dict[str, Stream] = {}
    for name, (width, rate_hz) in TELEMETRY.items():
        times_ns = _clock(rng, rate_hz)
        walk = np.cumsum(rng.normal(size=(len(times_ns), width)), 0) / rate_hz
        streams[name] = Stream(times_ns, np.clip(walk, -10, 10).astype(np.float32))
    for name in CAMERAS:
        times_ns = _clock(rng, 15.0)
        scene = np.kron(rng.integers(0, 256, (24, 60, 3)), np.ones((8, 8, 1)))
        frames = [
            scene[:SIDE, 2 * i % 300 :][:, :SIDE] + rng.normal(0, 4, (SIDE, SIDE, 3)) for i in range(len(times_ns))
        ]
        streams[name] = Stream(times_ns, np.clip(frames, 0, 255).astype(np.uint8))
    sweeps = []
    times_ns = _clock(rng, 10.0)
    for _ in times_ns:
        count = int(rng.integers(1800, 2200))
        angle = np.linspace(0, 2 * np.pi, count)
        range_m = 10 + 5 * np.sin(3 * angle) + rng.normal(0, 0.02, count)
        sweeps.append(np.stack([range_m * np.cos(angle), range_m * np.sin(angle), rng.normal(0, 0.02, count)], -1))
    streams["lidar"] = ragged(times_ns, [sweep.astype(np.float32) for sweep in sweeps])
    return Episode(EpisodeMetadata(episode_id=f"perf/{seed:04d}", embodiment_id=embodiment.id), streams)


def windows(streams: dict[str, StoredStream], time_ns: int, num_frames: int) -> int:
    """Read one window and return its decoded bytes."""
    size = 0
    for name in TELEMETRY:
        stream = streams[name]
        low, high = np.searchsorted(stream.times_ns, [time_ns - SECOND_NS // 2, time_ns + SECOND_NS // 2])
        size += stream.values(int(low), int(high)).nbytes
    stop = int(np.searchsorted(streams["lidar"].times_ns, time_ns, side="right"))
    size += streams["lidar"].values(max(stop - 4, 0), stop).nbytes
    for name in CAMERAS:
        stop = int(np.searchsorted(streams[name].times_ns, time_ns, side="right"))
        size += streams[name].values(max(stop - num_frames, 0), stop).nbytes
    return size


def rate(call: Callable[[], object], seconds: float) -> float:
    """Return how often ``call`` runs per CPU-second: the best of three turns."""
    best = 0.0
    for _ in range(3):
        begin, count = time.process_time(), 0
        while time.process_time() - begin < seconds / 3:
            call()
            count += 1
        best = max(best, count / (time.process_time() - begin))
    return best


def real_sweeps() -> Iterator[tuple[str, np.ndarray]]:
    """Yield the recorded sweeps in ``$GENBA_SAMPLES``."""
    folder = Path(os.environ.get("GENBA_SAMPLES", "")) / "vehicle"
    for path in sorted(folder.glob("kitti/**/*.bin")):
        yield f"KITTI {path.name}", np.fromfile(path, np.float32).reshape(-1, 4)
    for path in sorted(folder.glob("av2/**/lidar/*.feather")):
        table = pa.feather.read_table(path)
        columns = [table[name].to_numpy().astype(np.float32) for name in ("x", "y", "z", "intensity", "laser_number")]
        yield f"Argoverse 2 {path.name}", np.stack(columns, -1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=8, help="episodes of 20 s")
    parser.add_argument("--seconds", type=float, default=4.0, help="CPU time for each rate")
    arguments = parser.parse_args()
    embodiment = read_toml_text(_FACTS, Embodiment, where="perf")
    episodes = [made_up(embodiment, seed) for seed in range(arguments.episodes)]
    raw_mb = sum(s.values.nbytes for e in episodes for s in e.streams.values()) / 1e6
    print(f"{len(episodes)} episodes of {LENGTH_S:g} s, {raw_mb:.0f} MB decoded; windows per CPU-second")
    print(f"{'':14} {'MB':>6} {'store ms':>9} {'open us':>8} {'sparse':>8} {'dense':>7} {'telemetry':>10}")
    with tempfile.TemporaryDirectory() as folder:
        kinds = {
            "plain": StorageChoices(encrypt=False),
            "sealed": StorageChoices(),
            "sealed, H.264": StorageChoices(camera="h264"),
        }
        for name, choices in kinds.items():
            keys = FileKeys(Path(folder) / "keys")
            vault = Vault.open(Path(folder) / name, create=True, embodiments=[embodiment], choices=choices, keys=keys)
            begin = time.process_time()
            for episode in episodes:
                vault.append(episode)
            store_ms = 1e3 * (time.process_time() - begin) / len(episodes)
            _report(name, vault, store_ms, arguments.seconds)
            if name == "sealed":
                begin = time.process_time()
                list(compact(vault))
                _report("and packed", vault, 1e3 * (time.process_time() - begin) / len(episodes), arguments.seconds)
    print(
        f"\n{'sweep':44} {'points':>7} {'of places':>10} {'of all':>7} {'zstd alone':>11} {'error mm':>9} {'decode ms':>10}"
    )
    for name, sweep in real_sweeps():
        places = np.ascontiguousarray(sweep[:, :3])
        data, out = np.frombuffer(encode_sweep(sweep), np.uint8), np.empty_like(sweep)
        decode_ms = 1e3 / rate(lambda data=data, out=out: decode_sweep(data, out), arguments.seconds / 4)
        error_mm = 1e3 * np.abs(out[:, :3].astype(float) - places).max()
        alone = len(pa.Codec("zstd").compress(sweep.tobytes(), asbytes=True))
        print(
            f"{name:44} {len(sweep):7} {places.nbytes / len(encode_sweep(places)):10.2f} {sweep.nbytes / len(data):7.2f} "
            f"{sweep.nbytes / alone:11.2f} {error_mm:9.3f} {decode_ms:10.2f}"
        )


def _report(name: str, vault: Vault, store_ms: float, seconds: float) -> None:
    entries = vault.entries()
    size_mb = sum(shard.size_bytes for shard in vault.catalog.shards()) / 1e6
    opened = [dict(vault.shard(entry).streams) for entry in entries]
    rng = np.random.default_rng(0)

    def draw() -> tuple[dict[str, StoredStream], int]:
        return opened[int(rng.integers(len(opened)))], to_ns(float(rng.uniform(2, LENGTH_S - 2)))

    def joints() -> np.ndarray:
        streams, time_ns = draw()
        low, high = np.searchsorted(streams["joints"].times_ns, [time_ns - SECOND_NS // 2, time_ns + SECOND_NS // 2])
        return streams["joints"].values(int(low), int(high))

    open_us = 1e6 / rate(lambda: replace(vault.shard(entries[int(rng.integers(len(entries)))])), seconds / 4)
    sparse = rate(lambda: windows(*draw(), num_frames=2), seconds)
    dense = rate(lambda: windows(*draw(), num_frames=16), seconds)
    telemetry = rate(joints, seconds / 4)
    print(f"{name:14} {size_mb:6.1f} {store_ms:9.1f} {open_us:8.0f} {sparse:8,.0f} {dense:7,.0f} {telemetry:10,.0f}")


def _clock(rng: np.random.Generator, rate_hz: float) -> np.ndarray:
    times_s = np.arange(0, LENGTH_S, 1 / rate_hz) + rng.uniform(0, 0.3 / rate_hz, round(LENGTH_S * rate_hz))
    return (times_s * SECOND_NS).astype(np.int64)


if __name__ == "__main__":
    main()
