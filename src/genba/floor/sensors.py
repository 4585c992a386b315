"""The sensors of a floor's lines: what they are, simulated ones, and how their samples become an episode.

Every sensor has its own rate and clock, and one value per line. Samples keep the time that their source gave them, and
go into an episode as they came: nothing is resampled.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import numpy as np

from genba.floor.state import FloorState
from genba.runtime.recorder import Recorder
from genba.spec.embodiment import Embodiment, load_embodiment
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.streams import Stream

EMBODIMENT_ID = "factory/line-sensors@1"


@dataclass(frozen=True, slots=True)
class Sensor:
    """One kind of sensor, on every line."""

    #: the channel of ``line_sensors.toml`` that it fills
    channel: str
    rate_hz: float
    unit: str


SENSORS = {
    "Vibration": Sensor("vibration", 50.0, "m/s^2"),
    "Power": Sensor("power", 10.0, "W"),
    "Temperature": Sensor("temperature", 1.0, "K"),
}


class Sensors:
    """Simulated sensors: a line that works shakes, draws power and is warm; one that stands still does not.

    Args:
        state: returns the floor as it is.
        seed: of the noise.
    """

    def __init__(self, state: Callable[[], FloorState], *, seed: int = 0) -> None:
        self._state = state
        self._rng = np.random.default_rng(seed)

    async def samples(self, name: str) -> AsyncIterator[tuple[int, np.ndarray]]:
        """Yield (ns since 1970, one value per line) at the sensor's rate; what was missed comes late, not never."""
        sensor, began_ns, count = SENSORS[name], time.time_ns(), 0
        while True:
            due_ns = began_ns + round(count * 1e9 / sensor.rate_hz)
            await asyncio.sleep(max(0.0, (due_ns - time.time_ns()) / 1e9))
            yield due_ns, self.values(name)
            count += 1

    def values(self, name: str) -> np.ndarray:
        """Return one value per line in the sensor's unit, float32 ``[lines]``."""
        state = self._state()
        end_s = state.schedule.end_s(state.problem)
        busy = np.zeros(state.problem.num_lines)
        running = (state.schedule.start_s <= state.now_s) & (end_s > state.now_s)
        busy[state.schedule.line[running]] = 1.0
        busy[state.down_until_s > state.now_s] = 0.0
        noise = self._rng.normal(size=len(busy))
        level = {
            "Vibration": 0.05 + 1.2 * busy + 0.1 * noise,
            "Power": 400.0 + 2600.0 * busy + 40.0 * noise,
            "Temperature": 296.0 + 18.0 * busy + 0.3 * noise,
        }[name]
        return level.astype(np.float32)


class SensorRecorder:
    """Collects samples of a floor's sensors and makes episodes of them."""

    def __init__(self) -> None:
        self.embodiment: Embodiment = load_embodiment(EMBODIMENT_ID)
        self._recorder = Recorder(self.embodiment)
        self._width = {channel.name: len(channel.dimensions) for channel in self.embodiment.telemetry}
        self.num_samples = 0

    def add(self, name: str, time_ns: int, values: list[float]) -> None:
        """Add one sample; lines beyond the plant's own are NaN."""
        channel = SENSORS[name].channel
        row = np.full((1, self._width[channel]), np.nan, np.float32)
        row[0, : len(values)] = values
        self._recorder.samples({channel: Stream(np.array([time_ns], np.int64), row)})
        self.num_samples += 1

    def episode(self, metadata: EpisodeMetadata) -> Episode:
        """Return what was collected since the last one, and begin a new one."""
        episode = self._recorder.episode(metadata)
        self._recorder.reset()
        self.num_samples = 0
        return episode
