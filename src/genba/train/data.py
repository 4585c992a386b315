"""What a run is trained on: windows of every embodiment in a vault, a few episodes held back, statistics frozen.

In a governed vault every owner is asked first whether this party may train here on its data. The losses on held-back episodes
that a run reports belong to training. Statistics are measured on the first run and travel in its checkpoints, so that a run that goes on from another one
(with more episodes) sees the same numbers for the same world.
"""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from genba.data.catalog import EpisodeEntry
from genba.data.mixture import Mixture
from genba.data.reads import ReadRecord, Reads
from genba.data.vault import Vault
from genba.data.windows import WindowSource
from genba.errors import DataError, PermissionDeniedError
from genba.registry import HELD_OUT_TASKS
from genba.spec.embodiment import Embodiment
from genba.spec.normalise import Normalizer
from genba.spec.statistics import Statistics
from genba.train.recipe import Recipe

#: one episode in so many is held back for evaluation, chosen by its id
HELD_BACK_ONE_IN = 25


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """Data that is in the vault and not in the run."""

    owner: str
    dataset: str
    agreement: str
    num_episodes: int
    #: why it may not be trained on
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Mixtures over embodiments to train on and to evaluate on, and what numbers mean; and how long it took to find them."""

    embodiments: Mapping[str, Embodiment]
    statistics: Mapping[str, Statistics]
    training: Mixture
    evaluation: Mixture
    prepared_s: float = 0.0
    #: the episodes that the statistics were measured on; none where they came from an earlier run
    measured_on: tuple[EpisodeEntry, ...] = ()
    #: what owners do not allow to be trained on, and was left out because that was asked for
    left_out: tuple[LeftOut, ...] = ()

    def reads(self, *, start: int, rank: int, world_size: int, previous: Reads | None) -> ReadRecord:
        """Begin one rank's account of what is read, with what was read to prepare this.

        Args:
            start: the first train step that will be used.
            rank, world_size: whose account of how many it is.
            previous: the whole record until ``start``, where a run goes on.
        """
        record = ReadRecord(start=start, rank=rank, world_size=world_size, previous=previous)
        record.enter("statistics", self.measured_on)
        for mixture in (self.training, self.evaluation):
            for source in mixture.sources.values():
                record.enter("opened", source.entries)
        return record


def is_held_back(episode_id: str) -> bool:
    """Say whether an episode is for evaluation only."""
    return zlib.crc32(episode_id.encode()) % HELD_BACK_ONE_IN == 0


def prepare(
    vault: Vault,
    embodiments: Sequence[Embodiment],
    recipe: Recipe,
    statistics: Mapping[str, Statistics] | None = None,
    *,
    leave_out_refused: bool = False,
) -> TrainingData:
    """Build the mixtures of a run.

    Args:
        embodiments: the machines to train on, jointly.
        statistics: frozen ones of an earlier run; measured on the vault where None.
        leave_out_refused: in a governed vault, train without what its owners do not allow to be trained on.

    Raises:
        PermissionDeniedError: in a governed vault, an owner does not allow it; every one is named.
        DataError: an embodiment has no episodes to train or to evaluate on, or some of a task that is held out.
    """
    began_s = time.perf_counter()
    known = {embodiment.id: embodiment for embodiment in embodiments}
    found: dict[str, Statistics] = {}
    measured_on: list[EpisodeEntry] = []
    sources: dict[str, dict[str, WindowSource]] = {"training": {}, "evaluation": {}}
    entries_of, left_out = _allowed(vault, list(known), leave_out_refused=leave_out_refused)
    room = recipe.memory_bytes // max(2 * len(known), 1)
    for embodiment_id, embodiment in known.items():
        entries = entries_of[embodiment_id]
        for task_id in sorted(HELD_OUT_TASKS):
            if held_out := vault.entries(embodiment_id=embodiment_id, task_id=task_id):
                raise DataError(
                    f"{vault.path}: {held_out[0].episode_id}: {len(held_out)} episodes of {task_id}, which may not be "
                    f"trained on; expected a vault without them"
                )
        split = {
            "training": [e for e in entries if not is_held_back(e.episode_id)],
            "evaluation": [e for e in entries if is_held_back(e.episode_id)],
        }
        # With a handful of episodes none may fall to evaluation: the last one then is held back.
        if not split["evaluation"] and len(entries) > 1:
            split = {"training": entries[:-1], "evaluation": entries[-1:]}
        if not split["training"] or not split["evaluation"]:
            raise DataError(
                f"{vault.path}: {len(entries)} episodes of {embodiment_id} to train on, expected at least 2; "
                f"collect some with: genba bench collect"
            )
        found[embodiment_id] = (
            statistics[embodiment_id]
            if statistics
            else vault.statistics(embodiment_id, [entry.episode_id for entry in entries])
        )
        measured_on += [] if statistics else entries
        normalizer = Normalizer(embodiment, found[embodiment_id])
        for name, chosen in split.items():
            sources[name][embodiment_id] = WindowSource(vault, embodiment, normalizer, chosen, memory_bytes=room)
    sizes = {i: recipe.batch_size(i) for i in known}
    return TrainingData(
        known,
        found,
        Mixture(sources["training"], sizes, recipe.seed, recipe.shares),
        Mixture(sources["evaluation"], sizes, recipe.seed + 1),
        time.perf_counter() - began_s,
        tuple(measured_on),
        left_out,
    )


def _allowed(
    vault: Vault, embodiment_ids: Sequence[str], *, leave_out_refused: bool
) -> tuple[dict[str, list[EpisodeEntry]], tuple[LeftOut, ...]]:
    """Return each machine's episodes that may be trained on, and what may not.

    Raises:
        PermissionDeniedError: something may not, and is not to be left out.
    """
    entries = {name: vault.entries(embodiment_id=name) for name in embodiment_ids}
    if vault.gate is None:
        return entries, ()
    counts = Counter(entry.holding for found in entries.values() for entry in found)
    reasons = {holding: vault.gate.refusal("train", holding) for holding in sorted(counts)}
    refused = {holding: reason for holding, reason in reasons.items() if reason}
    if refused and not leave_out_refused:
        raise PermissionDeniedError(
            f"{vault.path}: {len(refused)} of {len(reasons)} data sets may not be trained on; ask their owners, or train "
            f"without them: --leave-out-refused\n" + "\n".join(refused.values())
        )
    left_out = tuple(
        LeftOut(
            owner=holding.owner,
            dataset=holding.dataset,
            agreement=holding.agreement,
            num_episodes=counts[holding],
            reason=reason,
        )
        for holding, reason in refused.items()
    )
    return {n: [e for e in found if e.holding not in refused] for n, found in entries.items()}, left_out
