"""Schedules for a flexible job shop by dispatching, compiled: the classical rules, plans as given, and a network's scores.

Each job's next operation looks at the machine on which it would end first, busy ones included. Time goes to the next
moment at which some operation could start so; of those that could, the best by the rule starts there. Ties are broken by the work that is
left of the job, then by its number; rules without such a tie-break, as often published, are several points worse.

Scores are dispatched in the same way: an operation's rank stands for a planned start, to which the work that is left of its job is
added as a prior; a machine that the scores advise against counts as if it ended later. Whatever they are, the schedule is feasible.
Read next: ``local_search``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np

from genba.errors import SpecError
from genba.machines.factory.fjsp.instance import JobShop, Situation, mean_times

#: Name -> number of a rule: first in first out, shortest operation, most work remaining, most operations remaining.
RULES = {"fifo": 0, "spt": 1, "mwkr": 2, "mopnr": 3}
SCORES = 4

#: ``start`` and ``machine`` of every operation, int64 ``[operations]``, 0 and -1 where it had started before; the makespan.
Plan = tuple[np.ndarray, np.ndarray, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tempering:
    """How scores are weighed against what the dispatcher sees. Dimensionless; chosen on training seeds."""

    #: planned start that one unit of the work that is left of a job is worth
    prior: float = 1.0
    #: mean processing times that one nat of machine score is worth
    machine: float = 0.35
    #: mean processing times that an operation with a better rank may be waited for
    wait: float = 0.2


#: What ``variants`` tries first: prior, machine, wait; each the one that most shortens the best of those before it on 30 training seeds.
TEMPERINGS = tuple(
    Tempering(prior=prior, machine=machine, wait=wait)
    for prior, machine, wait in (
        (1.0, 0.35, 0.2), (0.5, 0.35, 0.4), (2.0, 0.5, 0.2), (0.0, 0.1, 0.0), (0.0, 0.35, 0.2), (2.0, 0.0, 0.0),
        (0.0, 0.35, 0.0), (0.25, 0.2, 0.4), (1.0, 0.5, 0.4), (0.25, 0.2, 0.2), (1.0, 0.0, 0.4), (1.0, 1.0, 0.2),
    )
)  # fmt: skip


@numba.njit(cache=True)
def _dispatch(rule, scores, penalty, wait, time, first, next_operation, ready_at, free_at):
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
    at, ready, free = next_operation.copy(), ready_at.copy(), free_at.copy()
    left = np.zeros(num_jobs)
    num_left = 0
    for j in range(num_jobs):
        for i in range(at[j], first[j + 1]):
            left[j] += mean[i]
            num_left += 1
    start = np.zeros(num_ops, np.int64)
    machine = np.full(num_ops, -1, np.int64)
    chosen = np.zeros(num_jobs, np.int64)
    begins = np.zeros(num_jobs, np.int64)
    for _ in range(num_left):
        now = np.int64(1) << 60
        for j in range(num_jobs):
            if at[j] >= first[j + 1]:
                continue
            i, soonest = at[j], np.inf
            chosen[j] = -1
            for m in range(num_machines):
                if time[i, m] > 0:
                    end = max(ready[j], free[m]) + time[i, m] + penalty[i, m]
                    if end < soonest or (end == soonest and time[i, m] < time[i, chosen[j]]):
                        soonest, chosen[j], begins[j] = end, m, max(ready[j], free[m])
            now = min(now, begins[j])
        best_j, best_first, best_second = -1, -np.inf, -np.inf
        for j in range(num_jobs):
            if at[j] >= first[j + 1] or begins[j] > now + wait:
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
        start[i], machine[i] = begins[best_j], best_m
        free[best_m] = ready[best_j] = begins[best_j] + time[i, best_m]
        left[best_j] -= mean[i]
        at[best_j] += 1
    return start, machine, max(ready.max(), free.max())


@numba.njit(cache=True)
def _run_plan(sequence, machine, job, time, ready_at, free_at):
    ready, free = ready_at.copy(), free_at.copy()
    start = np.zeros(len(job), np.int64)
    for i in sequence:
        m = machine[i]
        start[i] = max(ready[job[i]], free[m])
        ready[job[i]] = free[m] = start[i] + time[i, m]
    return start, max(ready.max(), free.max())


def run_plan(situation: Situation, sequence: np.ndarray, machine: np.ndarray) -> Plan:
    """Execute a plan as given: each operation of ``sequence`` as early as its job and its machine are free.

    Args:
        situation: what is left.
        sequence: int64 ``[left]``, operations, each after those of its job that come before it.
        machine: int64 ``[operations]``, those of the operations in ``sequence`` count.
    """
    shop = situation.shop
    start, makespan = _run_plan(sequence, machine, shop.job, shop.time, situation.ready, situation.free)
    chosen = np.full(len(shop.job), -1, np.int64)
    chosen[sequence] = machine[sequence]
    return start, chosen, int(makespan)


def run_rule(situation: Situation, rule: str) -> Plan:
    """Dispatch what is left by a rule of ``RULES``."""
    return _dispatched(RULES[rule], np.zeros(1), np.zeros(situation.shop.time.shape), 0.0, situation)


def best_rule(situation: Situation) -> Plan:
    """Return the best of the four rules."""
    return min((run_rule(situation, rule) for rule in RULES), key=lambda found: found[2])


def run_scores(
    situation: Situation, sequence: np.ndarray, machine: np.ndarray, tempering: Tempering | None = None
) -> Plan:
    """Dispatch by soft scores; feasible whatever they are.

    Only the order of ``sequence`` counts: rank r of n stands for the planned start r (mean time) / machines. ``machine`` is read as
    log-probabilities: the likeliest machine of an operation costs nothing, another as much time as it is less likely.

    Args:
        situation: what is left.
        sequence: ``[left]`` scores, higher goes first.
        machine: ``[left, machines]`` scores, higher is better.
        tempering: weights; the default is what the task uses.
    """
    tempering = tempering or Tempering()
    shop, rows = situation.shop, situation.operations
    mean, able = mean_times(shop.time), shop.time[rows] > 0
    rank = np.empty(len(rows))
    rank[np.argsort(-np.asarray(sequence, np.float64), kind="stable")] = np.arange(len(rows))
    scores, penalty = np.zeros(len(shop.job)), np.zeros(shop.time.shape)
    pace = mean[rows].mean() / shop.time.shape[1]
    scores[rows] = tempering.prior * work_left(shop)[rows] - rank * pace
    penalty[rows] = -tempering.machine * mean[rows].mean() * log_preferences(machine, able)
    return _dispatched(SCORES, scores, penalty, tempering.wait * mean[rows].mean(), situation)


def work_left(shop: JobShop) -> np.ndarray:
    """Return the mean time of each operation and those of its job that follow it: float64 ``[operations]``."""
    until = np.cumsum(mean_times(shop.time))
    return until[shop.first()[shop.job + 1] - 1] - until + mean_times(shop.time)


def log_preferences(machine: np.ndarray, able: np.ndarray) -> np.ndarray:
    """Return each score less its row's best, float64 ``[left, machines]``, bounded to -6 ... 0; 0 where not able."""
    scores = np.where(able, np.clip(np.nan_to_num(np.asarray(machine, np.float64), nan=0.0), -1e6, 1e6), -np.inf)
    return np.where(able, np.clip(scores - scores.max(1, keepdims=True), -6.0, 0.0), 0.0)


