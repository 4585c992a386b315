"""A list of what was withdrawn answers only who holds the provider of its key, and cannot be changed."""

import json

import pytest

from genba.errors import DataError, KeyUnavailableError
from genba.trust.denied import FINGERPRINT_BYTES, DeniedList
from genba.trust.keys import FileKeys

ONE, TWO, THREE = (bytes([n]) * FINGERPRINT_BYTES for n in (1, 2, 3))


@pytest.fixture
def keys(tmp_path):
    return FileKeys(tmp_path / "keys")


def test_it_denies_what_it_was_made_of_and_nothing_else(keys):
    made = DeniedList.make(keys, "fleet", "2026", [ONE, TWO, ONE])
    found = DeniedList.from_bytes(made.to_bytes(), keys, place="x")
    assert found.digest == made.digest and found.num_fingerprints == 2
    assert found.denies(ONE) and found.denies(TWO) and not found.denies(THREE)
    assert found.denies_name("fleet", "2026")
    assert not found.denies_name("fleet", "2027") and not found.denies_name("works", "2026")


def test_two_lists_of_the_same_share_nothing_and_name_nobody(keys):
    one, other = (DeniedList.make(keys, "fleet", "2026", [ONE, TWO]) for _ in range(2))
    assert not one.blinded & other.blinded
    assert ONE not in one.blinded and b"fleet" not in one.to_bytes()


def test_without_the_key_nobody_can_ask(keys, tmp_path):
    made = DeniedList.make(keys, "fleet", "2026", [ONE]).to_bytes()
    with pytest.raises(KeyUnavailableError, match="no key '#denied'"):
        DeniedList.from_bytes(made, FileKeys(tmp_path / "other"), place="x")


def test_a_list_that_was_changed_is_refused(keys):
    made = json.loads(DeniedList.make(keys, "fleet", "2026", [ONE, TWO]).to_bytes())
    shorter = made | {"blinded": made["blinded"][:24]}
    for table in (shorter, made | {"tag": "0" * 128}):
        with pytest.raises(DataError, match="x: the list of what was withdrawn was changed since it was made"):
            DeniedList.from_bytes(json.dumps(table).encode(), keys, place="x")
    for data in (b"", b"[]", b"{}", json.dumps(made | {"format": "genba-denied@2"}).encode()):
        with pytest.raises(DataError, match="x: not a list of what was withdrawn"):
            DeniedList.from_bytes(data, keys, place="x")
