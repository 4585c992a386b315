"""Local search over plans, compiled and incremental, that can be stopped after any number of moves.

A plan is a sequence, in which orders claim material, and a line for each order. A move takes one order elsewhere or lets
two change places. Only what a move can change is computed again: the orders between the first and the last changed
place (what material they find is different), and after these the lines that were touched, each until an order ends
as it did before. A worse plan is accepted with the probability of simulated annealing.

``LocalSearch`` keeps the state between calls, so that whoever has a deadline runs a few thousand moves, looks at the
clock and goes on. ``search.anneal``, which runs a plan again from the first changed place, stays: frozen instances were
made with it. Read next: ``anytime``, which calls this one until its deadline.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numba
import numpy as np

from genba.machines.factory.decoder import units_ready_s
from genba.machines.factory.problem import Situation

#: Moves between two looks at the clock: about a millisecond.
_MOVES_PER_LOOK = 1000

#: First and last temperature in mean weighted processing times, chosen on training seeds of 10x200 and 20x1000.
HOT, COLD = 2.0, 0.06


@numba.njit(cache=True, inline="always")
def _random(state):
    """Splitmix64: the next number in [0, 1) of ``state`` ``[1]``.

    Source: Steele, Lea, Flood (2014), "Fast splittable pseudorandom number generators", OOPSLA.
    """
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@numba.njit(cache=True, inline="always")
def _span(state, most):
    """A distance from 1 to ``most``, as often 1 to 2 as 10 to 20."""
    return min(int(most ** _random(state)), most)


@numba.njit(cache=True)
def _run_whole(
    seq, place, lin, end, pay, ready, before_free, before_fam, claims_at, table,
    processing_time_s, family, weight, due_s, requirement, part, part_quantity, setup_s, line_free_s, line_family, claimed,
):  # fmt: skip
    """Run a plan from its first to its last order and fill in the state; return its cost."""
    free, fam, claim = line_free_s.copy(), line_family.copy(), claimed.copy()
    cost = np.int64(0)
    for p in range(len(seq)):
        i = seq[p]
        place[i] = p
        m = lin[i]
        claims_at[p] = claim
        found = np.int64(0)
        for j in range(part.shape[1]):
            k = part[i, j]
            if k < 0:
                break
            claim[k] += part_quantity[i, j]
            found = max(found, table[k, min(claim[k], table.shape[1] - 1)])
        ready[i] = found
        before_free[i], before_fam[i] = free[m], fam[m]
        begin = max(free[m] + setup_s[fam[m], family[i]], found)
        end[i] = begin + processing_time_s[i, m]
        pay[i] = weight[i] * max(end[i] - due_s[i], 0)
        cost += pay[i]
        free[m], fam[m] = end[i], family[i]
    return cost


@numba.njit(cache=True)
def _improve(
    num_moves, hot, cold, random, costs, best_seq, best_lin,
    seq, place, lin, end, pay, ready, before_free, before_fam, claims_at, table,
    processing_time_s, family, weight, due_s, requirement, part, part_quantity, setup_s, line_free_s, line_family, claimed,
):  # fmt: skip
    """Try ``num_moves`` moves while the temperature falls from ``hot`` to ``cold``; ``costs`` holds present and best."""
    n, num_lines = processing_time_s.shape
    far = max(n // 5, 2)
    cost, best = costs[0], costs[1]
    is_best = cost <= best
    touched = np.empty(n, np.int64)
    new_end, new_pay, new_ready = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    new_free, new_fam = np.empty(n, np.int64), np.empty(n, np.int64)
    window = np.empty(n, np.int64)
    free, fam = np.empty(num_lines, np.int64), np.empty(num_lines, np.int64)
    old_free, old_fam = np.empty(num_lines, np.int64), np.empty(num_lines, np.int64)
    seen = np.zeros(num_lines, np.int64)
    dirty = np.zeros(num_lines, np.bool_)
    claim = np.empty(claims_at.shape[1], np.int64)
    for move in range(num_moves):
        temperature = hot * (cold / hot) ** (move / num_moves)
        limit = np.int64(-temperature * np.log(1.0 - _random(random)))
        i = int(_random(random) * n)
        if pay[i] == 0 and _random(random) < 0.5:
            i = int(_random(random) * n)
        a = place[i]
        b, m_i = a, lin[i]
        j = -1
        kind = _random(random)
        if kind < 0.35:
            step = _span(random, far)
            b = a - step if _random(random) < 0.5 else a + step
        elif kind < 0.65:
            # next to an order of the same family, where no set-up is needed
            q = int(_random(random) * n)
            for step in range(n):
                other = q + step
                if other >= n:
                    other -= n
                if other != i and family[other] == family[i] and processing_time_s[i, lin[other]] > 0:
                    if abs(place[other] - a) > 2 * far:
                        continue
                    m_i = lin[other]
                    b = place[other] + (1 if place[other] < a else 0)
                    break
        elif kind < 0.8:
            q = int(_random(random) * num_lines)
            for step in range(num_lines):
                m = q + step
                if m >= num_lines:
                    m -= num_lines
                if processing_time_s[i, m] > 0 and m != m_i:
                    m_i = m
                    break
            if _random(random) < 0.5:
                step = _span(random, max(far // 2, 1))
                b = a - step if _random(random) < 0.5 else a + step
        else:
            step = _span(random, far)
            b = a - step if _random(random) < 0.5 else a + step
            b = min(max(b, 0), n - 1)
            j = seq[b]
            if j == i or processing_time_s[i, lin[j]] == 0 or processing_time_s[j, lin[i]] == 0:
                continue
            m_i = lin[j]
        b = min(max(b, 0), n - 1)
        if a == b and m_i == lin[i]:
            continue
        low, high = min(a, b), max(a, b)
        m_j = lin[i]
        # the window as it would be
        for p in range(low, high + 1):
            window[p] = seq[p]
        if j >= 0:
            window[a], window[b] = j, i
        elif a < b:
            for p in range(a, b):
                window[p] = seq[p + 1]
            window[b] = i
        else:
            for p in range(a, b, -1):
                window[p] = seq[p - 1]
            window[b] = i
        # lines as they stand before the window, and as they stood after it
        stamp = move + 1
        for p in range(low, high + 1):
            r = seq[p]
            m = lin[r]
            if seen[m] != stamp:
                seen[m] = stamp
                free[m], fam[m] = before_free[r], before_fam[r]
            old_free[m], old_fam[m] = end[r], family[r]
        for m in (m_i, m_j):
            if seen[m] != stamp:
                seen[m] = stamp
                free[m], fam[m] = line_free_s[m], line_family[m]
                for p in range(low - 1, -1, -1):
                    if lin[seq[p]] == m:
                        free[m], fam[m] = end[seq[p]], family[seq[p]]
                        break
                old_free[m], old_fam[m] = free[m], fam[m]
        for k in range(len(claim)):
            claim[k] = claims_at[low, k]
        delta, num_touched = np.int64(0), 0
        for p in range(low, high + 1):
            r = window[p]
            m = lin[r]
            if r == i:
                m = m_i
            elif r == j:
                m = m_j
            # As in ``_run_whole``, and written out: a function for both makes the search 1.6 times slower (CPU time, numba 0.68.1).
            found = np.int64(0)
            for c in range(part.shape[1]):
                k = part[r, c]
                if k < 0:
                    break
                claim[k] += part_quantity[r, c]
                found = max(found, table[k, min(claim[k], table.shape[1] - 1)])
            begin = max(free[m] + setup_s[fam[m], family[r]], found)
            finish = begin + processing_time_s[r, m]
            touched[num_touched] = r
            new_ready[num_touched] = found
            new_free[num_touched], new_fam[num_touched] = free[m], fam[m]
            new_end[num_touched] = finish
            costs_now = weight[r] * max(finish - due_s[r], 0)
            new_pay[num_touched] = costs_now
            delta += costs_now - pay[r]
            num_touched += 1
            free[m], fam[m] = finish, family[r]
        num_dirty, num_hopeful = 0, 0
        for p in range(low, high + 1):
            m = lin[seq[p]]
            if not dirty[m] and (free[m] != old_free[m] or fam[m] != old_fam[m]):
                dirty[m] = True
                num_dirty += 1
        for m in (m_i, m_j):
            if not dirty[m] and (free[m] != old_free[m] or fam[m] != old_fam[m]):
                dirty[m] = True
                num_dirty += 1
        # a line is hopeful while it may still make up for what the window costs
        for m in range(num_lines):
            if dirty[m] and (free[m] < old_free[m] or fam[m] != old_fam[m]):
                num_hopeful += 1
        p = high + 1
        while num_dirty > 0 and p < n:
            if num_hopeful == 0 and delta > limit:
                break
            r = seq[p]
            p += 1
            m = lin[r]
            if not dirty[m]:
                continue
            was_hopeful = free[m] < old_free[m] or fam[m] != old_fam[m]
            begin = max(free[m] + setup_s[fam[m], family[r]], ready[r])
            finish = begin + processing_time_s[r, m]
            touched[num_touched] = r
            new_ready[num_touched] = ready[r]
            new_free[num_touched], new_fam[num_touched] = free[m], fam[m]
            new_end[num_touched] = finish
            costs_now = weight[r] * max(finish - due_s[r], 0)
            new_pay[num_touched] = costs_now
            delta += costs_now - pay[r]
            num_touched += 1
            free[m], fam[m] = finish, family[r]
            old_free[m], old_fam[m] = end[r], family[r]
            if was_hopeful and not finish < end[r]:
                num_hopeful -= 1
            elif not was_hopeful and finish < end[r]:
                num_hopeful += 1
            if finish == end[r]:
                dirty[m] = False
                num_dirty -= 1
        for m in range(num_lines):
            dirty[m] = False
        if delta > limit:
            continue
        if delta > 0 and is_best:
            best_seq[:] = seq
            best_lin[:] = lin
            is_best = False
        cost += delta
        lin[i] = m_i
        if j >= 0:
            lin[j] = m_j
        for c in range(num_touched):
            r = touched[c]
            end[r], pay[r], ready[r] = new_end[c], new_pay[c], new_ready[c]
            before_free[r], before_fam[r] = new_free[c], new_fam[c]
        for p in range(low, high + 1):
            r = window[p]
            seq[p] = r
            place[r] = p
            if p > low:
                before = window[p - 1]
                for k in range(claims_at.shape[1]):
                    claims_at[p, k] = claims_at[p - 1, k] + requirement[before, k]
        if cost < best:
            best = cost
            is_best = True
    if is_best:
        best_seq[:] = seq
        best_lin[:] = lin
    costs[0], costs[1] = cost, best


class LocalSearch:
    """A search that stands still until it is told to go on.

    Args:
        situation: what is open.
        sequence: int64 ``[free]``, rows in the order in which they claim material.
        line: int64 ``[free]``.
        seed: of the moves.
    """

    def __init__(self, situation: Situation, sequence: np.ndarray, line: np.ndarray, *, seed: int = 0) -> None:
        n, parts = len(sequence), situation.problem.num_components
        self._situation = situation
        self._facts = (
            situation.processing_time_s,
            situation.family,
            situation.weight,
            situation.due_s,
            np.ascontiguousarray(situation.problem.requirement[situation.orders]),
            situation.part,
            situation.part_quantity,
            situation.problem.setup_s,
            situation.line_free_s,
            situation.line_family,
            situation.claimed,
        )
        self._state = (
            np.array(sequence, np.int64),
            np.empty(n, np.int64),
            np.array(line, np.int64),
            *(np.empty(n, np.int64) for _ in range(5)),
            np.empty((n, parts), np.int64),
            units_ready_s(situation.supply_time_s, situation.supply_total),
        )
        self._random = np.array([seed * 2 + 1], np.uint64)
        cost = _run_whole(*self._state, *self._facts)
        self._costs = np.array([cost, cost], np.int64)
        self._best = self._state[0].copy(), self._state[2].copy()
        #: moves tried so far
        self.num_moves = 0
        eligible = np.maximum((situation.processing_time_s > 0).sum(1), 1)
        worth_s = situation.weight * situation.processing_time_s.sum(1) / eligible
        self._scale_s = max(float(worth_s.mean()), 1.0) if n else 1.0

    @property
    def sequence(self) -> np.ndarray:
        """Rows of the best plan in the order in which they claim material, int64 ``[free]``."""
        return self._best[0].copy()

    @property
    def line(self) -> np.ndarray:
        """Lines of the best plan, int64 ``[free]``."""
        return self._best[1].copy()

    @property
    def cost_s(self) -> int:
        """Weighted tardiness of the best plan in seconds."""
        return int(self._costs[1])

    def run(self, num_moves: int, *, hot: float = HOT, cold: float = COLD) -> None:
        """Try ``num_moves`` moves while the temperature falls; the best plan never gets worse.

        Args:
            num_moves: how many.
            hot: first temperature, in mean weighted processing times.
            cold: last temperature, likewise.
        """
        if len(self._state[0]) > 1 and self.cost_s > 0:
            scale = self._scale_s
            _improve(
                num_moves, hot * scale, cold * scale, self._random, self._costs, *self._best, *self._state, *self._facts
            )
        self.num_moves += num_moves

    def run_for(
        self, budget_s: float, *, clock: Callable[[], float] = time.thread_time, hot: float = HOT, cold: float = COLD
    ) -> None:
        """Search for ``budget_s`` seconds of ``clock``, with the temperature falling over these.

        Args:
            budget_s: at most this long, to about a millisecond; nothing where it is not positive.
            clock: seconds; by default this thread's CPU time.
            hot: first temperature, in mean weighted processing times.
            cold: last temperature, likewise.
        """
        began_s, share = clock(), 0.0 if budget_s > 0 else 1.0
        while share < 1.0 and self.cost_s > 0 and len(self._best[0]) > 1:
            temperature = hot * (cold / hot) ** share
            self.run(_MOVES_PER_LOOK, hot=temperature, cold=temperature)
            share = (clock() - began_s) / budget_s
