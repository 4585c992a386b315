"""The tree is RFC 9162's: published roots and proofs, a naive tree beside it, and no proof for anything else."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genba.trust.merkle import (
    EMPTY_ROOT,
    Frontier,
    Tree,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

# The inputs and roots that Certificate Transparency's implementations publish for their tests.
PUBLISHED_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
PUBLISHED_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# (old size, new size): the published proof.
PUBLISHED_GROWTH = {
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (6, 7): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}
LEAVES = [leaf_hash(bytes.fromhex(text)) for text in PUBLISHED_LEAVES]


def naive_root(leaves: list[bytes]) -> bytes:
    """The RFC's recursive definition of the Merkle tree hash, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = max(2**power for power in range(len(leaves).bit_length()) if 2**power < len(leaves))
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """The RFC's PATH(m, D_n)."""
    if len(leaves) == 1:
        return []
    k = max(2**power for power in range(len(leaves).bit_length()) if 2**power < len(leaves))
    if index < k:
        return [*naive_path(index, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(index - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(old: int, leaves: list[bytes], known: bool) -> list[bytes]:
    """The RFC's SUBPROOF(m, D_n, b)."""
    if old == len(leaves):
        return [] if known else [naive_root(leaves)]
    k = max(2**power for power in range(len(leaves).bit_length()) if 2**power < len(leaves))
    if old <= k:
        return [*naive_subproof(old, leaves[:k], known), naive_root(leaves[k:])]
    return [*naive_subproof(old - k, leaves[k:], False), naive_root(leaves[:k])]


def made_up(size: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(4, "big")) for number in range(size)]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_the_published_ones(size):
    frontier = Frontier()
    for leaf in LEAVES[:size]:
        frontier.add(leaf)
    assert frontier.root().hex() == PUBLISHED_ROOTS[size]
    assert Tree(LEAVES).root(size).hex() == PUBLISHED_ROOTS[size]


@pytest.mark.parametrize("sizes", PUBLISHED_GROWTH)
def test_proofs_of_growth_are_the_published_ones(sizes):
    assert [step.hex() for step in Tree(LEAVES).consistency(*sizes)] == PUBLISHED_GROWTH[sizes]


def test_proofs_are_those_of_the_rfcs_example():
    # RFC 9162, section 2.1.5: seven leaves; a, b, c, d, e, f, j are their hashes, hash = (k, l), k = (g, h), l = (i, j).
    a, b, c, d, e, f, j = LEAVES[:7]
    g, h, i = node_hash(a, b), node_hash(c, d), node_hash(e, f)
    k, l = node_hash(g, h), node_hash(i, j)  # noqa: E741 (the RFC's names)
    tree = Tree(LEAVES[:7])
    assert tree.root() == node_hash(k, l)
    assert tree.inclusion(0) == [b, h, l]
    assert tree.inclusion(3) == [c, g, l]
    assert tree.inclusion(4) == [f, j, k]
    assert tree.inclusion(6) == [i, k]
    assert tree.consistency(3) == [c, d, g, l]
    assert tree.consistency(4) == [l]
    assert tree.consistency(6) == [i, j, k]


@pytest.mark.parametrize("size", range(1, 34))
def test_every_proof_is_the_recursive_definitions_and_verifies(size):
    leaves = made_up(size)
    tree, root = Tree(leaves), naive_root(leaves)
    assert tree.root() == root
    for index, leaf in enumerate(leaves):
        path = tree.inclusion(index)
        assert path == naive_path(index, leaves)
        assert verify_inclusion(leaf, index, size, path, root)
    for old in range(1, size):
        path = tree.consistency(old)
        assert path == naive_subproof(old, leaves, True)
        assert verify_consistency(old, size, path, naive_root(leaves[:old]), root)


@settings(deadline=None)
@given(st.integers(1, 300), st.data())
def test_earlier_sizes_are_proved_from_the_grown_tree(size, data):
    leaves = made_up(size)
    tree, frontier = Tree(leaves), Frontier()
    earlier = data.draw(st.integers(1, size))
    index = data.draw(st.integers(0, earlier - 1))
    for leaf in leaves[:earlier]:
        frontier.add(leaf)
    assert frontier.root() == tree.root(earlier)
    assert verify_inclusion(leaves[index], index, earlier, tree.inclusion(index, earlier), frontier.root())
    assert verify_consistency(earlier, size, tree.consistency(earlier), frontier.root(), tree.root())


@pytest.mark.parametrize("size", range(1, 18))
def test_no_proof_holds_for_another_place_size_leaf_or_path(size):
    leaves = made_up(size)
    tree, root = Tree(leaves), naive_root(leaves)
    for index, leaf in enumerate(leaves):
        path = tree.inclusion(index)
        for other in range(-2, size + 3):
            assert verify_inclusion(leaf, other, size, path, root) == (other == index)
        assert not verify_inclusion(leaf_hash(b"other"), index, size, path, root)
        assert not verify_inclusion(leaf, index, size, path, EMPTY_ROOT)
        for wrong in spoilt(path):
            assert not verify_inclusion(leaf, index, size, wrong, root)
    assert not verify_inclusion(leaves[0], 0, 0, [], root)


@pytest.mark.parametrize("size", range(1, 18))
def test_no_growth_is_proved_from_another_size_root_or_path(size):
    leaves = made_up(size)
    tree, root = Tree(leaves), naive_root(leaves)
    for old in range(size + 1):
        path, old_root = tree.consistency(old), naive_root(leaves[:old])
        assert verify_consistency(old, size, path, old_root, root)
        for other in range(-2, size + 3):
            if other != old:
                assert not verify_consistency(other, size, path, old_root, root)
        assert not verify_consistency(old, size, path, leaf_hash(b"other"), root)
        # From nothing everything grows: a proof from size 0 says nothing of the new root.
        assert verify_consistency(old, size, path, old_root, leaf_hash(b"other")) == (old == 0)
        for wrong in spoilt(path):
            assert not verify_consistency(old, size, wrong, old_root, root)
    assert not verify_consistency(size, size - 1, [], root, root)


def test_a_proof_without_steps_proves_no_growth():
    leaves = made_up(6)
    assert not verify_consistency(3, 6, [], naive_root(leaves[:3]), naive_root(leaves))
    assert not verify_consistency(4, 6, [], naive_root(leaves[:4]), naive_root(leaves))


def test_a_leaf_cannot_pass_for_a_node():
    left, right = made_up(2)
    assert leaf_hash(left + right) != node_hash(left, right)


def spoilt(path: list[bytes]):
    yield [*path, EMPTY_ROOT]
    yield [EMPTY_ROOT, *path]
    for place, step in enumerate(path):
        yield path[:place] + path[place + 1 :]
        yield [*path[:place], bytes([step[0] ^ 1]) + step[1:], *path[place + 1 :]]
        if place and path[place - 1] != step:
            yield [*path[: place - 1], step, path[place - 1], *path[place + 1 :]]
