"""Everything measured of one episode: what every check of a single episode is given.

Times of reference come from the streams that sample steadily, as their middle, so that one broken clock cannot move them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from genba.data.quality.measures import StreamMeasure, measure_stream
from genba.data.quality.samples import EpisodeView
from genba.data.quality.series import Series, make_series
from genba.spec.embodiment import Channel, Embodiment, Relation
from genba.spec.episode import EpisodeMetadata


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EpisodeMeasure:
    """One episode, measured."""

    embodiment: Embodiment
    metadata: EpisodeMetadata
    #: when most steady streams begin and end
    start_ns: int
    end_ns: int
    #: streams that hold at least one sample
    streams: Mapping[str, StreamMeasure]
    #: action and label streams' clocks, int64 ``[samples]`` each
    decisions: Mapping[str, np.ndarray]
    series: Series

    @property
    def span_ns(self) -> int:
        """Time from the common start to the common end."""
        return self.end_ns - self.start_ns

    def channel(self, name: str) -> Channel | Relation | None:
        """Return a stream's facts; None for actions and labels."""
        return next((c for c in (*self.embodiment.channels, *self.embodiment.relation) if c.name == name), None)

    def rate_hz(self, name: str) -> float:
        """Return a stream's nominal rate; 0 where samples come with events."""
        return float(getattr(self.channel(name), "rate_hz", 0.0))

    def steady(self, min_samples: int) -> list[StreamMeasure]:
        """Return the streams that sample at a rate and have enough samples to judge it."""
        return [s for s in self.streams.values() if self.rate_hz(s.name) > 0 and s.clock.num_samples >= min_samples]


def measure_episode(view: EpisodeView) -> EpisodeMeasure:
    """Take every measure of an episode, one stream and one bounded piece at a time.

    Raises:
        CorruptShardError: bytes that do not decode.
    """
    streams = {name: measure_stream(stream) for name, stream in view.streams.items() if len(stream.times_ns)}
    clocks = [m.clock for name, m in streams.items() if view.streams[name].rate_hz > 0]
    clocks = clocks or [m.clock for m in streams.values()]
    start_ns = middle([clock.first_ns for clock in clocks], lower=True)
    end_ns = max(start_ns, middle([clock.last_ns for clock in clocks], lower=False))
    return EpisodeMeasure(
        embodiment=view.embodiment,
        metadata=view.metadata,
        start_ns=start_ns,
        end_ns=end_ns,
        streams=streams,
        decisions={name: s.times_ns for name, s in view.streams.items() if s.channel is None and len(s.times_ns)},
        series=make_series(view, start_ns, end_ns),
    )


def middle(values: list[int], *, lower: bool) -> int:
    """Return the median of ``values``, of two in the middle the lower or the higher one."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2 if lower else len(ordered) // 2]
