"""Finding the same data twice: exactly by digests, nearly by marks and sketches that name candidates and a comparison that
decides.

Candidates cost a join of hashes, not a comparison of every pair; a comparison reads two episodes again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from genba.data.quality.episode import EpisodeMeasure
from genba.data.quality.findings import Finding
from genba.data.quality.marks import NUM_MARKS, Marks
from genba.data.quality.series import Series
from genba.data.quality.sketch import WINDOW, Sketch
from genba.data.quality.thresholds import Thresholds
from genba.spec.units import SECOND_NS, to_ns

#: Hashes that two episodes must share at one distance in time, and the most episodes that a hash may stand for.
MIN_SHARED, MAX_HOLDERS = 3, 24

#: Share of its marks that the shorter of two must have in common with the longer; chosen so: arms that begin alike share an eighth,
#: what lies in the other to more than half shares about as much.
CONTAINED = 0.25

#: How exactly marks must be at one distance: clocks that were told in floating-point seconds are rounded.
EXACT_NS = to_ns(0.001)

#: A signal moves where it varies by this share of its spread within a window; where it rests, all episodes are alike.
MOVING = 0.1

#: Where between two steps the other episode is looked for, the likeliest first.
FRACTIONS = np.array(sorted(np.linspace(-1, 1, 17), key=abs))


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
    marks: Mapping[str, Marks]
    step_ns: int
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
        marks={s.name: s.marks for s in streams},
        step_ns=measure.series.step_ns,
        sketch=sketch,
    )


def find_duplicates(
    prints: list[Print], series_of: Callable[[str, int, int], Series], thresholds: Thresholds
) -> Iterator[tuple[str, Finding]]:
    """Yield (episode id, finding) for every episode that repeats one before it in ``prints``.

    Args:
        prints: of one machine's episodes.
        series_of: gives an episode's series again by its id, from one time to another in ns.
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
    for i, j, distance_ns in _candidates(distinct):
        one, other = distinct[i], distinct[j]
        # The same moments shall fall into the same steps, wherever the copy begins.
        before_ns = (other.start_ns + distance_ns - one.start_ns) % one.step_ns
        start_ns = other.start_ns - before_ns
        lag = (start_ns + distance_ns - one.start_ns) // one.step_ns
        series = series_of(other.episode_id, start_ns, other.end_ns)
        found = compare(series_of(one.episode_id, one.start_ns, one.end_ns), series, lag, thresholds)
        if found is None:
            continue
        steps, difference, first = found
        share = min(1.0, steps / max(len(series.values), 1))
        apart_s = (distance_ns - one.start_ns + other.start_ns) / SECOND_NS
        message = (
            f"got {steps * series.step_ns / SECOND_NS:.1f} s of {one.episode_id} again, {apart_s:+.1f} s apart, with "
            f"differences of {difference:.1%} of the signals' spread"
        )
        start_ns += first * series.step_ns
        end_ns = start_ns + steps * series.step_ns
        yield other.episode_id, _finding("near duplicate", other, start_ns, end_ns, share, message)


