"""Schedules for a flexible job shop by dispatching, compiled: the classical rules, and any scores of operations.

Each job's next operation looks at the machine on which it would end first, busy ones included. Time goes to the next
moment at which some operation could start so; of those that could, the best by the rule starts there. Ties are broken by the work that is
left of the job, then by its number; rules without such a tie-break, as often published, are several points worse.
"""

from __future__ import annotations

import numba
import numpy as np

from genba.machines.factory.fjsp.instance import JobShop

#: Name -> number of a rule: first in first out, shortest operation, most work remaining, most operations remaining.
RULES = {"fifo": 0, "spt": 1, "mwkr": 2, "mopnr": 3}
SCORES = 4


@numba.njit(cache=True)
def _dispatch(rule, scores, time, first):
    num_ops, num_machines = time.shape
    num_jobs = len(first) - 1
    mean = np.zeros(num_ops)
    for i in range(num_ops):
        count = 0
        for m in range(num_machines):
            if time[i, m] > 0:
                mean[i] += time[i, m]
                count += 1
        mean[i] /= count
    left = np.zeros(num_jobs)
    for j in range(num_jobs):
        for i in range(first[j], first[j + 1]):
            left[j] += mean[i]
    at = first[:-1].copy()
    ready = np.zeros(num_jobs, np.int64)
    free = np.zeros(num_machines, np.int64)
    start = np.zeros(num_ops, np.int64)
    machine = np.zeros(num_ops, np.int64)
    chosen = np.zeros(num_jobs, np.int64)
    begin = np.zeros(num_jobs, np.int64)
    for _ in range(num_ops):
        now = np.int64(1) << 60
        for j in range(num_jobs):
            if at[j] >= first[j + 1]:
                continue
            i, soonest = at[j], np.int64(1) << 60
            for m in range(num_machines):
                if time[i, m] > 0:
                    end = max(ready[j], free[m]) + time[i, m]
                    if end < soonest or (end == soonest and time[i, m] < time[i, chosen[j]]):
                        soonest, chosen[j], begin[j] = end, m, max(ready[j], free[m])
            now = min(now, begin[j])
        best_j, best_first, best_second = -1, -np.inf, -np.inf
        for j in range(num_jobs):
            if at[j] >= first[j + 1] or begin[j] > now:
                continue
            i = at[j]
            index = 0.0
            if rule == 0:
                index = -float(ready[j])
            elif rule == 1:
                index = -float(time[i, chosen[j]])
            elif rule == 2:
                index = left[j]
            elif rule == 3:
                index = float(first[j + 1] - i)
            else:
                index = scores[i]
            if index > best_first or (index == best_first and left[j] > best_second):
                best_j, best_first, best_second = j, index, left[j]
        i, best_m = at[best_j], chosen[best_j]
        start[i], machine[i] = now, best_m
        free[best_m] = ready[best_j] = now + time[i, best_m]
        left[best_j] -= mean[i]
        at[best_j] += 1
    return start, machine, ready.max()


def run_rule(shop: JobShop, rule: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Dispatch by a rule of ``RULES``.

    Returns:
        ``start`` and ``machine``, int64 ``[operations]``, and the makespan, in the file's unit.
    """
    start, machine, makespan = _dispatch(RULES[rule], np.zeros(1), shop.time, shop.first())
    return start, machine, int(makespan)


def run_scores(shop: JobShop, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Dispatch by ``scores`` ``[operations]``, higher first; feasible whatever they are. Returns as ``run_rule``."""
    start, machine, makespan = _dispatch(SCORES, np.asarray(scores, np.float64), shop.time, shop.first())
    return start, machine, int(makespan)


def best_rule(shop: JobShop) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the best of the four rules, as ``run_rule``."""
    return min((run_rule(shop, rule) for rule in RULES), key=lambda found: found[2])
