"""Surprise on the machine: what the world model foretold one horizon ago, held against what is there now.

At each decision the watch keeps the observation's latents and the encoder's memory. One horizon later it asks the world model what
should have come of the actions that were really executed since, whoever proposed them, and compares. Where the machine has a
``Caution``, a surprised machine holds back. It judges no action: that is the guard's. Read next: ``executor``, which asks it at each
control step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from genba.errors import BundleError, ConfigError, nearest
from genba.runtime.engine import MEMORY, Engine
from genba.spec.action import Action
from genba.spec.caution import Caution
from genba.spec.normalise import Normalizer
from genba.spec.observation import Observation
from genba.spec.units import to_ns


@dataclass(slots=True, eq=False)
class _Anchor:
    """A decision, and what was executed from it on."""

    time_ns: int
    latents: dict[str, np.ndarray]
    memory: dict[str, np.ndarray]
    base: np.ndarray
    executed: list[np.ndarray] = field(default_factory=list)


class SurpriseWatch:
    """Finds how surprising each observation is, and holds the machine back where its facts say so.

    Args:
        engine: with a world.
        caution: when to hold back; None only finds the score.

    Raises:
        BundleError: the engine's bundle has no world.
        ConfigError: the caution names what the embodiment does not have.
    """

    def __init__(self, engine: Engine, caution: Caution | None = None) -> None:
        if not engine.surprise_scale.size:
            raise BundleError(
                f"{engine.embodiment.id}: this bundle has no world model, so nothing can be foretold; export it again "
                f"(only machines whose actions are all continuous have one)"
            )
        self.embodiment = engine.embodiment
        self.caution = caution
        self._engine = engine
        self._normalizer = Normalizer(engine.embodiment, engine.statistics)
        self._scale = np.maximum(engine.surprise_scale, 1e-8)
        control = engine.embodiment.control
        self._horizon_ns = to_ns(control.horizon * control.period_s)
        #: channel -> where its latents stand; empty before the first comparison
        self.places: dict[str, slice] = {}
        if caution is not None:
            self._dimension = _index(
                [d.name for d in self.embodiment.action.continuous], caution.dimension, "dimension"
            )
            channel, _, name = caution.measure.partition(".")
            channels = {c.name: [d.name for d in c.dimensions] for c in self.embodiment.telemetry}
            _index(list(channels), channel, "measure")
            self._measure = (channel, _index(channels[channel], name, "measure"))
            if caution.channel:
                _index([c.name for c in self.embodiment.channels], caution.channel, "channel")
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._anchors: list[_Anchor] = []
        #: the newest score, smoothed where there is a caution; NaN before anything could be compared
        self.score = math.nan
        #: time of a comparison in nanoseconds, and each latent's ratio to its usual error, NaN where it is not valid
        self.history: list[tuple[int, np.ndarray]] = []
        self._until_ns = -1

    def anchor(self, time_ns: int, packed: Mapping[str, np.ndarray], memory: Mapping[str, np.ndarray]) -> None:
        """Keep a decision: the observation as it was packed, and what the encoder made of it."""
        kept = {name: memory[name] for name in MEMORY}
        self._anchors.append(_Anchor(time_ns, self._engine.latents(packed), kept, packed["action.base"].copy()))

    def see(self, observation: Observation) -> float:
        """Compare, where a decision was made one horizon ago, and return the newest score."""
        now_ns = observation.time_ns
        due = [anchor for anchor in self._anchors if anchor.time_ns + self._horizon_ns == now_ns]
        self._anchors = [anchor for anchor in self._anchors if anchor.time_ns + self._horizon_ns > now_ns]
        control = self.embodiment.control
        for anchor in due:
            if len(anchor.executed) == control.horizon:
                self._compare(anchor, observation)
        return self.score

    def did(self, action: Action | None) -> None:
        """Take note of what the machine was told at this control step; None where it was told nothing."""
        if action is None or action.continuous is None:
            self._anchors.clear()
            return
        for anchor in self._anchors:
            anchor.executed.append(np.array(action.continuous, np.float32))

    def ease(self, action: Action, observation: Observation) -> Action:
        """Bound an action while the machine holds back; the same action otherwise."""
        caution = self.caution
        if caution is None or action.continuous is None or observation.time_ns > self._until_ns:
            return action
        channel, index = self._measure
        stream = observation.streams.get(channel)
        if stream is None or not len(stream) or not stream.values[-1, index] > caution.above:
            return action
        if action.continuous[self._dimension] <= caution.at_most:
            return action
        eased = action.continuous.copy()
        eased[self._dimension] = caution.at_most
        return Action(eased, action.choices)

    def ratios_of(self, ratios: np.ndarray, channel: str) -> np.ndarray:
        """Return the part of ``ratios`` ``[..., latent]`` that is of one channel; all of it where the name is empty."""
        return ratios[..., self.places[channel]] if channel else ratios

    def _compare(self, anchor: _Anchor, observation: Observation) -> None:
        now = self._engine.latents(self._normalizer.pack(observation))
        actions = self._normalizer.pack_actions(np.stack(anchor.executed), anchor.base)[None]
        foretold = self._engine.foretell(anchor.latents["latents"], actions, anchor.memory)["predicted"]
        if not self.places:
            self.places = channel_places(now)
        valid = anchor.latents["latents_valid"][0] & now["latents_valid"][0]
        error = np.square(foretold[0] - now["latents"][0]).mean(-1)
        ratios = np.where(valid, error / self._scale, np.nan)
        self.history.append((observation.time_ns, ratios))
        seen = self.ratios_of(ratios, self.caution.channel if self.caution else "")
        # Where the channel is silent there is nothing to compare, and the score stays what it was.
        if not np.isnan(seen).all():
            self._score(float(np.nanmean(seen)), observation.time_ns)

    def _score(self, ratio: float, time_ns: int) -> None:
        caution, control = self.caution, self.embodiment.control
        keep = 0.0
        if caution is not None and caution.smoothing_s > 0 and not math.isnan(self.score):
            keep = math.exp(-control.execute_length * control.period_s / caution.smoothing_s)
        self.score = keep * (self.score if keep else 0.0) + (1 - keep) * ratio
        if caution is not None and self.score > caution.threshold:
            self._until_ns = time_ns + to_ns(caution.hold_s)


def channel_places(latents: Mapping[str, np.ndarray]) -> dict[str, slice]:
    """Return where each foretold channel's latents stand, from what ``Engine.latents`` returned."""
    places, start = {}, 0
    for name, here in latents.items():
        if name.startswith("here."):
            places[name.removeprefix("here.")] = slice(start, start + here.shape[1])
            start += here.shape[1]
    return places


def _index(names: list[str], name: str, what: str) -> int:
    if name not in names:
        raise ConfigError(f"caution: {what}: got {name!r}, expected one of {', '.join(names)}{nearest(name, names)}")
    return names.index(name)
