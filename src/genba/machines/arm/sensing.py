"""What the arm's sensors make of the truth: noise, delay, and a pad that feels nothing.

A sample bears the time at which it was measured and comes when its delay has passed. ``SENSING`` is that of
``arm/panda-grip@1``: every sensor has noise and a delay, and reads nothing beyond the range that the machine's facts state. Read next: ``simulator``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from genba.spec.embodiment import TelemetryChannel
from genba.spec.streams import Stream, dense
from genba.spec.units import MILLISECOND_NS


@dataclass(frozen=True, kw_only=True, slots=True)
class Sensing:
    """What the sensors add to the truth."""

    #: one standard deviation of each force axis of a pad and 100 Hz sample, in N
    force_noise_n: float
    #: channel -> one standard deviation of each of its dimensions, in their units; none for those not named
    noise: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    #: channel -> from measuring to arriving, in ms; none for those not named
    delay_ms: Mapping[str, int] = field(default_factory=dict)


#: Choices, of the order of what such sensors do: encoders of 1e-4 rad and filtered speeds, a hand pose of 0.1 mm that
#: follows from them, a gripper width of 50 um; tactile pads with a frame and a transfer behind, joints over a fast bus.
SENSING = Sensing(
    force_noise_n=0.05,
    noise={
        "gripper": (0.0, 5e-5, 1e-3),
        "hand": (1e-4, 1e-3, 0.0, 0.0),
        "pose": (1e-4,) * 3 + (5e-4,) * 3,
        "joints": (1e-4,) * 7 + (2e-3,) * 7,
    },
    delay_ms={"touch": 6, "load": 6, "gripper": 2, "hand": 4, "pose": 4, "joints": 2},
)


class Sensors:
    """Turns true values into samples.

    Args:
        sensing: noise and delays.
        noise_factor: multiplies every standard deviation.
        channels: whose ranges are what the sensors can read; a truth beyond (fingers pressed past closed) reads as the end.
    """

    def __init__(self, sensing: Sensing, noise_factor: float, channels: Sequence[TelemetryChannel]) -> None:
        self._range = {
            c.name: (np.array([d.low for d in c.dimensions]), np.array([d.high for d in c.dimensions]))
            for c in channels
        }
        self._force_noise_n = sensing.force_noise_n * noise_factor
        self._noise = {name: noise_factor * np.array(std) for name, std in sensing.noise.items()}
        self._delay_ns = {name: delay * MILLISECOND_NS for name, delay in sensing.delay_ms.items()}
        self.reset(0, None)

    def reset(self, seed: int, dead_pad: int | None) -> None:
        """Begin an episode; ``dead_pad`` (0 left, 1 right) feels nothing but noise."""
        # Two sources, so that what the pads feel does not depend on which other sensors have noise.
        self._force_rng, self._rng = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 3])
        self._dead_pad = dead_pad
        self._load_sum, self._num_felt = np.zeros((2, 2)), 0
        self._waiting: dict[str, list[tuple[int, np.ndarray]]] = {}

    def feel(self, time_ns: int, forces_n: np.ndarray) -> None:
        """Take a sample of ``touch`` from the pads' true forces ``[pad, (normal, shear, depth)]``."""
        felt = forces_n + self._force_noise_n * self._force_rng.standard_normal((2, 3))
        if self._dead_pad is not None:
            felt[self._dead_pad] -= forces_n[self._dead_pad]
        self._load_sum += felt[:, :2]
        self._num_felt += 1
        self._keep("touch", time_ns, felt.reshape(-1))

    def average_load(self, time_ns: int) -> None:
        """Take a sample of ``load``: the mean of what each pad felt since the last one."""
        self._keep("load", time_ns, (self._load_sum / self._num_felt).reshape(-1))
        self._load_sum, self._num_felt = np.zeros((2, 2)), 0

    def measure(self, name: str, time_ns: int, values: np.ndarray) -> None:
        """Take a sample of any other channel."""
        std = self._noise.get(name)
        self._keep(name, time_ns, values if std is None else values + std * self._rng.standard_normal(len(std)))

    def arrived(self, time_ns: int) -> dict[str, Stream]:
        """Return what has come since the last call, at ``time_ns``."""
        streams = {}
        for name, waiting in self._waiting.items():
            there = [sample for sample in waiting if sample[0] + self._delay_ns.get(name, 0) <= time_ns]
            if there:
                self._waiting[name] = waiting[len(there) :]
                streams[name] = dense([at_ns for at_ns, _ in there], [values for _, values in there])
        return streams

    def _keep(self, name: str, time_ns: int, values: np.ndarray) -> None:
        low, high = self._range[name]
        self._waiting.setdefault(name, []).append((time_ns, np.clip(values, low, high)))
