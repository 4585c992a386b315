"""Any run of samples read by itself is that run of the whole stream, sealed or not, whatever the codec."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_episodes import random_episode

from genba.data import codecs
from genba.data.codecs import StorageChoices, encode
from genba.data.stored import StoredStream
from genba.data.vault import Vault
from genba.errors import CorruptShardError
from genba.spec.streams import Stream


@pytest.fixture(scope="module", params=["sealed", "plain", "444", "h264"])
def shard(request, tmp_path_factory, everything):
    choices = StorageChoices(
        encrypt=request.param != "plain",
        camera="h264" if request.param == "h264" else "jpeg",
        jpeg_subsampling="444" if request.param == "444" else "420",
        group_length=3,
    )
    with pytest.MonkeyPatch.context() as patch:
        # Small blocks, so that runs begin and end within them.
        patch.setattr(codecs, "BLOCK_BYTES", 100)
        vault = Vault.open(tmp_path_factory.mktemp("vault"), create=True, embodiments=[everything], choices=choices)
        vault.append(random_episode(everything, 5, num_steps=20, labelled=True))
    return vault.shard(vault.entries()[0])


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_run_is_a_part_of_the_whole(shard, data):
    name = data.draw(st.sampled_from(sorted(shard.streams)))
    stored = shard.streams[name]
    start = data.draw(st.integers(0, len(stored)))
    stop = data.draw(st.integers(start, len(stored)))
    whole = stored.decode()
    got = stored.values(start, stop)
    assert got.dtype == whole.values.dtype
    np.testing.assert_array_equal(got, whole.slice(start, stop).values)
    if start < stop:
        np.testing.assert_array_equal(stored.sample(start), whole.sample(start))


def test_every_block_but_the_last_holds_as_many_samples(shard):
    assert {name for name, s in shard.streams.items() if s.num_blocks > 1} >= {"joints", "front", "lidar", "orders"}
    for stored in shard.streams.values():
        assert stored.num_blocks == -(-len(stored) // stored.samples_per_block)
        assert stored.damaged_blocks() == []


def test_a_stream_without_some_blocks_lacks_their_samples(shard):
    for name in ("joints", "orders", "lidar"):
        stored, whole = shard.streams[name], shard.streams[name].decode()
        kept = [i for i in range(stored.num_blocks) if i != 1]
        got = StoredStream.of(stored.encoded(kept), name).decode()
        n = stored.samples_per_block
        left, right = whole.slice(0, n), whole.slice(2 * n, len(whole))
        np.testing.assert_array_equal(got.times_ns, np.concatenate([left.times_ns, right.times_ns]))
        np.testing.assert_array_equal(got.values, np.concatenate([left.values, right.values]))


def test_blocks_are_about_as_large_as_wanted(everything):
    times_ns = np.arange(10_000, dtype=np.int64)
    encoded = encode(everything, "joints", Stream(times_ns, np.zeros((10_000, 3), np.float32)), StorageChoices())
    # 12 bytes a sample: 2730 of them fit into 32 KiB.
    assert encoded.samples_per_block == 2730
    assert [len(block) // 12 for block in encoded.blocks] == [2730, 2730, 2730, 1810]


def test_choices_out_of_range_are_refused():
    for wrong, message in (
        ({"camera": "gif"}, "camera: got 'gif', expected 'jpeg' or 'h264'"),
        ({"jpeg_subsampling": "422"}, "jpeg_subsampling: got '422', expected '420' or '444'"),
        ({"group_length": 0}, "group_length: got 0, expected 1 to 250"),
        ({"quantizer": 52}, "quantizer: got 52, expected 0 to 51"),
    ):
        with pytest.raises(ValueError, match=message):
            StorageChoices(**wrong)


def test_a_block_that_does_not_decode_is_named(tmp_path, everything):
    vault = Vault.open(tmp_path, create=True, embodiments=[everything], choices=StorageChoices(encrypt=False))
    vault.append(random_episode(everything, 5))
    entry = vault.entries()[0]
    bounds = {name: list(pairwise(s.bounds.tolist())) for name, s in vault.shard(entry).streams.items()}
    # Frames and sweeps say what is wrong with them; telemetry that is not sealed would have to be compared (fsck).
    for name, message in (("front", "JPEG"), ("lidar", "block 1: got")):
        low, high = bounds[name][1]
        with (tmp_path / entry.file).open("r+b") as file:
            file.seek(low)
            file.write(bytes(high - low))
        with pytest.raises(CorruptShardError, match=rf"{name}: block 1: .*{message.split(': ')[-1]}"):
            vault.shard(entry).streams[name].decode()
        vault.shard(entry).streams[name].values(0, 1)
        assert vault.shard(entry).streams[name].damaged_blocks() == [1]
