"""Guards one after the other: each sees what the one before let pass."""

from __future__ import annotations

from collections.abc import Sequence

from genba.guard.choices import ChoiceGuard
from genba.guard.limits import LimitGuard
from genba.guard.staleness import StalenessGuard
from genba.spec.action import Action
from genba.spec.embodiment import Embodiment
from genba.spec.observation import Observation
from genba.spec.protocols import Guard, Verdict


class GuardChain:
    """Several guards as one."""

    def __init__(self, guards: Sequence[Guard]) -> None:
        self.guards = tuple(guards)

    def reset(self) -> None:
        """Reset each guard."""
        for guard in self.guards:
            guard.reset()

    def check(self, action: Action, observation: Observation) -> Verdict:
        """Pass an action along the chain; reasons add up in order."""
        reasons: tuple[str, ...] = ()
        for guard in self.guards:
            verdict = guard.check(action, observation)
            action, reasons = verdict.action, reasons + verdict.reasons
        return Verdict(action, reasons)


def for_embodiment(embodiment: Embodiment, own: Guard | None = None) -> Guard:
    """Return the guard that an embodiment's facts ask for, after the machine's ``own`` where it has one.

    Limits come last, so that no other guard's answer escapes them. The machine's own comes first: what it says by its senses
    does not count where those are stale.
    """
    limits = LimitGuard(embodiment)
    first = [] if own is None else [own]
    return GuardChain([*first, StalenessGuard(embodiment, limits=limits), ChoiceGuard(embodiment), limits])
