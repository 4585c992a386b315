"""What the planning system shows a policy of a job shop: the channels of ``embodiment.toml`` computed from a situation.

Two things are shown beside the facts: the planning system's own proposal, the best of four dispatching rules, and where the four
put each operation on average; a policy may follow or overrule them. Times are seconds of an instance whose mean processing time is an hour.
"""

from __future__ import annotations

import numpy as np

from genba.errors import SpecError
from genba.machines.factory.fjsp.decoder import RULES, Plan, latest_starts, run_rule, work_left
from genba.machines.factory.fjsp.instance import JobShop, Situation, mean_times
from genba.spec.embodiment import Embodiment, load_embodiment
from genba.spec.observation import Observation
from genba.spec.streams import ragged
from genba.spec.units import to_ns

EMBODIMENT_ID = "factory/job-shop@1"

#: Columns of the relations beyond the instance's own machines and jobs are NaN.
MAX_MACHINES, MAX_JOBS = 64, 128

#: What an instance's mean processing time counts as, in seconds.
MEAN_TIME_S = 3600.0


def second(shop: JobShop) -> float:
    """Return what a second is in the unit of the instance's times."""
    return shop.mean_time() / MEAN_TIME_S


def observe_situation(situation: Situation, embodiment: Embodiment | None = None) -> Observation:
    """Return a situation as what a policy sees of it, for whoever has no environment.

    Raises:
        SpecError: more operations, machines or jobs than the embodiment has room for.
    """
    embodiment = embodiment or load_embodiment(EMBODIMENT_ID)
    open_jobs = int((situation.next_operation < situation.shop.first()[1:]).sum())
    rows = {"operations": len(situation.operations), "machines": len(situation.free), "jobs": open_jobs}
    for channel in embodiment.entities:
        if rows[channel.name] > channel.max_rows:
            raise SpecError(
                f"{situation.shop.name}: got {rows[channel.name]} {channel.name}, {embodiment.id} has room for "
                f"{channel.max_rows}"
            )
    time_ns = to_ns(situation.now / second(situation.shop))
    samples = {name: ragged([time_ns], [values]) for name, values in channels(situation).items()}
    return Observation(embodiment.id, time_ns, samples)


def channels(situation: Situation) -> dict[str, np.ndarray]:
    """Return every entity channel's and relation's rows, float32, by name."""
    shop, rows = situation.shop, situation.operations
    unit, now = 1.0 / second(shop), situation.now
    plans = [run_rule(situation, rule) for rule in RULES]
    proposed = min(plans, key=lambda plan: plan[2])
    able = shop.time > 0
    shortest = np.where(able, shop.time, np.iinfo(np.int64).max).min(1).astype(np.float64)
    mean = mean_times(shop.time)
    first, job = shop.first(), shop.job
    # Sums of shortest times along the chains: before an operation among those left, and from it to the job's end.
    until = np.cumsum(shortest) - shortest
    next_operation = np.minimum(situation.next_operation, len(job) - 1)
    ready = (situation.ready - now)[job] + until - until[next_operation][job]
    tail = (until + shortest)[first[job + 1] - 1] - until
    left = np.zeros(len(job), np.bool_)
    left[rows] = True
    expected = np.where(able & left[:, None], shop.time / np.maximum(able.sum(1), 1)[:, None], 0.0)
    load = expected.sum(0) + situation.free - now
    bound = max(
        float((ready + tail)[rows].max(initial=0.0)), (shortest[rows].sum() + (situation.free - now).sum()) / len(load)
    )
    here_load = np.where(able, load, np.nan)
    slack = latest_starts(situation, proposed) - proposed[0]
    ranks = np.mean([_share(plan[0][rows]) for plan in plans], axis=0)
    place = np.arange(len(job)) - next_operation[job]
    operations = [
        shortest * unit,
        mean * unit,
        able.sum(1),
        ready * unit,
        tail * unit,
        work_left(shop) * unit,
        np.maximum(bound - ready - tail, 0) * unit,
        place,
        first[job + 1] - 1 - np.arange(len(job)),
        np.nanmin(here_load, 1) * unit,
        np.nanmax(here_load, 1) * unit,
        (proposed[0] - now) * unit,
        slack * unit,
    ]
    table = np.stack([np.asarray(column, np.float64)[rows] for column in operations], 1)
    return {
        "operations": np.column_stack([table, _share(proposed[0][rows]), ranks]).astype(np.float32),
        "machines": _machines(situation, proposed, load, unit),
        "jobs": _jobs(situation, proposed, ready, tail, bound, unit),
        **_relations(situation, proposed, shortest, unit),
    }


