"""Statistics: merging sets is exactly like measuring them together, and nothing is lost in a file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from genba.errors import SpecError
from genba.spec.embodiment import Dimension
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.statistics import (
    ChannelStatistics,
    Statistics,
    apply_scale,
    episode_statistics,
    measure,
    undo_scale,
)
from genba.spec.streams import dense
from genba.spec.units import to_ns

_NUMBERS = st.one_of(st.floats(-1e3, 1e3, width=32), st.just(float("nan")))
_TABLES = hnp.arrays(np.float64, st.tuples(st.integers(0, 12), st.just(3)), elements=_NUMBERS)


def _assert_same(a: ChannelStatistics, b: ChannelStatistics) -> None:
    for name in ("count", "low", "high"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for name in ("mean", "m2", "std"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-9, atol=1e-5)


@given(first=_TABLES, second=_TABLES, third=_TABLES)
def test_merging_gives_what_one_pass_over_everything_gives_in_any_order(first, second, third):
    a, b, c = measure(first), measure(second), measure(third)
    together = measure(np.concatenate([first, second, third]))
    _assert_same(a.merge(b).merge(c), together)
    _assert_same(c.merge(a.merge(b)), together)


def test_missing_values_count_for_nothing():
    stats = measure(np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan]]))
    # First column: values 1 and 3, mean 2, spread (1 + 1) / 2 = 1. Second: nothing known.
    np.testing.assert_array_equal(stats.count, [2, 0])
    assert stats.mean[0] == 2.0 and stats.std[0] == 1.0
    assert stats.low[1] == np.inf and stats.high[1] == -np.inf


def test_a_value_that_never_varies_is_safe_to_divide_by():
    assert measure(np.full((5, 1), 7.0)).std[0] == 1.0


def test_statistics_survive_a_json_file_even_where_a_channel_was_empty():
    before = Statistics("toy/cart@1", {"cart": measure(np.array([[1.0, np.nan], [2.0, np.nan]]))})
    after = Statistics.from_json(json.loads(json.dumps(before.to_json(), allow_nan=False)))
    _assert_same(before["cart"], after["cart"])


def test_statistics_of_two_machines_do_not_merge():
    with pytest.raises(SpecError, match="cannot merge statistics of toy/cart@1 with those of toy/lines@1"):
        Statistics("toy/cart@1").merge(Statistics("toy/lines@1"))


def test_a_missing_channel_is_named_with_its_nearest():
    stats = Statistics("toy/cart@1", {"cart": measure(np.ones((2, 2)))})
    with pytest.raises(SpecError, match=r"no statistics of 'carts'; did you mean 'cart'\?"):
        stats["carts"]


@given(values=hnp.arrays(np.float64, (4, 2), elements=st.floats(-1e6, 1e6)))
def test_a_scale_can_be_undone(values):
    dimensions = (
        Dimension(name="plain", unit="m", low=-1, high=1),
        Dimension(name="wide", unit="N", low=-1, high=1, scale="symlog", linear_below=0.1),
    )
    np.testing.assert_allclose(undo_scale(apply_scale(values, dimensions), dimensions), values, rtol=1e-9, atol=1e-9)


def test_symlog_is_logarithmic_far_out_and_linear_near_zero():
    dimension = (Dimension(name="force", unit="N", low=-1, high=1, scale="symlog", linear_below=0.5),)
    # log(1 + 0.5 (e - 1) / 0.5) = 1 by construction; its sign is kept; near 0 the slope is 1 / linear_below = 2.
    far = 0.5 * (np.e - 1)
    np.testing.assert_allclose(
        apply_scale(np.array([[far], [-far], [1e-6]]), dimension)[:, 0], [1, -1, 2e-6], rtol=1e-5
    )


def test_actions_are_measured_relative_to_the_base_over_the_whole_chunk():
    # Absolute actions here (no relative_to): 3 steps in a chunk of 8 give 3 + 2 + 1 = 6 (step, anchor) pairs.
    times = [to_ns(0.05 * i) for i in range(3)]
    episode = Episode(
        EpisodeMetadata(episode_id="e", embodiment_id="toy/cart@1"),
        {"action": dense(times, [[1.0], [2.0], [4.0]])},
    )
    stats = episode_statistics(toy.CART_FACTS, episode)["action"]
    pairs = [1, 2, 4, 2, 4, 4]
    assert stats.count[0] == len(pairs)
    assert stats.mean[0] == pytest.approx(np.mean(pairs))
    assert stats.std[0] == pytest.approx(np.std(pairs))


def test_the_label_is_measured_where_one_stands_beside_the_action():
    times = [0, to_ns(0.05)]
    episode = Episode(
        EpisodeMetadata(episode_id="e", embodiment_id="toy/cart@1"),
        {"action": dense(times, [[9.0], [9.0]]), "label": dense(times, [[1.0], [1.0]])},
    )
    assert episode_statistics(toy.CART_FACTS, episode)["action"].mean[0] == 1.0
