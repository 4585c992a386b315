"""Keys stay their user's, and a trust store says who signed."""

import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from genba.errors import SignatureError
from genba.trust.signing import PublicKey, SigningKey, TrustStore


def test_a_key_is_made_once_and_for_its_user_only(tmp_path):
    path = tmp_path / "keys" / "plant"
    made = SigningKey.create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.load(path).public.id == made.public.id
    assert PublicKey.load(f"{path}.pub").raw == made.public.raw
    with pytest.raises(SignatureError, match="exists; a key is never overwritten"):
        SigningKey.create(path)
    assert SigningKey.create(path.with_name("other")).public.id != made.public.id
    path.chmod(0o640)
    with pytest.raises(SignatureError, match="others may read this key"):
        SigningKey.load(path)


def test_folders_on_the_way_to_a_key_are_made(tmp_path):
    made = SigningKey.create(tmp_path / "party" / "keys" / "signing")
    assert SigningKey.open(tmp_path / "party" / "keys" / "signing").public.id == made.public.id


def test_opening_makes_a_key_once(tmp_path):
    first = SigningKey.open(tmp_path / "host")
    assert SigningKey.open(tmp_path / "host").public.id == first.public.id
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SignatureError, match="could not write the key"):
        SigningKey.open(tmp_path / "file" / "host")


def test_whoever_loses_the_race_uses_the_first_key(tmp_path, monkeypatch):
    path = tmp_path / "host"
    first = SigningKey.create(path)
    # It is looked for and not seen yet; when it is to be made, it is there.
    answers = iter([False])
    monkeypatch.setattr(type(path), "exists", lambda self: next(answers, True))
    assert SigningKey.open(path).public.id == first.public.id


def test_keys_are_what_other_tools_read(tmp_path):
    path = tmp_path / "plant"
    made = SigningKey.create(path)
    (tmp_path / "data").write_bytes(b"said")
    (tmp_path / "sig").write_bytes(made.sign(b"said"))
    command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", f"{path}.pub"]
    command += ["-sigfile", str(tmp_path / "sig"), "-in", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "Verified Successfully" in done.stdout


def test_a_signature_is_for_one_key_and_one_text():
    key, other = SigningKey.generate(), SigningKey.generate()
    signature = key.sign(b"said")
    assert key.public.verifies(signature, b"said")
    assert not key.public.verifies(signature, b"sait")
    assert not other.public.verifies(signature, b"said")
    assert not key.public.verifies(b"", b"said")


def test_what_is_no_key_is_refused(tmp_path):
    path = tmp_path / "key"
    for text in (b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        path.write_bytes(text)
        path.chmod(0o600)
        with pytest.raises(SignatureError, match="not a private key in PEM"):
            SigningKey.load(path)
        with pytest.raises(SignatureError, match="not a public key in PEM"):
            PublicKey.load(path)
    with pytest.raises(SignatureError, match="not a private key in PEM"):
        SigningKey.load(tmp_path / "absent")
    other = X25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    path.write_bytes(other.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    with pytest.raises(SignatureError, match="of another kind than Ed25519"):
        SigningKey.load(path)
    path.write_bytes(other.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(SignatureError, match="of another kind than Ed25519"):
        PublicKey.load(path)
    good = SigningKey.generate().public.text
    for text in ("AAAA", "no base64!", f"!{good}"):
        with pytest.raises(SignatureError, match="entry 4: not an Ed25519 public key"):
            PublicKey.from_text(text, place="entry 4")


def test_a_trust_store_names_its_keys(tmp_path):
    with pytest.raises(SignatureError, match="no public keys"):
        TrustStore.load(tmp_path)
    key = SigningKey.create(tmp_path / "plant.key")
    (tmp_path / "plant.key.pub").rename(tmp_path / "plant.pub")
    store = TrustStore.load(tmp_path)
    assert store.keys.keys() == {key.public.id}
    assert store.name(key.public.id) == "plant"
    assert store.name("sha256:other") == "sha256:other"
    assert PublicKey.from_text(key.public.text, place="").id == key.public.id
    (tmp_path / "again.pub").write_bytes(key.public.pem())
    with pytest.raises(SignatureError, match=r"trust store .*'plant' and 'again' are one key"):
        TrustStore.load(tmp_path)
