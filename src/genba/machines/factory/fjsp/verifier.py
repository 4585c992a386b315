"""Judges a schedule of a flexible job shop in plain Python; it shares nothing with the decoder or the solver."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from genba.errors import VerificationError
from genba.machines.factory.fjsp.instance import JobShop

#: At most this share of the best rule's makespan is a success.
SUCCESS_SHARE = 0.95


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


def judge(trace: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Check an episode's executed schedule from its trace and compute its outcome.

    Returns:
        ``success`` (1 where the makespan is at most ``SUCCESS_SHARE`` of the best rule's or equals the lower bound), ``makespan``,
        ``share_of_best_rule`` and ``over_lower_bound``.

    Raises:
        VerificationError: naming the first rule that is broken, with its operations.
    """
    job, time = trace["job"], trace["time"]
    shop = JobShop(name="job shop", job=job, time=time)
    start, machine = trace["start"].tolist(), trace["machine"].tolist()
    makespan = verify(shop, start, machine)
    by_rule = verify(shop, trace["rule_start"].tolist(), trace["rule_machine"].tolist())
    # What had started at a moment stays as it was, and nothing is planned into the past.
    for now, starts, machines in zip(
        trace["history_now"].tolist(), trace["history_start"].tolist(), trace["history_machine"].tolist()
    ):
        for i, (then, there) in enumerate(zip(starts, machines)):
            if then < now and (then, there) != (start[i], machine[i]):
                raise VerificationError(f"operation {i}: had started at {then}, but moved at {now}")
            if then >= now and start[i] < now:
                raise VerificationError(f"operation {i}: starts at {start[i]}, before {now}, when it was planned")
    bound = _lower_bound(job.tolist(), time.tolist())
    share = makespan / by_rule
    return {
        "success": float(share <= SUCCESS_SHARE or makespan == bound),
        "makespan": float(makespan),
        "share_of_best_rule": share,
        "over_lower_bound": makespan / bound,
    }


def _lower_bound(job: list[int], time: list[list[int]]) -> int:
    """The longest job with its shortest times; the work that a machine alone can do; all shortest times over all machines."""
    shortest = [min(value for value in row if value) for row in time]
    chains = [sum(t for j, t in zip(job, shortest) if j == k) for k in set(job)]
    alone = [sum(row[m] for row in time if row[m] == sum(row)) for m in range(len(time[0]))]
    return max(*chains, *alone, -(-sum(shortest) // len(time[0])))
