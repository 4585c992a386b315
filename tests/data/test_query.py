"""A window holds exactly the samples of its time, whatever is kept in memory, in whatever order it is asked for."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_episodes import random_episode

from genba.data.query import Offsets, Span, WindowQuery
from genba.data.vault import Vault
from genba.errors import ConfigError, CorruptShardError, DataError
from genba.spec.units import SECOND_NS, to_ns

SPANS = [Span(-0.5, 0.5), Span(-0.3, 0.0), Span(0.0, 0.0), Span(float("-inf"), 0.0, newest=3), Span(-9.0, 9.0)]
OFFSETS = [Offsets((0.0,)), Offsets((-0.4, 0.0, 0.25)), Offsets((-0.2, 0.0), max_age_s=0.05)]
#: of every kind: numbers, frames, points, rows, pairs of rows, commands, scores
STREAMS = ["joints", "force", "front", "lidar", "orders", "duration", "action", "action.sequence", "action.line"]


@pytest.fixture(scope="module")
def many(tmp_path_factory, everything) -> Vault:
    """Five episodes, the second without a force and without frames, each at its own time."""
    vault = Vault.open(tmp_path_factory.mktemp("many") / "vault", create=True, embodiments=[everything])
    for seed in range(5):
        absent = frozenset(["force", "front"]) if seed == 1 else frozenset()
        vault.append(random_episode(everything, seed, absent=absent, start_ns=(seed * 7919) * SECOND_NS))
    return vault


@pytest.fixture(scope="module")
def episodes(many):
    return [many.read(entry.episode_id) for entry in many.entries()]


def expected(stream, asked, time_ns) -> list[int | None]:
    """Return which samples a window holds, by looking at every one of them; None for a hole."""
    if stream is None:
        return [] if isinstance(asked, Span) else [None] * len(asked.offsets_s)
    times = stream.times_ns.tolist()
    if isinstance(asked, Span):
        low = -float("inf") if asked.start_s == -float("inf") else time_ns + to_ns(asked.start_s)
        found = [i for i, t in enumerate(times) if low <= t <= time_ns + to_ns(asked.stop_s)]
        return found[-asked.newest :] if asked.newest else found
    out = []
    for offset in asked.offsets_s:
        at = time_ns + to_ns(offset)
        known = [i for i, t in enumerate(times) if t <= at]
        fresh = known and (asked.max_age_s == float("inf") or at - times[known[-1]] <= to_ns(asked.max_age_s))
        out.append(known[-1] if fresh else None)
    return out


def assert_windows_are_the_episodes(query, episodes, chosen, times_ns):
    found = query.windows(chosen, times_ns)
    for name, samples in found.items():
        for w, (e, time_ns) in enumerate(zip(chosen.tolist(), times_ns.tolist(), strict=True)):
            stream = episodes[e].streams.get(name)
            want = expected(stream, query.channels[name], time_ns)
            want += [None] * (samples.mask.shape[1] - len(want))
            assert samples.mask[w].tolist() == [i is not None for i in want], name
            for s, i in enumerate(want):
                if i is None:
                    assert samples.times_ns[w, s] == 0
                    assert not samples.rows(w, s).any()
                else:
                    assert samples.times_ns[w, s] == stream.times_ns[i]
                    np.testing.assert_array_equal(samples.rows(w, s), stream.sample(i), err_msg=name)


@settings(max_examples=25, deadline=None)
@given(
    asked=st.lists(st.sampled_from([*SPANS, *OFFSETS]), min_size=len(STREAMS), max_size=len(STREAMS)),
    moments=st.lists(st.tuples(st.integers(0, 4), st.floats(-0.7, 2.0)), min_size=1, max_size=12),
    memory_bytes=st.sampled_from([0, 3000, 20_000, 1 << 30]),
)
def test_windows_hold_what_the_episodes_hold(many, episodes, asked, moments, memory_bytes):
    query = WindowQuery(many, many.entries(), dict(zip(STREAMS, asked, strict=True)), memory_bytes=memory_bytes)
    chosen = np.array([e for e, _ in moments])
    times_ns = np.array([episodes[e].start_ns + to_ns(t) for e, t in moments])
    # The second time everything that is kept is there already.
    for _ in range(2):
        assert_windows_are_the_episodes(query, episodes, chosen, times_ns)
    assert query.memory.used_bytes <= memory_bytes


def test_a_sample_at_either_end_of_a_span_is_in_it(many, episodes):
    times_ns = episodes[0].streams["joints"].times_ns
    query = WindowQuery(many, many.entries(), {"joints": Span(-0.1, 0.1)})
    moment = np.array([times_ns[5] + to_ns(0.1), times_ns[5] - to_ns(0.1)])
    found = query.windows(np.zeros(2, np.int64), moment)["joints"]
    assert times_ns[5] == found.times_ns[0, 0] == found.times_ns[1, found.mask[1]][-1]
    just_off = query.windows(np.zeros(2, np.int64), moment + np.array([1, -1]))["joints"]
    assert times_ns[5] not in just_off.times_ns


def test_no_moment_gives_empty_windows(many):
    query = WindowQuery(many, many.entries(), {name: Span(-0.1, 0.1) for name in STREAMS})
    found = query.windows(np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert {samples.mask.shape for samples in found.values()} == {(0, 0)}
    assert found["lidar"].splits is not None and found["lidar"].splits.tolist() == [0]


def test_episodes_are_opened_when_they_are_asked_for(many, episodes):
    query = WindowQuery(many, many.entries(), {"joints": Span(-0.1, 0.1)})
    assert query.memory.used_bytes == 0
    query.windows(np.array([3]), np.array([episodes[3].start_ns]))
    joints = episodes[3].streams["joints"]
    # 8 bytes of time and the numbers of this one episode.
    assert query.memory.used_bytes == 8 * len(joints) + joints.values.nbytes


def test_only_the_sweeps_of_a_window_are_decoded_and_each_once(three, everything):
    (entry, *_) = three.entries()
    sweeps = three.read(entry.episode_id).streams["lidar"]
    stored, middle = three.shard(entry).streams["lidar"], len(sweeps) // 2
    assert 0 < middle < len(sweeps) - 1
    again = Vault.open(three.path, embodiments=[everything])
    query = WindowQuery(again, again.entries(), {"lidar": Span(0.0, 0.0)})

    def damage(sweep):
        with (three.path / entry.file).open("r+b") as file:
            file.seek(int(stored.bounds[sweep]) + 3)
            (byte,) = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([byte ^ 1]))

    def sweep_at(i):
        return query.windows(np.zeros(1, np.int64), sweeps.times_ns[i : i + 1])["lidar"].rows(0, 0)

    # Whoever asks for the damaged sweep is told so; everyone else never meets it.
    damage(middle)
    for i in range(len(sweeps)):
        if i != middle:
            np.testing.assert_array_equal(sweep_at(i), sweeps.sample(i))
    with pytest.raises(CorruptShardError, match=rf"lidar: block {middle}: "):
        sweep_at(middle)
    # What was decoded once is kept: damage that comes later is not met.
    damage(0)
    np.testing.assert_array_equal(sweep_at(0), sweeps.sample(0))


def test_threads_that_meet_an_episode_at_once_see_whole_sweeps(many, episodes):
    chosen = np.repeat(np.arange(5), 40)
    times_ns = np.concatenate([e.start_ns + np.linspace(0, 1.5 * SECOND_NS, 40).astype(np.int64) for e in episodes])
    asked = {"lidar": Span(-0.5, 0.0), "orders": Span(-0.5, 0.0)}
    want = WindowQuery(many, many.entries(), asked, memory_bytes=0).windows(chosen, times_ns)
    query, order = WindowQuery(many, many.entries(), asked), np.random.default_rng(0).permutation(len(chosen))
    parts = np.array_split(order, 20)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda part: query.windows(chosen[part], times_ns[part]), parts))
    for part, answer in zip(parts, answers, strict=True):
        for name, samples in answer.items():
            for w, moment in enumerate(part.tolist()):
                for s in np.flatnonzero(samples.mask[w]).tolist():
                    np.testing.assert_array_equal(samples.rows(w, s), want[name].rows(moment, s))


def test_what_is_not_there_is_refused(many, everything):
    entries = many.entries()
    with pytest.raises(ConfigError, match=r"got no stream 'joint' to cut windows from; did you mean 'joints'"):
        WindowQuery(many, entries, {"joint": Span(0, 0)})
    with pytest.raises(DataError, match=r"got episodes of no embodiment, expected of exactly one"):
        WindowQuery(many, [], {"joints": Span(0, 0)})
    query = WindowQuery(many, entries, {"joints": Span(0, 0)})
    with pytest.raises(IndexError, match="episodes 5 to 5, expected 0 to 4"):
        query.windows(np.array([5]), np.array([0]))
    with pytest.raises(IndexError, match=r"got shapes \(1,\) and \(2,\)"):
        query.windows(np.array([0]), np.array([0, 1]))
    with pytest.raises(ConfigError, match="start_s 1 and stop_s 0, expected a rising pair"):
        Span(1, 0)
    with pytest.raises(ConfigError, match="newest: got -1"):
        Span(0, 0, newest=-1)
    with pytest.raises(ConfigError, match="expected offsets and at least 0"):
        Offsets(())
