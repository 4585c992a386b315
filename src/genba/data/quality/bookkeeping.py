"""Checks of what stands beside the samples: decisions, length, calibration. Read next: ``peers``."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from genba.data.quality.episode import EpisodeMeasure
from genba.data.quality.findings import Finding
from genba.data.quality.thresholds import Thresholds
from genba.spec.embodiment import CameraChannel, PointsChannel
from genba.spec.episode import ACTION, LABEL
from genba.spec.units import SECOND_NS, to_ns

#: A number in a matrix that is no part of a rotation, however wrong, but a focal length in pixels.
PROJECTION = 10.0

#: A rotation's rows may be this far from orthonormal: rounded to three digits.
ROTATION_TOLERANCE = 5e-3


def check_decisions(measure: EpisodeMeasure, thresholds: Thresholds) -> Iterator[Finding]:
    """Find actions and labels that do not fit the control period or one another."""
    advice = "record the decisions with the control steps they belong to; leave out those that belong to none"
    found = measure.decisions
    period_ns = to_ns(measure.embodiment.control.period_s)
    times_ns = found.get(ACTION, np.zeros(0, np.int64))
    if len(times_ns) > 1:
        intervals = np.diff(times_ns)
        usual = float(np.median(intervals)) / period_ns
        if not 0.5 < usual < thresholds.decision_periods:
            message = f"got an action every {usual * period_ns / SECOND_NS:g} s, expected {period_ns / SECOND_NS:g} s"
            yield _finding(measure, ACTION, 1.0, message, advice)
        else:
            at = int(intervals.argmax())
            if intervals[at] > thresholds.decision_periods * period_ns:
                start_ns, end_ns = int(times_ns[at]), int(times_ns[at + 1])
                message = f"got no action for {(end_ns - start_ns) / SECOND_NS:g} s, expected one each control period"
                share = (end_ns - start_ns) / max(measure.span_ns, 1)
                yield Finding(
                    kind="decisions", stream=ACTION, start_ns=start_ns, end_ns=end_ns, share=min(share, 1.0),
                    message=message, advice=advice,
                )  # fmt: skip
        acted_ns = int(times_ns[-1] - times_ns[0]) + period_ns
        if acted_ns < 0.5 * measure.span_ns:
            message = f"got actions for {acted_ns / SECOND_NS:g} s of {measure.span_ns / SECOND_NS:g} s"
            yield _finding(measure, ACTION, 1 - acted_ns / max(measure.span_ns, 1), message, advice)
    for kind in (ACTION, LABEL):
        choices = {n: len(t) for n, t in found.items() if n == kind or n.startswith(f"{kind}.")}
        for name, count in choices.items():
            most = max(choices.values())
            if count < most:
                message = f"got {count} decisions, expected {most} as in the others of the same moments"
                yield _finding(measure, name, 1 - count / most, message, advice)
    for name, label_ns in found.items():
        action_ns = found.get(name.replace(LABEL, ACTION, 1))
        if name.split(".")[0] == LABEL and action_ns is not None:
            alone = int((~np.isin(label_ns, action_ns)).sum())
            if alone:
                message = f"got {alone} of {len(label_ns)} labels at moments without an action"
                yield _finding(measure, name, alone / len(label_ns), message, advice)


def check_length(measure: EpisodeMeasure, thresholds: Thresholds) -> Iterator[Finding]:
    """Find episodes that end before a model could see what comes next."""
    embodiment = measure.embodiment
    control, actions = embodiment.control, measure.decisions.get(ACTION)
    if not embodiment.action.continuous:
        return
    least_s = control.period_s * max(control.chunk_length, control.horizon)
    span_s = (len(actions) * control.period_s) if actions is not None else measure.span_ns / SECOND_NS
    if span_s < least_s:
        what = f"{len(actions)} actions" if actions is not None else f"{span_s:.3f} s"
        message = f"got {what}, expected at least {least_s:g} s, which one chunk and one look ahead take"
        yield _finding(measure, "", 1.0, message, "leave it out", kind="too short")


def check_calibration(measure: EpisodeMeasure, thresholds: Thresholds) -> Iterator[Finding]:
    """Find calibrations that cannot be, and sensors without any where others of the machine have theirs."""
    given = measure.metadata.calibration
    for name, numbers in given.items():
        problem = _impossible(name, numbers, measure.embodiment.frames)
        if problem:
            stream = next((s for s in measure.streams if s in name), "")
            message = f"{name}: {problem}"
            yield _finding(measure, stream, 1.0, message, "calibrate the sensor again", kind="calibration")
    for sensors in (measure.embodiment.camera, measure.embodiment.points):
        known = {c.name: _is_calibrated(c, given) for c in sensors if c.name in measure.streams}
        for name in [name for name, is_known in known.items() if not is_known and any(known.values())]:
            message = f"got no calibration of {name}, expected one as for {', '.join(n for n, k in known.items() if k)}"
            yield _finding(measure, name, 1.0, message, "add its extrinsics when importing", kind="calibration")


def _is_calibrated(channel: CameraChannel | PointsChannel, given: object) -> bool:
    words = {channel.name} | ({channel.frame} - {"none"})
    return any(word in key for word in words for key in given)  # type: ignore[attr-defined]


def _impossible(name: str, numbers: tuple[float, ...], frames: tuple[str, ...]) -> str:
    if not all(math.isfinite(number) for number in numbers):
        return "got numbers that are not finite"
    parent, found, child = name.partition("_from_")
    if found and child in frames and parent in (*frames, "world", "base") and len(numbers) in (12, 16):
        rotation = np.array(numbers[:12]).reshape(3, 4)[:, :3]
        off = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
        # What leads to an image is a projection, whose rows have a camera's focal lengths in them.
        if off > ROTATION_TOLERANCE and np.abs(rotation).max() <= PROJECTION:
            return f"got a rotation that is {off:.3g} from orthonormal, expected at most {ROTATION_TOLERANCE:g}"
    if "intrinsics" in name and len(numbers) in (4, 9) and min(numbers[0], numbers[1 if len(numbers) == 4 else 4]) <= 0:
        return (
            f"got a focal length of {min(numbers[0], numbers[1 if len(numbers) == 4 else 4]):g}, expected more than 0"
        )
    return ""


def _finding(
    measure: EpisodeMeasure, stream: str, share: float, message: str, advice: str, *, kind: str = "decisions"
) -> Finding:
    return Finding(
        kind=kind, stream=stream, start_ns=measure.start_ns, end_ns=measure.end_ns, share=min(max(share, 0.0), 1.0),
        message=message, advice=advice,
    )  # fmt: skip
