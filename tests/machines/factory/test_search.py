"""What the searches promise: never worse than their seed, the same seed gives the same plan, honest costs."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from genba.errors import ConfigError
from genba.machines.factory.decoder import ATC, EDD, FIFO, material_ready_s, run_plan, run_rule
from genba.machines.factory.exact import solve
from genba.machines.factory.feasibility import fault
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
    hint = best_of_atc(late)
    first, second = (solve(late, hint, deterministic_limit=1.0, seed=0) for _ in range(2))
    assert first[2] <= hint[2]
    assert np.array_equal(first[0], second[0])
    assert fault(late, *first[:2]) == ""


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
    assert solve(late, run_rule(late, FIFO), deterministic_limit=5.0, seed=0)[2] == least


def test_with_more_orders_than_it_can_handle_cp_sat_gives_its_hint_back() -> None:
    problem, _ = generate(3, "10x200")
    whole = situation_at(problem, None, 0)
    hint = run_rule(whole, ATC)
    assert solve(whole, hint, deterministic_limit=1.0) is hint


def test_cp_sat_without_a_limit_is_refused() -> None:
    with pytest.raises(ConfigError, match="neither deterministic_limit nor limit_s"):
        solve(EVENT, run_rule(EVENT, ATC))


def test_dispatching_is_what_its_rule_says_at_every_start() -> None:
    """EDD by hand: whoever starts on a line was due no later than everybody else who could have started there then.

    This is what an event loop that looks again only where a delivery is used up could get wrong.
    """
    start_s, line, _ = run_rule(EVENT, EDD)
    claimed = EVENT.claimed.copy()
    waiting = set(range(len(line)))
    free_s, set_up = EVENT.line_free_s.copy(), EVENT.line_family.copy()
    # Orders are placed when their line falls free, which is their start less their set-up.
    setup_s = np.zeros(len(line), np.int64)
    for m in range(len(free_s)):
        before = set_up[m]
        for i in sorted(np.flatnonzero(line == m), key=lambda i: start_s[i]):
            setup_s[i] = EVENT.problem.setup_s[before, EVENT.family[i]]
            before = EVENT.family[i]
    for i in sorted(waiting, key=lambda i: (start_s[i] - setup_s[i], line[i])):
        m, now_s = line[i], start_s[i] - setup_s[i]
        for other in waiting:
            if EVENT.processing_time_s[other, m] == 0:
                continue
            begin_s = now_s + EVENT.problem.setup_s[set_up[m], EVENT.family[other]]
            ready_s = material_ready_s(
                other, EVENT.part, EVENT.part_quantity, claimed, EVENT.supply_time_s, EVENT.supply_total
            )
            if ready_s <= begin_s:
                assert EVENT.due_s[i] <= EVENT.due_s[other]
        waiting.remove(i)
        set_up[m] = EVENT.family[i]
        needs = EVENT.part[i] >= 0
        claimed[EVENT.part[i][needs]] += EVENT.part_quantity[i][needs]
