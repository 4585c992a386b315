"""Everything that says no, between every policy and every actuator. It knows limits, never models.

Read in this order: ``limits``, ``choices``, ``staleness``, ``chain``. None of this is a rated safety function: it sits
above one.
"""

from genba.guard.chain import GuardChain, for_embodiment
from genba.guard.choices import ChoiceGuard
from genba.guard.limits import LimitGuard, fault_action
from genba.guard.staleness import StalenessGuard

__all__ = ["ChoiceGuard", "GuardChain", "LimitGuard", "StalenessGuard", "fault_action", "for_embodiment"]
