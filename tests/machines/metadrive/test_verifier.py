"""The package's last word is the outcome."""

import numpy as np
import pytest

from genba.errors import VerificationError
from genba.machines.metadrive.verifier import METRICS, verify


def trace(**ending):
    """Three control steps of which the last one ended as said."""
    words = ("arrive_dest", "out_of_road", "crash_vehicle", "crash_object", "crash_sidewalk")
    said = {name: np.array([False, False, bool(ending.get(name))]) for name in words}
    ego = np.array([[0, 0, 0, 1.0], [0, 0, 0, 2.0], [0, 0, 0, 4.0], [0, 0, 0, 5.0]])
    return {**said, "reward": np.array([1.0, 2.0, 10.0]), "completion": np.array([0.2, 0.5, 0.9]), "ego": ego}


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ("arrive_dest", (1, 0, 0, 0)),
        ("crash_vehicle", (0, 1, 0, 0)),
        ("crash_object", (0, 1, 0, 0)),
        ("crash_sidewalk", (0, 1, 0, 0)),
        ("out_of_road", (0, 0, 1, 0)),
        ("", (0, 0, 0, 1)),
    ],
)
def test_it_ended_as_the_package_said(ending, expected):
    outcome = verify(trace(**{ending: True}))
    assert tuple(outcome[name] for name in ("success", "crash", "out_of_road", "timed_out")) == expected
    assert set(outcome) == {metric.name for metric in METRICS}


def test_the_numbers_beside_it():
    outcome = verify(trace(arrive_dest=True))
    # reward 1 + 2 + 10; the last share of the route; (1 + 2 + 4 + 5) / 4
    assert (outcome["reward"], outcome["completion"], outcome["speed"]) == (13.0, 0.9, 3.0)


def test_both_said_at_once_is_a_success_and_a_crash_as_in_the_authors_test():
    outcome = verify(trace(arrive_dest=True, crash_vehicle=True))
    assert (outcome["success"], outcome["crash"]) == (1.0, 1.0)


def test_a_trace_that_lacks_something_is_refused():
    whole = trace()
    with pytest.raises(VerificationError, match="'completion' is missing"):
        verify({name: value for name, value in whole.items() if name != "completion"})
    with pytest.raises(VerificationError, match="expected as many of each and at least one"):
        verify({**whole, "reward": whole["reward"][:2]})
