"""Random episodes that fit an embodiment: every modality, every channel on its own jittered clock, gaps and all."""

from __future__ import annotations

import numpy as np

from genba.spec.embodiment import Embodiment
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.streams import Stream, dense, ragged
from genba.spec.units import SECOND_NS, to_ns


def random_episode(
    embodiment: Embodiment,
    seed: int,
    *,
    num_steps: int = 12,
    labelled: bool = False,
    absent: frozenset[str] = frozenset(),
    instruction: str = "hold 現場",
    missing: float = 0.1,
    start_ns: int = 7 * SECOND_NS,
) -> Episode:
    """Make an episode of ``num_steps`` control steps; ``absent`` channels are left out, ``missing`` is the share of NaN."""
    rng = np.random.default_rng(seed)
    period_ns = to_ns(embodiment.control.period_s)
    steps_ns = start_ns + period_ns * np.arange(num_steps, dtype=np.int64)
    end_ns = int(steps_ns[-1]) + period_ns
    streams: dict[str, Stream] = {}
    for channel in embodiment.telemetry:
        times_ns = _clock(rng, channel.rate_hz, start_ns, end_ns)
        values = _uniform(rng, len(times_ns), channel.dimensions)
        values[rng.random(values.shape) < missing] = np.nan
        streams[channel.name] = Stream(times_ns, values)
    for channel in embodiment.camera:
        times_ns = _clock(rng, channel.rate_hz, start_ns, end_ns)
        shape = (len(times_ns), channel.height, channel.width, 3)
        streams[channel.name] = Stream(times_ns, rng.integers(0, 256, shape, np.uint8))
    for channel in embodiment.points:
        times_ns = _clock(rng, channel.rate_hz, start_ns, end_ns)
        reach_m = channel.range_max_m / 2
        sweeps = [
            rng.uniform(-reach_m, reach_m, (n, 3)).astype(np.float32)
            for n in rng.integers(0, channel.max_points + 1, len(times_ns))
        ]
        if sweeps:
            streams[channel.name] = ragged(times_ns, sweeps)
    # Sets of rows change together, at moments of their own; relations follow their source.
    times_ns = np.unique(rng.integers(start_ns, end_ns, max(2, num_steps // 2)).astype(np.int64))
    counts = {c.name: rng.integers(0, c.max_rows + 1, len(times_ns)) for c in embodiment.entities}
    for channel in embodiment.entities:
        snapshots = [_uniform(rng, n, channel.dimensions) for n in counts[channel.name]]
        for snapshot in snapshots:
            snapshot[rng.random(snapshot.shape) < missing] = np.nan
        streams[channel.name] = ragged(times_ns, snapshots)
    rows = {channel.name: channel.max_rows for channel in embodiment.entities}
    for relation in embodiment.relation:
        pairs = []
        for n in counts[relation.source]:
            pair = rng.uniform(relation.low, relation.high, (n, rows[relation.target])).astype(np.float32)
            pair[rng.random(pair.shape) < 0.4] = np.nan
            pairs.append(pair)
        streams[relation.name] = ragged(times_ns, pairs)
    for kind in ("action", "label") if labelled else ("action",):
        if embodiment.action.continuous:
            streams[kind] = dense(steps_ns, _uniform(rng, num_steps, embodiment.action.continuous))
        for choice in embodiment.action.choice:
            shape = (rows[choice.over],)
            decisions = []
            for _ in range(num_steps):
                n = int(rng.integers(0, rows[choice.for_each or choice.over] + 1))
                scores = rng.normal(size=(n,) if choice.kind == "rank" else (n, *shape)).astype(np.float32)
                if choice.kind == "assign":
                    scores[rng.random(scores.shape) < 0.5] = -np.inf
                    scores[:, shape[0] - 1 :] = np.nan
                decisions.append(scores)
            streams[f"{kind}.{choice.name}"] = ragged(steps_ns, decisions)
    metadata = EpisodeMetadata(
        episode_id=f"{embodiment.id}/random/{seed:06d}",
        embodiment_id=embodiment.id,
        task_id="test/random@1",
        seed=seed,
        instruction=instruction if embodiment.instruction else "",
        outcome={"success": 1.0, "unknown": float("nan")},
        calibration={"base_from_lidar": (1.0, 0.0, 0.5)},
    )
    return Episode(metadata, {name: stream for name, stream in streams.items() if name not in absent})


def _clock(rng: np.random.Generator, rate_hz: float, start_ns: int, end_ns: int) -> np.ndarray:
    """Samples at ``rate_hz`` with jitter, a late start and one gap of up to half the time."""
    period_ns = to_ns(1 / rate_hz)
    times_ns = np.arange(start_ns + int(rng.integers(0, period_ns)), end_ns, period_ns, dtype=np.int64)
    times_ns = np.sort(times_ns + rng.integers(-period_ns // 4, period_ns // 4 + 1, len(times_ns)))
    low, high = sorted(rng.integers(start_ns, end_ns, 2).tolist())
    high = min(high, low + (end_ns - start_ns) // 2)
    return times_ns[(times_ns < low) | (times_ns > high)]


def _uniform(rng: np.random.Generator, count: int, dimensions: tuple) -> np.ndarray:
    columns = [
        rng.integers(0, d.categories, count) if getattr(d, "categories", 0) else rng.uniform(d.low, d.high, count)
        for d in dimensions
    ]
    return np.stack(columns, -1).astype(np.float32).reshape(count, len(dimensions))
