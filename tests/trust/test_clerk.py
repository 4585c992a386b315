"""A confined command decides, records and signs through a clerk, and through nothing else."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from governed import reading, sample_trust

from genba.errors import ConfigError, LedgerError, PermissionDeniedError, SignatureError
from genba.trust.audit import read_entries, verify
from genba.trust.clerk import KINDS, clerk
from genba.trust.clerk_client import ClerkClient, ClerkGatekeeper, ClerkKey, ClerkLedger, receive, send
from genba.trust.dsse import pae, sign
from genba.trust.folder import TrustFolder
from genba.trust.heads import PAYLOAD_TYPE as HEAD_TYPE
from genba.trust.ledger import KINDS as ALL_KINDS
from genba.trust.passport import PAYLOAD_TYPE, Passport
from genba.trust.revocation import PAYLOAD_TYPE as REVOCATION_TYPE
from genba.trust.signing import SigningKey

#: within every sample agreement: 2026-12-01
NOW_NS = 1_796_083_200_000_000_000
PASSPORT = Passport(weights="sha256:" + "1" * 64, code={}, environment={}, config={}, seeds={}, hardware={}, made_ns=1)


@pytest.fixture
def trust(tmp_path: Path) -> TrustFolder:
    return TrustFolder(sample_trust(tmp_path / "trust").path, clock=lambda: NOW_NS)


@pytest.fixture
def client(trust: TrustFolder) -> Iterator[ClerkClient]:
    with clerk(trust) as (path, _):
        yield ClerkClient(str(path), trust.path)


def test_it_decides_by_the_rules_outside_and_records_before_it_answers(trust: TrustFolder, client: ClerkClient):
    gatekeeper = ClerkGatekeeper(trust.compiled, client)
    said = gatekeeper.decide(reading())
    assert said.is_allowed
    assert said.now_ns == NOW_NS
    assert said.request == reading()
    with pytest.raises(PermissionDeniedError, match="Sample Fleet/driving: read by Sample Works Research is refused"):
        gatekeeper.require(reading("deploy"))
    entries = [one for one in read_entries(trust.path / "ledger") if one.kind == "decision"]
    assert [one.body["allowed"] for one in entries] == [True, False]
    assert entries[0].body == said.body()


def test_rules_that_changed_outside_hold_from_the_next_gatekeeper(trust: TrustFolder, client: ClerkClient):
    assert ClerkGatekeeper(trust.compiled, client).decide(reading()).is_allowed
    path = next(
        one for one in (trust.path / "agreements").iterdir() if "Sample Fleet" in one.read_text().splitlines()[0]
    )
    path.write_text(path.read_text().replace('"train", "evaluate"', '"evaluate"'))
    assert not ClerkGatekeeper(trust.compiled, client).decide(reading()).is_allowed


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_command_says_of_itself_is_entered(trust: TrustFolder, client: ClerkClient, kind: str):
    ledger = ClerkLedger(trust.path / "ledger", client)
    entry = ledger.append(kind, {"windows": 3})
    assert (entry.kind, entry.body, entry.number) == (kind, {"windows": 3}, 1)
    assert (ledger.size, ledger.root) == (trust.ledger.size, trust.ledger.root)
    head = ledger.sign_head(ClerkKey(ledger.key, client))
    assert (head.size, head.root) == (2, ledger.root)
    assert verify(trust.path / "ledger", trust=trust.trust_store).holds


@pytest.mark.parametrize("kind", sorted(set(ALL_KINDS) - set(KINDS)))
def test_what_is_said_of_a_command_or_by_the_keeper_is_not_entered_by_it(
    trust: TrustFolder, client: ClerkClient, kind: str
):
    ledger = ClerkLedger(trust.path / "ledger", client)
    with pytest.raises(PermissionDeniedError, match=f"an entry of kind '{kind}' is made outside of it"):
        ledger.append_all([("run", {}), (kind, {"allowed": True})])
    assert trust.ledger.size == 1


def test_entry_that_would_read_back_otherwise_is_refused(trust: TrustFolder, client: ClerkClient):
    ledger = ClerkLedger(trust.path / "ledger", client)
    for body in ({"a": (1, 2)}, {"a": float("nan")}, {"a": b"bytes"}, {1: "a"}):
        with pytest.raises(LedgerError, match="an entry of kind 'run' cannot be stored"):
            ledger.append("run", body)
    assert trust.ledger.size == 1


def test_passport_is_signed_and_kept_and_another_signers_is_not(trust: TrustFolder, client: ClerkClient):
    ledger = ClerkLedger(trust.path / "ledger", client)
    envelope = PASSPORT.signed(ClerkKey(ledger.key, client))
    assert envelope.signers({ledger.key.id: ledger.key}, payload_type=PAYLOAD_TYPE, place="test") == (ledger.key.id,)
    entry = ledger.enter_passport(envelope)
    assert entry.body == {"digest": envelope.digest}
    assert (trust.path / "ledger" / "passports" / f"{envelope.digest[7:]}.json").is_file()
    with pytest.raises(SignatureError, match="the command's passport: signed by"):
        ledger.enter_passport(PASSPORT.signed(SigningKey.generate()))
    assert trust.ledger.size == 2


@pytest.mark.parametrize(
    "data",
    [
        pae(HEAD_TYPE, b"{}"),
        pae(REVOCATION_TYPE, b"{}"),
        b"anything",
        b"",
        # A type that begins like a passport's and goes on.
        pae(PAYLOAD_TYPE + "x", b"{}"),
        b"DSSEv1 29 " + PAYLOAD_TYPE.encode(),
    ],
)
def test_nothing_but_a_passport_is_signed(trust: TrustFolder, client: ClerkClient, data: bytes):
    key = ClerkKey(trust.signing_key.public, client)
    with pytest.raises(PermissionDeniedError, match="has its passport signed and nothing else"):
        key.sign(data)
    with pytest.raises(PermissionDeniedError, match="has its passport signed and nothing else"):
        sign(HEAD_TYPE, {}, key)


def test_countersigning_is_for_partners(trust: TrustFolder, client: ClerkClient):
    with pytest.raises(PermissionDeniedError, match="adds no countersignature"):
        ClerkLedger(trust.path / "ledger", client).countersign(PASSPORT.signed(trust.signing_key))


def test_blinding_key_is_the_one_outside(trust: TrustFolder, client: ClerkClient):
    assert base64.b64decode(client.ask("blinding", owner="Sample Fleet")["key"]) == trust.blinding_key("Sample Fleet")


@pytest.mark.parametrize(
    ("what", "facts", "match"),
    [
        ("destroy", {}, "a confined command cannot ask for 'destroy'"),
        ("decide", {}, "'decide' cannot be asked like this"),
        ("decide", {"request": {"act": "read", "sites": [], "endpoints": []}}, "'decide' cannot be asked like this"),
        ("append", {"records": [["run"]]}, "'append' cannot be asked like this"),
        ("append", {"records": 3}, "'append' cannot be asked like this"),
        ("sign", {"data": "not base64"}, "'sign' cannot be asked like this"),
        ("passport", {"envelope": 3}, "'passport' cannot be asked like this"),
    ],
)
def test_request_that_is_none_is_refused_and_the_next_is_answered(
    trust: TrustFolder, client: ClerkClient, what: str, facts: dict[str, object], match: str
):
    with pytest.raises(PermissionDeniedError, match=match):
        client.ask(what, **facts)
    assert client.ask("head") == {"size": 1}
    assert trust.ledger.size == 1


def test_it_answers_for_its_own_folder_alone(trust: TrustFolder, client: ClerkClient, tmp_path: Path):
    with pytest.raises(
        PermissionDeniedError, match=rf"other: this command runs under {trust.path}; expected that trust"
    ):
        ClerkClient(client.path, tmp_path / "other").ask("head")


@pytest.mark.parametrize(
    "said", [b"", b"\0", struct.pack("<I", 0), struct.pack("<I", 1 << 31), struct.pack("<I", 2) + b"[]"]
)
def test_who_speaks_otherwise_is_not_answered(client: ClerkClient, said: bytes):
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(client.path)
        one.sendall(said)
        one.shutdown(socket.SHUT_WR)
        assert one.recv(100) == b""
    assert client.ask("head") == {"size": 1}


def test_without_a_clerk_nothing_is_done(trust: TrustFolder, tmp_path: Path):
    nobody = ClerkClient(str(tmp_path / "nobody"), trust.path)
    with pytest.raises(PermissionDeniedError, match=r"nobody answers for it.*is not done without that"):
        ClerkLedger(trust.path / "ledger", nobody).append("run", {})
    with pytest.raises(PermissionDeniedError, match="nobody answers for it"):
        ClerkGatekeeper(trust.compiled, nobody)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        child = os.fork()
        if child == 0:
            silent.accept()[0].close()
            os._exit(0)
        with pytest.raises(PermissionDeniedError, match="nobody answers for it"):
            ClerkClient(str(tmp_path / "silent"), trust.path).ask("head")
        os.waitpid(child, 0)


def test_error_outside_is_the_same_error_inside(trust: TrustFolder, client: ClerkClient):
    (trust.path / "latest").write_text("no time")
    with pytest.raises(ConfigError, match="expected the latest time seen"):
        ClerkGatekeeper(trust.compiled, client).decide(reading())


def test_trust_folder_asks_by_itself_where_the_variable_is_set(trust: TrustFolder, tmp_path: Path):
    code = """
        import json, sys
        from genba.trust.folder import TrustFolder
        from genba.trust.passport import Passport
        trust = TrustFolder(sys.argv[1])
        trust.ledger.append("run", {"began": True})
        passport = Passport(weights="sha256:" + "1" * 64, code={}, environment={}, config={}, seeds={}, hardware={}, made_ns=1)
        trust.ledger.enter_passport(passport.signed(trust.signing_key))
        kinds = [type(one).__name__ for one in (trust.ledger, trust.gatekeeper, trust.signing_key)]
        print(json.dumps([kinds, trust.sign_head().size, len(trust.blinding_key("Sample Fleet"))]))
    """
    with clerk(trust) as (_, variables):
        command = [sys.executable, "-c", textwrap.dedent(code), str(trust.path)]
        done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)
    assert done.stderr == ""
    # The first entry, the run, the passport; a key of 32 bytes.
    assert json.loads(done.stdout) == [["ClerkLedger", "ClerkGatekeeper", "ClerkKey"], 3, 32]


def test_message_is_read_as_it_was_written(tmp_path: Path):
    with (tmp_path / "message").open("wb") as file:
        send(file, {"ask": "head", "sites": ["a", "b"]})
    with (tmp_path / "message").open("rb") as file:
        assert receive(file) == {"ask": "head", "sites": ["a", "b"]}
