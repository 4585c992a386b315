"""Packing changes where an episode lies and nothing else; whatever interrupts it, every episode stays readable."""

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
from random_episodes import random_episode

from genba.data.codecs import StorageChoices
from genba.data.compact import LOCK_NAME, alone, compact, plan
from genba.data.fsck import fsck_vault
from genba.data.shard import ShardFile
from genba.data.vault import Vault
from genba.errors import CorruptShardError, StorageError
from genba.spec.episode import Episode


def owned(embodiment, seed, **metadata):
    episode = random_episode(embodiment, seed, num_steps=4)
    return Episode(replace(episode.metadata, **metadata), episode.streams)


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    for episode_id, episode in expected.items():
        assert replace(got[episode_id].metadata, outcome={}) == replace(episode.metadata, outcome={})
        for name, stream in episode.streams.items():
            np.testing.assert_array_equal(got[episode_id].streams[name].times_ns, stream.times_ns)
            np.testing.assert_array_equal(got[episode_id].streams[name].values, stream.values)


def everything_in(vault):
    return {entry.episode_id: vault.read(entry.episode_id) for entry in vault.entries()}


def test_packing_changes_no_episode_and_no_statistics(three, everything):
    for seed in range(3, 8):
        three.append(random_episode(everything, seed, num_steps=4))
    before, statistics = everything_in(three), three.statistics(everything.id).to_json()
    windows = [(e.num_windows, e.start_ns, e.end_ns) for e in three.entries()]
    (done,) = compact(three)
    assert (done.num_episodes, done.num_shards) == (8, 8)
    assert three.shard_names() == [done.file]
    assert_same(everything_in(three), before)
    assert three.statistics(everything.id).to_json() == statistics
    assert [(e.num_windows, e.start_ns, e.end_ns) for e in three.entries()] == windows
    assert [p for p in fsck_vault(three) if p] == []
    # Nothing is left to pack, and what is appended later is packed with it.
    assert list(compact(three)) == []
    three.append(random_episode(everything, 9, num_steps=4))
    (again,) = compact(three)
    assert (again.num_episodes, again.num_shards) == (9, 2)


def test_a_lost_catalog_is_rebuilt_from_packed_shards(three, everything):
    list(compact(three))
    entries, statistics = three.entries(), three.statistics(everything.id).to_json()
    three.catalog.path.unlink()
    again = Vault.open(three.path, create=True, embodiments=[everything])
    assert again.rebuild() == 3
    assert [replace(e, metadata=replace(e.metadata, outcome={})) for e in again.entries()] == [
        replace(e, metadata=replace(e.metadata, outcome={})) for e in entries
    ]
    assert again.statistics(everything.id).to_json() == statistics


def test_owners_data_sets_and_plain_shards_stay_apart(tmp_path, everything):
    vault = Vault.open(tmp_path, create=True, embodiments=[everything])
    plain = Vault.open(tmp_path, embodiments=[everything], choices=StorageChoices(encrypt=False))
    whose = [("fleet", "a"), ("fleet", "b"), ("rival", "a")]
    for seed in range(6):
        owner, dataset = whose[seed % 3]
        vault.append(owned(everything, seed, owner=owner, dataset=dataset))
    for seed in (6, 7):
        plain.append(owned(everything, seed, owner="fleet", dataset="a"))
    assert sorted(done.num_episodes for done in compact(vault)) == [2, 2, 2, 2]
    shards = vault.catalog.shards()
    assert sorted((s.owner, s.dataset, s.key_id) for s in shards) == [
        ("fleet", "a", ""),
        ("fleet", "a", "fleet/a"),
        ("fleet", "b", "fleet/b"),
        ("rival", "a", "rival/a"),
    ]
    owners = {entry.file: (entry.metadata.owner, entry.metadata.dataset) for entry in vault.entries()}
    assert owners == {shard.file: (shard.owner, shard.dataset) for shard in shards}


def test_shards_are_packed_up_to_the_target(three):
    (shard, *_) = three.catalog.shards()
    shards = [replace(shard, file=str(i), size_bytes=30) for i in range(7)]
    # 30 + 30 + 30 fit into 100, a fourth does not; the seventh stays alone. 50 is half: large enough already.
    assert [[s.file for s in group] for group in plan(shards, 100, {})] == [["0", "1", "2"], ["3", "4", "5"]]
    assert plan([replace(s, size_bytes=50) for s in shards], 100, {}) == []