def decode(
    situation: Situation, sequence: np.ndarray, machine: np.ndarray, *, tempering: Tempering | None = None
) -> Plan:
    """Turn a decision into a schedule of what is left: a plan is run as given, soft scores are dispatched.

    A decision is a plan where ``machine`` leaves each operation exactly one machine (-inf elsewhere): what rules and searches say.
    Networks leave all able machines open with different scores.

    Raises:
        SpecError: a shape that does not fit, or a plan that puts an operation on a machine that cannot do it.
    """
    shop, rows = situation.shop, situation.operations
    expected = (len(rows), shop.time.shape[1])
    if np.shape(machine) != expected or np.shape(sequence) != expected[:1]:
        raise SpecError(
            f"job shop decision: got sequence {np.shape(sequence)} and machine {np.shape(machine)}, expected {expected[:1]} "
            f"and {expected}: the operations left in the newest observation"
        )
    open_machines = np.asarray(machine) > -np.inf
    if not (open_machines.sum(1) == 1).all():
        return run_scores(situation, sequence, machine, tempering)
    chosen = np.full(len(shop.job), -1, np.int64)
    chosen[rows] = open_machines.argmax(1)
    wrong = rows[shop.time[rows, chosen[rows]] == 0]
    if len(wrong):
        raise SpecError(f"job shop decision: operation {wrong[0]} on machine {chosen[wrong[0]]}, which cannot do it")
    return run_plan(situation, in_order(situation, -np.asarray(sequence, np.float64)), chosen)


