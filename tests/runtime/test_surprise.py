"""On the machine, surprise is what the model itself finds, of the actions that were really executed; a surprised machine holds back."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
import toy

from genba.errors import BundleError, ConfigError
from genba.runtime.bundle import Bundle
from genba.runtime.engine import OnnxEngine
from genba.runtime.executor import Executor
from genba.runtime.loop import run_episode
from genba.runtime.policy import EnginePolicy
from genba.runtime.surprise import SurpriseWatch
from genba.spec.action import Action
from genba.spec.caution import Caution
from genba.spec.normalise import Normalizer
from genba.spec.observation import Observation, observe
from genba.spec.streams import dense

#: horizon of the cart in control steps, and its period
HORIZON, PERIOD_NS = 4, 50_000_000
CAUTION = Caution(
    channel="",
    threshold=1e-6,
    smoothing_s=0.0,
    hold_s=0.1,
    dimension="force",
    at_most=-1.0,
    measure="cart.velocity",
    above=-100.0,
)


@pytest.fixture
def engine(toy_bundles):
    return OnnxEngine(Bundle.read(toy_bundles["toy/cart@1"].path))


class Kept(Executor):
    """An executor that keeps what it saw and what it said."""

    def reset(self, seed):
        super().reset(seed)
        self.seen = []

    def step(self, observation, *, arrived=None):
        action = super().step(observation, arrived=arrived)
        self.seen.append((observation, action))
        return action


def drive(engine, caution=None, steps=40):
    watch = SurpriseWatch(engine, caution)
    executor = Kept(EnginePolicy(engine, watch=watch), toy.CART_FACTS, enforce_deadline=False, watch=watch)
    run_episode(toy.CART.make_env(), executor, seed=3, max_steps=steps)
    return watch, executor


def test_surprise_is_what_the_model_finds_of_what_was_executed(engine, toy_model):
    watch, executor = drive(engine)
    normalizer = Normalizer(toy.CART_FACTS, engine.statistics)
    assert len(watch.history) == (len(executor.seen) - 1) // HORIZON
    for i, (time_ns, ratios) in enumerate(watch.history):
        (then, _), (now, _) = executor.seen[HORIZON * i], executor.seen[HORIZON * (i + 1)]
        assert time_ns == now.time_ns
        told = np.stack([action.continuous for _, action in executor.seen[HORIZON * i : HORIZON * (i + 1)]])
        before, after = normalizer.pack(then), normalizer.pack(now)
        executed = normalizer.pack_actions(told, before["action.base"])[None]
        with torch.no_grad():
            first, second = ({n: torch.from_numpy(a[None]) for n, a in p.items()} for p in (before, after))
            parts = toy_model.parts_of("toy/cart@1")
            here, known = parts.latents(parts.tokenize(first))
            there, still = parts.latents(parts.tokenize(second))
            encoding = toy_model.encode("toy/cart@1", first)
            foretold = toy_model.predict("toy/cart@1", encoding, here, torch.from_numpy(executed))
            expected = toy_model.surprise("toy/cart@1", foretold, there, known & still)
        assert float(np.nanmean(ratios)) == pytest.approx(float(expected), rel=1e-3)
    assert watch.score == pytest.approx(float(np.nanmean(watch.history[-1][1])))


def test_surprise_is_one_in_the_mean_on_what_its_scale_was_found_on(engine):
    engine.surprise_scale = np.ones_like(engine.surprise_scale)
    errors = np.array([ratios for _, ratios in drive(engine)[0].history])
    engine.surprise_scale = errors.mean(0).astype(np.float32)
    again = np.array([ratios for _, ratios in drive(engine)[0].history])
    np.testing.assert_allclose(again.mean(0), 1.0, rtol=1e-4)


def test_the_log_holds_one_score_per_control_step(engine):
    _, executor = drive(engine)
    scores = executor.log.surprises
    assert len(scores) == executor.log.num_steps == len(executor.seen)
    # Nothing can be compared before the first horizon has passed.
    assert all(math.isnan(score) for score in scores[:HORIZON])
    assert not any(math.isnan(score) for score in scores[HORIZON:])


def test_a_surprised_machine_holds_back_and_an_unsurprised_one_does_not(engine):
    _, calm = drive(engine, dataclasses.replace(CAUTION, threshold=1e9))
    assert calm.log.num_eased == 0
    _, cautious = drive(engine, CAUTION)
    # Compared at steps 4, 8, ...; a threshold that everything exceeds holds back for 0.1 s = 2 steps more, so at every step from
    # the fourth on but the last of each four.
    steps = [step for step in range(HORIZON, len(cautious.seen)) if step % HORIZON < 3]
    assert all(cautious.seen[step][1].continuous[0] <= -1.0 for step in steps)
    assert any(calm.seen[step][1].continuous[0] > -1.0 for step in steps)


def observed(velocity, time_ns=0):
    return Observation("toy/cart@1", time_ns, {"cart": dense([time_ns], [[0.0, velocity]])})


def test_nothing_is_held_back_below_the_measure_or_after_the_time(engine):
    watch = SurpriseWatch(engine, dataclasses.replace(CAUTION, above=2.0))
    watch._until_ns = 10
    proposed = Action(np.array([5.0], np.float32))
    assert watch.ease(proposed, observed(2.1)).continuous.tolist() == [-1.0]
    assert watch.ease(proposed, observed(2.0)) is proposed
    assert watch.ease(proposed, observed(2.1, 11)) is proposed
    assert watch.ease(proposed, observed(math.nan)) is proposed
    braking = Action(np.array([-1.5], np.float32))
    assert watch.ease(braking, observed(2.1)) is braking


def test_a_decision_is_forgotten_where_a_control_step_was_left_out(engine):
    watch = SurpriseWatch(engine)
    env = toy.CART.make_env()
    observation = observe(env.embodiment, env.reset(0).samples, 0)
    packed = Normalizer(toy.CART_FACTS, engine.statistics).pack(observation)
    for told in ([1.0, 1.0, 1.0], [1.0, 1.0, None, 1.0]):
        watch.anchor(0, packed, engine.encode(packed))
        for force in told:
            watch.did(None if force is None else Action(np.array([force], np.float32)))
        later = dataclasses.replace(observation, time_ns=HORIZON * PERIOD_NS)
        assert math.isnan(watch.see(later))
        assert not watch.history


def test_what_has_no_world_cannot_be_watched(toy_bundles):
    with pytest.raises(BundleError, match="no world model, so nothing can be foretold"):
        SurpriseWatch(OnnxEngine(Bundle.read(toy_bundles["toy/lines@1"].path)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dimension": "forces"}, "dimension: got 'forces', expected one of force"),
        ({"measure": "cart.speed"}, "measure: got 'speed', expected one of position, velocity"),
        ({"measure": "card.velocity"}, "measure: got 'card', expected one of cart, goal"),
        ({"channel": "lidar"}, "channel: got 'lidar', expected one of cart, goal"),
    ],
)
def test_a_caution_that_names_what_is_not_there_is_refused(engine, changes, message):
    with pytest.raises(ConfigError, match=message):
        SurpriseWatch(engine, dataclasses.replace(CAUTION, **changes))


def test_a_caution_that_cannot_be_is_refused():
    with pytest.raises(ConfigError, match=r"threshold, smoothing_s, hold_s: got 0, 0\.0, 0\.1"):
        dataclasses.replace(CAUTION, threshold=0)
