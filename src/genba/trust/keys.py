"""Owners' keys: who may unwrap a shard's data key, and how a key is made, rotated and destroyed.

Every shard has a random data key of its own; what this file keeps are the keys that wrap those: one per owner and data
set, named ``"<owner>/<data set>"``. A key never leaves its provider, so that a provider may be a hardware module:
``KeyProvider`` says what one must do (wrapping is AES key wrap, which PKCS#11 knows as ``CKM_AES_KEY_WRAP``), ``FileKeys``
does it with one file per key. Destroying a key makes everything that it wraps unreadable, wherever copies lie.

What is sealed with the data keys is in ``envelope``.

Source: RFC 3394 (AES key wrap).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import struct
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from genba.errors import KeyUnavailableError
from genba.trust.durable import sync_folder

KEY_BYTES = 32
FORMAT = "genba-key@1"

#: the version of the wrapping key, before what RFC 3394 makes of the data key
_VERSION = struct.Struct(">I")


def key_id(owner: str, dataset: str) -> str:
    """Return the name of the key of one owner's data set."""
    return f"{quote(owner, safe='')}/{quote(dataset, safe='')}"


class KeyProvider(Protocol):
    """Where owners' keys are kept. Every method raises ``KeyUnavailableError`` where it cannot do what it says."""

    def create(self, key: str) -> None:
        """Make the key unless it is there; several processes may ask at once and get the same one.

        A destroyed key is refused: what an owner withdrew does not come back under its name.
        """
        ...

    def wrap(self, key: str, data_key: bytes) -> bytes:
        """Return ``data_key`` so that only the newest version of ``key`` opens it."""
        ...

    def unwrap(self, key: str, wrapped: bytes) -> bytes:
        """Invert ``wrap``, for any version that is not retired."""
        ...

    def rotate(self, key: str) -> None:
        """Begin a new version, which wraps from now on; older ones still unwrap."""
        ...

    def retire(self, key: str) -> None:
        """Forget every version but the newest; what was not wrapped anew is lost."""
        ...

    def destroy(self, key: str) -> None:
        """Forget the key for good. Nothing can undo this."""
        ...

    def forbid(self, key: str) -> None:
        """See to it that there is no key of this name and never will be, whether or not there is one now.

        Doing so again is no error, so that a withdrawal that broke off is finished by doing it again.
        """
        ...


