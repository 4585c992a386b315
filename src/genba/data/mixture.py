"""The mixture: which windows of each machine, owner and task a train step gets.

Each embodiment has its own sub-batch of every step. Within it, shares say how much comes from which episodes (an
owner's, a task's), in a fixed pattern that keeps the weights exactly; the windows of a share are walked through epoch
by epoch, every window once per epoch in a shuffled order. Pattern and order are functions of the seed, the place in
them of the train step alone: nothing is remembered. So a resumed run goes on exactly where it was, on any number of
ranks; ranks take consecutive parts of one global batch, and workers of a rank take steps in turn.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genba.data.catalog import EpisodeEntry
from genba.data.order import shuffled
from genba.data.windows import WindowSource
from genba.errors import ConfigError, DataError, nearest

#: places after which a pattern of shares repeats: weights are kept to one part in so many
CYCLE = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """How much of an embodiment's sub-batches comes from some of its episodes."""

    #: relative to the other shares of the same embodiment; 0 leaves the episodes out
    weight: float
    #: whose episodes: those that have all of what is named here; empty for any
    embodiment: str = ""
    owner: str = ""
    task: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise ConfigError(f"share {self}: weight: got {self.weight}, expected a number of at least 0")

    def __str__(self) -> str:
        named = {"embodiment": self.embodiment, "owner": self.owner, "task": self.task}
        return " ".join(f"{key}={value}" for key, value in named.items() if value) or "of everything else"

    def matches(self, entry: EpisodeEntry) -> bool:
        """Say whether an episode has everything that is named."""
        found = (entry.embodiment_id, entry.metadata.owner, entry.metadata.task_id)
        return all(want in ("", got) for want, got in zip((self.embodiment, self.owner, self.task), found, strict=True))


