"""A passport says what a model was made from; one that is missing, altered, revoked or not for here is refused."""

import dataclasses
import json
import subprocess

import pytest

from genba.errors import PassportError, SignatureError
from genba.trust import origin, passport, revocation
from genba.trust.digest import digest_bytes
from genba.trust.dsse import Envelope, sign
from genba.trust.passport import Deployment, Passport
from genba.trust.revocation import Revoked
from genba.trust.signing import SigningKey, TrustStore

KEY, STRANGER = SigningKey.generate(), SigningKey.generate()
TRUST = TrustStore({"plant": KEY.public})
WEIGHTS, PARENT, DATASET = (digest_bytes(name) for name in (b"weights", b"parent", b"data set"))
MADE_NS, UNTIL_NS = 1_000, 2_000
GOOD = Passport(
    weights=WEIGHTS,
    made_ns=MADE_NS,
    code={"commit": None, "dirty": None, "digest": digest_bytes(b"code")},
    environment={"numpy": "2.0"},
    config={"learning_rate": 1e-4, "layers": [1, 2]},
    seeds={"data": 3},
    hardware={"machine": "x86_64"},
    parents=(PARENT,),
    datasets=(DATASET,),
    agreements=(digest_bytes(b"agreement"),),
    reads=digest_bytes(b"reads"),
    deploy=Deployment(
        embodiments=("arm/panda@1",), sites=("plant-1", "plant-2"), parties=("plant-co", "lab-co"), until_ns=UNTIL_NS
    ),
)


def check(envelope: Envelope, **change) -> Passport:
    where = {"embodiment": "arm/panda@1", "site": "plant-1", "party": "plant-co"}
    given = {"weights": WEIGHTS, "now_ns": 1_500, "revocations": None} | where
    return passport.check(envelope, TRUST, place="here", **(given | change))


def altered(change) -> Envelope:
    """A passport that the right key signed with something wrong in it."""
    statement = json.loads(GOOD.signed(KEY).payload)
    change(statement)
    return sign(passport.PAYLOAD_TYPE, statement, KEY)


def test_what_was_signed_comes_back(tmp_path):
    envelope = GOOD.signed(KEY)
    (tmp_path / "passport.json").write_bytes(envelope.to_bytes() + b"\n")
    assert passport.read(tmp_path / "passport.json") == envelope
    assert passport.verify(envelope, TRUST, place="here") == (GOOD, ("plant",))
    assert check(envelope) == GOOD


def test_it_is_an_in_toto_statement_about_the_weights():
    statement = json.loads(GOOD.signed(KEY).payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": "weights", "digest": {"sha256": WEIGHTS.removeprefix("sha256:")}}]
    assert "weights" not in statement["predicate"]
    assert GOOD.signed(KEY).payload_type == "application/vnd.in-toto+json"


def test_a_missing_or_unreadable_passport_is_refused(tmp_path):
    with pytest.raises(PassportError, match="no passport; expected the signed record"):
        passport.read(tmp_path / "none")
    with pytest.raises(PassportError, match="could not read the passport"):
        passport.read(tmp_path)
    (tmp_path / "passport.json").write_bytes(b"{}")
    with pytest.raises(PassportError, match="not a DSSE envelope"):
        passport.read(tmp_path / "passport.json")


def test_every_changed_byte_is_refused(tmp_path):
    data, path = GOOD.signed(KEY).to_bytes(), tmp_path / "passport.json"
    for place in range(0, len(data), 3):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(PassportError):
            check(passport.read(path))


def test_a_strangers_signature_is_refused():
    with pytest.raises(PassportError, match="expected one of 1 trusted keys"):
        check(GOOD.signed(STRANGER))
    forged = Envelope(passport.PAYLOAD_TYPE, GOOD.signed(KEY).payload, sign("other", {}, KEY).signatures)
    with pytest.raises(PassportError, match="does not verify: it is forged"):
        check(forged)
    with pytest.raises(PassportError, match="a statement of type 'other'"):
        check(sign("other", {}, KEY))
    with pytest.raises(PassportError, match="not canonical JSON"):
        check(Envelope(passport.PAYLOAD_TYPE, b"[]", ()).signed_by(KEY))


def test_other_weights_are_refused():
    with pytest.raises(PassportError, match=f"the passport is for weights {WEIGHTS}, these are {PARENT}"):
        check(GOOD.signed(KEY), weights=PARENT)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"embodiment": "arm/other@1"}, "do not allow machine 'arm/other@1'; allowed: arm/panda@1"),
        ({"site": "plant-3"}, "do not allow site 'plant-3'; allowed: plant-1, plant-2"),
        ({"party": "rival"}, "do not allow party 'rival'; allowed: plant-co, lab-co"),
        ({"now_ns": UNTIL_NS}, "an agreement ended at 2000 ns, the clock shows 2000 ns"),
        ({"now_ns": MADE_NS - 1}, "the clock was set back"),
    ],
)
def test_what_the_agreements_do_not_allow_is_refused(change, reason):
    with pytest.raises(PassportError, match=reason):
        check(GOOD.signed(KEY), **change)


