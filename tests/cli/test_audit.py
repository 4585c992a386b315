"""``genba audit`` from the command line: keeper, partner, auditor and owner, each with files only."""

import json
import shutil

import pytest

from genba.cli.main import main
from genba.trust import revocation
from genba.trust.digest import digest_bytes
from genba.trust.ledger import Ledger
from genba.trust.passport import Deployment, Passport
from genba.trust.signing import SigningKey
from genba.trust.trained_on import TrainedOn, read_blinding_key


def genba(capsys, *arguments: object, status: int = 0) -> str:
    """Run ``genba audit`` and return what it said."""
    with pytest.raises(SystemExit) as ended:
        main(["audit", *(str(a) for a in arguments)])
    said = capsys.readouterr()
    assert ended.value.code == status, said
    return said.out + said.err


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """A terminal wide enough that no line is broken."""
    monkeypatch.setenv("COLUMNS", "2000")


@pytest.fixture
def place(tmp_path, capsys):
    """A keeper's and a partner's key, a trust store with both, and a ledger with five entries."""
    trust = tmp_path / "trust"
    trust.mkdir()
    for name in ("plant", "partner"):
        genba(capsys, "key", tmp_path / name)
        shutil.copy(tmp_path / f"{name}.pub", trust / f"{name}.pub")
    ledger = tmp_path / "ledger"
    assert "kept by key" in genba(capsys, "init", ledger, "--key", tmp_path / "plant", "--name", "plant")
    genba(capsys, "witness", ledger, "partner", tmp_path / "partner.pub", "--key", tmp_path / "plant")
    Ledger(ledger).append_all([("run", {"i": i}) for i in range(3)])
    return tmp_path


def test_keeper_partner_and_auditor_agree(place, capsys):
    ledger, trust = place / "ledger", place / "trust"
    said = genba(capsys, "verify", ledger, status=1)
    assert "entries 2 to 4 are covered by no sound head" in said and "only --trust shows" in said
    genba(capsys, "heads", ledger, "--sign", "--key", place / "plant", "--out", place / "head.json")
    partner = ["countersign", ledger, "--key", place / "partner", "--trust", trust, "--seen", place / "seen.json"]
    genba(capsys, *partner)
    genba(capsys, *partner)
    said = genba(capsys, "verify", ledger, "--trust", trust, "--seen", place / "head.json", "--require", "partner")
    assert "countersigned by partner: 5 entries" in said and said.rstrip().endswith("it holds")
    assert ", kept by plant\n" in said
    assert "name a trust store" in genba(capsys, "verify", ledger, "--require", "partner", status=2)
    # A partner who lost its file signs the same head again: that changes nothing.
    (place / "seen.json").unlink()
    genba(capsys, *partner)
    assert "it holds" in genba(capsys, "verify", ledger, "--trust", trust)
    assert genba(capsys, "log", ledger, "--kind", "run").count("\n") == 3
    assert genba(capsys, "log", ledger).count("\n") == 5
    assert "5 entries  root" in genba(capsys, "heads", ledger)
    # Another machine has the files only.
    shutil.copytree(ledger, place / "elsewhere")
    path = place / "elsewhere" / "entries.jsonl"
    path.write_bytes(path.read_bytes().replace(b'{"i":1}', b'{"i":2}'))
    said = genba(capsys, "verify", place / "elsewhere", "--trust", trust, status=1)
    assert "the first 5 entries are not those that were signed" in said and "it does not hold" in said


def test_entries_and_growth_are_proved(place, capsys):
    ledger, trust = place / "ledger", place / "trust"
    genba(capsys, "heads", ledger, "--sign", "--key", place / "plant", "--out", place / "head.json")
    genba(capsys, "prove", ledger, 3, "--out", place / "proof.json")
    said = genba(capsys, "check", place / "proof.json", "--trust", trust)
    assert "it holds: entry 3 of 5, vouched for by plant" in said and '{"i":1}' in said
    assert json.loads(genba(capsys, "prove", ledger, 0))["number"] == 0
    Ledger(ledger).append("run", {})
    genba(capsys, "heads", ledger, "--sign", "--key", place / "plant")
    genba(capsys, "prove", ledger, "--seen", place / "head.json", "--out", place / "grown.json")
    said = genba(capsys, "check", place / "grown.json", "--trust", trust, "--seen", place / "head.json")
    assert "the ledger grew to 6 entries" in said
    assert "expected the number of an entry or --seen" in genba(capsys, "prove", ledger, status=2)
    assert "no key; name the keeper's" in genba(capsys, "heads", ledger, "--sign", status=2)
    assert "not JSON" in genba(capsys, "check", place / "plant", "--trust", trust, status=2)
    said = genba(capsys, "prove", ledger, 1, "--out", place / "none" / "proof", status=2)
    assert "could not write" in said


