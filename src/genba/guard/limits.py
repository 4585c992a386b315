"""Limits on continuous actions: finite, within the box, no faster than the machine may change.

Clamp first: a machine that is slowed keeps working, one that freezes gets its guard switched off. Each dimension is
handled by itself, in this order: a value that is not a number becomes the value on a fault; then the box; then the
rate, counted from what was last sent. What was sent is inside the box, so the rate limit cannot leave it again.
Read next: ``choices``, the same for discrete actions.
"""

from __future__ import annotations

import numpy as np

from genba.errors import SpecError
from genba.spec.action import Action
from genba.spec.embodiment import Embodiment
from genba.spec.observation import Observation
from genba.spec.protocols import Verdict

#: A correction smaller than this share of a dimension's range is made but not reported: it is float32 rounding of an
#: action at its limit, and counting it would drown the interventions that matter.
REPORTED_SHARE = 1e-6


class LimitGuard:
    """Bounds each dimension of ``Action.continuous`` to the embodiment's limits.

    Reasons read ``"<dimension>:finite"``, ``"<dimension>:limit"`` and ``"<dimension>:rate"``.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        self.embodiment = embodiment
        dimensions = embodiment.action.continuous
        self._names = [dimension.name for dimension in dimensions]
        self._low = _inside(np.array([d.low for d in dimensions]), towards=np.inf)
        self._high = _inside(np.array([d.high for d in dimensions]), towards=-np.inf)
        self._unreported = REPORTED_SHARE * (self._high - self._low)
        per_step = np.array([d.rate_limit * embodiment.control.period_s for d in dimensions])
        self._most_change = np.where(per_step > 0, per_step, np.inf)
        self._last: np.ndarray | None = None

    def reset(self) -> None:
        """Forget the last action."""
        self._last = None

    @property
    def last_sent(self) -> np.ndarray | None:
        """What was sent last: float64 ``[dimension]``; None before there was anything."""
        return self._last

    def check(self, action: Action, observation: Observation) -> Verdict:
        """Pass or bound one action.

        The first action after ``reset`` has a rate limit only in dimensions that are relative to a sensed value, from
        that value; the others have nothing to be counted from.

        Raises:
            SpecError: the action has another number of dimensions than the embodiment.
        """
        if not self._names:
            return Verdict(action)
        if action.continuous is None or np.shape(action.continuous) != (len(self._names),):
            got = None if action.continuous is None else list(np.shape(action.continuous))
            raise SpecError(f"{self.embodiment.id}: action.continuous: got shape {got}, expected [{len(self._names)}]")
        reasons: list[str] = []
        values = np.asarray(action.continuous, np.float64)
        finite = np.isfinite(values)
        if not finite.all():
            values = np.where(finite, values, fault_action(self.embodiment, observation, self._last))
            reasons += self._named(~finite, "finite")
        boxed = np.clip(values, self._low, self._high)
        reasons += self._named(np.abs(boxed - values) > self._unreported, "limit")
        last = self._last
        if last is None:
            last = _sensed(self.embodiment, observation)
        bounded = boxed
        if last is not None:
            least = np.maximum(_inside(last - self._most_change, towards=np.inf), self._low)
            most = np.minimum(_inside(last + self._most_change, towards=-np.inf), self._high)
            known = np.isfinite(last) & (least <= most)
            bounded = np.where(known, np.clip(boxed, least, most), boxed)
            reasons += self._named(np.abs(bounded - boxed) > self._unreported, "rate")
        sent = bounded.astype(np.float32)
        self._last = sent.astype(np.float64)
        return Verdict(Action(sent, action.choices), tuple(reasons))

    def _named(self, where: np.ndarray, why: str) -> list[str]:
        return [f"{self._names[i]}:{why}" for i in np.flatnonzero(where)]


def fault_action(embodiment: Embodiment, observation: Observation, last: np.ndarray | None) -> np.ndarray:
    """Return what the machine does when no action is there: float32 ``[dimension]`` inside the limits.

    ``hold`` keeps the last value sent; before there is one, the sensed value that the dimension is relative to, and
    ``safe`` where there is none either.
    """
    dimensions = embodiment.action.continuous
    held = last if last is not None else _sensed(embodiment, observation)
    values = np.array([dimension.safe for dimension in dimensions])
    if held is not None:
        hold = np.array([dimension.on_fault == "hold" for dimension in dimensions]) & np.isfinite(held)
        values = np.where(hold, held, values)
    return np.clip(values, [d.low for d in dimensions], [d.high for d in dimensions]).astype(np.float32)


def _sensed(embodiment: Embodiment, observation: Observation) -> np.ndarray | None:
    """Return the newest sensed value of each dimension's ``relative_to``, NaN where it has none."""
    values = np.full(len(embodiment.action.continuous), np.nan)
    for i, dimension in enumerate(embodiment.action.continuous):
        if dimension.relative_to:
            name, column = embodiment.locate(dimension.relative_to)
            stream = observation.streams.get(name)
            if stream is not None and len(stream):
                values[i] = stream.values[-1, column]
    return values if np.isfinite(values).any() else None


def _inside(bounds: np.ndarray, *, towards: float) -> np.ndarray:
    """Round float64 bounds to float32 numbers that do not lie outside them: what is sent is float32."""
    rounded = bounds.astype(np.float32)
    outside = rounded < bounds if towards > 0 else rounded > bounds
    return np.where(outside, np.nextafter(rounded, np.float32(towards)), rounded).astype(np.float64)
