"""What a run really read: which shards, for what, and how many windows of whom; kept by the loader, committed by root.

A run says at each checkpoint what it did so far, in kinds that are told apart: a shard was ``opened`` (its clocks and
decisions were read to find windows), is in the ``statistics`` that numbers are normalised by, was ``trained`` on (windows of it
were used in a train step), or ``evaluated`` on (windows of it were used to measure losses); or it is ``inherited``: the weights
that the run began with depend on it. Windows are counted as trained
when a train step gets them, as decoded when they are made: those made ahead and never used are in the second number only. The
addresses (episode and time) of the windows of every range of train steps are digested per rank, in order.

``ReadRecord`` is one rank's account; ``Reads`` is what all ranks did, earlier runs of the same folder included. A root over its
parts (``merkle``) stands in the ledger. Who writes it where is in ``train.checkpoint``.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from genba.data.catalog import EpisodeEntry
from genba.data.windows import WindowSource
from genba.errors import DataError
from genba.trust.digest import canonical_json, digest_bytes
from genba.trust.merkle import Frontier, leaf_hash

FORMAT = "genba-reads@1"

Use = Literal["opened", "statistics", "trained", "evaluated", "inherited"]
#: what a shard may have been read for
USES: tuple[str, ...] = get_args(Use)
#: uses that the weights depend on
SHAPING: tuple[Use, ...] = ("statistics", "trained", "inherited")

Counted = Literal["trained", "evaluated", "decoded"]
COUNTED: tuple[str, ...] = get_args(Counted)


@dataclass(frozen=True, slots=True, order=True)
class ShardRead:
    """A shard, or the part of it under one agreement, and what it was read for."""

    owner: str
    dataset: str
    agreement: str
    shard: str
    """The file's digest when it was read."""
    uses: tuple[str, ...]
    """Some of ``USES``, sorted."""


@dataclass(frozen=True, slots=True, order=True)
class WindowCount:
    """How many windows of whom."""

    counted: str
    """One of ``COUNTED``."""
    embodiment: str
    owner: str
    dataset: str
    windows: int


