"""What came of an episode, from its trace: MetaDrive's own words at the last control step decide, and nothing else.

MetaDrive is an outside benchmark: what counts as arriving, crashing and leaving the road is its to say, so this verifier judges nothing
anew. As in its authors' test, an episode that arrives is a success also where the same control step says something else. The trace's
arrays, one entry per control step:

* ``arrive_dest``, ``out_of_road``, ``crash_vehicle``, ``crash_object``, ``crash_sidewalk`` bool: the package's ``info``;
* ``reward``, ``cost``, ``completion`` (of the route, 0 to 1), ``action`` ``[steps, 2]`` as executed;
* ``ego`` ``[steps + 1, 4]`` (x, y, heading, speed) and ``others`` ``[rows, 5]`` (x, y, heading, length, width) with ``other_splits``,
  ``lanes`` ``[points, 2]`` with ``lane_splits``: for pictures;
* ``scene``: a scalar, from which the episode can be played again.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from genba.errors import VerificationError
from genba.spec.task import Metric

#: The package's control period, in seconds.
PERIOD_S = 0.1
#: The endings that a crash is made of, as the package's ``crash``.
CRASHES = ("crash_vehicle", "crash_object", "crash_sidewalk")

METRICS = (
    Metric(name="success", unit="1", meaning="MetaDrive said that the car arrived.", better="higher"),
    Metric(name="crash", unit="1", meaning="MetaDrive said that the car hit a vehicle, an object or a sidewalk.", better="lower"),
    Metric(name="out_of_road", unit="1", meaning="MetaDrive said that the car left the road or touched a continuous line.", better="lower"),
    Metric(name="timed_out", unit="1", meaning="Neither, within 1000 control steps.", better="lower"),
    Metric(name="completion", unit="1", meaning="Share of the route that was driven, as MetaDrive has it.", better="higher"),
    Metric(name="reward", unit="1", meaning="Sum of MetaDrive's reward.", better="higher"),
    Metric(name="speed", unit="m/s", meaning="Mean speed."),
)  # fmt: skip


def verify(trace: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return every metric of ``METRICS``.

    Raises:
        VerificationError: an array is missing, there is no control step, or their lengths differ.
    """
    names = ("arrive_dest", "out_of_road", *CRASHES, "reward", "completion")
    if missing := [name for name in (*names, "ego") if name not in trace]:
        raise VerificationError(f"metadrive: trace: {missing[0]!r} is missing, expected {', '.join((*names, 'ego'))}")
    lengths = {name: len(trace[name]) for name in names}
    if len(set(lengths.values())) != 1 or not lengths["reward"]:
        raise VerificationError(f"metadrive: trace: got {lengths}, expected as many of each and at least one")
    arrived, out = bool(trace["arrive_dest"][-1]), bool(trace["out_of_road"][-1])
    crashed = any(bool(trace[name][-1]) for name in CRASHES)
    return {
        "success": float(arrived),
        "crash": float(crashed),
        "out_of_road": float(out),
        "timed_out": float(not (arrived or crashed or out)),
        "completion": float(trace["completion"][-1]),
        "reward": float(np.sum(trace["reward"])),
        "speed": float(np.mean(trace["ego"][:, 3])),
    }
