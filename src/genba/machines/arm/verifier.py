"""What came of a grip, recomputed from the trace alone; it shares no code and no bookkeeping with the simulator.

Success: lifted and shaken to the end, held at the end, never longer than 10 ms above the crush load, slid less than
15 mm through the pads. The trace's arrays:

* ``physics.*``, 500 Hz: ``time_ns``; ``pad_force_n`` ``[samples, 2]`` (true normal force of left and right pad);
  ``object_height_m``, ``hand_height_m`` in the arm's base frame; ``mass_kg`` and ``tilt_rad`` of the object;
* ``control.*``, 50 Hz: ``time_ns``, ``grip_command_n``, ``hand_speed_mps``;
* ``grasp_time_ns``, ``friction``, ``shake_mps2``, ``crush_load_n``, ``heaviest_kg``, ``width_m``, ``offset_m`` (of the
  centre of mass), ``is_cylinder``: scalars;
* ``picture.*``, 25 Hz: ``time_ns``, ``qpos``, for ``picture`` only.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from genba.errors import VerificationError
from genba.spec.task import Metric

#: The limits of success: seconds above the crush load, metres slid, metres lifted, seconds kept from that height on
#: (shake and rest last 2.0 s, and the last 10 mm of the lift 0.1 s at the least).
CRUSH_TIME_S = 0.010
SLIP_LIMIT_M = 0.015
LIFT_LIMIT_M = 0.140
KEEP_TIME_S = 2.06
#: The object has left the pads when it slid this far, or when a pad feels nothing at the end.
LEFT_PADS_M = 0.040
FEELS_NOTHING_N = 0.02
#: Over how long the last moment is judged, in seconds.
END_S = 0.1
#: A slip begins when the object moves faster than this through the pads, m/s, after it stayed slower for so long, s, and
#: has left the table by so much, m; speeds are 10 ms means (what is held firmly swings at up to 6 mm/s). It is answered when the pads press so much harder, as a share.
#: One that is not answered within ``UNANSWERED_S`` counts as that.
SLIP_MPS, STILL_S, OFF_TABLE_M, ANSWER, UNANSWERED_S = 0.010, 0.060, 0.002, 0.02, 0.5
#: Standard gravity, m/s^2; and from a pad's centre to its corners (18 x 22 mm), m.
G_MPS2, PAD_REACH_M = 9.80665, 0.0142

METRICS = (
    Metric(name="success", unit="1", meaning="Lifted, shaken, held, neither crushed nor slid too far.", better="higher"),
    Metric(name="dropped", unit="1", meaning="The object left the pads.", better="lower"),
    Metric(name="crushed", unit="1", meaning="A pad pressed above the crush load for longer than 10 ms.", better="lower"),
    Metric(name="over_slip", unit="1", meaning="Held, but slid 15 mm or more through the pads.", better="lower"),
    Metric(name="not_lifted", unit="1", meaning="Neither dropped nor crushed, but not lifted in time.", better="lower"),
    Metric(name="slip_m", unit="m", meaning="Greatest distance slid through the pads.", better="lower"),
    Metric(name="hold_force_ratio", unit="1", meaning="Pad force in the last 0.5 s over the required force.", better="lower"),
    Metric(name="peak_force_ratio", unit="1", meaning="Greatest pad force (10 ms mean) over the required force.", better="lower"),
    Metric(name="squeeze_mean_n", unit="N", meaning="Mean squeeze, twice the lesser pad force.", better="lower"),
    Metric(name="squeeze_p95_n", unit="N", meaning="Squeeze that is exceeded 5 % of the time.", better="lower"),
    Metric(name="squeeze_max_n", unit="N", meaning="Greatest squeeze (10 ms mean).", better="lower"),
    Metric(name="reaction_s", unit="s", meaning="Median time from a slip's onset to 2 % more force; 0.5 where none came.", better="lower"),
    Metric(name="tilt_rad", unit="rad", meaning="Greatest turn of the object out of the upright.", better="lower"),
)  # fmt: skip


def verify(trace: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return every metric of ``METRICS`` from the truth of one episode.

    Source: required force m (g + a) / (2 mu), Coulomb, and where the mass hangs beside the pads its resultant with what
        keeps it from turning (Howe and Cutkosky 1996, IJRR 15(6)); squeeze 2 min(left, right) as in Tabero (arXiv
        2605.27886).

    Raises:
        VerificationError: the trace lacks an array, jumps in time, moves the object as no body moves, or ends early.
    """
    time_s, force, object_m, hand_m = _checked(trace)
    start = int(np.searchsorted(trace["physics.time_ns"], int(trace["grasp_time_ns"])))
    period_s = float(time_s[1] - time_s[0])
    offset_m = object_m - hand_m
    slip_m = float(np.abs(offset_m[start:] - offset_m[max(start - 1, 0)]).max())
    crushed = _longest_run(force.max(axis=1) > float(trace["crush_load_n"])) * period_s > CRUSH_TIME_S + 1e-9
    end = time_s > time_s[-1] - END_S
    left_pads = slip_m > LEFT_PADS_M or bool((force[end].mean(axis=0) < FEELS_NOTHING_N).any())
    risen_m = hand_m - hand_m[start]
    up = risen_m >= LIFT_LIMIT_M
    kept = bool(up.any()) and float(time_s[-1] - time_s[int(np.argmax(up))]) >= KEEP_TIME_S
    dropped = left_pads and not crushed
    over_slip = kept and not crushed and not left_pads and slip_m >= SLIP_LIMIT_M
    not_lifted = not kept and not crushed and not left_pads
    required_n = float(trace["heaviest_kg"]) * (G_MPS2 + float(trace["shake_mps2"])) / (2.0 * float(trace["friction"]))
    required_n *= float(np.hypot(1.0, float(trace["offset_m"]) / PAD_REACH_M))
    gripped = force[start:]
    window = max(1, round(CRUSH_TIME_S / period_s))
    squeeze = 2.0 * gripped.min(axis=1)
    return {
        "success": float(kept and not (crushed or left_pads or over_slip)),
        "dropped": float(dropped),
        "crushed": float(crushed),
        "over_slip": float(over_slip),
        "not_lifted": float(not_lifted),
        "slip_m": slip_m,
        "hold_force_ratio": float(gripped[time_s[start:] > time_s[-1] - 0.5].mean() / required_n),
        "peak_force_ratio": float(_smooth(gripped.mean(axis=1), window).max() / required_n),
        "squeeze_mean_n": float(squeeze.mean()),
        "squeeze_p95_n": float(np.quantile(squeeze, 0.95)),
        "squeeze_max_n": float(_smooth(squeeze, window).max()),
        "reaction_s": _reaction_s(gripped.mean(axis=1), object_m[start:], hand_m[start:], period_s),
        "tilt_rad": float(trace["physics.tilt_rad"][start:].max()),
    }


