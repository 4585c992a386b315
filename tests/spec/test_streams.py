"""Streams: every sample at its own time, none resampled, none copied."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genba.errors import SpecError
from genba.spec.streams import Stream, StreamBuffer, concatenate, dense, ragged


def _ragged(lengths: list[int], start_ns: int = 0) -> Stream:
    """Sample ``i`` has ``lengths[i]`` rows, all numbered from 0 over the whole stream."""
    rows = np.arange(sum(lengths), dtype=np.float32)[:, None]
    cuts = np.cumsum(lengths)[:-1]
    return ragged(np.arange(len(lengths)) + start_ns, np.split(rows, cuts))


def test_a_clock_that_goes_back_is_refused():
    with pytest.raises(SpecError, match="decreasing clock"):
        dense([0, 2, 1], np.zeros((3, 1)))


def test_equal_times_are_allowed_because_buses_send_bursts():
    assert len(dense([5, 5, 5], np.zeros((3, 1)))) == 3


def test_times_must_be_int64():
    with pytest.raises(SpecError, match="times_ns: got float64"):
        Stream(np.zeros(2), np.zeros((2, 1)))


def test_as_many_values_as_times():
    with pytest.raises(SpecError, match="got 3 samples, expected 2"):
        dense([0, 1], np.zeros((3, 1)))


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ([0, 1], r"splits: got int64\[2\], expected int64 \[3\]"),
        ([0, 2, 1], "does not rise"),
        ([1, 2, 3], "rise from 0"),
    ],
)
def test_splits_that_do_not_cover_the_rows_are_refused(splits, message):
    with pytest.raises(SpecError, match=message):
        Stream(np.array([0, 1]), np.zeros((3, 1)), np.array(splits))


def test_a_ragged_stream_of_nothing_has_no_shape_and_is_refused():
    with pytest.raises(SpecError, match="got no samples"):
        ragged([], [])


@given(lengths=st.lists(st.integers(0, 4), min_size=1, max_size=8), data=st.data())
def test_a_slice_of_a_ragged_stream_has_the_same_samples_and_copies_nothing(lengths, data):
    stream = _ragged(lengths)
    start = data.draw(st.integers(0, len(stream)))
    stop = data.draw(st.integers(start, len(stream)))
    cut = stream.slice(start, stop)
    assert len(cut) == stop - start
    for i in range(len(cut)):
        np.testing.assert_array_equal(cut.sample(i), stream.sample(start + i))
    assert cut.values.size == 0 or np.shares_memory(cut.values, stream.values)


@given(
    first=st.lists(st.integers(0, 3), min_size=1, max_size=5),
    second=st.lists(st.integers(0, 3), min_size=1, max_size=5),
)
def test_joining_ragged_parts_gives_the_samples_of_both_in_order(first, second):
    a, b = _ragged(first), _ragged(second, start_ns=len(first))
    joined = concatenate([a, b])
    wanted = [*(a.sample(i) for i in range(len(a))), *(b.sample(i) for i in range(len(b)))]
    assert len(joined) == len(wanted)
    for i, rows in enumerate(wanted):
        np.testing.assert_array_equal(joined.sample(i), rows)


def test_until_counts_the_samples_up_to_and_at_a_time():
    stream = dense([10, 20, 20, 30], np.zeros((4, 1)))
    assert [stream.until(t) for t in (9, 10, 19, 20, 99)] == [0, 1, 1, 3, 4]


def test_the_last_sample_can_be_asked_for_from_the_end():
    stream = _ragged([2, 0, 3])
    np.testing.assert_array_equal(stream.sample(-1)[:, 0], [2, 3, 4])
    assert len(stream.sample(-2)) == 0


def test_a_buffer_joins_what_comes_in_parts_and_leaves_silent_channels_out():
    buffer = StreamBuffer()
    buffer.append({"a": dense([0, 1], [[0], [1]]), "silent": dense([], np.zeros((0, 1)))})
    buffer.append({"a": dense([2], [[2]]), "b": _ragged([1, 2])})
    streams = buffer.streams()
    assert sorted(streams) == ["a", "b"]
    np.testing.assert_array_equal(streams["a"].values[:, 0], [0, 1, 2])


def test_a_buffer_forgets_the_old_but_never_the_newest_sample():
    buffer = StreamBuffer()
    buffer.append({"a": dense([0, 10, 20], [[0], [1], [2]]), "b": dense([0], [[7]])})
    buffer.forget_before({"a": 10, "b": 1_000})
    streams = buffer.streams()
    # The sample at 10 ns is not before 10 ns; b's only sample is old, but is all that is known of b.
    np.testing.assert_array_equal(streams["a"].times_ns, [10, 20])
    np.testing.assert_array_equal(streams["b"].times_ns, [0])


def test_a_buffer_leaves_out_what_a_clock_that_jumped_back_says_and_names_the_channel():
    buffer = StreamBuffer()
    buffer.append({"bus": dense([10, 20], [[1.0], [2.0]]), "lidar": _ragged([2, 3], start_ns=10)})
    assert buffer.went_back == ()
    buffer.append({"bus": dense([15, 20, 30], [[3.0], [4.0], [5.0]]), "lidar": _ragged([4], start_ns=2)})
    assert buffer.went_back == ("bus", "lidar")
    kept = buffer.streams()
    # 15 is older than 20; a second sample at 20 and the one at 30 go on
    assert kept["bus"].times_ns.tolist() == [10, 20, 20, 30] and kept["bus"].values[:, 0].tolist() == [1, 2, 4, 5]
    assert kept["lidar"].times_ns.tolist() == [10, 11]
    buffer.append({"lidar": _ragged([1], start_ns=12)})
    assert buffer.went_back == () and buffer.streams()["lidar"].times_ns.tolist() == [10, 11, 12]
