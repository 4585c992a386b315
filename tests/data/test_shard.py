"""What a shard gives away, what it does not, and how it answers to bytes that were changed or moved."""

import base64
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from random_episodes import random_episode

from genba.data.codecs import StorageChoices
from genba.data.salvage import DamagedShard
from genba.data.shard import FORMAT, ShardFile
from genba.data.vault import Vault
from genba.errors import ConfigError, CorruptShardError, KeyUnavailableError
from genba.spec.episode import Episode
from genba.trust.keys import FileKeys, key_id


def change(vault, file, start, data):
    path = vault.path / file
    content = bytearray(path.read_bytes())
    assert content[start : start + len(data)] != data
    content[start : start + len(data)] = data
    path.write_bytes(content)


def block(vault, entry, name, index):
    stored = vault.shard(entry).streams[name]
    low, high = stored.bounds[index : index + 2].tolist()
    return low, (vault.path / entry.file).read_bytes()[low:high]


def owned(embodiment, seed, **metadata):
    episode = random_episode(embodiment, seed)
    return Episode(replace(episode.metadata, **metadata), episode.streams)


def test_nothing_of_an_episode_is_in_clear(vault, everything):
    episode = owned(everything, 0, instruction="hold 現場 secret", source="secret-source", owner="fleet")
    joints = np.full((len(episode.streams["joints"].times_ns), 3), 1.2345, np.float32)
    streams = episode.streams | {"joints": replace(episode.streams["joints"], values=joints)}
    texts = (b"secret", np.float32(1.2345).tobytes() * 3, episode.streams["joints"].times_ns[:2].tobytes())
    for encrypt in (True, False):
        kept = Vault.open(
            vault.path / str(encrypt), create=True, embodiments=[everything], choices=StorageChoices(encrypt=encrypt)
        )
        kept.append(Episode(episode.metadata, streams))
        content = (kept.path / kept.entries()[0].file).read_bytes()
        assert [text in content for text in texts] == [not encrypt] * 3
        # Whose it is must be readable without a key: agreements are decided on that.
        assert b'"owner":"fleet"' in content


def test_header_reads_without_a_key_and_the_rest_does_not(three, everything):
    entry = three.entries()[0]
    opened = ShardFile(three.storage, entry.file, keys=None)
    assert (opened.header.owner, opened.header.dataset) == ("genba", "default")
    assert opened.header.embodiment_id == everything.id
    assert opened.num_episodes == 1
    with pytest.raises(KeyUnavailableError, match="sealed under key 'genba/default', and no keys were given"):
        opened.episode(0)


def test_no_two_shards_share_a_data_key(three):
    headers = [ShardFile(three.storage, entry.file, keys=None).header for entry in three.entries()]
    # AES key wrap has no randomness, so equal data keys would be wrapped alike.
    assert len({header.wrapped_key for header in headers}) == 3
    assert len({header.shard for header in headers}) == 3


def test_blocks_that_were_swapped_are_found(three):
    entry = three.entries()[0]
    (first, one), (second, other) = block(three, entry, "lidar", 0), block(three, entry, "lidar", 1)
    size = min(len(one), len(other))
    change(three, entry.file, first, other[:size])
    change(three, entry.file, second, one[:size])
    with pytest.raises(CorruptShardError, match=r"lidar: block 0: .*does not verify: it was changed, cut or moved"):
        three.read(entry.episode_id)
    # Each block stands for itself: other streams still read.
    assert len(three.shard(entry).streams["front"].decode())


def test_a_block_of_another_shard_is_found(three):
    one, other = three.entries()[:2]
    start, _ = block(three, one, "action", 0)
    _, theirs = block(three, other, "action", 0)
    change(three, one.file, start, theirs)
    with pytest.raises(CorruptShardError, match=r"action: block 0: .*does not verify"):
        three.read(one.episode_id)


def test_every_byte_of_an_index_and_of_the_blocks_is_held(three):
    """A byte flipped anywhere between the first batch and the footer is found by reading, or was padding."""
    entry = three.entries()[0]
    path = three.path / entry.file
    content = path.read_bytes()
    expected = three.read(entry.episode_id)
    rng = np.random.default_rng(0)
    found = 0
    for at in rng.integers(2000, len(content), 60).tolist():
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << int(rng.integers(8))]) + content[at + 1 :])
        try:
            got = three.shard(entry).episode()
        except CorruptShardError:
            found += 1
            continue
        assert got.metadata.episode_id == expected.metadata.episode_id
        for name, stream in expected.streams.items():
            np.testing.assert_array_equal(got.streams[name].values, stream.values)
            np.testing.assert_array_equal(got.streams[name].times_ns, stream.times_ns)
    assert found > 20


