"""Conditions are physical, lie outside what is trained on, and can be trained on by no command."""

import dataclasses

import numpy as np
import pytest

from genba import registry
from genba.bench.collect import collect
from genba.cli import demo
from genba.data.vault import Vault
from genba.errors import ConfigError, DataError
from genba.machines.arm.conditions import CONDITIONS, NOMINAL
from genba.machines.arm.expert import GripExpert
from genba.machines.arm.objects import GRAVITY_MPS2, PAD_REACH_M, draw_object
from genba.machines.arm.sensing import SENSING
from genba.machines.arm.simulator import GripEnv
from genba.spec.action import Action
from genba.spec.embodiment import load_embodiment
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.observation import observe
from genba.spec.streams import StreamBuffer, dense
from genba.spec.twins import TwinWatch
from genba.train.data import prepare
from genba.train.recipe import recipe

IDS = [f"arm/grip-{name}@1" for name in CONDITIONS]


def _drive(env, force_n, speed_mps=0.06, num_steps=110, seed=0):
    """Close for 0.3 s, then lift; return the trace and everything sensed."""
    buffer = StreamBuffer()
    buffer.append(env.reset(seed).samples)
    for i in range(num_steps):
        step = env.step(Action(np.array([force_n, speed_mps if i >= 15 else 0.0], np.float32)))
        buffer.append(step.samples)
        if step.terminated:
            break
    return env.trace(), buffer.streams()


def _with(thing):
    """An environment whose every episode has this object."""

    class One(type(NOMINAL)):
        def draw(self, seed):
            return thing

    return GripEnv(One(name="", description=""))


def _strong(seed=3, **changes):
    changes = {"pour_factor": 1.0, "strength": 50.0, "stiffness_npm": 9e3, "mass_kg": 0.4, "friction": 0.6} | changes
    return dataclasses.replace(draw_object(seed), **changes)


def _slid_m(trace):
    offset_m = trace["physics.object_height_m"] - trace["physics.hand_height_m"]
    return float(np.abs(offset_m - offset_m[200]).max())


def test_every_condition_is_a_task_of_its_own_on_the_same_frozen_boxes():
    assert set(IDS) == {name for name in registry.HELD_OUT_TASKS if name.startswith("arm/")}
    nominal = registry.task("arm/grip@1")
    for task_id in IDS:
        task = registry.task(task_id)
        assert task.test_seeds == nominal.test_seeds and len(task.test_seeds) == 300
        assert len(task.train_seeds) == 0
        assert {"reactive", "oracle", "fixed_4n"} <= set(task.policies)


def test_nothing_is_collected_in_a_condition():
    for task_id in IDS:
        with pytest.raises(ConfigError, match="never trained on"):
            collect(task_id, policy="expert", seeds=[1], sink=None, workers=0, labeller="expert")


def test_training_refuses_a_vault_with_episodes_of_a_condition(tmp_path):
    vault = Vault.open(tmp_path / "vault", create=True)
    facts = load_embodiment("arm/panda-grip@1")
    vault.append(
        Episode(
            EpisodeMetadata(episode_id="smuggled", embodiment_id=facts.id, task_id=IDS[0]),
            {"load": dense([0, 100_000_000], np.zeros((2, 4), np.float32))},
        )
    )
    with pytest.raises(DataError, match=rf"smuggled: 1 episodes of {IDS[0]}, which may not be trained on"):
        prepare(vault, [facts], recipe("debug"))


def test_the_demo_trains_in_no_condition():
    for plan in (demo.FULL, demo.LONG, demo.QUICK):
        assert not set(plan.shares) & registry.HELD_OUT_TASKS


def test_ranges_lie_outside_what_is_trained_on_and_only_what_is_named_changes():
    for seed in range(200):
        nominal = NOMINAL.draw(seed)
        assert nominal == draw_object(seed)
        assert CONDITIONS["slippery"].draw(seed).friction < 0.3
        assert CONDITIONS["heavy-filling"].draw(seed).pour_factor > 1.8
        assert abs(CONDITIONS["off-centre"].draw(seed).offset_m) >= 0.005
        assert CONDITIONS["knock"].draw(seed).knock_mps2 >= 6.0
        for name in ("noisy", "dead-pad", "slow-gripper"):
            assert CONDITIONS[name].draw(seed) == nominal
        assert dataclasses.replace(CONDITIONS["cylinder"].draw(seed), shape="box") == nominal


