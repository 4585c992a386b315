"""Facts of a machine that no registry knows, derived from its log alone; and a log held to facts that a user gives.

Formats such as LeRobotDataset or ALOHA's HDF5 name their numbers and say neither unit nor limits. What is derived here
is therefore modest and deterministic: names as the log gives them, unit ``1``, limits from the log's own values with a
margin. The id carries a digest of the facts, so two logs with the same facts are one machine, and others never collide.
Whoever knows the machine gives its facts (option ``embodiment``), and the log is held to them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genba.data.readers.log_facts import given_facts
from genba.data.readers.plain_names import log_id, numbered, plain_name
from genba.errors import FormatError, ReaderError, nearest
from genba.spec.embodiment import ActionDimension, Control, Dimension, Embodiment
from genba.trust.digest import digest_json

#: What the values of a log may be exceeded by on each side, as a share of their range.
MARGIN = 0.1

#: Whole numbers beyond this are not exact in float32.
EXACT_IN_FLOAT32 = 1 << 24


def distinct_names(texts: Iterable[str]) -> list[str]:
    """Return ``plain_name`` of each text; where two come out alike, the later one gets ``_2``, ``_3`` and so on."""
    return numbered(map(plain_name, texts))


def to_float32(path: Path, place: str, raw: np.ndarray) -> tuple[np.ndarray, int]:
    """Return numbers of any type as float32, and how many whole numbers float32 cannot hold exactly.

    Args:
        path: the file that they are from.
        place: which they are, for errors; the first axis counts rows.
        raw: numbers or truth values.

    Raises:
        FormatError: an infinite number, or one beyond float32.
    """
    # Of a NaN with a payload that float32 lacks, NumPy warns as of an invalid value; it stays a NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        values = raw.astype(np.float32)
    infinite = np.argwhere(np.isinf(values))
    if len(infinite):
        at = tuple(infinite[0].tolist())
        raise FormatError(path, f"{place}: row {at[0]}: got {raw[at]}, expected a number that float32 holds")
    inexact = int((np.abs(raw) > EXACT_IN_FLOAT32).sum()) if raw.dtype.kind in "iu" else 0
    return values, inexact


class Ranges:
    """The least and greatest value of each dimension of each signal, NaN left aside."""

    def __init__(self) -> None:
        self._low: dict[str, np.ndarray] = {}
        self._high: dict[str, np.ndarray] = {}

    def add(self, name: str, values: np.ndarray) -> None:
        """Take in ``values``, float32 ``[samples, dimension]``."""
        if not len(values):
            values = np.full((1, *values.shape[1:]), np.nan, np.float32)
        low, high = np.fmin.reduce(values, axis=0), np.fmax.reduce(values, axis=0)
        self._low[name] = np.fmin(self._low.get(name, low), low)
        self._high[name] = np.fmax(self._high.get(name, high), high)

    def limits(self, name: str) -> list[tuple[float, float]]:
        """Return (low, high) per dimension, a margin beyond the values; -1 to 1 where there was no value at all."""
        out = []
        for low, high in zip(self._low[name].tolist(), self._high[name].tolist(), strict=True):
            if low != low:
                out.append((-1.0, 1.0))
                continue
            # A value that never changed gets a tenth of its size, or of one, so that low stays below high.
            margin = MARGIN * ((high - low) or max(abs(high), 1.0))
            out.append((low - margin, high + margin))
        return out


def dimensions(
    names: Sequence[str], limits: Iterable[tuple[float, float]], units: Sequence[str] = ()
) -> tuple[Dimension, ...]:
    """Return a dimension for each name, of unit ``1`` where ``units`` are not known."""
    found = zip(distinct_names(names), limits, units or ["1"] * len(names), strict=True)
    return tuple(Dimension(name=name, unit=unit, low=low, high=high) for name, (low, high), unit in found)


def action_dimensions(
    names: Sequence[str], limits: Iterable[tuple[float, float]], units: Sequence[str] = ()
) -> tuple[ActionDimension, ...]:
    """Return an action dimension for each name; on a fault it holds, since what is safe is not known."""
    return tuple(
        ActionDimension(name=name, unit=unit, low=low, high=high, on_fault="hold", safe=min(max(0.0, low), high))
        for name, (low, high), unit in zip(distinct_names(names), limits, units or ["1"] * len(names), strict=True)
    )


def control(rate_hz: float) -> Control:
    """Return the rhythm of a machine that was logged once per control step: chunks of a second, at most 50 steps."""
    length = max(1, min(50, round(rate_hz)))
    return Control(
        period_s=1 / rate_hz, deadline_s=1 / rate_hz, chunk_length=length, execute_length=max(1, length // 2)
    )


def named_by_content(kind: str, facts: Embodiment) -> Embodiment:
    """Return ``facts`` under an id made of ``kind``, what the log calls its machine, and of all that they say."""
    said = {key: value for key, value in dataclasses.asdict(facts).items() if key != "id"}
    return dataclasses.replace(facts, id=log_id(plain_name(kind).replace("_", "-"), digest_json(said)))


def given_or_derived(path: Path, option: Any, derived: Embodiment) -> Embodiment:
    """Return the facts that the user gives, after holding the log's own to them; the log's own where none are given.

    Args:
        path: the log.
        option: a registered id, the path of a TOML file, or nothing.
        derived: what the log alone says.

    Raises:
        ReaderError: no such facts, or the log holds a signal that they do not know or know otherwise.
    """
    given = given_facts(path, option)
    if given is None:
        return derived
    if abs(given.control.period_s - derived.control.period_s) > 1e-6 * derived.control.period_s:
        raise ReaderError(
            f"{path}: got a control period of {derived.control.period_s:g} s, expected {given.control.period_s:g} s as "
            f"{given.id} says"
        )
    known = {channel.name: channel for channel in given.channels}
    for channel in derived.channels:
        if channel.name not in known:
            raise ReaderError(f"{path}: {given.id} has no channel {channel.name!r}{nearest(channel.name, known)}")
        _same(path, given.id, channel.name, _outline(channel), _outline(known[channel.name]))
    if derived.action.continuous:
        names = [[d.name for d in facts.action.continuous] for facts in (derived, given)]
        _same(path, given.id, "action", *names)
    return given


def _outline(channel: Any) -> Any:
    if channel.modality == "telemetry":
        return [d.name for d in channel.dimensions]
    if channel.modality == "camera":
        return [channel.height, channel.width]
    return channel.modality


def _same(path: Path, embodiment_id: str, what: str, got: Any, expected: Any) -> None:
    if got != expected:
        raise ReaderError(f"{path}: {what}: got {got}, expected {expected} as {embodiment_id} says")
