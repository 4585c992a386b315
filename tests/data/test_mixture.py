"""A train step's windows depend on nothing but the seed and the step: resumed and cut over ranks they are the same."""

import numpy as np
import pytest

from genba.data.mixture import Mixture
from genba.data.windows import WindowSource
from genba.errors import ConfigError, DataError
from genba.spec.normalise import Normalizer


@pytest.fixture
def mixture(three, everything):
    """Of 3 episodes x 12 anchors = 36 windows, 8 per global batch."""
    source = WindowSource(three, everything, Normalizer(everything, three.statistics(everything.id)), three.entries())
    return Mixture({everything.id: source}, {everything.id: 8}, seed=5)


def test_every_window_comes_once_per_epoch_in_another_order(mixture, everything):
    # 9 steps x 8 windows = 72 = 2 epochs of 36; the border falls inside step 4.
    drawn = np.concatenate([mixture.indices(everything.id, step) for step in range(9)])
    assert sorted(drawn[:36]) == sorted(drawn[36:]) == list(range(36))
    assert not np.array_equal(drawn[:36], drawn[36:])
    assert not np.array_equal(drawn[:36], np.arange(36))
    assert mixture.epoch(everything.id, 9) == 2.0


def test_resume_equals_no_resume(mixture, everything):
    straight = [mixture.batch(step) for step in range(6)]
    resumed = Mixture(mixture.sources, mixture.batch_sizes, seed=5)
    for step in (4, 5):
        for name, array in resumed.batch(step)[everything.id].items():
            np.testing.assert_array_equal(array, straight[step][everything.id][name], err_msg=name)


def test_two_ranks_together_see_what_one_sees(mixture, everything):
    for step in (0, 4):
        whole = mixture.batch(step)[everything.id]
        shares = [mixture.batch(step, rank, 2)[everything.id] for rank in (0, 1)]
        for name, array in whole.items():
            np.testing.assert_array_equal(np.concatenate([s[name] for s in shares]), array, err_msg=name)


def test_batch_larger_than_an_epoch_walks_through_several(mixture, everything):
    wide = Mixture(mixture.sources, {everything.id: 100}, seed=5)
    drawn = np.concatenate([wide.indices(everything.id, step, rank, 4) for step in range(9) for rank in range(4)])
    # 900 windows = 25 epochs of 36: every window exactly 25 times.
    assert np.bincount(drawn).tolist() == [25] * 36


def test_seeds_differ(mixture, everything):
    other = Mixture(mixture.sources, mixture.batch_sizes, seed=6)
    assert not np.array_equal(other.indices(everything.id, 0), mixture.indices(everything.id, 0))


def test_what_cannot_be_mixed_is_refused(mixture, everything, three):
    with pytest.raises(ConfigError, match="rank 0 of 3: batch size 8"):
        mixture.batch(0, 0, 3)
    with pytest.raises(ConfigError, match="rank 2 of 2"):
        mixture.batch(0, 2, 2)
    with pytest.raises(ConfigError, match="got 0, expected at least 1"):
        Mixture(mixture.sources, {everything.id: 0}, seed=0)
    with pytest.raises(ConfigError, match="'toy/cart@1' has only one of source and batch size"):
        Mixture(mixture.sources, {everything.id: 8, "toy/cart@1": 8}, seed=0)


def test_source_without_windows_is_refused(mixture, everything):
    class Empty:
        entries = ()

        def __len__(self) -> int:
            return 0

    with pytest.raises(DataError, match="got no windows in 0 episodes"):
        Mixture({everything.id: Empty()}, {everything.id: 8}, seed=0)
