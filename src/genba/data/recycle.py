"""Arrays whose memory is used again once nobody looks at them: large batches then cost no fresh pages.

A batch of decoded frames is tens of megabytes. Fresh memory of that size comes from the system page by page, which costs a
tenth of decoding a JPEG into it. Nobody has to give anything back: memory is free when no array refers to it any more.

Where a batch begins matters as much: libjpeg-turbo writes rows that begin at a multiple of 32 bytes past the cache, and is
a third slower for it (151 us instead of 108 us for a frame of 160 x 160, whose rows are all alike). Arrays from here begin
16 bytes after such a place.
"""

from __future__ import annotations

import math
import sys
import threading

import numpy as np

#: smaller arrays come from the allocator's own cache
LEAST_BYTES = 64 << 10
#: what is kept though nobody uses it
KEPT_BYTES = 256 << 20

#: where arrays begin, in bytes after a multiple of 64
_SHIFT = 16

#: who refers to memory that nobody uses: the list, the loop over it, and the question
_UNUSED = 3


class Recycler:
    """Hands out arrays; for several threads."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self.kept_bytes = kept_bytes
        self._kept: list[np.ndarray] = []
        self._lock = threading.Lock()

    def empty(self, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        """Return an array whose values are whatever was there."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size < LEAST_BYTES:
            return np.empty(shape, dtype)
        with self._lock:
            memory = self._unused(size + 64)
            first = (_SHIFT - memory.__array_interface__["data"][0]) % 64
            # A reference that outlives the lock: from here on the memory is in use.
            return memory[first : first + size].view(dtype).reshape(shape)

    def _unused(self, size: int) -> np.ndarray:
        for memory in self._kept:
            # Not one far too large: a small array would hold it back from a large one.
            if size <= len(memory) <= 2 * size and sys.getrefcount(memory) == _UNUSED:
                return memory
        fresh = np.empty(size + size // 8, np.uint8)
        self._kept.append(fresh)
        total = sum(len(memory) for memory in self._kept)
        # The oldest are forgotten; those that somebody uses live on without us.
        while total > self.kept_bytes and len(self._kept) > 1:
            total -= len(self._kept.pop(0))
        return fresh
