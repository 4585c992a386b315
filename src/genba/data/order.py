"""Shuffled orders: which of ``length`` things stands at a place, each exactly once, from a key alone.

A short order is drawn whole and kept for a while; a long one is never written out: a Feistel network computes only the
places that are asked for, so that walking through billions of windows costs no memory. Which of the two is used depends
on the length alone. Read next: ``mixture``, which walks through windows in such orders.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

#: the longest order that is drawn whole: 32 MB of int64
DRAWN_LENGTH = 2**22
#: orders kept: a batch touches one epoch, or two where it crosses a border, of each of a handful of parts
_KEPT = 16


def shuffled(length: int, key: tuple[int, ...], places: np.ndarray) -> np.ndarray:
    """Return what stands at ``places`` of the shuffled numbers 0 to ``length - 1``.

    Args:
        length: at least 1.
        key: non-negative numbers; another key gives another order.
        places: int64, each in [0, length).

    Returns:
        int64, the shape of ``places``.
    """
    if length <= DRAWN_LENGTH:
        return _drawn(length, key)[places]
    return _feistel(length, key, places)


@lru_cache(maxsize=_KEPT)
def _drawn(length: int, key: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(key).permutation(length)


def _feistel(length: int, key: tuple[int, ...], places: np.ndarray) -> np.ndarray:
    """Permute by four Feistel rounds over the next power of four, walking on from places outside (cycle walking).

    Source: Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002, method 2; four rounds after Luby
    and Rackoff, SIAM J. Comput. 17(2), 1988.
    """
    half = np.uint64((int(length - 1).bit_length() + 1) // 2)
    low = np.uint64((1 << int(half)) - 1)
    rounds = np.random.default_rng(key).integers(0, 2**64, 4, np.uint64)
    out = np.array(places, np.uint64)
    outside = np.ones(out.shape, np.bool_)
    while outside.any():
        left, right = out[outside] >> half, out[outside] & low
        for salt in rounds:
            left, right = right, left ^ (_mixed(right ^ salt) & low)
        out[outside] = left << half | right
        outside = out >= np.uint64(length)
    return out.astype(np.int64)


def _mixed(values: np.ndarray) -> np.ndarray:
    """Scatter 64 bits over all others: the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
