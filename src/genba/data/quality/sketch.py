"""A sketch of an episode: a few hundred bytes by which the same recording is known again, cut, shifted or with noise.

Windows of the series are projected on random directions; the signs are a code that small differences seldom change
(Charikar 2002, "Similarity estimation techniques from rounding algorithms", section 3). Of all codes of an episode the ones
with the smallest hashes are kept (Broder 1997, "On the resemblance and containment of documents"): which are kept depends
on the content alone, so a part keeps the same ones as the whole. Read next: ``duplicates``.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from genba.data.quality.series import Column, Series

#: Steps of a window, bits of its code, codes of a sketch.
WINDOW, BITS, NUM_CODES = 16, 20, 96

#: Random numbers of a direction; between them it is straight.
CORNERS = 5

#: Windows projected at a time.
_PIECE = 4096

#: Knuth's multiplicative constant, The Art of Computer Programming 3, section 6.4.
_KNUTH = 2_654_435_761


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """uint32 hashes ``[codes]``, rising, and the step of each window, int32 ``[codes]``."""

    hashes: np.ndarray
    steps: np.ndarray


class Sketcher:
    """Sketches the episodes of one machine: all in the scales of the first, so that they compare."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[float, float]] = {}

    def scaled(self, series: Series) -> np.ndarray:
        """Return the series in units of the first episode's spread: float32 ``[step, column]``, NaN as 0."""
        out = np.zeros(series.values.shape, np.float32)
        for i, column in enumerate(series.columns):
            values, key = series.values[:, i], (column.stream, column.dimension)
            if key not in self._known and np.isfinite(values).any():
                self._known[key] = (float(np.nanmean(values)), float(np.nanstd(values)))
            mean, std = self._known.get(key, (0.0, 0.0))
            # What did not move in the first episode says nothing about which episode this is.
            if std > 1e-9:
                out[:, i] = np.nan_to_num((values - mean) / std, nan=0.0, posinf=0.0, neginf=0.0)
        return np.clip(out, -8, 8)

    def sketch(self, series: Series) -> Sketch:
        """Sketch one episode; empty where it is shorter than a window."""
        scaled = self.scaled(series)
        if len(scaled) < WINDOW or not scaled.shape[1]:
            return Sketch(np.zeros(0, np.uint32), np.zeros(0, np.int32))
        directions = np.stack([_directions(c) for c in series.columns])
        weights = np.uint32(1) << np.arange(BITS, dtype=np.uint32)
        found = []
        for start in range(0, len(scaled) - WINDOW + 1, _PIECE):
            part = scaled[start : start + _PIECE + WINDOW - 1]
            windows = np.lib.stride_tricks.sliding_window_view(part, WINDOW, 0)
            # column, step in window -> bit
            bits = np.tensordot(windows, directions, ([1, 2], [0, 1])) > 0
            found.append((bits.astype(np.uint32) * weights).sum(1, dtype=np.uint32))
        codes = np.concatenate(found)
        hashes = (codes.astype(np.uint64) * _KNUTH % (1 << 32)).astype(np.uint32)
        unique, steps = np.unique(hashes, return_index=True)
        return Sketch(unique[:NUM_CODES], steps[:NUM_CODES].astype(np.int32))


def _directions(column: Column) -> np.ndarray:
    """Return random directions for one column, the same wherever it stands: float32 ``[step, bit]``.

    They change slowly over a window, so that neither noise nor a shift by part of a step turns many signs.
    """
    seed = zlib.crc32(f"{column.stream}.{column.dimension}".encode())
    corners = np.random.default_rng(seed).standard_normal((CORNERS, BITS))
    at = np.linspace(0, CORNERS - 1, WINDOW)
    return np.stack([np.interp(at, np.arange(CORNERS), bit) for bit in corners.T], 1).astype(np.float32)
