"""Memory is used again when nobody looks at it, and never while somebody does."""

import numpy as np

from genba.data.recycle import LEAST_BYTES, Recycler


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_once_nobody_holds_it():
    recycler = Recycler()
    first = recycler.empty((4, LEAST_BYTES), np.uint8)
    at = address(first)
    first[:] = 7
    # A view of a view keeps it, also when the array itself is gone.
    part = first[1:].reshape(-1)[5:9]
    del first
    other = recycler.empty((4, LEAST_BYTES), np.uint8)
    assert address(other) != at
    other[:] = 0
    assert part.tolist() == [7] * 4
    del part
    assert address(recycler.empty((LEAST_BYTES,), np.float32)) == at


def test_no_more_is_kept_than_was_said():
    recycler = Recycler(kept_bytes=10 * LEAST_BYTES)
    held = [recycler.empty((2 * LEAST_BYTES,), np.uint8) for _ in range(8)]
    # Each takes an eighth more than it was asked for, and 64 bytes to begin where it should: four of a little over 2.25
    # times LEAST_BYTES are kept, a fifth would be over 11.
    assert [len(memory) for memory in recycler._kept] == 4 * [(2 * LEAST_BYTES + 64) * 9 // 8]
    assert len({address(array) for array in held}) == 8


def test_small_arrays_are_not_kept():
    recycler = Recycler()
    recycler.empty((LEAST_BYTES - 1,), np.uint8)
    assert not recycler._kept


def test_arrays_begin_where_rows_are_written_fastest():
    recycler = Recycler()
    held = [recycler.empty((LEAST_BYTES + i,), np.uint8) for i in range(5)]
    assert [address(array) % 64 for array in held] == [16] * 5