def in_order(situation: Situation, when: np.ndarray) -> np.ndarray:
    """Return the operations that are left in order of ``when`` ``[left]``, each behind those of its job before it."""
    rows = situation.operations
    when = np.array(when, np.float64)
    job = situation.shop.job[rows]
    for k in np.flatnonzero(job[1:] == job[:-1]) + 1:
        when[k] = max(when[k], when[k - 1])
    return rows[np.argsort(when, kind="stable")]


def variants(
    situation: Situation, sequence: np.ndarray, machine: np.ndarray, *, seed: int, noise: float = 0.05
) -> Iterator[Plan]:
    """Decode soft scores otherwise than ``decode`` does, without end.

    The first variants weigh the scores by each of ``TEMPERINGS``; later ones add Gumbel noise as well, ``noise`` times the number
    of operations on ranks and half a nat on machine scores.
    """
    rng = np.random.default_rng(seed)
    rank = np.argsort(np.argsort(np.asarray(sequence, np.float64), kind="stable"), kind="stable").astype(np.float64)
    soft = log_preferences(machine, situation.shop.time[situation.operations] > 0)
    for variant in itertools.count():
        tempering, noisy, machines = TEMPERINGS[variant % len(TEMPERINGS)], rank, soft
        if variant >= len(TEMPERINGS):
            noisy = rank + rng.gumbel(size=len(rank)) * noise * len(rank)
            machines = soft + 0.5 * rng.gumbel(size=soft.shape)
        yield run_scores(situation, noisy, machines, tempering)


def sample_decode(
    situation: Situation, sequence: np.ndarray, machine: np.ndarray, *, num_samples: int, seed: int
) -> Plan:
    """Decode the scores as they are and in ``num_samples - 1`` ``variants``; keep the shortest."""
    tried = itertools.islice(variants(situation, sequence, machine, seed=seed), num_samples - 1)
    return min([decode(situation, sequence, machine), *tried], key=lambda found: found[2])


def as_decision(situation: Situation, when: np.ndarray, machine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Write a schedule as scores that decode to it, or to one that is as short.

    Args:
        situation: what is left.
        when: ``[operations]``, what the operations are ordered by: starts, or latest starts.
        machine: int64 ``[operations]``.

    Returns:
        ``sequence`` float32 ``[left]``, minus the normalised rank in 0 ... 1, and ``machine`` float32 ``[left, machines]``, 0 at the
        operation's machine and -inf elsewhere.
    """
    rows = situation.operations
    rank = np.empty(len(rows), np.float32)
    rank[np.argsort(when[rows], kind="stable")] = np.arange(len(rows), dtype=np.float32)
    machines = np.full((len(rows), situation.shop.time.shape[1]), -np.inf, np.float32)
    machines[np.arange(len(rows)), machine[rows]] = 0.0
    return -rank / max(len(rows), 1), machines


def latest_starts(situation: Situation, plan: Plan) -> np.ndarray:
    """Return how late each operation that is left could start without a longer plan, float64 ``[operations]``, 0 for the rest.

    Order of operations on machines and in jobs is kept. The difference to the start is the operation's slack.
    """
    start, machine, makespan = plan
    shop = situation.shop
    job_by, machine_by = np.full(shop.num_jobs, float(makespan)), np.full(shop.time.shape[1], float(makespan))
    out = np.zeros(len(shop.job))
    rows = situation.operations
    for i in rows[np.argsort(start[rows], kind="stable")][::-1]:
        out[i] = min(job_by[shop.job[i]], machine_by[machine[i]]) - shop.time[i, machine[i]]
        job_by[shop.job[i]] = machine_by[machine[i]] = out[i]
    return out


def _dispatched(rule: int, scores: np.ndarray, penalty: np.ndarray, wait: float, situation: Situation) -> Plan:
    shop = situation.shop
    start, machine, makespan = _dispatch(
        rule, scores, penalty, wait, shop.time, shop.first(), situation.next_operation, situation.ready, situation.free
    )
    return start, machine, int(makespan)
