"""Clean episodes of the rover of ``data/quality/rover.toml``: one random drive, told by all of its sensors with noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from genba.spec.embodiment import Embodiment, load_embodiment
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.streams import Stream, dense, ragged
from genba.spec.units import SECOND_NS

ROVER: Embodiment = load_embodiment(Path(__file__).parent / "data" / "quality" / "rover.toml")

#: Metres from the middle to a wheel.
HALF_TRACK_M = 0.3

#: base_from_camera and base_from_lidar row by row: no turn, only a place.
MOUNTED = (1.0, 0.0, 0.0, 0.4, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.6)


def drive(seed: int, *, seconds: float = 20.0, labelled: bool = False, start_ns: int = 100 * SECOND_NS) -> Episode:
    """Make an episode of ``seconds``: speed and yaw rate are random sums of sines, everything else follows from them."""
    rng = np.random.default_rng(seed)
    fine_hz = 1000
    time = np.arange(int(seconds * fine_hz)) / fine_hz
    speed, yaw_rate, lift = 2.0 + _wander(rng, time, 0.9), _wander(rng, time, 0.5), _wander(rng, time, 0.8)
    turn = np.cumsum(yaw_rate) / fine_hz
    # The yaw starts near zero, so that a drive does not cross the seam at pi.
    x, y = (np.cumsum(speed * f(turn)) / fine_hz for f in (np.cos, np.sin))
    forward = np.gradient(speed, 1 / fine_hz)
    current = 4.0 + 3.0 * forward + speed
    streams: dict[str, Stream] = {}

    def sample(name: str, *signals: np.ndarray, noise: tuple[float, ...]) -> None:
        channel = next(c for c in ROVER.telemetry if c.name == name)
        at = _clock(rng, channel.rate_hz, seconds)
        values = np.stack([np.interp(at, time, s) + n * rng.normal(size=len(at)) for s, n in zip(signals, noise)], 1)
        streams[name] = Stream(start_ns + np.rint(at * SECOND_NS).astype(np.int64), values.astype(np.float32))

    sample("pose", x, y, turn, noise=(0.005, 0.005, 0.002))
    sample("odometry", speed, yaw_rate, noise=(0.01, 0.005))
    half = HALF_TRACK_M * yaw_rate
    sample("wheels", speed - half, speed + half, noise=(0.01, 0.01))
    zero, half_turn = np.zeros_like(turn), turn / 2
    sample(
        "imu", forward, speed * yaw_rate, zero + 9.81, np.cos(half_turn), zero, zero, np.sin(half_turn),
        noise=(0.05, 0.05, 0.05, 1e-3, 1e-3, 1e-3, 1e-3),
    )  # fmt: skip
    sample("mast", lift, np.gradient(lift, 1 / fine_hz), noise=(0.001, 0.01))
    warm = 300 + 5 * (1 - np.exp(-time / 30)) + rng.uniform(-3, 3)
    pressure = zero + 101_300 + rng.uniform(-500, 500)
    sample("motor", current, warm, pressure, zero, noise=(0.1, 0.02, 5.0, 0.0))
    gear = streams["motor"].values[:, 3]
    gear[len(gear) // 2 :] = 1
    at = _clock(rng, 10.0, seconds)
    times_ns = start_ns + np.rint(at * SECOND_NS).astype(np.int64)
    row, column = np.mgrid[:16, :24]
    phase = np.interp(at, time, x)
    frames = 110 + 60 * np.sin(column / 4 + phase[:, None, None]) + 2 * row + rng.normal(0, 4, (len(at), 16, 24))
    streams["front"] = Stream(times_ns, np.repeat(frames.clip(0, 255).astype(np.uint8)[..., None], 3, -1))
    sweeps = []
    for t in at:
        bearing = np.linspace(-np.pi, np.pi, 50, endpoint=False)
        range_m = 8 + 3 * np.sin(2 * bearing + np.interp(t, time, turn)) + 0.3 * np.interp(t, time, x) % 5
        range_m = range_m + rng.normal(0, 0.02, 50)
        sweep = np.stack([range_m * np.cos(bearing), range_m * np.sin(bearing), rng.normal(0, 0.02, 50)], 1)
        sweeps.append(sweep[rng.random(50) > 0.05].astype(np.float32))
    streams["lidar"] = ragged(times_ns, sweeps)
    seen_ns = (
        start_ns + np.sort(rng.choice(int(seconds * 1000), int(seconds * 2), replace=False)).astype(np.int64) * 10**6
    )
    snapshots = [
        np.stack([rng.uniform(1, 50, n), rng.integers(0, 4, n)], 1).astype(np.float32)
        for n in rng.integers(0, 6, len(seen_ns))
    ]
    streams["objects"] = ragged(seen_ns, snapshots)
    steps = np.arange(0.05, seconds - 0.05, 0.1)
    steps_ns = start_ns + np.rint(steps * SECOND_NS).astype(np.int64)
    told = np.stack([np.interp(steps, time, speed), np.interp(steps, time, yaw_rate)], 1)
    streams["action"] = dense(steps_ns, told)
    if labelled:
        streams["label"] = dense(steps_ns[::2], told[::2] + 0.01)
    metadata = EpisodeMetadata(
        episode_id=f"{ROVER.id}/drive/{seed:06d}",
        embodiment_id=ROVER.id,
        seed=seed,
        instruction="go on",
        calibration={"base_from_camera": MOUNTED, "base_from_lidar": MOUNTED},
    )
    return Episode(metadata, streams)


def _wander(rng: np.random.Generator, time: np.ndarray, size: float) -> np.ndarray:
    """Return a sum of four sines of 0.05 to 0.6 Hz."""
    rates, phases = rng.uniform(0.05, 0.6, 4), rng.uniform(0, 2 * np.pi, 4)
    return size / 2 * np.sin(2 * np.pi * rates * time[:, None] + phases).sum(1)


def _clock(rng: np.random.Generator, rate_hz: float, seconds: float) -> np.ndarray:
    """Return sample times with 5 % jitter and a phase of their own."""
    period_s = 1 / rate_hz
    at = np.arange(rng.uniform(0, period_s), seconds, period_s)
    return np.sort(at + rng.uniform(-0.05, 0.05, len(at)) * period_s).clip(0)
