"""The checkers say no to what breaks a contract: each refusal, and the same thing just inside the limit."""

from __future__ import annotations

import numpy as np
import pytest
import toy

from genba.errors import SpecError
from genba.spec.action import Action, ActionChunk
from genba.spec.conformance import (
    TOLERANCE,
    check_action,
    check_chunk,
    check_env,
    check_episode,
    check_observation,
    check_stream,
)
from genba.spec.embodiment import Control, Dimension, Embodiment, PointsChannel
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.observation import Observation
from genba.spec.protocols import Env, Policy, Step
from genba.spec.streams import Stream, dense, ragged

CART, LINES = toy.CART_FACTS, toy.LINES_FACTS


def _cart(position_m: float) -> Stream:
    return dense([0], [[position_m, 0.0]])


def test_a_value_at_the_tolerance_passes_and_one_beyond_is_refused():
    # Limits are +-50 m, so the range is 100 m and the tolerance 2 m.
    edge_m = 50.0 + TOLERANCE * 100.0
    check_stream(CART, "cart", _cart(edge_m))
    with pytest.raises(SpecError, match=r"toy/cart@1: cart.position: got values from 52.1 to 52.1, expected -50 to 50"):
        check_stream(CART, "cart", _cart(edge_m + 0.1))


def test_missing_values_are_in_range():
    check_stream(CART, "cart", _cart(float("nan")))


@pytest.mark.parametrize(
    ("name", "stream", "message"),
    [
        ("cart", dense([0], [[0.0, 0.0]], np.float64), r"values: got float64\[1, 2\], expected float32\[any, 2\]"),
        ("cart", dense([0], [[0.0]]), r"values: got float32\[1, 1\]"),
        ("crat", _cart(0.0), r"has no channel 'crat'; did you mean 'cart'"),
    ],
)
def test_a_stream_of_the_wrong_kind_is_refused(name, stream, message):
    with pytest.raises(SpecError, match=message):
        check_stream(CART, name, stream)


def test_as_many_rows_as_the_facts_allow_and_not_one_more():
    check_stream(LINES, "orders", ragged([0], [np.zeros((5, 2), np.float32)]))
    with pytest.raises(SpecError, match="got 6 rows in one sample, expected at most 5"):
        check_stream(LINES, "orders", ragged([0], [np.zeros((6, 2), np.float32)]))


def test_a_set_of_rows_needs_splits():
    with pytest.raises(SpecError, match="splits: got None"):
        check_stream(LINES, "orders", dense([0], np.zeros((1, 2))))


def test_a_relation_is_as_wide_as_its_target():
    check_stream(LINES, "capability", ragged([0], [np.ones((3, 2), np.float32)]))
    with pytest.raises(SpecError, match=r"capability: values: got float32\[3, 3\], expected float32\[any, 2\]"):
        check_stream(LINES, "capability", ragged([0], [np.ones((3, 3), np.float32)]))


def test_a_sample_from_the_future_is_refused():
    check_observation(CART, Observation(CART.id, 10, {"cart": dense([10], [[0.0, 0.0]])}))
    with pytest.raises(SpecError, match="cart: got a sample later than the observation's time"):
        check_observation(CART, Observation(CART.id, 9, {"cart": dense([10], [[0.0, 0.0]])}))


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (Action(None), r"action.continuous: got None, expected 1 numbers"),
        (Action(np.zeros(2, np.float32)), r"continuous: got float32\[2\], expected float32\[1\]"),
        (Action(np.zeros(1)), r"continuous: got float64\[1\]"),
        (Action(np.array([np.nan], np.float32)), "expected finite numbers"),
        (Action(np.zeros(1, np.float32), {"x": np.zeros(1, np.float32)}), r"choices: got \['x'\], expected \[\]"),
    ],
)
def test_an_action_that_does_not_fit_is_refused(action, message):
    with pytest.raises(SpecError, match=message):
        check_action(CART, action)


def _lines_observation() -> Observation:
    rows = {"orders": np.zeros((3, 2), np.float32), "lines": np.zeros((2, 1), np.float32)}
    return Observation(LINES.id, 0, {name: ragged([0], [values]) for name, values in rows.items()})


