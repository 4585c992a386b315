"""Damage is named down to stream and block, and everything that is whole is saved."""

import os
from dataclasses import replace

import numpy as np
import pytest
from random_episodes import random_episode

from genba.data import codecs
from genba.data.codecs import StorageChoices
from genba.data.compact import compact
from genba.data.fsck import REPAIRABLE, describe, fsck_vault
from genba.data.salvage import repair
from genba.data.vault import Vault
from genba.errors import CorruptShardError, KeyUnavailableError
from genba.trust.keys import FileKeys


@pytest.fixture(params=["sealed", "plain"])
def packed(request, tmp_path, everything, monkeypatch):
    """A vault of three episodes in one shard, in small blocks."""
    monkeypatch.setattr(codecs, "BLOCK_BYTES", 200)
    choices = StorageChoices(encrypt=request.param == "sealed")
    vault = Vault.open(tmp_path / "vault", create=True, embodiments=[everything], choices=choices)
    for seed in range(3):
        vault.append(random_episode(everything, seed))
    list(compact(vault))
    return vault


def flip(vault, entry, at):
    path = vault.path / entry.file
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def problems_of(vault):
    return [problem for problem in fsck_vault(vault) if problem]


def mend(vault):
    return list(repair(vault, [p.file for p in problems_of(vault) if p.kind in REPAIRABLE]))


def test_a_damaged_block_is_named_and_only_it_is_lost(packed):
    entries = packed.entries()
    victim = entries[1]
    before = {entry.episode_id: packed.read(entry.episode_id) for entry in entries}
    stored = packed.shard(victim).streams
    joints = stored["joints"]
    assert joints.num_blocks > 3
    for name, block in (("joints", 2), ("lidar", 0), ("lidar", 3)):
        flip(packed, victim, int(stored[name].bounds[block]) + 3)
    found = problems_of(packed)
    # The file changed, so each of its episodes is named; what is damaged stands with the one that it belongs to.
    assert [p.kind for p in found] == ["changed"] * 3
    assert {p.episode_id: p.damage for p in found} == {
        entries[0].episode_id: {},
        victim.episode_id: {"joints": (2,), "lidar": (0, 3)},
        entries[2].episode_id: {},
    }
    (message,) = [p.message for p in found if p.damage]
    assert "damaged: joints block 2; lidar blocks 0, 3; restore it from a copy, or save the rest" in message

    (done,) = mend(packed)
    assert sorted(done.saved) == [entry.episode_id for entry in entries]
    assert done.damage == {victim.episode_id: {"joints": (2,), "lidar": (0, 3)}}
    assert problems_of(packed) == []
    after = {entry.episode_id: packed.read(entry.episode_id) for entry in packed.entries()}
    for episode_id, episode in before.items():
        for name, stream in episode.streams.items():
            got = after[episode_id].streams[name]
            if episode_id == victim.episode_id and name == "joints":
                n = joints.samples_per_block
                kept = np.r_[0 : 2 * n, 3 * n : len(stream)]
                np.testing.assert_array_equal(got.times_ns, stream.times_ns[kept])
                np.testing.assert_array_equal(got.values, stream.values[kept])
            elif episode_id == victim.episode_id and name == "lidar":
                assert len(got) == len(stream) - 2
                np.testing.assert_array_equal(got.sample(0), stream.sample(1))
            else:
                np.testing.assert_array_equal(got.values, stream.values)
    source = after[victim.episode_id].metadata.source
    assert source == "salvaged without parts of joints, lidar"
    # Fewer rows were counted: 3 per sample.
    counts = packed.catalog.statistics(victim.embodiment_id)
    (statistics,) = [s for episode_id, s in counts if episode_id == victim.episode_id]
    values = after[victim.episode_id].streams["joints"].values
    assert statistics["joints"].count.tolist() == np.isfinite(values).sum(0).tolist()
    # The damaged original is set aside, not deleted.
    assert (packed.path / done.set_aside).is_file()
    assert done.set_aside.startswith("set-aside/shards/")


