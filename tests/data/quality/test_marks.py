"""A part of a stream keeps the marks that the whole keeps of it, wherever it begins; two streams with noise share none."""

import numpy as np
import pytest

from genba.data.quality.marks import NUM_MARKS, RUN, hash_samples, take_marks
from genba.spec.streams import Stream, ragged


def noisy(seed, count=1000):
    values = np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)
    return Stream(np.arange(count, dtype=np.int64) * 1000, values)


def marks(stream):
    return take_marks([hash_samples(stream)], stream.times_ns)


def test_part_keeps_what_the_whole_keeps_of_it():
    whole, part = noisy(0), noisy(0).slice(333, 901)
    of_whole, of_part = marks(whole), marks(part)
    assert len(of_whole.hashes) == NUM_MARKS
    # Runs that lie in the part: the last begins RUN samples before its end.
    inside = (of_whole.times_ns >= 333_000) & (of_whole.times_ns <= (901 - RUN) * 1000)
    assert inside.sum() > 10
    kept = dict(zip(of_part.hashes.tolist(), of_part.times_ns.tolist(), strict=True))
    wanted = dict(zip(of_whole.hashes[inside].tolist(), of_whole.times_ns[inside].tolist(), strict=True))
    assert {mark: kept.get(mark) for mark in wanted} == wanted


def test_other_noise_shares_no_mark():
    assert not set(marks(noisy(0)).hashes.tolist()) & set(marks(noisy(1)).hashes.tolist())


def test_run_that_repeats_a_sample_is_not_kept():
    still = Stream(np.arange(40, dtype=np.int64), np.zeros((40, 2), np.float32))
    assert len(marks(still).hashes) == 0
    values = np.arange(40, dtype=np.float32)[:, None].copy()
    values[20] = values[19]
    # Of the 33 runs those with both samples 19 and 20 are left out: they begin from 13 to 19.
    found = marks(Stream(np.arange(40, dtype=np.int64), values)).times_ns
    assert sorted(found.tolist()) == [t for t in range(33) if not 13 <= t <= 19]


@pytest.mark.parametrize(
    "stream",
    [
        noisy(2, 50),
        Stream(
            np.arange(50, dtype=np.int64), np.random.default_rng(0).integers(0, 255, (50, 5, 7, 3)).astype(np.uint8)
        ),
        ragged(
            list(range(50)), [np.random.default_rng(i).normal(size=(i % 4, 3)).astype(np.float32) for i in range(50)]
        ),
    ],
    ids=["numbers", "pictures", "rows"],
)
def test_hash_of_a_sample_does_not_depend_on_the_piece_it_is_in(stream):
    whole = hash_samples(stream)
    parts = [hash_samples(stream.slice(first, last)) for first, last in ((0, 1), (1, 33), (33, 50))]
    assert np.concatenate(parts).tolist() == whole.tolist()
    # No two samples are equal, but those without a row.
    empty = 0 if stream.splits is None else int((np.diff(stream.splits) == 0).sum())
    assert len(set(whole.tolist())) == 50 - max(empty - 1, 0)
