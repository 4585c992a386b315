"""A policy that plans takes the chunk that its objective likes best, of as many as there is time for."""

from __future__ import annotations

import numpy as np
import pytest
import toy
from slow_engine import Clock, SlowEngine

from genba.errors import BundleError, ConfigError
from genba.runtime.bundle import Bundle
from genba.runtime.engine import OnnxEngine
from genba.runtime.planning import Plan, roll_forward
from genba.runtime.policy import EnginePolicy
from genba.spec.normalise import Normalizer
from genba.spec.observation import observe


@pytest.fixture(scope="module")
def engine(toy_bundles):
    return OnnxEngine(Bundle.read(toy_bundles["toy/cart@1"].path))


@pytest.fixture
def observation():
    env = toy.CART.make_env()
    return observe(env.embodiment, env.reset(0).samples, 0)


def most_force(foretold, actions):
    return actions[:, :, 0].mean(1)


def test_the_best_of_the_candidates_is_taken_and_the_flows_own_answer_is_among_them(engine, observation):
    own = EnginePolicy(engine).act(observation).continuous
    more = EnginePolicy(engine, plan=Plan(objective=most_force, num_candidates=8)).act(observation).continuous
    assert more.mean() > own.mean()
    same = EnginePolicy(engine, plan=Plan(objective=lambda f, a: np.zeros(len(a)), num_candidates=8))
    np.testing.assert_array_equal(same.act(observation).continuous, own)
    reluctant = EnginePolicy(engine, plan=Plan(objective=most_force, num_candidates=8, margin=1e6))
    np.testing.assert_array_equal(reluctant.act(observation).continuous, own)


def test_as_many_candidates_as_there_is_time_for(engine, observation):
    clock = Clock()
    policy = EnginePolicy(
        SlowEngine(engine, clock, candidate_s=1.0),
        plan=Plan(objective=most_force, num_candidates=6, flow_steps=1),
        clock=clock,
    )
    policy.act(observation)  # learns that a candidate takes 1 s
    assert policy.candidates_taken == 6
    for time_left_s, expected in ((100.0, 6), (6.5, 6), (3.5, 3), (0.5, 1)):
        policy.act(observation, deadline=clock.now + time_left_s)
        assert policy.candidates_taken == expected


def test_what_is_foretold_begins_with_what_is_there_and_goes_on_from_what_was_foretold(engine, observation):
    normalizer = Normalizer(toy.CART_FACTS, engine.statistics)
    packed = normalizer.pack(observation)
    memory, now = engine.encode(packed), engine.latents(packed)
    chunks = np.random.default_rng(0).standard_normal((3, 8, 1)).astype(np.float32)
    foretold = roll_forward(engine, normalizer, packed, memory, chunks, 3)
    assert foretold["cart"].shape == (4, 3, 1, 2)
    newest = observation.streams["cart"].values[-1]
    np.testing.assert_allclose(foretold["cart"][0, :, 0], np.tile(newest, (3, 1)), atol=1e-4)
    # Horizon 4, chunks of 8: the third horizon repeats the chunk's last action.
    latents, change = np.repeat(now["latents"], 3, 0), 0.0
    for part in (chunks[:, :4], chunks[:, 4:], np.repeat(chunks[:, -1:], 4, 1)):
        found = engine.foretell(latents, np.ascontiguousarray(part), memory)
        latents, change = found["predicted"], change + found["change.cart"][:, 0]
    spread = engine.statistics["cart"].std
    np.testing.assert_allclose(foretold["cart"][3, :, 0] - newest, change * spread, rtol=1e-4, atol=1e-4)


def test_a_plan_needs_a_world_and_something_to_choose_among(toy_bundles):
    plan = Plan(objective=most_force, num_candidates=2)
    with pytest.raises(BundleError, match="no world model to plan with"):
        EnginePolicy(OnnxEngine(Bundle.read(toy_bundles["toy/lines@1"].path)), plan=plan)
    with pytest.raises(ConfigError, match="num_candidates, num_horizons: got 1, 1"):
        Plan(objective=most_force, num_candidates=1)