def test_shards_under_different_agreements_stay_apart(three):
    (shard, *_) = three.catalog.shards()
    shards = [replace(shard, file=str(i), size_bytes=10) for i in range(4)]
    agreements = {"0": ("one",), "1": ("other",), "2": ("one",), "3": ("other",)}
    assert [[s.file for s in group] for group in plan(shards, 100, agreements)] == [["0", "2"], ["1", "3"]]


def test_open_readers_and_old_entries_survive(three):
    entries = three.entries()
    before = everything_in(three)
    opened = three.shard(entries[0])
    stored = opened.streams["lidar"]
    list(compact(three))
    # A mapped file lives on as long as somebody has it open; who has an old entry is led to the new place.
    np.testing.assert_array_equal(stored.decode().values, before[entries[0].episode_id].streams["lidar"].values)
    got = {entry.episode_id: three.shard(entry).episode() for entry in entries}
    assert_same(got, before)


def test_episodes_of_one_shard_share_the_opened_file(three, monkeypatch):
    list(compact(three))
    opened, init = [], ShardFile.__init__
    monkeypatch.setattr(ShardFile, "__init__", lambda self, *a, **k: (opened.append(self), init(self, *a, **k))[1])
    kept = [three.shard(entry) for entry in three.entries()]
    assert len(kept) == 3
    assert len(opened) == 1


def test_a_damaged_shard_stops_packing_and_nothing_is_lost(three):
    entries = three.entries()
    path = three.path / entries[1].file
    content = bytearray(path.read_bytes())
    content[entries[1].offset + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptShardError, match="block 0"):
        list(compact(three))
    assert len(three.shard_names()) == 3
    for entry in (entries[0], entries[2]):
        three.read(entry.episode_id)


def test_only_one_process_packs_at_a_time(three):
    with (
        alone(three),
        pytest.raises(StorageError, match=f"{LOCK_NAME}: another process packs or repairs this vault; wait"),
    ):
        list(compact(three))
    assert len(list(compact(three))) == 1


_KILLED = """
import os, signal, sys
from genba.data import catalog, storage
from genba.data.compact import compact
from genba.data.vault import Vault
from genba.spec.embodiment import load_embodiment

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

setattr({victim}, die)
list(compact(Vault.open({path!r}, embodiments=[load_embodiment({facts!r})])))
"""


@pytest.mark.parametrize(
    ("victim", "left"),
    [
        ("os, 'fsync'", ["half-written"]),
        ("catalog.Catalog, 'replace'", ["superseded"]),
        ("storage.Storage, 'remove'", ["superseded"] * 3),
    ],
    ids=["while writing", "before cataloguing", "before removing"],
)
def test_packing_killed_at_any_step_loses_nothing(three, everything, request, victim, left):
    before = everything_in(three)
    facts = str(request.config.rootpath / "tests" / "model" / "everything.toml")
    code = textwrap.dedent(_KILLED).format(victim=victim, path=str(three.path), facts=facts)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert_same(everything_in(three), before)
    assert [p.kind for p in fsck_vault(three) if p] == left
    # The same command goes on, and a catalog made anew knows each episode once.
    list(compact(three))
    assert_same(everything_in(three), before)
    three.catalog.path.unlink()
    again = Vault.open(three.path, create=True, embodiments=[everything])
    assert again.rebuild() == 3
    assert_same(everything_in(again), before)


def test_a_full_disk_while_packing_leaves_everything_as_it_was(three, monkeypatch):
    before, names = everything_in(three), three.shard_names()

    def full(descriptor, data):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageError, match="No space left on device"):
        list(compact(three))
    monkeypatch.undo()
    assert three.shard_names() == names
    assert three.partial_names() == []
    assert_same(everything_in(three), before)


def test_a_vault_that_cannot_be_written_is_not_packed(three, monkeypatch):
    # Root may write anywhere, so a folder stands where the lock would be.
    (three.path / LOCK_NAME).mkdir()
    with pytest.raises(StorageError, match="need a vault that can be written"):
        list(compact(three))
    assert len(everything_in(three)) == 3
