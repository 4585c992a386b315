"""The physics is Coulomb's, the sensors feel it, the clocks are the channels' own, and a seed gives one world."""

import dataclasses

import numpy as np
import pytest

from genba.errors import SimulatorError, SpecError
from genba.machines.arm import conditions, simulator
from genba.machines.arm.baselines import FixedForce
from genba.machines.arm.expert import GripExpert
from genba.machines.arm.objects import GRAVITY_MPS2, draw_object
from genba.machines.arm.sensing import SENSING
from genba.machines.arm.simulator import GripEnv
from genba.spec.action import Action
from genba.spec.conformance import check_env
from genba.spec.streams import StreamBuffer


def _strong(seed, **changes):
    """An object that neither breaks nor grows heavier."""
    return dataclasses.replace(draw_object(seed), pour_factor=1.0, strength=50.0, stiffness_npm=9e3, **changes)


def _lift(env, command, force_n, num_steps=90):
    """Close for 0.3 s, then lift at 0.06 m/s; return how far the object slid through the pads until then."""
    env.reset(0)
    for i in range(num_steps):
        step = env.step(command(force_n, 0.06 if i >= 15 else 0.0))
        if step.terminated:
            break
    trace = env.trace()
    offset_m = trace["physics.object_height_m"] - trace["physics.hand_height_m"]
    return float(abs(offset_m[-1] - offset_m[200]))


@pytest.mark.parametrize(("mass_kg", "friction"), [(0.2, 0.9), (0.6, 0.4)])
def test_the_object_slips_below_the_coulomb_threshold_and_holds_above(env, command, monkeypatch, mass_kg, friction):
    thing = _strong(3, mass_kg=mass_kg, friction=friction)
    monkeypatch.setattr(conditions, "draw_object", lambda seed: thing)
    # Two pads carry m g: F = m g / (2 mu). Rising accelerates by at most 0.6 m/s^2 (6 %).
    threshold_n = mass_kg * GRAVITY_MPS2 / (2 * friction)
    assert _lift(env, command, 0.92 * threshold_n) > 0.030
    assert _lift(env, command, 1.15 * threshold_n) < 0.002


def test_pads_feel_the_commanded_force_and_the_objects_weight(env, command, monkeypatch):
    thing = _strong(3, mass_kg=0.5, friction=0.8)
    monkeypatch.setattr(conditions, "draw_object", lambda seed: thing)
    buffer = StreamBuffer()
    buffer.append(env.reset(0).samples)
    for i in range(110):
        buffer.append(env.step(command(12.0, 0.06 if 15 <= i < 60 else 0.0)).samples)
    touch = buffer.streams()["touch"].values[-40:].astype(float)
    # Means of 40 samples and two pads with 0.05 N noise: standard error 0.006 N.
    assert touch[:, [0, 3]].mean() == pytest.approx(12.0, abs=0.05)
    # At rest in the air each pad carries m g / 2 = 2.452 N.
    assert touch[:, [1, 4]].mean() == pytest.approx(0.5 * GRAVITY_MPS2 / 2, abs=0.05)
    assert touch[:, 0].std() == pytest.approx(SENSING.force_noise_n, rel=0.5)
    load = buffer.streams()["load"].values[-3:]
    assert load[:, [1, 3]].mean() == pytest.approx(0.5 * GRAVITY_MPS2 / 2, abs=0.05)


def test_the_hand_shakes_as_hard_as_the_object_says(env, run):
    run(env, GripExpert(env), 11)
    trace = env.trace()
    height = trace["physics.hand_height_m"]
    shaking = slice(len(height) - 1000 + 170, len(height) - 1000 + 530)
    acceleration = np.gradient(np.gradient(height, 0.002), 0.002)[shaking]
    # The arm carries the object on springy servos, so it swings a little more than told.
    assert np.abs(acceleration).max() == pytest.approx(float(trace["shake_mps2"]), rel=0.2)


def test_the_same_seed_gives_the_same_world(env):
    check_env(env, GripExpert(env), seed=5, num_steps=120)


def test_a_fresh_environment_gives_the_world_that_a_used_one_gives(env, run):
    run(env, GripExpert(env), 21)
    _, used = run(env, GripExpert(env), 22)
    other = GripEnv()
    _, fresh = run(other, GripExpert(other), 22)
    for name, stream in used.streams().items():
        np.testing.assert_array_equal(stream.values, fresh.streams()[name].values, err_msg=name)


def test_each_channel_has_its_own_clock(env, command):
    buffer = StreamBuffer()
    buffer.append(env.reset(1).samples)
    for _ in range(50):
        buffer.append(env.step(command(1.0, 0.0)).samples)
    streams = buffer.streams()
    for channel in env.embodiment.telemetry:
        periods_s = np.diff(streams[channel.name].times_ns) * 1e-9
        np.testing.assert_allclose(periods_s, 1.0 / channel.rate_hz, err_msg=channel.name)
    offsets = {int(streams[name].times_ns[-1]) for name in ("gripper", "hand", "joints")}
    assert len(offsets) == 3


def test_an_object_pressed_beyond_its_crush_load_ends_the_episode(env, command):
    env.reset(2)
    force_n = 1.2 * env.thing.crush_load_n
    num_steps = 0
    while not env.step(command(force_n, 0.0)).terminated:
        num_steps += 1
    # A lag of 30 ms passes 1 / 1.2 of the force after 30 ms * ln 6 = 54 ms, plus 10 ms; the fingers' mass adds some.
    assert 3 <= num_steps <= 15


def test_a_hand_that_never_lifts_ends_at_the_deadline(env, command):
    env.reset(2)
    num_steps = 1
    while not env.step(command(1.0, 0.0)).terminated:
        num_steps += 1
    assert num_steps == simulator.LIFT_DEADLINE_STEPS


def test_no_episode_is_longer_than_stated(env, run):
    run(env, FixedForce(lambda: 1.1 * env.thing.required_force_n, "held"), 4)
    assert len(env.trace()["control.time_ns"]) - simulator.SETTLE_STEPS <= simulator.MAX_STEPS


def test_commands_are_bounded_to_the_embodiments_limits(env, command):
    env.reset(2)
    env.step(command(1e6, -1.0))
    trace = env.trace()
    assert trace["control.grip_command_n"][-1] == 70.0
    assert trace["control.hand_speed_mps"][-1] == 0.0


def test_a_step_without_an_episode_or_an_action_is_refused(env, command):
    fresh = GripEnv()
    with pytest.raises(SimulatorError, match="no episode is under way"):
        fresh.step(command(1.0, 0.0))
    env.reset(0)
    with pytest.raises(SpecError, match="expected grip_force and hand_speed"):
        env.step(None)
    with pytest.raises(SpecError, match="expected finite numbers"):
        env.step(Action(np.array([np.nan, 0.0], np.float32)))
    while not env.step(command(70.0, 0.0)).terminated:
        pass
    with pytest.raises(SimulatorError, match="no episode is under way"):
        env.step(command(1.0, 0.0))
