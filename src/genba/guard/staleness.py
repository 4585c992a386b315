"""Limits on how old the senses may be.

One silent channel is reported and otherwise left to the policy, whose input says what is missing; a machine with every
channel silent is blind, and does what it does on a fault. Entity channels that come with events have no age limit.
Read next: ``chain``.
"""

from __future__ import annotations

from dataclasses import replace

from genba.guard.limits import fault_action
from genba.spec.action import Action
from genba.spec.embodiment import Embodiment
from genba.spec.observation import Observation
from genba.spec.protocols import Verdict
from genba.spec.units import to_ns


class StalenessGuard:
    """Watches the age of each channel's newest sample.

    A channel is stale when its newest sample is older than ``max_periods`` of its own sample periods or of control
    periods, whichever is longer. Reasons read ``"<channel>:stale"`` and ``"all:stale"``.
    """

    def __init__(self, embodiment: Embodiment, *, max_periods: float = 5.0) -> None:
        self.embodiment = embodiment
        self._max_age_ns: dict[str, int] = {}
        for channel in (*embodiment.telemetry, *embodiment.camera, *embodiment.points, *embodiment.entities):
            if channel.rate_hz > 0:
                period_s = max(1.0 / channel.rate_hz, embodiment.control.period_s)
                self._max_age_ns[channel.name] = to_ns(max_periods * period_s)
        self.reset()

    def reset(self) -> None:
        """Forget when each channel spoke; one that has never spoken counts from the first check."""
        self._newest_ns: dict[str, int] = {}
        self._last: Action | None = None

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
            continuous = action.continuous
            if continuous is not None:
                last = self._last.continuous if self._last is not None else None
                continuous = fault_action(self.embodiment, observation, last)
            action = replace(action, continuous=continuous, choices={})
        self._last = action
        return Verdict(action, tuple(reasons))
