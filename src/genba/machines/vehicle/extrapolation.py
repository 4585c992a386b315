"""What a car will do if it goes on as it does: three forecasts that know nothing but physics, to measure a learnt one against.

Speed, steering-wheel angle and yaw rate, from what they were over the last moments. It reads no log. Read next: ``perf/real_drive.py``,
which measures a world model beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Going:
    """How a car goes at some moments; every array float64 ``[moment]``.

    Attributes:
        speed_mps, wheel_rad, yaw_rate_radps: now; the angle is the steering wheel's.
        acceleration_mps2, wheel_rate_radps, yaw_acceleration_radps2: how fast each of them changes.
    """

    speed_mps: np.ndarray
    wheel_rad: np.ndarray
    yaw_rate_radps: np.ndarray
    acceleration_mps2: np.ndarray
    wheel_rate_radps: np.ndarray
    yaw_acceleration_radps2: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Foretold:
    """Speed, steering-wheel angle and yaw rate at a later moment; every array float64 ``[moment]``."""

    speed_mps: np.ndarray
    wheel_rad: np.ndarray
    yaw_rate_radps: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class Steering:
    """What a bicycle needs to know of a car.

    Attributes:
        wheelbase_m: distance between the axles.
        ratio: steering-wheel angle over road-wheel angle.
        wheel_offset_rad: steering-wheel angle of driving straight on.
        yaw_offset_radps: what the yaw-rate sensor says then.
    """

    wheelbase_m: float
    ratio: float
    wheel_offset_rad: float = 0.0
    yaw_offset_radps: float = 0.0

    def yaw_rate(self, speed_mps: np.ndarray, wheel_rad: np.ndarray) -> np.ndarray:
        """Return what the yaw-rate sensor says of a kinematic bicycle: v tan(steering) / wheelbase, and its offset.

        Source: R. Rajamani, Vehicle Dynamics and Control, 2nd ed., section 2.2 (kinematic model, no slip).
        """
        steering = (wheel_rad - self.wheel_offset_rad) / self.ratio
        return self.yaw_offset_radps + speed_mps * np.tan(steering) / self.wheelbase_m


def persistence(going: Going, ahead_s: float) -> Foretold:
    """Everything stays as it is."""
    return Foretold(speed_mps=going.speed_mps, wheel_rad=going.wheel_rad, yaw_rate_radps=going.yaw_rate_radps)


def constant_acceleration(going: Going, ahead_s: float) -> Foretold:
    """Everything goes on changing as fast as it does; no car goes backwards by it."""
    return Foretold(
        speed_mps=np.maximum(going.speed_mps + ahead_s * going.acceleration_mps2, 0.0),
        wheel_rad=going.wheel_rad + ahead_s * going.wheel_rate_radps,
        yaw_rate_radps=going.yaw_rate_radps + ahead_s * going.yaw_acceleration_radps2,
    )


def kinematic_bicycle(going: Going, ahead_s: float, steering: Steering) -> Foretold:
    """Speed goes on changing as it does, the wheel is held, and the car turns as a bicycle with that speed and wheel."""
    speed_mps = np.maximum(going.speed_mps + ahead_s * going.acceleration_mps2, 0.0)
    yaw_rate_radps = steering.yaw_rate(speed_mps, going.wheel_rad)
    return Foretold(speed_mps=speed_mps, wheel_rad=going.wheel_rad, yaw_rate_radps=yaw_rate_radps)


def slopes(times_ns: np.ndarray, values: np.ndarray, moments_ns: np.ndarray, *, over_s: float) -> np.ndarray:
    """Return how fast ``values`` change at each moment, per second: least squares over the time before it.

    Args:
        times_ns: int64 ``[samples]``, rising.
        values: ``[samples]``.
        moments_ns: int64 ``[moment]``.
        over_s: how far back to look; two samples at least must lie there.
    """
    out = np.empty(len(moments_ns))
    for i, moment_ns in enumerate(moments_ns.tolist()):
        low, high = np.searchsorted(times_ns, [moment_ns - round(over_s * 1e9), moment_ns + 1])
        t = (times_ns[low:high] - moment_ns) / 1e9
        out[i] = np.polyfit(t, values[low:high].astype(np.float64), 1)[0]
    return out
