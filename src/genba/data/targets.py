"""What a policy should have answered at an anchor, what the machine was told, and which rows were chosen.

An action chunk is looked up by time, not by counting: action ``k`` is the one nearest to the anchor plus ``k`` control
periods, and where none lies within half a period the mask is False. So an expert that was asked only now and then
teaches exactly what it said. Read next: ``windows``, which puts this beside the observations.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genba.data.gather import Arrays
from genba.spec.embodiment import Choice
from genba.spec.normalise import Normalizer
from genba.spec.streams import Stream
from genba.spec.units import to_ns


class ActionTargets:
    """Chunks of one continuous stream (taught or executed), normalised relative to each anchor's base."""

    def __init__(
        self,
        name: str,
        length: int,
        period_s: float,
        streams: Sequence[Stream | None],
        anchors: Sequence[np.ndarray],
        normalizer: Normalizer,
    ) -> None:
        self.name, self.normalizer = name, normalizer
        num_dimensions = len(normalizer.embodiment.action.continuous)
        kept = [s.values for s in streams if s is not None]
        self.values = np.concatenate([*kept, np.zeros((1, num_dimensions), np.float32)])
        self.none = len(self.values) - 1
        self.index = np.full((sum(map(len, anchors)), length), self.none, np.int64)
        ahead_ns = np.array([to_ns(k * period_s) for k in range(length)], np.int64)
        row, offset = 0, 0
        for stream, times_ns in zip(streams, anchors, strict=True):
            if stream is not None and len(stream):
                wanted_ns = times_ns[:, None] + ahead_ns
                near = _nearest(stream.times_ns, wanted_ns)
                close = np.abs(stream.times_ns[near] - wanted_ns) <= to_ns(period_s / 2)
                self.index[row : row + len(times_ns)] = np.where(close, offset + near, self.none)
                offset += len(stream)
            row += len(times_ns)

    def fill(self, out: Arrays, chosen: np.ndarray, base: np.ndarray) -> None:
        """Write the chunks of the ``chosen`` anchors relative to ``base`` ``[chosen, dimension]``."""
        index = self.index[chosen]
        mask = index != self.none
        values = np.zeros((*index.shape, self.values.shape[1]), np.float32)
        if mask.any():
            packed = self.normalizer.pack_actions(self.values[index], base)
            # A base that is not known (its sensor was silent or broken) leaves nothing to learn from.
            mask &= np.isfinite(packed).all(-1)
            values[mask] = packed[mask]
        out[f"{self.name}.values"], out[f"{self.name}.mask"] = values, mask


class ChoiceTargets:
    """The decisions of one choice: scores to rank by, or the row chosen for each row."""

    def __init__(
        self, choice: Choice, room: int, streams: Sequence[Stream | None], anchors: Sequence[np.ndarray]
    ) -> None:
        self.choice, self.room, self.streams = choice, room, streams
        self.episode = np.repeat(np.arange(len(anchors)), [len(times_ns) for times_ns in anchors])
        samples = []
        for stream, times_ns in zip(streams, anchors, strict=True):
            if stream is None or not len(stream):
                samples.append(np.full(len(times_ns), -1, np.int64))
                continue
            index = np.searchsorted(stream.times_ns, times_ns, side="right") - 1
            samples.append(np.where((index >= 0) & (stream.times_ns[np.maximum(index, 0)] == times_ns), index, -1))
        self.sample = np.concatenate(samples)

    def fill(self, out: Arrays, chosen: np.ndarray) -> None:
        """Write the decisions of the ``chosen`` anchors."""
        rank = self.choice.kind == "rank"
        shape = (len(chosen), self.room)
        values = np.zeros(shape, np.float32) if rank else np.full(shape, -1, np.int64)
        mask = np.zeros(shape, np.bool_)
        for b, anchor in enumerate(chosen.tolist()):
            stream, sample = self.streams[self.episode[anchor]], int(self.sample[anchor])
            if stream is None or sample < 0:
                continue
            scores = stream.sample(sample)
            if rank:
                known = np.isfinite(scores)
                values[b, : len(scores)] = np.where(known, scores, 0)
            else:
                # -inf is not allowed, NaN is beyond the rows: neither can have been chosen.
                allowed = scores > -np.inf
                known = allowed.any(1)
                values[b, : len(scores)] = np.where(known, np.where(allowed, scores, -np.inf).argmax(1), -1)
            mask[b, : len(scores)] = known
        name = f"choice.{self.choice.name}"
        out[f"{name}.values"], out[f"{name}.mask"] = values, mask


def _nearest(times_ns: np.ndarray, wanted_ns: np.ndarray) -> np.ndarray:
    after = np.minimum(np.searchsorted(times_ns, wanted_ns), len(times_ns) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(wanted_ns - times_ns[before] <= times_ns[after] - wanted_ns, before, after)
