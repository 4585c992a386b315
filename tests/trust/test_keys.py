"""A key wraps what only it unwraps; it is made once, rotated without loss, and gone for good when destroyed."""

import json
import multiprocessing
import resource
from pathlib import Path

import pytest

from genba.errors import KeyUnavailableError
from genba.trust.keys import FileKeys, default_folder, key_id

KEY = key_id("fleet", "2026")
DATA_KEY = bytes(range(32))


@pytest.fixture
def keys(tmp_path):
    found = FileKeys(tmp_path / "keys")
    found.create(KEY)
    return found


def test_what_was_wrapped_comes_back(keys):
    wrapped = keys.wrap(KEY, DATA_KEY)
    assert DATA_KEY not in wrapped
    assert keys.unwrap(KEY, wrapped) == DATA_KEY
    # Another process finds it in the same folder.
    assert FileKeys(keys.folder).unwrap(KEY, wrapped) == DATA_KEY


def test_a_key_is_readable_by_its_user_only(keys):
    (path,) = keys.folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.folder.stat().st_mode & 0o777 == 0o700
    path.chmod(0o640)
    with pytest.raises(KeyUnavailableError, match="others may read this key; make it yours alone: chmod 600"):
        keys.wrap(KEY, DATA_KEY)


def test_names_of_owners_do_not_meet_in_one_file(tmp_path):
    keys = FileKeys(tmp_path)
    pairs = [("a/b", "c"), ("a", "b/c"), ("a b", "c"), ("現場", "..")]
    wrapped = []
    for owner, dataset in pairs:
        keys.create(key_id(owner, dataset))
        wrapped.append(keys.wrap(key_id(owner, dataset), DATA_KEY))
    assert len(list(tmp_path.iterdir())) == 4
    with pytest.raises(KeyUnavailableError, match="did not wrap this"):
        keys.unwrap(key_id("a", "b/c"), wrapped[0])


def test_making_a_key_again_keeps_it(keys):
    wrapped = keys.wrap(KEY, DATA_KEY)
    keys.create(KEY)
    assert keys.unwrap(KEY, wrapped) == DATA_KEY


def test_whoever_comes_second_at_once_uses_the_first_key(keys, monkeypatch):
    wrapped = keys.wrap(KEY, DATA_KEY)
    # It is looked for and not seen yet; when it is to be made, it is there.
    monkeypatch.setattr(type(keys.folder), "exists", lambda self: False)
    keys.create(KEY)
    assert keys.unwrap(KEY, wrapped) == DATA_KEY


def _make_and_wrap(folder, barrier, results):
    barrier.wait()
    keys = FileKeys(folder)
    keys.create(KEY)
    results.put(keys.wrap(KEY, DATA_KEY))