@pytest.mark.parametrize(("shape", "offset_m"), [("box", 0.008), ("box", 0.012), ("cylinder", 0.0)])
def test_off_centre_and_round_objects_hold_above_the_required_force_and_slip_below(shape, offset_m):
    thing = _strong(shape=shape, offset_m=offset_m, grasp_height_m=0.0)
    # Two pads carry m g, and turn against m g d: m g / (2 mu) * sqrt(1 + (d / r)^2) while rising without a shake.
    force_n = 0.4 * GRAVITY_MPS2 / (2 * 0.6) * np.hypot(1.0, offset_m / PAD_REACH_M)
    below, _ = _drive(_with(thing), 0.85 * force_n)
    above, _ = _drive(_with(thing), 1.2 * force_n)
    assert _slid_m(below) > 0.008 or below["physics.tilt_rad"][-1] > 0.3
    assert _slid_m(above) < 0.002
    assert above["physics.tilt_rad"][-1] < 0.1


def test_a_knock_pushes_the_box_through_the_pads_and_no_knock_does_not():
    thing = _strong(knock_mps2=9.0, knock_s=0.04, knock_height_m=0.06, grasp_height_m=0.0)
    force_n = 1.2 * 0.4 * GRAVITY_MPS2 / (2 * 0.6)
    assert _slid_m(_drive(_with(thing), force_n)[0]) > 0.003
    assert _slid_m(_drive(_with(dataclasses.replace(thing, knock_mps2=0.0)), force_n)[0]) < 0.001


def test_a_dead_pad_feels_noise_and_the_other_one_the_grip():
    env = GripEnv(CONDITIONS["dead-pad"])
    for seed in range(4):
        _, felt = _drive(env, 0.8 * NOMINAL.draw(seed).crush_load_n, 0.0, 40, seed)
        normal_n = felt["touch"].values[-40:, [0, 3]]
        dead = env.condition.dead_pad(seed)
        assert abs(normal_n[:, dead].mean()) < 4 * SENSING.force_noise_n / np.sqrt(40)
        assert normal_n[:, 1 - dead].mean() > 0.5
    assert {env.condition.dead_pad(seed) for seed in range(10)} == {0, 1}


def test_every_sensor_is_noisier_and_the_gripper_slower_where_the_condition_says_so():
    def spread(condition):
        _, felt = _drive(GripEnv(condition), 0.6, 0.0, 60)
        return {name: np.std(felt[name].values[-20:], axis=0) for name in ("touch", "joints", "pose", "gripper")}

    usual, noisy = spread(NOMINAL), spread(CONDITIONS["noisy"])
    for name in usual:
        still = usual[name] > 0
        # The standard deviation of 20 samples has a standard error of 16 %; the median over dimensions less.
        assert np.median(noisy[name][still] / usual[name][still]) == pytest.approx(3.0, rel=0.5)

    def risen(condition):
        trace, _ = _drive(GripEnv(condition), 0.8 * NOMINAL.draw(0).crush_load_n, 0.0, 3)
        force = trace["physics.pad_force_n"].mean(axis=1)
        return force[-1] - force[200]

    assert risen(CONDITIONS["slow-gripper"]) < 0.8 * risen(NOMINAL)


def test_samples_arrive_when_their_delay_has_passed():
    env = GripEnv()
    env.reset(0)
    for _ in range(10):
        step = env.step(Action(np.array([0.5, 0.0], np.float32)))
        for name, delay_ms in SENSING.delay_ms.items():
            if name in step.samples:
                assert step.time_ns - int(step.samples[name].times_ns[-1]) >= delay_ms * 1_000_000


@pytest.mark.parametrize("seed", range(3))
def test_a_dead_pad_is_found_by_the_other_and_living_ones_are_not_accused(seed):
    found = []
    for condition in (CONDITIONS["dead-pad"], NOMINAL, CONDITIONS["noisy"], CONDITIONS["off-centre"]):
        env, buffer, watch = GripEnv(condition), StreamBuffer(), TwinWatch(GripEnv().embodiment)
        step, accused = env.reset(seed), set()
        teacher = GripExpert(env)
        while not (step.terminated or step.truncated):
            buffer.append(step.samples)
            observation = observe(env.embodiment, buffer.streams(), step.time_ns)
            watch.look(observation)
            accused.update(watch.silent)
            step = env.step(teacher.act(observation).at(step.time_ns))
        found.append(accused)
    assert found == [{f"touch.normal_{('left', 'right')[CONDITIONS['dead-pad'].dead_pad(seed)]}"}, set(), set(), set()]
