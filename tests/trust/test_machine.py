"""What a machine believes: keys, the newest list, the latest time; it forgets none of it and goes back behind none of it."""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from genba.errors import ConfigError, PassportError, SignatureError
from genba.trust import revocation
from genba.trust.digest import digest_bytes
from genba.trust.dsse import Envelope
from genba.trust.machine import MachineTrust
from genba.trust.passport import Deployment, Passport
from genba.trust.revocation import Revocations, Revoked
from genba.trust.signing import SigningKey

KEY = SigningKey.generate()
WEIGHTS, MODEL, OTHER = (digest_bytes(name) for name in (b"weights", b"model", b"other"))
SECOND_NS = 10**9
MADE_NS, NOW_NS, UNTIL_NS = 1000 * SECOND_NS, 2000 * SECOND_NS, 9000 * SECOND_NS
PASSPORT = Passport(
    weights=WEIGHTS,
    made_ns=MADE_NS,
    code={},
    environment={},
    config={},
    seeds={},
    hardware={},
    deploy=Deployment(embodiments=("arm@1",), sites=("plant",), parties=("p",), until_ns=UNTIL_NS),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lab.pub").write_bytes(KEY.public.pem())
    return MachineTrust.create(tmp_path / "machine", party="p", site="plant", believe=[tmp_path / "lab.pub"]).path


def at(folder: Path, now_ns: int = NOW_NS) -> MachineTrust:
    return MachineTrust(folder, clock=lambda: now_ns)


def check(trust: MachineTrust, passport: Passport = PASSPORT, embodiment: str = "arm@1") -> Passport:
    return trust.check(passport.signed(KEY), weights=WEIGHTS, embodiment=embodiment, place="here")


def put(folder: Path, old: Revocations | None, *digests: str, now_ns: int = NOW_NS) -> Envelope:
    """Put the next list there."""
    listed = [Revoked(digest=d, reason="withdrawn", time_ns=1) for d in digests]
    envelope = revocation.revoke(old, listed, KEY, now_ns=now_ns)
    (folder / "revocations.json").write_bytes(envelope.to_bytes())
    return envelope


def known(folder: Path, envelope: Envelope) -> Revocations:
    return revocation.verify(envelope, at(folder).trust_store, place="list")


def test_what_holds_here_and_now_is_believed(folder):
    trust = at(folder)
    assert (trust.party, trust.site) == ("p", "plant")
    assert check(trust) == PASSPORT
    assert check(at(folder, UNTIL_NS - 1)) == PASSPORT


def test_what_does_not_hold_here_or_now_is_refused(folder):
    with pytest.raises(PassportError, match=r"do not allow machine 'car@1'; allowed: arm@1"):
        check(at(folder), embodiment="car@1")
    with pytest.raises(PassportError, match=r"do not allow site 'plant'; allowed: lab"):
        check(at(folder), replace(PASSPORT, deploy=replace(PASSPORT.deploy, sites=("lab",))))
    with pytest.raises(PassportError, match=r"do not allow party 'p'; allowed: lab-co"):
        check(at(folder), replace(PASSPORT, deploy=replace(PASSPORT.deploy, parties=("lab-co",))))
    with pytest.raises(PassportError, match="an agreement ended"):
        check(at(folder, UNTIL_NS))


def test_a_clock_is_believed_until_a_second_behind_what_was_seen(folder):
    assert at(folder).now_ns() == NOW_NS
    assert at(folder, NOW_NS - SECOND_NS).now_ns() == NOW_NS
    with pytest.raises(
        PassportError, match=rf"shows {NOW_NS - SECOND_NS - 1} ns, but {NOW_NS} ns was seen here before"
    ):
        at(folder, NOW_NS - SECOND_NS - 1).now_ns()
    assert at(folder, NOW_NS + 1).now_ns() == NOW_NS + 1


def test_within_the_second_what_ended_stays_ended(folder):
    with pytest.raises(PassportError, match="an agreement ended"):
        check(at(folder, UNTIL_NS))
    with pytest.raises(PassportError, match=rf"an agreement ended at {UNTIL_NS} ns, the clock shows {UNTIL_NS} ns"):
        check(at(folder, UNTIL_NS - 1))


def test_a_time_that_cannot_be_kept_refuses(folder):
    (folder / "seen").mkdir()
    (folder / "seen" / "latest").write_bytes(b"yesterday")
    with pytest.raises(ConfigError, match="expected the latest time seen"):
        check(at(folder))


def test_lists_follow_each_other_and_none_is_forgotten(folder):
    assert at(folder).revocations() is None
    first = put(folder, None, OTHER)
    assert at(folder).revocations() == known(folder, first)
    assert at(folder).revocations() == known(folder, first)
    second = put(folder, known(folder, first), WEIGHTS)
    with pytest.raises(PassportError, match=rf"weights {WEIGHTS} was revoked: withdrawn"):
        check(at(folder))
    (folder / "revocations.json").write_bytes(first.to_bytes())
    with pytest.raises(SignatureError, match="an older one was played back"):
        check(at(folder))
    (folder / "revocations.json").unlink()
    with pytest.raises(PassportError, match="the list of revoked models was taken away; put the newest one back there"):
        check(at(folder))
    (folder / "revocations.json").write_bytes(second.to_bytes())
    assert at(folder).revocations() == known(folder, second)


def test_a_refused_list_takes_nothings_place(folder):
    first = put(folder, None, OTHER)
    assert at(folder).revocations() == known(folder, first)
    forged = revocation.revoke(known(folder, first), [], SigningKey.generate(), now_ns=NOW_NS)
    (folder / "revocations.json").write_bytes(forged.to_bytes())
    with pytest.raises(SignatureError, match="expected one of 1 trusted keys"):
        at(folder).revocations()
    # one list later on another branch, signed by the right key
    put(folder, known(folder, put(folder, None, MODEL)), WEIGHTS)
    with pytest.raises(SignatureError, match=r"list 2 follows sha256:\w+, expected sha256:"):
        at(folder).revocations()
    (folder / "revocations.json").write_bytes(first.to_bytes())
    assert at(folder).revocations() == known(folder, first)


def look(folder: Path, barrier) -> None:
    barrier.wait()
    for _ in range(20):
        at(folder).revocations()


def test_processes_that_look_at_once_agree(folder):
    put(folder, None, OTHER)
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    processes = [context.Process(target=look, args=(folder, barrier)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert (folder / "seen" / "revocations.json").read_bytes() == (folder / "revocations.json").read_bytes()
    assert not list((folder / "seen").glob("*.partial"))


def test_where_there_is_no_ledger_nothing_is_recorded(folder):
    before = sorted(folder.rglob("*"))
    at(folder).record(passport="", weights=WEIGHTS, embodiment="arm@1", reasons=[], is_allowed=True)
    assert sorted(folder.rglob("*")) == before


def test_a_folder_is_made_whole_or_not_at_all(tmp_path):
    with pytest.raises(SignatureError, match="got no keys to believe"):
        MachineTrust.create(tmp_path / "m", party="p", site="s", believe=[])
    (tmp_path / "lab.txt").write_bytes(KEY.public.pem())
    with pytest.raises(SignatureError, match=r"expected a file named after its owner, NAME\.pub"):
        MachineTrust.create(tmp_path / "m", party="p", site="s", believe=[tmp_path / "lab.txt"])
    with pytest.raises(SignatureError, match="not a public key"):
        MachineTrust.create(tmp_path / "m", party="p", site="s", believe=[tmp_path / "none.pub"])
    (tmp_path / "lab.pub").write_bytes(KEY.public.pem())
    with pytest.raises(ConfigError, match="site: got ''"):
        MachineTrust.create(tmp_path / "m", party="p", site="", believe=[tmp_path / "lab.pub"])
    with pytest.raises(ConfigError, match=r"no trust folder here .* genba trust machine"):
        MachineTrust(tmp_path / "m")
    MachineTrust.create(tmp_path / "m", party="p", site="s", believe=[tmp_path / "lab.pub"])
    assert MachineTrust(tmp_path / "m").trust_store.names == {KEY.public.id: "lab"}
    with pytest.raises(ConfigError, match="is here already"):
        MachineTrust.create(tmp_path / "m", party="p", site="s", believe=[tmp_path / "lab.pub"])
