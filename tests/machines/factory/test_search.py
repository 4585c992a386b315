"""What the searches promise: never worse than their seed, the same seed gives the same plan, honest costs."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from genba.errors import SimulatorError
from genba.machines.factory.decoder import ATC, run_plan, run_rule
from genba.machines.factory.exact import solve
from genba.machines.factory.generator import generate
from genba.machines.factory.problem import situation_at
from genba.machines.factory.search import anneal, best_of_atc, by_start

SMALL, NOMINAL = generate(3, "5x50")
EVENT = situation_at(SMALL, NOMINAL, SMALL.event_time_s)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("num_moves", [1, 100, 5000])
def test_annealing_is_never_worse_than_its_start_and_its_cost_is_true(seed: int, num_moves: int) -> None:
    start_s, line, _ = run_rule(EVENT, ATC)
    before = run_plan(EVENT, by_start(start_s), line)[1]
    sequence, line, cost = anneal(EVENT, by_start(start_s), line, num_moves=num_moves, seed=seed)
    assert cost <= before
    assert sorted(sequence) == list(range(len(EVENT.orders)))
    assert run_plan(EVENT, sequence, line)[1] == cost


def test_the_same_seed_anneals_to_the_same_plan() -> None:
    start_s, line, _ = run_rule(EVENT, ATC)
    first = anneal(EVENT, by_start(start_s), line, num_moves=3000, seed=5)
    second = anneal(EVENT, by_start(start_s), line, num_moves=3000, seed=5)
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


def test_best_of_twenty_is_at_least_as_good_as_one() -> None:
    assert best_of_atc(EVENT)[2] <= run_rule(EVENT, ATC)[2]


def test_cp_sat_is_never_worse_than_its_hint_and_repeats() -> None:
    late = situation_at(SMALL, NOMINAL, int(NOMINAL.start_s[np.argsort(NOMINAL.start_s)[-9]]) - 1800)
    first, second = (solve(late, limit=1.0, seed=0) for _ in range(2))
    start_s, line, _ = best_of_atc(late)
    hint = anneal(late, by_start(start_s), line, num_moves=100_000, seed=0)[2]
    assert first[2] <= hint
    assert np.array_equal(first[0], second[0])


def test_cp_sat_finds_what_no_order_can_beat() -> None:
    """Against every permutation and line of the last four free orders, by brute force."""
    late = situation_at(SMALL, NOMINAL, int(np.sort(NOMINAL.start_s)[-4]) - 1800)
    n = len(late.orders)
    assert n == 4
    lines = [np.flatnonzero(row) for row in late.processing_time_s]
    least = min(
        run_plan(late, np.array(sequence), np.array(chosen))[1]
        for chosen in product(*lines)
        for sequence in permutations(range(n))
    )
    assert solve(late, limit=5.0, seed=0)[2] == least


def test_cp_sat_refuses_more_orders_than_it_can_handle() -> None:
    problem, _ = generate(3, "10x200")
    with pytest.raises(SimulatorError, match="at most 50"):
        solve(situation_at(problem, None, 0), limit=1.0, seed=0)
