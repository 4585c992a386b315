"""Ed25519 keys in files, and the folder of public keys that someone trusts.

A private key is one PEM file (PKCS#8) that only its user may read; the public key beside it, ``NAME.pub``, may go anywhere.
A trust store is a folder of such public keys: whose file it is, is who signed. Both are what ``openssl pkey`` reads too.
Keys that seal data are others: see ``keys``. What is signed, and how, is in ``dsse``.

Source: RFC 8032 (Ed25519), RFC 8410 (its PEM forms).
"""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from genba.errors import SignatureError
from genba.trust.digest import digest_bytes

PUBLIC_SUFFIX = ".pub"


class PublicKey:
    """What verifies; its ``id`` is the digest of its 32 bytes."""

    def __init__(self, raw: bytes) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(raw)
        self.raw, self.id = raw, digest_bytes(raw)

    @classmethod
    def from_text(cls, text: str, *, place: str) -> PublicKey:
        """Return the key that ``text`` (base64) names.

        Raises:
            SignatureError: it is not a key, naming ``place``.
        """
        try:
            return cls(base64.b64decode(text, validate=True))
        except ValueError as error:
            raise SignatureError(f"{place}: not an Ed25519 public key in base64 ({error})") from error

    @classmethod
    def load(cls, path: Path | str) -> PublicKey:
        """Read a public key.

        Raises:
            SignatureError: the file cannot be read or holds something else.
        """
        try:
            key = serialization.load_pem_public_key(Path(path).read_bytes())
        except (OSError, ValueError) as error:
            raise SignatureError(f"{path}: not a public key in PEM ({error})") from error
        if not isinstance(key, Ed25519PublicKey):
            raise SignatureError(f"{path}: a public key of another kind than Ed25519; make one: genba audit key")
        return cls(key.public_bytes_raw())

    @property
    def text(self) -> str:
        """The key in base64."""
        return base64.b64encode(self.raw).decode()

    def pem(self) -> bytes:
        """Return the key as PEM."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_bytes(serialization.Encoding.PEM, form)

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Return whether this key's owner signed exactly ``data``."""
        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """What signs. It never leaves its file and this process."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> SigningKey:
        """Return a fresh key that is in no file."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def create(cls, path: Path | str) -> SigningKey:
        """Make a key in a new file of mode 0600, and its public key beside it.

        Raises:
            SignatureError: the file exists (nothing is overwritten) or cannot be written.
        """
        path, made = Path(path), cls.generate()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not made._store(path):
                raise SignatureError(f"{path}: exists; a key is never overwritten: name another file")
        except OSError as error:
            raise SignatureError(f"{path}: could not write the key: {error.strerror}") from error
        return made

    @classmethod
    def load(cls, path: Path | str) -> SigningKey:
        """Read a private key.

        Raises:
            SignatureError: the file cannot be read, others may read it, or it holds something else.
        """
        path = Path(path)
        try:
            if path.stat().st_mode & 0o077:
                raise SignatureError(f"{path}: others may read this key; make it yours alone: chmod 600")
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise SignatureError(
                f"{path}: not a private key in PEM without a password ({error}); make one: genba audit key"
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise SignatureError(f"{path}: a private key of another kind than Ed25519; make one: genba audit key")
        return cls(key)

    @classmethod
    def open(cls, path: Path | str) -> SigningKey:
        """Read the key, or make it where there is none; whoever is first wins, and the others use that one.

        Raises:
            SignatureError: as ``load`` and ``create`` say.
        """
        path = Path(path)
        if not path.exists():
            try:
                return cls.create(path)
            except SignatureError:
                if not path.exists():
                    raise
        return cls.load(path)

    def sign(self, data: bytes) -> bytes:
        """Return the signature of ``data``, 64 bytes."""
        return self._key.sign(data)

    def _store(self, path: Path) -> bool:
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        # Made with mode 0600 and linked when whole: no other process sees half a key, and none is replaced.
        descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".partial", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            Path(temporary).unlink(missing_ok=True)
        Path(f"{path}{PUBLIC_SUFFIX}").write_bytes(self.public.pem())
        return True


class TrustStore:
    """Whom someone trusts: names and their public keys."""

    def __init__(self, keys: dict[str, PublicKey]) -> None:
        self.keys: dict[str, PublicKey] = {}
        self.names: dict[str, str] = {}
        for name, key in keys.items():
            if key.id in self.keys:
                raise SignatureError(f"{name!r} and {self.names[key.id]!r} are one key; expected one name for each")
            self.keys[key.id], self.names[key.id] = key, name

    @classmethod
    def load(cls, folder: Path | str) -> TrustStore:
        """Read every ``NAME.pub`` in a folder.

        Raises:
            SignatureError: there is none, one is not a public key, or one key has two names.
        """
        folder = Path(folder)
        found = sorted(folder.glob(f"*{PUBLIC_SUFFIX}"))
        if not found:
            raise SignatureError(f"{folder}: no public keys (NAME{PUBLIC_SUFFIX}) here; put those you trust there")
        try:
            return cls({path.name.removesuffix(PUBLIC_SUFFIX): PublicKey.load(path) for path in found})
        except SignatureError as error:
            raise SignatureError(f"trust store {folder}: {error}") from error

    def name(self, key_id: str) -> str:
        """Return who signs with this key, or the key's id where nobody known does."""
        return self.names.get(key_id, key_id)
