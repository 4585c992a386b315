import pytest

from genba.errors import ConfigError
from genba.floor.events import (
    KINDS,
    DeliveryChanged,
    FloorEvent,
    LineDown,
    LineTime,
    Need,
    OrderAdded,
    OrderRushed,
    UnitsHeld,
    from_json,
    to_json,
)

CHANGES = [
    DeliveryChanged(component="component-0", delivery=1, time_s=500),
    DeliveryChanged(component="component-0", delivery=1, time_s=500, quantity=3, rest_time_s=900),
    UnitsHeld(component="component-0", quantity=2, until_s=700),
    LineDown(line="line-1", until_s=800),
    OrderAdded(
        order="rush-1",
        family=0,
        weight=8,
        due_s=900,
        lines=(LineTime(line="line-0", processing_time_s=60),),
        needs=(Need(component="component-0", quantity=1),),
    ),
    OrderRushed(order="order-0001", due_s=900, weight=8),
]


def test_every_kind_of_event_survives_its_way_as_json():
    assert {type(change) for change in CHANGES} == set(KINDS.values())
    for change in CHANGES:
        event = FloorEvent(number=7, event_id="erp-1", time_s=400, raised_ns=123, change=change)
        assert from_json(to_json(event), where="test") == event


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not an event in JSON"),
        ("[]", "expected a table"),
        ('{"number":1,"event_id":"a","time_s":1,"raised_ns":1,"change":{"kind":"line_up"}}', "did you mean|known"),
        ('{"number":"1","event_id":"a","time_s":1,"raised_ns":1,"change":{"kind":"line_down"}}', "number: got '1'"),
        (
            '{"number":1,"event_id":"a","time_s":1,"raised_ns":1,"change":{"kind":"line_down","line":"x"}}',
            "change.until_s: missing",
        ),
    ],
)
def test_an_event_that_cannot_be_read_is_refused_with_place_and_expectation(text, says):
    with pytest.raises(ConfigError, match=says):
        from_json(text, where="test")


def test_units_that_would_never_come_are_refused():
    with pytest.raises(ValueError, match="units that never come"):
        DeliveryChanged(component="component-0", delivery=0, time_s=5, quantity=3)