@pytest.mark.parametrize("encrypt", [True, False], ids=["sealed", "plain"])
def test_no_damage_brings_anything_but_the_error_that_names_the_shard(tmp_path, everything, encrypt):
    vault = Vault.open(tmp_path, create=True, embodiments=[everything], choices=StorageChoices(encrypt=encrypt))
    vault.append(random_episode(everything, 0, num_steps=4))
    entry = vault.entries()[0]
    path, rng = vault.path / entry.file, np.random.default_rng(1)
    good, refused = path.read_bytes(), 0
    for _ in range(150):
        damaged = bytearray(good)
        for _ in range(int(rng.integers(1, 4))):
            # Arrow's own bytes at both ends three times as often as their share.
            at = int(rng.choice([rng.integers(len(good)), rng.integers(3000), len(good) - 1 - rng.integers(2000)]))
            damaged[at] = int(rng.integers(256))
        path.unlink()
        path.write_bytes(damaged)
        for read in (lambda: vault.shard(entry).episode(), lambda: DamagedShard(vault, entry.file).shard(entry)):
            try:
                read()
            except (CorruptShardError, KeyUnavailableError) as error:
                refused += path.name in str(error)
    assert refused > 100


def test_a_shard_that_is_not_sealed_may_claim_anything_and_gets_no_memory(tmp_path, everything):
    vault = Vault.open(tmp_path, create=True, embodiments=[everything], choices=StorageChoices(encrypt=False))
    vault.append(random_episode(everything, 0))
    stored = vault.shard(vault.entries()[0]).streams
    splits = stored["lidar"].splits.copy()
    splits[-1] += 2**40
    for lies in (
        replace(stored["lidar"], splits=splits),
        replace(stored["front"], shape=(2**21, 2**21, 3)),
        replace(stored["joints"], bounds=stored["joints"].bounds + 2**50),
    ):
        with pytest.raises(CorruptShardError, match=r"which is too few|ends at byte .* of a file of"):
            lies.decode()


def test_a_stream_that_was_renamed_is_found(three):
    entry = three.entries()[0]
    content = (three.path / entry.file).read_bytes()
    at = content.index(b"forcefront")
    change(three, entry.file, at, b"fornefront")
    with pytest.raises(CorruptShardError, match=r"forne: sealed block 0 .* does not verify"):
        three.shard(entry)


def test_another_format_is_refused_by_name(three):
    entry = three.entries()[0]
    content = (three.path / entry.file).read_bytes()
    for found, hint in (
        ("genba-shard@1", "an earlier Genba wrote it: import or record it again"),
        ("genba-other@2", ""),
    ):
        (three.path / entry.file).write_bytes(content.replace(FORMAT.encode(), found.encode()))
        with pytest.raises(CorruptShardError, match=f"got format '{found}', expected 'genba-shard@2'.*{hint}"):
            three.shard(entry)


def test_a_destroyed_key_makes_its_data_set_unreadable_and_only_that(tmp_path, everything):
    keys = FileKeys(tmp_path / "keys")
    vault = Vault.open(tmp_path / "vault", create=True, embodiments=[everything], keys=keys)
    for seed, dataset in enumerate(("spring", "summer")):
        vault.append(owned(everything, seed, owner="fleet", dataset=dataset))
    one, other = vault.entries()
    keys.destroy(key_id("fleet", "spring"))
    with pytest.raises(KeyUnavailableError, match=r"\.arrow: .*key 'fleet/spring' was destroyed"):
        vault.read(one.episode_id)
    with pytest.raises(KeyUnavailableError, match="'fleet/spring' was destroyed"):
        vault.append(owned(everything, 7, owner="fleet", dataset="spring"))
    vault.read(other.episode_id)
    assert len(vault.shard_names()) == 2


def test_another_folder_of_keys_is_named(tmp_path, everything):
    Vault.open(tmp_path / "v", create=True, embodiments=[everything], keys=FileKeys(tmp_path / "a")).append(
        random_episode(everything, 0)
    )
    lost = Vault.open(tmp_path / "v", keys=FileKeys(tmp_path / "b"))
    entry = lost.entries()[0]
    with pytest.raises(KeyUnavailableError, match=r"b/genba%2Fdefault.key: no key 'genba/default'"):
        lost.shard(entry)
    FileKeys(tmp_path / "b").create("genba/default")
    with pytest.raises(KeyUnavailableError, match="did not wrap this"):
        lost.shard(entry)


def test_keys_inside_the_vault_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="a folder of keys inside the vault"):
        Vault.open(tmp_path, create=True, keys=FileKeys(tmp_path / "keys"))


def test_a_header_that_claims_another_owner_does_not_open(three):
    entry = three.entries()[0]
    content = (three.path / entry.file).read_bytes()
    (three.path / entry.file).write_bytes(content.replace(b'"owner":"genba"', b'"owner":"rival"'))
    with pytest.raises(CorruptShardError, match=r"sealed block 0 .* does not verify"):
        three.shard(entry)


def test_what_a_plain_shard_says_stays_plain_for_arrow(tmp_path, everything):
    """Any Arrow reads it: one batch of rows per stream, one batch of blocks."""
    vault = Vault.open(tmp_path, create=True, embodiments=[everything], choices=StorageChoices(encrypt=False))
    vault.append(random_episode(everything, 0))
    with pa.memory_map(str(tmp_path / vault.entries()[0].file)) as file:
        reader = pa.ipc.open_file(file)
        assert reader.num_record_batches == 2
        header = json.loads(reader.schema.metadata[b"header"])
        rows = reader.get_batch(0).to_pylist()
    assert header["cipher"] == "none"
    assert base64.b64decode(header["wrapped_key"]) == b""
    assert [row["name"] for row in rows[1:]] == sorted(random_episode(everything, 0).streams)
