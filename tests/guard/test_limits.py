"""Permission just inside each limit, refusal just outside, for every number that a policy could send."""

from __future__ import annotations

import numpy as np
import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st

from genba.config import read_toml_text
from genba.errors import SpecError
from genba.guard import LimitGuard, fault_action
from genba.spec.action import Action
from genba.spec.embodiment import Embodiment
from genba.spec.observation import Observation
from genba.spec.streams import dense

#: box +-10 N, 100 N/s at a period of 0.05 s: at most 5 N per control step
LOW, HIGH, CHANGE = -10.0, 10.0, 5.0
ANY = st.floats(width=32, allow_nan=True, allow_infinity=True)

HOLDING = toy.CART_TOML.replace(
    "rate_limit = 100.0", 'rate_limit = 100.0\non_fault = "hold"\nsafe = -1.0\nrelative_to = "cart.position"'
)


def observed(position_m: float = 0.0) -> Observation:
    return Observation("toy/cart@1", 0, {"cart": dense([0], [[position_m, 0.0]])})


def push(force_n: float) -> Action:
    return Action(np.array([force_n], np.float32))


@given(st.lists(ANY, min_size=1, max_size=6))
def test_whatever_is_proposed_what_is_sent_is_finite_and_inside_box_and_rate(forces_n):
    guard, last = LimitGuard(toy.CART_FACTS), None
    for force_n in forces_n:
        sent = guard.check(push(force_n), observed()).action.continuous
        assert sent.dtype == np.float32
        assert LOW <= sent[0] <= HIGH
        if last is not None:
            assert abs(float(sent[0]) - last) <= CHANGE
        last = float(sent[0])


@given(st.floats(LOW, HIGH, width=32), st.floats(-CHANGE, CHANGE))
def test_an_action_inside_box_and_rate_passes_unchanged_and_without_a_reason(first_n, change_n):
    guard = LimitGuard(toy.CART_FACTS)
    second_n = np.float32(np.clip(first_n + change_n, LOW, HIGH))
    verdicts = [guard.check(push(force_n), observed()) for force_n in (first_n, second_n)]
    if abs(float(second_n) - first_n) <= CHANGE:
        assert [verdict.reasons for verdict in verdicts] == [(), ()]
        assert verdicts[1].action.continuous[0] == second_n


@pytest.mark.parametrize(("limit", "beyond"), [(LOW, -np.inf), (HIGH, np.inf)])
def test_the_box_permits_its_edge_and_refuses_the_next_number(limit, beyond):
    guard = LimitGuard(toy.CART_FACTS)
    assert guard.check(push(limit), observed()).reasons == ()
    guard.reset()
    sent = guard.check(push(np.nextafter(np.float32(limit), np.float32(beyond))), observed()).action.continuous
    assert sent[0] == limit
    guard.reset()
    # reported from one millionth of the range of 20 N on: 2e-5 N
    verdict = guard.check(push(limit + np.sign(beyond) * 4e-5), observed())
    assert verdict.reasons == ("force:limit",)
    assert verdict.action.continuous[0] == limit


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_rate_permits_its_edge_and_refuses_the_next_number(sign):
    guard = LimitGuard(toy.CART_FACTS)
    guard.check(push(0.0), observed())
    assert guard.check(push(sign * CHANGE), observed()).reasons == ()
    guard.reset()
    guard.check(push(0.0), observed())
    sent = guard.check(push(np.nextafter(np.float32(sign * CHANGE), np.float32(sign * np.inf))), observed()).action
    assert sent.continuous[0] == sign * CHANGE
    guard.reset()
    guard.check(push(0.0), observed())
    verdict = guard.check(push(sign * (CHANGE + 4e-5)), observed())
    assert verdict.reasons == ("force:rate",)
    assert verdict.action.continuous[0] == sign * CHANGE


def test_a_limit_that_float32_cannot_hold_is_rounded_to_the_inside():
    facts = read_toml_text(toy.CART_TOML.replace("high = 10.0", "high = 0.1"), Embodiment, where="test")
    verdict = LimitGuard(facts).check(push(0.1), observed())
    assert float(np.float32(0.1)) > 0.1  # the premise: the nearest float32 lies outside
    assert float(verdict.action.continuous[0]) <= 0.1
    assert verdict.reasons == ()  # rounding is no intervention


def test_a_value_that_is_no_number_becomes_the_value_on_a_fault():
    safe = LimitGuard(toy.CART_FACTS)
    safe.check(push(3.0), observed())
    verdict = safe.check(push(np.nan), observed())
    assert verdict.reasons == ("force:finite",)
    assert verdict.action.continuous[0] == 0.0  # on_fault = safe, safe = 0, 3 N away and so within the rate
    holding = LimitGuard(read_toml_text(HOLDING, Embodiment, where="test"))
    holding.check(push(3.0), observed(2.0))
    assert holding.check(push(np.inf), observed(2.0)).action.continuous[0] == 3.0


def test_a_fault_before_any_action_holds_what_is_sensed_and_is_safe_where_nothing_is():
    holding = read_toml_text(HOLDING, Embodiment, where="test")
    assert fault_action(holding, observed(2.0), None) == [2.0]
    assert fault_action(holding, Observation("toy/cart@1", 0, {}), None) == [-1.0]
    assert fault_action(holding, observed(2.0), np.array([7.0])) == [7.0]
    assert fault_action(holding, observed(40.0), None) == [HIGH]


def test_the_first_action_is_rate_limited_from_the_sensed_value_that_it_is_relative_to():
    holding = LimitGuard(read_toml_text(HOLDING, Embodiment, where="test"))
    verdict = holding.check(push(10.0), observed(2.0))
    assert (verdict.action.continuous[0], verdict.reasons) == (7.0, ("force:rate",))
    free = LimitGuard(toy.CART_FACTS)
    assert free.check(push(10.0), observed(2.0)).reasons == ()


def test_an_action_of_another_size_is_an_error_that_names_both():
    with pytest.raises(SpecError, match=r"got shape \[2\], expected \[1\]"):
        LimitGuard(toy.CART_FACTS).check(Action(np.zeros(2, np.float32)), observed())
