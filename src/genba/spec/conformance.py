"""One checker per contract; every registered implementation must pass the same suite.

Each function raises ``SpecError`` with what was got and what was expected, or returns quietly.
"""

from __future__ import annotations

import numpy as np

from genba.errors import SpecError
from genba.spec.action import Action, ActionChunk
from genba.spec.embodiment import CameraChannel, Embodiment, EntitiesChannel, PointsChannel, TelemetryChannel
from genba.spec.episode import ACTION, LABEL, TRACE, Episode
from genba.spec.observation import Observation, observe
from genba.spec.protocols import Env, Policy, Step
from genba.spec.streams import Stream, StreamBuffer

#: Values may exceed a dimension's limits by this share of its range: sensor noise at the end of the scale.
TOLERANCE = 0.02


def check_stream(embodiment: Embodiment, name: str, stream: Stream) -> None:
    """Refuse a channel's or relation's stream whose dtype, shape or range does not fit the embodiment."""
    place = f"{embodiment.id}: {name}"
    rows = {channel.name: channel.max_rows for channel in embodiment.entities}
    for relation in embodiment.relation:
        if relation.name == name:
            _expect(place, "values", stream.values, np.float32, (None, rows[relation.target]))
            _expect_ragged(place, stream, rows[relation.source])
            _expect_range(place, stream.values, relation.low, relation.high)
            return
    try:
        channel = embodiment.channel(name)
    except KeyError as error:
        raise SpecError(str(error.args[0])) from None
    match channel:
        case TelemetryChannel():
            _expect(place, "values", stream.values, np.float32, (None, len(channel.dimensions)))
        case CameraChannel():
            _expect(place, "values", stream.values, np.uint8, (None, channel.height, channel.width, 3))
        case PointsChannel():
            _expect(place, "values", stream.values, np.float32, (None, 3 + len(channel.attributes)))
            _expect_ragged(place, stream, channel.max_points)
            range_m = np.linalg.norm(stream.values[:, :3], axis=1)
            if len(range_m) and float(range_m.max()) > channel.range_max_m * 1.01:
                raise SpecError(f"{place}: got a return beyond range_max_m = {channel.range_max_m} m")
            for i, attribute in enumerate(channel.attributes, start=3):
                _expect_range(f"{place}.{attribute.name}", stream.values[:, i], attribute.low, attribute.high)
        case EntitiesChannel():
            _expect(place, "values", stream.values, np.float32, (None, len(channel.dimensions)))
            _expect_ragged(place, stream, channel.max_rows)
    for i, dimension in enumerate(getattr(channel, "dimensions", ())):
        _expect_range(f"{place}.{dimension.name}", stream.values[:, i], dimension.low, dimension.high)


def check_observation(embodiment: Embodiment, observation: Observation) -> None:
    """Refuse an observation with a sample from the future, too long a history, or streams that do not fit."""
    if observation.embodiment_id != embodiment.id:
        raise SpecError(f"observation of {observation.embodiment_id}, expected one of {embodiment.id}")
    for name, stream in observation.streams.items():
        check_stream(embodiment, name, stream)
        if len(stream) and int(stream.times_ns[-1]) > observation.time_ns:
            raise SpecError(f"{embodiment.id}: {name}: got a sample later than the observation's time")


def check_action(embodiment: Embodiment, action: Action, observation: Observation | None = None) -> None:
    """Refuse an action with wrong names, shapes or numbers that are not finite; ranges are the guard's business."""
    dimensions = embodiment.action.continuous
    if bool(dimensions) != (action.continuous is not None):
        raise SpecError(
            f"{embodiment.id}: action.continuous: got {action.continuous!r}, expected {len(dimensions)} numbers"
        )
    if action.continuous is not None:
        _expect(f"{embodiment.id}: action", "continuous", np.asarray(action.continuous), np.float32, (len(dimensions),))
        if not np.isfinite(action.continuous).all():
            raise SpecError(f"{embodiment.id}: action.continuous: got {action.continuous}, expected finite numbers")
    expected = {choice.name for choice in embodiment.action.choice}
    if set(action.choices) != expected:
        raise SpecError(f"{embodiment.id}: action.choices: got {sorted(action.choices)}, expected {sorted(expected)}")
    if observation is None:
        return
    for choice in embodiment.action.choice:
        over = len(observation.streams[choice.over].sample(-1))
        shape = (over,) if choice.kind == "rank" else (len(observation.streams[choice.for_each].sample(-1)), over)
        _expect(f"{embodiment.id}: action", choice.name, action.choices[choice.name], np.float32, shape)
        if np.isnan(action.choices[choice.name]).any():
            raise SpecError(f"{embodiment.id}: action.{choice.name}: got NaN, expected scores")