@pytest.mark.parametrize(
    "change",
    [
        {"site": "plant-2"},
        {"now_ns": UNTIL_NS - 1},
        {"now_ns": MADE_NS},
        {"embodiment": None},
        {"site": None},
        {"party": "lab-co"},
        {"party": None},
    ],
)
def test_what_is_just_inside_is_allowed(change):
    assert check(GOOD.signed(KEY), **change) == GOOD


def test_what_is_not_named_is_not_allowed_and_a_star_is_everything():
    nowhere = dataclasses.replace(GOOD, deploy=Deployment(embodiments=("arm/panda@1",)))
    with pytest.raises(PassportError, match="do not allow site 'plant-1'; allowed: none"):
        check(nowhere.signed(KEY))
    nobody = dataclasses.replace(GOOD, deploy=Deployment(embodiments=("*",), sites=("*",)))
    with pytest.raises(PassportError, match="do not allow party 'plant-co'; allowed: none"):
        check(nobody.signed(KEY))
    anywhere = dataclasses.replace(GOOD, deploy=Deployment(embodiments=("*",), sites=("*",), parties=("*",)))
    assert check(anywhere.signed(KEY), embodiment="any", site="any", party="any", now_ns=1 << 62) == anywhere


def test_a_passport_from_before_parties_were_asked_is_read_and_allows_nobody():
    old = altered(lambda statement: statement["predicate"]["deploy"].pop("parties"))
    found, _ = passport.verify(old, TRUST, place="here")
    assert found == dataclasses.replace(GOOD, deploy=dataclasses.replace(GOOD.deploy, parties=()))
    with pytest.raises(PassportError, match="do not allow party 'plant-co'; allowed: none"):
        check(old)
    # What is made from it is decided by its other terms.
    assert check(old, party=None) == found


@pytest.mark.parametrize(
    ("deploy", "words"),
    [
        (
            GOOD.deploy,
            "may run on arm/panda@1 at plant-1, plant-2, before 1970-01-01T00:00:00+00:00, by plant-co, lab-co",
        ),
        (
            Deployment(embodiments=("*",), sites=("*",), parties=("*",)),
            "may run on every machine at every site, without end, by anyone",
        ),
        (
            Deployment(embodiments=("a@1", "b@1"), sites=("x",), parties=("p",), until_ns=1_000_000_000),
            "may run on a@1, b@1 at x, before 1970-01-01T00:00:01+00:00, by p",
        ),
        (Deployment(), "may run nowhere: no place is allowed by all agreements"),
        (Deployment(sites=("*",), parties=("*",)), "may run nowhere: no place is allowed by all agreements"),
        (Deployment(embodiments=("*",), parties=("*",)), "may run nowhere: no place is allowed by all agreements"),
        (Deployment(embodiments=("*",), sites=("*",)), "may run nowhere: no party is allowed by all agreements"),
    ],
)
def test_where_by_whom_and_until_when_is_said_in_words(deploy: Deployment, words: str):
    assert str(deploy) == words
    assert deploy.is_anywhere == ("nowhere" not in words)


