"""The package's own drivers answer what the package's own code computes, and see a world of their own each time."""

import numpy as np
import pytest

from genba.machines.metadrive.peers import IdmPolicy, PpoExpert
from genba.spec.observation import Observation

from .conftest import play


def test_the_network_is_the_authors_weights_on_the_authors_observation(env):
    play(env, PpoExpert(env), 5004, num_steps=15)
    from metadrive.examples.ppo_expert import numpy_expert

    seen = Observation(env.embodiment.id, 1_500_000_000, {})
    policy = PpoExpert(env)
    policy.reset(0)
    (answer,) = policy.act(seen).continuous
    _, observation = numpy_expert.expert(env.world.agent, deterministic=True, need_obs=True)
    x = observation.reshape(275)
    with np.load(numpy_expert.ckpt_path) as weights:
        for layer in ("fc_1", "fc_2"):
            x = np.tanh(x @ weights[f"default_policy/{layer}/kernel"] + weights[f"default_policy/{layer}/bias"])
        x = x @ weights["default_policy/fc_out/kernel"] + weights["default_policy/fc_out/bias"]
    # four numbers: the mean of steering and throttle, and how they scatter
    assert answer == pytest.approx(np.clip(x[:2], -1, 1), abs=1e-5)


def test_the_networks_observation_is_of_the_world_that_is(env):
    # The package keeps its observation for the whole process; a drive must not depend on what was driven before.
    first = [step.samples["motion"].values for step in play(env, PpoExpert(env), 5004, num_steps=40)]
    play(env, PpoExpert(env), 5001, num_steps=10)
    again = [step.samples["motion"].values for step in play(env, PpoExpert(env), 5004, num_steps=40)]
    assert np.array_equal(first, again)


def test_the_rule_gets_going_and_keeps_to_its_speed(env):
    steps = play(env, IdmPolicy(env), 5004, num_steps=100)
    speeds = np.array([step.samples["motion"].values[0, 0] for step in steps])
    # its target is 30 km/h
    assert 6.0 < speeds.max() < 30 / 3.6 + 1.0
