"""A batch of windows is what packing one observation after another gives, bit for bit; targets stand beside it."""

import tempfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_episodes import random_episode

from genba.data.vault import Vault
from genba.data.windows import WindowSource
from genba.errors import DataError
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.normalise import Normalizer, packed_shapes
from genba.spec.observation import observe
from genba.spec.streams import Stream, dense, ragged
from genba.spec.units import to_ns


def source_of(vault, embodiment):
    normalizer = Normalizer(embodiment, vault.statistics(embodiment.id))
    return WindowSource(vault, embodiment, normalizer, vault.entries(embodiment_id=embodiment.id))


def assert_packs_like_observe(vault, embodiment):
    source = source_of(vault, embodiment)
    batch = source.batch(np.arange(len(source)))
    episodes = {entry.episode_id: vault.read(entry.episode_id) for entry in vault.entries()}
    later_ns = to_ns(embodiment.control.horizon * embodiment.control.period_s)
    for i in range(len(source)):
        episode_id, time_ns = source.locate(i)
        episode = episodes[episode_id]
        assert batch["next.valid"][i] == (time_ns + later_ns <= episode.end_ns)
        moments = {"": time_ns, "next.": time_ns + later_ns if batch["next.valid"][i] else time_ns}
        for prefix, moment_ns in moments.items():
            observation = observe(embodiment, episode.streams, moment_ns, episode.metadata.instruction)
            packed = source.normalizer.pack(observation)
            for name, array in packed.items():
                got = batch[prefix + name]
                assert got.dtype == array.dtype, prefix + name
                np.testing.assert_array_equal(got[i], array, err_msg=f"{prefix}{name} of {episode_id} at {moment_ns}")


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    labelled=st.booleans(),
    absent=st.sets(st.sampled_from(["joints", "force", "front", "lidar", "orders", "lines", "duration"]), max_size=3),
    instruction=st.sampled_from(["", "grip", "現場 9"]),
    num_steps=st.integers(1, 14),
)
def test_batch_equals_packing_each_observation(everything, seed, labelled, absent, instruction, num_steps):
    with tempfile.TemporaryDirectory() as folder:
        vault = Vault.open(folder, create=True, embodiments=[everything])
        # One whole episode first, so that every channel has statistics (one in fifty has no row of some set); then the drawn one.
        vault.append(random_episode(everything, 20_000, num_steps=6))
        drawn = random_episode(
            everything, seed, num_steps=num_steps, labelled=labelled, absent=frozenset(absent), instruction=instruction
        )
        vault.append(drawn)
        assert_packs_like_observe(vault, everything)


def test_every_array_has_the_packed_shape(three, everything):
    source = source_of(three, everything)
    batch = source.batch(np.array([3, 0, 3]))
    for name, (shape, dtype) in packed_shapes(everything).items():
        for prefix in ("", "next."):
            assert batch[prefix + name].shape == (3, *shape), prefix + name
            assert batch[prefix + name].dtype == dtype, prefix + name
            np.testing.assert_array_equal(batch[prefix + name][0], batch[prefix + name][2])


def test_windows_are_numbered_by_episode_and_time(three, everything):
    source = source_of(three, everything)
    assert len(source) == 3 * 12
    assert source.locate(0) == ("test/everything@1/random/000000", 7_000_000_000)
    # 0.1 s period: the third anchor of the second episode is 0.2 s after its start.
    assert source.locate(14) == ("test/everything@1/random/000001", 7_200_000_000)
    with pytest.raises(IndexError, match="expected 0 to 35"):
        source.batch(np.array([36]))


def test_label_is_taught_and_action_is_what_was_executed(vault, everything):
    plain = random_episode(everything, 0, num_steps=6, labelled=True, missing=0.0)
    # No base can be stale or missing: the force sensor speaks at every control step.
    steps_ns = plain.streams["action"].times_ns
    streams = {**plain.streams, "force": dense(steps_ns, np.full((6, 1), 2.0, np.float32))}
    vault.append(Episode(plain.metadata, streams))
    source = source_of(vault, everything)
    batch = source.batch(np.arange(6))
    for i in range(6):
        base = batch["action.base"][i]
        # grip is on a symlog scale, linear below 0.1 N, relative to force.normal = 2 N; speed is absolute.
        np.testing.assert_allclose(base, [0.0, np.log1p(2.0 / 0.1)], rtol=1e-6)
        for name, length, values in (("action", 4, streams["label"].values), ("executed", 3, streams["action"].values)):
            inside = min(length, 6 - i)
            expected = source.normalizer.pack_actions(values[i : i + inside], base)
            np.testing.assert_array_equal(batch[f"{name}.values"][i, :inside], expected)
            assert batch[f"{name}.mask"][i].tolist() == [k < inside for k in range(length)]
            assert not batch[f"{name}.values"][i, inside:].any()