def compare(one: Series, other: Series, lag: int, thresholds: Thresholds) -> tuple[int, float, int] | None:
    """Compare two series where ``other``'s step ``t`` is ``one``'s ``t + lag``.

    Returns:
        Common steps, the typical difference as a share of the spread in the stream that differs most, and the first common step
        of ``other``; None where they are not nearly the same.
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
    moving = (np.maximum(_movement(a)[start + lag : stop + lag], _movement(b)[start:stop]) > MOVING * spread) & (
        spread > 1e-9
    )
    streams: dict[str, list[int]] = defaultdict(list)
    for i, column in enumerate(columns):
        if moving[:, i].sum() >= WINDOW:
            streams[column.stream].append(i)
    if not streams:
        return None
    scale, at = 0.67 * np.maximum(spread, 1e-9), np.arange(start, stop, dtype=np.float64)
    best = np.inf
    for fraction in FRACTIONS:
        where = np.clip(at + lag + fraction, 0, len(a) - 1)
        low = np.minimum(where.astype(np.int64), len(a) - 2)
        part = (where - low)[:, None]
        worst = 0.0
        for members in streams.values():
            near, after, there = a[low][:, members], a[low + 1][:, members], b[start:stop, members]
            off = np.abs(near * (1 - part) + after * part - there) / scale[members]
            # The middle: one odd stretch, or one step at an edge, does not hide that the rest is the same. All streams must say
            # so: two cars that stop at one light move alike, and see other things.
            worst = max(worst, float(np.median(off[moving[:, members]])))
            if worst > min(best, thresholds.near_difference):
                break
        best = min(best, worst)
    return (steps, best, start) if best <= thresholds.near_difference else None


def _movement(values: np.ndarray) -> np.ndarray:
    """Return each column's standard deviation within a window around each step, ``[step, column]``."""
    values = values - values.mean(0)
    total, square = (np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(v, 0)]) for v in (values, values**2))
    at = np.arange(len(values))
    first, last = np.maximum(at - WINDOW // 2, 0), np.minimum(at + WINDOW // 2, len(values))
    count = (last - first)[:, None]
    variance = (square[last] - square[first]) / count - ((total[last] - total[first]) / count) ** 2
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


def _candidates(prints: list[Print]) -> Iterator[tuple[int, int, int]]:
    """Yield (earlier, later, ns by which the first tells later what both tell) of prints that share hashes at one distance.

    Sketches name the distance to a step, marks exactly; where both do, the exact one counts.
    """
    if not prints:
        return
    sketches = [(p.sketch.hashes, p.start_ns + p.sketch.steps.astype(np.int64) * p.step_ns) for p in prints]
    found = {pair: at for pair, (at, _) in _agreed(_distances(sketches), prints[0].step_ns).items()}
    exact: dict[tuple[int, int], list[int]] = defaultdict(list)
    nothing = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    for name in sorted({name for p in prints for name in p.marks}):
        held = [(p.marks[name].hashes, p.marks[name].times_ns) if name in p.marks else nothing for p in prints]
        for pair, distances_ns in _distances(held).items():
            exact[pair] += distances_ns
    for (i, j), (distance_ns, shared) in _agreed(exact, EXACT_NS).items():
        if shared >= CONTAINED * _comparable(prints[i].marks, prints[j].marks):
            found[i, j] = distance_ns
    for (i, j), distance_ns in sorted(found.items()):
        yield i, j, distance_ns


def _comparable(one: Mapping[str, Marks], other: Mapping[str, Marks]) -> int:
    """Return how many marks two would share if the shorter lay in the longer: those that both would have kept."""
    counts = [0, 0]
    for name in one.keys() & other.keys():
        held = [marks[name].hashes for marks in (one, other)]
        # Of a stream with few runs all are kept.
        last = min((hashes[-1] for hashes in held if len(hashes) == NUM_MARKS), default=None)
        for i, hashes in enumerate(held):
            counts[i] += len(hashes) if last is None else int(np.searchsorted(hashes, last, "right"))
    return min(counts)


def _distances(held: list[tuple[np.ndarray, np.ndarray]]) -> dict[tuple[int, int], list[int]]:
    """Return how far apart in ns every two owners, given as (hashes, times), hold a hash that both hold."""
    hashes, times_ns = (np.concatenate(parts) for parts in zip(*held, strict=True))
    owners = np.repeat(np.arange(len(held)), [len(found) for found, _ in held])
    order = np.argsort(hashes, kind="stable")
    hashes, times_ns, owners = hashes[order], times_ns[order], owners[order]
    starts = np.flatnonzero(hashes[1:] != hashes[:-1]) + 1
    out: dict[tuple[int, int], list[int]] = defaultdict(list)
    for start, stop in zip([0, *starts], [*starts, len(hashes)], strict=True):
        if 2 <= stop - start <= MAX_HOLDERS:
            for i in range(start, stop):
                for j in range(i + 1, stop):
                    out[int(owners[i]), int(owners[j])].append(int(times_ns[i] - times_ns[j]))
    return out


def _agreed(distances_ns: dict[tuple[int, int], list[int]], within_ns: int) -> dict[tuple[int, int], tuple[int, int]]:
    """Return the distance that most of a pair's hashes name and how many do, where enough do."""
    out = {}
    for pair, found in distances_ns.items():
        values, counts = np.unique(found, return_counts=True)
        total = np.concatenate([[0], np.cumsum(counts)])
        first, last = (
            np.searchsorted(values, values + by, side) for by, side in ((-within_ns, "left"), (within_ns, "right"))
        )
        near = total[last] - total[first]
        best = int(near.argmax())
        if near[best] >= MIN_SHARED:
            out[pair] = int(values[best]), int(near[best])
    return out


def _finding(kind: str, one: Print, start_ns: int, end_ns: int, share: float, message: str) -> Finding:
    return Finding(
        kind=kind, start_ns=start_ns, end_ns=end_ns, share=share, message=message,
        advice="keep one of the two; never let them stand on both sides of a train/test split",
    )  # fmt: skip
