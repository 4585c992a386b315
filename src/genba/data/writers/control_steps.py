"""An episode of many rates as rows of one: which sample every channel shows at each control step.

For formats that know one rate only (LeRobot's tables, robomimic's HDF5). A row shows the newest sample of every channel at its
moment, never a later one, so it says what a policy could have seen. Rows begin when every channel has spoken; what came
before, and every sample between two rows, such a format does not hold.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from genba.errors import DataError
from genba.spec.embodiment import Embodiment
from genba.spec.episode import ACTION, Episode
from genba.spec.streams import Stream


def sampled_streams(embodiment: Embodiment, episode: Episode) -> dict[str, Stream]:
    """Return the streams that rows can show: telemetry, cameras and the continuous action, those with samples."""
    names = [channel.name for channel in (*embodiment.telemetry, *embodiment.camera)]
    if embodiment.action.continuous:
        names.append(ACTION)
    return {name: episode.streams[name] for name in names if len(episode.streams.get(name, ()))}


def control_steps(episode: Episode, shown: Mapping[str, Stream], step_ns: int) -> np.ndarray:
    """Return when each row stands: int64 nanoseconds, at least one.

    The times of the actions where those are ``step_ns`` apart (within a quarter), else a grid of ``step_ns`` that begins
    with the first action, or with the episode where there is none.

    Raises:
        DataError: at no such moment has every channel a sample.
    """
    action = episode.streams.get(ACTION)
    clock = action.times_ns if action is not None and len(action) else np.array([episode.start_ns, episode.end_ns])
    start_ns, end_ns = int(clock[0]), int(clock[-1])
    spoken_ns = max((int(stream.times_ns[0]) for stream in shown.values()), default=start_ns)
    gaps_ns = np.diff(clock)
    if action is not None and len(gaps_ns) and int(np.abs(gaps_ns - step_ns).max()) <= step_ns // 4:
        times_ns = clock[np.searchsorted(clock, spoken_ns) :]
    else:
        late = max(0, -(-(spoken_ns - start_ns) // step_ns))
        times_ns = np.arange(start_ns + late * step_ns, end_ns + 1, step_ns, dtype=np.int64)
    if not len(times_ns):
        raise DataError(
            f"{episode.metadata.episode_id}: got no control step at which every channel has a sample (the last one begins at "
            f"{spoken_ns} ns, the episode ends at {end_ns} ns), expected at least one"
        )
    return times_ns


def newest_samples(shown: Mapping[str, Stream], times_ns: np.ndarray) -> dict[str, np.ndarray]:
    """Return for each stream which sample is the newest at each time: int64 ``[rows]``; each has one by then."""
    return {name: np.searchsorted(stream.times_ns, times_ns, side="right") - 1 for name, stream in shown.items()}
