"""Action chunks: which action belongs to which moment."""

from __future__ import annotations

import numpy as np
import pytest

from genba.spec.action import Action, ActionChunk, single
from genba.spec.units import to_ns


def _chunk() -> ActionChunk:
    return ActionChunk(to_ns(1.0), 0.05, np.array([[0.0], [1.0], [2.0]], np.float32))


@pytest.mark.parametrize(("time_s", "value"), [(1.0, 0.0), (1.05, 1.0), (1.1, 2.0), (1.06, 1.0)])
def test_the_action_for_a_moment_is_the_one_of_its_control_period(time_s, value):
    action = _chunk().at(to_ns(time_s))
    assert action is not None and action.continuous is not None
    assert action.continuous[0] == value


@pytest.mark.parametrize("time_s", [0.95, 1.15, 9.0])
def test_a_chunk_has_nothing_for_moments_outside_it(time_s):
    assert _chunk().at(to_ns(time_s)) is None


def test_choices_alone_make_a_chunk_of_one():
    chunk = single(0, 10.0, Action(None, {"next": np.zeros(3, np.float32)}))
    action = chunk.at(0)
    assert len(chunk) == 1 and action is not None
    assert list(action.choices) == ["next"] and action.continuous is None
