"""What the scheduler promises: a plan always in force, never a dearer one, in time by its own clock, no fault let out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from genba.errors import VerificationError
from genba.machines.factory.anytime import AnytimeScheduler
from genba.machines.factory.decoder import ATC, as_decision, decode, run_plan, run_rule
from genba.machines.factory.feasibility import fault
from genba.machines.factory.generator import generate
from genba.machines.factory.problem import Schedule, Situation, situation_at
from genba.machines.factory.search import by_start

SMALL, NOMINAL = generate(3, "5x50")
EVENT = situation_at(SMALL, NOMINAL, SMALL.event_time_s)
PUSHED_BACK = run_plan(EVENT, by_start(NOMINAL.start_s[EVENT.orders]), NOMINAL.line[EVENT.orders])[1]


def ticking(tick_s: float) -> Callable[[], float]:
    """A clock that goes on by ``tick_s`` each time it is read: the same on every computer."""
    now_s = [0.0]

    def read() -> float:
        now_s[0] += tick_s
        return now_s[0]

    return read


def cost_of(schedule: Schedule) -> int:
    return schedule.weighted_tardiness_s(SMALL) - EVENT.committed_tardiness_s


def test_without_any_time_the_standing_plan_is_pushed_back() -> None:
    scheduler = AnytimeScheduler(NOMINAL, clock=ticking(0.001))
    assert cost_of(scheduler.decide(EVENT, 0.0)) == PUSHED_BACK
    assert {stage.cost_s for stage in scheduler.stages} == {PUSHED_BACK}


def test_each_stage_is_at_least_as_good_as_the_one_before_and_all_are_feasible() -> None:
    scheduler = AnytimeScheduler(NOMINAL, clock=ticking(0.0001))
    after = scheduler.decide(EVENT, 0.05)
    costs = [stage.cost_s for stage in scheduler.stages]
    assert [stage.name for stage in scheduler.stages] == ["right shift", "rules", "search"]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < costs[0]
    assert cost_of(after) == costs[-1]
    assert fault(EVENT, after.start_s[EVENT.orders], after.line[EVENT.orders]) == ""


def test_by_its_own_clock_it_ends_before_the_deadline() -> None:
    clock = ticking(0.001)
    began_s = clock()
    AnytimeScheduler(NOMINAL, clock=clock).decide(EVENT, 0.2)
    # 0.001 of this is the reading itself
    assert clock() - began_s <= 0.2 + 0.001


def test_a_proposal_is_taken_where_it_is_better() -> None:
    better = AnytimeScheduler(NOMINAL, clock=ticking(0.0001)).decide(EVENT, 0.5)

    def propose(situation: Situation) -> tuple[np.ndarray, np.ndarray]:
        free = situation.orders
        return as_decision(better.start_s[free], better.line[free], SMALL.num_lines)

    scheduler = AnytimeScheduler(NOMINAL, clock=ticking(0.0001))
    scheduler.decide(EVENT, 0.01, propose)
    stages = {stage.name: stage for stage in scheduler.stages}
    assert stages["rules"].cost_s > cost_of(better)
    assert stages["proposal"].cost_s == cost_of(better)


def test_a_search_begins_at_the_proposal_even_where_a_rule_costs_less_and_never_ends_dearer_than_the_rule() -> None:
    """What is due last first, each order on its slowest line: what is searched from it is still never put in force dearer."""

    def propose(situation: Situation) -> tuple[np.ndarray, np.ndarray]:
        return as_decision(-situation.due_s, situation.processing_time_s.argmax(1), SMALL.num_lines)

    scheduler = AnytimeScheduler(NOMINAL, clock=ticking(0.0001))
    after = scheduler.decide(EVENT, 0.02, propose)
    names = [stage.name for stage in scheduler.stages]
    assert names == ["right shift", "rules", "proposal", "search"]
    assert cost_of(after) <= scheduler.stages[1].cost_s
    assert scheduler._proposed is not None
    assert scheduler._proposed[2] > scheduler.stages[1].cost_s


def test_soft_scores_are_decoded_varied_as_well_and_the_cheapest_is_searched_from() -> None:
    scores = np.zeros(len(EVENT.orders)), np.zeros(EVENT.processing_time_s.shape)
    scheduler = AnytimeScheduler(NOMINAL, clock=ticking(0.0001))
    scheduler.decide(EVENT, 0.02, lambda _: scores)
    names = [stage.name for stage in scheduler.stages]
    assert names == ["right shift", "rules", "proposal", "varied", "search"]
    assert scheduler._proposed is not None
    assert scheduler._proposed[2] < decode(EVENT, *scores)[2]


@pytest.mark.parametrize("rows", [0, 3])
def test_a_proposal_for_another_situation_is_passed_over_and_named(rows: int) -> None:
    scheduler = AnytimeScheduler(NOMINAL, clock=ticking(0.0001))
    after = scheduler.decide(EVENT, 0.02, lambda _: (np.zeros(rows), np.zeros((rows, 5))))
    stages = {stage.name: stage for stage in scheduler.stages}
    assert "expected" in stages["proposal"].refused
    assert cost_of(after) <= PUSHED_BACK


def test_a_proposal_that_comes_too_late_is_not_looked_at() -> None:
    clock = ticking(0.0001)

    def slow(situation: Situation) -> tuple[np.ndarray, np.ndarray]:
        while clock() < 0.05:
            pass
        return np.zeros(len(situation.orders)), np.zeros(situation.processing_time_s.shape)

    scheduler = AnytimeScheduler(NOMINAL, clock=clock)
    scheduler.decide(EVENT, 0.02, slow)
    assert scheduler.stages[-1].refused == "came too late"
    # and the next time it is not asked
    scheduler.decide(EVENT, 0.02, slow)
    assert "proposal" not in {stage.name for stage in scheduler.stages}


def test_a_schedule_in_force_that_does_not_belong_to_the_situation_is_refused() -> None:
    wrong_line = NOMINAL.line.copy()
    order = EVENT.orders[0]
    wrong_line[order] = np.flatnonzero(SMALL.processing_time_s[order] == 0)[0]
    scheduler = AnytimeScheduler(Schedule(NOMINAL.start_s, wrong_line))
    with pytest.raises(VerificationError, match=f"order {order}: line {wrong_line[order]} cannot make it"):
        scheduler.decide(EVENT, 0.01)


def test_a_feasible_plan_has_no_fault_and_each_broken_rule_is_named() -> None:
    start_s, line, _ = run_rule(EVENT, ATC)
    assert fault(EVENT, start_s, line) == ""
    assert "expected 36 of each" in fault(EVENT, start_s[:-1], line)
    assert "expected 0 to 4" in fault(EVENT, start_s, np.where(np.arange(len(line)) == 5, 9, line))
    # the first order of a line a second earlier: before the line is free and set up, or before its material is there
    for row in range(len(line)):
        earlier = start_s.copy()
        earlier[row] -= 1
        assert "before line" in fault(EVENT, earlier, line) or "is not there" in fault(EVENT, earlier, line)


def test_material_that_committed_orders_claim_is_not_there_for_others() -> None:
    start_s, line, _ = run_rule(EVENT, ATC)
    scarce = EVENT.supply_total.copy()
    scarce[:] = np.minimum(scarce, EVENT.claimed[:, None])
    assert "is not there when it starts" in fault(replace(EVENT, supply_total=scarce), start_s, line)