class FileKeys:
    """Keys in files that only their user may read, one per key, in a folder that no vault contains."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def create(self, key: str) -> None:
        """Make the key unless it is there; whoever is first wins, and the others use that one.

        Raises:
            KeyUnavailableError: it was destroyed, or the folder cannot be written.
        """
        path = self._path(key)
        if not path.exists():
            fresh = {"1": base64.b64encode(os.urandom(KEY_BYTES)).decode()}
            self._store(path, {"format": FORMAT, "id": key, "current": 1, "versions": fresh}, replace=False)
        self._versions(key)

    def wrap(self, key: str, data_key: bytes) -> bytes:
        """Wrap with the newest version.

        Raises:
            KeyUnavailableError: no such key, or it was destroyed.
        """
        table = self._versions(key)
        current = int(table["current"])
        return _VERSION.pack(current) + aes_key_wrap(_secret(table, current), data_key)

    def unwrap(self, key: str, wrapped: bytes) -> bytes:
        """Unwrap with the version that wrapped.

        Raises:
            KeyUnavailableError: no such key or version, or the key here is not the one that wrapped.
        """
        table = self._versions(key)
        version = _VERSION.unpack_from(wrapped)[0] if len(wrapped) > _VERSION.size else 0
        if str(version) not in table["versions"]:
            raise KeyUnavailableError(
                f"{self._path(key)}: key {key!r} has no version {version} (it has {', '.join(table['versions'])}): "
                f"it was retired, or another key wrapped this; restore the key folder that was used for writing"
            )
        try:
            return aes_key_unwrap(_secret(table, version), wrapped[_VERSION.size :])
        except (InvalidUnwrap, ValueError) as error:
            raise KeyUnavailableError(
                f"{self._path(key)}: key {key!r} did not wrap this: another key of this name did, or the wrapped key was "
                f"changed; point $GENBA_KEYS at the folder that was used for writing"
            ) from error

    def rotate(self, key: str) -> None:
        """Begin a new version.

        Raises:
            KeyUnavailableError: no such key, or the folder cannot be written.
        """
        table = self._versions(key)
        current = int(table["current"]) + 1
        versions = table["versions"] | {str(current): base64.b64encode(os.urandom(KEY_BYTES)).decode()}
        self._store(self._path(key), table | {"current": current, "versions": versions}, replace=True)

    def retire(self, key: str) -> None:
        """Forget every version but the newest.

        Raises:
            KeyUnavailableError: no such key, or the folder cannot be written.
        """
        table = self._versions(key)
        current = str(table["current"])
        # First the newest version under the file's name, whole and on disk: a break in between loses none that is needed.
        with self._overwriting(self._path(key)):
            self._store(self._path(key), table | {"versions": {current: table["versions"][current]}}, replace=True)

    def destroy(self, key: str) -> None:
        """Overwrite the key and leave a note that it was destroyed, so that it is not made again.

        A file system that keeps old blocks (copy on write, snapshots, flash) may hold them still: a hardware module does
        not have this weakness.

        Raises:
            KeyUnavailableError: no such key, or the folder cannot be written.
        """
        self._versions(key)
        self.forbid(key)

    def forbid(self, key: str) -> None:
        """Overwrite the key where there is one, whatever state a break left it in, and leave the note of ``destroy``.

        Raises:
            KeyUnavailableError: the folder cannot be written.
        """
        path = self._path(key)
        if self._is_destroyed(path, key):
            return
        if path.exists():
            with self._overwriting(path):
                pass
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._store(path, {"format": FORMAT, "id": key, "destroyed": now}, replace=True)

    def _is_destroyed(self, path: Path, key: str) -> bool:
        # Not by `_versions`: a break between overwriting and the note leaves a file that it would not read.
        try:
            table = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return False
        return isinstance(table, dict) and table.get("id") == key and "destroyed" in table

    def _path(self, key: str) -> Path:
        return self.folder / f"{quote(key, safe='')}.key"

    def _versions(self, key: str) -> dict[str, Any]:
        path = self._path(key)
        try:
            if path.stat().st_mode & 0o077:
                raise KeyUnavailableError(f"{path}: others may read this key; make it yours alone: chmod 600")
            table = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise KeyUnavailableError(
                f"{path}: no key {key!r}; point $GENBA_KEYS at the folder that was used for writing"
            ) from None
        except (OSError, ValueError) as error:
            raise KeyUnavailableError(
                f"{path}: key {key!r} cannot be read ({error}); restore it from a copy"
            ) from error
        if not isinstance(table, dict) or table.get("format") != FORMAT or table.get("id") != key:
            raise KeyUnavailableError(f"{path}: not the key {key!r} in the format {FORMAT}; restore it from a copy")
        if "destroyed" in table:
            raise KeyUnavailableError(
                f"{path}: key {key!r} was destroyed at {table['destroyed']}; what it protected cannot be read any more, "
                f"and nothing is stored under its name"
            )
        return table

    def _store(self, path: Path, table: dict[str, Any], *, replace: bool) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Made with mode 0600 and renamed or linked when whole: no other process ever sees half a key.
            descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".partial", dir=self.folder)
            try:
                with os.fdopen(descriptor, "w") as file:
                    json.dump(table, file)
                    file.flush()
                    os.fsync(file.fileno())
                if replace:
                    os.replace(temporary, path)
                else:
                    with contextlib.suppress(FileExistsError):
                        os.link(temporary, path)
            finally:
                Path(temporary).unlink(missing_ok=True)
            sync_folder(self.folder)
        except OSError as error:
            raise KeyUnavailableError(
                f"{path}: could not write the key: {error.strerror}; name a folder for keys in $GENBA_KEYS"
            ) from error

    @contextlib.contextmanager
    def _overwriting(self, path: Path) -> Iterator[None]:
        """Afterwards overwrite what the file held, though its name may stand for another file by then."""
        try:
            with path.open("r+b") as file:
                yield
                file.write(b" " * os.fstat(file.fileno()).st_size)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise KeyUnavailableError(f"{path}: could not overwrite the key: {error.strerror}") from error


def default_folder() -> Path:
    """Return where keys are kept: ``$GENBA_KEYS``, or ``genba/keys`` in the user's configuration folder."""
    if given := os.environ.get("GENBA_KEYS"):
        return Path(given)
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(home).expanduser() / "genba" / "keys"


def _secret(table: dict[str, Any], version: int) -> bytes:
    return base64.b64decode(table["versions"][str(version)])
