"""From what a policy says to start times that are always feasible: compiled, microseconds.

Three ways, all on a ``Situation``:

* ``run_plan``: a plan (which order first, each on which line) executed as given;
* ``run_scores``: soft scores, dispatched: whenever a line falls free, the order that fits best there goes next;
* ``run_rule``: the classical dispatching rules, by the same event loop.

Material is reserved when an order is placed: it claims the earliest units that nobody has claimed, and starts when the
last of them is there. The claim of an order is never given back, so no later placement can make an earlier one
infeasible. A set-up may run while the line waits for material: start = max(line free + set-up, material ready).

Read next: ``search``, which looks for a better plan by running many.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np

from genba.errors import SpecError
from genba.machines.factory.problem import Situation

#: Rules of ``run_rule``.
FIFO, EDD, WSPT, ATC = 0, 1, 2, 3

#: Farther than any plan reaches.
NEVER = np.int64(1) << 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Tempering:
    """How ``run_scores`` weighs what it is told against what it sees. Dimensionless; chosen on training seeds."""

    #: seconds of rank that one second of an idle or set-up line costs
    idle: float = 8.0
    #: hours of rank that one nat of line score is worth
    line_h: float = 2.0
    #: hours of rank that one nat of the ATC index is worth; 0: scores only
    prior_h: float = 2.0


#: What ``variants`` tries first: on training seeds of 5x50, 10x200 and 20x1000 each is the best for some instances.
TEMPERINGS = tuple(
    Tempering(idle=idle, line_h=line_h, prior_h=prior_h)
    for idle, line_h, prior_h in (
        (8.0, 2.0, 1.0), (16.0, 1.0, 1.0), (8.0, 1.0, 2.0), (16.0, 4.0, 4.0), (4.0, 2.0, 0.5), (16.0, 1.0, 8.0),
    )
)  # fmt: skip

#: How ``variants`` changes what was cheapest so far, chosen on training seeds: the share of the orders whose scores change, by how
#: many places of so many orders, by how many nats for a line, and by how many nats each weight of the tempering (standard deviations).
VARY_ORDERS, VARY_PLACES, VARY_LINE, VARY_WEIGHTS = 0.15, 0.02, 1.0, 0.3


@numba.njit(cache=True)
def material_ready_s(i, part, part_quantity, claimed, supply_time_s, supply_total):
    """When the earliest unclaimed units that order ``i`` needs are all there."""
    ready = np.int64(0)
    for j in range(part.shape[1]):
        k = part[i, j]
        if k < 0:
            break
        need = claimed[k] + part_quantity[i, j]
        d = 0
        while supply_total[k, d] < need:
            d += 1
        if supply_time_s[k, d] > ready:
            ready = supply_time_s[k, d]
    return ready


@numba.njit(cache=True)
def claim_units(i, part, part_quantity, claimed):
    """Add the units that order ``i`` needs to what is claimed."""
    for j in range(part.shape[1]):
        if part[i, j] < 0:
            break
        claimed[part[i, j]] += part_quantity[i, j]


@numba.njit(cache=True)
def claims_ready_s(order, together, part, part_quantity, claimed, supply_time_s, supply_total):
    """When each row's material is there: claimed one after the other in ``order``, or each as if it came first."""
    claim = claimed.copy()
    out = np.zeros(len(order), np.int64)
    for i in order:
        out[i] = material_ready_s(i, part, part_quantity, claim, supply_time_s, supply_total)
        if together:
            claim_units(i, part, part_quantity, claim)
    return out


@numba.njit(cache=True)
def _run_plan(
    sequence, line,
    processing_time_s, family, weight, due_s, part, part_quantity, setup_s,
    line_free_s, line_family, claimed, supply_time_s, supply_total,
):  # fmt: skip
    n = len(sequence)
    start_s = np.zeros(n, np.int64)
    free, fam, claim = line_free_s.copy(), line_family.copy(), claimed.copy()
    cost = np.int64(0)
    for p in range(n):
        i = sequence[p]
        m = line[i]
        begin = free[m] + setup_s[fam[m], family[i]]
        ready = material_ready_s(i, part, part_quantity, claim, supply_time_s, supply_total)
        if ready > begin:
            begin = ready
        claim_units(i, part, part_quantity, claim)
        start_s[i] = begin
        end = begin + processing_time_s[i, m]
        free[m] = end
        fam[m] = family[i]
        if end > due_s[i]:
            cost += weight[i] * (end - due_s[i])
    return start_s, cost


