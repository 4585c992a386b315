"""What a run is trained on: windows of every embodiment in a vault, a few episodes held back, statistics frozen.

Statistics are measured on the first run and travel in its checkpoints, so that a run that goes on from another one
(with more episodes) sees the same numbers for the same world.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from genba.data.mixture import Mixture
from genba.data.vault import Vault
from genba.data.windows import WindowSource
from genba.errors import DataError
from genba.registry import HELD_OUT_TASKS
from genba.spec.embodiment import Embodiment
from genba.spec.normalise import Normalizer
from genba.spec.statistics import Statistics
from genba.train.recipe import Recipe

#: one episode in so many is held back for evaluation, chosen by its id
HELD_BACK_ONE_IN = 25


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Mixtures over embodiments to train on and to evaluate on, and what numbers mean."""

    embodiments: Mapping[str, Embodiment]
    statistics: Mapping[str, Statistics]
    training: Mixture
    evaluation: Mixture


def is_held_back(episode_id: str) -> bool:
    """Say whether an episode is for evaluation only."""
    return zlib.crc32(episode_id.encode()) % HELD_BACK_ONE_IN == 0


def prepare(
    vault: Vault,
    embodiments: Sequence[Embodiment],
    recipe: Recipe,
    statistics: Mapping[str, Statistics] | None = None,
) -> TrainingData:
    """Build the mixtures of a run.

    Args:
        embodiments: the machines to train on, jointly.
        statistics: frozen ones of an earlier run; measured on the vault where None.

    Raises:
        DataError: an embodiment has no episodes to train or to evaluate on, or some of a task that is held out.
    """
    known = {embodiment.id: embodiment for embodiment in embodiments}
    found: dict[str, Statistics] = {}
    sources: dict[str, dict[str, WindowSource]] = {"training": {}, "evaluation": {}}
    room = recipe.memory_bytes // max(2 * len(known), 1)
    for embodiment_id, embodiment in known.items():
        entries = vault.entries(embodiment_id=embodiment_id)
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
                f"{vault.path}: {len(entries)} episodes of {embodiment_id}, expected at least 2; "
                f"collect some with: genba bench collect"
            )
        found[embodiment_id] = statistics[embodiment_id] if statistics else vault.statistics(embodiment_id)
        normalizer = Normalizer(embodiment, found[embodiment_id])
        for name, chosen in split.items():
            sources[name][embodiment_id] = WindowSource(vault, embodiment, normalizer, chosen, memory_bytes=room)
    sizes = {i: recipe.batch_size(i) for i in known}
    return TrainingData(
        known,
        found,
        Mixture(sources["training"], sizes, recipe.seed, recipe.shares),
        Mixture(sources["evaluation"], sizes, recipe.seed + 1),
    )
