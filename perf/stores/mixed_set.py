"""The mixed set that every store is measured on: made from a seed with numpy alone, the same on every computer.

An episode lasts 20 s and has two cameras (160 x 160, 15 Hz), a LiDAR (10 Hz, about 2000 points with an intensity),
joints (21 numbers, 500 Hz), a sensor array (64, 50 Hz) and a CAN bus (16, 100 Hz), each on its own jittered clock in
integer nanoseconds. LiDAR points lie on a 2 mm grid, so that a store which rounds to it can be held to the same bytes.
A window is drawn from ``draw_windows``; what it must hold is in ``Reference``, which the stores are checked against.
Nothing here is part of the package. Read next: ``measure``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

EPISODE_S = 20.0
SIZE = 160
CAMERAS = ("front", "wrist")
CAMERA_HZ, LIDAR_HZ = 15.0, 10.0
POINT_STEP_M = np.float32(0.002)
#: name -> columns, samples per second
TELEMETRY = {"joints": (21, 500.0), "sensors": (64, 50.0), "can": (16, 100.0)}
SECOND_NS = 1_000_000_000
#: what a window holds beside the frames: telemetry within +-0.5 s, sweeps of the last 0.4 s, ends included
TELEMETRY_NS = SECOND_NS // 2
LIDAR_NS = 4 * SECOND_NS // 10
#: frames per camera: the newest one now and the one of half a second ago, or the newest 16
SPARSE_NS = (-SECOND_NS // 2, 0)
DENSE = 16
KINDS = ("sparse", "dense", "telemetry")


@dataclass(frozen=True, eq=False)
class Recording:
    """The streams of one episode but for its frames, which are made one camera at a time."""

    times_ns: dict[str, np.ndarray]
    values: dict[str, np.ndarray]
    lidar_splits: np.ndarray

    @property
    def span_ns(self) -> tuple[int, int]:
        """The time of the first and of the last sample."""
        return min(int(t[0]) for t in self.times_ns.values()), max(int(t[-1]) for t in self.times_ns.values())


def record(seed: int, episode: int) -> Recording:
    """Make one episode's streams."""
    rng = np.random.Generator(np.random.PCG64([seed, episode, 0]))
    start_ns = 1_700_000_000 * SECOND_NS + episode * 60 * SECOND_NS
    rates = {name: rate for name, (_, rate) in TELEMETRY.items()}
    rates |= {"lidar": LIDAR_HZ} | dict.fromkeys(CAMERAS, CAMERA_HZ)
    times_ns = {name: _clock(rng, rate, start_ns) for name, rate in rates.items()}
    values: dict[str, np.ndarray] = {}
    for name, (columns, _) in TELEMETRY.items():
        t = (times_ns[name] - start_ns)[:, None] / SECOND_NS
        slow, fast, phase = rng.uniform(0.1, 1, columns), rng.uniform(2, 9, columns), rng.uniform(0, 6.3, columns)
        moved = np.sin(slow * t + phase) + 0.1 * np.sin(fast * t) + rng.normal(0, 0.004, (len(t), columns))
        # A CAN signal is a whole number times a factor.
        values[name] = (np.rint(moved / 0.0125) * 0.0125 if name == "can" else moved).astype(np.float32)
    values["lidar"], splits = _sweeps(rng, len(times_ns["lidar"]))
    return Recording(times_ns, values, splits)