def test_unpacking_the_target_gives_back_the_command(three, everything):
    source = source_of(three, everything)
    batch = source.batch(np.arange(12))
    taught = three.read("test/everything@1/random/000000").streams["action"].values
    mask = batch["action.mask"][:, 0]
    assert mask.sum() >= 6
    unpacked = source.normalizer.unpack_actions(batch["action.values"], batch["action.base"])[:, 0]
    np.testing.assert_allclose(unpacked[mask], taught[mask], rtol=1e-4, atol=1e-4)


def test_action_missing_in_the_middle_is_masked_not_shifted(vault, everything):
    plain = random_episode(everything, 0, num_steps=6, missing=0.0, absent=frozenset(["force"]))
    action = plain.streams["action"]
    kept = np.array([0, 1, 3, 4, 5])
    streams = {**plain.streams, "action": Stream(action.times_ns[kept], action.values[kept])}
    vault.append(random_episode(everything, 9))
    vault.append(Episode(plain.metadata, streams))
    source = source_of(vault, everything)
    batch = source.batch(np.arange(5))
    assert batch["action.mask"][0].tolist() == [True, True, False, True]
    assert batch["action.mask"][1].tolist() == [True, False, True, True]
    expected = source.normalizer.pack_actions(action.values[[0, 1, 3]], batch["action.base"][0])
    np.testing.assert_array_equal(batch["action.values"][0][[0, 1, 3]], expected)


def test_unknown_base_leaves_nothing_to_learn(vault, everything):
    plain = random_episode(everything, 0, num_steps=3, missing=0.0)
    steps_ns = plain.streams["action"].times_ns
    broken = dense(steps_ns, np.array([[1.0], [np.nan], [1.0]], np.float32))
    vault.append(Episode(plain.metadata, {**plain.streams, "force": broken}))
    batch = source_of(vault, everything).batch(np.arange(3))
    assert batch["action.mask"].any(1).tolist() == [True, False, True]
    assert np.isfinite(batch["action.values"]).all()


def test_choices_keep_scores_and_chosen_rows(vault, everything):
    nan, no = np.nan, -np.inf
    plain = random_episode(everything, 0, num_steps=2)
    steps_ns = plain.streams["action"].times_ns
    rank = [np.array([0.5, -1.0], np.float32), np.array([2.0], np.float32)]
    # Two orders over three lines: the first may not go to line 0, the second may go nowhere.
    assign = [np.array([[no, 1.0, 3.0], [no, no, no]], np.float32), np.array([[4.0, 1.0, nan]], np.float32)]
    streams = {
        **plain.streams,
        "action.sequence": ragged(steps_ns, rank),
        "action.line": ragged(steps_ns, assign),
    }
    vault.append(Episode(plain.metadata, streams))
    batch = source_of(vault, everything).batch(np.arange(2))
    assert batch["choice.sequence.values"].tolist() == [[0.5, -1.0, 0, 0, 0, 0, 0], [2.0, 0, 0, 0, 0, 0, 0]]
    assert batch["choice.sequence.mask"].sum(1).tolist() == [2, 1]
    assert batch["choice.line.values"].tolist() == [[2, -1, -1, -1, -1, -1, -1], [0, -1, -1, -1, -1, -1, -1]]
    assert batch["choice.line.mask"].sum(1).tolist() == [1, 1]
    assert batch["choice.line.values"].dtype == np.int64


def test_log_without_decisions_gives_windows_of_the_world_only(vault, everything):
    decisions = frozenset(["action", "action.sequence", "action.line"])
    vault.append(random_episode(everything, 0, num_steps=5, absent=decisions))
    assert vault.entries()[0].num_windows in (5, 6)
    source = source_of(vault, everything)
    batch = source.batch(np.arange(len(source)))
    assert len(source) == vault.entries()[0].num_windows
    assert not batch["action.mask"].any()
    assert not batch["choice.line.mask"].any()
    assert batch["next.valid"].tolist() == [True] * (len(source) - 3) + [False] * 3


def test_no_windows_without_episodes_of_that_machine(three, everything):
    normalizer = Normalizer(everything, three.statistics(everything.id))
    with pytest.raises(DataError, match="expected at least one"):
        WindowSource(three, everything, normalizer, [])
    foreign = replace(three.entries()[0], metadata=EpisodeMetadata(episode_id="a", embodiment_id="toy/cart@1"))
    with pytest.raises(DataError, match="an episode of toy/cart@1"):
        WindowSource(three, everything, normalizer, [foreign])


@pytest.mark.parametrize("memory_bytes", [0, 2000, 20_000])
def test_what_is_not_kept_in_memory_is_read_again(three, everything, memory_bytes):
    plain = source_of(three, everything)
    bounded = WindowSource(three, everything, plain.normalizer, three.entries(), memory_bytes=memory_bytes)
    # In another order the second time: by then some episodes are kept and the others are not.
    for order in (np.arange(len(plain)), np.arange(len(plain))[::-1]):
        want, got = plain.batch(order), bounded.batch(order)
        assert want.keys() == got.keys()
        for name, array in want.items():
            np.testing.assert_array_equal(got[name], array, err_msg=name)
