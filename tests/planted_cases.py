"""Which defects are planted where: for any machine by what its facts allow, for the rover everything.

Yields named cases for tests (a few seeds) and for ``perf/quality.py`` (many).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import planted as plant
from planted import Planted

from genba.spec.embodiment import CameraChannel, Embodiment, PointsChannel, TelemetryChannel
from genba.spec.episode import ACTION, LABEL, Episode
from genba.spec.streams import Stream
from genba.spec.units import SECOND_NS

#: (what is planted, how strongly, how to make it)
Case = tuple[str, str, Callable[[], Planted]]


def timing_cases(facts: Embodiment, episode: Episode, rng: np.random.Generator) -> Iterator[Case]:
    """Yield defects of clocks, for one stream drawn at random among those that sample at a rate."""
    names = plant.steady(facts, episode)
    rates = {name: facts.channel(name).rate_hz for name in names}  # type: ignore[union-attr]
    duration_s = (episode.end_ns - episode.start_ns) / SECOND_NS

    def draw() -> str:
        return names[int(rng.integers(len(names)))]

    for periods in (8, 20, 40):
        name = draw()
        long_s = min(periods / rates[name], duration_s / 3)
        yield "gap", f"{periods} periods", lambda n=name, s=long_s: plant.gap(episode, n, s)
    for periods in (10, 30):
        name = draw()
        yield "jump ahead", f"{periods} periods", lambda n=name, p=periods: plant.jump_ahead(episode, n, p / rates[n])
        name = draw()
        # No further than the recording has gone on.
        back_s = min(periods / rates[name], 0.3 * duration_s)
        yield "jump back", f"{periods} periods", lambda n=name, s=back_s: plant.jump_back(episode, n, s)
    yield "pause of all", "2 s", lambda: plant.pause(episode, 2.0)
    for strength in (0.01, 0.05):
        name = draw()
        yield "drift", f"{strength:.0%}", lambda n=name, s=strength: plant.drift(episode, n, s)
    for periods in (12, 40):
        name = draw()
        shift_s = max(periods / rates[name], 0.4)
        yield "offset", f"{periods} periods", lambda n=name, s=shift_s: plant.offset(episode, n, s)
    for strength in (0.1, 0.3):
        name = draw()
        yield "samples lost", f"{strength:.0%}", lambda n=name, s=strength: plant.lose(episode, n, s, rng)
        name = draw()
        share = max(strength, 0.6 / duration_s, 8 / rates[name] / duration_s)
        yield "ends early", f"{strength:.0%}", lambda n=name, s=share: plant.cut_end(episode, n, s)
        name = draw()
        share = max(strength, 0.6 / duration_s, 8 / rates[name] / duration_s)
        yield "begins late", f"{strength:.0%}", lambda n=name, s=share: plant.cut_begin(episode, n, s)
    name = draw()
    yield "every second lost", "50%", lambda n=name: plant.decimate(episode, n, 2)
    name = draw()
    yield "stream gone", "all", lambda n=name: replace_kind(plant.put(episode, **{n: None}), "missing stream", n)
    name = draw()
    for unit, factor in (("ms", 1e-6), ("s", 1e-9), ("us", 1e-3)):
        yield "time unit", unit, lambda n=name, f=factor: _retime(episode, n, lambda t: np.rint(t * f))
    yield "epoch", "1970 to 1980", lambda n=name: _retime(episode, n, lambda t: t + 315_964_800 * SECOND_NS)


def sensor_cases(facts: Embodiment, episode: Episode, rng: np.random.Generator) -> Iterator[Case]:
    """Yield defects of sensors: of whole streams, and of single dimensions that are measured with noise."""
    whole = [
        c
        for c in facts.channels
        if c.name in episode.streams
        and (
            isinstance(c, CameraChannel | PointsChannel) or (isinstance(c, TelemetryChannel) and len(c.dimensions) > 1)
        )
    ]
    single = list(noisy_dimensions(facts, episode))
    for seconds in (0.6, 1.5):
        channel = whole[int(rng.integers(len(whole)))] if whole else None
        if channel is not None:
            rate_hz = channel.rate_hz  # type: ignore[union-attr]
            pictures = isinstance(channel, CameraChannel | PointsChannel)
            least_s = max(seconds, (8 if pictures else 14) / rate_hz)
            if any(n == channel.name for n, _ in single) or pictures:
                yield "frozen stream", f"{seconds:g} s", lambda n=channel.name, s=least_s: plant.freeze(episode, n, s)
    if not single:
        return
    for strength in (0.08, 0.25):
        # A few per cent of a short stream are no more than its crest.
        rich = [(n, k) for n, k in single if strength * len(episode.streams[n]) >= 20]
        name, i = rich[int(rng.integers(len(rich)))] if rich else single[0]
        yield "clipped", f"{strength:.0%}", lambda n=name, d=i, s=strength: plant.clip(episode, n, d, facts, s)
        name, i = single[int(rng.integers(len(single)))]
        share = max(strength, 0.8 * SECOND_NS / (episode.end_ns - episode.start_ns), 12 / len(episode.streams[name]))
        yield "no numbers", f"{strength:.0%}", lambda n=name, d=i, s=share: plant.flood(episode, n, d, facts, s)
    for seconds in (0.7, 2.0):
        name, i = single[int(rng.integers(len(single)))]
        least_s = max(seconds, 32 / facts.channel(name).rate_hz)  # type: ignore[union-attr]
        if least_s > 0.4 * (episode.end_ns - episode.start_ns) / SECOND_NS:
            continue  # nothing is left of it to tell that it is noisy
        yield "stuck value", f"{seconds:g} s", lambda n=name, d=i, s=least_s: plant.stick(episode, n, d, facts, s)


#: Machine -> streams that tell the same as another one, so that what they hold shows a shift of their clock.
TELL_THE_SAME = {
    "test/rover@1": ("wheels", "odometry"),
    "arm/panda-grip@1": ("hand", "pose"),
    "vehicle/urban-car@1": ("signal", "route"),
}


def hidden_cases(facts: Embodiment, episode: Episode, strengths_s: tuple[float, ...] = (0.6, 1.0)) -> Iterator[Case]:
    """Yield clocks that are shifted where every stream begins and ends with the others."""
    for name in TELL_THE_SAME.get(facts.id, ()):
        for late_s in strengths_s:
            yield "hidden offset", f"{late_s:g} s", lambda n=name, s=late_s: plant.hidden_offset(episode, n, s)


def noisy_dimensions(facts: Embodiment, episode: Episode) -> Iterator[tuple[str, int]]:
    """Yield (stream, dimension) of what is measured with noise of its own."""
    for channel in facts.telemetry:
        stream = episode.streams.get(channel.name)
        if stream is None or len(stream) < 60:
            continue
        for i, dimension in enumerate(channel.dimensions):
            moves = np.diff(stream.values[:, i])
            turns = float((moves[1:] * moves[:-1] < 0).mean())
            if not dimension.categories and dimension.unit != "s" and turns > 0.3 and (moves == 0).mean() < 0.1:
                yield channel.name, i


def copy_cases(facts: Embodiment, episode: Episode, rng: np.random.Generator) -> Iterator[Case]:
    """Yield copies of an episode under another name."""
    shift = plant.shifted
    yield "copied", "exactly", lambda: plant.copy(episode, "again", kind="duplicate")
    yield "copied", "1 h later", lambda: plant.copy(
        episode, "again", kind="duplicate", streams=shift(episode, 3600.0)
    )  # fmt: skip
    if not facts.telemetry:
        return
    for first, last in ((0.0, 0.8), (0.15, 1.0), (0.2, 0.85)):
        yield (
            "copied",
            f"{first:.0%} to {last:.0%} of it",
            lambda a=first, b=last: plant.copy(
                episode, "again", kind="near duplicate", streams=plant.cropped(episode, a, b)
            ),
        )
    for strength in (0.01, 0.05):
        yield (
            "copied",
            f"with {strength:.0%} noise",
            lambda s=strength: plant.copy(
                episode, "again", kind="near duplicate", streams=plant.noisy(facts, shift(episode, 9.03), s, rng)
            ),
        )


def noisy_part_cases(facts: Embodiment, episode: Episode, rng: np.random.Generator) -> Iterator[Case]:
    """Yield parts of an episode under another name with noise, so that no sample of a sensor is as it was."""
    if not facts.telemetry:
        return
    for first, last in ((0.15, 1.0), (0.2, 0.85)):
        for strength in (0.01, 0.05):
            yield (
                "part copied",
                f"{first:.0%} to {last:.0%} of it with {strength:.0%} noise",
                lambda a=first, b=last, s=strength: plant.copy(
                    episode,
                    "again",
                    kind="near duplicate",
                    streams=plant.noisy(facts, plant.cropped(episode, a, b), s, rng),
                ),
            )


def decision_cases(facts: Embodiment, episode: Episode) -> Iterator[Case]:
    """Yield defects of actions and labels."""
    action = episode.streams.get(ACTION)
    if action is None or len(action) < 20:
        return
    half = action.slice(0, len(action) // 3)
    moved = plant.at_times(action, action.times_ns + 13_000_000)
    few = facts.control.chunk_length - 2
    hole = np.ones(len(action), bool)
    hole[len(action) // 3 : len(action) // 3 + 6] = False
    short_ns = int(action.times_ns[few])
    short = {n: plant.kept(s, s.times_ns < short_ns) for n, s in episode.streams.items()}
    yield "actions end early", "at a third", lambda: replace_kind(
        plant.put(episode, action=half), "decisions", ACTION
    )  # fmt: skip
    yield "actions missing", "6", lambda: replace_kind(
        plant.put(episode, action=plant.kept(action, hole)), "decisions", ACTION
    )  # fmt: skip
    yield "labels elsewhere", "13 ms", lambda: replace_kind(plant.put(episode, label=moved), "decisions", LABEL)
    yield "too short", f"{few} actions", lambda: replace_kind(
        plant.put(episode, **short), "too short", ""
    )  # fmt: skip


def rover_cases(facts: Embodiment, episode: Episode, rng: np.random.Generator) -> Iterator[Case]:
    """Yield what only a machine with several sensors of one motion, a calibration and known physics can show."""
    scales = (
        ("pose", 0, 1000.0, 0.0, "mm in m"), ("pose", 2, 180 / math.pi, 0.0, "degrees in rad"),
        ("odometry", 0, 3.6, 0.0, "km/h in m/s"), ("odometry", 1, 180 / math.pi, 0.0, "deg/s in rad/s"),
        ("wheels", 0, 3.6, 0.0, "km/h in m/s"), ("wheels", 1, 1 / 0.44704, 0.0, "mph in m/s"),
        ("imu", 0, 1 / 9.80665, 0.0, "g in m/s^2"), ("imu", 1, 1 / 9.80665, 0.0, "g in m/s^2"),
        ("mast", 0, 180 / math.pi, 0.0, "degrees in rad"), ("mast", 1, 180 / math.pi, 0.0, "deg/s in rad/s"),
        ("motor", 0, 1000.0, 0.0, "mA in A"), ("motor", 1, 1.0, 273.15, "Celsius in K"),
        ("motor", 2, 0.01, 0.0, "mbar in Pa"),
    )  # fmt: skip
    for name, i, factor, less, what in scales:
        yield "unit", what, lambda n=name, d=i, f=factor, o=less: plant.rescale(episode, n, d, facts, f, o)
    yield "unit", "quaternion twice as long", lambda: plant.rescale(episode, "imu", 3, facts, 1.5)
    meta = episode.metadata
    for key, stream in (("base_from_camera", "front"), ("base_from_lidar", "lidar")):
        left = {k: v for k, v in meta.calibration.items() if k != key}
        yield (
            "calibration",
            f"no {key}",
            lambda c=left, n=stream: Planted(
                episode=Episode(replace(meta, calibration=c), episode.streams), kind="calibration", stream=n
            ),
        )
    bent = {**meta.calibration, "base_from_lidar": (2.0, *meta.calibration["base_from_lidar"][1:])}
    yield (
        "calibration",
        "no rotation",
        lambda: Planted(
            episode=Episode(replace(meta, calibration=bent), episode.streams), kind="calibration", stream="lidar"
        ),
    )
    yield (
        "outlier",
        "a bias of 25 A",
        lambda: plant.change(episode, "motor", 0, facts, "outlier", lambda column: column + 25.0),
    )
    yield (
        "outlier",
        "twenty times as wild",
        lambda: plant.change(
            episode, "motor", 0, facts, "outlier", lambda column: column.mean() + 20 * (column - column.mean())
        ),
    )
    yield (
        "dead sensor",
        "all the time",
        lambda: plant.change(episode, "motor", 0, facts, "frozen", lambda column: np.full_like(column, 3.0)),
    )


def replace_kind(episode: Episode, kind: str, stream: str) -> Planted:
    """Say what a broken episode must give."""
    return Planted(episode=episode, kind=kind, stream=stream)


def _retime(episode: Episode, name: str, how: Callable[[np.ndarray], np.ndarray]) -> Planted:
    stream: Stream = episode.streams[name]
    broken = plant.at_times(stream, how(stream.times_ns))
    return Planted(episode=plant.put(episode, **{name: broken}), kind="epoch", stream=name)
