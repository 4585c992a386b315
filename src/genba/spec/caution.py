"""When a machine that is surprised holds back, and how: facts beside the machine, chosen on nominal worlds.

Read next: ``genba.runtime.surprise``, which finds the score and applies them.
"""

from __future__ import annotations

from dataclasses import dataclass

from genba.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Caution:
    """Holding back while the world does not do what the world model foretold."""

    channel: str
    """the channel whose latents are looked at; empty for all"""
    threshold: float
    """the smoothed score above which the machine holds back; about 1 is usual"""
    smoothing_s: float
    """time constant of the smoothing, in seconds; 0 for none"""
    hold_s: float
    """for how long it goes on holding back after the score has last been above, in seconds"""
    dimension: str
    """the action dimension that is bounded"""
    at_most: float
    """its greatest value then, in its unit"""
    measure: str
    """what says that there is nothing left to hold back, ``"channel.dimension"`` of telemetry"""
    above: float
    """it is bounded only while the measure is above this, in its unit, so that nothing stands still for ever"""

    def __post_init__(self) -> None:
        if self.threshold <= 0 or self.smoothing_s < 0 or self.hold_s < 0:
            raise ConfigError(
                f"threshold, smoothing_s, hold_s: got {self.threshold}, {self.smoothing_s}, {self.hold_s}, expected a "
                f"positive number and two that are not negative"
            )
