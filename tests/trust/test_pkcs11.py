"""Keys in a token behave as keys in files do, never leave it, and take everything with them when they are destroyed."""

import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from governed import sample_trust
from random_episodes import random_episode
from withdrawing import FLEET, WORKS, owned

from genba.data.vault import Vault
from genba.data.withdraw import Scope, withdraw
from genba.errors import ConfigError, KeyUnavailableError, PermissionDeniedError
from genba.spec.embodiment import load_embodiment
from genba.trust.keys import FileKeys, key_id
from genba.trust.pkcs11 import Pkcs11Keys, keys_from_environment

LIBRARY = next(
    (
        path
        for path in map(Path, ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"))
        if path.is_file()
    ),
    None,
)
if LIBRARY is None or shutil.which("softhsm2-util") is None:
    pytest.skip("SoftHSM is not installed (Debian: softhsm2)", allow_module_level=True)
pkcs11 = pytest.importorskip("pkcs11", reason="needs python-pkcs11: pip install 'genba[pkcs11]'")

KEY = key_id("fleet", "2026")
DATA_KEY = bytes(range(32))


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory):
    """A folder of tokens of its own; the library reads its configuration once per process."""
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    init = ["softhsm2-util", "--init-token", "--free", "--label", "genba", "--pin", "1234", "--so-pin", "5678"]
    subprocess.run(init, check=True, capture_output=True)
    return folder


@pytest.fixture
def everything():
    return load_embodiment(Path(__file__).parents[1] / "model" / "everything.toml")


@pytest.fixture
def keys(softhsm):
    """The token's keys; each test uses names of its own."""
    return Pkcs11Keys(LIBRARY, "genba", "1234", lock=softhsm / "lock")


def test_what_was_wrapped_comes_back(keys):
    keys.create("a/1")
    wrapped = keys.wrap("a/1", DATA_KEY)
    assert DATA_KEY not in wrapped
    # Four bytes of version, and RFC 3394 adds eight to a key.
    assert len(wrapped) == 4 + 8 + 32
    assert keys.unwrap("a/1", wrapped) == DATA_KEY
    keys.create("a/1")
    assert keys.unwrap("a/1", wrapped) == DATA_KEY
    with pytest.raises(KeyUnavailableError, match="key 'a/1' did not wrap this"):
        keys.unwrap("a/1", wrapped[:-1] + bytes([wrapped[-1] ^ 1]))
    with pytest.raises(KeyUnavailableError, match=r"has no version 0 \(it has 1\)"):
        keys.unwrap("a/1", b"")


def test_a_key_never_leaves_the_token(keys):
    keys.create("b/1")
    (one,) = keys._session().get_objects({pkcs11.Attribute.LABEL: "genba:b/1"})
    assert one[pkcs11.Attribute.EXTRACTABLE] is False and one[pkcs11.Attribute.SENSITIVE] is True
    assert one[pkcs11.Attribute.NEVER_EXTRACTABLE] is True and one[pkcs11.Attribute.LOCAL] is True
    with pytest.raises(pkcs11.exceptions.AttributeSensitive):
        one[pkcs11.Attribute.VALUE]
    # No data key stays behind: what is left is the key alone.
    keys.unwrap("b/1", keys.wrap("b/1", DATA_KEY))
    inside = list(keys._session().get_objects({pkcs11.Attribute.TOKEN: False}))
    assert inside == []


def test_rotating_keeps_what_was_wrapped_and_retiring_does_not(keys):
    keys.create("c/1")
    old = keys.wrap("c/1", DATA_KEY)
    keys.rotate("c/1")
    new = keys.wrap("c/1", DATA_KEY)
    assert (old[:4], new[:4]) == (b"\0\0\0\1", b"\0\0\0\2")
    assert keys.unwrap("c/1", old) == keys.unwrap("c/1", new) == DATA_KEY
    keys.retire("c/1")
    assert keys.unwrap("c/1", new) == DATA_KEY
    with pytest.raises(KeyUnavailableError, match=r"has no version 1 \(it has 2\): it was retired"):
        keys.unwrap("c/1", old)


