"""The moments of an episode that training asks for, and what was taught there.

An anchor is a moment when somebody who is imitated decided: the times of ``label`` where an expert was asked, else of
``action``; for a machine with choices only, of ``label.<choice>`` or ``action.<choice>``. A log without any decision
(a field log) has one anchor per control period: it teaches how the world goes on, not what to do. Read next:
``windows``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from genba.spec.embodiment import Embodiment
from genba.spec.episode import ACTION, LABEL
from genba.spec.streams import Stream
from genba.spec.units import to_ns


def taught(streams: Mapping[str, Stream], choice: str = "") -> Stream | None:
    """Return what is imitated: the expert's label where it stands, else the action; None where there is neither."""
    suffix = f".{choice}" if choice else ""
    for kind in (LABEL, ACTION):
        stream = streams.get(kind + suffix)
        if stream is not None and len(stream):
            return stream
    return None


def anchor_times(embodiment: Embodiment, streams: Mapping[str, Stream], start_ns: int, end_ns: int) -> np.ndarray:
    """Return the anchors of an episode that lasts from ``start_ns`` to ``end_ns``: int64 nanoseconds, rising.

    Of ``streams`` only the decisions are looked at.
    """
    if embodiment.action.continuous:
        decisions = [taught(streams)]
    else:
        decisions = [taught(streams, choice.name) for choice in embodiment.action.choice]
    found = [stream.times_ns for stream in decisions if stream is not None]
    if found:
        return np.unique(np.concatenate(found))
    return np.arange(start_ns, end_ns + 1, to_ns(embodiment.control.period_s), dtype=np.int64)