@numba.njit(cache=True)
def units_ready_s(supply_time_s, supply_total):
    """When so many units of a component will have come: ``[component, units]``, ``NEVER`` in the last column and beyond."""
    num_components, num_arrivals = supply_total.shape
    table = np.full((num_components, max(supply_total.max(), 0) + 2), NEVER)
    for k in range(num_components):
        from_units = 0
        for d in range(num_arrivals):
            for units in range(from_units, supply_total[k, d] + 1):
                table[k, units] = max(supply_time_s[k, d], 0)
            from_units = max(from_units, supply_total[k, d] + 1)
    return table


@numba.njit(cache=True)
def _dispatch(
    rule, k1, k2, rank_s, line_s, idle, prior_s,
    processing_time_s, family, weight, due_s, part, part_quantity, setup_s,
    line_free_s, line_family, claimed, supply_time_s, supply_total,
):  # fmt: skip
    """The event loop of all dispatching: ``rule`` < 0 takes the scores in seconds, lower first."""
    n, num_lines = processing_time_s.shape
    start_s = np.zeros(n, np.int64)
    line = np.full(n, -1, np.int64)
    free, fam, claim = line_free_s.copy(), line_family.copy(), claimed.copy()
    table = units_ready_s(supply_time_s, supply_total)
    ready = np.zeros(n, np.int64)
    urgency = np.zeros((n, num_lines))
    total_p, count_p = 0.0, 0
    for i in range(n):
        for m in range(num_lines):
            if processing_time_s[i, m] > 0:
                total_p += processing_time_s[i, m]
                count_p += 1
                if rule == 2:
                    urgency[i, m] = weight[i] / processing_time_s[i, m]
                elif rule > 2 or prior_s != 0.0:
                    urgency[i, m] = np.log(weight[i] / processing_time_s[i, m])
    mean_p = total_p / max(count_p, 1)
    mean_setup = setup_s.sum() / max(len(setup_s) * (len(setup_s) - 1), 1)
    # When the next units of each component are there: an order's material changes only where one of these does.
    most = max(part_quantity.max(), 0) if n else 0
    next_ready = np.full((len(claim), most + 1), -1, np.int64)
    stale = True
    open_line = np.ones(num_lines, np.bool_)
    left = np.arange(n)
    num_left = n
    cost = np.int64(0)
    while num_left > 0:
        if stale:
            for k in range(len(claim)):
                for quantity in range(most + 1):
                    next_ready[k, quantity] = table[k, min(claim[k] + quantity, table.shape[1] - 1)]
            for c in range(num_left):
                i = left[c]
                ready[i] = 0
                for j in range(part.shape[1]):
                    if part[i, j] < 0:
                        break
                    ready[i] = max(ready[i], next_ready[part[i, j], part_quantity[i, j]])
            stale = False
        m = -1
        for q in range(num_lines):
            if open_line[q] and (m < 0 or free[q] < free[m]):
                m = q
        now = free[m]
        best, best_at, best_index, best_start, soonest = -1, -1, -np.inf, np.int64(0), NEVER
        for c in range(num_left):
            i = left[c]
            p = processing_time_s[i, m]
            if p == 0:
                continue
            setup = setup_s[fam[m], family[i]]
            begin = max(now + setup, ready[i])
            if rule >= 0 and ready[i] > now + setup:
                soonest = min(soonest, ready[i] - setup)
                continue
            index = 0.0
            if rule == 0:
                index = -float(i)
            elif rule == 1:
                index = -float(due_s[i])
            elif rule == 2:
                index = urgency[i, m]
            elif rule > 2 or prior_s != 0.0:
                slack = max(due_s[i] - p - now, 0.0)
                index = urgency[i, m] - slack / (k1 * mean_p) - setup / (k2 * mean_setup)
            if rule < 0:
                index = prior_s * index - rank_s[i] + line_s[i, m] - idle * (begin - now)
            if index > best_index:
                best, best_at, best_index, best_start = i, c, index, begin
        if best < 0:
            if soonest == NEVER:
                open_line[m] = False
            else:
                free[m] = max(soonest, now + 1)
            continue
        line[best] = m
        start_s[best] = best_start
        end = best_start + processing_time_s[best, m]
        free[m] = end
        fam[m] = family[best]
        num_left -= 1
        for c in range(best_at, num_left):  # kept in order of rows: ties go to the first
            left[c] = left[c + 1]
        if end > due_s[best]:
            cost += weight[best] * (end - due_s[best])
        for j in range(part.shape[1]):
            k = part[best, j]
            if k < 0:
                break
            claim[k] += part_quantity[best, j]
            for quantity in range(1, most + 1):
                now_ready = table[k, min(claim[k] + quantity, table.shape[1] - 1)]
                if now_ready != next_ready[k, quantity]:
                    stale = True
    return start_s, line, cost


