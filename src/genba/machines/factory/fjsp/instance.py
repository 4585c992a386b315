"""A flexible job shop: jobs as chains of operations, each on one of several machines; what is left of one; the classic files.

A file's first line says how many jobs and machines there are (a third number, the mean choice of machines, may follow); each
further line is a job: how many operations, and for each how many machines and then machine and time by pairs. Machines
count from 0 or from 1, whichever the file does.

Source: the format of Brandimarte (1993), Annals of Operations Research 41, as the files of Hurink, Dauzère-Pérès and
Paulli, Barnes and Chambers, and Behnke and Geiger are written too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genba.errors import FormatError


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JobShop:
    """One instance.

    Attributes:
        name: the file's, without its ending.
        job: int64 ``[operations]``, which job each belongs to; a job's operations follow each other.
        time: int64 ``[operations, machines]``, in the file's unit, 0 where a machine cannot do it.
    """

    name: str
    job: np.ndarray
    time: np.ndarray

    @property
    def num_jobs(self) -> int:
        """Chains of operations."""
        return int(self.job.max()) + 1

    def first(self) -> np.ndarray:
        """Return the first operation of each job and, at the end, how many operations there are: int64 ``[jobs + 1]``."""
        return np.searchsorted(self.job, np.arange(self.num_jobs + 1))

    def mean_time(self) -> float:
        """Return the mean over operations of the mean time over the machines that can do it, in the file's unit."""
        return float(mean_times(self.time).mean())


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Situation:
    """What is left of a job shop at one moment; times in the file's unit.

    Attributes:
        shop: the instance.
        now: the moment.
        next_operation: int64 ``[jobs]``, each job's first operation that has not started, or its end where all have.
        ready: int64 ``[jobs]``, when the operation before it ends, never before ``now``.
        free: int64 ``[machines]``, when each machine has finished what it has begun, never before ``now``.
    """

    shop: JobShop
    now: int
    next_operation: np.ndarray
    ready: np.ndarray
    free: np.ndarray

    @property
    def operations(self) -> np.ndarray:
        """The operations that have not started, in the instance's order: int64 ``[left]``."""
        return np.flatnonzero(np.arange(len(self.shop.job)) >= self.next_operation[self.shop.job])


def begin(shop: JobShop) -> Situation:
    """Return the situation in which nothing has started."""
    nothing = np.zeros(shop.num_jobs, np.int64), np.zeros(shop.time.shape[1], np.int64)
    return Situation(shop=shop, now=0, next_operation=shop.first()[:-1], ready=nothing[0], free=nothing[1])


def situation_at(shop: JobShop, start: np.ndarray, machine: np.ndarray, now: int) -> Situation:
    """Return what is left at ``now`` where ``start`` and ``machine``, int64 ``[operations]``, were executed until then."""
    started = start < now
    end = start + shop.time[np.arange(len(start)), machine]
    ready, free = np.full(shop.num_jobs, now, np.int64), np.full(shop.time.shape[1], now, np.int64)
    np.maximum.at(ready, shop.job[started], end[started])
    np.maximum.at(free, machine[started], end[started])
    next_operation = shop.first()[:-1] + np.bincount(shop.job[started], minlength=shop.num_jobs)
    return Situation(shop=shop, now=now, next_operation=next_operation, ready=ready, free=free)


def mean_times(time: np.ndarray) -> np.ndarray:
    """Return the mean over able machines of ``time`` ``[operations, machines]``: float64 ``[operations]``."""
    return time.sum(1) / np.maximum((time > 0).sum(1), 1)


def read_job_shop(path: Path | str) -> JobShop:
    """Read a classic text file.

    Raises:
        FormatError: naming the file and the line that does not fit.
    """
    path = Path(path)
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(path, f"not a text file: {error}") from error
    rows = [(number, _numbers(path, number, words)) for number, words in enumerate(lines, 1) if words]
    if not rows or not 2 <= len(rows[0][1]) <= 3:
        raise FormatError(path, "line 1: expected how many jobs and how many machines")
    num_jobs, num_machines = (int(value) for value in rows[0][1][:2])
    if num_jobs < 1 or num_machines < 1:
        raise FormatError(
            path, f"line 1: got {num_jobs} jobs and {num_machines} machines, expected at least one of each"
        )
    if len(rows) - 1 != num_jobs:
        raise FormatError(path, f"got {len(rows) - 1} lines of jobs, expected {num_jobs} as line 1 says")
    chains = [(number, _job(path, number, values)) for number, values in rows[1:]]
    known = [machine for _, chain in chains for choices in chain for machine, _ in choices]
    base = 0 if min(known) == 0 else int(max(known) == num_machines)
    job, times = [], []
    for j, (number, chain) in enumerate(chains):
        for choices in chain:
            row = np.zeros(num_machines, np.int64)
            for machine, time in choices:
                if not 0 <= machine - base < num_machines:
                    raise FormatError(
                        path, f"line {number}: machine {machine}, expected {base} to {num_machines - 1 + base}"
                    )
                row[machine - base] = time
            job.append(j)
            times.append(row)
    return JobShop(name=path.stem, job=np.array(job, np.int64), time=np.stack(times))


def _numbers(path: Path, number: int, words: list[str]) -> list[float]:
    try:
        # the third number of the first line may have decimals
        values = [float(word) if number == 1 else int(word) for word in words]
    except ValueError as error:
        raise FormatError(path, f"line {number}: {error}; expected numbers") from error
    return values


def _job(path: Path, number: int, values: list[float]) -> list[list[tuple[int, int]]]:
    numbers = iter(int(value) for value in values)
    chain = []
    try:
        for _ in range(next(numbers)):  # one at a time: an error says how many were whole
            chain.append([(next(numbers), next(numbers)) for _ in range(next(numbers))])  # noqa: PERF401
    except (StopIteration, RuntimeError):
        raise FormatError(
            path, f"line {number}: ends after {len(chain)} whole operations; expected {int(values[0])}"
        ) from None
    left = len(list(numbers))
    if left:
        raise FormatError(path, f"line {number}: {left} numbers after its last operation")
    for at, choices in enumerate(chain, 1):
        if not choices or any(time <= 0 for _, time in choices):
            raise FormatError(
                path, f"line {number}: operation {at}: expected at least one machine, each with a time above 0"
            )
    if not chain:
        raise FormatError(path, f"line {number}: a job without operations")
    return chain