@pytest.mark.parametrize("what", ["passport", "weights", "parent"])
def test_what_was_revoked_is_refused_with_the_reason(what):
    envelope = GOOD.signed(KEY)
    digest = {"passport": envelope.digest, "weights": WEIGHTS, "parent": PARENT}[what]
    listed = revocation.revoke(None, [Revoked(digest=digest, reason="withdrawn", time_ns=5)], KEY, now_ns=6)
    found = revocation.verify(listed, TRUST, place="list")
    with pytest.raises(PassportError, match=f"here: {what} {digest} was revoked: withdrawn"):
        check(envelope, revocations=found)
    other = revocation.revoke(None, [Revoked(digest=DATASET, reason="other", time_ns=5)], KEY, now_ns=6)
    assert check(envelope, revocations=revocation.verify(other, TRUST, place="list")) == GOOD


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.update(_type="x"), "a statement 'x' about"),
        (lambda s: s.update(predicateType="x"), "about 'x', expected 'urn:genba:passport:1'"),
        (lambda s: s.update(predicate=[]), "a statement"),
        (lambda s: s.update(more=1), "a statement"),
        (lambda s: s.update(subject=[]), "expected the weights alone"),
        (lambda s: s["subject"].append(s["subject"][0]), "expected the weights alone"),
        (lambda s: s.update(subject={"a": 1}), "expected the weights alone"),
        (lambda s: s["subject"][0].update(name="other"), "subject"),
        (lambda s: s["subject"][0].pop("digest"), "not a passport as Genba writes it"),
        (lambda s: s["subject"][0]["digest"].update(sha256="00"), "weights: got 'sha256:00', expected sha256:"),
        (lambda s: s["predicate"].update(sedes=1), "unknown field 'sedes'; did you mean 'seeds'"),
        (lambda s: s["predicate"].update(weights=WEIGHTS), "unknown field 'weights'"),
        (lambda s: s["predicate"].pop("seeds"), "no field 'seeds'"),
        (lambda s: s["predicate"].update(seeds=[]), r"seeds: got \[\], expected a table"),
        (lambda s: s["predicate"].update(parents="x"), "expected a list of strings"),
        (lambda s: s["predicate"].update(parents=[4]), "expected a list of strings"),
        (lambda s: s["predicate"].update(parents=["x"]), r"parents\[0\]: got 'x'"),
        (lambda s: s["predicate"].update(reads=4), "reads: got 4"),
        (lambda s: s["predicate"].update(made_ns=1.5), "expected whole ns"),
        (lambda s: s["predicate"].update(deploy=4), "expected a table of Deployment"),
        (lambda s: s["predicate"]["deploy"].update(until_ns="x"), "expected whole ns"),
        (lambda s: s["predicate"]["deploy"].update(sites="*"), "expected a list of strings"),
        (lambda s: s["predicate"]["deploy"].update(site=["x"]), "unknown field 'site'; did you mean 'sites'"),
    ],
)
def test_a_signed_statement_of_another_form_is_refused(change, reason):
    with pytest.raises(PassportError, match=reason):
        check(altered(change))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"weights": ""}, "weights: got '', expected sha256:"),
        ({"egress": "sha256:" + "A" * 64}, "egress: got"),
        ({"datasets": (WEIGHTS, "x")}, r"datasets\[1\]: got 'x'"),
        ({"config": None}, "config: got None, expected a table"),
    ],
)
def test_what_cannot_be_a_passport_is_refused_when_made(change, reason):
    with pytest.raises(PassportError, match=reason):
        dataclasses.replace(GOOD, **change)


@pytest.mark.parametrize("value", [float("nan"), {1, 2}])
def test_what_json_does_not_know_is_refused_when_signed(value):
    with pytest.raises(PassportError, match="not plain values"):
        dataclasses.replace(GOOD, config={"value": value}).signed(KEY)


def test_code_is_known_by_its_files_and_commit(tmp_path):
    package = tmp_path / "package"
    (package / "__pycache__").mkdir(parents=True)
    (package / "a.py").write_text("a = 1\n")
    first = origin.code(package)
    assert (first["commit"], first["dirty"]) == (None, None)
    (package / "__pycache__" / "a.pyc").write_bytes(b"compiled")
    assert origin.code(package) == first

    def git(*arguments):
        setting = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *setting, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "readme").write_text("other\n")
    git("add", "readme")
    git("commit", "-m", "first")
    # What git does not track is not that commit's code.
    assert origin.code(package)["commit"] is None
    git("add", "package/a.py")
    git("commit", "-m", "second")
    (package / "__pycache__" / "a.pyc").unlink()
    tracked = origin.code(package)
    assert len(tracked["commit"]) == 40 and tracked["dirty"] is False
    assert tracked["digest"] == first["digest"]
    (package / "a.py").write_text("a = 2\n")
    changed = origin.code(package)
    assert changed["dirty"] is True and changed["digest"] != first["digest"]


def test_environment_and_hardware_are_plain_and_name_what_is_there():
    assert {"numpy", "cryptography", "python"} <= origin.environment().keys()
    assert origin.hardware(accelerator="none")["accelerator"] == "none"
    made = dataclasses.replace(
        GOOD, code=origin.code(), environment=origin.environment(), hardware=origin.hardware(accelerator="none")
    )
    assert check(made.signed(KEY)) == made


