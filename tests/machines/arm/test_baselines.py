"""Baselines act on what they may see."""

import inspect

import numpy as np

from genba.machines.arm.baselines import CLOSING_S, FixedForce, Reactive
from genba.spec.observation import Observation, observe
from genba.spec.streams import dense


def test_a_fixed_force_closes_before_it_lifts():
    policy = FixedForce(lambda: 4.0, "fixed_4n")
    policy.reset(0)
    actions = [policy.act(Observation("arm/panda-grip@1", i * 20_000_000, {})).continuous[0] for i in range(20)]
    waiting = round(CLOSING_S / 0.02)
    np.testing.assert_allclose([action[0] for action in actions], 4.0)
    np.testing.assert_allclose([action[1] for action in actions[:waiting]], 0.0)
    assert actions[waiting][1] > 0


def test_the_reactive_controller_sees_only_observations(env):
    assert not inspect.signature(Reactive).parameters
    step = env.reset(3)
    observation = observe(env.embodiment, step.samples, step.time_ns)
    first, second = Reactive(), Reactive()
    np.testing.assert_array_equal(first.act(observation).continuous, second.act(observation).continuous)


def test_reset_forgets_the_friction_felt_before():
    def slid(ratio):
        touch = dense([0] * 4, [[4.0, 4.0 * ratio, 0.0, 4.0, 4.0 * ratio, 0.0]] * 4)
        streams = {"touch": touch, "gripper": dense([0], [[4.0, 0, 0]]), "hand": dense([0], [[0.01, 0, 0, 0]])}
        return Observation("arm/panda-grip@1", 0, streams)

    used, fresh = Reactive(), Reactive()
    used.act(slid(0.9))
    used.reset(0)
    np.testing.assert_array_equal(used.act(slid(0.5)).continuous, fresh.act(slid(0.5)).continuous)
