"""Judges a schedule of a flexible job shop in plain Python; it shares nothing with the decoder or the solver."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from genba.errors import VerificationError
from genba.machines.factory.fjsp.instance import JobShop


def verify(shop: JobShop, start: Sequence[int], machine: Sequence[int]) -> int:
    """Check a schedule and return its makespan, in the file's unit.

    Args:
        shop: the instance.
        start: of each operation.
        machine: of each operation.

    Raises:
        VerificationError: naming the first rule that is broken, with its operations.
    """
    job, times = shop.job.tolist(), shop.time.tolist()
    starts, machines = [int(s) for s in start], [int(m) for m in machine]
    ends = []
    for i, begin in enumerate(starts):
        if not 0 <= machines[i] < len(times[i]) or times[i][machines[i]] <= 0:
            raise VerificationError(f"{shop.name}: operation {i}: machine {machines[i]} cannot do it")
        if begin < 0:
            raise VerificationError(f"{shop.name}: operation {i}: starts at {begin}, before 0")
        if i and job[i] == job[i - 1] and begin < ends[i - 1]:
            raise VerificationError(
                f"{shop.name}: operation {i}: starts at {begin}, before its job's last ends at {ends[i - 1]}"
            )
        ends.append(begin + times[i][machines[i]])
    for m in set(machines):
        row = sorted((starts[i], i) for i in range(len(starts)) if machines[i] == m)
        for (_, a), (begin, b) in itertools.pairwise(row):
            if begin < ends[a]:
                raise VerificationError(f"{shop.name}: operations {a} and {b}: at the same time on machine {m}")
    return max(ends)
