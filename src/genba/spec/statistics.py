"""What a channel's numbers look like over a data set: count, mean, spread and range, merging exactly.

Statistics are taken after a dimension's scale (``apply_scale``), NaN left out. Merging two sets gives what one pass
over both would (Chan, Golub, LeVeque 1983, "Algorithms for computing the sample variance", eq. 2.1). Read next:
``normalise``, which uses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from genba.errors import SpecError, nearest
from genba.spec.embodiment import ActionDimension, Dimension, Embodiment, Relation
from genba.spec.episode import ACTION, LABEL, Episode
from genba.spec.streams import Stream


def apply_scale(values: np.ndarray, dimensions: tuple[Dimension | ActionDimension | Relation, ...]) -> np.ndarray:
    """Put ``values`` ``[..., dimension]`` on the dimensions' scales: sign(x) log(1 + |x| / linear_below) or x; float64."""
    out = np.array(values, np.float64)
    for i, dimension in enumerate(dimensions):
        if dimension.scale == "symlog":
            out[..., i] = np.sign(out[..., i]) * np.log1p(np.abs(out[..., i]) / dimension.linear_below)
    return out


def undo_scale(values: np.ndarray, dimensions: tuple[Dimension | ActionDimension | Relation, ...]) -> np.ndarray:
    """Invert ``apply_scale``."""
    out = np.array(values, np.float64)
    for i, dimension in enumerate(dimensions):
        if dimension.scale == "symlog":
            out[..., i] = np.sign(out[..., i]) * np.expm1(np.abs(out[..., i])) * dimension.linear_below
    return out


@dataclass(frozen=True, slots=True, eq=False)
class ChannelStatistics:
    """Statistics per dimension; every array float64 ``[dimension]``."""

    count: np.ndarray
    mean: np.ndarray
    #: sum of squared differences from the mean
    m2: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def std(self) -> np.ndarray:
        """Population standard deviation; 1 where nothing varies, so that dividing by it is safe."""
        std = np.sqrt(self.m2 / np.maximum(self.count, 1))
        return np.where(std < 1e-8, 1.0, std)

    def merge(self, other: ChannelStatistics) -> ChannelStatistics:
        """Return the statistics of both sets together."""
        count = self.count + other.count
        safe = np.maximum(count, 1)
        delta = other.mean - self.mean
        return ChannelStatistics(
            count,
            self.mean + delta * other.count / safe,
            self.m2 + other.m2 + delta**2 * self.count * other.count / safe,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )


def measure(values: np.ndarray) -> ChannelStatistics:
    """Measure scaled ``values`` ``[rows, dimension]``, NaN left out."""
    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    count = known.sum(0).astype(np.float64)
    filled = np.where(known, values, 0.0)
    mean = filled.sum(0) / np.maximum(count, 1)
    m2 = np.where(known, (values - mean) ** 2, 0.0).sum(0) if len(values) else np.zeros_like(mean)
    low = np.where(known, values, np.inf).min(0, initial=np.inf)
    high = np.where(known, values, -np.inf).max(0, initial=-np.inf)
    return ChannelStatistics(count, mean, m2, low, high)


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """Statistics of every numeric channel, relation and the action of one embodiment."""

    embodiment_id: str
    channels: Mapping[str, ChannelStatistics] = field(default_factory=dict)

    def __getitem__(self, name: str) -> ChannelStatistics:
        if name not in self.channels:
            raise SpecError(f"{self.embodiment_id}: no statistics of {name!r}{nearest(name, self.channels)}")
        return self.channels[name]

    def merge(self, other: Statistics) -> Statistics:
        """Return the statistics of both sets of episodes together.

        Raises:
            SpecError: they are of different embodiments.
        """
        if self.embodiment_id != other.embodiment_id:
            raise SpecError(f"cannot merge statistics of {self.embodiment_id} with those of {other.embodiment_id}")
        merged = dict(self.channels)
        for name, theirs in other.channels.items():
            merged[name] = merged[name].merge(theirs) if name in merged else theirs
        return Statistics(self.embodiment_id, merged)

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers; infinities of empty channels become None."""
        names = ("count", "mean", "m2", "low", "high")
        return {
            "embodiment_id": self.embodiment_id,
            "channels": {
                name: {
                    key: [value if np.isfinite(value) else None for value in getattr(stats, key).tolist()]
                    for key in names
                }
                for name, stats in sorted(self.channels.items())
            },
        }

    @staticmethod
    def from_json(table: Mapping[str, Any]) -> Statistics:
        """Invert ``to_json``."""
        blank = {"low": np.inf, "high": -np.inf}
        return Statistics(
            table["embodiment_id"],
            {
                name: ChannelStatistics(
                    **{
                        key: np.array([blank.get(key, np.nan) if v is None else v for v in values], np.float64)
                        for key, values in arrays.items()
                    }
                )
                for name, arrays in table["channels"].items()
            },
        )


def episode_statistics(embodiment: Embodiment, episode: Episode) -> Statistics:
    """Measure one episode: telemetry, entities, relations, and the actions relative to their base."""
    found: dict[str, ChannelStatistics] = {}
    for channel in (*embodiment.telemetry, *embodiment.entities):
        stream = episode.streams.get(channel.name)
        if stream is not None and len(stream.values):
            found[channel.name] = measure(apply_scale(stream.values, channel.dimensions))
    for relation in embodiment.relation:
        stream = episode.streams.get(relation.name)
        if stream is not None and len(stream.values):
            found[relation.name] = measure(apply_scale(stream.values.reshape(-1, 1), (relation,)))
    taught = episode.streams.get(LABEL, episode.streams.get(ACTION))
    if embodiment.action.continuous and taught is not None and len(taught):
        found[ACTION] = measure(_relative_actions(embodiment, episode, taught))
    return Statistics(embodiment.id, found)


def action_base(embodiment: Embodiment, streams: Mapping[str, Stream], time_ns: int) -> np.ndarray:
    """Return what each action dimension is relative to at ``time_ns``, scaled: float64 ``[dimension]``, 0 for absolute."""
    base = np.zeros(len(embodiment.action.continuous))
    for i, dimension in enumerate(embodiment.action.continuous):
        if dimension.relative_to:
            name, column = embodiment.locate(dimension.relative_to)
            stream = streams.get(name)
            stop = 0 if stream is None else stream.until(time_ns)
            if stream is not None and stop:
                base[i] = apply_scale(stream.values[stop - 1, column : column + 1], (dimension,))[0]
    return base


def _relative_actions(embodiment: Embodiment, episode: Episode, taught: Stream) -> np.ndarray:
    scaled = apply_scale(taught.values, embodiment.action.continuous)
    bases = np.stack([action_base(embodiment, episode.streams, int(t)) for t in taught.times_ns])
    chunk = embodiment.control.chunk_length
    return np.concatenate([scaled[i:] - bases[: len(bases) - i] for i in range(min(chunk, len(scaled)))])
