"""The environment keeps the contract, repeats by seed, and asks once."""

from __future__ import annotations

import numpy as np
import pytest

from genba.errors import ConfigError, SimulatorError, SpecError
from genba.machines.factory.expert import SearchExpert
from genba.machines.factory.generator import generate
from genba.machines.factory.problem import FREEZE_S
from genba.machines.factory.simulator import FactoryEnv
from genba.machines.factory.tasks import SHORTAGE
from genba.spec.action import Action
from genba.spec.conformance import check_action, check_env, check_observation
from genba.spec.observation import observe
from genba.spec.units import SECOND_NS


@pytest.mark.parametrize("size", ["5x50", "10x200"])
def test_the_same_seed_gives_the_same_world_and_every_sample_fits(size: str) -> None:
    env = FactoryEnv(size)
    check_env(env, SHORTAGE.policies["atc"](env), seed=7, num_steps=30)


@pytest.mark.parametrize("size", ["20x1000", "30x2000"])
def test_large_plants_fit_the_embodiment_and_the_verifier_takes_a_rules_plan(size: str) -> None:
    env = FactoryEnv(size)
    step = env.reset(1)
    observation = observe(env.embodiment, step.samples, step.time_ns)
    check_observation(env.embodiment, observation)
    before = env.plan.weighted_tardiness_s(env.problem)
    env.step(SHORTAGE.policies["atc"](env).act(observation).at(step.time_ns))
    assert SHORTAGE.verify(env.trace())["weighted_tardiness_s"] < before


# those that search for 1 s and 10 s are those that search for 0.1 s, told another number
@pytest.mark.parametrize("name", sorted(name for name in SHORTAGE.policies if not name.endswith(("_1s", "_10s"))))
def test_every_policy_answers_what_fits_and_the_verifier_takes_it(name: str) -> None:
    env = FactoryEnv("5x50")
    step = env.reset(2)
    policy = SHORTAGE.policies[name](env)
    policy.reset(2)
    observation = observe(env.embodiment, step.samples, step.time_ns)
    action = policy.act(observation).at(step.time_ns)
    assert action is not None
    check_action(env.embodiment, action, observation)
    env.step(action)
    assert SHORTAGE.verify(env.trace())["weighted_tardiness_s"] == env.plan.weighted_tardiness_s(env.problem)


def test_one_decision_is_due_and_the_episode_ends_when_nothing_is_free() -> None:
    env = FactoryEnv("5x50")
    step = env.reset(4)
    assert step.decision_due
    assert step.time_ns == env.problem.event_time_s * SECOND_NS
    num_steps = 0
    while not step.terminated:
        step = env.step(None)
        num_steps += 1
        assert not step.decision_due
    assert (env.plan.start_s < env.now_s + FREEZE_S).all()
    assert 1 < num_steps < SHORTAGE.max_steps
    assert (env.plan.start_s == env.unchanged.start_s).all()  # nobody decided, so the old plan ran, pushed back


def test_rows_are_the_orders_that_may_still_be_moved() -> None:
    env = FactoryEnv("5x50")
    step = env.reset(4)
    free = (env.nominal.start_s >= env.problem.event_time_s + FREEZE_S).sum()
    assert len(step.samples["orders"].sample(-1)) == free
    assert len(env.step(None).samples["orders"].sample(-1)) < free


def test_the_teacher_goes_on_with_its_plan_while_the_plant_follows_it() -> None:
    env = FactoryEnv("5x50")
    step = env.reset(5)
    expert = SearchExpert(env, num_moves=140, num_warm_moves=30)
    expert.reset(5)
    step = env.step(expert.act(observe(env.embodiment, step.samples, step.time_ns)).at(step.time_ns))
    planned_s = env.plan.start_s[env.situation().orders]
    action = expert.act(observe(env.embodiment, step.samples, step.time_ns)).at(step.time_ns)
    assert action is not None
    assert (np.argsort(-action.choices["sequence"], kind="stable") == np.argsort(planned_s, kind="stable")).all()


def test_the_teacher_answers_for_a_plant_that_another_policy_steered() -> None:
    env = FactoryEnv("5x50")
    step = env.reset(5)
    expert = SearchExpert(env, num_moves=140, num_warm_moves=30)
    expert.reset(5)
    observation = observe(env.embodiment, step.samples, step.time_ns)
    expert.act(observation)
    step = env.step(SHORTAGE.policies["fifo"](env).act(observation).at(step.time_ns))
    situation = env.situation()
    before = env.plan.weighted_tardiness_s(env.problem)
    observation = observe(env.embodiment, step.samples, step.time_ns)
    action = expert.act(observation).at(step.time_ns)
    assert action is not None
    assert action.choices["sequence"].shape == situation.orders.shape
    env.step(action)
    assert env.plan.weighted_tardiness_s(env.problem) < before


def test_an_action_for_other_rows_is_refused() -> None:
    env = FactoryEnv("5x50")
    env.reset(0)
    stale = Action(choices={"sequence": np.zeros(50, np.float32), "line": np.zeros((50, 5), np.float32)})
    with pytest.raises(SpecError, match="factory decision: got sequence"):
        env.step(stale)


def test_sampling_is_an_option_that_never_costs_tardiness() -> None:
    rng, found = np.random.default_rng(0), []
    for num_samples in (1, 8):
        env = FactoryEnv("5x50", num_samples=num_samples)
        env.reset(0)
        n = len(env.situation().orders)
        rng = np.random.default_rng(0)
        choices = {"sequence": rng.normal(size=n), "line": rng.normal(size=(n, 5))}
        env.step(Action(choices={name: scores.astype(np.float32) for name, scores in choices.items()}))
        found.append(env.plan.weighted_tardiness_s(env.problem))
    assert found[1] <= found[0]


def test_deliveries_slip_only_after_the_frozen_orders() -> None:
    for seed in range(5):
        problem, _ = generate(seed, "5x50")
        slipped = problem.late_time_s > problem.delivery_time_s
        assert (problem.delivery_time_s[slipped] > problem.event_time_s + FREEZE_S).all()
        assert (slipped.any(1).sum()) <= 1
        assert (problem.stock + problem.delivery_quantity.sum(1) >= problem.requirement.sum(0)).all()


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean '5x50'"):
        generate(0, "5x5")


def test_a_step_without_an_episode_is_refused() -> None:
    with pytest.raises(SimulatorError, match=r"call reset\(seed\) first"):
        FactoryEnv().situation()


def test_the_picture_is_a_png() -> None:
    env = FactoryEnv("5x50")
    env.reset(0)
    (picture,) = SHORTAGE.draw(env.trace(), "nobody")
    assert picture.media_type == "image/png"
    assert picture.data.startswith(b"\x89PNG")
    assert "nobody" in picture.caption