def _reaction_s(force_n: np.ndarray, object_m: np.ndarray, hand_m: np.ndarray, period_s: float) -> float:
    """Return the median time from the onset of a slip off the table to a rising force; NaN where nothing slipped."""
    window = max(1, round(0.010 / period_s))
    slipped_m = object_m - hand_m
    speed = np.abs(slipped_m[window:] - slipped_m[:-window]) / (window * period_s)
    fast = (speed > SLIP_MPS) & (object_m[window:] - object_m[0] > OFF_TABLE_M)
    still, longest = round(STILL_S / period_s), round(UNANSWERED_S / period_s)
    times_s = []
    for at in np.flatnonzero(fast):
        if at >= still and not (speed[at - still : at] > SLIP_MPS).any():
            after = force_n[at + window : at + window + longest]
            risen = np.flatnonzero(after > (1.0 + ANSWER) * after[:1])
            times_s.append(float(risen[0]) * period_s if len(risen) else UNANSWERED_S)
    return float(np.median(times_s)) if times_s else float("nan")


def _checked(trace: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    needed = {
        f"physics.{name}"
        for name in ("time_ns", "pad_force_n", "object_height_m", "hand_height_m", "mass_kg", "tilt_rad")
    }
    needed |= {"grasp_time_ns", "friction", "shake_mps2", "crush_load_n", "heaviest_kg", "offset_m"}
    missing = sorted(needed - set(trace))
    if missing:
        raise VerificationError(f"arm/grip: trace: got no {', '.join(missing)}, expected every array of the trace")
    time_ns, force = trace["physics.time_ns"], trace["physics.pad_force_n"]
    object_m, hand_m = trace["physics.object_height_m"], trace["physics.hand_height_m"]
    if not (len(time_ns) == len(force) == len(object_m) == len(hand_m) == len(trace["physics.mass_kg"])):
        raise VerificationError("arm/grip: trace: physics arrays differ in length, expected one row per physics step")
    steps_ns = np.diff(time_ns)
    if len(time_ns) < 2 or (steps_ns != steps_ns[0]).any() or steps_ns[0] <= 0:
        raise VerificationError("arm/grip: trace: physics.time_ns: got a clock with gaps, expected an even one")
    # Nothing here moves faster than a free fall over the height of the scene, sqrt(2 g 0.5 m) = 3.1 m/s.
    fastest_mps = max(float(np.abs(np.diff(x)).max()) for x in (object_m, hand_m)) / (float(steps_ns[0]) * 1e-9)
    if fastest_mps > 3.2:
        raise VerificationError(f"arm/grip: trace: got a height moving at {fastest_mps:.1f} m/s, expected at most 3.2")
    if (force < 0).any() or not np.isfinite(force).all():
        raise VerificationError("arm/grip: trace: physics.pad_force_n: got a negative or missing force")
    return time_ns * 1e-9, force, object_m, hand_m


def _longest_run(over: np.ndarray) -> int:
    """Return the greatest number of consecutive True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], over.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Return running means over ``window`` samples."""
    if len(values) <= window:
        return values.mean(keepdims=True)
    sums = np.cumsum(np.concatenate([[0.0], values]))
    return (sums[window:] - sums[:-window]) / window
