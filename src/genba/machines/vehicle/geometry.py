"""Upright boxes on flat ground: do two overlap, how far is a point from the lanes. Compiled.

A box is a row x, y, heading, half length, half width. Read next: ``simulator`` and ``expert``, which ask.
"""

from __future__ import annotations

import math

import numba
import numpy as np


@numba.njit(cache=True)
def overlap(
    ax: float, ay: float, ah: float, al: float, aw: float, bx: float, by: float, bh: float, bl: float, bw: float
) -> bool:
    """Say whether two boxes (centre x, y, heading, half length, half width) share a point.

    Source: separating axis theorem; for two rectangles the four edge directions decide.
    """
    dx, dy = bx - ax, by - ay
    if dx * dx + dy * dy > (math.hypot(al, aw) + math.hypot(bl, bw)) ** 2:
        return False
    c, s = abs(math.cos(bh - ah)), abs(math.sin(bh - ah))
    along, across = abs(dx * math.cos(ah) + dy * math.sin(ah)), abs(-dx * math.sin(ah) + dy * math.cos(ah))
    if along > al + bl * c + bw * s or across > aw + bl * s + bw * c:
        return False
    along, across = abs(dx * math.cos(bh) + dy * math.sin(bh)), abs(-dx * math.sin(bh) + dy * math.cos(bh))
    return along <= bl + al * c + aw * s and across <= bw + al * s + aw * c


@numba.njit(cache=True)
def first_overlap(box: np.ndarray, others: np.ndarray) -> int:
    """Return the index of the first of ``others`` ``[boxes, 5]`` that ``box`` ``[5]`` touches, or -1."""
    for i in range(len(others)):
        o = others[i]
        if overlap(box[0], box[1], box[2], box[3], box[4], o[0], o[1], o[2], o[3], o[4]):
            return i
    return -1


@numba.njit(cache=True)
def distance_to_segments(x: float, y: float, segments: np.ndarray) -> float:
    """Return the distance of a point to the nearest of ``segments`` ``[segments, 4]`` (x0, y0, x1, y1)."""
    best = np.inf
    for i in range(len(segments)):
        x0, y0, x1, y1 = segments[i]
        dx, dy = x1 - x0, y1 - y0
        share = ((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy)
        share = min(max(share, 0.0), 1.0)
        best = min(best, math.hypot(x - x0 - share * dx, y - y0 - share * dy))
    return best


def corners(x: float, y: float, heading: float, half_length: float, half_width: float) -> np.ndarray:
    """Return the four corners of a box, anticlockwise, ``[4, 2]``."""
    c, s = math.cos(heading), math.sin(heading)
    local = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * [half_length, half_width]
    return local @ np.array([[c, s], [-s, c]]) + [x, y]
