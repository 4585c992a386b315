"""What the decoder promises: feasible whatever it is told, plans run as given, hand-derived numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genba.errors import SpecError
from genba.machines.factory.decoder import (
    ATC,
    EDD,
    FIFO,
    TEMPERINGS,
    WSPT,
    as_decision,
    decode,
    run_plan,
    run_rule,
    run_scores,
    sample_decode,
    variants,
)
from genba.machines.factory.generator import generate
from genba.machines.factory.problem import Problem, Schedule, Situation, merge, situation_at
from genba.machines.factory.search import best_of_atc
from genba.machines.factory.verifier import check

SMALL, NOMINAL = generate(3, "5x50")
EVENT = situation_at(SMALL, NOMINAL, SMALL.event_time_s)


def tiny() -> Problem:
    """One line, two families, three orders, one component of which two units come at 1000 s."""
    return Problem(
        seed=0,
        processing_time_s=np.array([[100], [200], [300]]),
        family=np.array([0, 1, 0]),
        weight=np.array([1, 2, 4]),
        due_s=np.array([100, 500, 400]),
        setup_s=np.array([[0, 50], [70, 0]]),
        line_family=np.array([0]),
        requirement=np.array([[1], [2], [0]]),
        stock=np.array([1]),
        delivery_time_s=np.array([[1000]]),
        delivery_quantity=np.array([[2]]),
        late_time_s=np.array([[1000]]),
        event_time_s=0,
        horizon_s=2000,
    )


def facts_of(problem: Problem, nominal: Schedule) -> dict[str, list]:
    names = [
        "family",
        "processing_time_s",
        "line_family",
        "setup_s",
        "stock",
        "requirement",
        "late_time_s",
        "delivery_quantity",
        "due_s",
        "weight",
    ]
    facts = {name: getattr(problem, name).tolist() for name in names}
    return facts | {
        "event_time_s": problem.event_time_s,
        "nominal_start_s": nominal.start_s.tolist(),
        "nominal_line": nominal.line.tolist(),
    }


def assert_feasible(situation: Situation, start_s: np.ndarray, line: np.ndarray) -> None:
    whole = merge(situation, NOMINAL, start_s, line)
    check(facts_of(SMALL, NOMINAL), whole.start_s.tolist(), whole.line.tolist())


def test_a_tiny_plan_costs_what_the_hand_says() -> None:
    situation = situation_at(tiny(), None, 0)
    start_s, cost = run_plan(situation, np.array([0, 2, 1]), np.array([0, 0, 0]))
    # order 0: 0-100, on time. Order 2, same family: 100-400, on time. Order 1: set-up 50 s from 400 s, but its two units
    # are the delivery's at 1000 s (order 0 took the one in stock): 1000-1200, 700 s late, weight 2.
    assert start_s.tolist() == [0, 1000, 100]
    assert cost == 2 * 700


def test_an_order_that_claims_first_takes_the_stock() -> None:
    situation = situation_at(tiny(), None, 0)
    start_s, cost = run_plan(situation, np.array([1, 0, 2]), np.array([0, 0, 0]))
    # order 1 needs 2 of 1 + 2 units: 1000-1200 (700 late, weight 2). Order 0 then claims the third unit, also of the
    # delivery: set-up 70 s, 1270-1370 (1270 late, weight 1). Order 2: 1370-1670 (1270 late, weight 4).
    assert start_s.tolist() == [1270, 1000, 1370]
    assert cost == 2 * 700 + 1270 + 4 * 1270


def test_wspt_takes_the_best_ratio_whose_material_is_there() -> None:
    start_s, _, _ = run_rule(situation_at(tiny(), None, 0), WSPT)
    # w/p: order 0 1/100, order 1 2/200 (not ready), order 2 4/300: order 2 at 0, order 0 at 300, order 1 at 1000.
    assert start_s.tolist() == [300, 1000, 0]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1e6), st.booleans())
def test_random_scores_always_give_a_feasible_schedule(seed: int, scale: float, has_infinities: bool) -> None:
    rng = np.random.default_rng(seed)
    sequence = (rng.normal(size=len(EVENT.orders)) * scale).astype(np.float32)
    line = (rng.normal(size=EVENT.processing_time_s.shape) * scale).astype(np.float32)
    if has_infinities:
        line[EVENT.processing_time_s == 0] = -np.inf
    assert_feasible(EVENT, *decode(EVENT, sequence, line)[:2])


@pytest.mark.parametrize("rule", [FIFO, EDD, WSPT, ATC])
def test_every_rule_gives_a_feasible_schedule(rule: int) -> None:
    assert_feasible(EVENT, *run_rule(EVENT, rule)[:2])


def test_a_plan_written_as_scores_decodes_to_itself_or_sooner() -> None:
    start_s, line, cost = run_rule(EVENT, ATC)
    again_s, again_line, again_cost = decode(EVENT, *as_decision(start_s, line, SMALL.num_lines))
    assert (again_line == line).all()
    assert (again_s <= start_s).all()
    assert again_cost <= cost


def test_only_the_order_of_sequence_scores_counts() -> None:
    rng = np.random.default_rng(0)
    sequence, line = rng.normal(size=len(EVENT.orders)), rng.normal(size=EVENT.processing_time_s.shape)
    assert (run_scores(EVENT, sequence, line)[0] == run_scores(EVENT, 1000 * sequence + 7, line)[0]).all()


def test_sampled_decode_is_never_worse_than_the_scores_as_they_are() -> None:
    rng = np.random.default_rng(1)
    sequence, line = rng.normal(size=len(EVENT.orders)), rng.normal(size=EVENT.processing_time_s.shape)
    assert sample_decode(EVENT, sequence, line, num_samples=8, seed=0)[2] <= decode(EVENT, sequence, line)[2]


def test_a_plan_is_run_as_given_however_often_scores_would_be_decoded() -> None:
    decision = as_decision(*run_rule(EVENT, EDD)[:2], SMALL.num_lines)
    once, often = (sample_decode(EVENT, *decision, num_samples=count, seed=0) for count in (1, 64))
    assert (once[0] == often[0]).all()
    assert (once[1] == often[1]).all()
    # which is not because nothing cheaper could have been found
    assert once[2] > best_of_atc(EVENT)[2]


def test_variants_repeat_with_their_seed_and_differ_with_another() -> None:
    rng = np.random.default_rng(2)
    scores = rng.normal(size=len(EVENT.orders)), rng.normal(size=EVENT.processing_time_s.shape)
    first, again, other = (
        [cost for *_, cost in itertools.islice(variants(EVENT, *scores, seed=seed), 20)] for seed in (0, 0, 1)
    )
    assert first == again
    # what is tried first draws nothing
    assert first[: len(TEMPERINGS)] == other[: len(TEMPERINGS)]
    assert first != other


def test_the_reported_cost_is_the_schedules() -> None:
    start_s, line, cost = run_rule(EVENT, EDD)
    whole = merge(EVENT, NOMINAL, start_s, line)
    assert cost + EVENT.committed_tardiness_s == whole.weighted_tardiness_s(SMALL)


def test_scores_over_other_rows_are_refused() -> None:
    n, num_lines = EVENT.processing_time_s.shape
    with pytest.raises(SpecError, match="free orders of the newest observation"):
        decode(EVENT, np.zeros(n - 1), np.zeros((n - 1, num_lines)))


def test_a_plan_on_a_line_that_cannot_make_it_is_refused() -> None:
    start_s, line, _ = run_rule(EVENT, ATC)
    row = int(np.flatnonzero((EVENT.processing_time_s == 0).any(1))[0])
    line[row] = int(np.flatnonzero(EVENT.processing_time_s[row] == 0)[0])
    with pytest.raises(SpecError, match=f"order row {row} on line {line[row]}"):
        decode(EVENT, *as_decision(start_s, line, SMALL.num_lines))
