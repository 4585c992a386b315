"""A ledger only grows: entries of several processes, crashes in the middle of a line, clocks, and nothing on changed ground."""

import json
import multiprocessing
import os
import resource
from pathlib import Path

import pytest

from genba.errors import LedgerError, SignatureError
from genba.trust import durable
from genba.trust import ledger as ledger_module
from genba.trust.audit import read_entries, verify
from genba.trust.digest import digest_bytes
from genba.trust.dsse import sign
from genba.trust.heads import Head, newest_head, sign_head
from genba.trust.ledger import Entry, Ledger
from genba.trust.merkle import Tree, leaf_hash
from genba.trust.signing import SigningKey

KEY = SigningKey.generate()
SECOND_NS = 10**9


@pytest.fixture
def ledger(tmp_path):
    return Ledger.create(tmp_path / "ledger", "plant", KEY)


def test_entries_are_kept_in_order_with_their_root(ledger):
    made = ledger.append_all([("run", {"number": i}) for i in range(3)])
    made.append(ledger.append("decision", {"permit": True, "by": "現場", "score": 0.5}))
    entries = read_entries(ledger.folder)
    assert entries[1:] == made
    assert [e.number for e in entries] == [0, 1, 2, 3, 4]
    assert entries[0].body == {"format": "genba-ledger@1", "key": KEY.public.text, "name": "plant"}
    lines = (ledger.folder / "entries.jsonl").read_bytes().splitlines()
    assert ledger.id == digest_bytes(lines[0])
    assert ledger.root == Ledger(ledger.folder).root == Tree(leaf_hash(line) for line in lines).root()
    assert (ledger.size, ledger.key.id) == (5, KEY.public.id)


def test_a_ledger_is_made_once(ledger, tmp_path):
    with pytest.raises(LedgerError, match="a ledger is here already"):
        Ledger.create(ledger.folder, "other", KEY)
    with pytest.raises(LedgerError, match=r"no ledger here .* genba audit init"):
        Ledger(tmp_path / "none")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LedgerError, match="could not make a ledger"):
        Ledger.create(tmp_path / "file" / "ledger", "plant", KEY)


def test_a_ledger_is_made_with_the_folders_above_it_and_its_files_have_names_on_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(ledger_module, "sync_folder", lambda folder: synced.append(folder))
    before = os.umask(0)
    try:
        ledger = Ledger.create(tmp_path / "trust" / "ledger", "plant", KEY)
    finally:
        os.umask(before)
    # Once for the entries' name and once for the heads'; later lines have a name already.
    assert synced == [ledger.folder] * 2
    ledger.append("run", {})
    assert synced == [ledger.folder] * 2
    # Whoever may write is for the umask alone to say.
    assert (ledger.folder / "entries.jsonl").stat().st_mode & 0o777 == 0o666


def test_a_beginning_that_was_interrupted_is_named(tmp_path):
    (tmp_path / "entries.jsonl").write_bytes(b'{"body":')
    with pytest.raises(LedgerError, match="making it was interrupted"):
        Ledger(tmp_path)


@pytest.mark.parametrize("body", [{}, {"format": "genba-ledger@2"}])
def test_another_format_is_refused(tmp_path, body):
    (tmp_path / "entries.jsonl").write_bytes(Entry(0, 1, "ledger", body).line() + b"\n")
    with pytest.raises(
        LedgerError, match=r"entry 0 is of kind 'ledger' and format .*, expected 'ledger' and 'genba-led"
    ):
        Ledger(tmp_path)
    good = {"format": "genba-ledger@1", "key": "AA=="}
    (tmp_path / "entries.jsonl").write_bytes(Entry(0, 1, "ledger", good).line() + b"\n")
    with pytest.raises(SignatureError, match="not an Ed25519 public key"):
        Ledger(tmp_path)
    (tmp_path / "entries.jsonl").write_bytes(Entry(0, 1, "run", good).line() + b"\n")
    with pytest.raises(LedgerError, match="entry 0 is of kind 'run'"):
        Ledger(tmp_path)


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("runn", {}, "no entries of kind 'runn'; did you mean 'run'"),
        ("ledger", {}, "no entries of kind 'ledger'"),
        ("run", {"loss": float("nan")}, "cannot be stored"),
        ("run", {"path": Path("/")}, "cannot be stored"),
        ("run", {"text": "\ud800"}, "cannot be stored"),
        ("run", {"pair": (1, 2)}, "would read back otherwise"),
        ("run", {3: "three"}, "would read back otherwise"),
    ],
)
def test_what_cannot_be_stored_as_it_is_adds_nothing(ledger, kind, body, reason):
    before = (ledger.folder / "entries.jsonl").read_bytes()
    with pytest.raises(LedgerError, match=reason):
        ledger.append_all([("run", {"good": 1}), (kind, body)])
    assert (ledger.folder / "entries.jsonl").read_bytes() == before
    assert ledger.append("run", {}).number == 1