def run_plan(situation: Situation, sequence: np.ndarray, line: np.ndarray) -> tuple[np.ndarray, int]:
    """Execute a plan as given.

    Args:
        situation: what is open.
        sequence: int64 ``[free]``, row numbers of the free orders, first to claim material first.
        line: int64 ``[free]``, each row's line.

    Returns:
        ``start_s`` int64 ``[free]`` and the weighted tardiness of the free orders in seconds.
    """
    start_s, cost = _run_plan(sequence, line, *situation.arrays)
    return start_s, int(cost)


def run_rule(
    situation: Situation, rule: int, *, k1: float = 1.0, k2: float = 1.0
) -> tuple[np.ndarray, np.ndarray, int]:
    """Dispatch by a classical rule, non-delay: only orders whose material is there when the set-up is done compete.

    ATC is the apparent tardiness cost with set-ups: (w / p) exp(-slack / (k1 mean p)) exp(-setup / (k2 mean setup)).

    Returns:
        ``start_s``, ``line`` int64 ``[free]`` and the weighted tardiness of the free orders in seconds.

    Source: Lee, Bhaskaran, Pinedo (1997), "A heuristic to minimize the total weighted tardiness with
    sequence-dependent setups", IIE Transactions 29, eq. 1.
    """
    none, nothing = np.zeros(1), np.zeros((1, 1))
    start_s, line, cost = _dispatch(rule, k1, k2, none, nothing, 0.0, 0.0, *situation.arrays)
    return start_s, line, int(cost)


