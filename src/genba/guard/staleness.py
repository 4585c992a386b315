"""Limits on how old the senses may be, and on what they may say.

One silent channel is reported and otherwise left to the policy, whose input says what is missing; a machine with every
channel silent is blind, and does what it does on a fault. So does one whose facts call a channel ``needed`` where that
is silent, says what is not a number, or says the same to the last bit for ``STUCK_S``, which a noisy sensor that works
does not; or whose clock jumps back. A sweep of points that repeats the one before, or is empty where the last was
full, is wrong at once: so many things do not vanish within a sweep. Entity channels that come with events have no age limit.
A sensor that its twin shows to be silent is reported, no more: a policy is not shown it and goes on by the other.
Read next: ``chain``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from genba.guard.limits import LimitGuard, fault_action
from genba.spec.action import Action
from genba.spec.embodiment import Embodiment
from genba.spec.observation import Observation
from genba.spec.protocols import Verdict
from genba.spec.twins import TwinWatch
from genba.spec.units import to_ns

#: How long a needed channel's number may stay the same, in seconds, and over how many samples at the least.
STUCK_S, STUCK_SAMPLES = 0.1, 5
#: A sweep with so many returns is full: an empty one after it cannot be true.
FULL_SWEEP = 20


class StalenessGuard:
    """Watches the age of each channel's newest sample.

    A channel is stale when its newest sample is older than ``max_periods`` of its own sample periods or of control
    periods, whichever is longer, unless its facts allow a longer silence. Reasons read ``"<channel>:stale"``,
    ``"<channel>:nan"``, ``"<channel>:stuck"``, ``"<channel>:empty"``, ``"<channel>:back"``, ``"all:stale"`` and
    ``"<channel>.<dimension>:silent"``.

    Args:
        embodiment: the machine.
        limits: the guard that comes last and so knows what was sent; what is held on a fault is that. None where nothing
            comes after this guard.
        max_periods: sample periods that a channel may be silent.
    """

    def __init__(self, embodiment: Embodiment, *, limits: LimitGuard | None = None, max_periods: float = 5.0) -> None:
        self.embodiment = embodiment
        self._limits = limits
        self._twins = TwinWatch(embodiment)
        self._max_age_ns: dict[str, int] = {}
        for channel in (*embodiment.telemetry, *embodiment.camera, *embodiment.points, *embodiment.entities):
            if channel.rate_hz > 0:
                period_s = max(1.0 / channel.rate_hz, embodiment.control.period_s)
                self._max_age_ns[channel.name] = to_ns(max_periods * period_s)
        for points in embodiment.points:
            if points.max_silence_s > 0:
                self._max_age_ns[points.name] = to_ns(points.max_silence_s)
        self._needed_points = [channel.name for channel in embodiment.points if channel.needed]
        self._needed = {
            c.name: max(STUCK_SAMPLES, round(STUCK_S * c.rate_hz)) for c in embodiment.telemetry if c.needed
        }
        self.reset()

    def reset(self) -> None:
        """Forget when each channel spoke; one that has never spoken counts from the first check."""
        self._twins.reset()
        self._newest_ns: dict[str, int] = {}
        self._last: np.ndarray | None = None
        self._num_points: dict[str, int] = {}

    def check(self, action: Action, observation: Observation) -> Verdict:
        """Pass an action, or replace it where the machine is blind."""
        stale = []
        for name, max_age_ns in self._max_age_ns.items():
            stream = observation.streams.get(name)
            if stream is not None and len(stream):
                self._newest_ns[name] = int(stream.times_ns[-1])
            # a sample older than the channel's history is cut out of the observation: remember it
            newest_ns = self._newest_ns.setdefault(name, observation.time_ns)
            if observation.time_ns - newest_ns > max_age_ns:
                stale.append(name)
        reasons = [f"{name}:stale" for name in stale]
        if stale and len(stale) == len(self._max_age_ns):
            reasons.append("all:stale")
        wrong = [f"{name}:{why}" for name, num in self._needed.items() for why in _wrong(observation, name, num)]
        wrong += [f"{name}:{why}" for name in self._needed_points for why in self._wrong_sweep(observation, name)]
        needed = {*self._needed, *self._needed_points}
        self._twins.look(observation)
        reasons += [f"{reference}:silent" for reference in self._twins.silent]
        reasons += wrong + [f"{name}:back" for name in observation.went_back]
        if wrong or "all:stale" in reasons or needed & {*stale, *observation.went_back}:
            continuous = action.continuous
            if continuous is not None:
                last = self._last if self._limits is None else self._limits.last_sent
                continuous = fault_action(self.embodiment, observation, last)
            action = replace(action, continuous=continuous, choices={})
        self._last = action.continuous
        return Verdict(action, tuple(reasons))

    def _wrong_sweep(self, observation: Observation, name: str) -> list[str]:
        """Say what is wrong with the newest sweep: ``nan``, ``stuck`` or ``empty``, or nothing."""
        stream = observation.streams.get(name)
        if stream is None or not len(stream):
            return []
        sweep = stream.sample(-1)
        if not len(sweep):
            return ["empty"] if self._num_points.get(name, 0) >= FULL_SWEEP else []
        self._num_points[name] = len(sweep)
        if not np.isfinite(sweep).all():
            return ["nan"]
        is_repeated = len(stream) > 1 and np.array_equal(sweep, stream.sample(-2))
        return ["stuck"] if is_repeated else []


def _wrong(observation: Observation, name: str, num_stuck: int) -> list[str]:
    """Say what is wrong with the newest samples of a channel: ``nan`` or ``stuck``, or nothing."""
    stream = observation.streams.get(name)
    if stream is None or not len(stream):
        return []
    if not np.isfinite(stream.values[-1]).all():
        return ["nan"]
    newest = stream.values[-num_stuck:]
    return ["stuck"] if len(newest) == num_stuck and bool((newest == newest[0]).all(axis=0).any()) else []
