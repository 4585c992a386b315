"""The chain for an embodiment holds each guard, and the last word is the limits'."""

from __future__ import annotations

import numpy as np
import toy

from genba.guard import for_embodiment
from genba.spec.action import Action
from genba.spec.observation import observe
from genba.spec.protocols import Guard


def test_reasons_add_up_along_the_chain_and_an_expert_needs_few():
    guard = for_embodiment(toy.CART_FACTS)
    assert isinstance(guard, Guard)
    env = toy.Cart()
    step = env.reset(0)
    observation = observe(env.embodiment, step.samples, 0)
    assert guard.check(Action(np.array([99.0], np.float32)), observation).reasons == ("force:limit",)
    # from +10 N to -99 N: boxed to -10, then 5 N per step: +5
    verdict = guard.check(Action(np.array([-99.0], np.float32)), observation)
    assert verdict.reasons == ("force:limit", "force:rate")
    assert verdict.action.continuous[0] == 5.0


def test_choices_pass_through_a_chain_of_a_machine_without_continuous_actions():
    env = toy.Lines()
    step = env.reset(0)
    observation = observe(env.embodiment, step.samples, 0)
    chunk = toy.LINES.policies["expert"](env).act(observation)
    verdict = for_embodiment(toy.LINES_FACTS).check(chunk.at(0), observation)
    assert verdict.reasons == ()
    assert set(verdict.action.choices) == {"next_order", "line_for_order"}
