"""Every claim is proved in or out, and neither can be shown falsely nor names anybody else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genba.errors import LedgerError
from genba.trust.digest import digest_bytes
from genba.trust.merkle import Tree, leaf_hash
from genba.trust.trained_on import (
    Claim,
    Commitment,
    TrainedOn,
    check_proof,
    check_set,
    create_blinding_key,
    read_blinding_key,
)

KEYS = {owner: bytes([number]) * 32 for number, owner in enumerate(("north", "south", "east"))}
SHARD = digest_bytes(b"shard")
READ = [("north", "cars", SHARD), ("north", "cars", digest_bytes(b"more")), ("south", "arms", SHARD)]
FOUND = TrainedOn.of(READ, KEYS)
COMMITTED = FOUND.commitment.digest

IN = [
    Claim("north"),
    Claim("north", "cars"),
    Claim("north", "cars", SHARD),
    Claim("south"),
    Claim("south", "arms", SHARD),
]
OUT = [Claim("east"), Claim("south", "cars"), Claim("north", "arms"), Claim("south", "arms", digest_bytes(b"more"))]


def test_claims_follow_from_what_was_read():
    # north, its cars, two shards of these; south, its arms, one shard: seven.
    assert FOUND.commitment.size == 7
    assert TrainedOn.of([*READ[::-1], READ[0]], KEYS).commitment == FOUND.commitment
    with pytest.raises(LedgerError, match="no blinding key of owner 'west'"):
        TrainedOn.of([("west", "cars", SHARD)], KEYS)


@pytest.mark.parametrize("claim", [*IN, *OUT])
def test_each_claim_is_proved_as_it_is(claim):
    blinded = claim.blinded(KEYS[claim.owner])
    assert check_set(FOUND, COMMITTED, blinded, place="set") == (claim in IN)
    assert check_proof(FOUND.prove(blinded), COMMITTED, blinded, place="proof") == (claim in IN)


def test_nothing_names_an_owner_and_another_key_finds_nothing():
    told = FOUND.to_bytes() + repr(FOUND.prove(IN[0].blinded(KEYS["north"]))).encode()
    assert not any(word in told for word in (b"north", b"south", b"cars", SHARD.encode()))
    assert not check_set(FOUND, COMMITTED, IN[0].blinded(KEYS["south"]), place="set")


@pytest.mark.parametrize("fields", [("", "", ""), ("north", "", SHARD)])
def test_half_a_claim_is_refused(fields):
    with pytest.raises(LedgerError, match="expected an owner, and a data set where a shard is named"):
        Claim(*fields)
    assert str(IN[2]) == f"north / cars / {SHARD}"


@settings(deadline=None)
@given(st.lists(st.binary(min_size=32, max_size=32), max_size=20), st.binary(min_size=32, max_size=32))
def test_any_set_proves_any_claim_in_or_out(blinded, asked):
    found = TrainedOn(blinded)
    for one in [*blinded, asked]:
        proof = found.prove(one)
        assert check_proof(proof, found.commitment.digest, one, place="proof") == (one in blinded)


def test_a_proof_for_another_model_or_claim_is_refused():
    blinded = IN[0].blinded(KEYS["north"])
    proof = FOUND.prove(blinded)
    with pytest.raises(LedgerError, match="the passport commits to none"):
        check_proof(proof, "", blinded, place="proof")
    with pytest.raises(LedgerError, match="the passport commits to none"):
        check_set(FOUND, "", blinded, place="set")
    with pytest.raises(LedgerError, match="about another claim than the one asked, or made with another blinding key"):
        check_proof(proof, COMMITTED, OUT[0].blinded(KEYS["east"]), place="proof")


def test_no_choice_of_leaves_hides_a_claim_or_makes_one_up():
    def shown(indices, asked):
        leaves = [FOUND.prove(FOUND.blinded[i])["leaves"][0] for i in indices]
        return FOUND.prove(asked) | {"leaves": leaves, "claim": asked.hex()}

    # A claim that is in the set, at every place: no neighbours, one or two, ever prove it out.
    for place, inside in enumerate(FOUND.blinded):
        for first in range(7):
            for indices in [[], [first], *([first, second] for second in range(7)), [first, (first + 1) % 7, place]]:
                if indices == [place]:
                    continue
                with pytest.raises(LedgerError, match="not the two neighbours of the claim"):
                    check_proof(shown(indices, inside), COMMITTED, inside, place="proof")
    # One that is not: only its neighbours do, and nothing proves it in.
    outside = OUT[0].blinded(KEYS["east"])
    right = [leaf["index"] for leaf in FOUND.prove(outside)["leaves"]]
    for first in range(7):
        for second in range(7):
            if {first, second} != set(right):
                with pytest.raises(LedgerError, match="not the two neighbours"):
                    check_proof(shown([first, second], outside), COMMITTED, outside, place="proof")
    assert check_proof(shown(right, outside), COMMITTED, outside, place="proof") is False


def test_ends_of_the_set_are_neighbours_only_of_what_lies_beyond():
    found = TrainedOn([b"\x10" * 32, b"\x20" * 32, b"\x30" * 32])
    for asked, indices in [(b"\x01" * 32, [0]), (b"\x40" * 32, [2]), (b"\x15" * 32, [0, 1])]:
        proof = found.prove(asked)
        assert [leaf["index"] for leaf in proof["leaves"]] == indices
        assert check_proof(proof, found.commitment.digest, asked, place="proof") is False
        for leaves in (proof["leaves"][:-1], [*proof["leaves"], proof["leaves"][0]]):
            with pytest.raises(LedgerError, match="not the two neighbours"):
                check_proof(proof | {"leaves": leaves}, found.commitment.digest, asked, place="proof")
    empty = TrainedOn([])
    assert check_proof(empty.prove(b"\1" * 32), empty.commitment.digest, b"\1" * 32, place="proof") is False


def test_a_proof_that_shows_the_claim_itself_never_proves_it_out():
    # A keeper committed its claims out of order, with the one in question behind two that would be its neighbours.
    leaves = [b"\x10" * 32, b"\x30" * 32, b"\x20" * 32]
    tree = Tree(map(leaf_hash, leaves))
    shown = [
        {"index": i, "leaf": leaf.hex(), "path": [step.hex() for step in tree.inclusion(i)]}
        for i, leaf in enumerate(leaves)
    ]
    commitment = Commitment(tree.root(), 3)
    proof = TrainedOn([]).prove(leaves[2]) | {"leaves": shown, "root": tree.root().hex(), "size": 3}
    with pytest.raises(LedgerError, match="not the two neighbours"):
        check_proof(proof, commitment.digest, leaves[2], place="proof")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": "x"}, "expected format 'genba-trained-on-proof@1'"),
        ({"more": 1}, "expected format"),
        ({"size": True}, "expected whole numbers"),
        ({"size": 6}, "it is of the set"),
        ({"root": "00" * 32}, "it is of the set"),
        ({"leaves": [{"index": 0, "leaf": "00" * 32, "path": []}]}, "leaf 0 is not in the committed set"),
        ({"leaves": [{"index": "0", "leaf": "00" * 32, "path": []}]}, "expected whole numbers"),
        ({"leaves": [4]}, "not a proof"),
        ({"claim": "zz"}, "not a proof"),
        ({"claim": 4}, "not a proof"),
    ],
)
def test_what_is_no_proof_is_refused(change, reason):
    blinded = IN[0].blinded(KEYS["north"])
    with pytest.raises(LedgerError, match=f"proof: .*{reason}"):
        check_proof(FOUND.prove(blinded) | change, COMMITTED, blinded, place="proof")


def test_what_is_no_table_is_refused():
    for value in (None, [], 4, "x"):
        with pytest.raises(LedgerError, match="not a proof"):
            check_proof(value, COMMITTED, b"", place="proof")
        with pytest.raises(LedgerError, match="not a set"):
            TrainedOn.from_table(value, place="set")


def test_a_set_that_hides_something_is_refused():
    good = {"blinded": [one.hex() for one in FOUND.blinded], "format": "genba-trained-on@1"}
    assert TrainedOn.from_table(good, place="set").commitment == FOUND.commitment
    swapped = [good["blinded"][1], good["blinded"][0], *good["blinded"][2:]]
    for blinded in (swapped, [good["blinded"][0], *good["blinded"]]):
        with pytest.raises(LedgerError, match="out of order or repeated"):
            TrainedOn.from_table(good | {"blinded": blinded}, place="set")
    for change in ({"format": "x"}, {"more": 1}, {"blinded": ["00"]}, {"blinded": [4]}, {"blinded": 4}):
        with pytest.raises(LedgerError, match="not a set of what was trained on"):
            TrainedOn.from_table(good | change, place="set")
    less = TrainedOn.from_table(good | {"blinded": good["blinded"][1:]}, place="set")
    with pytest.raises(LedgerError, match="the passport commits to"):
        check_set(less, COMMITTED, FOUND.blinded[0], place="set")


def test_a_blinding_key_is_made_once_and_for_its_user_only(tmp_path):
    path = tmp_path / "north"
    made = create_blinding_key(path)
    assert path.stat().st_mode & 0o777 == 0o600 and len(made) == 32
    assert read_blinding_key(path) == made
    with pytest.raises(LedgerError, match="exists; a key is never overwritten"):
        create_blinding_key(path)
    path.chmod(0o604)
    with pytest.raises(LedgerError, match="others may read this key"):
        read_blinding_key(path)
    path.chmod(0o600)
    for text, reason in [("zz", "not a blinding key"), ("00", "1 bytes, expected a blinding key of 32")]:
        path.write_text(text)
        with pytest.raises(LedgerError, match=reason):
            read_blinding_key(path)
    with pytest.raises(LedgerError, match="not a blinding key"):
        read_blinding_key(tmp_path / "none")
    with pytest.raises(LedgerError, match="could not write the blinding key"):
        create_blinding_key(tmp_path / "none" / "key")