def test_a_destroyed_key_is_gone_and_does_not_come_back(keys):
    keys.create("d/1")
    wrapped = keys.wrap("d/1", DATA_KEY)
    keys.rotate("d/1")
    keys.destroy("d/1")
    for call in (lambda: keys.unwrap("d/1", wrapped), lambda: keys.create("d/1"), lambda: keys.wrap("d/1", DATA_KEY)):
        with pytest.raises(
            KeyUnavailableError, match=r"key 'd/1' was destroyed at 20.*nothing is stored under its name"
        ):
            call()
    assert list(keys._session().get_objects({pkcs11.Attribute.LABEL: "genba:d/1"})) == []


def test_destroying_that_was_interrupted_is_finished(keys):
    """The note stands, the key is there still: it is refused, and goes when it is destroyed again."""
    keys.create("h/1")
    wrapped = keys.wrap("h/1", DATA_KEY)
    note = {
        pkcs11.Attribute.CLASS: pkcs11.ObjectClass.DATA,
        pkcs11.Attribute.TOKEN: True,
        pkcs11.Attribute.LABEL: "genba-destroyed:h/1",
        pkcs11.Attribute.VALUE: b"2026-11-01T00:00:00+00:00",
    }
    keys._session().create_object(note)
    with pytest.raises(KeyUnavailableError, match="key 'h/1' was destroyed at 2026-11-01"):
        keys.unwrap("h/1", wrapped)
    keys.destroy("h/1")
    assert keys._versions(keys._session(), "h/1") == {}


def test_a_key_that_is_forbidden_never_is_and_its_versions_are_gone(keys):
    keys.create("i/1")
    keys.rotate("i/1")
    for name in ("i/1", "i/1", "i/never made"):
        keys.forbid(name)
        with pytest.raises(
            KeyUnavailableError, match=rf"key '{name}' was destroyed at 20.*nothing is stored under its name"
        ):
            keys.create(name)
    assert keys._versions(keys._session(), "i/1") == {} and len(keys._notes(keys._session(), "i/1")) == 1


def test_a_withdrawal_destroys_the_key_in_the_token_and_its_list_is_read_with_another_of_it(keys, tmp_path, everything):
    vault = Vault.open(tmp_path / "vault", create=True, embodiments=[everything], keys=keys)
    vault.append(owned(everything, 0, FLEET))
    shutil.copytree(vault.path, tmp_path / "copy")
    withdraw(sample_trust(tmp_path / "trust"), *FLEET, Scope(keys=keys, vaults=(vault,)))
    assert keys._versions(keys._session(), key_id(*FLEET)) == {}
    copy = Vault.open(tmp_path / "copy", embodiments=[everything], keys=keys)
    with pytest.raises(KeyUnavailableError, match="key 'fleet/2026' was destroyed"):
        copy.read("fleet/2026/000000")
    with pytest.raises(PermissionDeniedError, match="pieces of what it says were withdrawn"):
        vault.append(owned(everything, 0, WORKS))


def test_a_key_that_is_not_there_is_named(keys):
    for call in (keys.rotate, keys.retire, keys.destroy, lambda key: keys.wrap(key, DATA_KEY)):
        with pytest.raises(KeyUnavailableError, match="token 'genba': no key 'none'"):
            call("none")


def test_a_token_that_cannot_be_opened_is_named(softhsm, tmp_path):
    with pytest.raises(KeyUnavailableError, match=r"token 'other' in .* cannot be opened: NoSuchToken"):
        Pkcs11Keys(LIBRARY, "other", "1234", lock=tmp_path / "lock").create(KEY)
    with pytest.raises(KeyUnavailableError, match="cannot be opened: PinIncorrect"):
        _in_process(_wrong_pin, softhsm)
    with pytest.raises(KeyUnavailableError, match="no PKCS#11 library here"):
        Pkcs11Keys(tmp_path / "none.so", "genba", "1234", lock=tmp_path / "lock").create(KEY)


def _wrong_pin(folder):
    Pkcs11Keys(LIBRARY, "genba", "9999", lock=folder / "lock").create(KEY)


def _unwrap(keys, key, wrapped):
    return keys.unwrap(key, wrapped)


