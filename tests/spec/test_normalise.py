"""Packing: fixed shapes, the newest sample last, missing marked as missing, and actions that come back exactly."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from genba.config import read_toml_text
from genba.errors import SpecError
from genba.spec.embodiment import Embodiment
from genba.spec.normalise import CLIP, Normalizer, packed_shapes
from genba.spec.observation import Observation
from genba.spec.statistics import Statistics, action_base, measure
from genba.spec.streams import dense, ragged
from genba.spec.units import MILLISECOND_NS, to_ns

#: The cart with an action learnt relative to its position, on a symlog scale; a class channel; and words.
RICH = read_toml_text(
    toy.CART_TOML.replace(
        "rate_limit = 100.0", 'rate_limit = 100.0\nrelative_to = "cart.position"\nscale = "symlog"\nlinear_below = 0.5'
    )
    + """
[[telemetry]]
name = "gear"
rate_hz = 10.0
frame = "none"
history_s = 0.2
dimension = [
  { name = "gear", unit = "id", low = 0.0, high = 2.0, categories = 3 },
  { name = "load", unit = "N", low = 0.0, high = 9.0 },
]
[[camera]]
name = "eye"
rate_hz = 10.0
frame = "rail"
history_s = 0.2
height = 8
width = 8
[[points]]
name = "lidar"
rate_hz = 10.0
frame = "rail"
history_s = 0.2
max_points = 4
range_max_m = 10.0
[[instruction]]
name = "words"
max_bytes = 8
""",
    Embodiment,
    where="test",
)


def _statistics(**known: np.ndarray) -> Statistics:
    unit = np.array([[-1.0, -1.0], [1.0, 1.0]])
    tables = {"cart": unit, "goal": unit[:, :1], "gear": unit, "action": unit[:, :1]} | known
    return Statistics(RICH.id, {name: measure(table) for name, table in tables.items()})


def test_every_packed_array_has_the_promised_shape_and_dtype_even_of_an_empty_observation():
    packed = Normalizer(RICH, _statistics()).pack(Observation(RICH.id, 0, {}))
    assert {name: (array.shape, array.dtype) for name, array in packed.items()} == packed_shapes(RICH)
    assert not any(packed[name].any() for name in packed), "nothing was seen, so nothing may be claimed"


def test_telemetry_stands_right_aligned_with_ages_and_a_mask_for_what_is_missing():
    stream = dense([to_ns(0.98), to_ns(1.0)], [[1.0, np.nan], [2.0, 5.0]])
    table = np.array([[0.0, 3.0], [4.0, 5.0]])  # mean 2 and 4, std 2 and 1
    packed = Normalizer(RICH, _statistics(cart=table)).pack(Observation(RICH.id, to_ns(1.0), {"cart": stream}))
    np.testing.assert_allclose(packed["cart.values"][-2:], [[-0.5, 0.0], [0.0, 1.0]])
    np.testing.assert_array_equal(packed["cart.mask"][-2:], [[True, False], [True, True]])
    np.testing.assert_allclose(packed["cart.age_s"][-2:], [-0.02, 0.0], atol=1e-7)
    assert not packed["cart.mask"][:-2].any()


def test_a_class_number_becomes_one_hot_and_a_missing_one_all_zero():
    stream = dense([0, 1], [[2.0, 0.0], [np.nan, 0.0]])
    packed = Normalizer(RICH, _statistics()).pack(Observation(RICH.id, 1, {"gear": stream}))
    np.testing.assert_array_equal(packed["gear.values"][:, :3], [[0, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(packed["gear.mask"][:, :3], [[True] * 3, [False] * 3])


def test_a_broken_sensor_is_bounded():
    stream = dense([0], [[1e30, -1e30]])
    packed = Normalizer(RICH, _statistics()).pack(Observation(RICH.id, 0, {"cart": stream}))
    np.testing.assert_array_equal(packed["cart.values"][-1], [CLIP, -CLIP])


def test_points_are_divided_by_the_range_and_padded():
    sweep = np.array([[10.0, 0.0, -5.0]], np.float32)
    packed = Normalizer(RICH, _statistics()).pack(Observation(RICH.id, 0, {"lidar": ragged([0], [sweep])}))
    np.testing.assert_array_equal(packed["lidar.values"][-1, 0], [1.0, 0.0, -0.5])
    np.testing.assert_array_equal(packed["lidar.mask"], [[False] * 4, [True, False, False, False]])


def test_words_become_their_bytes_plus_one():
    packed = Normalizer(RICH, _statistics()).pack(Observation(RICH.id, 0, {}, "é"))
    np.testing.assert_array_equal(packed["words.values"], [0xC3 + 1, 0xA9 + 1, 0, 0, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        (Observation(RICH.id, 0, {}, "nine words"), r"words: got 10 rows, expected at most max_bytes = 8"),
        (Observation(RICH.id, 0, {"lidar": ragged([0], [np.zeros((5, 3), np.float32)])}), r"lidar: got 5 rows"),
        (Observation("toy/lines@1", 0, {}), r"observation of toy/lines@1, expected one of toy/cart@1"),
    ],
    ids=["instruction", "points", "embodiment"],
)
def test_what_does_not_fit_is_refused_not_cut(observation, message):
    with pytest.raises(SpecError, match=message):
        Normalizer(RICH, _statistics()).pack(observation)


def test_statistics_of_another_machine_are_refused():
    with pytest.raises(SpecError, match="statistics of toy/lines@1, expected those of toy/cart@1"):
        Normalizer(RICH, Statistics("toy/lines@1"))


@given(
    actions=hnp.arrays(np.float32, (8, 1), elements=st.floats(-10, 10, width=32)),
    position_m=st.floats(-50, 50),
    spread=st.floats(0.01, 10),
)
def test_actions_come_back_from_the_networks_numbers(actions, position_m, spread):
    normalizer = Normalizer(RICH, _statistics(action=np.array([[-spread], [spread]])))
    base = action_base(RICH, {"cart": dense([0], [[position_m, 0.0]])}, 0)
    # The base stands on the action's own scale: sign(x) log(1 + |x| / 0.5).
    assert base[0] == pytest.approx(np.sign(position_m) * np.log1p(abs(position_m) / 0.5), rel=1e-5, abs=1e-6)
    there = normalizer.pack_actions(actions, base)
    inside = np.abs(there) < CLIP
    np.testing.assert_allclose(normalizer.unpack_actions(there, base)[inside], actions[inside], rtol=1e-3, atol=1e-3)
    assert np.abs(there).max() <= CLIP


def test_the_base_is_the_newest_sample_not_later_than_the_decision():
    stream = dense([0, 10 * MILLISECOND_NS, 20 * MILLISECOND_NS], [[1.0, 0], [2.0, 0], [3.0, 0]])
    base = action_base(RICH, {"cart": stream}, 15 * MILLISECOND_NS)
    assert base[0] == pytest.approx(np.log1p(2.0 / 0.5))


def test_a_relation_is_packed_with_its_gaps_masked():
    facts = toy.LINES_FACTS
    tables = {"orders": np.array([[-1.0, -1.0], [1.0, 1.0]]), "lines": np.array([[-1.0], [1.0]])}
    tables["capability"] = np.array([[0.0], [2.0]])  # mean 1, std 1
    normalizer = Normalizer(facts, Statistics(facts.id, {name: measure(table) for name, table in tables.items()}))
    pair = np.array([[2.0, np.nan], [np.nan, 1.0]], np.float32)
    streams = {"orders": ragged([0], [np.zeros((2, 2), np.float32)]), "capability": ragged([0], [pair])}
    packed = normalizer.pack(Observation(facts.id, 0, streams))
    np.testing.assert_array_equal(packed["capability.values"][:2], [[1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_array_equal(packed["capability.mask"][:2], [[True, False], [False, True]])
    assert packed["capability.mask"].shape == (5, 2)
    np.testing.assert_array_equal(packed["orders.mask"], [True, True, False, False, False])


def test_facts_cannot_be_changed_after_reading():
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'id'"):
        RICH.id = "other/thing@1"
