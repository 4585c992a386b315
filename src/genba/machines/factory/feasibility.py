"""Says whether a plan of the free orders may be put into force: the last look before lines are told anything.

It is told a situation and start times and believes neither the decoder nor the search: every rule of the plant is
checked from the situation's own numbers. The ``verifier`` judges finished episodes from their traces, in plain Python,
and shares nothing with this.
"""

from __future__ import annotations

import numpy as np

from genba.machines.factory.problem import Situation


def fault(situation: Situation, start_s: np.ndarray, line: np.ndarray) -> str:
    """Return the first rule that a plan breaks, with its order, or an empty string where it may be executed.

    Args:
        situation: what is open.
        start_s: int64 ``[free]``.
        line: int64 ``[free]``.
    """
    n, num_lines = situation.processing_time_s.shape
    start_s, line = np.asarray(start_s), np.asarray(line)
    if start_s.shape != (n,) or line.shape != (n,):
        return f"got {start_s.shape} starts and {line.shape} lines, expected {n} of each"
    name = situation.orders
    outside = (line < 0) | (line >= num_lines)
    if outside.any():
        return f"order {name[outside.argmax()]}: line {line[outside.argmax()]}, expected 0 to {num_lines - 1}"
    rows = np.arange(n)
    length_s = situation.processing_time_s[rows, line]
    if (length_s <= 0).any():
        wrong = (length_s <= 0).argmax()
        return f"order {name[wrong]}: line {line[wrong]} cannot make it"
    # Each line, in order of start: never before it is free and set up for the order's family.
    order = np.lexsort((start_s, line))
    first = np.ones(n, np.bool_)
    first[1:] = line[order][1:] != line[order][:-1]
    end_s, family = (start_s + length_s)[order], situation.family[order]
    free_s, set_up = situation.line_free_s[line[order]], situation.line_family[line[order]]
    free_s[~first], set_up[~first] = end_s[:-1][~first[1:]], family[:-1][~first[1:]]
    early = start_s[order] < free_s + situation.problem.setup_s[set_up, family]
    if early.any():
        wrong = order[early.argmax()]
        return f"order {name[wrong]}: starts at {start_s[wrong]} s, before line {line[wrong]} is free and set up"
    return _material_fault(situation, start_s)


def _material_fault(situation: Situation, start_s: np.ndarray) -> str:
    """Consumption in order of time never exceeds what has come and is not claimed by committed orders."""
    order = np.argsort(start_s, kind="stable")
    need = situation.problem.requirement[situation.orders][order]
    used = situation.claimed + np.cumsum(need, axis=0)
    for k in range(need.shape[1]):
        arrived = np.searchsorted(situation.supply_time_s[k], start_s[order], side="right") - 1
        short = (need[:, k] > 0) & (used[:, k] > situation.supply_total[k][np.maximum(arrived, 0)])
        if short.any():
            wrong = order[short.argmax()]
            return f"order {situation.orders[wrong]}: component {k} is not there when it starts at {start_s[wrong]} s"
    return ""