def test_what_another_process_appended_is_taken_in(ledger):
    other = Ledger(ledger.folder)
    assert ledger.append("run", {"by": "first"}).number == 1
    assert other.append("run", {"by": "second"}).number == 2
    head = other.sign_head(KEY)
    assert ledger.append("run", {"by": "first"}).number == 3
    assert (head.size, ledger.sign_head(KEY).size) == (3, 4)
    assert verify(ledger.folder).holds


def test_processes_append_together_without_loss(ledger):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=append_many, args=(ledger.folder, w)) for w in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    ledger.sign_head(KEY)
    entries = read_entries(ledger.folder)[1:]
    assert verify(ledger.folder).holds
    for w in range(2):
        assert [e.body["i"] for e in entries if e.body["worker"] == w] == list(range(20))


def append_many(folder: Path, worker: int) -> None:
    opened = Ledger(folder)
    for i in range(20):
        opened.append("run", {"worker": worker, "i": i})


def test_a_head_is_signed_once_per_size_and_by_the_keeper_only(ledger):
    ledger.append("run", {})
    head = ledger.sign_head(KEY)
    assert ledger.sign_head(KEY) == head == Ledger(ledger.folder).sign_head(KEY)
    assert (ledger.folder / "heads.jsonl").read_bytes().count(b"\n") == 2
    other = SigningKey.generate()
    with pytest.raises(LedgerError, match=f"kept by key {KEY.public.id}, got key {other.public.id}"):
        ledger.sign_head(other)


@pytest.mark.parametrize("cut", range(1, 8))
@pytest.mark.parametrize("name", ["entries.jsonl", "heads.jsonl"])
def test_a_half_written_tail_is_named_set_aside_and_entered(ledger, name, cut):
    ledger.append("run", {"i": 1})
    ledger.sign_head(KEY)
    path = ledger.folder / name
    whole = path.read_bytes()
    fragment = whole.splitlines(keepends=True)[-1][: -cut * 9 if cut > 1 else -1]
    path.write_bytes(whole + fragment)
    (problem,) = verify(ledger.folder).problems
    assert problem.kind == "tail"
    assert f"half-written: {len(fragment)} bytes" in problem.message
    again = Ledger(ledger.folder)
    assert again.append("run", {"i": 2}).number == 3
    recovered = read_entries(ledger.folder)[2]
    assert recovered.kind == "recovered"
    assert recovered.body["file"] == name
    assert (ledger.folder / "set-aside" / recovered.body["set_aside"]).read_bytes() == fragment
    assert recovered.body["digest"] == digest_bytes(fragment) and recovered.body["bytes"] == len(fragment)
    again.sign_head(KEY)
    assert verify(ledger.folder).holds
    assert path.read_bytes().startswith(whole)
    # A second one is set aside beside the first.
    with path.open("ab") as file:
        file.write(b"half")
    again.append("run", {"i": 3})
    assert len(list((ledger.folder / "set-aside").iterdir())) == 2
    again.sign_head(KEY)
    assert verify(ledger.folder).holds


def test_what_is_half_written_is_set_aside_before_a_countersignature_too(ledger):
    envelope = newest_head(ledger.folder / "heads.jsonl")
    for name in ("entries.jsonl", "heads.jsonl"):
        with (ledger.folder / name).open("ab") as file:
            file.write(b"half")
    ledger.countersign(envelope.signed_by(KEY))
    assert [entry.body["file"] for entry in read_entries(ledger.folder)[1:]] == ["entries.jsonl", "heads.jsonl"]
    ledger.sign_head(KEY)
    assert verify(ledger.folder).holds


def test_what_was_set_aside_is_checked(ledger):
    with (ledger.folder / "entries.jsonl").open("ab") as file:
        file.write(b"half")
    ledger.sign_head(KEY)
    (aside,) = (ledger.folder / "set-aside").iterdir()
    assert verify(ledger.folder).holds
    aside.write_bytes(b"hale")
    assert [(p.kind, p.message.split()[-1]) for p in verify(ledger.folder).problems] == [("set aside", "aside")]
    aside.unlink()
    (problem,) = verify(ledger.folder).problems
    assert "is gone; expected what a crash left half-written" in problem.message


def test_a_clock_set_back_is_refused_beyond_a_second(ledger, monkeypatch):
    last_ns = ledger.append("run", {}).time_ns
    head_ns = ledger.sign_head(KEY).time_ns
    # Just inside: time stands still until the clock has caught up.
    monkeypatch.setattr(ledger_module.time, "time_ns", lambda: last_ns - SECOND_NS)
    assert ledger.append("run", {}).time_ns == last_ns
    monkeypatch.setattr(ledger_module.time, "time_ns", lambda: last_ns - SECOND_NS - 1)
    with pytest.raises(LedgerError, match="the clock was set back"):
        ledger.append("run", {})
    # Another process, which has only the files, sees it too.
    with pytest.raises(LedgerError, match="the clock was set back"):
        Ledger(ledger.folder).append("run", {})
    monkeypatch.setattr(ledger_module.time, "time_ns", lambda: head_ns - SECOND_NS - 1)
    with pytest.raises(LedgerError, match="the clock was set back"):
        ledger.sign_head(KEY)
    monkeypatch.undo()
    assert ledger.append("run", {}).number == 3


