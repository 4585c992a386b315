"""An observation: the recent samples of every channel of one machine, as a policy may see them at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from genba.spec.embodiment import Embodiment
from genba.spec.streams import Stream
from genba.spec.units import to_ns


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """A window into the streams, ending at ``time_ns``.

    Attributes:
        embodiment_id: whose channels these are.
        time_ns: the moment of the decision; no sample is later.
        streams: channel or relation name -> its samples within the channel's history. A channel that has not spoken
            yet is absent.
        instruction: what is wanted, in words; empty where the embodiment has no instruction channel.
    """

    embodiment_id: str
    time_ns: int
    streams: Mapping[str, Stream]
    instruction: str = ""
    #: channels whose clock has just jumped back; their older samples are not in ``streams``
    went_back: tuple[str, ...] = ()


def observe(
    embodiment: Embodiment,
    streams: Mapping[str, Stream],
    time_ns: int,
    instruction: str = "",
    went_back: tuple[str, ...] = (),
) -> Observation:
    """Cut each channel's history ending at ``time_ns`` out of ``streams``, without copying values.

    A telemetry, camera or points channel gives its newest ``num_samples`` samples not older than its history (plus half
    a sample period for jitter). An entity channel and a relation give their newest snapshot.
    """
    cut: dict[str, Stream] = {}
    for channel in (*embodiment.telemetry, *embodiment.camera, *embodiment.points):
        stream = streams.get(channel.name)
        if stream is None:
            continue
        stop = stream.until(time_ns)
        oldest_ns = time_ns - to_ns(channel.history_s + 0.5 / channel.rate_hz)
        start = max(stop - channel.num_samples, stream.until(oldest_ns))
        if stop > start:
            cut[channel.name] = stream.slice(start, stop)
    for name in (*(c.name for c in embodiment.entities), *(r.name for r in embodiment.relation)):
        stream = streams.get(name)
        if stream is not None and (stop := stream.until(time_ns)) > 0:
            cut[name] = stream.slice(stop - 1, stop)
    return Observation(embodiment.id, time_ns, cut, instruction, went_back)
