"""An engine's answer is a valid chunk, the same for the same seed, with as many flow steps as there is time for."""

from __future__ import annotations

import numpy as np
import pytest
import toy
from slow_engine import Clock, SlowEngine

from genba.errors import BundleError
from genba.model.config import preset
from genba.model.world_action_model import WorldActionModel
from genba.runtime.bundle import Bundle
from genba.runtime.engine import OnnxEngine, integrate
from genba.runtime.policy import EnginePolicy
from genba.runtime.torch_engine import TorchEngine
from genba.spec.conformance import check_chunk
from genba.spec.embodiment import load_embodiment
from genba.spec.observation import Observation, observe
from genba.spec.protocols import Policy
from genba.spec.statistics import Statistics, measure
from genba.spec.streams import dense


@pytest.fixture(scope="module")
def engine(toy_bundles):
    return OnnxEngine(Bundle.read(toy_bundles["toy/cart@1"].path))


def observed(task, seed=0):
    env = task.make_env()
    return observe(env.embodiment, env.reset(seed).samples, 0)


def test_a_chunk_fits_the_embodiment(toy_bundles):
    for task in (toy.CART, toy.LINES):
        policy = EnginePolicy(OnnxEngine(Bundle.read(toy_bundles[task.embodiment.id].path)))
        assert isinstance(policy, Policy)
        observation = observed(task)
        check_chunk(task.embodiment, policy.act(observation), observation)


def test_zero_noise_repeats_and_gaussian_noise_follows_the_seed(engine):
    observation = observed(toy.CART)
    zero = EnginePolicy(engine)
    first, second = zero.act(observation).continuous, zero.act(observation).continuous
    np.testing.assert_array_equal(first, second)
    gaussian = EnginePolicy(engine, noise="gaussian")
    draws = []
    for seed in (1, 1, 2):
        gaussian.reset(seed)
        draws.append(gaussian.act(observation).continuous)
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


def test_the_answer_is_the_flow_integrated_in_equal_steps_and_unpacked(engine):
    observation, policy = observed(toy.CART), EnginePolicy(engine, flow_steps=4)
    packed = policy._normalizer.pack(observation)
    normalised = integrate(engine, np.zeros((1, 8, 1), np.float32), engine.encode(packed), 4)
    stats = engine.statistics["action"]
    np.testing.assert_allclose(
        policy.act(observation).continuous, normalised[0] * stats.std + stats.mean, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("time_left_s", "expected"),
    [(100.0, 6), (6.5, 6), (3.5, 3), (1.5, 1), (0.0, 1), (-5.0, 1)],
)
def test_as_many_flow_steps_as_fit_before_the_deadline_but_never_none(engine, time_left_s, expected):
    clock = Clock()
    policy = EnginePolicy(SlowEngine(engine, clock, flow_step_s=1.0), flow_steps=6, clock=clock)
    policy.act(observed(toy.CART))  # learns that a step takes 1 s
    assert policy.flow_steps_taken == 6
    chunk = policy.act(observed(toy.CART), deadline=clock.now + time_left_s)
    assert policy.flow_steps_taken == expected
    # fewer steps are longer steps: the answer is that of ``expected`` equal steps, not a half-way point
    fewer = EnginePolicy(engine, flow_steps=expected).act(observed(toy.CART))
    np.testing.assert_allclose(chunk.continuous, fewer.continuous, rtol=1e-5, atol=1e-5)


def test_impossible_choices_are_refused(engine):
    with pytest.raises(BundleError, match="flow_steps, noise: got 0, 'zero'"):
        EnginePolicy(engine, flow_steps=0)
    with pytest.raises(BundleError, match="flow_steps, noise: got 4, 'pink'"):
        EnginePolicy(engine, noise="pink")


def test_a_network_is_shown_nothing_of_a_sensor_that_has_died():
    facts = load_embodiment("arm/panda-grip@1")
    widths = {channel.name: len(channel.dimensions) for channel in facts.telemetry} | {"action": 2}
    plain = {name: measure(np.array([[-1.0] * width, [1.0] * width])) for name, width in widths.items()}

    class Seeing(TorchEngine):
        def encode(self, packed):
            self.seen = packed
            return super().encode(packed)

    model = WorldActionModel(preset("debug"), [facts]).eval()
    engine = Seeing(model, facts, Statistics(facts.id, plain), flow_steps=1, noise="zero")
    policy = EnginePolicy(engine)

    def act(right_n: float) -> np.ndarray:
        touch = dense(np.arange(60), [[3.0, 1.0, 0.0, right_n, right_n / 3, 0.0]] * 60)
        policy.act(Observation(facts.id, 60, {"touch": touch}))
        return engine.seen["touch.mask"].all(axis=0)

    assert act(3.0).all()
    assert act(0.0).tolist() == [True] * 3 + [False] * 3
    policy.reset(0)
    assert act(3.0).all()
