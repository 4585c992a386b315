"""Scores that are no answer are refused whole; what a relation does not allow is struck out."""

from __future__ import annotations

import numpy as np
import pytest
import toy

from genba.guard import ChoiceGuard
from genba.spec.action import Action
from genba.spec.observation import Observation
from genba.spec.streams import ragged

NAN, INF = np.nan, np.inf
#: two orders; the first may go on line 0 only, the second on both
ABLE = np.array([[1.0, NAN], [1.0, 1.0]], np.float32)


def observed(able: np.ndarray = ABLE) -> Observation:
    streams = {
        "orders": ragged([0], [np.zeros((len(able), 2), np.float32)]),
        "lines": ragged([0], [np.zeros((2, 1), np.float32)]),
        "capability": ragged([0], [able]),
    }
    return Observation("toy/lines@1", 0, streams)


def decide(rank: list[float], assign: list[list[float]]) -> Action:
    return Action(
        None, {"next_order": np.array(rank, np.float32), "line_for_order": np.array(assign, np.float32).reshape(-1, 2)}
    )


def test_an_allowed_decision_passes_unchanged():
    action = decide([0.5, -2.0], [[1.0, -INF], [0.0, 3.0]])
    verdict = ChoiceGuard(toy.LINES_FACTS).check(action, observed())
    assert verdict.reasons == ()
    for name, scores in action.choices.items():
        np.testing.assert_array_equal(verdict.action.choices[name], scores)


def test_a_line_that_cannot_do_the_order_is_struck_out_and_the_rest_stands():
    verdict = ChoiceGuard(toy.LINES_FACTS).check(decide([0, 0], [[1, 9], [2, 3]]), observed())
    assert verdict.reasons == ("line_for_order:not_allowed",)
    np.testing.assert_array_equal(verdict.action.choices["line_for_order"], [[1, -INF], [2, 3]])


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (decide([NAN, 0], [[1, -INF], [2, 3]]), "next_order:nan"),
        (decide([-INF, -INF], [[1, -INF], [2, 3]]), "next_order:nothing_allowed"),
        (decide([0], [[1, -INF], [2, 3]]), "next_order:shape"),
        (decide([0, 0], [[NAN, 0], [2, 3]]), "line_for_order:nan"),
        (decide([0, 0], [[-INF, -INF], [2, 3]]), "line_for_order:nothing_allowed"),
        (decide([0, 0], [[-INF, 5], [2, 3]]), "line_for_order:nothing_allowed"),
        (Action(None, {"next_order": np.zeros(2, np.float32)}), "line_for_order:missing"),
    ],
)
def test_half_a_decision_is_refused_whole(action, reason):
    verdict = ChoiceGuard(toy.LINES_FACTS).check(action, observed())
    assert reason in verdict.reasons
    assert verdict.action.choices == {}


def test_a_row_that_no_line_can_do_needs_no_answer():
    able = np.array([[NAN, NAN], [1.0, 1.0]], np.float32)
    verdict = ChoiceGuard(toy.LINES_FACTS).check(decide([0, 0], [[-INF, -INF], [2, 3]]), observed(able))
    assert verdict.reasons == ()
