import pytest

from genba.errors import ConfigError
from genba.floor.decide import decider
from genba.floor.events import DeliveryChanged, FloorEvent, LineDown, LineTime, OrderAdded, OrderRushed
from genba.floor.explain import clock, moves, span
from genba.floor.plant import with_plan
from genba.floor.protocol import NewPlan
from genba.floor.state import apply
from genba.floor.tables import to_tables
from genba.floor.what_if import change_from_words, seconds_of, what_if


def happened(state, change):
    return apply(state, FloorEvent(number=1, event_id="e", time_s=10_000, raised_ns=0, change=change))


def replanned(state, *rows):
    """``rows``: order, line, start."""
    orders, lines, starts = zip(*rows)
    plan = NewPlan(
        decision_id="d",
        base_version=0,
        answers=state.newest_event,
        decided_at_s=state.now_s,
        orders=orders,
        lines=lines,
        starts_s=starts,
    )
    return with_plan(state, plan, 1)


def test_an_order_that_waits_for_its_component_says_for_which_and_until_when(small):
    after = happened(small, DeliveryChanged(component="component-0", delivery=0, time_s=40_000))
    sentences = {move.order: move.sentence for move in moves(small, after)}
    # 40,000 s is 11:06 of the first day; 20,000 s later is 5 h 33 min; due 30,000, ended 43,600: 3 h 47 min late
    assert sentences["order-0003"] == (
        "order-0003 starts 5 h 33 min later on line-1, because component-0 for it is only there at day 1, 11:06; "
        "due day 1, 08:20, it will be 3 h 47 min late."
    )
    assert set(sentences) == {"order-0002", "order-0003"}


def test_an_order_leaves_a_line_that_stands_still(small):
    down = happened(small, LineDown(line="line-1", until_s=100_000))
    after = replanned(
        down, ("order-0002", "line-0", 12_600), ("order-0003", "line-0", 17_400), ("order-0001", "line-0", 21_000)
    )
    sentence = next(move.sentence for move in moves(small, after) if move.order == "order-0003")
    # order 3 was to start at 20,000
    assert sentence.startswith(
        "order-0003 moves from line-1 to line-0 and starts 43 min earlier, because line-1 stands still until day 2, 03:46"
    )


def test_an_order_that_somebody_wants_now_says_so(small):
    rushed = happened(small, OrderRushed(order="order-0003", due_s=16_000, weight=9))
    sentence = next(move.sentence for move in moves(small, rushed) if move.order == "order-0003")
    assert "because it is wanted by day 1, 04:26 now, at weight 9" in sentence


def test_an_order_whose_place_a_new_one_takes_names_it(small):
    more = happened(
        small,
        OrderAdded(
            order="rush",
            family=0,
            weight=9,
            due_s=20_000,
            lines=(LineTime(line="line-0", processing_time_s=20_000),),
            needs=(),
        ),
    )
    after = replanned(
        more, ("rush", "line-0", 12_600), ("order-0002", "line-0", 32_600), ("order-0003", "line-1", 20_000)
    )
    found = moves(small, after)
    assert [move.order for move in found] == ["order-0002"]
    assert (
        "because the new order rush takes its place; due day 1, 06:40, it will be 3 h 23 min late" in found[0].sentence
    )


def test_times_read_as_a_person_says_them():
    assert clock(86_400 + 14 * 3_600 + 20 * 60) == "day 2, 14:20"
    assert [span(s) for s in (0, 2_400, 11_100, 97_200, 180_000)] == [
        "0 min",
        "40 min",
        "3 h 5 min",
        "1 day 3 h",
        "2 days 2 h",
    ]
    assert [seconds_of(t, where="x") for t in ("90s", "45min", "8h", "1.5d")] == [90, 2_700, 28_800, 129_600]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"delay": "component-2"}, "expected NAME=TIME"),
        ({"delay": "component-2=8h"}, "no 'component-2' on this floor; did you mean 'component-0'"),
        ({"delay": "component-0=8"}, "expected a length of time above 0"),
        ({"breakdown": "line-9=2h"}, "did you mean 'line-"),
        ({"rush": "order-9"}, "did you mean 'order-"),
        ({}, "got no event"),
    ],
)
def test_words_that_mean_nothing_on_this_floor_are_refused(small, words, says):
    with pytest.raises(ConfigError, match=says):
        change_from_words(small, **words)


def test_asking_what_would_happen_changes_nothing_and_never_costs_more_than_waiting(small):
    before = to_tables(small)
    change = change_from_words(small, breakdown="line-1=10h")
    found = what_if(small, change, decider("search"), deadline_s=0.05)
    assert to_tables(small) == before
    assert found.title == "If line-1 stands still for 10 h"
    assert found.after.cost_s() < found.kept.cost_s()