def revoked(number: int, **change) -> Revoked:
    return Revoked(
        **({"digest": digest_bytes(b"%d" % number), "reason": f"reason {number}", "time_ns": number} | change)
    )


def test_a_list_of_revoked_models_only_grows(tmp_path):
    first = revocation.revoke(None, [revoked(1)], KEY, now_ns=10)
    one = revocation.verify(first, TRUST, place="list")
    assert (one.number, one.before, one.revoked, one.digest) == (1, "", (revoked(1),), first.digest)
    # What is revoked again stays as it was revoked first.
    second = revocation.revoke(one, [revoked(2), revoked(1, reason="again")], KEY, now_ns=10)
    (tmp_path / "list.json").write_bytes(second.to_bytes() + b"\n")
    two = revocation.read(tmp_path / "list.json", TRUST)
    assert (two.number, two.before) == (2, first.digest)
    assert two.find(revoked(1).digest) == revoked(1) and two.find(revoked(2).digest) == revoked(2)
    assert two.find(WEIGHTS) is None
    assert revocation.succeeding(one, two, place="new") == two
    assert revocation.succeeding(two, two, place="new") == two
    with pytest.raises(SignatureError, match="an older one was played back"):
        revocation.succeeding(two, one, place="new")
    with pytest.raises(SignatureError, match="the clock shows 9 ns, the list before was signed at 10 ns"):
        revocation.revoke(two, [], KEY, now_ns=9)
    with pytest.raises(SignatureError, match="could not read the list"):
        revocation.read(tmp_path / "none", TRUST)


def test_a_list_that_forgets_or_follows_another_is_refused():
    one = revocation.verify(revocation.revoke(None, [revoked(1)], KEY, now_ns=10), TRUST, place="list")
    other = revocation.verify(revocation.revoke(None, [revoked(2)], KEY, now_ns=10), TRUST, place="list")
    two = revocation.verify(revocation.revoke(one, [revoked(3)], KEY, now_ns=11), TRUST, place="list")
    three = revocation.verify(revocation.revoke(two, [], KEY, now_ns=12), TRUST, place="list")
    assert revocation.succeeding(one, three, place="new") == three
    with pytest.raises(SignatureError, match="an older one was played back"):
        revocation.succeeding(one, other, place="new")
    with pytest.raises(SignatureError, match="list 2 follows"):
        revocation.succeeding(other, two, place="new")
    with pytest.raises(SignatureError, match="list 3 forgets or changes that"):
        revocation.succeeding(other, three, place="new")
    early = dataclasses.replace(three, time_ns=10)
    with pytest.raises(SignatureError, match="an older one was played back"):
        revocation.succeeding(two, early, place="new")
    assert revocation.succeeding(two, dataclasses.replace(three, time_ns=11), place="new").number == 3


def test_a_list_by_a_stranger_is_refused():
    with pytest.raises(SignatureError, match="trusted keys"):
        revocation.verify(revocation.revoke(None, [], STRANGER, now_ns=1), TRUST, place="list")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": "x"}, "format 'x', expected 'genba-revocations@1'"),
        ({"more": 1}, "fields before, format, more"),
        ({"number": 0}, "numbers"),
        ({"number": True}, "numbers"),
        ({"time_ns": -1}, "numbers"),
        ({"revoked": 4}, "not a list of revoked"),
        ({"revoked": [{}]}, "not a list of revoked"),
        ({"revoked": [dataclasses.asdict(revoked(1)), dataclasses.asdict(revoked(1))]}, "one twice"),
        ({"revoked": [dataclasses.asdict(revoked(1, digest="x"))]}, "revoked 'x' for"),
        ({"revoked": [dataclasses.asdict(revoked(1, reason=""))]}, "for ''"),
        ({"revoked": [dataclasses.asdict(revoked(1, reason=4))]}, "for 4"),
        ({"revoked": [dataclasses.asdict(revoked(1, time_ns=-1))]}, "numbers"),
    ],
)
def test_a_signed_list_of_another_form_is_refused(change, reason):
    good = {"before": "", "format": "genba-revocations@1", "number": 1, "revoked": [], "time_ns": 0}
    assert revocation.verify(sign(revocation.PAYLOAD_TYPE, good, KEY), TRUST, place="list").number == 1
    with pytest.raises(SignatureError, match=f"list: .*{reason}"):
        revocation.verify(sign(revocation.PAYLOAD_TYPE, good | change, KEY), TRUST, place="list")