def _machines(situation: Situation, proposed: Plan, load: np.ndarray, unit: float) -> np.ndarray:
    shop, rows, now = situation.shop, situation.operations, situation.now
    able = shop.time[rows] > 0
    own = np.where(able.sum(1) == 1, shop.time[rows].sum(1), 0)
    end = situation.free.copy()
    np.maximum.at(end, proposed[1][rows], _end(situation, proposed)[rows])
    columns = [situation.free - now, load, (able * own[:, None]).sum(0), able.sum(0), end - now]
    scale = np.array([unit, unit, unit, 1.0, unit])
    return (np.stack(columns, 1) * scale).astype(np.float32)


def _jobs(
    situation: Situation, proposed: Plan, ready: np.ndarray, tail: np.ndarray, bound: float, unit: float
) -> np.ndarray:
    shop, now = situation.shop, situation.now
    first = shop.first()
    open_jobs = np.flatnonzero(situation.next_operation < first[1:])
    head, last = situation.next_operation[open_jobs], first[open_jobs + 1] - 1
    columns = [
        situation.ready[open_jobs] - now,
        tail[head],
        work_left(shop)[head],
        last + 1 - head,
        np.maximum(bound - ready[head] - tail[head], 0),
        _end(situation, proposed)[last] - now,
    ]
    scale = np.array([unit, unit, unit, 1.0, unit, unit])
    return (np.stack(columns, 1) * scale).astype(np.float32)


def _relations(situation: Situation, proposed: Plan, shortest: np.ndarray, unit: float) -> dict[str, np.ndarray]:
    shop, rows = situation.shop, situation.operations
    num_machines = shop.time.shape[1]
    times = np.full((len(rows), MAX_MACHINES), np.nan, np.float32)
    times[:, :num_machines] = np.where(shop.time[rows] > 0, shop.time[rows] * unit, np.nan)
    proposal = np.full_like(times, np.nan)
    proposal[np.arange(len(rows)), proposed[1][rows]] = (proposed[0][rows] - situation.now) * unit
    # Rows of the table of jobs: those with operations left, in order.
    is_open = situation.next_operation < shop.first()[1:]
    job_row = np.cumsum(is_open) - 1
    length = np.diff(shop.first())
    place = (np.arange(len(shop.job)) - shop.first()[shop.job]) / np.maximum(length[shop.job] - 1, 1)
    part_of = np.full((len(rows), MAX_JOBS), np.nan, np.float32)
    part_of[np.arange(len(rows)), job_row[shop.job[rows]]] = place[rows]
    return {
        "processing_time": times,
        "extra_time": (times - (shortest[rows] * unit)[:, None]).astype(np.float32),
        "proposal": proposal,
        "part_of": part_of,
    }


def _end(situation: Situation, plan: Plan) -> np.ndarray:
    start, machine, _ = plan
    return start + situation.shop.time[np.arange(len(start)), machine]


def _share(start: np.ndarray) -> np.ndarray:
    """Place in the order of starts, 0 (first) to 1."""
    rank = np.empty(len(start))
    rank[np.argsort(start, kind="stable")] = np.arange(len(start))
    return rank / max(len(start) - 1, 1)
