"""The mixture: which windows of each machine a train step gets.

Each source is walked through epoch by epoch, every window once per epoch in a shuffled order. The order is a function
of (seed, embodiment, epoch) and the place in it a function of the train step alone: nothing is remembered, so a resumed
run goes on exactly where it was, and ranks take consecutive shares of one global batch.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from genba.data.windows import WindowSource
from genba.errors import ConfigError, DataError, nearest


class Mixture:
    """Batches of several embodiments by train step."""

    def __init__(self, sources: Mapping[str, WindowSource], batch_sizes: Mapping[str, int], seed: int) -> None:
        """Mix ``sources`` (by embodiment id), giving each ``batch_sizes`` windows per global batch.

        Raises:
            ConfigError: the two name different embodiments, or a batch size below 1.
            DataError: a source without windows.
        """
        for name in set(sources) ^ set(batch_sizes):
            raise ConfigError(f"mixture: {name!r} has only one of source and batch size{nearest(name, batch_sizes)}")
        for name, source in sources.items():
            if batch_sizes[name] < 1:
                raise ConfigError(f"mixture: batch size of {name}: got {batch_sizes[name]}, expected at least 1")
            if not len(source):
                raise DataError(f"mixture: {name}: got no windows in {len(source.entries)} episodes, expected some")
        self.sources, self.batch_sizes, self.seed = dict(sources), dict(batch_sizes), seed
        # An epoch's order takes long to draw for millions of windows, and a batch touches at most a few epochs.
        self._order = lru_cache(maxsize=2 * len(sources) + 2)(self._draw_order)

    def batch(self, step: int, rank: int = 0, world_size: int = 1) -> dict[str, dict[str, np.ndarray]]:
        """Return embodiment id -> batch (see ``WindowSource.batch``): this rank's share of train step ``step``.

        Raises:
            ConfigError: a batch size that ``world_size`` does not divide.
        """
        return {name: source.batch(self.indices(name, step, rank, world_size)) for name, source in self.sources.items()}

    def indices(self, name: str, step: int, rank: int = 0, world_size: int = 1) -> np.ndarray:
        """Return which windows of source ``name`` this rank gets at ``step``: int64 ``[batch / world_size]``."""
        size, length = self.batch_sizes[name], len(self.sources[name])
        if size % world_size or not 0 <= rank < world_size:
            raise ConfigError(
                f"mixture: rank {rank} of {world_size}: batch size {size} of {name}, expected a rank below world_size "
                f"and a multiple of world_size"
            )
        share = size // world_size
        place = step * size + rank * share + np.arange(share, dtype=np.int64)
        epochs, within = np.divmod(place, length)
        out = np.empty(share, np.int64)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            out[here] = self._order(name, epoch)[within[here]]
        return out

    def epoch(self, name: str, step: int) -> float:
        """Return how many times source ``name`` has been walked through before ``step``."""
        return step * self.batch_sizes[name] / len(self.sources[name])

    def _draw_order(self, name: str, epoch: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, zlib.crc32(name.encode()), epoch])
        return rng.permutation(len(self.sources[name]))
