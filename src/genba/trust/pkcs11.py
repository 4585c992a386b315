"""Owners' keys in a hardware module, or in software that behaves like one: keys that never leave the token.

``Pkcs11Keys`` is a ``KeyProvider`` over PKCS#11. Each version of a key is an AES object of the token, made by it, sensitive
and not extractable; a data key becomes a session object for as long as it takes to wrap it. What a destroyed key leaves
is a small data object that says so, and no file system holds an old copy.

A process opens its session when it first needs it, and again after a fork. Two processes of one computer make a key one
after the other, by a lock file; where two computers made the same version at once, both objects are kept and each unwraps
what it wrapped. ``keys_from_environment`` is what commands use.

Source: PKCS #11 Specification 3.1 (CKM_AES_KEY_WRAP).
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from genba.errors import ConfigError, KeyUnavailableError
from genba.trust.keys import KEY_BYTES, FileKeys, KeyProvider, default_folder

#: the version of the wrapping key, before what RFC 3394 makes of the data key, as in ``FileKeys``
_VERSION = struct.Struct(">I")
_LABEL, _DESTROYED = "genba:", "genba-destroyed:"


class Pkcs11Keys:
    """Keys in one token."""

    def __init__(self, library: Path | str, token: str, pin: str, *, lock: Path | str) -> None:
        """Say where the keys are; nothing is opened yet.

        Args:
            library: the module's PKCS#11 library.
            token: the token's label.
            pin: the user's PIN.
            lock: a file that every process of this computer that makes keys in this token shares.
        """
        self.library, self.token, self.lock = Path(library), token, Path(lock)
        self._pin = pin

    def create(self, key: str) -> None:
        """Make the key unless it is there.

        Raises:
            KeyUnavailableError: it was destroyed, or the token refused.
        """
        with self._locked(), self._words(key) as session:
            self._refuse_destroyed(session, key)
            if not self._versions(session, key):
                self._generate(session, key, 1)

    def wrap(self, key: str, data_key: bytes) -> bytes:
        """Wrap with the newest version.

        Raises:
            KeyUnavailableError: no such key, it was destroyed, or the token refused.
        """
        pkcs11 = _package()
        with self._words(key) as session:
            version, found = max(self._existing(session, key).items())
            attributes = self._secret() | {
                pkcs11.Attribute.VALUE: data_key,
                pkcs11.Attribute.EXTRACTABLE: True,
            }
            inside = session.create_object(attributes)
            try:
                wrapped = found[0].wrap_key(inside, mechanism=pkcs11.Mechanism.AES_KEY_WRAP)
            finally:
                inside.destroy()
            return _VERSION.pack(version) + bytes(wrapped)

    def unwrap(self, key: str, wrapped: bytes) -> bytes:
        """Unwrap with the version that wrapped.

        Raises:
            KeyUnavailableError: no such key or version, or the key here is not the one that wrapped.
        """
        pkcs11 = _package()
        with self._words(key) as session:
            versions = self._existing(session, key)
            version = _VERSION.unpack_from(wrapped)[0] if len(wrapped) > _VERSION.size else 0
            if version not in versions:
                raise KeyUnavailableError(
                    f"token {self.token!r}: key {key!r} has no version {version} (it has {', '.join(map(str, versions))}): "
                    f"it was retired, or another key wrapped this; use the token that was used for writing"
                )
            for one in versions[version]:
                try:
                    inside = one.unwrap_key(
                        pkcs11.ObjectClass.SECRET_KEY,
                        pkcs11.KeyType.AES,
                        wrapped[_VERSION.size :],
                        mechanism=pkcs11.Mechanism.AES_KEY_WRAP,
                        template=self._secret() | {pkcs11.Attribute.EXTRACTABLE: True},
                    )
                except pkcs11.exceptions.PKCS11Error as error:
                    if isinstance(error, self._lost()):
                        raise
                    continue
                try:
                    return bytes(inside[pkcs11.Attribute.VALUE])
                finally:
                    inside.destroy()
            raise KeyUnavailableError(
                f"token {self.token!r}: key {key!r} did not wrap this: another key of this name did, or the wrapped key was "
                f"changed; use the token that was used for writing"
            )

    def rotate(self, key: str) -> None:
        """Begin a new version.

        Raises:
            KeyUnavailableError: no such key, or the token refused.
        """
        with self._locked(), self._words(key) as session:
            self._generate(session, key, max(self._existing(session, key)) + 1)

    def retire(self, key: str) -> None:
        """Forget every version but the newest.

        Raises:
            KeyUnavailableError: no such key, or the token refused.
        """
        with self._locked(), self._words(key) as session:
            versions = self._existing(session, key)
            for version, found in versions.items():
                if version != max(versions):
                    for one in found:
                        one.destroy()

    def destroy(self, key: str) -> None:
        """Destroy every version, and leave a note in the token, so that the key is not made again.

        Raises:
            KeyUnavailableError: no such key, or the token refused.
        """
        with self._locked(), self._words(key) as session:
            # With a note and no version left it is destroyed already; with neither it never was here.
            if not self._versions(session, key):
                self._existing(session, key)
        self.forbid(key)

    def forbid(self, key: str) -> None:
        """Destroy whatever versions there are, and leave the note of ``destroy``.

        Raises:
            KeyUnavailableError: the token refused.
        """
        with self._locked(), self._words(key) as session:
            # The note first: interrupted between, the key is refused already, and doing this again finishes.
            if not self._notes(session, key):
                self._leave_note(session, key)
            for found in self._versions(session, key).values():
                for one in found:
                    one.destroy()

    def _leave_note(self, session: Any, key: str) -> None:
        pkcs11 = _package()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        session.create_object(
            {
                pkcs11.Attribute.CLASS: pkcs11.ObjectClass.DATA,
                pkcs11.Attribute.TOKEN: True,
                pkcs11.Attribute.PRIVATE: True,
                pkcs11.Attribute.LABEL: _DESTROYED + key,
                pkcs11.Attribute.VALUE: now.encode(),
            }
        )

    def _notes(self, session: Any, key: str) -> list[Any]:
        pkcs11 = _package()
        wanted = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.DATA, pkcs11.Attribute.LABEL: _DESTROYED + key}
        return list(session.get_objects(wanted))

    def _secret(self) -> dict[Any, Any]:
        """Return what describes a data key while it is inside the token."""
        pkcs11 = _package()
        return {
            pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY,
            pkcs11.Attribute.KEY_TYPE: pkcs11.KeyType.AES,
            pkcs11.Attribute.TOKEN: False,
            pkcs11.Attribute.SENSITIVE: False,
        }

    def _generate(self, session: Any, key: str, version: int) -> None:
        pkcs11 = _package()
        session.generate_key(
            pkcs11.KeyType.AES,
            8 * KEY_BYTES,
            id=_VERSION.pack(version),
            label=_LABEL + key,
            store=True,
            capabilities=pkcs11.MechanismFlag.WRAP | pkcs11.MechanismFlag.UNWRAP,
            template={
                pkcs11.Attribute.SENSITIVE: True,
                pkcs11.Attribute.EXTRACTABLE: False,
                pkcs11.Attribute.PRIVATE: True,
            },
        )

    def _versions(self, session: Any, key: str) -> dict[int, list[Any]]:
        pkcs11 = _package()
        wanted = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY, pkcs11.Attribute.LABEL: _LABEL + key}
        out: dict[int, list[Any]] = {}
        for one in list(session.get_objects(wanted)):
            out.setdefault(_VERSION.unpack(one.id)[0], []).append(one)
        return dict(sorted(out.items()))

    def _existing(self, session: Any, key: str) -> dict[int, list[Any]]:
        self._refuse_destroyed(session, key)
        found = self._versions(session, key)
        if not found:
            raise KeyUnavailableError(f"token {self.token!r}: no key {key!r}; use the token that was used for writing")
        return found

    def _refuse_destroyed(self, session: Any, key: str) -> None:
        pkcs11 = _package()
        for note in self._notes(session, key):
            raise KeyUnavailableError(
                f"token {self.token!r}: key {key!r} was destroyed at {bytes(note[pkcs11.Attribute.VALUE]).decode()}; what it "
                f"protected cannot be read any more, and nothing is stored under its name"
            )

    @contextmanager
    def _words(self, key: str) -> Iterator[Any]:
        """Give the session to one thread at a time; turn what the token refuses into an error in words."""
        pkcs11 = _package()
        try:
            with _process.lock:
                yield self._session()
        except pkcs11.exceptions.PKCS11Error as error:
            if isinstance(error, self._lost()):
                _process.sessions.pop(self._place(), None)
            raise KeyUnavailableError(
                f"token {self.token!r}: key {key!r}: {self.library} refused: {type(error).__name__} {error}".rstrip()
            ) from error

    def _lost(self) -> tuple[type[Exception], ...]:
        """Return what says that the session ended, not that a key does not fit."""
        found = _package().exceptions
        return (
            found.SessionClosed,
            found.SessionHandleInvalid,
            found.DeviceRemoved,
            found.TokenNotPresent,
            found.DeviceError,
            found.UserNotLoggedIn,
        )

    def _place(self) -> tuple[str, str, str]:
        return str(self.library), self.token, self._pin

    def _session(self) -> Any:
        pkcs11 = _package()
        if self._place() in _process.sessions:
            return _process.sessions[self._place()]
        if not self.library.is_file():
            raise KeyUnavailableError(f"{self.library}: no PKCS#11 library here; name it in $GENBA_PKCS11_LIBRARY")
        try:
            library = pkcs11.lib(str(self.library))
            if str(self.library) in _process.inherited:
                # A forked process shares nothing of its parent's sessions: the library begins anew.
                library.reinitialize()
                _process.inherited.discard(str(self.library))
            session = library.get_token(token_label=self.token).open(user_pin=self._pin, rw=True)
        except (pkcs11.exceptions.PKCS11Error, RuntimeError) as error:
            raise KeyUnavailableError(
                f"token {self.token!r} in {self.library} cannot be opened: {type(error).__name__} {error}".rstrip()
                + "; look at its label and its PIN"
            ) from error
        _process.sessions[self._place()] = session
        return session

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise KeyUnavailableError(f"{self.lock}: the lock for making keys: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def keys_from_environment() -> KeyProvider:
    """Return the keys that commands use: a token where ``$GENBA_PKCS11_LIBRARY`` names its library, files otherwise.

    Raises:
        ConfigError: the token's label (``$GENBA_PKCS11_TOKEN``) or PIN (``$GENBA_PKCS11_PIN_FILE``) is missing.
    """
    library = os.environ.get("GENBA_PKCS11_LIBRARY")
    if not library:
        return FileKeys(default_folder())
    token, pin_file = os.environ.get("GENBA_PKCS11_TOKEN"), os.environ.get("GENBA_PKCS11_PIN_FILE")
    if not token or not pin_file:
        raise ConfigError(
            "$GENBA_PKCS11_LIBRARY is set; expected the token's label in $GENBA_PKCS11_TOKEN and a file that holds its PIN in "
            "$GENBA_PKCS11_PIN_FILE too"
        )
    path = Path(pin_file)
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"{path}: others may read this PIN; make it yours alone: chmod 600")
        pin = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{path}: the PIN cannot be read: {error.strerror}") from error
    return Pkcs11Keys(library, token, pin, lock=default_folder() / "pkcs11.lock")


class _Process:
    """What this process has opened: a token is logged into once per process, by whichever object comes first."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.sessions: dict[tuple[str, str, str], Any] = {}
        #: libraries that a parent process had opened before it forked
        self.inherited: set[str] = set()

    def forked(self) -> None:
        """Begin anew in a child."""
        self.lock = threading.RLock()
        self.inherited |= {library for library, _, _ in self.sessions}
        self.sessions.clear()


_process = _Process()
os.register_at_fork(after_in_child=_process.forked)


def _package() -> Any:
    # Imported here because it is an optional package: only who has a hardware module needs it.
    try:
        import pkcs11
    except ImportError as error:
        raise ConfigError(
            "keys in a hardware module need the package python-pkcs11: pip install 'genba[pkcs11]'"
        ) from error
    return pkcs11