def run_scores(
    situation: Situation, sequence: np.ndarray, line: np.ndarray, tempering: Tempering | None = None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Dispatch by soft scores; feasible whatever the scores are.

    Only the order of ``sequence`` counts: rank r of n stands for the planned start r (mean p) / lines, in seconds, so
    the result does not depend on the scores' scale. ``line`` is read as log-probabilities. A line that falls free takes
    the order with the least: planned start - line score + idle time until it could start there.

    Args:
        situation: what is open.
        sequence: ``[free]`` scores, higher goes first.
        line: ``[free, lines]`` scores, higher is better.
        tempering: weights between these; the default is what the task uses.

    Returns:
        ``start_s``, ``line`` int64 ``[free]`` and the weighted tardiness of the free orders in seconds.
    """
    tempering = tempering or Tempering()
    times_s = situation.processing_time_s
    eligible = times_s > 0
    rank = np.empty(len(sequence))
    rank[np.argsort(-np.asarray(sequence, np.float64), kind="stable")] = np.arange(len(sequence))
    pace_s = times_s.sum() / max(eligible.sum(), 1) / times_s.shape[1]
    start_s, chosen, cost = _dispatch(
        -1, 1.0, 1.0, rank * pace_s, tempering.line_h * 3600.0 * log_probabilities(line, eligible),
        tempering.idle, tempering.prior_h * 3600.0, *situation.arrays,
    )  # fmt: skip
    return start_s, chosen, int(cost)


def log_probabilities(line: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    """Return log-softmax of ``line`` over the eligible lines, float64 ``[free, lines]``, bounded to -6 ... 0.

    The bound keeps one overconfident score from idling a line for days.
    """
    scores = np.where(eligible, np.clip(np.nan_to_num(np.asarray(line, np.float64), nan=0.0), -1e6, 1e6), -np.inf)
    scores = scores - scores.max(1, keepdims=True)
    return np.clip(scores - np.log(np.exp(scores).sum(1, keepdims=True)), -6.0, 0.0)


def is_plan(line: np.ndarray) -> bool:
    """Say whether ``line`` ``[free, lines]`` leaves each order exactly one line (-inf elsewhere): what rules and searches say."""
    return bool(((np.asarray(line) > -np.inf).sum(1) == 1).all())


def decode(
    situation: Situation, sequence: np.ndarray, line: np.ndarray, *, tempering: Tempering | None = None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Turn a decision into start times: a plan is run as given, soft scores are dispatched.

    Networks leave all eligible lines open with different scores; ``is_plan`` tells them from plans.

    Returns:
        ``start_s``, ``line`` int64 ``[free]`` and the weighted tardiness of the free orders in seconds.

    Raises:
        SpecError: a shape that does not fit, or a plan that puts an order on a line that cannot make it.
    """
    expected = situation.processing_time_s.shape
    if np.shape(line) != expected or np.shape(sequence) != expected[:1]:
        raise SpecError(
            f"factory decision: got sequence {np.shape(sequence)} and line {np.shape(line)}, expected {expected[:1]} "
            f"and {expected}: the free orders of the newest observation"
        )
    if not is_plan(line):
        return run_scores(situation, sequence, line, tempering)
    chosen = (np.asarray(line) > -np.inf).argmax(1)
    wrong = np.flatnonzero(situation.processing_time_s[np.arange(len(chosen)), chosen] == 0)
    if len(wrong):
        raise SpecError(f"factory decision: order row {wrong[0]} on line {chosen[wrong[0]]}, which cannot make it")
    order = np.argsort(-np.asarray(sequence, np.float64), kind="stable")
    start_s, cost = run_plan(situation, order, chosen)
    return start_s, chosen, cost


def variants(
    situation: Situation, sequence: np.ndarray, line: np.ndarray, *, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Decode soft scores otherwise than ``decode`` does, without end.

    The first variants weigh the scores by each of ``TEMPERINGS``; each later one is drawn around the cheapest so far, with noise on
    some orders' scores and on the weights. Sixty of them find on 10x200 what 300 draws around the scores themselves do not.

    Yields:
        As ``decode``.
    """
    rng = np.random.default_rng(seed)
    rank = np.argsort(np.argsort(np.asarray(sequence, np.float64), kind="stable"), kind="stable").astype(np.float64)
    soft = log_probabilities(line, situation.processing_time_s > 0)
    least, centre = NEVER, (rank, soft, TEMPERINGS[0])
    for variant in itertools.count():
        if variant < len(TEMPERINGS):
            drawn = rank, soft, TEMPERINGS[variant]
        else:
            drawn = _draw_around(*centre, rng)
        found = run_scores(situation, *drawn)
        if found[2] < least:
            least, centre = found[2], drawn
        yield found


def _draw_around(
    rank: np.ndarray, line: np.ndarray, tempering: Tempering, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, Tempering]:
    changed = rng.random(len(rank)) < VARY_ORDERS
    idle, line_h, prior_h = np.exp(VARY_WEIGHTS * rng.normal(size=3))
    return (
        rank + changed * rng.normal(size=len(rank)) * VARY_PLACES * len(rank),
        line + changed[:, None] * rng.normal(size=line.shape) * VARY_LINE,
        Tempering(idle=tempering.idle * idle, line_h=tempering.line_h * line_h, prior_h=tempering.prior_h * prior_h),
    )


def sample_decode(
    situation: Situation, sequence: np.ndarray, line: np.ndarray, *, num_samples: int, seed: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Decode the scores as they are and in ``num_samples - 1`` ``variants``; keep the least weighted tardiness.

    The objective is the planner's own, computed from what is known at the time. A plan is run as given, without variants.

    Returns:
        As ``decode``.
    """
    found = decode(situation, sequence, line)
    if is_plan(line):
        return found
    tried = itertools.islice(variants(situation, sequence, line, seed=seed), num_samples - 1)
    return min([found, *tried], key=lambda one: one[2])


def as_decision(start_s: np.ndarray, line: np.ndarray, num_lines: int) -> tuple[np.ndarray, np.ndarray]:
    """Write a schedule of the free orders as scores that decode to it.

    Returns:
        ``sequence`` float32 ``[free]``, minus the normalised start rank in 0 ... 1, and ``line`` float32
        ``[free, lines]``, 0 at the order's line and -inf elsewhere.
    """
    n = len(start_s)
    rank = np.empty(n, np.float32)
    rank[np.argsort(start_s, kind="stable")] = np.arange(n, dtype=np.float32)
    lines = np.full((n, num_lines), -np.inf, np.float32)
    lines[np.arange(n), line] = 0.0
    return -rank / max(n, 1), lines
