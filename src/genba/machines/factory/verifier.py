"""Judges a finished episode from its trace in plain Python: every constraint, then the objective.

It shares no code with the simulator, the decoder or the search. A schedule that breaks a rule of the plant is refused
with what it breaks; it is not scored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from genba.errors import VerificationError

#: Orders that start within this time of the supplier's call may not be moved any more.
COMMITTED_WITHIN_S = 1800

#: At most this share of doing nothing's weighted tardiness is a success.
SUCCESS_SHARE = 1 / 3


def verify(trace: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Check the executed schedule and compute its outcome.

    Returns:
        ``success`` (1 where two thirds of what doing nothing costs are avoided),
        ``weighted_tardiness_s``, ``share_of_doing_nothing``, ``late_orders`` and ``makespan_s``.

    Raises:
        VerificationError: naming the first rule that is broken, with its orders.
    """
    facts = {name: np.asarray(value).tolist() for name, value in trace.items()}
    check(facts, facts["start_s"], facts["line"])
    cost, late = _weighted_tardiness_s(facts, facts["start_s"], facts["line"])
    if facts.get("scenario", "shortage") == "shortage":
        idle_cost, _ = _weighted_tardiness_s(facts, _pushed_back(facts), facts["nominal_line"])
    else:
        # What doing nothing comes to over several events is taken from the simulator; it breaks no rule either.
        idle = facts | {"holds": facts["unchanged_holds"]}
        check(idle, facts["unchanged_start_s"], facts["unchanged_line"], frozen=False)
        idle_cost, _ = _weighted_tardiness_s(idle, facts["unchanged_start_s"], facts["unchanged_line"])
    share = cost / idle_cost if idle_cost else float(cost > 0)
    ends = [_end(facts, i, facts["start_s"], facts["line"]) for i in range(len(facts["family"]))]
    return {
        "success": float(share <= SUCCESS_SHARE),
        "weighted_tardiness_s": float(cost),
        "share_of_doing_nothing": float(share),
        "late_orders": float(late),
        "makespan_s": float(max(ends)),
    }


def check(facts: Mapping[str, Any], start_s: list[int], line: list[int], *, frozen: bool = True) -> None:
    """Refuse a schedule that breaks a constraint.

    Args:
        facts: the trace as lists.
        start_s: of every order.
        line: of every order.
        frozen: whether it must agree with what was in force at each event; not for one that never was.

    Raises:
        VerificationError: naming the constraint.
    """
    orders, event_s = range(len(facts["family"])), facts["event_time_s"]
    times_s = facts.get("history_time_s", [event_s])
    starts_s = facts.get("history_start_s", [facts["nominal_start_s"]])
    lines = facts.get("history_line", [facts["nominal_line"]])
    known_s = facts.get("known_from_s", [0] * len(orders))
    # Since when each order was free to be moved for the last time; None: it never was.
    free_since_s: list[int | None] = [None] * len(orders)
    for i in orders:
        if not 0 <= line[i] < len(facts["line_family"]):
            raise VerificationError(f"order {i}: got line {line[i]}, expected 0 to {len(facts['line_family']) - 1}")
        if facts["processing_time_s"][i][line[i]] <= 0:
            raise VerificationError(f"order {i}: line {line[i]} is not eligible for it")
        if start_s[i] < known_s[i]:
            raise VerificationError(f"order {i}: starts at {start_s[i]} s, before it came in at {known_s[i]} s")
        for time_s, then_s, there in zip(times_s, starts_s, lines):
            committed = 0 <= then_s[i] < time_s + COMMITTED_WITHIN_S
            if committed and then_s[i] >= time_s:
                committed = not any(m == there[i] and f <= time_s < u for m, f, u in facts.get("outages", []))
            if not committed:
                free_since_s[i] = time_s
            elif frozen and (start_s[i] != then_s[i] or line[i] != there[i]):
                raise VerificationError(f"order {i}: frozen at the event, but moved")
    for m in range(len(facts["line_family"])):
        free_s, family = 0, facts["line_family"][m]
        for i in sorted((i for i in orders if line[i] == m), key=lambda i: start_s[i]):
            since_s, moved_s = free_s, free_since_s[i]
            if frozen and moved_s is not None:  # nobody re-plans the past
                since_s = max(free_s, moved_s)
            for broken, from_s, until_s in facts.get("outages", []):
                if broken == m and start_s[i] >= from_s:
                    since_s = max(since_s, until_s)
            if start_s[i] < since_s:
                raise VerificationError(f"order {i}: starts at {start_s[i]} s, overlaps on line {m} until {since_s} s")
            setup_s = facts["setup_s"][family][facts["family"][i]]
            if start_s[i] < since_s + setup_s:
                raise VerificationError(f"order {i}: starts at {start_s[i]} s without its set-up of {setup_s} s")
            free_s, family = _end(facts, i, start_s, line), facts["family"][i]
    for k in range(len(facts["stock"])):
        _check_material(facts, k, start_s)


