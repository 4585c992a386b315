"""The same samples are known again in another container, under another name, cut out; others are not taken for them."""

from dataclasses import replace

import numpy as np
import pytest
from random_episodes import random_episode

from genba.data.codecs import StorageChoices, encode
from genba.data.fingerprint import DISTINCT, LEAST, MEAN, MOST, content_of, episode_content, runs
from genba.spec.embodiment import Embodiment
from genba.spec.episode import Episode
from genba.spec.streams import Stream, ragged


def walk(seed: int, samples: int, columns: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(samples, columns)).cumsum(0).astype(np.float32)


def content(embodiment: Embodiment, episode: Episode) -> dict[str, frozenset[bytes]]:
    encoded = {n: encode(embodiment, n, s, StorageChoices()) for n, s in episode.streams.items()}
    return episode_content(embodiment, episode.streams, {n: (e.codec, e.blocks) for n, e in encoded.items()})


def test_runs_are_between_the_bounds_and_cover_everything_but_what_stands_still():
    values = walk(0, 10_000)
    pieces = runs(values)
    np.testing.assert_array_equal(np.concatenate(pieces), values)
    sizes = [len(piece) for piece in pieces]
    assert min(sizes[:-1]) >= LEAST and max(sizes) <= MOST
    # An end is as likely after any sample from the least on: LEAST + MEAN samples on average, less what the most cuts off.
    assert LEAST + 0.7 * MEAN < np.mean(sizes) < LEAST + MEAN


@pytest.mark.parametrize("samples", [1, LEAST - 1, LEAST, 200])
def test_what_stands_still_or_switches_has_no_pieces(samples):
    still = np.zeros((samples, 3), np.float32)
    switching = (np.arange(samples)[:, None] // 5 % (DISTINCT - 1)).astype(np.float32)
    assert runs(still) == [] and runs(switching) == []


def test_an_excerpt_has_the_pieces_of_the_whole_but_for_its_ends(everything):
    values = walk(1, 4_000)
    times_ns = np.arange(4_000, dtype=np.int64)
    whole = content_of(everything, "joints", Stream(times_ns, values))
    part = content_of(everything, "joints", Stream(times_ns[:1_500] + 77, values[1_234:2_734]))
    # About 1,500 / (LEAST + MEAN) pieces, of which only the first few and the last differ.
    assert len(part) > 25 and len(part - whole) <= 4


def test_the_same_samples_have_the_same_content_whatever_their_name_clock_precision_and_zeros(everything):
    episode = random_episode(everything, 3, num_steps=20)
    other = {}
    for name, stream in episode.streams.items():
        values = stream.values
        if name == "joints":
            # As a container of float64 with negative zeros and another NaN gives them back.
            values = values.astype(np.float64)
            values[values == 0] = -0.0
            values[np.isnan(values)] = -np.nan
        other[name] = Stream(stream.times_ns + 10**9, values.astype(stream.values.dtype), stream.splits)
    renamed = replace(episode.metadata, owner="else", dataset="other", episode_id="x", seed=9)
    assert content(everything, Episode(renamed, other)) == content(everything, episode)


def test_other_data_of_the_same_machine_share_nothing(everything):
    one, other = (content(everything, random_episode(everything, seed, num_steps=20)) for seed in (3, 4))
    # Nothing of the lines: they say two numbers a snapshot.
    assert set(one) == {"joints", "force", "front", "front as stored", "lidar", "lidar as stored", "orders"}
    assert all(not (one[name] & other[name]) for name in one if name in other)


def test_dark_frames_and_snapshots_of_few_states_say_nothing(everything):
    times_ns = np.arange(3, dtype=np.int64)
    dark = Stream(times_ns, np.random.default_rng(0).integers(0, DISTINCT - 1, (3, 20, 24, 3), np.uint8))
    states = ragged(times_ns, [np.tile(np.float32([[1, n]]), (50, 1)) for n in range(3)])
    assert content_of(everything, "front", dark) == frozenset() == content_of(everything, "orders", states)


def test_a_sample_that_was_changed_a_little_is_another(everything):
    values = walk(2, 400)
    times_ns = np.arange(400, dtype=np.int64)
    whole = content_of(everything, "joints", Stream(times_ns, values))
    finer = content_of(everything, "joints", Stream(times_ns, np.nextafter(values, np.float32(np.inf))))
    assert not whole & finer


def test_a_sweep_and_a_snapshot_without_rows_say_nothing(everything):
    empty = ragged([1, 2], [np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)])
    assert content_of(everything, "lidar", empty) == frozenset()
