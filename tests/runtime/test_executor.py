"""Every control step gets an action, whatever is late, broken or missing, and every departure is counted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import toy
from slow_engine import Clock

from genba.runtime.executor import Executor
from genba.spec.action import Action, ActionChunk
from genba.spec.observation import Observation
from genba.spec.protocols import Verdict
from genba.spec.streams import dense
from genba.spec.units import MILLISECOND_NS

#: the cart: period 50 ms, deadline 50 ms, chunks of 8, executed for 4; 5 N per control step
PERIOD_NS = 50 * MILLISECOND_NS


class Scripted:
    """Takes ``costs_s[i]`` for decision i and answers it with a chunk of small forces: 0.1 i + 0.001 k at step k."""

    name = "scripted"

    def __init__(self, clock: Clock, costs_s: list[float], length: int = 8) -> None:
        self.clock, self.costs_s, self.length = clock, costs_s, length
        self.asked_ns: list[int] = []

    def reset(self, seed: int) -> None:
        self.asked_ns = []

    def act(self, observation: Observation) -> ActionChunk:
        i = len(self.asked_ns)
        self.asked_ns.append(observation.time_ns)
        self.clock.now += self.costs_s[i] if i < len(self.costs_s) else 0.0
        forces_n = 0.1 * (i + 1) + 0.001 * np.arange(self.length)
        return ActionChunk(observation.time_ns, 0.05, forces_n.astype(np.float32)[:, None])


def observed(step: int) -> Observation:
    time_ns = step * PERIOD_NS
    return Observation(
        "toy/cart@1", time_ns, {"cart": dense([time_ns], [[0.0, 0.0]]), "goal": dense([time_ns], [[0.0]])}
    )


def drive(executor: Executor, num_steps: int) -> list[float]:
    return [float(executor.step(observed(step)).continuous[0]) for step in range(num_steps)]


def test_a_chunk_is_executed_for_its_execute_length_and_looked_up_by_time():
    clock = Clock(100.0)
    policy = Scripted(clock, [])
    executor = Executor(policy, toy.CART_FACTS, clock=clock)
    sent = drive(executor, 9)
    np.testing.assert_allclose(sent, [0.1, 0.101, 0.102, 0.103, 0.2, 0.201, 0.202, 0.203, 0.3], atol=1e-6)
    assert policy.asked_ns == [0, 4 * PERIOD_NS, 8 * PERIOD_NS]
    assert (executor.log.num_steps, executor.log.num_decisions, executor.log.num_misses) == (9, 3, 0)


def test_a_skipped_control_step_does_not_shift_the_ones_after_it():
    clock = Clock(100.0)
    executor = Executor(Scripted(clock, []), toy.CART_FACTS, clock=clock)
    executor.step(observed(0))
    assert executor.step(observed(2)).continuous[0] == pytest.approx(0.102)


def test_a_late_answer_is_bridged_by_the_rest_of_the_last_chunk_and_then_takes_over_at_its_own_time():
    clock = Clock(100.0)
    # the second decision, at step 4, takes 120 ms: it is there from 200 + 120 = 320 ms on, which is step 7
    executor = Executor(Scripted(clock, [0.0, 0.12]), toy.CART_FACTS, clock=clock)
    sent = drive(executor, 9)
    np.testing.assert_allclose(sent[4:7], [0.104, 0.105, 0.106], atol=1e-6)  # the first chunk's tail
    np.testing.assert_allclose(sent[7], 0.203, atol=1e-6)  # the late chunk's entry for step 7, its fourth
    np.testing.assert_allclose(sent[8], 0.3, atol=1e-6)  # 4 steps after step 4 a new decision is due
    log = executor.log
    assert (log.num_misses, log.num_tails, log.num_fallbacks) == (1, 3, 0)
    assert log.latencies_s[1] == pytest.approx(0.12)


def test_without_a_tail_the_machine_does_what_it_does_on_a_fault():
    clock = Clock(100.0)
    # the first decision takes 120 ms: nothing at steps 0, 1 and 2; its chunk serves step 3 and a new one is due at 4
    executor = Executor(Scripted(clock, [0.12]), toy.CART_FACTS, clock=clock)
    sent = drive(executor, 5)
    np.testing.assert_allclose(sent, [0.0, 0.0, 0.0, 0.103, 0.2], atol=1e-6)
    assert (executor.log.num_misses, executor.log.num_tails, executor.log.num_fallbacks) == (1, 0, 3)


def test_a_chunk_that_comes_after_its_own_end_is_thrown_away_and_asked_for_again():
    clock = Clock(100.0)
    policy = Scripted(clock, [0.55])  # there at step 11; its 8 steps end with step 7
    sent = drive(Executor(policy, toy.CART_FACTS, clock=clock), 12)
    np.testing.assert_allclose(sent, [0.0] * 11 + [0.2], atol=1e-6)
    assert policy.asked_ns == [0, 11 * PERIOD_NS]


def test_an_answer_exactly_at_the_deadline_is_in_time():
    clock = Clock(100.0)
    executor = Executor(Scripted(clock, [0.0]), toy.CART_FACTS, clock=clock)
    clock.now = 0.05
    executor.step(observed(0), arrived=0.0)
    assert executor.log.num_misses == 0
    executor.reset(0)
    executor.step(observed(0), arrived=-0.001)
    assert executor.log.num_misses == 1


def test_without_enforcement_a_late_answer_is_used_but_counted():
    clock = Clock(100.0)
    executor = Executor(Scripted(clock, [0.12]), toy.CART_FACTS, clock=clock, enforce_deadline=False)
    assert drive(executor, 1)[0] == pytest.approx(0.1)
    assert (executor.log.num_misses, executor.log.num_fallbacks) == (1, 0)


def test_the_guard_has_the_last_word_on_proposals_and_fallbacks_alike():
    executor = Executor(toy.Constant(99.0, 4), toy.CART_FACTS, enforce_deadline=False)
    assert drive(executor, 2) == [10.0, 10.0]
    assert executor.log.num_guarded == 2
    assert executor.log.interventions == {"force:limit": 2}
    clock = Clock(100.0)
    # at step 4 the chunk of 4 is over and the next is late: safe is 0, but 10 -> 0 takes two steps of 5 N
    policy = Scripted(clock, [0.0, 1.0], length=4)
    policy.act = lambda observation, act=policy.act: (  # type: ignore[method-assign]
        lambda chunk: ActionChunk(chunk.time_ns, 0.05, np.full_like(chunk.continuous, 10.0))
    )(act(observation))
    sent = drive(Executor(policy, toy.CART_FACTS, clock=clock), 7)
    assert sent == [10.0, 10.0, 10.0, 10.0, 5.0, 0.0, 0.0]


def test_nan_from_a_network_never_reaches_the_machine():
    executor = Executor(toy.Constant(np.nan, 8), toy.CART_FACTS, enforce_deadline=False)
    assert drive(executor, 3) == [0.0, 0.0, 0.0]
    assert executor.log.interventions == {"force:finite": 3}


def lines_observation():
    env = toy.Lines()
    step = env.reset(0)
    return Observation("toy/lines@1", step.time_ns, step.samples)


def test_a_late_or_refused_choice_tells_the_machine_to_go_on():
    observation = lines_observation()
    clock, dispatcher = Clock(100.0), toy.Dispatcher("slow", 1.0)
    act = dispatcher.act

    def slow(observation):
        clock.now += 1.5  # the deadline is 1 s
        return act(observation)

    dispatcher.act = slow
    late = Executor(dispatcher, toy.LINES_FACTS, clock=clock)
    assert late.step(observation) is None
    assert (late.log.num_misses, late.log.num_fallbacks) == (1, 1)

    broken = toy.Dispatcher("broken", np.nan)
    refused = Executor(broken, toy.LINES_FACTS, enforce_deadline=False)
    assert refused.step(observation) is None
    assert refused.log.interventions == {"next_order:nan": 1}


def test_late_choices_are_never_applied_to_later_rows():
    clock = Clock(100.0)
    dispatcher = toy.Dispatcher("slow", 1.0)
    act, calls = dispatcher.act, []

    def slow_once(observation):
        clock.now += 0.0 if calls else 1.5
        calls.append(observation.time_ns)
        return act(observation)

    dispatcher.act = slow_once
    executor = Executor(dispatcher, toy.LINES_FACTS, clock=clock)
    observation = lines_observation()
    later = Observation(observation.embodiment_id, 10_000 * MILLISECOND_NS, observation.streams)
    assert executor.step(observation) is None
    assert executor.step(later) is not None
    assert calls == [0, later.time_ns]


def test_policy_and_guard_are_shown_what_the_router_says_each_its_own():
    class Doubled:
        """Shows the policy twice the goal and the guard three times."""

        num_resets = 0

        def reset(self):
            self.num_resets += 1

        def see(self, observation):
            goal_m = observation.streams["goal"].values[-1, 0]
            return tuple(
                dataclasses.replace(observation, streams={**observation.streams, "goal": dense([0], [[k * goal_m]])})
                for k in (2, 3)
            )

    class Said:
        def reset(self):
            """Nothing is kept."""

        def check(self, action, observation):
            return Verdict(Action(observation.streams["goal"].values[-1]))

    class Witness(toy.Constant):
        def act(self, observation):
            seen.append(observation.streams["goal"].values[-1, 0])
            return super().act(observation)

    seen, router = [], Doubled()
    executor = Executor(Witness(1.0), toy.CART_FACTS, guard=Said(), router=router, enforce_deadline=False)
    action = executor.step(Observation("toy/cart@1", 0, {"goal": dense([0], [[1.5]])}))
    assert (seen, action.continuous.tolist(), router.num_resets) == ([3.0], [4.5], 1)
