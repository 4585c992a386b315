"""The verifier takes what the simulator does and refuses each kind of cheating."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from genba.errors import VerificationError
from genba.machines.factory.baselines import atc, right_shift
from genba.machines.factory.simulator import FactoryEnv
from genba.machines.factory.verifier import verify
from genba.spec.observation import observe


def trace_of(make_policy, seed: int = 0) -> dict[str, np.ndarray]:  # type: ignore[no-untyped-def]
    env = FactoryEnv("5x50")
    step = env.reset(seed)
    policy = make_policy(env)
    chunk = policy.act(observe(env.embodiment, step.samples, step.time_ns))
    env.step(chunk.at(step.time_ns))
    return {name: values.copy() for name, values in env.trace().items()}


@pytest.fixture
def trace() -> dict[str, np.ndarray]:
    return trace_of(atc)


def neighbours(trace: dict[str, np.ndarray]) -> tuple[int, int]:
    """Two free orders of different families that follow each other on a line, tight but for the set-up."""
    start_s, line = trace["start_s"], trace["line"]
    end_s = start_s + trace["processing_time_s"][np.arange(len(line)), line]
    for m in range(len(trace["line_family"])):
        rows = np.flatnonzero(line == m)
        rows = rows[np.argsort(start_s[rows])]
        for a, b in pairwise(rows):
            setup_s = trace["setup_s"][trace["family"][a], trace["family"][b]]
            if start_s[a] > trace["event_time_s"] + 1800 and setup_s and start_s[b] - end_s[a] == setup_s:
                return int(a), int(b)
    raise AssertionError("no such pair in this trace")


def test_outcome_is_the_schedules_weighted_tardiness(trace: dict[str, np.ndarray]) -> None:
    end_s = trace["start_s"] + trace["processing_time_s"][np.arange(50), trace["line"]]
    assert verify(trace)["weighted_tardiness_s"] == (trace["weight"] * np.maximum(end_s - trace["due_s"], 0)).sum()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_doing_nothing_costs_exactly_its_own_share_of_one(seed: int) -> None:
    found = verify(trace_of(right_shift, seed))
    assert found["share_of_doing_nothing"] == 1.0
    assert found["success"] == 0.0


def test_an_overlap_is_refused(trace: dict[str, np.ndarray]) -> None:
    a, b = neighbours(trace)
    trace["start_s"][b] = trace["start_s"][a] + 1
    with pytest.raises(VerificationError, match=r"overlaps on line"):
        verify(trace)


def test_a_missing_set_up_is_refused(trace: dict[str, np.ndarray]) -> None:
    _, b = neighbours(trace)
    trace["start_s"][b] -= 1
    with pytest.raises(VerificationError, match=f"order {b}: .* without its set-up"):
        verify(trace)


def test_missing_material_is_refused(trace: dict[str, np.ndarray]) -> None:
    trace["stock"] -= 50
    with pytest.raises(VerificationError, match=r"component 0: \d+ units missing"):
        verify(trace)


def test_an_ineligible_line_is_refused(trace: dict[str, np.ndarray]) -> None:
    order = int(np.flatnonzero((trace["processing_time_s"] == 0).any(1))[0])
    trace["line"][order] = int(np.flatnonzero(trace["processing_time_s"][order] == 0)[0])
    with pytest.raises(VerificationError, match=f"order {order}: line .* is not eligible"):
        verify(trace)


def test_a_frozen_order_may_not_move(trace: dict[str, np.ndarray]) -> None:
    order = int(np.argmin(trace["nominal_start_s"]))
    trace["start_s"][order] += 10_000_000
    with pytest.raises(VerificationError, match=f"order {order}: frozen"):
        verify(trace)


def test_a_start_before_the_decision_is_refused(trace: dict[str, np.ndarray]) -> None:
    last = int(np.argmax(trace["start_s"]))
    trace["start_s"][last] = 0
    with pytest.raises(VerificationError, match=f"order {last}: "):
        verify(trace)


def test_a_line_that_does_not_exist_is_refused(trace: dict[str, np.ndarray]) -> None:
    trace["line"][0] = 5
    with pytest.raises(VerificationError, match="order 0: got line 5"):
        verify(trace)
