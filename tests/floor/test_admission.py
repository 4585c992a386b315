import re
from dataclasses import replace

import numpy as np
import pytest

from genba.floor.admission import FROZEN_S, LATE_S, objections
from genba.floor.protocol import NewPlan
from genba.floor.state import FloorState

# On the floor of ``small`` orders 0 and 1 are committed; line-0 is free from 12,600 (family 0), line-1 from 14,200
# (family 1), two units are there for one more order and the next come at 15,000.
GOOD = NewPlan(
    decision_id="a",
    base_version=0,
    answers=0,
    decided_at_s=10_000,
    orders=("order-0002", "order-0003"),
    lines=("line-0", "line-1"),
    starts_s=(12_600, 15_000),
)


def test_the_earliest_plan_that_keeps_every_rule_passes(small):
    assert objections(small, GOOD) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"starts_s": (12_599, 15_000)}, "order-0002: starts at 12599 s on line-0, which is ready for it at 12600 s"),
        ({"starts_s": (12_600, 14_999)}, "component-0: 2 units missing at 14999 s"),
        # behind order 1 of the other family on line-1: from 14,200 on, with a set-up of 1,200 s
        ({"lines": ("line-1", "line-0"), "starts_s": (15_399, 15_000)}, "order-0002: .* ready for it at 15400 s"),
        ({"orders": ("order-0002", "order-0002")}, "order-0002: planned twice"),
        ({"orders": ("order-0002", "order-0009")}, "order-0009: no such order"),
        ({"orders": ("order-0002", "order-0001")}, "order-0001: has started or starts within 1800 s"),
        ({"lines": ("line-0", "line-7")}, "order-0003: no line 'line-7'"),
        ({"orders": ("order-0002",), "lines": ("line-0",), "starts_s": (12_600,)}, "order-0003: not in the plan"),
        ({"decided_at_s": 10_001}, "made for 10001 s, and it is 10000 s"),
        ({"decided_at_s": 10_000 - LATE_S - 1}, "expected at most 900 s"),
    ],
)
def test_a_plan_just_outside_a_rule_is_refused_and_named(small, change, says):
    found = objections(small, replace(GOOD, **change))
    assert found
    assert any(re.search(says, sentence) for sentence in found), found


def test_a_line_that_cannot_make_an_order_is_refused(small):
    times_s = small.problem.processing_time_s.copy()
    times_s[3, 1] = 0
    state = replace(small, problem=replace(small.problem, processing_time_s=times_s))
    assert objections(state, GOOD) == ["order-0003: line-1 cannot make it"]


def test_nothing_new_starts_on_a_line_that_stands_still(small):
    state = replace(small, down_until_s=np.array([0, 16_000], np.int64))
    assert objections(state, GOOD) == ["order-0003: starts at 15000 s on line-1, which is ready for it at 16000 s"]
    assert objections(state, replace(GOOD, starts_s=(12_600, 16_000))) == []


def test_an_order_is_frozen_until_half_an_hour_before_its_start(small):
    def with_start(start_s: int) -> FloorState:
        starts_s = small.schedule.start_s.copy()
        starts_s[1] = start_s
        return replace(small, schedule=replace(small.schedule, start_s=starts_s))

    assert any("not in the plan" in one for one in objections(with_start(10_000 + FROZEN_S), GOOD))
    assert not any("not in the plan" in one for one in objections(with_start(10_000 + FROZEN_S - 1), GOOD))
