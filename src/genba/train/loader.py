"""Batches for the loop: windows of every embodiment plus their draws, made ahead in threads.

A batch is addressed by its train step alone, so a resumed run, any number of ranks and any number of workers see the
same ones. What costs time in a batch (copies, opening sealed blocks, decoding) releases the interpreter's lock, so threads
are enough to keep the loop from waiting; how long it waits stands in a run's metrics as ``data_wait``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from genba.data.mixture import Mixture
from genba.data.reads import ReadRecord
from genba.model.config import ModelConfig
from genba.spec.embodiment import Embodiment
from genba.spec.normalise import crop_rows
from genba.spec.twins import hide
from genba.train.draws import draw

Batch = dict[str, dict[str, Tensor]]


class Loader:
    """Iterates over the batches of train steps ``start`` to ``stop``."""

    def __init__(
        self,
        mixture: Mixture,
        embodiments: Mapping[str, Embodiment],
        config: ModelConfig,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | None = None,
        ahead: int = 2,
        workers: int = 1,
        reads: ReadRecord | None = None,
        is_training: bool = True,
    ) -> None:
        """Make no batch yet.

        Args:
            ahead: batches that are made or lie ready while one is used.
            workers: threads that make them; each makes whole batches.
            reads: where what is read is entered.
            is_training: whether train steps use the batches, or losses are measured on them.
        """
        self.mixture, self.embodiments, self.config = mixture, embodiments, config
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.device = device or torch.device("cpu")
        self.ahead, self.workers = ahead, workers
        self.reads, self.is_training = reads, is_training

    def batch(self, step: int) -> Batch:
        """Make the batch of one train step: embodiment id -> name -> tensor with this rank's share."""
        out: Batch = {}
        drawn = self.mixture.drawn(step, self.rank, self.world_size)
        for embodiment_id, source, indices in drawn:
            embodiment = self.embodiments[embodiment_id]
            drawn_at_random = draw(
                embodiment,
                self.config,
                seed=self.seed,
                step=step,
                batch=self.mixture.batch_sizes[embodiment_id],
                rank=self.rank,
                world_size=self.world_size,
            )
            out[embodiment_id] = tensors(embodiment, source.batch(indices), drawn_at_random, self.device)
        if self.reads is not None:
            sources = [(source, indices) for _, source, indices in drawn]
            if self.is_training:
                self.reads.decoded(step, sources)
            else:
                self.reads.evaluated(sources)
        return out

    def steps(self, start: int, stop: int) -> Iterator[tuple[int, Batch]]:
        """Return an iterator over (train step, batch); the first ones are begun at once, the next ones while one is used."""
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="loader")
        first = range(start, min(start + self.ahead + 1, stop))
        return self._made(pool, {step: pool.submit(self.batch, step) for step in first}, start, stop)

    def _made(
        self, pool: ThreadPoolExecutor, waiting: dict[int, Future[Batch]], start: int, stop: int
    ) -> Iterator[tuple[int, Batch]]:
        with pool:
            for step in range(start, stop):
                for coming in range(step, min(step + self.ahead + 1, stop)):
                    if coming not in waiting:
                        waiting[coming] = pool.submit(self.batch, coming)
                batch = waiting.pop(step).result()
                if self.reads is not None:
                    self.reads.used(step)
                yield step, batch


def tensors(
    embodiment: Embodiment, windows: dict[str, np.ndarray], drawn: dict[str, np.ndarray], device: torch.device
) -> dict[str, Tensor]:
    """Return what the model takes: windows without padding that nothing needs, and their draws, on ``device``.

    Which of two twin sensors is left out is drawn too, and done here: the model sees that it is missing.
    """
    hidden = {name.removeprefix("twins."): side for name, side in drawn.items() if name.startswith("twins.")}
    kept = {name: array for name, array in drawn.items() if not name.startswith("twins.")}
    arrays = hide(embodiment, crop_rows(embodiment, crop(windows)), hidden) | kept
    return {name: torch.from_numpy(np.ascontiguousarray(array)).to(device) for name, array in arrays.items()}


def crop(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Cut point clouds to the most points that the batch holds: padding costs time and changes nothing."""
    out = dict(arrays)
    for name, mask in arrays.items():
        if name.endswith(".mask") and mask.ndim == 3 and f"{name[:-5]}.values" in arrays:
            values = arrays[f"{name[:-5]}.values"]
            if values.ndim == 4:
                most = max(1, int(mask.sum(-1).max()))
                out[name], out[f"{name[:-5]}.values"] = mask[:, :, :most], values[:, :, :most]
    return out
