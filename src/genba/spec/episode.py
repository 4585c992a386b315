"""An episode: one finished sequence on one machine, every stream at its own rate.

Beside its embodiment's channels and relations it may hold these streams:

* ``action``: float32 ``[steps, dimension]``, what the machine was told at each control step;
* ``action.<choice>``: the scores decided, ragged over the decision's rows (``rank`` ``[rows]``,
  ``assign`` ``[rows, over max_rows]``, NaN beyond the rows);
* ``label`` and ``label.<choice>``: what an expert would have done at the same moments, where it was asked;
* ``trace.<name>``: float32 ``[samples, number]``, what was found out about the episode afterwards (e.g. marked anomalies),
  for verifiers and scores; no window and no observation ever holds it.

Training imitates ``label`` where it stands and ``action`` elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from genba.spec.streams import Stream

ACTION = "action"
LABEL = "label"
TRACE = "trace"


@dataclass(frozen=True, kw_only=True, slots=True)
class EpisodeMetadata:
    """Where an episode comes from and what came of it."""

    #: unique, e.g. ``"arm/grip@1/train/000012"``
    episode_id: str
    embodiment_id: str
    #: the task it was recorded on, empty for a log from the field
    task_id: str = ""
    #: who owns it, and which of the owner's data sets it belongs to: one key protects that, and it is withdrawn together
    owner: str = "genba"
    dataset: str = "default"
    #: where it was recorded, whose law applies, under which agreement it may be used
    site: str = "simulation"
    jurisdiction: str = "none"
    agreement: str = "genba-demo"
    #: which policy acted, and with which seed
    policy: str = ""
    seed: int = -1
    instruction: str = ""
    #: metric name -> value, as the task's verifier found it; and ``guard.<reason>`` -> control steps in which the guard
    #: intervened for it, where it did
    outcome: Mapping[str, float] = field(default_factory=dict)
    #: name -> numbers, e.g. extrinsics row by row
    calibration: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    #: file or simulator it was made from; where a model acted, what was found of its passport
    source: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Episode:
    """Streams by name, and where they come from."""

    metadata: EpisodeMetadata
    streams: Mapping[str, Stream]

    @property
    def start_ns(self) -> int:
        """Time of the first sample of any stream."""
        return min(int(stream.times_ns[0]) for stream in self.streams.values() if len(stream))

    @property
    def end_ns(self) -> int:
        """Time of the last sample of any stream."""
        return max(int(stream.times_ns[-1]) for stream in self.streams.values() if len(stream))
