"""Finding the same data twice: exactly by digests, nearly by sketches that name candidates and a comparison that decides.

Candidates cost a join of sketches, not a comparison of every pair; a comparison reads two episodes again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from genba.data.quality.episode import EpisodeMeasure
from genba.data.quality.findings import Finding
from genba.data.quality.series import Series, seconds
from genba.data.quality.sketch import WINDOW, Sketch
from genba.data.quality.thresholds import Thresholds

#: Codes that two sketches must share at one distance in time, and the most episodes that a code may stand for.
MIN_SHARED, MAX_HOLDERS = 3, 24

#: Where between two steps the other episode is looked for.
FRACTIONS = np.linspace(-1, 1, 17)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Print:
    """What is kept of an episode to know it again."""

    episode_id: str
    embodiment_id: str
    start_ns: int
    end_ns: int
    #: of every stream's values and relative times, and of when each begins after the episode's start
    digest: str
    #: per stream
    digests: frozenset[str]
    sketch: Sketch


def take_print(measure: EpisodeMeasure, sketch: Sketch) -> Print:
    """Keep what knowing an episode again needs."""
    streams = sorted(measure.streams.values(), key=lambda s: s.name)
    offsets = [f"{s.name} {s.clock.first_ns - measure.start_ns} {s.digest}" for s in streams]
    return Print(
        episode_id=measure.metadata.episode_id,
        embodiment_id=measure.embodiment.id,
        start_ns=measure.start_ns,
        end_ns=measure.end_ns,
        digest="\n".join(offsets),
        digests=frozenset(f"{s.name} {s.digest}" for s in streams if s.clock.num_samples > 1),
        sketch=sketch,
    )


def find_duplicates(
    prints: list[Print], series_of: Callable[[str], Series], thresholds: Thresholds
) -> Iterator[tuple[str, Finding]]:
    """Yield (episode id, finding) for every episode that repeats one before it in ``prints``.

    Args:
        prints: of one machine's episodes.
        series_of: gives an episode's series again by its id.
    """
    first_of: dict[str, Print] = {}
    distinct: list[Print] = []
    for one in prints:
        original = first_of.setdefault(one.digest, one)
        if original is one:
            distinct.append(one)
            continue
        when = "at the same times" if original.start_ns == one.start_ns else "with a shifted clock"
        message = f"got every sample of {original.episode_id} again, {when}"
        yield one.episode_id, _finding("duplicate", one, one.start_ns, one.end_ns, 1.0, message)
    for i, j, lag in _candidates([p.sketch for p in distinct]):
        one, other = distinct[i], distinct[j]
        found = compare(series_of(one.episode_id), series_of(other.episode_id), lag, thresholds)
        if found is None:
            continue
        steps, difference, series, start = found
        share = min(1.0, steps / max(len(series.values), 1))
        start_ns = series.start_ns + start * series.step_ns
        message = (
            f"got {seconds(series, steps):.1f} s of {one.episode_id} again, {seconds(series, lag):+.1f} s apart, with "
            f"differences of {difference:.1%} of the signals' spread"
        )
        end_ns = start_ns + steps * series.step_ns
        yield other.episode_id, _finding("near duplicate", other, start_ns, end_ns, share, message)


def compare(one: Series, other: Series, lag: int, thresholds: Thresholds) -> tuple[int, float, Series, int] | None:
    """Compare two series where ``other``'s step ``t`` is ``one``'s ``t + lag``.

    Returns:
        Common steps, the typical difference as a share of the spread, ``other``, and its first common step; None where
        they are not nearly the same.
    """
    here, there = ({c for c, k in zip(s.columns, s.known, strict=True) if k} for s in (one, other))
    columns = [c for c in one.columns if c in here & there]
    a = one.values[:, [one.columns.index(c) for c in columns]].astype(np.float64)
    b = other.values[:, [other.columns.index(c) for c in columns]].astype(np.float64)
    start, stop = max(0, -lag), min(len(b), len(a) - lag)
    steps = stop - start
    if steps < max(WINDOW, thresholds.overlap * min(len(a), len(b))):
        return None
    spread = np.maximum(np.std(a, 0), np.std(b, 0))
    moving = spread > 1e-9
    if not moving.any():
        return None
    best: np.ndarray | None = None
    at = np.arange(start, stop, dtype=np.float64)
    for fraction in FRACTIONS:
        where = np.clip(at + lag + fraction, 0, len(a) - 1)
        low = np.minimum(where.astype(np.int64), len(a) - 2) if len(a) > 1 else np.zeros(len(where), np.int64)
        part = (where - low)[:, None]
        shifted = a[low] * (1 - part) + a[np.minimum(low + 1, len(a) - 1)] * part
        # The middle of the squares: one odd stretch, or one step at an edge, does not hide that the rest is the same.
        off = np.sqrt(np.median((shifted - b[start:stop]) ** 2, 0))[moving] / (0.67 * spread[moving])
        best = off if best is None or np.median(off) < np.median(best) else best
    assert best is not None
    difference = float(np.quantile(best, 0.75))
    return (steps, difference, other, start) if difference <= thresholds.near_difference else None


def _candidates(sketches: list[Sketch]) -> Iterator[tuple[int, int, int]]:
    """Yield (earlier, later, lag in steps) of sketches that share codes at one distance."""
    if not any(len(s.hashes) for s in sketches):
        return
    hashes = np.concatenate([s.hashes for s in sketches])
    steps = np.concatenate([s.steps for s in sketches])
    owners = np.repeat(np.arange(len(sketches)), [len(s.hashes) for s in sketches])
    order = np.argsort(hashes, kind="stable")
    hashes, steps, owners = hashes[order], steps[order], owners[order]
    starts = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1]))
    lags: dict[tuple[int, int], list[int]] = defaultdict(list)
    for start, stop in zip(starts, np.append(starts[1:], len(hashes)), strict=True):
        if 2 <= stop - start <= MAX_HOLDERS:
            for i in range(start, stop):
                for j in range(i + 1, stop):
                    lags[int(owners[i]), int(owners[j])].append(int(steps[i]) - int(steps[j]))
    for (i, j), found in sorted(lags.items()):
        values, counts = np.unique(found, return_counts=True)
        near = np.array([counts[np.abs(values - v) <= 1].sum() for v in values])
        best = int(near.argmax())
        if near[best] >= MIN_SHARED:
            yield i, j, int(values[best])


def _finding(kind: str, one: Print, start_ns: int, end_ns: int, share: float, message: str) -> Finding:
    return Finding(
        kind=kind, start_ns=start_ns, end_ns=end_ns, share=share, message=message,
        advice="keep one of the two; never let them stand on both sides of a train/test split",
    )  # fmt: skip
