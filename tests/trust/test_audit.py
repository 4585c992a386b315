"""Whoever changes, moves, cuts or adds anything in a ledger is found, from its files alone; proofs travel without it."""

import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genba.errors import LedgerError, SignatureError
from genba.trust import ledger as ledger_module
from genba.trust.audit import countersign, verify
from genba.trust.dsse import Envelope, sign
from genba.trust.heads import Head, check_growth, head_of, newest_head, read_head, sign_head
from genba.trust.ledger import Entry, Ledger
from genba.trust.merkle import Tree, leaf_hash
from genba.trust.passport import PAYLOAD_TYPE as PASSPORT_TYPE
from genba.trust.proofs import check_growth_proof, check_proof, prove, prove_all, prove_growth
from genba.trust.signing import SigningKey, TrustStore

KEY, PARTNER, STRANGER = SigningKey.generate(), SigningKey.generate(), SigningKey.generate()
TRUST = TrustStore({"plant": KEY.public, "partner": PARTNER.public})


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Nine entries, four heads, one countersigned, a passport."""
    folder = tmp_path_factory.mktemp("sound") / "ledger"
    ledger = Ledger.create(folder, "plant", KEY)
    ledger.append("witness", {"name": "partner", "key": PARTNER.public.text})
    ledger.append_all([("run", {"i": i}) for i in range(3)])
    ledger.sign_head(KEY)
    ledger.countersign(countersign(folder, PARTNER, seen=None, trust=TRUST))
    passport = sign(PASSPORT_TYPE, {"made": "up"}, KEY)
    ledger.enter_passport(passport)
    (kept,) = (folder / "passports").iterdir()
    kept.rename(kept.with_name("first.json"))
    ledger.sign_head(KEY)
    ledger.append_all([("read", {"root": "0" * i}) for i in range(3)])
    ledger.sign_head(KEY)
    assert verify(folder).problems == ()
    return folder


@pytest.fixture
def copy(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "copy")
    return tmp_path / "copy"


def kinds(folder, **options):
    return {problem.kind for problem in verify(folder, **options).problems}


def test_a_sound_ledger_holds(sound):
    findings = verify(sound, trust=TRUST)
    assert findings.holds
    assert (findings.size, findings.signed_size) == (9, 9)
    assert findings.witnesses == {PARTNER.public.id: "partner"}
    assert findings.witnessed == {"partner": 5}
    assert findings.ledger == Ledger(sound).id
    assert findings.root == Ledger(sound).root
    assert (findings.keeper, verify(sound).keeper) == ("plant", KEY.public.id)


FILES = ["entries.jsonl", "heads.jsonl", "passports/first.json"]


@pytest.mark.parametrize("name", FILES)
@settings(deadline=None)
@given(data=st.data())
def test_any_single_change_is_found(sound, tmp_path_factory, name, data):
    folder = tmp_path_factory.mktemp("changed") / "copy"
    shutil.copytree(sound, folder)
    whole = (folder / name).read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    change = data.draw(st.sampled_from(["flip", "cut", "insert", "remove", "swap"]))
    if change == "flip":
        changed = bytearray(whole)
        changed[place] ^= data.draw(st.integers(1, 255))
    elif change == "cut":
        changed = whole[:place]
    elif change == "insert":
        changed = whole[:place] + data.draw(st.binary(min_size=1, max_size=4)) + whole[place:]
    elif change == "remove":
        changed = whole[:place] + whole[place + 1 :]
    else:
        other = data.draw(st.integers(0, len(whole) - 1))
        changed = bytearray(whole)
        changed[place], changed[other] = changed[other], changed[place]
    if bytes(changed) == whole:
        return
    (folder / name).write_bytes(changed)
    findings = verify(folder)
    assert not findings.holds
    assert all(problem.message and problem.place for problem in findings.problems)
    shutil.rmtree(folder)


def test_every_flipped_byte_is_found(tmp_path):
    copy = tmp_path / "small"
    ledger = Ledger.create(copy, "plant", KEY)
    ledger.append("run", {"i": 1})
    ledger.sign_head(KEY)
    for name in FILES[:2]:
        whole = (copy / name).read_bytes()
        for place in range(len(whole)):
            changed = bytearray(whole)
            changed[place] ^= 1
            (copy / name).write_bytes(changed)
            assert not verify(copy).holds, f"{name} at {place}"
        (copy / name).write_bytes(whole)


@pytest.mark.parametrize("name", ["entries.jsonl", "heads.jsonl"])
def test_whole_lines_that_are_swapped_removed_or_repeated_are_found(copy, name):
    lines = (copy / name).read_bytes().splitlines(keepends=True)
    for place in range(len(lines)):
        for other in range(place):
            moved = list(lines)
            moved[place], moved[other] = moved[other], moved[place]
            (copy / name).write_bytes(b"".join(moved))
            assert not verify(copy).holds, f"{place} and {other} swapped"
        (copy / name).write_bytes(b"".join(lines[:place] + lines[place + 1 :]))
        assert not verify(copy).holds, f"{place} removed"
        for target in range(len(lines) + 1):
            (copy / name).write_bytes(b"".join([*lines[:target], lines[place], *lines[target:]]))
            assert not verify(copy).holds, f"{place} repeated at {target}"


def test_each_thing_found_is_named(copy):
    entries = copy / "entries.jsonl"
    lines = entries.read_bytes().splitlines(keepends=True)

    def found(changed: list[bytes]) -> list[tuple[str, str]]:
        entries.write_bytes(b"".join(changed))
        return [(p.kind, f"{p.place.split(': ')[-1]}: {p.message}") for p in verify(copy).problems]

    swapped = found([*lines[:3], lines[4], lines[3], *lines[5:]])
    assert ("order", "entry 3: it says that it is entry 4: entries were moved, added or removed") in swapped
    cut = found(lines[:-1])
    assert ("head", "line 5: signed over 9 entries, here are 8: it was cut off") in cut
    changed = found([*lines[:3], lines[3].replace(b'"i":1', b'"i":5'), *lines[4:]])
    assert [kind for kind, _ in changed] == ["head", "head", "head", "head", "tail"][: len(changed)]
    assert "line 2: the first 5 entries are not those that were signed" in changed[0][1]
    added = found([*lines, Entry(9, 1 << 62, "run", {}).line() + b"\n"])
    (tail,) = added
    assert tail[0] == "tail" and "entries 9 to 9 are covered by no sound head" in tail[1]
    back = found([*lines, Entry(9, 5, "run", {}).line() + b"\n"])
    assert back[0][0] == "time" and "entry 9: made at 5 ns, the one before at" in back[0][1]
    again = found([*lines, Entry(9, 1 << 62, "ledger", {}).line() + b"\n"])
    assert again[0] == ("entry", "entry 9: a second beginning: expected it as entry 0 only")
    bad_key = found([*lines, Entry(9, 1 << 62, "witness", {"key": 4}).line() + b"\n"])
    assert bad_key[0][0] == "entry" and "not an Ed25519 public key" in bad_key[0][1]


def test_without_files_nothing_holds(copy, tmp_path):
    (problem,) = verify(tmp_path / "none").problems
    assert problem.kind == "ledger"
    assert verify(tmp_path / "none").signed_size == 0
    (copy / "heads.jsonl").unlink()
    assert kinds(copy) == {"head", "tail"}
    (copy / "entries.jsonl").write_bytes(b"")
    (copy / "heads.jsonl").write_bytes(b"")
    assert verify(copy).size == 0


def test_a_ledger_of_an_unknown_keeper_does_not_hold(sound):
    findings = verify(sound, trust=TrustStore({"partner": PARTNER.public}))
    assert {p.kind for p in findings.problems} >= {"head", "tail", "passport"}
    assert findings.signed_size == 0
    without_partner = verify(sound, trust=TrustStore({"plant": KEY.public}))
    (problem,) = without_partner.problems
    assert "line 3" in problem.place and "signed by" in problem.message


def test_a_head_by_another_key_vouches_for_nothing(copy):
    lines = (copy / "entries.jsonl").read_bytes().splitlines()
    before = head_of(newest_head(copy / "heads.jsonl"), place="")
    forged = Head(before.ledger, 9, Tree(map(leaf_hash, lines)).root(), before.time_ns + 1, before.before)
    with (copy / "heads.jsonl").open("ab") as file:
        file.write(sign_head(forged, PARTNER).to_bytes() + b"\n")
    messages = [p.message for p in verify(copy).problems]
    assert "its keeper did not sign it before others countersigned it" in messages


def test_a_countersignature_by_an_unknown_key_is_found(copy):
    envelope = newest_head(copy / "heads.jsonl").signed_by(STRANGER)
    Ledger(copy).countersign(envelope)
    (problem,) = verify(copy).problems
    assert f"countersigned by unknown key {STRANGER.public.id}" in problem.message


def test_a_partner_countersigns_what_only_grew(copy):
    assert "signature" in kinds(copy, required=["partner"])
    assert "signature" in kinds(copy, required=["nobody"])
    seen = newest_head(copy / "heads.jsonl")
    ledger = Ledger(copy)
    ledger.countersign(countersign(copy, PARTNER, seen=(seen, head_of(seen, place="")), trust=TRUST))
    assert kinds(copy, required=["partner"]) == set()
    assert verify(copy).witnessed == {"partner": 9}
    assert {s.key_id for s in newest_head(copy / "heads.jsonl").signatures} == {KEY.public.id, PARTNER.public.id}
    with pytest.raises(LedgerError, match=f"no entry names key {STRANGER.public.id} as a witness"):
        countersign(copy, STRANGER, seen=None, trust=TRUST)
    other = Head(ledger.id, 3, b"\0" * 32, 4, "")
    with pytest.raises(LedgerError, match="a countersignature of a head over 3 entries that is not here"):
        ledger.countersign(sign_head(other, PARTNER))


def test_a_partner_may_countersign_an_older_head_late_and_vouches_for_no_less(copy):
    first = Envelope.from_bytes((copy / "heads.jsonl").read_bytes().splitlines()[0], place="")
    Ledger(copy).countersign(Envelope(first.payload_type, first.payload, ()).signed_by(PARTNER))
    findings = verify(copy)
    assert findings.problems == ()
    # Of the two heads that it signed the larger one covers five entries, the late one the first alone.
    assert findings.witnessed == {"partner": 5}


def rewritten(sound, tmp_path, **change):
    """Another ledger with the same beginning, as its keeper would show it to somebody else."""
    folder = tmp_path / "rewritten"
    folder.mkdir()
    lines = (sound / "entries.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "entries.jsonl").write_bytes(b"".join(lines[:2]))
    ledger = Ledger(folder)
    ledger.append_all([("run", {"i": i, "other": True}) for i in range(change.get("more", 7))])
    ledger.sign_head(KEY)
    assert verify(folder).holds
    return folder


def test_a_split_view_and_a_lost_tail_are_found_by_whoever_kept_a_head(sound, tmp_path):
    kept = newest_head(sound / "heads.jsonl")
    seen = (kept, head_of(kept, place=""))
    assert verify(sound, seen=seen, trust=TRUST).holds
    split = rewritten(sound, tmp_path)
    (problem,) = verify(split, seen=seen).problems
    assert "a split view: its root over 9 entries is" in problem.message
    with pytest.raises(LedgerError, match=r"a split view.*not countersigned"):
        countersign(split, PARTNER, seen=seen, trust=TRUST)
    shutil.rmtree(split)
    short = rewritten(sound, tmp_path, more=2)
    (problem,) = verify(short, seen=seen).problems
    assert "it covers 9 entries, here are 4: entries were taken away" in problem.message
    other = Ledger.create(tmp_path / "other", "other", KEY)
    assert "it is of ledger" in verify(other.folder, seen=seen).problems[0].message
    forged = sign_head(seen[1], STRANGER)
    assert "expected one of 1 trusted keys" in verify(sound, seen=(forged, seen[1]), trust=TRUST).problems[0].message


def test_passports_are_signed_and_entered(copy):
    path = copy / "passports" / "second.json"
    path.write_bytes(sign(PASSPORT_TYPE, {}, KEY).to_bytes())
    (problem,) = verify(copy).problems
    assert (problem.kind, problem.message) == ("passport", "no entry of the ledger names it")
    path.write_bytes(sign(PASSPORT_TYPE, {}, STRANGER).to_bytes())
    assert kinds(copy) == {"passport"}
    path.write_bytes(sign("other", {}, KEY).to_bytes())
    assert "a statement of type 'other'" in verify(copy).problems[0].message
    path.unlink()
    path.mkdir()
    assert "could not read it" in verify(copy).problems[0].message
    path.rmdir()
    (copy / "passports" / "first.json").unlink()
    (problem,) = verify(copy).problems
    assert "entry 5" in problem.place and "is not sound" in problem.message


def test_every_entry_is_proved_without_the_ledger(sound):
    for number in range(9):
        entry, head, signers = check_proof(prove(sound, number), TRUST, place="proof")
        assert (entry.number, head.size, signers) == (number, 9, ("plant",))
    entry, _, signers = check_proof(prove(sound, 3), None, place="proof")
    assert (entry.body, signers) == ({"i": 1}, (KEY.public.id,))
    for number in (-1, 9):
        with pytest.raises(LedgerError, match=f"no entry {number}, expected 0 to 8"):
            prove(sound, number)


def test_a_proof_of_something_else_is_refused(sound, tmp_path, copy):
    good, other = prove(sound, 3), prove(sound, 4)
    for change, reason in [
        ({"entry": other["entry"]}, "entry 3 is not in the ledger of 9 entries"),
        ({"number": 4}, "entry 4 is not in the ledger"),
        ({"number": True}, "expected a number"),
        ({"path": other["path"][::-1]}, "is not in the ledger"),
        ({"path": 4}, "not a proof of an entry"),
        ({"path": ["zz"]}, "not a proof of an entry"),
        ({"format": "genba-inclusion@2"}, "expected 'genba-inclusion@1'"),
        ({"more": 1}, "nothing more"),
        ({"entry": 3}, "not a proof of an entry"),
    ]:
        with pytest.raises(LedgerError, match=reason):
            check_proof(good | change, TRUST, place="proof")
    with pytest.raises(SignatureError, match="trusted keys"):
        check_proof(good, TrustStore({"stranger": STRANGER.public}), place="proof")
    ledger = Ledger.create(tmp_path / "other", "other", STRANGER)
    with pytest.raises(LedgerError, match="but an entry of ledger"):
        check_proof(good | {"first": prove(ledger.folder, 0)["first"]}, None, place="proof")
    Ledger(copy).append("run", {})
    with pytest.raises(LedgerError, match="nothing is proved from it"):
        prove(copy, 3)


def test_several_entries_are_proved_as_each_alone(sound):
    numbers = [4, 0, 2]
    assert prove_all(sound, numbers) == [prove(sound, number) for number in numbers]
    assert prove_all(sound, []) == []


def test_growth_is_proved_without_the_ledger(sound, tmp_path):
    lines = (sound / "heads.jsonl").read_bytes().splitlines()
    # The third is the partner's countersignature alone: it cannot accuse the keeper, and proves nothing.
    (tmp_path / "seen.json").write_bytes(lines[2])
    with pytest.raises(LedgerError, match=r"the head that was seen: signed by .*nothing is proved from it"):
        prove_growth(sound, read_head(tmp_path / "seen.json"))
    for line in (lines[0], lines[1], lines[3], lines[4]):
        (tmp_path / "seen.json").write_bytes(line)
        seen = read_head(tmp_path / "seen.json")
        proof = prove_growth(sound, seen)
        _, head = check_growth_proof(proof, seen, TRUST, place="proof")
        assert head.size == 9
    first = read_head(tmp_path / "seen.json")
    (tmp_path / "seen.json").write_bytes(lines[1])
    seen = read_head(tmp_path / "seen.json")
    proof = prove_growth(sound, seen)
    for change, reason in [
        ({"path": proof["path"][::-1]}, "does not continue the one over 5"),
        ({"format": "x"}, "expected 'genba-growth@1'"),
        ({"more": 1}, "five fields"),
        ({"seen": "00"}, "made for another head"),
        ({"new": 3}, "not a proof of growth"),
    ]:
        with pytest.raises(LedgerError, match=reason):
            check_growth_proof(proof | change, seen, TRUST, place="proof")
    with pytest.raises(LedgerError, match="made for another head"):
        check_growth_proof(proof, first, TRUST, place="proof")
    with pytest.raises(SignatureError, match="trusted keys"):
        check_growth_proof(proof, seen, TrustStore({"stranger": STRANGER.public}), place="proof")
    split = rewritten(sound, tmp_path)
    with pytest.raises(LedgerError, match="a split view"):
        prove_growth(split, first)
    with pytest.raises(LedgerError, match="could not read the head"):
        read_head(tmp_path / "none")


def test_a_trusted_partner_cannot_vouch_without_the_keeper(sound, tmp_path):
    lines = (sound / "entries.jsonl").read_bytes().splitlines()
    made_up = Entry(3, 1 << 62, "decision", {"permit": True}).line()
    tree = Tree(leaf_hash(line) for line in [*lines[:3], made_up])
    (tmp_path / "seen.json").write_bytes((sound / "heads.jsonl").read_bytes().splitlines()[0])
    seen = read_head(tmp_path / "seen.json")
    head = Head(Ledger(sound).id, 4, tree.root(), 1 << 62, "")
    for key in (PARTNER, KEY):
        forged = sign_head(head, key).to_bytes().decode()
        change = {"entry": made_up.decode(), "head": forged, "path": [step.hex() for step in tree.inclusion(3)]}
        grown = {"new": forged, "path": [step.hex() for step in tree.consistency(1)]}
        if key is KEY:
            assert check_proof(prove(sound, 3) | change, TRUST, place="proof")[2] == ("plant",)
            assert check_growth_proof(prove_growth(sound, seen) | grown, seen, TRUST, place="proof")[1] == head
            continue
        with pytest.raises(SignatureError, match="not signed by the ledger's keeper"):
            check_proof(prove(sound, 3) | change, TRUST, place="proof")
        with pytest.raises(SignatureError, match="not signed by the ledger's keeper"):
            check_growth_proof(prove_growth(sound, seen) | grown, seen, TRUST, place="proof")
    other = Ledger.create(tmp_path / "other", "other", PARTNER)
    first = prove(other.folder, 0)["first"]
    with pytest.raises(LedgerError, match="begins ledger"):
        check_growth_proof(prove_growth(sound, seen) | {"first": first}, seen, TRUST, place="proof")


def test_growth_from_another_or_a_larger_or_a_later_head_is_refused():
    tree = Tree(leaf_hash(bytes([i])) for i in range(6))
    old, new = (Head("a", size, tree.root(size), size, "") for size in (3, 6))
    path = tree.consistency(3, 6)
    check_growth(old, new, path, place="here")
    check_growth(old, Head("a", 6, new.root, 3, ""), path, place="here")
    check_growth(old, old, [], place="here")
    for changed, reason in [
        (Head("b", 6, new.root, 6, ""), "a head of ledger b, expected a"),
        (Head("a", 2, tree.root(2), 6, ""), "2 entries, but 3 were signed before"),
        (Head("a", 6, new.root, 2, ""), "the clock was set back"),
        (Head("a", 3, tree.root(2), 6, ""), "a split view: two heads over 3 entries"),
        (Head("a", 6, tree.root(5), 6, ""), "does not continue"),
    ]:
        with pytest.raises(LedgerError, match=f"here: .*{reason}"):
            check_growth(old, changed, path, place="here")


@pytest.mark.parametrize(
    "change",
    [
        {"root": "00"},
        {"root": "zz"},
        {"root": 4},
        {"size": 0},
        {"size": -1},
        {"size": 1.0},
        {"size": True},
        {"time_ns": -1},
        {"time_ns": "1"},
        {"more": 1},
        {"format": "genba-head@2"},
    ],
)
def test_what_is_no_head_is_refused(change):
    kind = "application/vnd.genba.head+json"
    good = {"before": "", "format": "genba-head@1", "ledger": "a", "root": "00" * 32, "size": 1, "time_ns": 0}
    assert head_of(sign(kind, good, KEY), place="here").size == 1
    with pytest.raises(LedgerError, match="here: "):
        head_of(sign(kind, good | change, KEY), place="here")
    with pytest.raises(LedgerError, match="of type 'other'"):
        head_of(sign("other", good, KEY), place="here")
    with pytest.raises(LedgerError, match="not a head"):
        head_of(sign(kind, {k: v for k, v in good.items() if k != "root"}, KEY), place="here")


def test_a_head_of_another_ledger_or_out_of_order_is_found(copy, monkeypatch, tmp_path):
    other = Ledger.create(tmp_path / "other", "other", KEY)
    with (copy / "heads.jsonl").open("ab") as file:
        file.write((other.folder / "heads.jsonl").read_bytes())
    assert any("a head of ledger" in p.message for p in verify(copy).problems)
    # The keeper's own heads, signed by hand with a time that goes back.
    folder = other.folder
    other.append("run", {})
    before = ledger_module.digest_bytes((folder / "heads.jsonl").read_bytes())
    late = Head(other.id, 2, other.root, 5, before)
    with (folder / "heads.jsonl").open("ab") as file:
        file.write(sign_head(late, KEY).to_bytes() + b"\n")
    assert any("time went back" in p.message for p in verify(folder).problems)


def test_a_head_of_no_ledger_vouches_for_nothing_where_the_beginning_is_unreadable(copy):
    # Without its first line nobody knows the ledger's id or its keeper; a partner signs a head over what is left.
    entries, heads = copy / "entries.jsonl", copy / "heads.jsonl"
    lines = [b"{}", *entries.read_bytes().splitlines()[1:]]
    entries.write_bytes(b"".join(line + b"\n" for line in lines))
    before = ledger_module.digest_bytes(heads.read_bytes())
    with heads.open("ab") as file:
        head = Head("", 9, Tree(map(leaf_hash, lines)).root(), 1 << 62, before)
        file.write(sign_head(head, PARTNER).to_bytes() + b"\n")
    findings = verify(copy)
    assert (findings.ledger, findings.keeper, findings.signed_size) == ("", "", 0)
    assert "its keeper did not sign it before others countersigned it" in [p.message for p in findings.problems]


@pytest.mark.parametrize("size", [1, 2])
def test_a_head_that_is_signed_before_the_one_above_it_is_found(tmp_path, size):
    ledger = Ledger.create(tmp_path / "ledger", "plant", KEY)
    lines = (ledger.folder / "entries.jsonl").read_bytes().splitlines()
    newest = head_of(newest_head(ledger.folder / "heads.jsonl"), place="")
    if size == 2:
        ledger.append("run", {})
        lines = (ledger.folder / "entries.jsonl").read_bytes().splitlines()
    before = ledger_module.digest_bytes((ledger.folder / "heads.jsonl").read_bytes())
    early = Head(ledger.id, size, Tree(map(leaf_hash, lines)).root(), newest.time_ns - 1, before)
    with (ledger.folder / "heads.jsonl").open("ab") as file:
        file.write(sign_head(early, KEY).to_bytes() + b"\n")
    assert any("time went back" in problem.message for problem in verify(ledger.folder).problems)


@pytest.mark.parametrize("later_ns", [0, 1])
def test_an_older_head_signed_again_later_is_found(tmp_path, later_ns):
    ledger = Ledger.create(tmp_path / "ledger", "plant", KEY)
    first_root = ledger.root
    ledger.append("run", {})
    newest = ledger.sign_head(KEY)
    before = ledger_module.digest_bytes((ledger.folder / "heads.jsonl").read_bytes())
    again = Head(ledger.id, 1, first_root, newest.time_ns + later_ns, before)
    with (ledger.folder / "heads.jsonl").open("ab") as file:
        file.write(sign_head(again, KEY).to_bytes() + b"\n")
    (problem,) = verify(ledger.folder).problems
    assert "over 1 entries, the one before it over 2" in problem.message


def test_of_two_heads_of_one_size_the_later_line_is_the_newest(tmp_path):
    one, two = (sign_head(Head("a", 3, bytes(32), time_ns, ""), KEY) for time_ns in (5, 6))
    (tmp_path / "heads.jsonl").write_bytes(one.to_bytes() + b"\n" + two.to_bytes() + b"\n")
    assert newest_head(tmp_path / "heads.jsonl") == two


def test_an_older_head_that_is_signed_again_is_not_the_newest(tmp_path):
    older, newer = (sign_head(Head("a", size, bytes(32), size, ""), KEY) for size in (3, 4))
    lines = [older.to_bytes(), newer.to_bytes(), older.signed_by(PARTNER).to_bytes()]
    (tmp_path / "heads.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    assert newest_head(tmp_path / "heads.jsonl") == newer


def test_newest_head_needs_one(tmp_path):
    (tmp_path / "heads.jsonl").write_bytes(b"")
    with pytest.raises(LedgerError, match="no signed head; sign one"):
        newest_head(tmp_path / "heads.jsonl")
    with pytest.raises(LedgerError, match="could not read it"):
        newest_head(tmp_path / "none")
    envelope = Envelope("other", b"{}", ())
    (tmp_path / "heads.jsonl").write_bytes(envelope.to_bytes() + b"\n")
    with pytest.raises(LedgerError, match="line 1"):
        newest_head(tmp_path / "heads.jsonl")
