"""A seed is one world of one task, what is sensed is what the package says, and only the package says success."""

import sys

import numpy as np
import pytest

pytest.importorskip("metaworld", reason="Meta-World is not installed: pip install 'genba[metaworld]'")

from genba import registry
from genba.errors import SimulatorError, SpecError
from genba.machines.metaworld.simulator import MetaWorldEnv, scene
from genba.machines.metaworld.task_list import INSTRUCTIONS, MT10, MT50
from genba.spec.action import Action
from genba.spec.embodiment import load_embodiment

from .conftest import play


def act(*numbers):
    return Action(np.array(numbers, np.float32))


def test_seeds_go_round_the_tasks(env):
    seen = []
    for seed in range(20, 30):
        env.reset(seed)
        seen.append(env.name)
        assert env.instruction() == INSTRUCTIONS[env.name]
    assert seen == list(MT10)


def test_a_used_environment_gives_the_world_that_a_fresh_one_gives(env):
    seed = 12  # pick-place-v3
    play(env, seed + 10)
    used = play(env, seed, num_steps=30)[1]
    fresh = MetaWorldEnv(("pick-place-v3",))
    try:
        again = play(fresh, seed, num_steps=30)[1]
    finally:
        fresh.close()
    assert len(used) == 31
    assert np.array_equal(used, again)


def test_other_seeds_of_a_task_put_its_things_and_its_goal_elsewhere(env):
    found = []
    for seed in (2, 12, 1_000_002):
        env.reset(seed)
        found.append(np.concatenate([env.raw[4:7], env.raw[36:39]]))
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(found[i] - found[j]).max() > 0.01


def test_what_is_sensed_is_what_the_package_observes(env):
    steps, raws = play(env, 7)  # peg-insert-side-v3
    assert len(steps) > 30
    for i, (step, raw) in enumerate(zip(steps, raws, strict=True)):
        # 80 Hz: 5 physics steps of 2.5 ms
        assert step.time_ns == i * 12_500_000
        stream = step.samples["scene"]
        assert stream.times_ns.tolist() == [step.time_ns]
        row = stream.values[0]
        assert np.array_equal(row[:11], raw[:11].astype(np.float32))
        assert np.array_equal(row[18:], raw[36:].astype(np.float32))
        # one thing lies on the table: the second is missing, not at the origin
        assert not raw[11:18].any()
        assert np.isnan(row[11:18]).all()


def test_a_second_object_is_seen_and_a_hidden_goal_is_missing():
    raw = np.arange(1, 40, dtype=np.float64) / 40
    row = scene(raw)
    assert np.array_equal(row, np.float32([*range(1, 19), 37, 38, 39]) / np.float32(40))
    raw[36:] = 0.0
    assert np.isnan(scene(raw)[18:]).all()


def test_what_was_thrown_far_away_is_seen_at_the_edge():
    raw = np.full(39, 0.5)
    raw[4:7] = 30.1, 3.5, -900.0
    row = scene(raw)
    assert row[4:7].tolist() == [3.0, 3.0, -3.0]
    (channel,) = load_embodiment("metaworld/sawyer@1").telemetry
    limits = {
        (d.low, d.high) for d in channel.dimensions if d.name.startswith(("first_", "goal")) and "turn" not in d.name
    }
    assert limits == {(-3.0, 3.0)}


def test_an_episode_ends_with_the_packages_first_success(env):
    steps, _ = play(env, 5)  # drawer-close-v3
    assert steps[-1].terminated
    success = env.trace()["success"]
    assert len(success) == len(steps) - 1
    assert success[-1]
    assert not success[:-1].any()
    with pytest.raises(SimulatorError, match=r"no episode is under way; call reset\(seed\) first"):
        env.step(act(0, 0, 0, 0))


def test_an_episode_without_success_is_cut_after_500_steps(env):
    step = env.reset(1)
    for i in range(500):
        assert not (step.terminated or step.truncated), i
        step = env.step(act(0, 0, 0, -1))
    assert step.truncated
    assert not step.terminated


def test_a_step_of_one_moves_the_hand_by_at_most_a_centimetre(env):
    before = env.reset(0).samples["scene"].values[0, :3]
    for _ in range(20):
        after = env.step(act(0, 0, 50.0, 0)).samples["scene"].values[0, :3]
    # 20 steps of 10 mm at most, as 50 is bounded to 1; the hand follows what it is told with a lag
    assert 0.05 < after[2] - before[2] < 0.201


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (None, "got None, expected three steps and the grasp"),
        (act(0, 0, 0), "expected three steps and the grasp"),
        (act(0, 0, np.nan, 0), "expected finite numbers"),
    ],
)
def test_what_is_no_action_is_refused(env, action, message):
    env.reset(0)
    with pytest.raises(SpecError, match=message):
        env.step(action)


def test_before_a_first_episode_there_is_nothing_to_tell():
    env = MetaWorldEnv(MT10)
    assert env.instruction() == ""
    with pytest.raises(SimulatorError, match=r"no episode has begun; call reset\(seed\) first"):
        env.trace()
    with pytest.raises(SimulatorError, match=r"no episode is under way; call reset\(seed\) first"):
        env.step(act(0, 0, 0, 0))


def test_without_the_package_the_extra_is_named_and_tasks_are_still_listed(monkeypatch):
    monkeypatch.setitem(sys.modules, "metaworld", None)
    found = registry.task("metaworld/mt50@1")
    assert len(found.test_seeds) % len(MT50) == 0
    with pytest.raises(SimulatorError, match=r"pip install 'genba\[metaworld\]'"):
        found.make_env()
