"""Success is the package's word alone; groups that a task is not of count nothing."""

import math

import numpy as np
import pytest

from genba.errors import VerificationError
from genba.machines.metaworld.task_list import MT50
from genba.machines.metaworld.verifier import METRICS, verify


def trace(success, name="hammer-v3"):
    return {
        "task": np.array(MT50.index(name)),
        "success": np.array(success, bool),
        "reward": np.arange(len(success), dtype=float),
        "action": np.zeros((len(success), 4), np.float32),
    }


def test_one_step_of_success_is_success_at_its_time():
    outcome = verify(trace([False, False, True]))
    assert outcome["success"] == 1.0
    # the third control step ends 3 * 12.5 ms after the beginning
    assert outcome["reached_s"] == pytest.approx(0.0375)
    # mean of 0, 1, 2
    assert outcome["reward"] == pytest.approx(1.0)
    assert set(outcome) == {metric.name for metric in METRICS}


def test_an_episode_without_success_has_no_time_of_it():
    outcome = verify(trace([False] * 4))
    assert outcome["success"] == outcome["success_medium"] == 0.0
    assert math.isnan(outcome["reached_s"])


@pytest.mark.parametrize(
    ("name", "level"),
    [("reach-v3", "easy"), ("hammer-v3", "medium"), ("push-v3", "hard"), ("stick-pull-v3", "very_hard")],
)
def test_only_the_tasks_own_group_counts_it(name, level):
    outcome = verify(trace([True], name))
    counted = {key for key, value in outcome.items() if key.startswith("success_") and not math.isnan(value)}
    assert counted == {f"success_{level}"}


def test_a_damaged_trace_is_named():
    whole = trace([True])
    with pytest.raises(VerificationError, match="'reward' is missing"):
        verify({key: value for key, value in whole.items() if key != "reward"})
    with pytest.raises(VerificationError, match="got 1 successes, 2 rewards and 1 actions"):
        verify(whole | {"reward": np.zeros(2)})