def frames(seed: int, episode: int, camera: str, count: int) -> np.ndarray:
    """Make a camera's frames: uint8 ``[count, SIZE, SIZE, 3]``; a textured scene moving past, a few things, noise."""
    rng = np.random.Generator(np.random.PCG64([seed, episode, 1 + CAMERAS.index(camera)]))
    scene = np.zeros((512, 512, 3), np.float32)
    for cell, amplitude in ((128, 50), (64, 28), (32, 13), (16, 6), (8, 3)):
        grid = rng.normal(0, amplitude, (512 // cell, 512 // cell, 3)).astype(np.float32)
        scene += np.repeat(np.repeat(grid, cell, 0), cell, 1)
    scene = np.clip(scene + 118, 4, 250).astype(np.int16)
    noise = rng.integers(-1, 2, (16, SIZE, SIZE, 3), np.int16)
    path = np.cumsum(rng.normal(0, 1.6, (count, 2)), 0) + 176
    corner = np.clip(path, 0, 511 - SIZE).astype(int)
    things = rng.uniform(10, SIZE - 40, (4, 2)), rng.normal(0, 1.5, (4, 2)), rng.integers(0, 255, (4, 3))
    out = np.empty((count, SIZE, SIZE, 3), np.uint8)
    for i, (y, x) in enumerate(corner):
        frame = scene[y : y + SIZE, x : x + SIZE] + noise[i % len(noise)]
        for place, speed, colour in zip(*things, strict=True):
            ty, tx = (np.abs((place + i * speed) % 240 - 120)).astype(int)
            frame[ty : ty + 24, tx : tx + 24] = colour
        out[i] = np.clip(frame, 0, 255)
    return out


def write_set(folder: Path, seed: int, num_episodes: int, encode_jpeg) -> None:  # type: ignore[no-untyped-def]
    """Write the set as plain arrays, from which every store is built; frames as the bytes of ``encode_jpeg``.

    Raises:
        SystemExit: another set is there already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "seed").exists() and seed_of(folder) != seed:
        raise SystemExit(f"{folder}: a set of seed {seed_of(folder)}, expected {seed}; name another --work")
    (folder / "seed").write_text(str(seed))
    for episode in range(num_episodes):
        place = folder / f"episode_{episode:03d}"
        if (place / "whole").exists():
            continue
        place.mkdir(parents=True, exist_ok=True)
        recording = record(seed, episode)
        for name, times in recording.times_ns.items():
            np.save(place / f"{name}.times.npy", times)
        for name, values in recording.values.items():
            np.save(place / f"{name}.values.npy", values)
        np.save(place / "lidar.splits.npy", recording.lidar_splits)
        for camera in CAMERAS:
            blobs = [encode_jpeg(f) for f in frames(seed, episode, camera, len(recording.times_ns[camera]))]
            np.save(place / f"{camera}.starts.npy", np.cumsum([0] + [len(b) for b in blobs], dtype=np.int64))
            np.save(place / f"{camera}.values.npy", np.frombuffer(b"".join(blobs), np.uint8))
        (place / "whole").touch()


def seed_of(folder: Path) -> int:
    """Return the seed that a set was made from."""
    return int((folder / "seed").read_text())


class Source:
    """One episode as ``write_set`` wrote it, mapped."""

    def __init__(self, folder: Path, episode: int) -> None:
        self.place = folder / f"episode_{episode:03d}"

    def times(self, name: str) -> np.ndarray:
        """Return a stream's clock."""
        return np.load(self.place / f"{name}.times.npy")

    def values(self, name: str) -> np.ndarray:
        """Return a stream's numbers, or a camera's JPEGs one after the other."""
        return np.load(self.place / f"{name}.values.npy", mmap_mode="r")

    def splits(self) -> np.ndarray:
        """Return where each sweep's points begin."""
        return np.load(self.place / "lidar.splits.npy")

    def jpegs(self, camera: str) -> list[bytes]:
        """Return a camera's frames as they are stored."""
        data, starts = self.values(camera), np.load(self.place / f"{camera}.starts.npy").tolist()
        return [data[a:b].tobytes() for a, b in pairwise(starts)]


def draw_windows(folder: Path, num_episodes: int, seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw windows that lie inside their episodes: (episode, time in ns), int64 ``[count]`` each."""
    rng = np.random.Generator(np.random.PCG64([seed, 7]))
    spans = [(Source(folder, e).times("joints")[[0, -1]]) for e in range(num_episodes)]
    episode = rng.integers(0, num_episodes, count)
    low = np.array([s[0] for s in spans])[episode] + 5 * SECOND_NS // 4
    high = np.array([s[1] for s in spans])[episode] - 3 * SECOND_NS // 4
    return episode, low + (rng.random(count) * (high - low)).astype(np.int64)


def walk(folder: Path, num_episodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return moments from which every sweep that ``draw_windows`` may ask for is seen: (episode, time in ns) in order."""
    spans = [Source(folder, e).times("joints")[[0, -1]] for e in range(num_episodes)]
    times = [np.arange(low + 5 * SECOND_NS // 4, high - 3 * SECOND_NS // 4 + LIDAR_NS, LIDAR_NS) for low, high in spans]
    return np.repeat(np.arange(num_episodes), [len(t) for t in times]), np.concatenate(times)


class Reference:
    """What a window must hold, found the plain way in the arrays."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def window(self, episode: int, time_ns: int) -> dict[str, np.ndarray]:
        """Return name -> times and values; of cameras only which frames, sparse and dense."""
        source, out = Source(self.folder, episode), {}
        for name in TELEMETRY:
            times = source.times(name)
            low, high = span(times, time_ns - TELEMETRY_NS, time_ns + TELEMETRY_NS)
            out[f"{name}.times"], out[f"{name}.values"] = times[low:high], source.values(name)[low:high]
        times, splits = source.times("lidar"), source.splits()
        low, high = span(times, time_ns - LIDAR_NS, time_ns)
        out["lidar.times"], out["lidar.splits"] = times[low:high], splits[low : high + 1] - splits[low]
        out["lidar.values"] = source.values("lidar")[splits[low] : splits[high]]
        return {name: np.asarray(array) for name, array in out.items()}

    def check(self, episode: int, time_ns: int, got: dict[str, np.ndarray], *, telemetry_only: bool, who: str) -> None:
        """Refuse a store's answer that differs.

        Raises:
            SystemExit: naming the store and what differs.
        """
        for name, want in self.window(episode, time_ns).items():
            if telemetry_only and name.startswith("lidar"):
                continue
            if name not in got or got[name].shape != want.shape or not np.array_equal(got[name], want):
                raise SystemExit(f"{who}: {name} of episode {episode} at {time_ns} differs from the set")


def span(times_ns: np.ndarray, low_ns: int, high_ns: int) -> tuple[int, int]:
    """Return the samples in [low, high] as a slice's ends."""
    return int(times_ns.searchsorted(low_ns)), int(times_ns.searchsorted(high_ns, "right"))


def frame_numbers(times_ns: np.ndarray, time_ns: int, kind: str) -> list[int]:
    """Return which frames of a camera a window of this kind holds, oldest first."""
    if kind == "dense":
        newest = int(times_ns.searchsorted(time_ns, "right"))
        return list(range(newest - DENSE, newest))
    return [int(times_ns.searchsorted(time_ns + offset, "right")) - 1 for offset in SPARSE_NS]


def _clock(rng: np.random.Generator, rate_hz: float, start_ns: int) -> np.ndarray:
    period_ns = SECOND_NS / rate_hz
    ticks = np.arange(round(EPISODE_S * rate_hz)) + rng.uniform(-0.1, 0.1, round(EPISODE_S * rate_hz))
    return start_ns + (rng.uniform(0.2, 1) * period_ns + period_ns * ticks).astype(np.int64)


def _sweeps(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Sixteen rings around the sensor, in the order of their azimuth; walls, a floor, 2 cm of noise."""
    sizes = rng.integers(1850, 2151, count)
    splits = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    total = int(splits[-1])
    within = np.arange(total) - np.repeat(splits[:-1], sizes)
    azimuth = within / np.repeat(sizes, sizes) * 2 * np.pi
    elevation = np.radians(-15 + 2 * (within % 16))
    walls = 9 + 3 * np.sin(3 * azimuth + np.repeat(rng.uniform(0, 6.3, count), sizes)) + 2 * np.cos(7 * azimuth)
    floor = np.where(elevation < 0, 1.8 / np.maximum(-np.sin(elevation), 1e-3), 60.0)
    reach = np.minimum(walls, floor) + rng.normal(0, 0.02, total)
    points = np.empty((total, 4), np.float32)
    places = (np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation))
    for axis, direction in enumerate(places):
        points[:, axis] = np.rint(reach * direction / 0.002).astype(np.int16) * POINT_STEP_M
    points[:, 3] = rng.integers(0, 256, total)
    return points, splits
