"""A release ties a bundle's manifest to one passport and its weights; any other is refused, with the reason."""

import json

import pytest

from genba.errors import PassportError
from genba.trust import release
from genba.trust.digest import digest_bytes
from genba.trust.dsse import Envelope, sign
from genba.trust.passport import PAYLOAD_TYPE
from genba.trust.release import Release
from genba.trust.signing import SigningKey, TrustStore

KEY, STRANGER = SigningKey.generate(), SigningKey.generate()
TRUST = TrustStore({"lab": KEY.public})
MANIFEST, PASSPORT, WEIGHTS, OTHER = (digest_bytes(name) for name in (b"manifest", b"passport", b"weights", b"other"))
GOOD = Release(manifest=MANIFEST, passport=PASSPORT, weights=WEIGHTS, embodiment="arm@1", made_ns=1)
HERE = {"manifest": MANIFEST, "passport": PASSPORT, "weights": WEIGHTS}


def check(envelope: Envelope, **change: str) -> tuple[str, ...]:
    return release.check(envelope, TRUST, place="here", **(HERE | change))


def altered(change) -> Envelope:
    """A release that the right key signed with something wrong in it."""
    statement = json.loads(GOOD.signed(KEY).payload)
    change(statement)
    return sign(PAYLOAD_TYPE, statement, KEY)


def test_what_was_released_is_accepted_and_who_did_it_is_named():
    assert check(GOOD.signed(KEY)) == ("lab",)
    assert check(GOOD.signed(STRANGER).signed_by(KEY)) == ("lab",)


def test_it_is_an_in_toto_statement_about_the_manifest():
    statement = json.loads(GOOD.signed(KEY).payload)
    assert statement["subject"] == [{"digest": {"sha256": MANIFEST.removeprefix("sha256:")}, "name": "manifest.json"}]
    assert statement["predicateType"] == "urn:genba:release:1"


@pytest.mark.parametrize("what", ["manifest", "passport", "weights"])
def test_another_bundle_is_refused(what):
    with pytest.raises(PassportError, match=rf"here: released with {what} {HERE[what]}, the bundle has {OTHER}"):
        check(GOOD.signed(KEY), **{what: OTHER})


def test_who_is_not_believed_releases_nothing():
    with pytest.raises(PassportError, match=rf"signed by {STRANGER.public.id}, expected one of 1 trusted keys"):
        check(GOOD.signed(STRANGER))


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(_type="https://in-toto.io/Statement/v2"),
        lambda s: s.update(predicateType="urn:genba:passport:1"),
        lambda s: s["subject"].append(s["subject"][0]),
        lambda s: s["subject"].clear(),
        lambda s: s["predicate"].pop("weights"),
        lambda s: s["predicate"].update(more="1"),
        lambda s: s.pop("subject"),
        lambda s: s["subject"][0].update(digest={}),
    ],
)
def test_another_statement_is_none(change):
    with pytest.raises(PassportError, match="here: not a release as Genba writes it"):
        check(altered(change))


def test_its_file_is_read_as_it_was_written_or_refused(tmp_path):
    path = tmp_path / "release.json"
    with pytest.raises(PassportError, match=r"release.json: no release; .* export it again, with --trust"):
        release.read(path)
    path.write_bytes(GOOD.signed(KEY).to_bytes() + b"\n")
    assert release.read(path) == GOOD.signed(KEY)
    path.write_bytes(b"{}")
    with pytest.raises(PassportError, match=r"not a DSSE envelope .* copy the bundle again"):
        release.read(path)
    with pytest.raises(PassportError, match="could not read the release: Is a directory"):
        release.read(tmp_path)