def commanded(embodiment: Embodiment, action: Action | None, expected: str) -> np.ndarray:
    """Return an action's continuous numbers ``[dimension]``, as a simulator takes them.

    Args:
        embodiment: the machine.
        action: what it was told.
        expected: the numbers in words, for the message.

    Raises:
        SpecError: no action, or one that is not as many finite numbers as the machine has dimensions.
    """
    continuous = None if action is None else action.continuous
    if continuous is None or np.shape(continuous) != (len(embodiment.action.continuous),):
        raise SpecError(f"{embodiment.id}: action.continuous: got {continuous!r}, expected {expected}")
    if not np.isfinite(continuous).all():
        raise SpecError(f"{embodiment.id}: action.continuous: got {continuous}, expected finite numbers")
    return continuous


def check_chunk(embodiment: Embodiment, chunk: ActionChunk, observation: Observation) -> None:
    """Refuse a chunk that does not answer ``observation`` or whose actions do not fit."""
    if chunk.time_ns != observation.time_ns or chunk.period_s != embodiment.control.period_s:
        raise SpecError(
            f"{embodiment.id}: chunk: got time {chunk.time_ns} and period {chunk.period_s} s, expected "
            f"{observation.time_ns} and {embodiment.control.period_s} s"
        )
    action = chunk.at(chunk.time_ns)
    assert action is not None
    check_action(embodiment, action, observation)


def check_episode(embodiment: Embodiment, episode: Episode) -> None:
    """Refuse an episode with unknown streams or ones that do not fit."""
    if episode.metadata.embodiment_id != embodiment.id:
        raise SpecError(f"episode of {episode.metadata.embodiment_id}, expected one of {embodiment.id}")
    actions = {f"{kind}.{choice.name}" for kind in (ACTION, LABEL) for choice in embodiment.action.choice}
    for name, stream in episode.streams.items():
        if name in (ACTION, LABEL):
            shape = (None, len(embodiment.action.continuous))
            _expect(f"{episode.metadata.episode_id}: {name}", "values", stream.values, np.float32, shape)
        elif name.partition(".")[0] == TRACE:
            _expect(f"{episode.metadata.episode_id}: {name}", "values", stream.values, np.float32, (None, None))
        elif name not in actions:
            check_stream(embodiment, name, stream)


def check_env(env: Env, policy: Policy, *, seed: int, num_steps: int) -> None:
    """Drive an environment for some steps: every sample fits, clocks rise, and the same seed repeats exactly."""
    first = _drive(env, policy, seed=seed, num_steps=num_steps)
    second = _drive(env, policy, seed=seed, num_steps=num_steps)
    for name, stream in first.items():
        other = second[name]
        same = np.array_equal(stream.times_ns, other.times_ns) and np.array_equal(
            stream.values, other.values, equal_nan=stream.values.dtype.kind == "f"
        )
        if not same:
            raise SpecError(f"{env.embodiment.id}: {name}: seed {seed} gave two different worlds")


def _drive(env: Env, policy: Policy, *, seed: int, num_steps: int) -> dict[str, Stream]:
    embodiment, buffer = env.embodiment, StreamBuffer()
    step: Step = env.reset(seed)
    policy.reset(seed)
    for _ in range(num_steps):
        for name, stream in step.samples.items():
            check_stream(embodiment, name, stream)
        buffer.append(step.samples)
        if step.terminated or step.truncated:
            break
        action: Action | None = None
        if step.decision_due:
            observation = observe(embodiment, buffer.streams(), step.time_ns, env.instruction())
            check_observation(embodiment, observation)
            chunk = policy.act(observation)
            check_chunk(embodiment, chunk, observation)
            action = chunk.at(step.time_ns)
        before_ns = step.time_ns
        step = env.step(action)
        if step.time_ns <= before_ns:
            raise SpecError(f"{embodiment.id}: time: got {step.time_ns} ns after {before_ns} ns, expected it to rise")
    return buffer.streams()


def _expect(place: str, what: str, array: np.ndarray, dtype: type, shape: tuple[int | None, ...]) -> None:
    fits = len(array.shape) == len(shape) and all(w is None or w == g for w, g in zip(shape, array.shape, strict=True))
    if array.dtype != dtype or not fits:
        wanted = [("any" if size is None else size) for size in shape]
        raise SpecError(
            f"{place}: {what}: got {array.dtype}{list(array.shape)}, expected {np.dtype(dtype)}{wanted}".replace(
                "'", ""
            )
        )


def _expect_ragged(place: str, stream: Stream, room: int) -> None:
    if stream.splits is None:
        raise SpecError(f"{place}: splits: got None, expected the rows of each sample")
    longest = int(np.diff(stream.splits).max(initial=0))
    if longest > room:
        raise SpecError(f"{place}: got {longest} rows in one sample, expected at most {room}")


def _expect_range(place: str, values: np.ndarray, low: float, high: float) -> None:
    if not values.size or np.isnan(values).all():
        return
    slack = TOLERANCE * (high - low)
    least, most = float(np.nanmin(values)), float(np.nanmax(values))
    if least < low - slack or most > high + slack:
        raise SpecError(f"{place}: got values from {least:g} to {most:g}, expected {low:g} to {high:g}")
