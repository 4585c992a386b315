"""A recording in deviations from its own beginning: what one machine says on different days, made comparable.

The same bench stands at another flow, temperature and vibration each time it is started. Where the beginning of each recording is known to be
normal, every number is said in standard deviations from its mean there; what then differs is what happened since. Nothing of what came later
enters. Read next: ``genba.train.surprise``, which learns how such deviations go on.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from genba.errors import DataError
from genba.spec.embodiment import Embodiment
from genba.spec.episode import Episode
from genba.spec.statistics import measure
from genba.spec.streams import Stream

#: Nothing deviates farther, in standard deviations: beyond it stands a sensor that hardly moved at the beginning.
FARTHEST = 1e9


def deviation_facts(facts: Embodiment) -> Embodiment:
    """Return the facts of a machine whose telemetry is given in deviations: the same channels, clocks and names, without units.

    Raises:
        DataError: the machine acts, or has channels that are no telemetry.
    """
    if facts.action.continuous or facts.action.choice or len(facts.channels) != len(facts.telemetry):
        raise DataError(f"{facts.id}: expected a machine that only senses, with telemetry alone, to say in deviations")
    telemetry = tuple(
        replace(
            channel,
            dimension=tuple(
                replace(one, unit="1", low=-FARTHEST, high=FARTHEST, scale="linear") for one in channel.dimension
            ),
        )
        for channel in facts.telemetry
    )
    name, _, version = facts.id.partition("@")
    return replace(facts, id=f"{name}-deviations@{version}", telemetry=telemetry)


def deviations(episode: Episode, facts: Embodiment, num_reference: int) -> Episode:
    """Return an episode's telemetry in standard deviations from its mean over the first samples of each channel.

    A number that never moved there keeps its unit. Traces and all that is not telemetry are left out.

    Args:
        episode: of the machine ``facts``.
        facts: the machine in its own units.
        num_reference: how many samples are the reference.

    Raises:
        DataError: a channel that has fewer samples than the reference.
    """
    streams: dict[str, Stream] = {}
    for channel in facts.telemetry:
        stream = episode.streams.get(channel.name)
        if stream is None or len(stream) < num_reference:
            raise DataError(
                f"{episode.metadata.source or episode.metadata.episode_id}: {channel.name}: got "
                f"{0 if stream is None else len(stream)} samples, expected at least the first {num_reference}, which are the reference"
            )
        reference = measure(stream.values[:num_reference])
        values = (stream.values.astype(np.float64) - reference.mean) / reference.std
        streams[channel.name] = Stream(stream.times_ns, np.clip(values, -FARTHEST, FARTHEST).astype(np.float32))
    made = deviation_facts(facts)
    named = f"{made.id}/{episode.metadata.episode_id.rpartition('/')[2]}"
    return Episode(replace(episode.metadata, episode_id=named, embodiment_id=made.id), streams)