@pytest.fixture
def passport(place, capsys):
    for owner in ("north", "south"):
        genba(capsys, "key", place / f"{owner}.blind", "--blinding")
    keys = {"north": read_blinding_key(place / "north.blind")}
    found = TrainedOn.of([("north", "cars", digest_bytes(b"shard"))], keys)
    (place / "set.json").write_bytes(found.to_bytes())
    (place / "weights").write_bytes(b"weights")
    made = Passport(
        weights=digest_bytes(b"weights"),
        made_ns=1,
        code={},
        environment={"numpy": "2"},
        config={},
        seeds={},
        hardware={},
        trained_on=found.commitment.digest,
        deploy=Deployment(embodiments=("arm/panda@1",), sites=("plant-1",), parties=("plant-co",)),
    )
    (place / "passport.json").write_bytes(made.signed(SigningKey.load(place / "plant")).to_bytes())
    return place / "passport.json"


def test_a_passport_is_shown_or_refused(place, passport, capsys):
    given = ["passport", passport, "--trust", place / "trust"]
    said = genba(
        capsys,
        *given,
        "--weights",
        place / "weights",
        *("--embodiment", "arm/panda@1", "--site", "plant-1"),
        "--party",
        "plant-co",
    )
    assert "plant" in said and "1 packages" in said
    assert "the passport is for weights" in genba(capsys, *given, "--weights", passport, status=2)
    for site, party, refused in (("plant-2", "plant-co", "site 'plant-2'"), ("plant-1", "rival", "party 'rival'")):
        where = ("--embodiment", "arm/panda@1", "--site", site, "--party", party)
        said = genba(capsys, *given, *where, status=2)
        assert "PassportError" in said and f"do not allow {refused}" in said
    said = genba(capsys, *given, "--site", "plant-2", status=2)
    assert "got no --embodiment and no --party, expected all of --embodiment, --site, --party" in said
    revoked = revocation.Revoked(digest=digest_bytes(b"weights"), reason="withdrawn", time_ns=1)
    listed = revocation.revoke(None, [revoked], SigningKey.load(place / "plant"), now_ns=2)
    (place / "revoked.json").write_bytes(listed.to_bytes())
    assert "was revoked: withdrawn" in genba(capsys, *given, "--revoked", place / "revoked.json", status=2)


def test_entries_and_passports_are_entered(place, passport, capsys):
    ledger, plant = place / "ledger", place / "plant"
    (place / "body.json").write_text('{"permit": true}')
    assert genba(capsys, "append", ledger, "decision", place / "body.json", "--key", plant) == "entry 5\n"
    assert genba(capsys, "enter", ledger, passport, "--trust", place / "trust", "--key", plant) == "entry 6\n"
    assert "it holds" in genba(capsys, "verify", ledger, "--trust", place / "trust")
    (place / "body.json").write_text("[]")
    assert "got list, expected a JSON table" in genba(capsys, "append", ledger, "run", place / "body.json", status=2)
    (place / "partner.pub").rename(place / "set.pub")
    other = place / "others"
    other.mkdir()
    shutil.copy(place / "set.pub", other / "partner.pub")
    said = genba(capsys, "enter", ledger, passport, "--trust", other, status=2)
    assert "expected one of 1 trusted keys" in said
    assert genba(capsys, "log", ledger).count("\n") == 7


def test_an_owner_learns_whether_a_model_was_trained_on_its_data(place, passport, capsys):
    def asked(owner, *arguments, status):
        given = ["--trust", place / "trust", "--owner", owner, "--blinding", place / f"{owner}.blind"]
        return genba(capsys, "trained-on", passport, *given, *arguments, status=status)

    whole = ("--set", place / "set.json")
    assert asked("north", *whole, status=0) == "trained on: north\n"
    assert asked("north", "--dataset", "cars", *whole, status=0) == "trained on: north / cars\n"
    assert asked("north", "--dataset", "arms", *whole, status=1) == "not trained on: north / arms\n"
    assert asked("south", *whole, "--out", place / "proof.json", status=1) == "not trained on: south\n"
    proof = ("--proof", place / "proof.json")
    assert asked("south", *proof, status=1) == "not trained on: south\n"
    assert "about another claim" in asked("north", *proof, status=2)
    assert "expected --set SET or --proof PROOF" in asked("north", status=2)
    assert "expected --set SET or --proof PROOF" in asked("north", *whole, *proof, status=2)
