"""The recorder: what a control loop saw, did and was taught, as an episode in the format that training reads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from genba.spec.action import Action
from genba.spec.embodiment import Embodiment
from genba.spec.episode import ACTION, LABEL, Episode, EpisodeMetadata
from genba.spec.streams import Stream, StreamBuffer, ragged


class Recorder:
    """Collects the streams of one episode at a time."""

    def __init__(self, embodiment: Embodiment) -> None:
        self.embodiment = embodiment
        self._rows = {channel.name: channel.max_rows for channel in embodiment.entities}
        self.reset()

    def reset(self) -> None:
        """Begin a new episode."""
        self._samples = StreamBuffer()
        self._continuous: dict[str, list[tuple[int, np.ndarray]]] = {}
        self._choices: dict[str, list[tuple[int, np.ndarray]]] = {}

    def samples(self, samples: Mapping[str, Stream]) -> None:
        """Add new samples of any channels."""
        self._samples.append(samples)

    def action(self, time_ns: int, action: Action | None) -> None:
        """Add what the machine was told; None adds nothing."""
        self._add(ACTION, time_ns, action)

    def label(self, time_ns: int, action: Action | None) -> None:
        """Add what an expert would have done."""
        self._add(LABEL, time_ns, action)

    def episode(self, metadata: EpisodeMetadata) -> Episode:
        """Return everything collected since ``reset``."""
        streams = dict(self._samples.streams())
        for name, entries in self._continuous.items():
            times_ns = np.array([time_ns for time_ns, _ in entries], np.int64)
            streams[name] = Stream(times_ns, np.stack([values for _, values in entries]))
        for name, entries in self._choices.items():
            streams[name] = ragged([time_ns for time_ns, _ in entries], [scores for _, scores in entries])
        return Episode(metadata, streams)

    def _add(self, kind: str, time_ns: int, action: Action | None) -> None:
        if action is None:
            return
        if action.continuous is not None:
            self._continuous.setdefault(kind, []).append((time_ns, np.array(action.continuous, np.float32)))
        for choice in self.embodiment.action.choice:
            if choice.name in action.choices:
                scores = np.array(action.choices[choice.name], np.float32)
                if choice.kind == "assign":
                    room = self._rows[choice.over] - scores.shape[1]
                    scores = np.pad(scores, ((0, 0), (0, room)), constant_values=np.nan)
                self._choices.setdefault(f"{kind}.{choice.name}", []).append((time_ns, scores))