def _make_and_wrap(folder, key):
    keys = Pkcs11Keys(LIBRARY, "genba", "1234", lock=folder / "lock")
    keys.create(key)
    return keys.wrap(key, DATA_KEY)


def _in_process(function, *arguments, method="spawn"):
    with multiprocessing.get_context(method).Pool(1) as pool:
        return pool.apply(function, arguments)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_open_the_token_themselves(keys, method):
    keys.create("e/1")
    wrapped = keys.wrap("e/1", DATA_KEY)
    assert _in_process(_unwrap, keys, "e/1", wrapped, method=method) == DATA_KEY
    # The parent's session goes on.
    assert keys.unwrap("e/1", wrapped) == DATA_KEY


def test_processes_that_make_a_key_at_once_get_the_same(keys, softhsm):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        wrapped = pool.starmap(_make_and_wrap, [(softhsm, "f/1")] * 6)
    assert len({keys.unwrap("f/1", one) for one in wrapped}) == 1
    assert len(keys._versions(keys._session(), "f/1")[1]) == 1


def test_destroying_makes_every_copy_of_a_shard_unreadable(keys, tmp_path, everything):
    episode = random_episode(everything, 1, num_steps=3)
    vault = Vault.open(tmp_path / "vault", create=True, embodiments=[everything], keys=keys)
    vault.append(episode)
    (entry,) = vault.entries()
    shutil.copytree(tmp_path / "vault", tmp_path / "copy")
    copy = Vault.open(tmp_path / "copy", embodiments=[everything], keys=keys)
    assert copy.read(entry.episode_id).metadata.episode_id == episode.metadata.episode_id
    keys.destroy(key_id(episode.metadata.owner, episode.metadata.dataset))
    for path in ("vault", "copy"):
        again = Vault.open(tmp_path / path, embodiments=[everything], keys=keys)
        with pytest.raises(KeyUnavailableError, match="was destroyed at"):
            again.read(entry.episode_id)


def test_commands_find_the_token_by_the_environment(softhsm, tmp_path, monkeypatch):
    monkeypatch.setenv("GENBA_KEYS", str(tmp_path / "keys"))
    monkeypatch.delenv("GENBA_PKCS11_LIBRARY", raising=False)
    assert isinstance(keys_from_environment(), FileKeys)
    monkeypatch.setenv("GENBA_PKCS11_LIBRARY", str(LIBRARY))
    with pytest.raises(ConfigError, match=r"expected the token's label in .GENBA_PKCS11_TOKEN and a file"):
        keys_from_environment()
    monkeypatch.setenv("GENBA_PKCS11_TOKEN", "genba")
    monkeypatch.setenv("GENBA_PKCS11_PIN_FILE", str(tmp_path / "pin"))
    with pytest.raises(ConfigError, match="pin: the PIN cannot be read: No such file"):
        keys_from_environment()
    (tmp_path / "pin").write_text("1234\n")
    (tmp_path / "pin").chmod(0o644)
    with pytest.raises(ConfigError, match="others may read this PIN; make it yours alone: chmod 600"):
        keys_from_environment()
    (tmp_path / "pin").chmod(0o600)
    found = keys_from_environment()
    found.create("g/1")
    assert found.unwrap("g/1", found.wrap("g/1", DATA_KEY)) == DATA_KEY


def test_without_its_package_a_token_is_not_used(keys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(ConfigError, match=r"need the package python-pkcs11: pip install 'genba\[pkcs11\]'"):
        keys.create("k/1")


def test_a_session_that_ends_in_between_is_said_and_opened_again(keys, monkeypatch):
    keys.create("l/1")
    wrapped = keys.wrap("l/1", DATA_KEY)
    existing = Pkcs11Keys._existing

    def then_closed(self, session, key):
        found = existing(self, session, key)
        session.close()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Pkcs11Keys, "_existing", then_closed)
        with pytest.raises(KeyUnavailableError, match=r"key 'l/1': .* refused: "):
            keys.unwrap("l/1", wrapped)
    assert keys.unwrap("l/1", wrapped) == DATA_KEY
