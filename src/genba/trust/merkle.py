"""The hash tree under a ledger: roots, and proofs that an entry is in it or that it only grew.

``Tree`` makes proofs and keeps every hash; ``Frontier`` only adds leaves and knows the root, in memory that grows with the
logarithm of the size. Verifying needs neither: ``verify_inclusion`` and ``verify_consistency`` take what a stranger was given.
Nothing here knows what the leaves mean, or writes files: read ``ledger`` next.

Source: RFC 9162, sections 2.1.1 (tree), 2.1.3 (inclusion) and 2.1.4 (consistency), with SHA-256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

HASH_BYTES = 32
#: the root of a tree without leaves
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf; its prefix keeps a leaf from passing for a node."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node above two others."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """Adds leaves and knows the root: what is kept is one hash per complete subtree, about log2(size) of them."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Add a leaf by its hash."""
        # A complete subtree ends here for every trailing 1 of the size: 0b0111 + 1 merges three times.
        size = self.size
        while size & 1:
            leaf = node_hash(self._peaks.pop(), leaf)
            size >>= 1
        self._peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Return the root over all leaves so far."""
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root


def root_of_digests(digests: Iterable[str]) -> str:
    """Return the root over digests in their order by text, as a digest: what a passport names a data set by."""
    tree = Frontier()
    for digest in sorted(digests):
        tree.add(leaf_hash(digest.encode()))
    return f"sha256:{tree.root().hex()}"


class Tree:
    """All hashes of a tree: makes proofs for any entry and any earlier size, in time that grows with log2(size)."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        # _levels[k] holds the roots of the complete subtrees of 2^k leaves.
        self._levels: list[list[bytes]] = [[]]
        for leaf in leaves:
            self.add(leaf)

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return len(self._levels[0])

    def add(self, leaf: bytes) -> None:
        """Add a leaf by its hash."""
        level = 0
        self._levels[0].append(leaf)
        while len(self._levels[level]) % 2 == 0:
            left, right = self._levels[level][-2:]
            if level + 1 == len(self._levels):
                self._levels.append([])
            level += 1
            self._levels[level].append(node_hash(left, right))

    def root(self, size: int | None = None) -> bytes:
        """Return the root over the first ``size`` leaves (all of them by default)."""
        size = self.size if size is None else size
        assert 0 <= size <= self.size, f"no tree of {size} leaves in one of {self.size}"
        return self._subtree(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the proof that leaf ``index`` is among the first ``size`` leaves: RFC 9162's PATH, leaf side first."""
        size = self.size if size is None else size
        assert 0 <= index < size <= self.size, f"no leaf {index} in a tree of {size} of {self.size} leaves"
        path, low, high = [], 0, size
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                path.append(self._subtree(middle, high))
                high = middle
            else:
                path.append(self._subtree(low, middle))
                low = middle
        return path[::-1]

    def consistency(self, old: int, new: int | None = None) -> list[bytes]:
        """Return the proof that the first ``old`` leaves begin the first ``new`` ones: RFC 9162's PROOF."""
        new = self.size if new is None else new
        assert 0 <= old <= new <= self.size, f"no growth from {old} to {new} in a tree of {self.size} leaves"
        if old in (0, new):
            return []
        path, low, high = [], 0, new
        while high != old:
            middle = low + _split(high - low)
            if old <= middle:
                path.append(self._subtree(middle, high))
                high = middle
            else:
                path.append(self._subtree(low, middle))
                low = middle
        # A complete subtree at the very left is the old root itself, which whoever verifies has.
        if low:
            path.append(self._subtree(low, high))
        return path[::-1]

    def _subtree(self, low: int, high: int) -> bytes:
        width = high - low
        if width & (width - 1) == 0:
            level = width.bit_length() - 1
            return self._levels[level][low >> level]
        middle = low + _split(width)
        return node_hash(self._subtree(low, middle), self._subtree(middle, high))


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Return whether ``path`` proves that the leaf with this hash is number ``index`` of the ``size`` under ``root``.

    Source: RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size:
        return False
    fn, sn, found = index, size - 1, leaf
    for beside in path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            found = node_hash(beside, found)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            found = node_hash(found, beside)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and found == root


def verify_consistency(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Return whether ``path`` proves that the ``old`` leaves under ``old_root`` begin the ``new`` ones under ``new_root``.

    Source: RFC 9162, section 2.1.4.2.
    """
    if not 0 <= old <= new:
        return False
    if old == new:
        return not path and old_root == new_root
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    path = list(path)
    if old & (old - 1) == 0:
        path = [old_root, *path]
    if not path:
        return False
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old_found = new_found = path[0]
    for beside in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            old_found, new_found = node_hash(beside, old_found), node_hash(beside, new_found)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            new_found = node_hash(new_found, beside)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and old_found == old_root and new_found == new_root


def _split(width: int) -> int:
    """Return the largest power of two below ``width``, which is at least 2."""
    return 1 << (width - 1).bit_length() - 1