def apportion(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Split ``total`` windows over names by weight: batch sizes of embodiments that add up to a whole batch.

    What does not divide goes to the largest remainders (Hamilton's method), in the order given.

    Raises:
        ConfigError: no weights, one that is negative, or one so small that its name would get nothing.
    """
    whole = sum(weights.values())
    if not weights or min(weights.values()) < 0 or not 0 < whole < math.inf:
        raise ConfigError(f"weights: got {dict(weights)}, expected at least one positive and none negative")
    exact = {name: total * weight / whole for name, weight in weights.items()}
    out = {name: math.floor(value) for name, value in exact.items()}
    for name in sorted(exact, key=lambda n: out[n] - exact[n])[: total - sum(out.values())]:
        out[name] += 1
    for name, size in out.items():
        if size == 0 and weights[name] > 0:
            raise ConfigError(
                f"weight of {name}: got {weights[name]:g} of {whole:g}, less than one in {total}; raise it, or give 0"
            )
    return out


def worker_steps(start: int, stop: int, worker: int, num_workers: int) -> range:
    """Return the train steps in [start, stop) whose batches one of a rank's workers makes.

    Raises:
        ConfigError: no such worker.
    """
    if not 0 <= worker < num_workers:
        raise ConfigError(f"worker {worker} of {num_workers}: expected a worker below the number of workers")
    # By the step itself, not by its distance from `start`: a resumed run gives each worker the same steps.
    return range(start + (worker - start) % num_workers, stop, num_workers)


class Mixture:
    """Batches of several embodiments by train step."""

    def __init__(
        self,
        sources: Mapping[str, WindowSource],
        batch_sizes: Mapping[str, int],
        seed: int,
        shares: Sequence[Share] = (),
    ) -> None:
        """Mix ``sources`` (by embodiment id), giving each ``batch_sizes`` windows per global batch.

        Args:
            shares: how the sub-batches are made up; an episode belongs to the first share that matches it. Without
                any, every window counts alike.

        Raises:
            ConfigError: sources and batch sizes name different embodiments, a batch size is below 1, or a share's weight
                is too small to be kept.
            DataError: a source without windows, an episode that no share matches, or a share that matches none.
        """
        for name in set(sources) ^ set(batch_sizes):
            raise ConfigError(f"mixture: {name!r} has only one of source and batch size{nearest(name, batch_sizes)}")
        for name, source in sources.items():
            if batch_sizes[name] < 1:
                raise ConfigError(f"mixture: batch size of {name}: got {batch_sizes[name]}, expected at least 1")
            if not len(source):
                raise DataError(f"mixture: {name}: got no windows in {len(source.entries)} episodes, expected some")
        self.sources, self.batch_sizes, self.seed, self.shares = dict(sources), dict(batch_sizes), seed, tuple(shares)
        self._patterns = {name: _Pattern(name, source, self.shares) for name, source in sources.items()}
        for share in self.shares:
            if not any(share in pattern.matched for pattern in self._patterns.values()):
                owners = {entry.metadata.owner for source in sources.values() for entry in source.entries}
                hint = nearest(share.owner, owners) if share.owner else ""
                raise DataError(f"mixture: share {share}: got no episodes{hint}; leave it out or widen it")

    def batch(self, step: int, rank: int = 0, world_size: int = 1) -> dict[str, dict[str, np.ndarray]]:
        """Return embodiment id -> batch (see ``WindowSource.batch``): this rank's part of train step ``step``.

        Raises:
            ConfigError: a batch size that ``world_size`` does not divide.
        """
        return {name: source.batch(indices) for name, source, indices in self.drawn(step, rank, world_size)}

    def drawn(self, step: int, rank: int = 0, world_size: int = 1) -> list[tuple[str, WindowSource, np.ndarray]]:
        """Return of each embodiment its id, its source, and which of its windows this rank gets at train step ``step``.

        Raises:
            ConfigError: a batch size that ``world_size`` does not divide.
        """
        return [(name, source, self.indices(name, step, rank, world_size)) for name, source in self.sources.items()]

    def indices(self, name: str, step: int, rank: int = 0, world_size: int = 1) -> np.ndarray:
        """Return which windows of source ``name`` this rank gets at ``step``: int64 ``[batch / world_size]``."""
        size = self.batch_sizes[name]
        if size % world_size or not 0 <= rank < world_size:
            raise ConfigError(
                f"mixture: rank {rank} of {world_size}: batch size {size} of {name}, expected a rank below world_size "
                f"and a multiple of world_size"
            )
        part = size // world_size
        place = step * size + rank * part + np.arange(part, dtype=np.int64)
        return self._patterns[name].windows(place, self.seed)

    def epoch(self, name: str, step: int) -> float:
        """Return how many windows of source ``name`` have been given before ``step``, in lengths of the source."""
        return step * self.batch_sizes[name] / len(self.sources[name])

    def epochs(self, name: str, step: int) -> dict[Share, float]:
        """Return how many times each share of source ``name`` has been walked through before ``step``."""
        return self._patterns[name].epochs(step * self.batch_sizes[name])


class _Pattern:
    """Which share of one embodiment, and which of its windows, stands at each place of an endless walk."""

    def __init__(self, name: str, source: WindowSource, shares: Sequence[Share]) -> None:
        # Without shares everything is one, whose order is keyed by the embodiment alone.
        asked = [share for share in shares if share.embodiment in ("", name)] or [Share(weight=1.0)]
        share_of = np.array([self._first(asked, name, entry) for entry in source.entries], np.int64)
        matched = np.unique(share_of).tolist()
        self.matched = {asked[i] for i in matched} if shares else set()
        kept = [i for i in matched if asked[i].weight > 0]
        if not kept:
            raise DataError(
                f"mixture: {name}: every share with episodes of it has weight 0, expected at least one above"
            )
        lengths = np.diff(source.bounds)
        for i in kept:
            if not lengths[share_of == i].any():
                raise DataError(f"mixture: {name}: share {asked[i]}: got episodes without any window; give it weight 0")
        self.shares = [asked[i] for i in kept]
        self.keys = [zlib.crc32(f"{name} {share}".encode() if shares else name.encode()) for share in self.shares]
        # The windows of a share: its episodes' runs, one after the other.
        episodes = [np.flatnonzero(share_of == i) for i in kept]
        self.ends = [np.cumsum(lengths[chosen]) for chosen in episodes]
        self.shifts = [
            source.bounds[chosen] - (ends - lengths[chosen]) for chosen, ends in zip(episodes, self.ends, strict=True)
        ]
        counts = apportion(CYCLE, {str(i): share.weight for i, share in enumerate(self.shares)})
        self.counts = np.array(list(counts.values()), np.int64)
        # Each share's places are spread evenly over the cycle, so that short batches keep the weights too.
        spread = np.concatenate([(np.arange(count) + 0.5) / count for count in self.counts.tolist()])
        self.at = np.repeat(np.arange(len(kept)), self.counts)[np.argsort(spread, kind="stable")]
        self.nth = np.zeros(CYCLE, np.int64)
        for i, count in enumerate(self.counts.tolist()):
            self.nth[self.at == i] = np.arange(count)

    @staticmethod
    def _first(shares: Sequence[Share], name: str, entry: EpisodeEntry) -> int:
        for i, share in enumerate(shares):
            if share.matches(entry):
                return i
        raise DataError(
            f"mixture: {name}: episode {entry.episode_id} (owner {entry.metadata.owner}, task "
            f"{entry.metadata.task_id or 'none'}) is in no share; name it in one, or add Share(weight=0) to leave the "
            f"rest out"
        )

    def windows(self, place: np.ndarray, seed: int) -> np.ndarray:
        """Return the window at each place: int64."""
        cycle, within = np.divmod(place, CYCLE)
        at = self.at[within]
        nth = cycle * self.counts[at] + self.nth[within]
        out = np.empty(len(place), np.int64)
        for i in np.unique(at).tolist():
            length = int(self.ends[i][-1])
            epochs, inside = np.divmod(nth[at == i], length)
            found = np.empty(len(epochs), np.int64)
            for epoch in np.unique(epochs).tolist():
                here = epochs == epoch
                found[here] = shuffled(length, (seed, self.keys[i], epoch), inside[here])
            out[at == i] = found + self.shifts[i][np.searchsorted(self.ends[i], found, side="right")]
        return out

    def epochs(self, place: int) -> dict[Share, float]:
        """Return how often each share has been walked through before ``place``."""
        cycle, within = divmod(place, CYCLE)
        before = cycle * self.counts + np.bincount(self.at[:within], minlength=len(self.counts))
        return {s: int(n) / int(ends[-1]) for s, n, ends in zip(self.shares, before, self.ends, strict=True)}
