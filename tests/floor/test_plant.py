from dataclasses import replace

import numpy as np
import pytest

from genba.errors import FloorError, SpecError
from genba.floor.controller import plan_for
from genba.floor.decide import best_of, decider
from genba.floor.draw import draw_change
from genba.floor.events import LineDown
from genba.floor.plant import Plant
from genba.floor.tables import to_tables


def answer_to(plant: Plant, decision_id: str):
    state = plant.state
    return plan_for(state, *best_of(state, decider("atc").decide(state, deadline_s=1.0)), decision_id=decision_id)


def test_the_same_report_twice_is_one_event_and_other_facts_under_its_id_are_refused(plant):
    stop = LineDown(line="line-0", until_s=plant.state.now_s + 3_600)
    first = plant.report("a", stop)
    assert plant.report("a", stop) is first
    assert plant.state.newest_event == 1
    with pytest.raises(FloorError, match="reported before with other facts"):
        plant.report("a", replace(stop, line="line-1"))


def test_a_plan_goes_into_force_once_however_often_it_is_sent(plant):
    plant.report("a", LineDown(line="line-0", until_s=plant.state.now_s + 20_000))
    plan = answer_to(plant, "d1")
    assert plant.write(plan).outcome == "accepted"
    tables = to_tables(plant.state)
    assert plant.write(plan).outcome == "repeated"
    assert to_tables(plant.state) == tables
    assert plant.state.version == 1


def test_a_plan_made_before_the_newest_event_or_for_another_version_is_stale(plant):
    plant.report("a", LineDown(line="line-0", until_s=plant.state.now_s + 20_000))
    early = answer_to(plant, "d1")
    plant.report("b", LineDown(line="line-1", until_s=plant.state.now_s + 20_000))
    answer = plant.write(early)
    assert (answer.outcome, answer.version) == ("stale", 0)
    assert "made for version 0 and event 1; in force is version 0, and the newest event is 2" in answer.reason
    assert plant.write(answer_to(plant, "d2")).outcome == "accepted"
    assert plant.write(replace(answer_to(plant, "d3"), base_version=0)).outcome == "stale"


def test_a_plan_that_breaks_a_rule_leaves_the_one_in_force(plant):
    plant.report("a", LineDown(line="line-0", until_s=plant.state.now_s + 20_000))
    plan, before = answer_to(plant, "d1"), to_tables(plant.state)
    answer = plant.write(replace(plan, starts_s=(plant.state.now_s,) * len(plan.orders)))
    assert answer.outcome == "refused"
    assert "which is ready for it at" in answer.reason
    assert to_tables(plant.state) == before


def test_an_event_that_cannot_be_is_refused_and_changes_nothing(plant):
    before = to_tables(plant.state)
    with pytest.raises(SpecError, match="did you mean 'line-"):
        plant.report("a", LineDown(line="line-9", until_s=plant.state.now_s + 60))
    assert to_tables(plant.state) == before
    assert plant.events == []


def test_a_floor_that_comes_back_is_as_it_was(tmp_path):
    plant = Plant(tmp_path / "j.jsonl", size="5x50", seed=2)
    rng = np.random.default_rng(0)
    for number in range(6):
        plant.report(f"e{number}", draw_change(rng, plant.state))
        assert plant.write(answer_to(plant, f"d{number}")).outcome == "accepted"
    plant.report("unanswered", draw_change(rng, plant.state))
    assert plant.begin_session() == 0
    plant.close()
    again = Plant(tmp_path / "j.jsonl", size="5x50", seed=2)
    assert to_tables(again.state) == to_tables(plant.state)
    assert [event.event_id for event in again.events] == [event.event_id for event in plant.events]
    assert again.write(plant.accepted[3][0]).outcome == "repeated"
    assert again.begin_session() == 1
    again.close()


def test_a_journal_of_another_plant_is_refused(tmp_path):
    Plant(tmp_path / "j.jsonl", size="5x50", seed=2).close()
    with pytest.raises(FloorError, match=r"'seed': 2.*expected.*'seed': 3"):
        Plant(tmp_path / "j.jsonl", size="5x50", seed=3)


def test_a_hundred_drawn_events_keep_every_order_once_and_every_plan_admissible(plant):
    rng = np.random.default_rng(5)
    kinds = set()
    for number in range(100):
        change = draw_change(rng, plant.state)
        kinds.add(type(change).__name__)
        plant.report(f"e{number}", change)
        answer = plant.write(answer_to(plant, f"d{number}"))
        assert answer.outcome == "accepted", answer.reason
        assert len(set(plant.state.order_ids)) == len(plant.state.order_ids) == len(plant.state.schedule.line)
    assert kinds == {"DeliveryChanged", "UnitsHeld", "LineDown", "OrderAdded", "OrderRushed"}