def test_a_head_over_fewer_entries_that_others_signed_later_is_taken_in(ledger):
    ledger.append_all([("run", {"i": i}) for i in range(2)])
    lines = (ledger.folder / "entries.jsonl").read_bytes().splitlines()
    before = digest_bytes((ledger.folder / "heads.jsonl").read_bytes())
    late = Head(ledger.id, 2, Tree(map(leaf_hash, lines[:2])).root(), ledger.append("run", {}).time_ns, before)
    with (ledger.folder / "heads.jsonl").open("ab") as file:
        file.write(sign_head(late, KEY).to_bytes() + b"\n")
    assert ledger.append("run", {}).number == 4
    ledger.sign_head(KEY)
    assert verify(ledger.folder).holds


def test_nothing_is_added_to_a_ledger_that_a_head_contradicts(ledger):
    ledger.append_all([("run", {"i": i}) for i in range(4)])
    ledger.sign_head(KEY)
    path = ledger.folder / "entries.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(whole.replace(b'{"i":2}', b'{"i":7}'))
    with pytest.raises(LedgerError, match="the first 5 entries are not those that a head was signed over"):
        Ledger(ledger.folder)
    path.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(LedgerError, match="4 entries, but a head was signed over 5: it was cut off"):
        Ledger(ledger.folder)
    with pytest.raises(LedgerError, match=r"there were .* it was cut off"):
        ledger.append("run", {})
    path.write_bytes(whole)
    assert ledger.append("run", {}).number == 5


def test_a_last_line_that_is_no_entry_stops_appending(ledger):
    with (ledger.folder / "entries.jsonl").open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(LedgerError, match=r"entry 1: not an entry \(KeyError"):
        ledger.append("run", {})


def test_a_disk_that_refuses_is_said(ledger):
    path = ledger.folder / "entries.jsonl"
    whole = path.read_bytes()
    path.unlink()
    path.mkdir()
    with pytest.raises(LedgerError, match=r"could not write: .* what was there is intact"):
        ledger.append("run", {})
    path.rmdir()
    path.write_bytes(whole)
    assert ledger.append("run", {}).number == 1


def fail(folder: Path) -> None:
    raise OSError(5, "the disk is gone")


def test_a_passport_is_kept_before_it_is_entered(ledger, monkeypatch):
    envelope = sign("application/vnd.in-toto+json", {"made": "up"}, KEY)
    entry = ledger.enter_passport(envelope)
    assert (entry.kind, entry.body) == ("passport", {"digest": envelope.digest})
    (path,) = (ledger.folder / "passports").iterdir()
    assert path.read_bytes() == envelope.to_bytes()
    ledger.sign_head(KEY)
    assert verify(ledger.folder).holds
    # Entered again while the disk fails, it is still there.
    with monkeypatch.context() as patch:
        patch.setattr(durable, "sync_folder", fail)
        with pytest.raises(LedgerError, match="could not keep the passport: the disk is gone"):
            ledger.enter_passport(envelope)
    assert path.read_bytes() == envelope.to_bytes()
    path.unlink()
    path.parent.rmdir()
    path.parent.write_bytes(b"")
    with pytest.raises(LedgerError, match="could not keep the passport"):
        ledger.enter_passport(envelope)
    assert ledger.append("run", {}).number == 2


def test_a_full_disk_takes_all_of_a_batch_or_nothing(ledger):
    whole = (ledger.folder / "entries.jsonl").read_bytes()
    # Room for one whole entry (about 70 bytes) and a part of the next.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 100, before[1]))
    try:
        with pytest.raises(LedgerError, match="could not write: File too large; what was there is intact"):
            ledger.append_all([("run", {"i": i}) for i in range(9)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (ledger.folder / "entries.jsonl").read_bytes() == whole
    assert ledger.append("run", {}).number == 1


@pytest.mark.parametrize(
    "change",
    [
        {"number": True},
        {"number": "1"},
        {"time_ns": 1.5},
        {"body": []},
        {"kind": "nothing"},
        {"kind": []},
        {"more": 1},
    ],
)
def test_what_is_no_entry_is_refused(change):
    table = {"body": {}, "kind": "run", "number": 1, "time_ns": 2} | change
    line = json.dumps(table, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(LedgerError, match="here: not an entry"):
        Entry.parse(line, place="here")
