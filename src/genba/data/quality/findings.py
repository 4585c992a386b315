"""What a check reports: one finding per defect, one verdict per episode."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from genba.spec.units import SECOND_NS

#: Every kind of defect -> one line for people.
KINDS: dict[str, str] = {
    "epoch": "times of another epoch, or in another unit than nanoseconds",
    "gap": "a stream is silent for many of its periods",
    "clock jump": "a clock is set forwards or backwards, or stands still",
    "clock drift": "a stream's clock runs faster or slower than the others'",
    "clock offset": "a stream's clock is shifted against the others'",
    "frame count": "more or fewer samples than rate and duration say",
    "missing stream": "a channel that others of the machine recorded is absent or empty",
    "frozen": "a sensor repeats one value while the machine goes on",
    "saturation": "values pile up at a limit",
    "not a number": "values are missing or infinite",
    "unit": "values that make sense in another unit only",
    "calibration": "no calibration, or one that cannot be",
    "outlier": "values unlike any other episode of the machine",
    "duplicate": "the same data as another episode",
    "near duplicate": "nearly the same data as another episode: cut, shifted or with noise",
    "decisions": "actions or labels that do not fit the control period or one another",
    "too short": "nothing can be learnt from it",
    "unreadable": "the shard does not decode",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One defect."""

    #: one of ``KINDS``
    kind: str
    #: the stream, and the dimension in it; empty where the whole episode or stream is meant
    stream: str = ""
    dimension: str = ""
    #: when, in the episode's own nanoseconds
    start_ns: int
    end_ns: int
    #: how much of the stream is affected, from 0 to 1
    share: float
    #: what was got and what was expected
    message: str
    #: what to do about it
    advice: str

    @property
    def place(self) -> str:
        """``stream.dimension``, or ``"episode"``."""
        return f"{self.stream}.{self.dimension}" if self.dimension else self.stream or "episode"

    @property
    def how_bad(self) -> Literal["slight", "serious", "severe"]:
        """A word for ``share``: under 1 %, under 20 %, more."""
        return "slight" if self.share < 0.01 else "serious" if self.share < 0.2 else "severe"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "share": round(self.share, 6), "how_bad": self.how_bad}


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What was found in one episode; sound where there are no findings."""

    episode_id: str
    embodiment_id: str
    start_ns: int
    end_ns: int
    findings: tuple[Finding, ...] = ()

    def when(self, finding: Finding) -> str:
        """Say when, in seconds from the episode's start."""
        first, last = ((t - self.start_ns) / SECOND_NS for t in (finding.start_ns, finding.end_ns))
        return f"{first:.3f} to {last:.3f} s"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "episode_id": self.episode_id,
            "embodiment_id": self.embodiment_id,
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            "sound": not self.findings,
            "findings": [finding.to_json() for finding in self.findings],
        }
