"""Draws flexible job shops to learn from; the benchmark's files are never among them."""

from __future__ import annotations

import numpy as np

from genba.machines.factory.fjsp.instance import JobShop


def generate(seed: int, *, num_jobs: int = 10, num_machines: int = 6) -> JobShop:
    """Draw an instance: five to seven operations a job, one to three machines each, times of 1 to 20 that differ by a fifth."""
    rng = np.random.default_rng([seed, num_jobs, num_machines])
    job, times = [], []
    for j in range(num_jobs):
        for _ in range(rng.integers(5, 8)):
            able = rng.permutation(num_machines)[: rng.integers(1, min(num_machines, 3) + 1)]
            row = np.zeros(num_machines, np.int64)
            row[able] = np.maximum(np.round(rng.integers(1, 21) * rng.uniform(0.8, 1.2, len(able))), 1)
            job.append(j)
            times.append(row)
    return JobShop(name=f"drawn-{seed}", job=np.array(job, np.int64), time=np.stack(times))
