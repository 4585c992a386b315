"""``observe``: a policy sees the past of each channel, as long as the facts say, and never the future."""

from __future__ import annotations

import numpy as np
import toy
from hypothesis import given, settings
from hypothesis import strategies as st

from genba.spec.conformance import check_observation
from genba.spec.observation import observe
from genba.spec.streams import dense, ragged
from genba.spec.units import MILLISECOND_NS, SECOND_NS


def _cart(times_ns: np.ndarray) -> dict:
    """The cart's 100 Hz channel; each sample's position is its own index."""
    values = np.zeros((len(times_ns), 2))
    values[:, 0] = np.arange(len(times_ns)) % 50
    return {"cart": dense(times_ns, values)}


@settings(max_examples=60)
@given(
    gaps_ms=st.lists(st.integers(0, 40), min_size=1, max_size=60),
    now_ms=st.integers(0, 900),
)
def test_no_sample_is_from_the_future_too_old_or_beyond_the_window(gaps_ms, now_ms):
    times_ns = np.cumsum(gaps_ms).astype(np.int64) * MILLISECOND_NS
    now_ns = now_ms * MILLISECOND_NS
    observation = observe(toy.CART_FACTS, _cart(times_ns), now_ns)
    check_observation(toy.CART_FACTS, observation)
    # history 0.1 s at 100 Hz: at most 10 samples, none older than 0.1 s and half a period.
    inside = times_ns[(times_ns <= now_ns) & (times_ns > now_ns - 105 * MILLISECOND_NS)][-10:]
    got = observation.streams["cart"].times_ns if "cart" in observation.streams else np.zeros(0, np.int64)
    np.testing.assert_array_equal(got, inside)


def test_changing_the_future_changes_nothing_that_is_seen():
    streams = _cart(np.arange(50) * 10 * MILLISECOND_NS)
    now_ns = 200 * MILLISECOND_NS
    before = observe(toy.CART_FACTS, streams, now_ns).streams["cart"].values.copy()
    streams["cart"].values[21:] = 49.0
    np.testing.assert_array_equal(observe(toy.CART_FACTS, streams, now_ns).streams["cart"].values, before)


def test_values_are_not_copied():
    streams = _cart(np.arange(50) * 10 * MILLISECOND_NS)
    seen = observe(toy.CART_FACTS, streams, SECOND_NS // 4).streams["cart"]
    assert np.shares_memory(seen.values, streams["cart"].values)


def test_a_channel_that_has_not_spoken_is_absent():
    assert "goal" not in observe(toy.CART_FACTS, _cart(np.arange(5) * MILLISECOND_NS), SECOND_NS).streams


def test_of_entities_the_newest_snapshot_counts_however_old_it_is():
    rows = [np.full((n, 2), n, np.float32) for n in (1, 2, 3)]
    streams = {"orders": ragged([0, 10 * SECOND_NS, 20 * SECOND_NS], rows)}
    seen = observe(toy.LINES_FACTS, streams, 19 * SECOND_NS).streams["orders"]
    np.testing.assert_array_equal(seen.sample(-1), rows[1])
    assert len(seen) == 1