def test_a_shard_that_was_cut_keeps_the_episodes_before_the_cut(packed):
    entries = sorted(packed.entries(), key=lambda e: e.position)
    before = [packed.read(entry.episode_id) for entry in entries]
    # In the middle of the second one's blocks: the footer and all of the third are gone.
    os.truncate(packed.path / entries[1].file, entries[1].offset + entries[1].size_bytes // 2)
    with pytest.raises(CorruptShardError, match="the file was cut or changed"):
        packed.read(entries[0].episode_id)
    found = {p.episode_id: p for p in problems_of(packed)}
    assert {p.kind for p in found.values()} == {"cut"}
    assert "nothing of this episode is damaged" in found[entries[0].episode_id].message
    assert found[entries[1].episode_id].damage
    assert "nothing of this episode reads" in found[entries[2].episode_id].message
    (done,) = mend(packed)
    assert done.saved == (entries[0].episode_id, entries[1].episode_id)
    assert list(done.lost) == [entries[2].episode_id]
    assert problems_of(packed) == []
    got = packed.read(entries[0].episode_id)
    for name, stream in before[0].streams.items():
        np.testing.assert_array_equal(got.streams[name].values, stream.values)
    part = packed.read(entries[1].episode_id)
    # Streams lie in the order of their names: the first is whole, the last is gone.
    np.testing.assert_array_equal(part.streams["action"].values, before[1].streams["action"].values)
    assert "orders" not in part.streams


def test_a_footer_that_is_lost_loses_nothing(packed):
    entries = packed.entries()
    path = packed.path / entries[0].file
    content = path.read_bytes()
    path.write_bytes(content[:-40] + bytes(40))
    (done,) = mend(packed)
    assert (sorted(done.saved), done.damage, done.lost) == ([e.episode_id for e in entries], {}, {})
    assert problems_of(packed) == []


@pytest.mark.parametrize("copy", [0, 1], ids=["at the beginning", "in the footer"])
def test_one_damaged_copy_of_the_wrapped_key_loses_nothing(packed, copy):
    entries = packed.entries()
    path = packed.path / entries[0].file
    content = path.read_bytes()
    parts = content.split(b'"wrapped_key":"')
    assert len(parts) == 3
    parts[copy + 1] = b"####" + parts[copy + 1][4:]
    path.write_bytes(b'"wrapped_key":"'.join(parts))
    (done,) = mend(packed)
    assert (sorted(done.saved), done.damage, done.lost) == ([e.episode_id for e in entries], {}, {})
    assert problems_of(packed) == []


def test_a_file_of_noise_is_set_aside_with_its_episodes_named(packed):
    entries = packed.entries()
    path = packed.path / entries[0].file
    path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))
    (done,) = mend(packed)
    assert done.saved == ()
    assert sorted(done.lost) == [e.episode_id for e in entries]
    assert packed.entries() == []
    assert (packed.path / done.set_aside).is_file()


def test_without_the_key_nothing_is_touched(tmp_path, everything):
    keys = FileKeys(tmp_path / "keys")
    vault = Vault.open(tmp_path / "vault", create=True, embodiments=[everything], keys=keys)
    vault.append(random_episode(everything, 0))
    entry = vault.entries()[0]
    stranger = Vault.open(tmp_path / "vault", embodiments=[everything], keys=FileKeys(tmp_path / "none"))
    assert [p.kind for p in problems_of(stranger)] == ["no key"]
    flip(vault, entry, entry.offset + 3)
    (problem,) = problems_of(stranger)
    assert problem.kind == "changed"
    assert "no key 'genba/default'" in problem.message
    with pytest.raises(KeyUnavailableError, match="no key 'genba/default'"):
        list(repair(stranger, [entry.file]))
    assert vault.shard_names() == [entry.file]


def test_an_interrupted_packing_is_cleared_away_by_a_repair(packed, everything, tmp_path):
    entries = packed.entries()
    copy = packed.path / entries[0].file.replace(".arrow", "0.arrow")
    copy.write_bytes((packed.path / entries[0].file).read_bytes())
    assert [(p.kind, p.episode_id) for p in problems_of(packed)] == [("superseded", "")]
    (done,) = mend(packed)
    assert done.saved == ()
    assert problems_of(packed) == []
    assert [(e.episode_id, e.file) for e in packed.entries()] == [(e.episode_id, e.file) for e in entries]


def test_a_stray_shard_that_does_not_read_does_not_stop_a_rebuild(three, everything):
    entries = three.entries()
    three.catalog.path.unlink()
    damaged = min(entry.file for entry in entries)
    os.truncate(three.path / damaged, 100)
    again = Vault.open(three.path, create=True, embodiments=[everything])
    with pytest.raises(CorruptShardError, match="not a whole shard"):
        again.rebuild()
    assert len(again.entries()) == 2
    assert [(p.kind, p.file) for p in problems_of(again)] == [("unreadable", damaged)]
    (done,) = mend(again)
    assert done.set_aside == f"set-aside/{damaged}"
    assert problems_of(again) == []


def test_an_episode_that_no_longer_fits_its_facts_is_named(three, everything):
    (joints, *rest) = everything.telemetry
    narrow = replace(joints, dimension=(replace(joints.dimension[0], high=0.1), *joints.dimension[1:]))
    other = Vault(three.path, embodiments=[replace(everything, telemetry=(narrow, *rest))])
    found = problems_of(other)
    assert [p.kind for p in found] == ["misfit"] * 3
    assert "expected -3.2 to 0.1" in found[0].message
    assert REPAIRABLE == ("cut", "changed", "unreadable", "superseded")


def test_damage_in_words():
    assert describe({}) == ""
    assert describe({"lidar": (3, 4), "joints": (), "front": (1,)}) == "front block 1; joints; lidar blocks 3, 4"
    assert describe({"a": tuple(range(12))}) == "a blocks 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
