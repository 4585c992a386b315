"""Defects planted into sound episodes: what ``genba data check`` must find, kind by kind, in several strengths.

``DEFECTS`` maps a name to a function of (episode, strength, random numbers) that returns the broken episode, what must be
found and in which stream. Strengths run from just worth finding to gross.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from genba.spec.embodiment import Embodiment
from genba.spec.episode import ACTION, LABEL, Episode
from genba.spec.streams import Stream
from genba.spec.units import SECOND_NS


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A broken episode, and the finding it must give."""

    episode: Episode
    kind: str
    stream: str
    #: empty where any will do
    dimension: str = ""


def put(episode: Episode, **changed: object) -> Episode:
    """Return the episode with other streams (a stream, or None for none) under a new name."""
    streams = {**episode.streams, **changed}
    metadata = replace(episode.metadata, episode_id=f"{episode.metadata.episode_id}/planted")
    return Episode(metadata, {name: stream for name, stream in streams.items() if stream is not None})  # type: ignore[misc]


def kept(stream: Stream, keep: np.ndarray) -> Stream:
    """Return the samples where ``keep`` is True."""
    if stream.splits is None:
        return Stream(stream.times_ns[keep], stream.values[keep])
    lengths = np.diff(stream.splits)
    splits = np.concatenate([[0], np.cumsum(lengths[keep])]).astype(np.int64)
    return Stream(stream.times_ns[keep], stream.values[np.repeat(keep, lengths)], splits)


def at_times(stream: Stream, times_ns: np.ndarray) -> Stream:
    """Return the stream with other times."""
    return Stream(np.asarray(times_ns, np.int64), stream.values, stream.splits)


def steady(facts: Embodiment, episode: Episode) -> list[str]:
    """Return the streams that sample at a rate."""
    rates = {c.name: getattr(c, "rate_hz", 0.0) for c in facts.channels}
    return [n for n in episode.streams if rates.get(n, 0) > 0 and len(episode.streams[n]) >= 30]


def middle_of(stream: Stream, share: float = 0.4) -> int:
    """Return the time at ``share`` of a stream."""
    first, last = int(stream.times_ns[0]), int(stream.times_ns[-1])
    return first + int(share * (last - first))


def gap(episode: Episode, name: str, strength_s: float) -> Planted:
    """Cut ``strength_s`` out of a stream."""
    stream = episode.streams[name]
    start_ns = middle_of(stream)
    keep = (stream.times_ns < start_ns) | (stream.times_ns > start_ns + strength_s * SECOND_NS)
    return Planted(episode=put(episode, **{name: kept(stream, keep)}), kind="gap", stream=name)


def jump_ahead(episode: Episode, name: str, strength_s: float) -> Planted:
    """Set a stream's clock ahead from the middle on."""
    stream = episode.streams[name]
    later = (stream.times_ns > middle_of(stream)) * int(strength_s * SECOND_NS)
    return Planted(
        episode=put(episode, **{name: at_times(stream, stream.times_ns + later)}), kind="clock jump", stream=name
    )


def jump_back(episode: Episode, name: str, strength_s: float) -> Planted:
    """Set a stream's clock back from the middle on; whoever stored it sorted the samples."""
    stream = episode.streams[name]
    times_ns = stream.times_ns - (stream.times_ns > middle_of(stream)) * int(strength_s * SECOND_NS)
    order = np.argsort(times_ns, kind="stable")
    if stream.splits is None:
        broken = Stream(times_ns[order], stream.values[order])
    else:
        samples = [stream.sample(int(i)) for i in order]
        splits = np.concatenate([[0], np.cumsum([len(s) for s in samples])]).astype(np.int64)
        broken = Stream(times_ns[order], np.concatenate(samples), splits)
    return Planted(episode=put(episode, **{name: broken}), kind="clock jump", stream=name)


def pause(episode: Episode, strength_s: float) -> Planted:
    """Set every clock ahead at one moment."""
    start_ns = (episode.start_ns + episode.end_ns) // 2
    streams = {
        n: at_times(s, s.times_ns + (s.times_ns > start_ns) * int(strength_s * SECOND_NS))
        for n, s in episode.streams.items()
    }
    return Planted(episode=put(episode, **streams), kind="clock jump", stream="")


def drift(episode: Episode, name: str, strength: float) -> Planted:
    """Let a stream's clock run slow by a share."""
    stream = episode.streams[name]
    start_ns = episode.start_ns
    times_ns = start_ns + np.rint((stream.times_ns - start_ns) * (1 + strength)).astype(np.int64)
    return Planted(episode=put(episode, **{name: at_times(stream, times_ns)}), kind="clock drift", stream=name)


def offset(episode: Episode, name: str, strength_s: float) -> Planted:
    """Shift a stream's clock."""
    stream = episode.streams[name]
    moved = at_times(stream, stream.times_ns + int(strength_s * SECOND_NS))
    return Planted(episode=put(episode, **{name: moved}), kind="clock offset", stream=name)


def hidden_offset(episode: Episode, name: str, strength_s: float) -> Planted:
    """Shift a stream's clock and cut every stream to the same moments, so that only its content tells."""
    shift_ns = int(strength_s * SECOND_NS)
    start_ns, end_ns = episode.start_ns + shift_ns, episode.end_ns
    moved = put(episode, **{name: at_times(episode.streams[name], episode.streams[name].times_ns + shift_ns)})
    cut = {n: kept(s, (s.times_ns >= start_ns) & (s.times_ns <= end_ns)) for n, s in moved.streams.items()}
    return Planted(episode=Episode(moved.metadata, cut), kind="clock offset", stream=name)


