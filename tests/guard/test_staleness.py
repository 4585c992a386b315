"""A silent channel is reported; a blind machine stops; both counted from the newest sample seen."""

from __future__ import annotations

import numpy as np
import toy

from genba.guard import StalenessGuard, for_embodiment
from genba.spec.action import Action
from genba.spec.observation import Observation
from genba.spec.streams import dense
from genba.spec.units import MILLISECOND_NS

#: the control period is 50 ms, longer than the cart's 10 ms and as long as the goal's: 5 periods are 250 ms
MAX_AGE_NS = 250 * MILLISECOND_NS
PUSH = Action(np.array([4.0], np.float32))


def observed(time_ns: int, **newest_ns: int) -> Observation:
    widths = {"cart": 2, "goal": 1}
    return Observation(
        "toy/cart@1", time_ns, {name: dense([t], np.zeros((1, widths[name]))) for name, t in newest_ns.items()}
    )


def test_age_is_permitted_up_to_the_limit_and_reported_just_beyond():
    guard = StalenessGuard(toy.CART_FACTS)
    assert guard.check(PUSH, observed(MAX_AGE_NS, cart=MAX_AGE_NS, goal=0)).reasons == ()
    verdict = guard.check(PUSH, observed(MAX_AGE_NS + 1, cart=MAX_AGE_NS, goal=0))
    assert verdict.reasons == ("goal:stale",)
    assert verdict.action is PUSH


def test_a_channel_cut_out_of_the_observation_ages_from_its_last_sample():
    guard = StalenessGuard(toy.CART_FACTS)
    guard.check(PUSH, observed(0, cart=0, goal=0))
    assert guard.check(PUSH, observed(MAX_AGE_NS, cart=MAX_AGE_NS)).reasons == ()
    assert guard.check(PUSH, observed(MAX_AGE_NS + 1, cart=MAX_AGE_NS)).reasons == ("goal:stale",)


def test_a_channel_that_never_spoke_ages_from_the_first_check_and_reset_begins_anew():
    guard = StalenessGuard(toy.CART_FACTS)
    guard.check(PUSH, observed(0, cart=0))
    assert guard.check(PUSH, observed(MAX_AGE_NS + 1, cart=MAX_AGE_NS)).reasons == ("goal:stale",)
    guard.reset()
    assert guard.check(PUSH, observed(MAX_AGE_NS + 1, cart=MAX_AGE_NS)).reasons == ()


def test_a_blind_machine_gets_its_action_on_a_fault():
    guard = for_embodiment(toy.CART_FACTS)
    guard.check(PUSH, observed(0, cart=0, goal=0))
    verdict = guard.check(PUSH, observed(MAX_AGE_NS + 1))
    assert verdict.reasons == ("cart:stale", "goal:stale", "all:stale")
    assert verdict.action.continuous[0] == 0.0  # safe, and 4 N away: within the 5 N per step of the rate limit
