"""A train step's windows depend on nothing but the seed and the step: resumed and cut over ranks they are the same."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_episodes import random_episode
from toy import CART_FACTS, LINES_FACTS

from genba.data.mixture import CYCLE, Mixture, Share, apportion, worker_steps
from genba.data.vault import Vault
from genba.data.windows import WindowSource
from genba.errors import ConfigError, DataError
from genba.spec.episode import Episode
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


#: of the carts: owner, task, control steps (= windows)
CARTS = [("aki", "push", 10), ("ben", "push", 3), ("aki", "pull", 7), ("ben", "push", 4), ("chi", "pull", 30)]
CART, LINES = CART_FACTS.id, LINES_FACTS.id


@pytest.fixture(scope="module")
def owned(tmp_path_factory) -> dict[str, WindowSource]:
    """54 windows of carts of three owners and two tasks, and 8 of lines."""
    vault = Vault.open(tmp_path_factory.mktemp("owned"), create=True, embodiments=[CART_FACTS, LINES_FACTS])
    for seed, (owner, task, num_steps) in enumerate(CARTS):
        plain = random_episode(CART_FACTS, seed, num_steps=num_steps)
        vault.append(Episode(replace(plain.metadata, owner=owner, task_id=task), plain.streams))
    vault.append(random_episode(LINES_FACTS, 0, num_steps=8))
    return {
        facts.id: WindowSource(
            vault, facts, Normalizer(facts, vault.statistics(facts.id)), vault.entries(embodiment_id=facts.id)
        )
        for facts in (CART_FACTS, LINES_FACTS)
    }


def owner_of(source: WindowSource, index: int) -> tuple[str, str]:
    name, _ = source.locate(int(index))
    entry = next(e for e in source.entries if e.episode_id == name)
    return entry.metadata.owner, entry.metadata.task_id


SHARES = (
    Share(embodiment=CART, owner="ben", weight=0.5),
    Share(embodiment=CART, task="push", weight=0.25),
    Share(embodiment=CART, owner="chi", weight=0.0),
    Share(embodiment=CART, weight=0.25),
    Share(embodiment=LINES, weight=3.0),
)


def test_shares_are_kept_exactly_and_walk_through_their_own_windows(owned):
    mixture = Mixture(owned, {CART: 16, LINES: 2}, seed=3, shares=SHARES)
    # CYCLE / 16 steps are one cycle: ben half of it, then aki's pushes and (chi being left out) aki's pulls a quarter.
    drawn = np.concatenate([mixture.indices(CART, step) for step in range(CYCLE // 16)])
    found = [owner_of(owned[CART], index) for index in drawn]
    assert found.count(("ben", "push")) == CYCLE // 2
    assert found.count(("aki", "push")) == found.count(("aki", "pull")) == CYCLE // 4
    # Within a share every window comes equally often, up to the epoch under way: 2048 of 7 windows = 292 or 293 times.
    times = np.bincount(drawn, minlength=len(owned[CART]))
    of_ben = [times[i] for i in range(len(owned[CART])) if owner_of(owned[CART], i)[0] == "ben"]
    assert sorted(of_ben) == [292] * 3 + [293] * 4
    assert mixture.epochs(CART, CYCLE // 16)[SHARES[0]] == CYCLE / 2 / 7
    assert mixture.epochs(LINES, 4) == {SHARES[4]: 1.0}


def test_every_batch_is_near_the_weights(owned):
    mixture = Mixture(owned, {CART: 16, LINES: 2}, seed=3, shares=SHARES)
    for step in range(50):
        found = [owner_of(owned[CART], index) for index in mixture.indices(CART, step)]
        # 8, 4 and 4 of 16; an even spread is never a whole window off at either end.
        assert abs(found.count(("ben", "push")) - 8) <= 1
        assert abs(found.count(("aki", "push")) - 4) <= 1


@settings(max_examples=60, deadline=None)
@given(
    start=st.integers(0, 500),
    world_sizes=st.lists(st.sampled_from([1, 2, 3, 4, 6, 12, 24]), min_size=1, max_size=4),
    num_workers=st.integers(1, 5),
    seed=st.integers(0, 99),
    shares=st.sampled_from([(), SHARES]),
)
def test_nothing_twice_and_nothing_left_out_over_ranks_workers_and_resumes(
    owned, start, world_sizes, num_workers, seed, shares
):
    """However often a run stops and goes on with other ranks and workers, it sees the windows of one process."""
    sizes = {CART: 24, LINES: 24}
    alone = Mixture(owned, sizes, seed, shares)
    step = start
    for world_size in world_sizes:
        mixture = Mixture(owned, sizes, seed, shares)
        stop = step + 3
        made = sorted(s for worker in range(num_workers) for s in worker_steps(step, stop, worker, num_workers))
        assert made == list(range(step, stop))
        for s in made:
            for name in sizes:
                parts = [mixture.indices(name, s, rank, world_size) for rank in range(world_size)]
                np.testing.assert_array_equal(np.concatenate(parts), alone.indices(name, s))
        step = stop


def test_workers_keep_their_steps_when_a_run_goes_on():
    assert list(worker_steps(0, 10, 1, 3)) == [1, 4, 7]
    assert list(worker_steps(5, 10, 1, 3)) == [7]
    with pytest.raises(ConfigError, match="worker 3 of 3"):
        worker_steps(0, 1, 3, 3)


def test_a_whole_batch_is_apportioned_by_weight():
    # 10 over 5 : 3 : 2 divides; over 1 : 1 : 1 the odd one goes to the first.
    assert apportion(10, {"a": 5, "b": 3, "c": 2}) == {"a": 5, "b": 3, "c": 2}
    assert apportion(10, {"a": 1, "b": 1, "c": 1}) == {"a": 4, "b": 3, "c": 3}
    assert apportion(10, {"a": 1, "b": 0}) == {"a": 10, "b": 0}
    with pytest.raises(ConfigError, match="weight of b: got 1 of 1001, less than one in 10"):
        apportion(10, {"a": 1000, "b": 1})
    with pytest.raises(ConfigError, match="at least one positive"):
        apportion(10, {"a": 0})


def test_shares_that_do_not_fit_are_refused(owned):
    sizes = {CART: 4, LINES: 4}
    with pytest.raises(DataError, match=r"episode toy/cart@1/random/000000 \(owner aki, task push\) is in no share"):
        Mixture(owned, sizes, 0, [Share(owner="ben", weight=1), Share(embodiment=LINES, weight=1)])
    with pytest.raises(DataError, match="share owner=bem: got no episodes; did you mean 'ben'"):
        Mixture(owned, sizes, 0, [Share(owner="bem", weight=1), Share(weight=1)])
    with pytest.raises(DataError, match=f"{LINES}: every share with episodes of it has weight 0"):
        Mixture(owned, sizes, 0, [Share(embodiment=CART, weight=1), Share(weight=0)])
    with pytest.raises(ConfigError, match="less than one in 4096"):
        Mixture(owned, sizes, 0, [Share(owner="ben", weight=1e-5), Share(weight=1)])
    with pytest.raises(ConfigError, match="weight: got -1"):
        Share(weight=-1)