def lose(episode: Episode, name: str, strength: float, rng: np.random.Generator) -> Planted:
    """Lose a share of a stream's samples, here and there."""
    stream = episode.streams[name]
    keep = rng.random(len(stream)) > strength
    return Planted(episode=put(episode, **{name: kept(stream, keep)}), kind="frame count", stream=name)


def decimate(episode: Episode, name: str, strength: int) -> Planted:
    """Keep every ``strength``-th sample."""
    stream = episode.streams[name]
    keep = np.arange(len(stream)) % strength == 0
    return Planted(episode=put(episode, **{name: kept(stream, keep)}), kind="frame count", stream=name)


def cut_end(episode: Episode, name: str, strength: float) -> Planted:
    """Let a stream end early by a share of the episode."""
    stream = episode.streams[name]
    return Planted(
        episode=put(episode, **{name: kept(stream, stream.times_ns < middle_of(stream, 1 - strength))}),
        kind="frame count",
        stream=name,
    )


def cut_begin(episode: Episode, name: str, strength: float) -> Planted:
    """Let a stream begin late by a share of the episode."""
    stream = episode.streams[name]
    return Planted(
        episode=put(episode, **{name: kept(stream, stream.times_ns > middle_of(stream, strength))}),
        kind="frame count",
        stream=name,
    )


def freeze(episode: Episode, name: str, strength_s: float) -> Planted:
    """Send a stream's sample again and again for ``strength_s``."""
    stream = episode.streams[name]
    start_ns = middle_of(stream)
    first = stream.until(start_ns)
    last = stream.until(start_ns + int(strength_s * SECOND_NS))
    source = np.arange(len(stream))
    source[first:last] = first
    if stream.splits is None:
        broken = Stream(stream.times_ns, stream.values[source])
    else:
        samples = [stream.sample(int(i)) for i in source]
        splits = np.concatenate([[0], np.cumsum([len(s) for s in samples])]).astype(np.int64)
        broken = Stream(stream.times_ns, np.concatenate(samples), splits)
    return Planted(episode=put(episode, **{name: broken}), kind="frozen", stream=name)


def change(
    episode: Episode, name: str, dimension: int, facts: Embodiment, kind: str, how: Callable[[np.ndarray], np.ndarray]
) -> Planted:
    """Change one dimension's values."""
    stream = episode.streams[name]
    values = stream.values.copy()
    values[:, dimension] = how(values[:, dimension].copy())
    named = facts.action.continuous if name in (ACTION, LABEL) else facts.channel(name).dimensions  # type: ignore[union-attr]
    return Planted(
        episode=put(episode, **{name: Stream(stream.times_ns, values, stream.splits)}),
        kind=kind,
        stream=name,
        dimension=named[dimension].name,
    )


def stick(episode: Episode, name: str, dimension: int, facts: Embodiment, strength_s: float) -> Planted:
    """Let one dimension keep its value for ``strength_s``."""
    times_ns = episode.streams[name].times_ns
    start_ns = middle_of(episode.streams[name])
    inside = (times_ns >= start_ns) & (times_ns < start_ns + strength_s * SECOND_NS)

    def how(column: np.ndarray) -> np.ndarray:
        column[inside] = column[np.flatnonzero(inside)[0]]
        return column

    return change(episode, name, dimension, facts, "frozen", how)


def clip(episode: Episode, name: str, dimension: int, facts: Embodiment, strength: float) -> Planted:
    """Clip a share of one dimension's values at the top."""

    def how(column: np.ndarray) -> np.ndarray:
        return np.minimum(column, np.quantile(column, 1 - strength))

    return change(episode, name, dimension, facts, "saturation", how)


def flood(episode: Episode, name: str, dimension: int, facts: Embodiment, strength: float) -> Planted:
    """Lose a run of one dimension's values, ``strength`` of the stream long."""

    def how(column: np.ndarray) -> np.ndarray:
        first = int(0.3 * len(column))
        column[first : first + int(strength * len(column))] = np.nan
        return column

    return change(episode, name, dimension, facts, "not a number", how)


def rescale(
    episode: Episode, name: str, dimension: int, facts: Embodiment, factor: float, less: float = 0.0
) -> Planted:
    """Tell one dimension in another unit."""
    return change(episode, name, dimension, facts, "unit", lambda column: (column - less) * factor)


def copy(episode: Episode, tag: str, *, kind: str, streams: Mapping[str, Stream] | None = None) -> Planted:
    """Store the episode, or what became of it, under another name."""
    metadata = replace(episode.metadata, episode_id=f"{episode.metadata.episode_id}/{tag}")
    return Planted(episode=Episode(metadata, streams or episode.streams), kind=kind, stream="")


def shifted(episode: Episode, strength_s: float) -> dict[str, Stream]:
    """Return the streams with every clock shifted."""
    return {n: at_times(s, s.times_ns + int(strength_s * SECOND_NS)) for n, s in episode.streams.items()}


def cropped(episode: Episode, first: float, last: float) -> dict[str, Stream]:
    """Return the streams between two shares of the episode."""
    span = episode.end_ns - episode.start_ns
    start_ns, end_ns = (episode.start_ns + int(share * span) for share in (first, last))
    return {n: kept(s, (s.times_ns >= start_ns) & (s.times_ns <= end_ns)) for n, s in episode.streams.items()}


def noisy(
    facts: Embodiment, streams: Mapping[str, Stream], strength: float, rng: np.random.Generator
) -> dict[str, Stream]:
    """Return the streams with noise on telemetry, as a share of each dimension's spread."""
    out = dict(streams)
    for channel in facts.telemetry:
        stream = out[channel.name]
        spread = np.nanstd(stream.values, 0) * np.array([not d.categories for d in channel.dimensions])
        noise = rng.normal(size=stream.values.shape) * spread * strength
        out[channel.name] = Stream(stream.times_ns, (stream.values + noise).astype(np.float32))
    return out
