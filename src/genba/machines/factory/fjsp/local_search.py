"""Local search over plans of a flexible job shop, compiled, that can be stopped after any number of moves.

A plan is a sequence of operations and a machine for each. A move takes an operation of a critical path (what holds up the end) before or behind
others on its machine, or to another machine, never past its own job's neighbours, so that every plan is feasible; the plan is run
again and abandoned as soon as it cannot be accepted. A longer plan is accepted with the probability of simulated annealing.

``LocalSearch`` keeps its state between calls: whoever has a deadline runs a few thousand moves, looks at the clock and goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numba
import numpy as np

from genba.machines.factory.fjsp.decoder import Plan, in_order, run_plan
from genba.machines.factory.fjsp.instance import Situation, mean_times

#: Moves between two looks at the clock: a millisecond or two.
_MOVES_PER_LOOK = 1000

#: First and last temperature in mean processing times, chosen on training seeds; from 0.08 to 0.3 and from 0.02 to 0.06 the
#: makespans of 12 instances differ by 0.4 %.
HOT, COLD = 0.15, 0.02


@numba.njit(cache=True)
def _improve(
    num_moves, hot, cold, rng, costs, seq, mach, best_seq, best_mach, job, time, tail, ready_at, free_at
):  # fmt: skip
    """Try ``num_moves`` moves while the temperature falls from ``hot`` to ``cold``; ``costs`` holds present and best."""
    n, num_machines = len(seq), time.shape[1]
    num_jobs = len(ready_at)
    place = np.full(len(job), -1, np.int64)
    start, end = np.zeros(len(job), np.int64), np.zeros(len(job), np.int64)
    before = np.full(len(job), -1, np.int64)
    critical = np.empty(n, np.int64)
    num_critical = 0
    new_seq = seq.copy()
    ready, free = np.empty(num_jobs, np.int64), np.empty(num_machines, np.int64)
    last = np.empty(num_machines, np.int64)
    able = np.empty(num_machines, np.int64)
    cost, best = costs[0], costs[1]
    stale = True
    for move in range(num_moves):
        if stale:
            # run the plan whole: places, starts, what ran before on the machine; then walk a critical path back from the end
            ready[:], free[:] = ready_at, free_at
            last[:] = -1
            final = np.int64(-1)
            for p in range(n):
                i = seq[p]
                m = mach[i]
                place[i] = p
                start[i] = max(ready[job[i]], free[m])
                end[i] = start[i] + time[i, m]
                before[i] = last[m]
                ready[job[i]] = free[m] = end[i]
                last[m] = i
                if final < 0 or end[i] > end[final] or (end[i] == end[final] and rng.random() < 0.5):
                    final = i
            num_critical = 0
            i = final
            while i >= 0:
                critical[num_critical] = i
                num_critical += 1
                in_job = i > 0 and job[i - 1] == job[i] and place[i - 1] >= 0 and end[i - 1] == start[i]
                in_machine = before[i] >= 0 and end[before[i]] == start[i]
                if in_job and (not in_machine or rng.random() < 0.5):
                    i = i - 1
                elif in_machine:
                    i = before[i]
                else:
                    i = -1
            stale = False
        temperature = hot * (cold / hot) ** (move / num_moves)
        limit = cost - np.int64(np.floor(temperature * np.log(1.0 - rng.random())))
        i = critical[rng.integers(0, num_critical)] if rng.random() < 0.9 else seq[rng.integers(0, n)]
        a, m = place[i], mach[i]
        low = place[i - 1] + 1 if i > 0 and job[i - 1] == job[i] and place[i - 1] >= 0 else 0
        high = place[i + 1] - 1 if i + 1 < len(job) and job[i + 1] == job[i] else n - 1
        target = m
        count = 0
        for q in range(num_machines):
            if time[i, q] > 0 and q != m:
                able[count] = q
                count += 1
        if count > 0 and rng.random() < 0.5:
            target = able[rng.integers(0, count)]
        b = a
        if target == m:
            # over the next one to three operations of its machine
            hops = rng.integers(1, 4)
            if rng.random() < 0.5:
                p = a - 1
                while p >= low and hops > 0:
                    if mach[seq[p]] == m:
                        b = p
                        hops -= 1
                    p -= 1
            else:
                p = a + 1
                while p <= high and hops > 0:
                    if mach[seq[p]] == m:
                        b = p
                        hops -= 1
                    p += 1
            if b == a:
                continue
        elif high > low:
            b = low + rng.integers(0, high - low + 1)
        if a < b:
            for p in range(a, b):
                new_seq[p] = seq[p + 1]
        else:
            for p in range(a, b, -1):
                new_seq[p] = seq[p - 1]
        new_seq[b] = i
        mach[i] = target
        ready[:], free[:] = ready_at, free_at
        makespan = np.int64(0)
        for p in range(n):
            k = new_seq[p]
            q = mach[k]
            done = max(ready[job[k]], free[q]) + time[k, q]
            ready[job[k]] = free[q] = done
            if done + tail[k] > makespan:
                makespan = done + tail[k]
                if makespan > limit:
                    break
        first, stop = min(a, b), max(a, b) + 1
        if makespan <= limit:
            cost = makespan
            seq[first:stop] = new_seq[first:stop]
            stale = True
            if cost < best:
                best = cost
                best_seq[:] = seq
                best_mach[:] = mach
        else:
            new_seq[first:stop] = seq[first:stop]
            mach[i] = m
    costs[0], costs[1] = cost, best


class LocalSearch:
    """Improves a plan; the result is never longer than what it started from.

    Args:
        situation: what is left.
        plan: where to begin.
        seed: of the moves.
    """

    def __init__(self, situation: Situation, plan: Plan, *, seed: int = 0) -> None:
        self._situation, self._rng = situation, np.random.default_rng(seed)
        shop, rows = situation.shop, situation.operations
        start, machine, _ = plan
        self._sequence, self._machine = in_order(situation, start[rows]), machine.copy()
        _, _, makespan = run_plan(situation, self._sequence, self._machine)
        self._best = self._sequence.copy(), self._machine.copy()
        self._costs = np.array([makespan, makespan], np.int64)
        shortest = np.where(shop.time > 0, shop.time, np.iinfo(np.int64).max).min(1)
        until = np.cumsum(shortest)
        self._tail = until[shop.first()[shop.job + 1] - 1] - until
        self._scale = float(mean_times(shop.time[rows]).mean()) if len(rows) else 1.0

    @property
    def plan(self) -> Plan:
        """The shortest plan so far."""
        return run_plan(self._situation, *self._best)

    def run(self, num_moves: int, *, hot: float = HOT, cold: float = COLD) -> None:
        """Try so many moves while the temperature falls from ``hot`` to ``cold`` mean processing times."""
        if len(self._sequence) < 2:
            return
        shop = self._situation.shop
        _improve(
            num_moves, hot * self._scale, cold * self._scale, self._rng, self._costs, self._sequence, self._machine,
            *self._best, shop.job, shop.time, self._tail, self._situation.ready, self._situation.free,
        )  # fmt: skip

    def run_for(
        self, budget_s: float, *, clock: Callable[[], float] = time.thread_time, hot: float = HOT, cold: float = COLD
    ) -> None:
        """Search until ``budget_s`` seconds of ``clock`` are over, the temperature falling with them."""
        began_s = clock()
        while len(self._sequence) > 1 and (share := (clock() - began_s) / max(budget_s, 1e-9)) < 1:
            now = hot * (cold / hot) ** share
            self.run(_MOVES_PER_LOOK, hot=now, cold=now)
