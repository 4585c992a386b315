"""What came of an episode, from its trace: the package's own ``success`` at each control step decides, and nothing else.

Meta-World is an outside benchmark: what counts as success is its to say, so this verifier judges nothing anew. Success is the
``info["success"]`` of any control step, as in ``metaworld.evaluation``. The trace's arrays, one entry per control step:

* ``success`` bool, ``reward`` (of version 2, at most 10), ``action`` ``[steps, 4]`` as executed;
* ``task`` (index into ``MT50``) and ``seed``: scalars, from which the episode can be played again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from genba.errors import VerificationError
from genba.machines.metaworld.task_list import GROUPS, MT50, group
from genba.spec.task import Metric

#: The package's control period, in seconds.
PERIOD_S = 0.0125

METRICS = (
    Metric(name="success", unit="1", meaning="Meta-World itself said success at some control step.", better="higher"),
    *(
        Metric(name=f"success_{level}", unit="1", meaning=f"Success in the tasks held to be {level.replace('_', ' ')}.", better="higher")
        for level in GROUPS
    ),
    Metric(name="reached_s", unit="s", meaning="Time until the first success, of the episodes that had one.", better="lower"),
    Metric(name="reward", unit="1", meaning="Mean of Meta-World's reward over the episode, 0 to 10.", better="higher"),
)  # fmt: skip


def verify(trace: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return every metric of ``METRICS``; a group that the task is not of is NaN.

    Raises:
        VerificationError: an array is missing, or their lengths differ.
    """
    names = ("success", "reward", "action", "task")
    if missing := [name for name in names if name not in trace]:
        raise VerificationError(f"metaworld: trace: {missing[0]!r} is missing, expected {', '.join(names)}")
    success = np.asarray(trace["success"], bool)
    if not len(success) == len(trace["reward"]) == len(trace["action"]):
        raise VerificationError(
            f"metaworld: trace: got {len(success)} successes, {len(trace['reward'])} rewards and {len(trace['action'])} "
            f"actions, expected as many of each"
        )
    succeeded = bool(success.any())
    level = group(MT50[int(trace["task"])])
    return {
        "success": float(succeeded),
        **{f"success_{name}": float(succeeded) if name == level else math.nan for name in GROUPS},
        "reached_s": (int(success.argmax()) + 1) * PERIOD_S if succeeded else math.nan,
        "reward": float(np.mean(trace["reward"])) if len(success) else math.nan,
    }
