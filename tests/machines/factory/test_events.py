"""What events promise: hand-derived consequences, nothing committed is hurt, every episode passes the verifier."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from genba.errors import ConfigError, VerificationError
from genba.machines.factory.decoder import run_plan
from genba.machines.factory.events import KINDS, Event, apply, draw_events
from genba.machines.factory.generator import generate_undisturbed
from genba.machines.factory.problem import FREEZE_S, Problem, Schedule, is_committed, situation_at
from genba.machines.factory.simulator import SCENARIOS, FactoryEnv
from genba.machines.factory.tasks import EVENTS
from genba.machines.factory.verifier import verify
from genba.spec.conformance import check_env
from genba.spec.observation import observe

#: Two lines, one family without set-ups, four orders of 10,000 s: two on each line, one after the other.
PLAN = Schedule(np.array([0, 10_000, 0, 10_000]), np.array([0, 0, 1, 1]))


def plant(**changes: object) -> Problem:
    """Each order takes one unit of the one component; two are here, one comes at 9,000 s and one at 9,500 s."""
    problem = Problem(
        seed=0,
        processing_time_s=np.full((4, 2), 10_000),
        family=np.zeros(4, np.int64),
        weight=np.ones(4, np.int64),
        due_s=np.full(4, 20_000),
        setup_s=np.zeros((1, 1), np.int64),
        line_family=np.zeros(2, np.int64),
        requirement=np.ones((4, 1), np.int64),
        stock=np.array([2]),
        delivery_time_s=np.array([[9_000, 9_500]]),
        delivery_quantity=np.array([[1, 1]]),
        late_time_s=np.array([[9_000, 9_500]]),
        event_time_s=1_000,
        horizon_s=20_000,
    )
    return replace(problem, **changes)  # type: ignore[arg-type]


def starts_after(event: Event, problem: Problem | None = None) -> list[int]:
    """Start times of the free orders when the plan is pushed back after ``event``."""
    known, schedule = apply(event, problem or plant(), PLAN)
    situation = situation_at(known, schedule, event.time_s)
    free = situation.orders
    order = np.argsort(schedule.start_s[free], kind="stable")
    return run_plan(situation, order, schedule.line[free])[0].tolist()


def test_a_delay_moves_the_next_two_deliveries() -> None:
    # 9,000 + 30,000 and 9,500 + 30,000: one unit for each of the two orders that are free
    assert starts_after(Event(time_s=1_000, kind="delay", target=0, length_s=30_000)) == [39_000, 39_500]


def test_what_a_cut_delivery_lacks_comes_later() -> None:
    # half of one unit is missing, rounded up: all of it comes 30,000 s after 9,000 s; the other delivery is as planned
    assert starts_after(Event(time_s=1_000, kind="cut", target=0, length_s=30_000, share=0.5)) == [10_000, 39_000]
    problem = plant(delivery_quantity=np.array([[4, 1]]), late_quantity=np.array([[4, 1]]))
    known, _ = apply(Event(time_s=1_000, kind="cut", target=0, length_s=5, share=0.6), problem, PLAN)
    assert known.late_quantity.tolist() == [[1, 1, 3]]  # 4 x 0.6 = 2.4, rounded up to 3
    assert known.late_time_s.tolist() == [[9_000, 9_500, 9_005]]


def test_a_delivery_that_is_about_to_come_is_not_changed() -> None:
    known, _ = apply(Event(time_s=9_000 - FREEZE_S, kind="cancel", target=0, length_s=1_000), plant(), PLAN)
    assert known.late_quantity.tolist() == [[1, 0, 1]]
    assert known.late_time_s.tolist() == [[9_000, 9_500, 10_500]]


def test_an_order_on_a_line_that_breaks_down_pauses_and_the_next_is_free_again() -> None:
    event = Event(time_s=9_500, kind="breakdown", target=0, length_s=7_000)
    known, schedule = apply(event, plant(), PLAN)
    # order 0 ran 9,500 of its 10,000 s, stands for 7,000 s and ends at 17,000 s; order 2 is on the other line
    assert schedule.end_s(known).tolist()[::2] == [17_000, 10_000]
    # order 1 would start in 500 s: committed, if its line ran; order 3 is
    assert is_committed(known, schedule, 9_500).tolist() == [True, False, True, True]
    situation = situation_at(known, schedule, 9_500)
    assert situation.line_free_s.tolist() == [17_000, 20_000]
    assert situation.claimed.tolist() == [3]


def test_held_units_are_those_that_nobody_has_claimed_and_they_come_back() -> None:
    problem = plant(stock=np.array([4]), delivery_quantity=np.array([[0, 0]]), late_quantity=np.array([[0, 0]]))
    event = Event(time_s=1_000, kind="hold", target=0, length_s=50_000)
    known, _ = apply(event, problem, PLAN)
    # 4 are here, 2 are in the orders that run: 2 are held until 51,000 s
    assert known.holds == ((0, 1_000, 51_000, 2),)
    assert starts_after(event, problem) == [51_000, 51_000]


def test_a_rush_order_is_planned_last_and_brings_its_own_material() -> None:
    event = Event(time_s=1_000, kind="rush", target=0, length_s=0, seed=3)
    known, schedule = apply(event, plant(), PLAN)
    assert (schedule.start_s[-1], schedule.line[-1]) == (20_000, 0)
    assert known.due_s[-1] == 11_000  # 1,000 + 10,000 + 0
    assert known.late_quantity.sum() == 2 + 1
    assert situation_at(known, schedule, 1_000).orders.tolist() == [1, 3, 4]


@pytest.mark.parametrize("size", ["5x50", "10x200"])
def test_the_same_seed_draws_the_same_events_and_all_kinds_come(size: str) -> None:
    problem, nominal = generate_undisturbed(4, size)
    first, second = (draw_events(problem, nominal, 4, num_moments=6, num_at_once=1) for _ in range(2))
    assert first == second
    assert sorted(event.kind for event in first) == sorted(KINDS)
    assert [event.time_s for event in first] == sorted(event.time_s for event in first)


@pytest.mark.parametrize("scenario", ["one_by_one", "two_at_once"])
@pytest.mark.parametrize("policy", ["right_shift", "fifo", "atc"])
def test_every_episode_with_events_passes_the_verifier(scenario: str, policy: str) -> None:
    for seed in range(4):
        env = FactoryEnv("5x50", scenario=scenario)
        step = env.reset(seed)
        actor, num_decisions = EVENTS.policies[policy](env), 0
        while not step.terminated:
            action = None
            if step.decision_due:
                num_decisions += 1
                action = actor.act(observe(env.embodiment, step.samples, step.time_ns)).at(step.time_ns)
            step = env.step(action)
        moments = SCENARIOS[scenario]
        assert moments is not None and num_decisions <= moments[0]
        outcome = verify(env.trace())
        assert outcome["weighted_tardiness_s"] == env.plan.weighted_tardiness_s(env.problem)
        if policy == "right_shift":
            assert outcome["share_of_doing_nothing"] == 1.0


def test_an_environment_with_events_keeps_the_contract() -> None:
    env = FactoryEnv("5x50", scenario="one_by_one")
    check_env(env, EVENTS.policies["atc"](env), seed=7, num_steps=30)


def _trace(**changes: object) -> dict[str, np.ndarray]:
    """The plant above after a breakdown of line 0 at 9,500 s for 7,000 s; order 1 went to line 1, behind order 3."""
    known, _ = apply(Event(time_s=9_500, kind="breakdown", target=0, length_s=7_000), plant(), PLAN)
    trace: dict[str, object] = {
        "processing_time_s": known.processing_time_s,
        "family": known.family,
        "weight": known.weight,
        "due_s": known.due_s,
        "setup_s": known.setup_s,
        "line_family": known.line_family,
        "requirement": known.requirement,
        "stock": known.stock,
        "delivery_quantity": known.delivery_quantity,
        "late_quantity": known.late_quantity,
        "late_time_s": known.late_time_s,
        "known_from_s": known.known_from_s,
        "outages": known.outages,
        "holds": (),
        "unchanged_holds": (),
        "event_time_s": 9_500,
        "scenario": "two_at_once",
        "nominal_start_s": PLAN.start_s,
        "nominal_line": PLAN.line,
        "history_time_s": [9_500],
        "history_start_s": [PLAN.start_s],
        "history_line": [PLAN.line],
        "unchanged_start_s": [0, 17_000, 0, 10_000],
        "unchanged_line": PLAN.line,
        "start_s": [0, 20_000, 0, 10_000],
        "line": [0, 1, 1, 1],
    }
    return {name: np.asarray(value) for name, value in (trace | changes).items()}


def test_the_verifier_counts_what_the_hand_counts() -> None:
    # due 20,000: order 1 ends at 30,000 instead of 27,000; nobody else is late
    outcome = verify(_trace())
    assert outcome["weighted_tardiness_s"] == 10_000
    assert outcome["share_of_doing_nothing"] == pytest.approx(10_000 / 7_000)
    assert outcome["makespan_s"] == 30_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"line": [0, 0, 1, 1], "start_s": [0, 16_000, 0, 10_000]}, "order 1: starts at 16000 s, overlaps on line 0"),
        ({"start_s": [0, 20_000, 0, 10_100]}, "order 3: frozen at the event, but moved"),
        ({"start_s": [0, 12_000, 0, 10_000]}, "order 1: starts at 12000 s, overlaps on line 1 until 20000"),
        ({"known_from_s": [0, 21_000, 0, 0]}, "order 1: starts at 20000 s, before it came in"),
        ({"holds": [[0, 9_600, 99_000, 1]]}, "component 0: 1 units missing"),
        ({"late_quantity": [[1, 0]]}, "component 0: 1 units missing at 20000 s"),
    ],
)
def test_the_verifier_refuses_what_an_event_forbids(changes: dict[str, object], message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        verify(_trace(**changes))


def test_an_unknown_scenario_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'two_at_once'"):
        FactoryEnv(scenario="two_at_onc")
