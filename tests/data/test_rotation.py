"""A data set gets a new key: its episodes read as before, its shards' bytes are the same, and the old key opens nothing."""

import pytest
from random_episodes import random_episode

from genba.data.compact import compact
from genba.data.fsck import fsck_vault
from genba.data.rotation import retire_key, rotate_key
from genba.data.vault import Vault
from genba.errors import KeyUnavailableError
from genba.trust.keys import FileKeys

KEY = "genba/default"


@pytest.fixture
def kept(tmp_path, everything):
    vault = Vault.open(tmp_path / "vault", create=True, embodiments=[everything], keys=FileKeys(tmp_path / "keys"))
    for seed in range(2):
        vault.append(random_episode(everything, seed, num_steps=3))
    return vault


def test_rotation_changes_no_shard_and_the_old_key_opens_nothing(kept, tmp_path, everything):
    (key_file,) = (tmp_path / "keys").iterdir()
    stolen = key_file.read_bytes()
    contents = {name: (kept.path / name).read_bytes() for name in kept.shard_names()}
    assert rotate_key(kept, "genba", "default") == 2
    # Between the steps: an episode whose storing began before, wrapped with the old key.
    assert retire_key(kept, "genba", "default") == 2
    assert {name: (kept.path / name).read_bytes() for name in kept.shard_names()} == contents
    for entry in kept.entries():
        kept.read(entry.episode_id)
    assert [p for p in fsck_vault(kept) if p] == []
    kept.append(random_episode(everything, 5, num_steps=3))
    # A thief with the old key and the new files: neither what was wrapped anew nor what came later opens.
    (tmp_path / "stolen").mkdir(mode=0o700)
    (tmp_path / "stolen" / key_file.name).write_bytes(stolen)
    (tmp_path / "stolen" / key_file.name).chmod(0o600)
    thief = FileKeys(tmp_path / "stolen")
    for name in kept.shard_names():
        beside = kept.path / name.replace(".arrow", ".key")
        if beside.is_file():
            with pytest.raises(KeyUnavailableError, match="has no version 2"):
                thief.unwrap(KEY, beside.read_bytes())


def test_what_was_stored_while_rotating_is_wrapped_before_the_old_key_goes(kept, everything):
    old = kept.keys.wrap
    kept.keys.rotate(KEY)
    # As if a process had wrapped before the rotation and stored after it.
    current = kept.keys._versions(KEY)
    kept.keys._store(kept.keys._path(KEY), current | {"current": 1}, replace=True)
    kept.append(random_episode(everything, 7, num_steps=3))
    kept.keys._store(kept.keys._path(KEY), current, replace=True)
    assert old(KEY, bytes(32))[:4] == b"\0\0\0\x02"
    assert retire_key(kept, "genba", "default") == 3
    assert len([kept.read(entry.episode_id) for entry in kept.entries()]) == 3


def test_rotation_may_be_repeated_and_packed_shards_need_no_file_beside_them(kept):
    for _ in range(2):
        rotate_key(kept, "genba", "default")
        retire_key(kept, "genba", "default")
    assert len([n for n in kept.storage.names("shards") if n.endswith(".key")]) == 2
    list(compact(kept))
    assert [n.rpartition(".")[2] for n in kept.storage.names("shards")] == ["arrow"]
    assert len([kept.read(entry.episode_id) for entry in kept.entries()]) == 2


def test_a_key_that_is_not_here_is_not_rotated(kept):
    with pytest.raises(KeyUnavailableError, match="no key 'genba/other'"):
        rotate_key(kept, "genba", "other")
