"""The chain for an embodiment holds each guard, and the last word is the limits'."""

from __future__ import annotations

import numpy as np
import toy

from genba.config import read_toml_text
from genba.guard import for_embodiment
from genba.spec.action import Action
from genba.spec.embodiment import Embodiment
from genba.spec.observation import Observation, observe
from genba.spec.protocols import Guard, Verdict
from genba.spec.streams import dense


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


def test_a_machine_s_own_guard_comes_first_and_its_answer_is_bounded_as_any_other():
    class Own:
        def reset(self) -> None:
            """Nothing is kept."""

        def check(self, action: Action, observation: Observation) -> Verdict:
            return Verdict(Action(np.array([-99.0], np.float32)), ("own:no",))

    guard = for_embodiment(toy.CART_FACTS, Own())
    env = toy.Cart()
    observation = observe(env.embodiment, env.reset(0).samples, 0)
    verdict = guard.check(Action(np.array([1.0], np.float32)), observation)
    assert verdict.reasons == ("own:no", "force:limit")
    # -99 N, boxed to the cart's -10 N
    assert verdict.action.continuous[0] == -10.0


def test_choices_pass_through_a_chain_of_a_machine_without_continuous_actions():
    env = toy.Lines()
    step = env.reset(0)
    observation = observe(env.embodiment, step.samples, 0)
    chunk = toy.LINES.policies["expert"](env).act(observation)
    verdict = for_embodiment(toy.LINES_FACTS).check(chunk.at(0), observation)
    assert verdict.reasons == ()
    assert set(verdict.action.choices) == {"next_order", "line_for_order"}


def test_a_blind_machine_holds_what_was_sent_and_not_what_was_proposed():
    facts = toy.CART_TOML.replace("rate_limit = 100.0", 'rate_limit = 100.0\non_fault = "hold"\nsafe = 0.0')
    guard = for_embodiment(read_toml_text(facts, Embodiment, where="test"))
    seen = Observation("toy/cart@1", 0, {"cart": dense([0], [[0.0, 0.0]]), "goal": dense([0], [[0.0]])})
    sent = [guard.check(Action(np.array([force_n], np.float32)), seen).action for force_n in (0.0, 9.0)]
    # 100 N/s at a period of 0.05 s: 5 N of the 9 that were proposed
    assert [action.continuous[0] for action in sent] == [0.0, 5.0]
    blind = guard.check(Action(np.array([9.0], np.float32)), Observation("toy/cart@1", 10**9, {}))
    assert "all:stale" in blind.reasons
    assert blind.action.continuous[0] == 5.0