def test_choices_have_a_score_for_each_row_that_was_seen():
    scores = {"next_order": np.zeros(3, np.float32), "line_for_order": np.full((3, 2), -np.inf, np.float32)}
    check_action(LINES, Action(None, scores), _lines_observation())
    with pytest.raises(SpecError, match=r"next_order: got float32\[2\], expected float32\[3\]"):
        check_action(LINES, Action(None, scores | {"next_order": np.zeros(2, np.float32)}), _lines_observation())
    with pytest.raises(SpecError, match="next_order: got NaN, expected scores"):
        check_action(LINES, Action(None, scores | {"next_order": np.full(3, np.nan, np.float32)}), _lines_observation())


def test_a_chunk_answers_its_own_observation():
    observation = Observation(CART.id, 50, {})
    check_chunk(CART, ActionChunk(50, 0.05, np.zeros((8, 1), np.float32)), observation)
    with pytest.raises(SpecError, match=r"chunk: got time 49 and period 0.05 s, expected 50"):
        check_chunk(CART, ActionChunk(49, 0.05, np.zeros((8, 1), np.float32)), observation)


def test_an_episode_may_hold_its_channels_actions_and_labels_and_nothing_else():
    metadata = EpisodeMetadata(episode_id="e1", embodiment_id=CART.id)
    fits = {"cart": _cart(0.0), "action": dense([0], [[1.0]]), "label": dense([0], [[2.0]])}
    check_episode(CART, Episode(metadata, fits))
    with pytest.raises(SpecError, match="no channel 'labels'"):
        check_episode(CART, Episode(metadata, fits | {"labels": dense([0], [[2.0]])}))
    with pytest.raises(SpecError, match=r"e1: action: values: got float32\[1, 2\]"):
        check_episode(CART, Episode(metadata, fits | {"action": dense([0], [[1.0, 2.0]])}))


class _Forgetful(toy.Cart):
    """Draws its start from a source that no seed reaches."""

    worlds = 0

    def reset(self, seed: int) -> Step:
        _Forgetful.worlds += 1
        return super().reset(seed + _Forgetful.worlds)


class _Stopped(toy.Cart):
    """Its clock stands still."""

    def step(self, action: Action | None) -> Step:
        return Step(0, {})


@pytest.mark.parametrize(
    ("env", "message"), [(_Forgetful(), "seed 3 gave two different worlds"), (_Stopped(), "expected it to rise")]
)
def test_a_world_that_ignores_its_seed_or_its_clock_is_refused(env, message):
    with pytest.raises(SpecError, match=message):
        check_env(env, toy.Pusher(), seed=3, num_steps=5)


def test_the_toys_are_what_the_protocols_say():
    assert isinstance(toy.Cart(), Env) and isinstance(toy.Pusher(), Policy)


def test_what_a_return_says_beside_its_place_has_limits_too():
    lidar = PointsChannel(
        name="lidar",
        rate_hz=10.0,
        frame="none",
        history_s=0.1,
        max_points=2,
        range_max_m=10.0,
        attribute=(Dimension(name="intensity", unit="1", low=0.0, high=1.0),),
    )
    sensing = Embodiment(
        id="test/scanner@1", description="a scanner", control=Control(period_s=0.1, deadline_s=0.1), points=(lidar,)
    )
    # 6, 0, 8 lies 10 m away: at the range's end, whatever its intensity.
    rows = np.array([[6.0, 0.0, 8.0, 1.0]], np.float32)
    check_stream(sensing, "lidar", ragged([0], [rows]))
    with pytest.raises(SpecError, match=r"lidar.intensity: got values from 2 to 2, expected 0 to 1"):
        check_stream(sensing, "lidar", ragged([0], [rows * np.float32([1, 1, 1, 2])]))
    with pytest.raises(SpecError, match=r"values: got float32\[1, 3\], expected float32\[any, 4\]"):
        check_stream(sensing, "lidar", ragged([0], [rows[:, :3]]))


def test_traces_are_numbers_on_a_clock_and_nothing_more_is_asked_of_them():
    metadata = EpisodeMetadata(episode_id="x", embodiment_id=CART.id)
    check_episode(CART, Episode(metadata, {"trace.anomaly": dense([0, 1], [[0.0], [1e9]])}))
    with pytest.raises(SpecError, match=r"x: trace.anomaly: values: got float64\[1, 1\], expected float32\[any, any\]"):
        check_episode(CART, Episode(metadata, {"trace.anomaly": dense([0], [[0.0]], np.float64)}))
    with pytest.raises(SpecError, match="has no channel 'tracing'"):
        check_episode(CART, Episode(metadata, {"tracing": dense([0], [[0.0]])}))
