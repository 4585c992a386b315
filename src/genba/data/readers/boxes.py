"""Boxes around things, as annotators drew them: the rows of an entity channel, the same for every driving set.

A box's own axes are x along its length, y along its width, z up; its centre is its origin, and the quaternion turns its axes
into the channel's frame. A track's number is the place of its name among the sorted names of the log, so that it is the
same whoever reads the log. What a set says beyond that stands in further dimensions behind these.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genba.spec.embodiment import Dimension

#: The most things of one kind that a log can name: every count up to it is exact in float32.
MAX_TRACKS = 1 << 24


def box_dimensions(num_categories: int, reach_m: float, *more: Dimension) -> tuple[Dimension, ...]:
    """Return the dimensions of a box's row.

    Args:
        num_categories: kinds of things.
        reach_m: the greatest coordinate of a centre, in the channel's frame.
        more: what the set says beyond a box.
    """
    return (
        Dimension(name="category", unit="id", low=0, high=num_categories - 1, categories=num_categories),
        Dimension(name="track", unit="count", low=0, high=MAX_TRACKS),
        *(Dimension(name=name, unit="m", low=-reach_m, high=reach_m) for name in ("x", "y", "z")),
        *(Dimension(name=name, unit="m", low=0, high=100) for name in ("length", "width", "height")),
        *quaternion_dimensions(),
        *more,
    )


def quaternion_dimensions() -> tuple[Dimension, ...]:
    """Return the dimensions of a unit quaternion, its real part first."""
    return tuple(Dimension(name=name, unit="1", low=-1, high=1) for name in ("qw", "qx", "qy", "qz"))


def places(names: Sequence[str]) -> dict[str, int]:
    """Return each distinct name's place among the sorted ones."""
    return {name: i for i, name in enumerate(sorted(set(names)))}


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the quaternion product ``a b`` (first turn by ``b``, then by ``a``): ``[..., 4]``, real part first."""
    aw, ax, ay, az = np.moveaxis(np.asarray(a, np.float64), -1, 0)
    bw, bx, by, bz = np.moveaxis(np.asarray(b, np.float64), -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        -1,
    )


def rotation(quaternion: np.ndarray) -> np.ndarray:
    """Return the rotation matrices ``[..., 3, 3]`` of unit quaternions ``[..., 4]``, real part first."""
    w, x, y, z = np.moveaxis(np.asarray(quaternion, np.float64), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def unit_quaternion(matrix: np.ndarray) -> np.ndarray:
    """Return the unit quaternion ``[4]`` of a rotation matrix, real part first; of the two, the one whose greatest part is positive.

    Source: Shepperd, "Quaternion from rotation matrix", Journal of Guidance and Control 1 (1978): by the greatest part.
    """
    trace = np.trace(matrix)
    parts = np.array([trace, *np.diag(matrix)])
    at = int(parts.argmax())
    # The symmetric matrix whose row ``at`` is 4 q[at] q.
    outer = np.empty((4, 4))
    outer[0, 0] = 1 + trace
    outer[0, 1:] = outer[1:, 0] = matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]
    outer[1:, 1:] = matrix + matrix.T + np.eye(3) * (1 - trace)
    return outer[at] / (2 * np.sqrt(outer[at, at]))


def transform(quaternion: Sequence[float], translation_m: Sequence[float]) -> tuple[float, ...]:
    """Return a rigid transform as the 16 numbers of its 4 x 4 matrix, row by row."""
    matrix = np.eye(4)
    # A log may hold any number here; what overflows is kept as the infinity that it then is.
    with np.errstate(over="ignore", invalid="ignore"):
        matrix[:3, :3] = rotation(np.asarray(quaternion, np.float64))
    matrix[:3, 3] = translation_m
    return tuple(float(v) for v in matrix.ravel())
