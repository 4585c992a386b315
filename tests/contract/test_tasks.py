"""One suite over every registered task and every one of its policies."""

import numpy as np
import pytest

from genba.errors import SimulatorError
from genba.registry import HELD_OUT_TASKS, MAIN_TASKS, TASKS, task
from genba.spec.action import Action
from genba.spec.conformance import check_chunk, check_env, check_observation
from genba.spec.observation import observe
from genba.spec.streams import StreamBuffer
from genba.spec.task import Task

#: control steps of each drive: enough for every channel to speak
STEPS = 12


#: the same code as factory/shortage@1 at sizes at which one teacher's answer takes 10 s or more: ``tests/machines/factory`` has
#: what is particular to them
LARGE = {"factory/shortage-l@1", "factory/shortage-xl@1"}

#: the same code as metaworld/mt10@1 and metaworld/mt10-camera@1 with other names of tasks
OTHER_NAMES = {f"metaworld/{name}@1" for name in ("mt50", "mt50-camera", "ml45", "ml45-adapt", "ml45-test")}

#: policies that think for so long are the same as those that think for 0.1 s
LONG = ("_1s", "_10s")

#: channels whose silence is what a condition is about
MUTE = {"vehicle/signal-off@1": {"signal"}}


@pytest.fixture(scope="module", params=sorted(set(TASKS) - LARGE - OTHER_NAMES))
def machine(request: pytest.FixtureRequest):
    if request.param.startswith("metaworld/"):
        pytest.importorskip("metaworld", reason="Meta-World is not installed: pip install 'genba[metaworld]'")
    found = task(request.param)
    try:
        env = found.make_env()
    except SimulatorError as error:
        if not request.param.startswith("metadrive/"):
            raise
        # an extra for Python 3.11 alone, with assets of its own
        pytest.skip(str(error))
    yield found, env
    env.close()


def seed_of(found: Task, number: int) -> int:
    """A seed that may be trained on; of a task that never is, any other."""
    return (found.train_seeds or found.test_seeds)[number]


def test_the_env_keeps_its_contract_and_repeats_itself(machine):
    found, env = machine
    check_env(env, found.policies[found.expert](env), seed=seed_of(found, 7), num_steps=STEPS)


def test_every_policy_answers_what_it_is_asked(machine):
    found, env = machine
    # the very policies of a main task are asked there
    is_main_s = found.id in HELD_OUT_TASKS and any(task(name).policies is found.policies for name in MAIN_TASKS)
    for name, make in found.policies.items():
        if name.endswith(LONG) or (is_main_s and name != found.expert):
            continue
        step, buffer = env.reset(seed_of(found, 3)), StreamBuffer()
        policy = make(env)
        policy.reset(3)
        for _ in range(STEPS):
            buffer.append(step.samples)
            if step.terminated or step.truncated:
                break
            action: Action | None = None
            if step.decision_due:
                observation = observe(found.embodiment, buffer.streams(), step.time_ns, env.instruction())
                check_observation(found.embodiment, observation)
                chunk = policy.act(observation)
                check_chunk(found.embodiment, chunk, observation)
                action = chunk.at(step.time_ns)
            step = env.step(action)
        assert policy.name, name


def test_every_channel_speaks(machine):
    found, env = machine
    step, buffer = env.reset(seed_of(found, 1)), StreamBuffer()
    policy = found.policies[found.expert](env)
    policy.reset(1)
    for _ in range(STEPS):
        buffer.append(step.samples)
        if step.terminated or step.truncated:
            break
        observation = observe(found.embodiment, buffer.streams(), step.time_ns)
        step = env.step(policy.act(observation).at(step.time_ns) if step.decision_due else None)
    # an instruction is not a stream: the environment says it
    said = {c.name for c in found.embodiment.instruction} if env.instruction() else set()
    silent = {c.name for c in (*found.embodiment.channels, *found.embodiment.relation)} - set(buffer.streams()) - said
    assert silent == MUTE.get(found.id, set())


def test_the_verifier_gives_every_metric(machine):
    found, env = machine
    policy = found.policies[found.expert](env)
    step, buffer = env.reset(seed_of(found, 2)), StreamBuffer()
    policy.reset(2)
    for _ in range(found.max_steps):
        buffer.append(step.samples)
        if step.terminated or step.truncated:
            break
        observation = observe(found.embodiment, buffer.streams(), step.time_ns)
        step = env.step(policy.act(observation).at(step.time_ns) if step.decision_due else None)
    assert step.terminated or step.truncated
    outcome = found.verify(env.trace())
    assert {"success", *(metric.name for metric in found.metrics)} <= set(outcome)
    assert outcome["success"] in (0.0, 1.0)
    assert all(np.isfinite(value) or np.isnan(value) for value in outcome.values())


def test_no_test_seed_may_be_trained_on(machine):
    found, _ = machine
    assert not set(found.test_seeds) & set(found.train_seeds[:2_000_000])
    assert len(found.test_seeds) >= 30
