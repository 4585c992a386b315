"""A shuffled order holds everything once, whether it is drawn whole or computed place by place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genba.data import order
from genba.data.order import shuffled


@settings(max_examples=50, deadline=None)
@given(length=st.integers(1, 3000), key=st.integers(0, 2**40), drawn=st.booleans())
def test_everything_stands_once(length, key, drawn):
    with pytest.MonkeyPatch.context() as patch:
        if not drawn:
            patch.setattr(order, "DRAWN_LENGTH", 0)
        assert sorted(shuffled(length, (key, 1), np.arange(length)).tolist()) == list(range(length))


def test_a_long_order_is_computed_where_it_is_asked_for():
    length = 10**12
    places = np.arange(10_000, dtype=np.int64) + length - 10_000
    found = shuffled(length, (7, 0), places)
    assert len(set(found.tolist())) == 10_000
    assert found.min() >= 0
    assert found.max() < length
    np.testing.assert_array_equal(shuffled(length, (7, 0), places[::-1]), found[::-1])
    assert not np.array_equal(shuffled(length, (7, 1), places), found)
    # Uniform: the mean of 10,000 draws from [0, 1) lies within 5 standard errors (0.289 / 100) of a half, and so does
    # the share of neighbours in the order that rise.
    assert abs(found.mean() / length - 0.5) < 5 * 0.00289
    assert abs((np.diff(found) > 0).mean() - 0.5) < 5 * 0.005
