"""Draws flexible job shops to learn from; the benchmark's files are never among them.

Sizes and their ranges are those of the classic sets: 8 to 20 jobs on 4 to 15 machines. As in Brandimarte's instances a shop knows some
kinds of operation, and jobs are chains of these.
"""

from __future__ import annotations

import numpy as np

from genba.machines.factory.fjsp.instance import JobShop


def generate(seed: int) -> JobShop:
    """Draw an instance; the same seed gives the same.

    Source: the ranges that Brandimarte (1993), Annals of Operations Research 41, table 1, draws from, taken together; the least
    number of jobs and the spread of an operation's times over its machines are ours.
    """
    rng = np.random.default_rng([seed, 15])
    num_jobs, num_machines = int(rng.integers(8, 21)), int(rng.integers(4, 16))
    fewest = int(rng.integers(3, 13))
    most = fewest + int(rng.integers(0, 5))
    widest = int(rng.integers(2, min(num_machines, 6) + 1))
    low, high = [(1, 7), (1, 10), (1, 20), (5, 10), (5, 20), (10, 100)][int(rng.integers(6))]
    kinds = [_kind(rng, num_machines, widest, low, high) for _ in range(int(rng.integers(2, 5)) * num_machines)]
    job, times = [], []
    for j in range(num_jobs):
        length = int(rng.integers(fewest, most + 1))
        job += [j] * length
        times += [kinds[k] for k in rng.integers(len(kinds), size=length)]
    return JobShop(name=f"drawn-{seed}", job=np.array(job, np.int64), time=np.stack(times))


def _kind(rng: np.random.Generator, num_machines: int, widest: int, low: int, high: int) -> np.ndarray:
    able = rng.permutation(num_machines)[: int(rng.integers(1, widest + 1))]
    row = np.zeros(num_machines, np.int64)
    row[able] = rng.integers(low, high, len(able))
    return row
