import numpy as np
import pytest

from genba.errors import SpecError
from genba.floor.events import (
    Change,
    DeliveryChanged,
    FloorEvent,
    LineDown,
    LineTime,
    Need,
    OrderAdded,
    OrderRushed,
    UnitsHeld,
)
from genba.floor.state import FloorState, apply
from genba.floor.tables import COLUMNS, from_tables, to_tables


def after(state: FloorState, change: Change) -> FloorState:
    number = state.newest_event + 1
    return apply(state, FloorEvent(number=number, event_id=f"e{number}", time_s=10_000, raised_ns=0, change=change))


def test_a_late_delivery_pushes_back_only_the_order_that_waits_for_it(small):
    # Six units for orders 0, 1 and 2 (by start, then by number); order 3 takes the first two of the delivery.
    pushed = after(small, DeliveryChanged(component="component-0", delivery=0, time_s=40_000))
    # order 2 is free and moves as far forward as its line allows: line-0 ends order 0 at 12,600
    assert pushed.schedule.start_s.tolist() == [9_000, 10_600, 12_600, 40_000]
    assert pushed.schedule.line.tolist() == [0, 1, 0, 1]


def test_a_cut_delivery_brings_the_rest_later_and_no_unit_is_lost(small):
    cut = after(
        small, DeliveryChanged(component="component-0", delivery=0, time_s=15_000, quantity=1, rest_time_s=50_000)
    )
    # order 3 needs units 7 and 8; unit 7 comes at 15,000 s, unit 8 with the rest
    assert cut.schedule.start_s[3] == 50_000
    assert cut.problem.delivery_quantity.sum() == small.problem.delivery_quantity.sum()


def test_held_units_are_back_when_they_are_released(small):
    # Started: order 0, two of six units. Held: the other four until 30,000. Order 1 was to start in ten minutes, with
    # units that quality has taken: it takes those of the delivery at 15,000 instead, as does order 2; order 3 waits.
    held = after(small, UnitsHeld(component="component-0", quantity=4, until_s=30_000))
    assert held.schedule.start_s.tolist() == [9_000, 15_000, 15_000, 30_000]


def test_an_order_on_a_line_that_stops_goes_on_when_the_line_does(small):
    stopped = after(small, LineDown(line="line-0", until_s=13_000))
    # 3,600 s of work, 3,000 s of standing still
    assert stopped.schedule.end_s(stopped.problem)[0] == 9_000 + 3_600 + 3_000
    assert stopped.schedule.start_s[2] == 15_600
    longer = after(stopped, LineDown(line="line-0", until_s=14_000))
    # the first 3,000 s are not counted twice
    assert longer.schedule.end_s(longer.problem)[0] == 9_000 + 3_600 + 4_000


def test_an_order_that_was_to_start_soon_leaves_a_line_that_stands_still(small):
    stopped = after(small, LineDown(line="line-1", until_s=17_000))
    assert stopped.schedule.start_s[1] == 17_000
    assert stopped.schedule.start_s[3] == 20_600


def test_a_new_order_waits_behind_everything_on_its_fastest_line(small):
    more = after(
        small,
        OrderAdded(
            order="rush",
            family=1,
            weight=8,
            due_s=20_000,
            lines=(
                LineTime(line="line-0", processing_time_s=900),
                LineTime(line="line-1", processing_time_s=600),
            ),
            needs=(Need(component="component-0", quantity=2),),
        ),
    )
    assert more.order_ids[-1] == "rush"
    assert more.schedule.line[-1] == 1
    # order 1 ends at 14,200; order 3 follows once its units came, at 15,000, and takes until 18,600
    assert more.schedule.start_s[-1] == 18_600


def test_a_rushed_order_keeps_its_place_until_somebody_decides(small):
    rushed = after(small, OrderRushed(order="order-0003", due_s=16_000, weight=9))
    assert (rushed.problem.due_s[3], rushed.problem.weight[3]) == (16_000, 9)
    assert rushed.cost_s() == 9 * (15_000 + 3_600 - 16_000)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (DeliveryChanged(component="component-1", delivery=0, time_s=20_000), "did you mean 'component-0'"),
        (DeliveryChanged(component="component-0", delivery=1, time_s=20_000), "delivery: got 1, expected 0 to 0"),
        (DeliveryChanged(component="component-0", delivery=0, time_s=9_999), "time_s: got 9999, expected 10000"),
        (UnitsHeld(component="component-0", quantity=5, until_s=20_000), "expected 1 to the 4 that are in stock"),
        (LineDown(line="line-0", until_s=10_000), "until_s: got 10000, expected after 10000"),
        (OrderRushed(order="order-0000", due_s=9, weight=2), "has started"),
        (
            OrderAdded(
                order="rush",
                family=0,
                weight=1,
                due_s=1,
                lines=(LineTime(line="line-0", processing_time_s=1),),
                needs=(Need(component="component-0", quantity=3),),
            ),
            "1 units missing for all orders together",
        ),
        (OrderAdded(order="order-0001", family=0, weight=1, due_s=1, lines=(), needs=()), "on the floor already"),
        (OrderAdded(order="rush", family=0, weight=1, due_s=1, lines=(), needs=()), "at least one line"),
    ],
)
def test_an_event_that_does_not_fit_the_floor_is_refused_in_words(small, change, says):
    with pytest.raises(SpecError, match=says):
        after(small, change)


def test_an_event_out_of_turn_is_refused(small):
    event = FloorEvent(
        number=2, event_id="x", time_s=10_000, raised_ns=0, change=LineDown(line="line-0", until_s=20_000)
    )
    with pytest.raises(SpecError, match="got number 2, expected 1"):
        apply(small, event)


def test_a_state_survives_its_way_as_tables(small):
    state = after(small, LineDown(line="line-1", until_s=17_000))
    again = from_tables(to_tables(state), where="test")
    assert to_tables(again) == to_tables(state)
    assert set(to_tables(state)) == set(COLUMNS)
    assert np.array_equal(again.situation().line_free_s, state.situation().line_free_s)


def test_tables_that_do_not_fit_each_other_are_refused(small):
    tables = to_tables(small)
    with pytest.raises(SpecError, match=r"Orders/Due: got 1 values, expected orders = \(4,\)"):
        from_tables({**tables, "Orders/Due": [1]}, where="test")
    del tables["Lines/DownUntil"]
    with pytest.raises(SpecError, match="no Lines/DownUntil"):
        from_tables(tables, where="test")
