"""What tests of a floor share: small plants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from genba.floor.plant import Plant
from genba.floor.state import FloorState, begin
from genba.machines.factory.problem import Problem, Schedule


@pytest.fixture
def small() -> FloorState:
    """Two lines, four orders of two families, one component; at 10,000 s of the plant's clock.

    line-0: order-0000 (family 0) runs from 9,000 to 12,600; order-0002 (family 0) from 20,000 to 23,600.
    line-1: order-0001 (family 1) starts in ten minutes, at 10,600; order-0003 (family 1) at 20,000.
    Each order takes 3,600 s on either line and two units. Ten units were there at the start, none come for certain:
    delivery 0 brings two more at 15,000 s. A set-up between the families takes 1,200 s.
    """
    problem = Problem(
        seed=0,
        processing_time_s=np.full((4, 2), 3_600, np.int64),
        family=np.array([0, 1, 0, 1], np.int64),
        weight=np.array([1, 1, 2, 4], np.int64),
        due_s=np.array([13_000, 15_000, 24_000, 30_000], np.int64),
        setup_s=np.array([[0, 1_200], [1_200, 0]], np.int64),
        line_family=np.array([0, 1], np.int64),
        requirement=np.full((4, 1), 2, np.int64),
        stock=np.array([6], np.int64),
        delivery_time_s=np.array([[15_000]], np.int64),
        delivery_quantity=np.array([[4]], np.int64),
        late_time_s=np.array([[15_000]], np.int64),
        event_time_s=10_000,
        horizon_s=40_000,
    )
    plan = Schedule(np.array([9_000, 10_600, 20_000, 20_000], np.int64), np.array([0, 1, 0, 1], np.int64))
    return begin(problem, plan)


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    """Five lines with fifty orders."""
    made = Plant(tmp_path / "floor.jsonl", size="5x50", seed=1)
    yield made
    made.close()
