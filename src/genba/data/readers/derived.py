"""Facts of a machine that no registry knows, derived from its log; and a log held to facts that the user gave.

Names of the log become names that an embodiment allows, the same ones every time. It knows no format: readers of logs
that only carry telemetry (``can_log``, ``mdf4``, ``table``) say what channels there are. Read next: ``si``, which says
what a foreign unit is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genba.data.readers.plain_names import log_id, numbered, snake_case
from genba.data.readers.si import Conversion
from genba.errors import ReaderError, nearest
from genba.spec.embodiment import Control, Dimension, Embodiment, TelemetryChannel
from genba.spec.episode import ACTION, LABEL, TRACE
from genba.spec.streams import Stream
from genba.trust.digest import digest_json

#: A log of a machine without commands: one moment is looked at per tenth of a second, half a second back.
PERIOD_S = 0.1
HISTORY_S = 0.5

#: Preferred numbers: nominal rates of two logs of one machine fall on the same one unless they lie at its edge.
#: Source: ISO 3:1973, series R10.
_PREFERRED = (1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0, 10.0)

#: Names of streams that are no channel.
_RESERVED = (ACTION, LABEL, TRACE)

_LOG = logging.getLogger(__name__)


def distinct_names(names: Iterable[str], reserved: Sequence[str] = _RESERVED) -> list[str]:
    """Return ``names`` in snake case, those that stand there before (or are ``reserved``) numbered from 2 on."""
    return numbered(map(snake_case, names), reserved)


def nominal_rate_hz(times_ns: np.ndarray) -> float:
    """Return the preferred number nearest to a clock's rate, told by the middle one of its steps; 1 where it has none.

    Args:
        times_ns: int64 ``[samples]``, never decreasing.
    """
    steps = np.diff(times_ns)
    steps = steps[steps > 0]
    if not len(steps):
        return 1.0
    rate_hz = 1e9 / float(np.median(steps))
    decade = 10.0 ** np.floor(np.log10(rate_hz))
    return float(f"{min((decade * p for p in _PREFERRED), key=lambda p: abs(np.log(p / rate_hz))):.6g}")


def derive(kind: str, description: str, channels: Sequence[TelemetryChannel], key: Any) -> Embodiment:
    """Return facts of a machine that only senses.

    Args:
        kind: what its logs are, e.g. ``"can"``: the id begins with ``"log/can-"``.
        key: plain values that the id is made from; everything that the facts depend on.
    """
    control = Control(period_s=PERIOD_S, deadline_s=PERIOD_S, horizon=5)
    return Embodiment(
        id=log_id(kind, digest_json(key)), description=description, control=control, telemetry=tuple(channels)
    )


def hold_to(
    given: Embodiment,
    path: Path,
    channels: Mapping[str, TelemetryChannel],
    streams: Mapping[str, Stream],
    known: Iterable[str] = (),
) -> dict[str, Stream]:
    """Return the streams that ``given`` names, each with the dimensions that it names, in its order.

    What the log has beyond the facts is left out and said in the log. A channel that the log describes but has no sample
    of is left out too.

    Args:
        channels: the channels that the log describes, by name; those at least that ``given`` names.
        streams: the samples, by channel.
        known: the names of all channels that the log describes, where ``channels`` does not hold them all.

    Raises:
        ReaderError: a channel or dimension of ``given`` that the log does not describe, or not in that unit.
    """
    kept: dict[str, Stream] = {}
    for channel in given.channels:
        if not isinstance(channel, TelemetryChannel) or channel.name not in channels:
            hint = nearest(channel.name, known or channels)
            raise ReaderError(f"{path}: {given.id} has a channel {channel.name!r}, the log has none{hint}")
        dimensions = channels[channel.name].dimensions
        names, columns = [d.name for d in dimensions], []
        for dimension in channel.dimensions:
            place = f"{path}: {given.id}: {channel.name}.{dimension.name}"
            if dimension.name not in names:
                raise ReaderError(f"{place}: the log has no such dimension{nearest(dimension.name, names)}")
            columns.append(names.index(dimension.name))
            unit = dimensions[columns[-1]].unit
            if dimension.unit not in (unit, "id") or (dimension.unit == "id" and unit not in ("1", "count")):
                raise ReaderError(f"{place}: got {unit!r} in the log, expected {dimension.unit!r}")
        if channel.name in streams:
            stream = streams[channel.name]
            kept[channel.name] = Stream(stream.times_ns, np.ascontiguousarray(stream.values[:, columns]))
        else:
            _LOG.warning("%s: %s: the log has no sample of %s", path, given.id, channel.name)
    if left := sorted(set(streams) - set(kept)):
        _LOG.warning("%s: %s has no channel for %s; left out", path, given.id, ", ".join(left))
    if not kept:
        raise ReaderError(f"{path}: got no sample of any channel of {given.id}, expected some")
    return kept


def telemetry(name: str, rate_hz: float, dimensions: Sequence[Dimension]) -> TelemetryChannel:
    """Return a channel as logs have them: no frame is known, half a second of history is seen."""
    return TelemetryChannel(name=name, rate_hz=rate_hz, frame="none", history_s=HISTORY_S, dimension=tuple(dimensions))


def as_si(values: np.ndarray, conversion: Conversion) -> np.ndarray:
    """Return float64 ``values`` in SI as float32; what float32 cannot hold (and an infinity) is missing: NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        out = (values * conversion.scale + conversion.offset).astype(np.float32)
    out[~np.isfinite(out)] = np.nan
    return out
