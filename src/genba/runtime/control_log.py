"""What happened in a control loop: latencies, misses, fallbacks, interventions. Numbers only, no decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class ControlLog:
    """Counts of one or more episodes; a count is per control step unless it says otherwise."""

    #: control steps at which the machine wanted an action
    num_steps: int = 0
    #: inferences
    num_decisions: int = 0
    #: inferences that came after their deadline
    num_misses: int = 0
    #: control steps served by the rest of an earlier chunk because the newer one was late
    num_tails: int = 0
    #: control steps in which nothing was there and the machine did what it does on a fault
    num_fallbacks: int = 0
    #: control steps in which the guard changed something
    num_guarded: int = 0
    #: the guard's reasons, each counted
    interventions: Counter[str] = field(default_factory=Counter)
    #: why a model might not act any more, with the control steps that it did not
    refusals: Counter[str] = field(default_factory=Counter)
    #: one entry per inference, in seconds
    latencies_s: list[float] = field(default_factory=list)
    #: flow steps taken -> inferences
    flow_steps: Counter[int] = field(default_factory=Counter)
    #: one entry per control step where surprise is watched: the newest score, NaN before there is one
    surprises: list[float] = field(default_factory=list)
    #: control steps in which a surprised machine held back
    num_eased: int = 0

    def merge(self, other: ControlLog) -> None:
        """Add another log's counts to this one."""
        self.num_steps += other.num_steps
        self.num_decisions += other.num_decisions
        self.num_misses += other.num_misses
        self.num_tails += other.num_tails
        self.num_fallbacks += other.num_fallbacks
        self.num_guarded += other.num_guarded
        self.interventions.update(other.interventions)
        self.refusals.update(other.refusals)
        self.latencies_s += other.latencies_s
        self.flow_steps.update(other.flow_steps)
        self.surprises += other.surprises
        self.num_eased += other.num_eased

    def counts(self) -> dict[str, Any]:
        """Return everything but the latencies and the surprises as plain numbers."""
        return {
            "num_steps": self.num_steps,
            "num_decisions": self.num_decisions,
            "num_misses": self.num_misses,
            "num_tails": self.num_tails,
            "num_fallbacks": self.num_fallbacks,
            "num_guarded": self.num_guarded,
            "num_eased": self.num_eased,
            "interventions": dict(sorted(self.interventions.items())),
            "refusals": dict(sorted(self.refusals.items())),
            "flow_steps": {str(steps): count for steps, count in sorted(self.flow_steps.items())},
        }


def merged(logs: Iterable[ControlLog]) -> ControlLog:
    """Return one log of several."""
    total = ControlLog()
    for log in logs:
        total.merge(log)
    return total
