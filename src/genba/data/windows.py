"""Windows: batches of what a policy would have seen, with what it should have answered and what came next.

``WindowSource.batch`` gives exactly what ``Normalizer.pack(observe(...))`` would, window by window (a test holds it to
that), for many windows at once (``gather``), and the targets beside them (``targets``). Which windows a train step gets
is decided in ``mixture``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genba.data.anchors import anchor_times, taught
from genba.data.catalog import EpisodeEntry
from genba.data.gather import (
    Arrays,
    CameraGather,
    EntitiesGather,
    Gather,
    InstructionGather,
    Moments,
    PointsGather,
    RelationGather,
    TelemetryGather,
    base_gathers,
)
from genba.data.layout import Shard
from genba.data.recycle import Recycler
from genba.data.targets import ActionTargets, ChoiceTargets
from genba.data.tracks import MEMORY_BYTES, Memory, Opened
from genba.data.vault import Vault
from genba.errors import DataError
from genba.spec.embodiment import Embodiment
from genba.spec.episode import ACTION, LABEL
from genba.spec.normalise import Normalizer
from genba.spec.streams import Stream
from genba.spec.units import to_ns


class WindowSource:
    """Every window of some episodes of one embodiment, addressed by number.

    Windows are numbered by episode in the order of ``entries``, and by time within an episode.
    """

    def __init__(
        self,
        vault: Vault,
        embodiment: Embodiment,
        normalizer: Normalizer,
        entries: Sequence[EpisodeEntry],
        *,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        """Find every window, which reads clocks and decisions; observations are read when they are asked for.

        Args:
            memory_bytes: how much normalised telemetry and how many points are kept once they were read; the rest is read
                every time. Beside it stay the decisions and a few dozen bytes per window and channel.

        Raises:
            DataError: no entry, or one of another embodiment.
            CorruptShardError: a shard is missing or cut.
            PermissionDeniedError: the rules of a governed vault refuse an episode.
        """
        self.embodiment, self.normalizer, self.entries = embodiment, normalizer, list(entries)
        if not self.entries:
            raise DataError(
                f"{vault.path}: got no episodes of {embodiment.id} to cut windows from, expected at least one"
            )
        for entry in self.entries:
            if entry.embodiment_id != embodiment.id:
                raise DataError(f"{entry.episode_id}: an episode of {entry.embodiment_id}, expected {embodiment.id}")
        opened, memory = Opened(vault, self.entries), Memory(memory_bytes)
        self._check = opened.check
        decisions = [_decisions(opened.shard(i)) for i in range(len(opened))]
        anchors = [
            anchor_times(embodiment, streams, entry.start_ns, entry.end_ns)
            for streams, entry in zip(decisions, self.entries, strict=True)
        ]
        self.bounds = np.cumsum([0] + [len(times_ns) for times_ns in anchors])
        self.times_ns = np.concatenate(anchors)
        # The observation `horizon` control periods later; beyond the end, the present one stands in, marked not valid.
        control = embodiment.control
        later_ns = self.times_ns + to_ns(control.horizon * control.period_s)
        end_ns = np.repeat([entry.end_ns for entry in self.entries], np.diff(self.bounds))
        self.next_valid = later_ns <= end_ns
        episode = np.repeat(np.arange(len(self.entries)), np.diff(self.bounds))
        self._moments = Moments(
            np.concatenate([self.times_ns, np.where(self.next_valid, later_ns, self.times_ns)]),
            np.concatenate([episode, episode]),
            tuple(
                (slice(low, high), slice(len(self) + low, len(self) + high))
                for low, high in zip(self.bounds[:-1].tolist(), self.bounds[1:].tolist(), strict=True)
            ),
        )
        gathers = _gathers(embodiment, self._moments, normalizer, opened, memory)
        self._bases = base_gathers(embodiment, self._moments, opened, memory)
        instructions: list[str] = []
        for i in range(len(opened)):
            shard = opened.shard(i)
            instructions.append(shard.metadata.instruction)
            for gather in (*gathers, *self._bases):
                gather.look(i, shard.streams.get(gather.name))
        sentences = [InstructionGather(c, instructions, self._moments) for c in embodiment.instruction]
        self._gathers = (*gathers, *sentences)
        self._actions: list[ActionTargets] = []
        if embodiment.action.continuous:
            for name, length, streams in (
                ("action", control.chunk_length, [taught(e) for e in decisions]),
                ("executed", control.horizon, [e.get(ACTION) for e in decisions]),
            ):
                self._actions.append(ActionTargets(name, length, control.period_s, streams, anchors, normalizer))
        rows = {channel.name: channel.max_rows for channel in embodiment.entities}
        self._choices = [
            ChoiceTargets(c, rows[c.for_each or c.over], [taught(e, c.name) for e in decisions], anchors)
            for c in embodiment.action.choice
        ]

    def __len__(self) -> int:
        return len(self.times_ns)

    def locate(self, index: int) -> tuple[str, int]:
        """Return the episode id and the time in nanoseconds of one window."""
        episode = int(self.episodes(np.array([index]))[0])
        return self.entries[episode].episode_id, int(self.times_ns[index])

    def episodes(self, indices: np.ndarray) -> np.ndarray:
        """Return which of ``entries`` each window is of: int64, the shape of ``indices``."""
        return np.searchsorted(self.bounds, indices, side="right") - 1

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Return the windows ``indices`` (int64 ``[batch]``), every array with a leading batch axis.

        Names: every packed name of ``spec.normalise``, the same under ``next.`` for the observation ``horizon``
        control periods later with ``next.valid`` bool ``[batch]``, and the targets: ``action.values`` float32
        ``[batch, chunk, dimension]`` and ``action.mask`` bool ``[batch, chunk]``; ``executed.values`` and
        ``executed.mask`` likewise over the horizon; ``choice.<name>.values`` (``rank``: float32 scores
        ``[batch, max_rows]``, higher first; ``assign``: int64 chosen row ``[batch, for_each max_rows]``, -1 where
        none) and ``choice.<name>.mask`` bool.

        Raises:
            CorruptShardError: bytes that do not verify or do not decode.
            PermissionDeniedError: the rules of a governed vault no longer allow what was opened.
        """
        # Here and not only where shards are opened: what is kept in memory is under the same rules.
        self._check()
        indices = np.asarray(indices, np.int64)
        if indices.size and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(f"windows {indices.min()} to {indices.max()}, expected 0 to {len(self) - 1}")
        # Now and later are gathered together: one pass over each stream instead of two.
        both: Arrays = {}
        moments = np.concatenate([indices, len(self) + indices])
        for gather in self._gathers:
            gather.fill(both, moments)
        if self.embodiment.action.continuous:
            # 0 for absolute actions.
            both["action.base"] = np.zeros((len(moments), len(self.embodiment.action.continuous)), np.float32)
            for base in self._bases:
                base.fill(both, moments)
        out = {name: array[: len(indices)] for name, array in both.items()}
        out |= {f"next.{name}": array[len(indices) :] for name, array in both.items()}
        out["next.valid"] = self.next_valid[indices]
        for actions in self._actions:
            actions.fill(out, indices, out["action.base"])
        for choice in self._choices:
            choice.fill(out, indices)
        return out


def _decisions(shard: Shard) -> dict[str, Stream]:
    # Only what was decided: decoding an episode's frames and sweeps for their times would be waste.
    return {n: s.decode() for n, s in shard.streams.items() if n.partition(".")[0] in (ACTION, LABEL)}


def _gathers(
    facts: Embodiment, moments: Moments, normalizer: Normalizer, opened: Opened, memory: Memory
) -> list[Gather]:
    rows, recycler = {channel.name: channel.max_rows for channel in facts.entities}, Recycler()
    return [
        *(TelemetryGather(c, moments, normalizer, opened, memory) for c in facts.telemetry),
        *(CameraGather(c, moments, opened, recycler) for c in facts.camera),
        *(PointsGather(c, moments, opened, memory) for c in facts.points),
        *(EntitiesGather(c, moments, normalizer, opened) for c in facts.entities),
        *(RelationGather(r, (rows[r.source], rows[r.target]), moments, normalizer, opened) for r in facts.relation),
    ]
