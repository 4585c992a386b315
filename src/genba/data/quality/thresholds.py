"""What counts as a defect: one number per question, each with its reason. A TOML file may state others.

The defaults were chosen so that recorded simulator episodes and a real minute of driving give no finding, then held against
planted defects (``perf/quality.py`` prints recall and false alarms). "Chosen so" below says that there is no other source.
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds:
    """When a check speaks up."""

    #: samples below which a stream has no rate worth judging; chosen so: a percentile of fewer means nothing
    min_samples: int = 10
    #: periods of silence that are a gap; chosen so: a burst or two lost on a bus is 2 or 3 periods (comma2k19: 2.6 at most)
    gap_periods: float = 5.0
    #: a gap must also be this many times the stream's 99th percentile of intervals, so that jitter is none
    gap_spread: float = 2.0
    #: share of the usual time that ten samples take, below which the clock was set back; chosen so (comma2k19: 0.8 at least)
    crowded_share: float = 0.6
    #: relative error of a rate against the facts, which state rates rounded to two or three digits
    rate_tolerance: float = 0.05
    #: relative error of a rate against other episodes of the machine; crystals are good to 100 ppm (typical MEMS and
    #: quartz data sheets), so 0.2 % is a clock that is wrong
    rate_tolerance_peers: float = 0.002
    #: seconds by which a stream may begin or end apart from the others, besides 5 periods; start-up takes part of a second
    edge_s: float = 0.25
    #: the same as a share of the episode, for long ones
    edge_share: float = 0.02
    #: seconds by which two streams that tell the same may be apart; filters and buses take 0.1 to 0.2 s
    lag_s: float = 0.35
    #: correlation from which two signals tell the same
    same_correlation: float = 0.98
    #: the same of their changes over 0.2 s; chosen so: what only rises alike correlates up to 0.7, one motion from 0.9 on
    same_change: float = 0.85
    #: identical numbers in a row that are a frozen sensor; chosen so: a resting arm's joint angle repeats up to 18 times
    frozen_samples: int = 25
    #: identical samples of several numbers, and identical pictures or sweeps; chosen so: noise lets none repeat
    frozen_rows: int = 10
    frozen_pictures: int = 5
    #: the least time that any of them lasts, in seconds
    frozen_s: float = 0.25
    #: how many times longer than the sensor's second-longest repetition; chosen so
    frozen_spread: float = 5.0
    #: share of samples at a limit, or repetitions at it, that are saturation; chosen so: an ideal Gaussian sensor with 3
    #: sigma of headroom stands at its limit in 0.3 % of samples
    saturated_share: float = 0.005
    saturated_samples: int = 5
    #: samples at a limit, wherever they stand, that are saturation; chosen so: noise reaches one value twice, not a dozen times
    saturated_count: int = 12
    #: share of missing values in a dimension, and the longest run of them
    missing_share: float = 0.2
    missing_run_s: float = 0.5
    #: relative error within which a ratio is taken for a known factor between units
    unit_tolerance: float = 0.08
    #: other episodes of a machine from which "usual" is known
    min_peers: int = 3
    #: other episodes from which "unlike any other" is known
    outlier_peers: int = 5
    #: how far outside everything the others saw an episode's mean must be, as a share of their range
    outlier_margin: float = 0.25
    #: how many times more, or less, than any other it varies
    outlier_spread: float = 5.0
    #: decisions further apart than this many control periods, or nearer than its inverse
    decision_periods: float = 2.5
    #: share of the usual duration of the machine's episodes below which one is too short
    short_share: float = 0.1
    #: share of an episode that must be found in another to be a near duplicate
    overlap: float = 0.5
    #: root mean square difference, as a share of a dimension's spread, up to which two episodes are nearly the same
    near_difference: float = 0.2

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise ValueError(f"{field.name}: got {value}, expected more than 0")
