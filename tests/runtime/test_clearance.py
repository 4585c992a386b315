"""A bundle acts only with a passport that holds: for its weights, here, now; each way not to is refused with its reason."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cleared
import pytest
import toy
from cleared import HOUR_NS, KEY, MADE_NS, PARENT, STRANGER, UNTIL_NS, passport

from genba.errors import BundleError, PassportError, SignatureError
from genba.runtime import clearance as clearances
from genba.runtime.bundle import Bundle
from genba.runtime.clearance import Clearance, clear
from genba.runtime.engine import OnnxEngine
from genba.runtime.executor import Executor
from genba.runtime.loop import run_episode
from genba.runtime.policy import EnginePolicy
from genba.trust import passport as passports
from genba.trust.audit import read_entries
from genba.trust.audit import verify as verify_ledger
from genba.trust.clerk import clerk
from genba.trust.folder import TrustFolder
from genba.trust.ledger import Ledger
from genba.trust.machine import MachineTrust
from genba.trust.signing import SigningKey


@pytest.fixture
def case(tmp_path_factory, tmp_path):
    """A bundle with papers and a machine that it may act on."""
    return cleared.make_case(tmp_path_factory.getbasetemp() / "papers", tmp_path)


def read(case) -> Bundle:
    return Bundle.read(case.bundle, toy.CART_FACTS)


def test_a_bundle_with_a_passport_that_holds_is_cleared(case):
    found = clear(read(case), case.trust())
    assert found.passport == passport()
    assert (found.refusal, found.released_by) == ("", ("lab",))


def test_the_weights_in_the_passport_are_those_of_the_bundle(case):
    assert passports.read(case.bundle / "passport.json").digest == clear(read(case), case.trust()).digest
    assert passport().weights == f"sha256:{read(case).weights_digest}"


def test_the_last_nanosecond_holds_and_the_next_does_not(case):
    assert not clear(read(case), case.trust(UNTIL_NS - 1)).refusal
    with pytest.raises(PassportError, match=rf"an agreement ended at {UNTIL_NS} ns, the clock shows {UNTIL_NS} ns"):
        clear(read(case), case.trust(UNTIL_NS))


def test_a_missing_passport_and_a_missing_release_are_refused(case, toy_bundles):
    with pytest.raises(PassportError, match=r"passport.json: no passport; expected .*--trust"):
        clear(Bundle.read(toy_bundles[toy.CART_FACTS.id].path, toy.CART_FACTS), case.trust())
    (case.bundle / "release.json").unlink()
    with pytest.raises(PassportError, match=r"release.json: no release; expected .* export it again, with --trust"):
        clear(read(case), case.trust())
    (case.bundle / "passport.json").unlink()
    with pytest.raises(BundleError, match=r"passport.json: missing; the manifest lists it"):
        read(case)


@pytest.mark.parametrize("name", ["passport.json", "encoder.onnx", "flow.onnx", "trained_on.json"])
def test_an_altered_file_is_refused_also_where_the_manifest_was_altered_with_it(case, name):
    case.alter(name)
    with pytest.raises(BundleError, match=rf"{name}: got sha256"):
        read(case)
    case.list_anew(name)
    with pytest.raises(PassportError, match=r"released with manifest sha256:|not a DSSE envelope"):
        clear(read(case), case.trust())


def test_an_altered_statistic_is_refused(case):
    path = case.bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"flow_steps": 1}, indent=1))
    with pytest.raises(PassportError, match=r"released with manifest sha256:.*it was changed since"):
        clear(read(case), case.trust())


def test_the_passport_of_another_bundle_is_refused(case):
    other = dataclasses.replace(passport(), weights=PARENT)
    (case.bundle / "passport.json").write_bytes(other.signed(KEY).to_bytes())
    case.list_anew("passport.json")
    with pytest.raises(PassportError, match=r"released with manifest"):
        clear(read(case), case.trust())
    # and where an exporter who is believed released it all the same
    case.give(other)
    with pytest.raises(PassportError, match=rf"the passport is for weights {PARENT}, these are {passport().weights}"):
        clear(read(case), case.trust())


def test_a_signer_whom_the_machine_does_not_know_is_refused(case):
    case.give(passport(), passport_by=STRANGER)
    with pytest.raises(
        PassportError, match=rf"passport.json: signed by {STRANGER.public.id}, expected one of 1 trusted"
    ):
        clear(read(case), case.trust())
    case.give(passport(), released_by=STRANGER)
    with pytest.raises(
        PassportError, match=rf"release.json: signed by {STRANGER.public.id}, expected one of 1 trusted"
    ):
        clear(read(case), case.trust())


def test_what_is_revoked_is_refused_by_weights_by_passport_and_by_parent(case):
    digest = passports.read(case.bundle / "passport.json").digest
    for number, (what, revoked) in enumerate(
        [("weights", passport().weights), ("passport", digest), ("parent", PARENT)]
    ):
        fresh = dataclasses.replace(case, machine=case.machine.parent / f"machine-{number}")
        shutil.copytree(case.machine, fresh.machine)
        fresh.revoke(revoked)
        with pytest.raises(PassportError, match=rf"{what} {revoked} was revoked: withdrawn"):
            clear(read(fresh), fresh.trust())


def test_another_machine_another_site_and_another_party_are_refused(case, tmp_path_factory, tmp_path):
    case.give(dataclasses.replace(passport(), deploy=dataclasses.replace(passport().deploy, embodiments=("arm@1",))))
    with pytest.raises(PassportError, match=r"do not allow machine 'toy/cart@1'; allowed: arm@1"):
        clear(read(case), case.trust())
    away = cleared.make_case(tmp_path_factory.getbasetemp() / "papers", tmp_path / "away", site="abroad")
    others = cleared.make_case(tmp_path_factory.getbasetemp() / "papers", tmp_path / "others", party="other-co")
    with pytest.raises(PassportError, match=r"do not allow party 'other-co'; allowed: lab-co"):
        clear(Bundle.read(others.bundle), others.trust())
    with pytest.raises(PassportError, match=r"do not allow site 'abroad'; allowed: plant"):
        clear(read(away), away.trust())


def test_a_clock_that_was_set_back_is_refused(case):
    with pytest.raises(PassportError, match=r"made at \d+ ns, the clock shows \d+ ns: the clock was set back"):
        clear(read(case), case.trust(MADE_NS - HOUR_NS))
    # also where the passport is old enough: this machine has seen later times
    assert clear(read(case), case.trust(MADE_NS + 2 * HOUR_NS))
    with pytest.raises(PassportError, match=r"latest: the clock shows \d+ ns, but \d+ ns was seen here before"):
        clear(read(case), case.trust(MADE_NS + HOUR_NS))
    # within a second, as time services set it, it holds
    assert clear(read(case), case.trust(MADE_NS + 2 * HOUR_NS - 10**9))


def test_a_list_of_revoked_models_that_was_rolled_back_taken_away_or_altered_is_refused(case):
    first = case.revoke(STRANGER.public.id)
    early = (case.machine / "revocations.json").read_bytes()
    case.revoke(PARENT, old=first)
    late = (case.machine / "revocations.json").read_bytes()
    with pytest.raises(PassportError, match="was revoked"):
        clear(read(case), case.trust())
    (case.machine / "revocations.json").write_bytes(early)
    with pytest.raises(
        SignatureError, match=r"revocations.json: list 1 of \d+ ns, but list 2 .* an older one was played back"
    ):
        clear(read(case), case.trust())
    (case.machine / "revocations.json").unlink()
    with pytest.raises(PassportError, match="list of revoked models was taken away; put the newest one back"):
        clear(read(case), case.trust())
    (case.machine / "revocations.json").write_bytes(late[:-9])
    with pytest.raises(SignatureError, match="not a DSSE envelope"):
        clear(read(case), case.trust())


def test_a_decision_to_deploy_stands_in_the_ledger_where_there_is_one(case):
    bundle = read(case)
    clear(bundle, case.trust())
    (case.machine / "keys").mkdir()
    key = SigningKey.create(case.machine / "keys" / "signing")
    Ledger.create(case.machine / "ledger", "plant", key)
    clear(bundle, case.trust())
    with pytest.raises(PassportError, match="an agreement ended"):
        clear(bundle, case.trust(UNTIL_NS))
    decisions = [entry.body for entry in read_entries(case.machine / "ledger") if entry.kind == "decision"]
    assert [(one["allowed"], one["request"]["act"], one["request"]["sites"]) for one in decisions] == [
        (True, "deploy", ["plant"]),
        (False, "deploy", ["plant"]),
    ]
    assert "an agreement ended" in decisions[1]["reasons"][0]
    assert {one["request"]["passport"] for one in decisions} == {passports.read(case.bundle / "passport.json").digest}
    # a head is signed over the last of them
    found = verify_ledger(case.machine / "ledger", trust=None)
    assert found.holds and found.signed_size == found.size == 3


def test_a_confined_command_has_the_clerk_look_and_record(case, tmp_path):
    keeper = TrustFolder.create(tmp_path / "trust", party="lab-co", site="plant")
    (keeper.path / "partners" / "lab.pub").write_bytes(KEY.public.pem())
    case = dataclasses.replace(case, machine=keeper.path)
    program = (
        "import sys, toy; from genba.runtime.bundle import Bundle; from genba.runtime.clearance import clear; "
        "from genba.trust.machine import MachineTrust; "
        "clear(Bundle.read(sys.argv[1], toy.CART_FACTS), MachineTrust(sys.argv[2]))"
    )
    command = [sys.executable, "-c", program, str(case.bundle), str(keeper.path)]
    paths = os.pathsep.join(filter(None, [str(Path(toy.__file__).parent), *sys.path]))
    with clerk(keeper) as (_, variables):
        environment = {**os.environ, **variables, "PYTHONPATH": paths}
        assert subprocess.run(command, env=environment, timeout=60).returncode == 0
        case.revoke(PARENT)
        done = subprocess.run(command, env=environment, timeout=60, capture_output=True, text=True)
    assert f"PassportError: {case.bundle}/passport.json: parent {PARENT} was revoked" in done.stderr
    decisions = [entry.body for entry in read_entries(keeper.path / "ledger") if entry.kind == "decision"]
    assert [(one["allowed"], one["request"]["act"]) for one in decisions] == [(True, "deploy"), (False, "deploy")]
    assert (keeper.path / "seen" / "latest").exists()


class Drive:
    """The cart, driven by the bundle; what a test changes while it drives happens before one control step."""

    def __init__(self, case, *, change_at: int, change) -> None:
        self.now_ns, self.case, self.at, self.change = MADE_NS + HOUR_NS, case, change_at, change
        bundle = read(case)
        trust = MachineTrust(case.machine, clock=lambda: self.now_ns)
        envelope = passports.read(case.bundle / "passport.json")
        self.clearance = Clearance(bundle, envelope, trust, clock=lambda: 0.0)
        env, policy = toy.CART.make_env(), EnginePolicy(OnnxEngine(bundle))
        self.actions = []
        executor = Executor(policy, toy.CART_FACTS, enforce_deadline=False, clearance=self.clearance)
        step = executor.step

        def changed(observation):
            if len(self.actions) == self.at:
                change(self)
                self.clearance.look_again()
            self.actions.append(step(observation))
            return self.actions[-1]

        executor.step = changed
        self.run = run_episode(env, executor, seed=1, max_steps=60)


def expire(drive):
    drive.now_ns = UNTIL_NS


def revoke(drive):
    drive.case.revoke(PARENT)


def lose(drive):
    shutil.rmtree(drive.case.machine / "partners")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (expire, "an agreement ended"),
        (revoke, "was revoked"),
        (lose, "could not be checked: SignatureError: .*no public keys"),
    ],
)
def test_a_model_that_loses_its_clearance_under_way_gives_way_to_the_fallback(case, change, reason, monkeypatch):
    monkeypatch.setattr(clearances, "PAUSE_S", 0.0)
    drive = Drive(case, change_at=20, change=change)
    log = drive.run.log
    # 60 control steps, of which the model had 20; the cart's answer to a fault is no force
    assert (log.num_steps, log.num_fallbacks, sum(log.refusals.values())) == (60, 40, 40)
    assert all(float(action.continuous[0]) == 0.0 for action in drive.actions[-30:])
    (found,) = log.refusals
    assert re.search(reason, found)
    assert log.counts()["refusals"] == {found: 40}
    # 20 steps of a chunk of which 4 are executed: 5 decisions, and none after
    assert log.num_decisions == 5


def test_what_was_refused_once_stays_refused(case):
    drive = Drive(case, change_at=20, change=expire)
    drive.now_ns = MADE_NS + HOUR_NS
    assert "an agreement ended" in drive.clearance.look_again()


def test_who_could_not_look_for_three_turns_refuses(case):
    now_s = 0.0
    envelope = passports.read(case.bundle / "passport.json")
    found = Clearance(read(case), envelope, case.trust(), every_s=60.0, clock=lambda: now_s)
    now_s = 180.0
    assert not found.refusal
    now_s = 180.1
    assert "could not be looked at for 180 s" in found.refusal


def test_the_watch_notices_by_itself_and_enters_it(case):
    (case.machine / "keys").mkdir()
    Ledger.create(case.machine / "ledger", "plant", SigningKey.create(case.machine / "keys" / "signing"))
    envelope = passports.read(case.bundle / "passport.json")
    # By a clock that stands still: on a computer that is busy three turns of so short a time would be over unseen.
    with Clearance(read(case), envelope, case.trust(), every_s=0.02, clock=lambda: 0.0) as found:
        case.revoke(PARENT)
        end_s = time.monotonic() + 30
        while not found.refusal and time.monotonic() < end_s:
            time.sleep(0.01)
        assert "was revoked" in found.refusal
    last = list(read_entries(case.machine / "ledger"))[-1]
    assert (last.kind, last.body["allowed"], last.body["request"]["act"]) == ("decision", False, "deploy")
