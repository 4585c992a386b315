"""What the incremental search promises: true costs, never worse, the same seed the same plan, no order lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genba.machines.factory.decoder import run_plan
from genba.machines.factory.generator import generate
from genba.machines.factory.local_search import LocalSearch
from genba.machines.factory.problem import situation_at
from genba.machines.factory.search import best_of_atc, by_start

SMALL, NOMINAL = generate(3, "5x50")
EVENT = situation_at(SMALL, NOMINAL, SMALL.event_time_s)


def start() -> tuple[np.ndarray, np.ndarray]:
    start_s, line, _ = best_of_atc(EVENT)
    return by_start(start_s), line


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    num_moves=st.integers(1, 400),
    hot=st.sampled_from([0.01, 1.0, 100.0]),
    shuffled=st.booleans(),
)
def test_what_the_search_says_a_plan_costs_is_what_it_costs_when_run(
    seed: int, num_moves: int, hot: float, shuffled: bool
) -> None:
    """The incremental cost against a whole run of the decoder, from good plans and from any."""
    sequence, line = start()
    if shuffled:
        sequence = np.random.default_rng(seed).permutation(sequence)
    before = run_plan(EVENT, sequence, line)[1]
    search = LocalSearch(EVENT, sequence, line, seed=seed)
    for _ in range(3):
        search.run(num_moves, hot=hot, cold=hot)
        assert search.cost_s == run_plan(EVENT, search.sequence, search.line)[1]
        assert search.cost_s <= before
        before = search.cost_s
        assert sorted(search.sequence) == list(range(len(sequence)))
        assert (EVENT.processing_time_s[np.arange(len(sequence)), search.line] > 0).all()


def test_the_present_plan_that_worse_moves_lead_to_still_has_its_true_cost() -> None:
    search = LocalSearch(EVENT, *start(), seed=1)
    search.run(3000, hot=50.0, cold=50.0)  # so hot that nearly every move is taken
    sequence, line = search._state[0], search._state[2]
    present, best = search._costs
    assert present == run_plan(EVENT, sequence, line)[1]
    assert present > best


def test_the_same_seed_finds_the_same_plan_however_the_moves_are_portioned() -> None:
    whole, portions = (LocalSearch(EVENT, *start(), seed=7) for _ in range(2))
    whole.run(2000, hot=0.3, cold=0.3)
    for _ in range(4):
        portions.run(500, hot=0.3, cold=0.3)
    assert whole.cost_s == portions.cost_s
    assert np.array_equal(whole.sequence, portions.sequence)
    assert np.array_equal(whole.line, portions.line)


@pytest.mark.parametrize("free", [0, 1])
def test_with_nothing_to_choose_the_plan_stays(free: int) -> None:
    late_s = int(np.sort(NOMINAL.start_s)[-1]) - 1800 if free else 10**9
    late = situation_at(SMALL, NOMINAL, late_s)
    assert len(late.orders) == free
    search = LocalSearch(late, np.arange(free), NOMINAL.line[late.orders])
    search.run_for(0.01)
    assert list(search.sequence) == list(range(free))


def test_without_a_budget_nothing_is_tried() -> None:
    search = LocalSearch(EVENT, *start())
    search.run_for(0.0)
    assert search.num_moves == 0