def test_processes_that_make_a_key_at_once_get_the_same_one(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    workers = [context.Process(target=_make_and_wrap, args=(tmp_path, barrier, results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    wrapped = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    # AES key wrap has no randomness: the same key gives the same bytes.
    assert len(set(wrapped)) == 1
    assert [path.suffix for path in tmp_path.iterdir()] == [".key"]


def test_after_rotation_old_and_new_open_and_after_retiring_only_the_new(keys):
    old = keys.wrap(KEY, DATA_KEY)
    keys.rotate(KEY)
    new = keys.wrap(KEY, DATA_KEY)
    assert old != new
    assert keys.unwrap(KEY, old) == keys.unwrap(KEY, new) == DATA_KEY
    keys.retire(KEY)
    assert keys.unwrap(KEY, new) == DATA_KEY
    with pytest.raises(KeyUnavailableError, match=r"has no version 1 \(it has 2\): it was retired"):
        keys.unwrap(KEY, old)


def test_what_retiring_forgets_is_overwritten_and_a_disk_that_is_full_loses_nothing(keys, tmp_path):
    old = keys.wrap(KEY, DATA_KEY)
    keys.rotate(KEY)
    new = keys.wrap(KEY, DATA_KEY)
    (path,) = keys.folder.iterdir()
    # A second name for the file as it is now: what is read by it later is what the disk holds.
    held = tmp_path / "held"
    held.hardlink_to(path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(KeyUnavailableError, match="could not write the key: File too large"):
            keys.retire(KEY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(keys.folder.iterdir()) == [path]
    assert keys.unwrap(KEY, old) == keys.unwrap(KEY, new) == DATA_KEY
    size = held.stat().st_size
    keys.retire(KEY)
    assert held.read_bytes() == b" " * size
    assert keys.unwrap(KEY, new) == DATA_KEY


def test_a_destroyed_key_is_gone_and_does_not_come_back(keys):
    (path,) = keys.folder.iterdir()
    wrapped, secret = keys.wrap(KEY, DATA_KEY), json.loads(path.read_text())["versions"]["1"]
    keys.destroy(KEY)
    assert secret not in path.read_text()
    for use in (
        lambda: keys.unwrap(KEY, wrapped),
        lambda: keys.wrap(KEY, DATA_KEY),
        lambda: keys.create(KEY),
        lambda: keys.rotate(KEY),
        lambda: keys.destroy(KEY),
    ):
        with pytest.raises(KeyUnavailableError, match=r"was destroyed at 20.*nothing is stored under its name"):
            use()


def test_a_key_that_is_forbidden_never_is_whatever_state_it_was_in(keys):
    """There, gone, never made, or left blank by a break in the middle of destroying it."""
    (path,) = keys.folder.iterdir()
    # What is no note of this key's end is none.
    for content in (b" " * 100, b"[]", b'{"id": "fleet/2027", "destroyed": "2020"}', b'{"id": "fleet/2026"}'):
        path.write_bytes(content)
        keys.forbid(KEY)
        assert json.loads(path.read_bytes()).keys() == {"format", "id", "destroyed"}
    for name in (KEY, KEY, key_id("fleet", "never made")):
        keys.forbid(name)
        with pytest.raises(KeyUnavailableError, match=r"was destroyed at 20.*nothing is stored under its name"):
            keys.create(name)
    before = path.read_bytes()
    keys.forbid(KEY)
    assert path.read_bytes() == before


def test_a_missing_a_foreign_and_a_broken_key_are_named(keys, tmp_path):
    wrapped = keys.wrap(KEY, DATA_KEY)
    with pytest.raises(KeyUnavailableError, match=r"no key 'fleet/2027'; point \$GENBA_KEYS at the folder"):
        keys.unwrap(key_id("fleet", "2027"), wrapped)
    other = FileKeys(tmp_path / "other")
    other.create(KEY)
    with pytest.raises(KeyUnavailableError, match="did not wrap this: another key of this name did"):
        other.unwrap(KEY, wrapped)
    with pytest.raises(KeyUnavailableError, match="has no version 0"):
        keys.unwrap(KEY, b"")
    # A version alone wraps nothing.
    with pytest.raises(KeyUnavailableError, match="has no version 0"):
        keys.unwrap(KEY, wrapped[:4])
    (path,) = keys.folder.iterdir()
    good = json.loads(path.read_text())
    another = "not the key 'fleet/2026' in the format genba-key@1"
    for text, message in (
        ("{", "cannot be read"),
        ("{}", another),
        ("[]", another),
        (json.dumps(good | {"format": "genba-key@2"}), another),
        (json.dumps(good | {"id": "fleet/2027"}), another),
    ):
        path.write_text(text)
        with pytest.raises(KeyUnavailableError, match=message):
            keys.unwrap(KEY, wrapped)


def test_a_folder_is_made_with_those_above_it(tmp_path):
    keys = FileKeys(tmp_path / "genba" / "keys")
    keys.create(KEY)
    assert keys.unwrap(KEY, keys.wrap(KEY, DATA_KEY)) == DATA_KEY


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        KeyUnavailableError, match=r"could not write the key: .*; name a folder for keys in \$GENBA_KEYS"
    ):
        FileKeys(tmp_path / "file").create(KEY)


def test_what_cannot_be_overwritten_is_named(keys):
    (path,) = keys.folder.iterdir()
    path.unlink()
    path.mkdir()
    with pytest.raises(KeyUnavailableError, match="could not overwrite the key: Is a directory"):
        keys.forbid(KEY)


def test_keys_lie_where_the_environment_says_else_in_the_users_configuration(monkeypatch):
    monkeypatch.setenv("GENBA_KEYS", "/somewhere/else")
    assert default_folder() == Path("/somewhere/else")
    monkeypatch.delenv("GENBA_KEYS")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/home/me/settings")
    assert default_folder() == Path("/home/me/settings/genba/keys")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_folder() == Path("/home/me/.config/genba/keys")