@dataclass(frozen=True, slots=True, order=True)
class StepRange:
    """The windows that one rank used in consecutive train steps."""

    start: int
    stop: int
    """Train steps from ``start`` to ``stop``, exclusive."""
    rank: int
    world_size: int
    windows: int
    digest: str
    """Over ``<embodiment>\\n`` and ``<episode id> <time_ns>\\n`` for each window, in the order of the steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reads:
    """What was read until a train step."""

    step: int
    """How many train steps were taken."""
    shards: tuple[ShardRead, ...] = ()
    windows: tuple[WindowCount, ...] = ()
    ranges: tuple[StepRange, ...] = ()
    before: str = ""
    """Root of the record that this one continues; empty for a run's first."""

    @property
    def windows_by_owner(self) -> dict[tuple[str, str], int]:
        """Windows that train steps used, by owner and data set."""
        out: dict[tuple[str, str], int] = {}
        for one in self.windows:
            if one.counted == "trained":
                out[one.owner, one.dataset] = out.get((one.owner, one.dataset), 0) + one.windows
        return out

    def shards_of(self, *uses: Use) -> tuple[tuple[str, str, str], ...]:
        """Return owner, data set and digest of the shards that were read for any of ``uses``, each once."""
        found = {(s.owner, s.dataset, s.shard) for s in self.shards if set(s.uses).intersection(uses)}
        return tuple(sorted(found))

    @property
    def trained_on(self) -> tuple[tuple[str, str, str], ...]:
        """Owner, data set and digest of every shard that the weights depend on, as ``TrainedOn.of`` takes them."""
        return self.shards_of(*SHAPING)

    @property
    def agreements(self) -> tuple[tuple[str, str, str], ...]:
        """Owner, data set and agreement of everything that was read here; what was inherited was read elsewhere."""
        read = [s for s in self.shards if s.uses != ("inherited",)]
        return tuple(sorted({(s.owner, s.dataset, s.agreement) for s in read}))

    @property
    def is_complete(self) -> bool:
        """Whether every rank's ranges follow one another from the first train step to ``step``."""
        reached, ranks = 0, dict[tuple[int, int, int], set[int]]()
        for one in self.ranges:
            ranks.setdefault((one.start, one.stop, one.world_size), set()).add(one.rank)
        for (start, stop, world_size), found in sorted(ranks.items()):
            if start != reached or found != set(range(world_size)):
                return False
            reached = stop
        return reached == self.step

    @property
    def root(self) -> str:
        """The root of a hash tree over step and root before, shards, counts and ranges, each as canonical JSON, in order.

        How many windows were decoded is left out: how far ahead they were made differs between two runs of the same.
        """
        tree = Frontier()
        tree.add(leaf_hash(canonical_json([FORMAT, self.step, self.before])))
        for part in (*self.shards, *self.windows, *self.ranges):
            if not (isinstance(part, WindowCount) and part.counted == "decoded"):
                tree.add(leaf_hash(canonical_json([type(part).__name__, _plain(part)])))
        return f"sha256:{tree.root().hex()}"

    @property
    def digest(self) -> str:
        """Digest of what is stored."""
        return digest_bytes(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the record as it is stored."""
        return canonical_json(
            {
                "format": FORMAT,
                "step": self.step,
                "shards": [_plain(one) for one in self.shards],
                "windows": [_plain(one) for one in self.windows],
                "ranges": [_plain(one) for one in self.ranges],
                "before": self.before,
                "root": self.root,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, *, place: str) -> Reads:
        """Read a stored record.

        Raises:
            DataError: it is not one, or its root is not that of its parts.
        """
        try:
            table = json.loads(data)
            if table["format"] != FORMAT:
                raise ValueError(f"format {table['format']!r}, expected {FORMAT!r}")
            reads = cls(
                step=table["step"],
                shards=tuple(
                    ShardRead(one["owner"], one["dataset"], one["agreement"], one["shard"], tuple(one["uses"]))
                    for one in table["shards"]
                ),
                windows=tuple(WindowCount(**one) for one in table["windows"]),
                ranges=tuple(StepRange(**one) for one in table["ranges"]),
                before=table["before"],
            )
            if reads.to_bytes() != data:
                raise ValueError(
                    f"root {table['root']} or its form is not that of its parts, whose root is {reads.root}"
                )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{place}: not a record of what was read ({error!r}); it was cut or changed") from error
        return reads


def joined(previous: Reads | None, parts: Iterable[Reads]) -> Reads:
    """Return what was read in all: until ``previous``, and by every rank since.

    Args:
        previous: the whole record until then; None where there is none.
        parts: what each rank did since, until the same train step.
    """
    given = list(parts)
    steps = {part.step for part in given}
    assert len(steps) == 1, f"ranks committed at the train steps {sorted(steps)}, expected one"
    uses: dict[tuple[str, str, str, str], set[str]] = {}
    counts: dict[tuple[str, str, str, str], int] = {}
    for part in (*([previous] if previous else []), *given):
        for shard in part.shards:
            uses.setdefault((shard.owner, shard.dataset, shard.agreement, shard.shard), set()).update(shard.uses)
        for one in part.windows:
            key = (one.counted, one.embodiment, one.owner, one.dataset)
            counts[key] = counts.get(key, 0) + one.windows
    return Reads(
        step=steps.pop(),
        shards=tuple(ShardRead(*key, tuple(sorted(found))) for key, found in sorted(uses.items())),
        windows=tuple(WindowCount(*key, count) for key, count in sorted(counts.items())),
        ranges=(previous.ranges if previous else ()) + tuple(sorted(r for part in given for r in part.ranges)),
        before=previous.root if previous else "",
    )


class ReadRecord:
    """One rank's account of what it reads. Several threads may decode at once."""

    def __init__(self, *, start: int = 0, rank: int = 0, world_size: int = 1, previous: Reads | None = None) -> None:
        """Begin an account.

        Args:
            start: the first train step that will be used.
            rank, world_size: whose account of how many it is.
            previous: the whole record until ``start``, where a run goes on.
        """
        self.rank, self.world_size, self.previous = rank, world_size, previous
        self._start = start
        self._lock = threading.Lock()
        self._uses: dict[tuple[str, str, str, str], set[str]] = {}
        self._counts: dict[tuple[str, str, str, str], int] = {}
        #: made and not used yet: train step -> its windows
        self._ready: dict[int, list[tuple[WindowSource, np.ndarray]]] = {}
        self._hash, self._windows = hashlib.sha256(), 0

    def enter(self, use: Use, entries: Iterable[EpisodeEntry]) -> None:
        """Record that the episodes' shards were read for a use that is not of single windows."""
        with self._lock:
            for entry in entries:
                self._uses.setdefault(_whose(entry), set()).add(use)

    def inherit(self, parent: Reads) -> None:
        """Record that the run began with the weights of another, and so depends on everything that they depend on."""
        with self._lock:
            for shard in parent.shards:
                if set(shard.uses).intersection(SHAPING):
                    key = (shard.owner, shard.dataset, shard.agreement, shard.shard)
                    self._uses.setdefault(key, set()).add("inherited")

    def decoded(self, step: int, sources: Sequence[tuple[WindowSource, np.ndarray]]) -> None:
        """Record that the windows for a train step were made; they count as trained once ``used`` says so.

        Args:
            step: the train step that they are for.
            sources: of each embodiment the source and which of its windows, int64 ``[batch]``.
        """
        with self._lock:
            self._count("decoded", sources)
            self._ready[step] = list(sources)

    def used(self, step: int) -> None:
        """Record that a train step got its windows; steps are used in order."""
        with self._lock:
            sources = self._ready.pop(step)
            self._count("trained", sources)
            for source, indices in sources:
                lines = [f"{source.embodiment.id}\n"]
                for episode, time_ns in zip(*_addresses(source, indices), strict=True):
                    lines.append(f"{source.entries[episode].episode_id} {time_ns}\n")
                self._hash.update("".join(lines).encode())
                self._windows += len(indices)

    def evaluated(self, sources: Sequence[tuple[WindowSource, np.ndarray]]) -> None:
        """Record that windows were made and used to measure losses."""
        with self._lock:
            self._count("decoded", sources)
            self._count("evaluated", sources)

    def take(self, step: int) -> Reads:
        """Return what this rank did since the last time, when ``step`` train steps were taken, and begin anew."""
        with self._lock:
            ranges = ()
            if step > self._start:
                digest = f"sha256:{self._hash.hexdigest()}"
                ranges = (StepRange(self._start, step, self.rank, self.world_size, self._windows, digest),)
            part = Reads(
                step=step,
                shards=tuple(ShardRead(*key, tuple(sorted(found))) for key, found in sorted(self._uses.items())),
                windows=tuple(WindowCount(*key, count) for key, count in sorted(self._counts.items())),
                ranges=ranges,
            )
            self._uses, self._counts, self._start = {}, {}, step
            self._hash, self._windows = hashlib.sha256(), 0
            return part

    def join(self, parts: Iterable[Reads]) -> Reads:
        """Return the whole record: what was before, and what every rank took since."""
        self.previous = joined(self.previous, parts)
        return self.previous

    def commit(self, step: int) -> Reads:
        """Return the whole record when ``step`` train steps were taken, where this rank is the only one."""
        return self.join([self.take(step)])

    def _count(self, counted: Counted, sources: Sequence[tuple[WindowSource, np.ndarray]]) -> None:
        for source, indices in sources:
            episodes = np.bincount(source.episodes(indices), minlength=len(source.entries))
            for episode in np.flatnonzero(episodes).tolist():
                entry = source.entries[episode]
                key = (counted, source.embodiment.id, entry.metadata.owner, entry.metadata.dataset)
                self._counts[key] = self._counts.get(key, 0) + int(episodes[episode])
                if counted != "decoded":
                    self._uses.setdefault(_whose(entry), set()).add(counted)


def _addresses(source: WindowSource, indices: np.ndarray) -> tuple[list[int], list[int]]:
    return source.episodes(indices).tolist(), source.times_ns[indices].tolist()


def _whose(entry: EpisodeEntry) -> tuple[str, str, str, str]:
    return entry.metadata.owner, entry.metadata.dataset, entry.metadata.agreement, entry.digest


def _plain(part: ShardRead | WindowCount | StepRange) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(part).items()}