def _check_material(facts: Mapping[str, Any], k: int, start_s: list[int]) -> None:
    """Walk through arrivals and consumption in time order; at the same second arrivals come first."""
    come = facts.get("late_quantity", facts["delivery_quantity"])
    moves = [(t, 0, q) for t, q in zip(facts["late_time_s"][k], come[k])]
    moves += [(start_s[i], 1, -needs[k]) for i, needs in enumerate(facts["requirement"]) if needs[k]]
    for component, from_s, until_s, units in facts.get("holds", []):
        if component == k:
            moves += [(from_s, 1, -units), (until_s, 0, units)]
    units = facts["stock"][k]
    for time_s, _, quantity in sorted(moves):
        units += quantity
        if units < 0:
            raise VerificationError(f"component {k}: {-units} units missing at {time_s} s")


def _end(facts: Mapping[str, Any], i: int, start_s: list[int], line: list[int]) -> int:
    end_s = start_s[i] + facts["processing_time_s"][i][line[i]]
    for broken, from_s, until_s in sorted(facts.get("outages", []), key=lambda outage: outage[1]):
        if broken == line[i] and start_s[i] < from_s < end_s:
            end_s += until_s - from_s
    return end_s


def _weighted_tardiness_s(facts: Mapping[str, Any], start_s: list[int], line: list[int]) -> tuple[int, int]:
    late_s = [max(0, _end(facts, i, start_s, line) - due) for i, due in enumerate(facts["due_s"])]
    return sum(w * t for w, t in zip(facts["weight"], late_s)), sum(t > 0 for t in late_s)


def _pushed_back(facts: Mapping[str, Any]) -> list[int]:
    """What happens if nobody decides: the nominal order on every line, each order as soon as its material is there."""
    event_s, nominal_s, line = facts["event_time_s"], facts["nominal_start_s"], facts["nominal_line"]
    start_s = list(nominal_s)
    free_s = [event_s] * len(facts["line_family"])
    family, used = list(facts["line_family"]), [0] * len(facts["stock"])
    arrivals = [
        sorted([(0, facts["stock"][k]), *zip(facts["late_time_s"][k], facts["delivery_quantity"][k])])
        for k in range(len(used))
    ]
    for i in sorted(range(len(nominal_s)), key=lambda i: nominal_s[i]):
        m = line[i]
        ready_s = 0
        for k, need in enumerate(facts["requirement"][i]):
            used[k] += need
            total, pending = 0, iter(arrivals[k])
            while need and total < used[k]:
                time_s, quantity = next(pending)
                total += quantity
                ready_s = max(ready_s, time_s)
        if nominal_s[i] >= event_s + COMMITTED_WITHIN_S:
            start_s[i] = max(free_s[m] + facts["setup_s"][family[m]][facts["family"][i]], ready_s)
        free_s[m] = max(event_s, _end(facts, i, start_s, line))
        family[m] = facts["family"][i]
    return start_s
