"""Simulated annealing over plans: the strongest planner here beyond some fifty free orders, seeded and step-limited.

A move takes one order to another place in the sequence, another line or behind an order of its family; the plan is run
again from the first changed place only, from a checkpoint of the lines' and the material's state, and is abandoned as
soon as its cost exceeds what would be accepted. Limited by moves, never by a clock, so a seed repeats exactly.

Read next: ``expert``, which starts it from the best dispatching rule.
"""

from __future__ import annotations

import numba
import numpy as np

from genba.machines.factory.decoder import ATC, claim_units, material_ready_s, run_plan, run_rule
from genba.machines.factory.problem import Situation

#: The grid of (k1, k2) that "best of 20" tries.
ATC_GRID = tuple((k1, k2) for k1 in (0.5, 1.0, 2.0, 4.0, 8.0) for k2 in (0.1, 0.25, 0.5, 1.0))

#: Places between two checkpoints of the state.
_EVERY = 8

#: More than any plan costs.
NEVER_COST = np.int64(1) << 60


@numba.njit(cache=True)
def _anneal(
    sequence, line, num_moves, rng, hot, cold,
    processing_time_s, family, weight, due_s, part, part_quantity, setup_s,
    line_free_s, line_family, claimed, supply_time_s, supply_total,
):  # fmt: skip
    n, num_lines = processing_time_s.shape
    num_marks = n // _EVERY + 1
    seq, lin = sequence.copy(), line.copy()
    new_seq, new_lin = sequence.copy(), line.copy()
    best_seq, best_lin = sequence.copy(), line.copy()
    place = np.empty(n, np.int64)
    free = np.empty((2, num_marks, num_lines), np.int64)
    fam = np.empty((2, num_marks, num_lines), np.int64)
    claim = np.empty((2, num_marks, len(claimed)), np.int64)
    paid = np.empty((2, num_marks), np.int64)
    for p in range(n):
        place[seq[p]] = p
    cost, best = NEVER_COST, NEVER_COST
    for move in range(num_moves + 1):
        first = 0
        limit = NEVER_COST
        if move > 0:
            temperature = hot * (cold / hot) ** (move / num_moves)
            limit = cost - np.int64(temperature * np.log(1.0 - rng.random()))
            i = rng.integers(0, n)
            a = place[i]
            b = a
            kind = rng.random()
            target = lin[i]
            if kind < 0.35:
                span = 1 + rng.integers(0, max(n // 5, 1))
                b = a - span if rng.random() < 0.5 else a + span
            elif kind < 0.6:
                q = rng.integers(0, n)
                for step in range(n):
                    other = (q + step) % n
                    if other != i and family[other] == family[i] and processing_time_s[i, lin[other]] > 0:
                        target = lin[other]
                        b = place[other] + (1 if place[other] < a else 0)
                        break
            else:
                q = rng.integers(0, num_lines)
                for step in range(num_lines):
                    m = (q + step) % num_lines
                    if processing_time_s[i, m] > 0 and m != lin[i]:
                        target = m
                        break
                if kind > 0.8:
                    span = 1 + rng.integers(0, max(n // 10, 1))
                    b = a - span if rng.random() < 0.5 else a + span
            b = min(max(b, 0), n - 1)
            if a == b and target == lin[i]:
                continue
            first = min(a, b)
            if a < b:
                for p in range(a, b):
                    new_seq[p] = seq[p + 1]
            else:
                for p in range(a, b, -1):
                    new_seq[p] = seq[p - 1]
            new_seq[b] = i
            new_lin[i] = target
        mark = first // _EVERY
        if move == 0:
            f, g, c, total = line_free_s.copy(), line_family.copy(), claimed.copy(), np.int64(0)
        else:
            f, g, c, total = free[0, mark].copy(), fam[0, mark].copy(), claim[0, mark].copy(), paid[0, mark]
        for p in range(mark * _EVERY, n):
            if p % _EVERY == 0:
                r = p // _EVERY
                free[1, r] = f
                fam[1, r] = g
                claim[1, r] = c
                paid[1, r] = total
            k = new_seq[p]
            m = new_lin[k]
            begin = f[m] + setup_s[g[m], family[k]]
            ready = material_ready_s(k, part, part_quantity, c, supply_time_s, supply_total)
            if ready > begin:
                begin = ready
            claim_units(k, part, part_quantity, c)
            end = begin + processing_time_s[k, m]
            f[m] = end
            g[m] = family[k]
            if end > due_s[k]:
                total += weight[k] * (end - due_s[k])
                if total > limit:
                    break
        if total <= limit:
            cost = total
            top = (n - 1) // _EVERY + 1
            for r in range(mark, top):
                free[0, r] = free[1, r]
                fam[0, r] = fam[1, r]
                claim[0, r] = claim[1, r]
                paid[0, r] = paid[1, r]
            if move > 0:
                for p in range(first, max(a, b) + 1):
                    seq[p] = new_seq[p]
                    place[seq[p]] = p
                lin[i] = target
            if cost < best:
                best = cost
                best_seq[:] = seq
                best_lin[:] = lin
        else:
            for p in range(first, max(a, b) + 1):
                new_seq[p] = seq[p]
            new_lin[i] = lin[i]
    return best_seq, best_lin, best


def anneal(
    situation: Situation,
    sequence: np.ndarray,
    line: np.ndarray,
    *,
    num_moves: int,
    seed: int,
    hot: float = 0.01,
    cold: float = 0.0003,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Improve a plan; the result is never worse than what it started from.

    Args:
        situation: what is open.
        sequence: int64 ``[free]``, rows in the order in which they claim material.
        line: int64 ``[free]``.
        num_moves: moves tried; about 4 microseconds each at 150 free orders.
        seed: of the moves.
        hot: first temperature as a share of the starting cost.
        cold: last temperature as a share of the starting cost.

    Returns:
        ``sequence``, ``line`` and the weighted tardiness of the free orders in seconds.
    """
    if len(sequence) < 2:
        return sequence, line, run_plan(situation, sequence, line)[1]
    _, cost = run_plan(situation, sequence, line)
    scale = max(cost, 3600)
    found = _anneal(
        sequence, line, num_moves, np.random.default_rng(seed), hot * scale, cold * scale, *situation.arrays
    )
    return found[0], found[1], int(found[2])


def best_of_atc(situation: Situation) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the best of ATC's 20 parameter pairs: ``start_s``, ``line``, weighted tardiness in seconds."""
    tried = [run_rule(situation, ATC, k1=k1, k2=k2) for k1, k2 in ATC_GRID]
    return min(tried, key=lambda found: found[2])


def by_start(start_s: np.ndarray) -> np.ndarray:
    """Return rows in order of start, int64: the sequence that reserves material as the schedule uses it."""
    return np.argsort(start_s, kind="stable")
