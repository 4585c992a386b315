"""Digests say what they are, and the same content has one form."""

import hashlib

import pytest

from genba.trust.digest import BLOCK_BYTES, canonical_json, digest_bytes, digest_file, digest_json


def test_digest_of_nothing_is_the_published_one():
    # FIPS 180-4 examples: SHA-256 of the empty message.
    assert digest_bytes(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_file_has_the_digest_of_its_bytes_across_blocks(tmp_path):
    data = bytes(range(256)) * (BLOCK_BYTES // 256 + 3)
    path = tmp_path / "file"
    path.write_bytes(data)
    assert digest_file(path) == "sha256:" + hashlib.sha256(data).hexdigest()


def test_order_of_keys_does_not_matter_and_order_of_lists_does():
    assert canonical_json({"b": 1, "a": [2, "現場"]}) == '{"a":[2,"現場"],"b":1}'.encode()
    assert digest_json({"a": 1, "b": 2}) == digest_json({"b": 2, "a": 1})
    assert digest_json([1, 2]) != digest_json([2, 1])


def test_number_that_json_does_not_know_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})
