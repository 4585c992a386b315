"""Sensors that feel the same thing: one that has died is found by its twin, and is no longer shown.

``TwinWatch`` goes by the facts (``Embodiment.twins``) and by what was sensed alone. ``left_out`` names what one of the two says;
training uses it too. Read next: ``genba.runtime.policy``, which looks through it, and ``genba.train.draws``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from genba.spec.embodiment import Embodiment, Twins
from genba.spec.observation import Observation
from genba.spec.streams import Stream


def left_out(embodiment: Embodiment, twins: Twins, side: int) -> dict[str, list[int]]:
    """Return what one of two sensors says: channel -> columns of its dimensions."""
    columns: dict[str, list[int]] = {}
    for reference in twins.left_out[side]:
        channel, column = embodiment.locate(reference)
        columns.setdefault(channel, []).append(column)
    return columns


class TwinWatch:
    """Finds silent sensors and takes what they say out of observations.

    A sensor that speaks again is shown again.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        self._facts: list[tuple[Twins, str, list[int], int]] = []
        self._columns: dict[str, list[dict[str, list[int]]]] = {}
        for twins in embodiment.twins:
            (channel, first), (_, second) = (embodiment.locate(reference) for reference in twins.compared)
            rate_hz = next(c.rate_hz for c in embodiment.telemetry if c.name == channel)
            self._facts.append((twins, channel, [first, second], max(1, round(twins.for_s * rate_hz))))
            self._columns[twins.name] = [left_out(embodiment, twins, side) for side in (0, 1)]
        self.reset()

    def reset(self) -> None:
        """Take every sensor for alive."""
        #: twins -> which of the two is silent, 0 or 1
        self._silent: dict[str, int] = {}

    @property
    def silent(self) -> tuple[str, ...]:
        """The silent sensors, each by the dimension that gave it away: ``"channel.dimension"``."""
        return tuple(
            twins.compared[self._silent[twins.name]] for twins, *_ in self._facts if twins.name in self._silent
        )

    def look(self, observation: Observation) -> None:
        """Compare what came last."""
        for twins, channel, columns, num_samples in self._facts:
            stream = observation.streams.get(channel)
            if stream is None or len(stream) < num_samples:
                continue
            said = np.abs(stream.values[-num_samples:, columns].astype(np.float64).mean(axis=0))
            side = self._silent.get(twins.name)
            if side is not None:
                if said[side] >= twins.speaks_above:
                    del self._silent[twins.name]
                continue
            for side in (0, 1):
                if said[side] <= twins.silent_below and said[1 - side] >= twins.speaks_above:
                    self._silent[twins.name] = side

    def without_silent(self, observation: Observation) -> Observation:
        """Return the observation with NaN, which means missing, where a silent sensor speaks."""
        if not self._silent:
            return observation
        streams = dict(observation.streams)
        for name, side in self._silent.items():
            for channel, columns in self._columns[name][side].items():
                if channel in streams:
                    streams[channel] = _blanked(streams[channel], columns)
        return replace(observation, streams=streams)


def hide(
    embodiment: Embodiment, arrays: Mapping[str, np.ndarray], hidden: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Leave sensors out of packed windows: what they say becomes 0 with a False mask, as ``Normalizer.pack`` has what is missing.

    Args:
        embodiment: whose windows.
        arrays: of ``packed_shapes`` with a leading batch axis; what is there under ``next.`` stays.
        hidden: twins -> int ``[batch]``: 0 or 1 for the sensor that is left out, -1 for none; twins that are not named keep both.
    """
    out = dict(arrays)
    copied: set[str] = set()
    for twins in (twins for twins in embodiment.twins if twins.name in hidden):
        for side in (0, 1):
            rows = np.flatnonzero(hidden[twins.name] == side)
            for channel, columns in left_out(embodiment, twins, side).items():
                for name in (f"{channel}.values", f"{channel}.mask"):
                    if name not in copied:
                        out[name] = out[name].copy()
                        copied.add(name)
                    for column in columns:
                        out[name][rows, :, column] = 0
    return out


def _blanked(stream: Stream, columns: Collection[int]) -> Stream:
    values = stream.values.copy()
    values[:, list(columns)] = np.nan
    return replace(stream, values=values)
