"""An episode is recorded as it happened, and a labeller teaches without acting."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import toy

from genba.runtime.bundle import Bundle
from genba.runtime.engine import OnnxEngine
from genba.runtime.executor import Executor
from genba.runtime.loop import run_episode
from genba.runtime.policy import EnginePolicy
from genba.runtime.recorder import Recorder
from genba.spec.conformance import check_episode
from genba.spec.episode import EpisodeMetadata
from genba.spec.observation import observe


def run(task, policy, *, labelled=False, max_steps=None):
    env, recorder = task.make_env(), Recorder(task.embodiment)
    executor = Executor(policy, task.embodiment, enforce_deadline=False)
    labeller = task.policies[task.expert](env) if labelled else None
    done = run_episode(
        env, executor, seed=7, max_steps=max_steps or task.max_steps, labeller=labeller, recorder=recorder
    )
    episode = recorder.episode(EpisodeMetadata(episode_id="x", embodiment_id=task.embodiment.id))
    check_episode(task.embodiment, episode)
    return env, done, episode


def test_the_record_of_a_cart_is_what_it_saw_and_was_told():
    env, done, episode = run(toy.CART, toy.Pusher())
    assert (done.num_steps, done.terminated, done.truncated) == (60, False, True)
    assert done.simulated_s == pytest.approx(3.0)  # 60 steps of 50 ms
    assert len(episode.streams["cart"]) == 1 + 60 * 5  # 100 Hz against 20 Hz, and the first sample
    np.testing.assert_allclose(episode.streams["action"].values[:, 0], env.trace()["force_n"])
    assert "label" not in episode.streams
    # each action answers the newest sample of its time: the expert's law, from the record alone
    for i, time_ns in enumerate(episode.streams["action"].times_ns):
        seen = observe(toy.CART_FACTS, episode.streams, int(time_ns))
        assert toy.Pusher().act(seen).continuous[0, 0] == pytest.approx(episode.streams["action"].values[i, 0])


def test_a_labeller_says_what_the_expert_would_do_and_does_not_act():
    env, _, episode = run(toy.CART, toy.Constant(1.0), labelled=True)
    assert set(env.trace()["force_n"]) == {1.0}
    label = episode.streams["label"]
    assert np.array_equal(label.times_ns, episode.streams["action"].times_ns)
    for i in (0, 30, 59):
        seen = observe(toy.CART_FACTS, episode.streams, int(label.times_ns[i]))
        assert toy.Pusher().act(seen).continuous[0, 0] == pytest.approx(label.values[i, 0])


def test_choices_are_recorded_where_a_decision_was_due_padded_with_nan_beyond_the_rows():
    _, done, episode = run(toy.LINES, toy.Dispatcher("most_slack", 1.0), labelled=True)
    assert done.terminated
    rank, label = episode.streams["action.next_order"], episode.streams["label.next_order"]
    # one decision per order, over the 5, 4, 3, 2, 1 orders that then wait
    assert np.diff(rank.splits).tolist() == [5, 4, 3, 2, 1]
    assign = episode.streams["action.line_for_order"]
    assert assign.values.shape == (15, 2)
    # The labeller is asked at every control step, also between decisions, and here says the opposite.
    assert len(label) == done.num_steps
    for i, time_ns in enumerate(rank.times_ns):
        asked = int(np.flatnonzero(label.times_ns == time_ns)[0])
        np.testing.assert_array_equal(label.sample(asked), -rank.sample(i))


def test_a_bundle_drives_an_episode_and_counts_its_flow_steps(toy_bundles):
    for task in (toy.CART, toy.LINES):
        engine = OnnxEngine(Bundle.read(toy_bundles[task.embodiment.id].path, task.embodiment))
        _, done, _ = run(task, EnginePolicy(engine))
        if task is toy.CART:
            assert done.log.num_decisions == 15  # 60 control steps in chunks of 4
            assert done.log.flow_steps == {4: 15}
        else:
            assert done.log.num_decisions == 5
            assert done.log.flow_steps == {}


def test_max_steps_ends_an_episode_as_truncated():
    _, done, episode = run(toy.CART, toy.Pusher(), max_steps=10)
    assert (done.num_steps, done.truncated) == (10, True)
    assert len(episode.streams["action"]) == 10


def test_the_garbage_collector_is_left_as_it_was_found():
    env = toy.Cart()
    with pytest.raises(ZeroDivisionError, match="broke on purpose"):
        run_episode(env, Executor(toy.Broken(), toy.CART_FACTS), seed=0, max_steps=9)
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
