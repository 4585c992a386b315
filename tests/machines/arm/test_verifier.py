"""The verifier finds each outcome from the trace alone and refuses traces that cannot be true."""

import numpy as np
import pytest

from genba.errors import VerificationError
from genba.machines.arm.baselines import FixedForce
from genba.machines.arm.expert import GripExpert
from genba.machines.arm.verifier import METRICS, verify
from genba.spec.observation import observe

OUTCOMES = ("success", "dropped", "crushed", "over_slip", "not_lifted")


@pytest.fixture(scope="module")
def good(env):
    policy, step = GripExpert(env), env.reset(6)
    while not step.terminated:
        step = env.step(policy.act(observe(env.embodiment, {}, step.time_ns)).at(step.time_ns))
    return env.trace()


def _changed(trace, **changes):
    return {**trace, **{name.replace("__", "."): value for name, value in changes.items()}}


def test_every_episode_has_exactly_one_outcome_and_every_metric(env, run):
    for share, wanted in ((0.5, "dropped"), (1.2, "success")):
        run(env, FixedForce(lambda share=share: share * env.thing.required_force_n, "share"), 6)
        outcome = verify(env.trace())
        assert set(outcome) == {metric.name for metric in METRICS}
        assert outcome[wanted] == 1.0
        assert sum(outcome[name] for name in OUTCOMES) == 1.0
    # Held at 1.2 of the required force throughout: that is what the ratios must say.
    assert outcome["hold_force_ratio"] == pytest.approx(1.2, abs=0.02)
    assert outcome["squeeze_max_n"] == pytest.approx(2 * 1.2 * env.thing.required_force_n, rel=0.05)
    run(env, FixedForce(lambda: 1.3 * env.thing.crush_load_n, "too much"), 6)
    assert verify(env.trace())["crushed"] == 1.0


def test_a_hand_that_stays_down_is_no_success(env, command):
    env.reset(6)
    while not env.step(command(0.5, 0.0)).terminated:
        pass
    outcome = verify(env.trace())
    assert (outcome["not_lifted"], outcome["success"]) == (1.0, 0.0)


def test_ten_milliseconds_above_the_crush_load_are_allowed_and_twelve_are_not(good):
    assert verify(good)["success"] == 1.0
    for num_samples, crushed in ((5, 0.0), (6, 1.0)):  # 500 Hz: five samples are 10 ms
        force = good["physics.pad_force_n"].copy()
        force[700 : 700 + num_samples, 0] = 1.01 * float(good["crush_load_n"])
        assert verify(_changed(good, physics__pad_force_n=force))["crushed"] == crushed


def test_fifteen_millimetres_of_slip_are_too_far(good):
    start = int(np.searchsorted(good["physics.time_ns"], int(good["grasp_time_ns"])))
    hand = good["physics.hand_height_m"]
    steps = np.arange(len(hand)) - start
    for slip_m, over in ((0.0149, 0.0), (0.0151, 1.0)):
        slid = np.clip(steps / 300, 0, 1) * slip_m
        outcome = verify(_changed(good, physics__object_height_m=hand - slid))
        assert outcome["slip_m"] == pytest.approx(slip_m)
        assert (outcome["over_slip"], outcome["success"]) == (over, 1.0 - over)


def test_an_episode_cut_short_is_no_success(good):
    cut = {name: value[:-150] if name.startswith("physics.") else value for name, value in good.items()}
    assert verify(cut)["success"] == 0.0


def test_traces_that_cannot_be_true_are_refused(good):
    with pytest.raises(VerificationError, match=r"got no physics\.pad_force_n"):
        verify({name: value for name, value in good.items() if name != "physics.pad_force_n"})
    times = good["physics.time_ns"].copy()
    times[500:] += 2_000_000
    with pytest.raises(VerificationError, match="clock with gaps"):
        verify(_changed(good, physics__time_ns=times))
    jumped = good["physics.object_height_m"].copy()
    jumped[900:] += 0.05
    with pytest.raises(VerificationError, match="moving at"):
        verify(_changed(good, physics__object_height_m=jumped))
    with pytest.raises(VerificationError, match="negative or missing force"):
        verify(_changed(good, physics__pad_force_n=good["physics.pad_force_n"] - 1.0e3))
    with pytest.raises(VerificationError, match="differ in length"):
        verify(_changed(good, physics__hand_height_m=good["physics.hand_height_m"][:-1]))


def test_the_time_from_a_slip_to_more_force_is_found_and_a_slip_without_an_answer_counts_half_a_second(good):
    start = int(np.searchsorted(good["physics.time_ns"], int(good["grasp_time_ns"])))
    num = len(good["physics.time_ns"])
    hand = good["physics.hand_height_m"]
    onset = start + int(np.argmax(hand[start:] - hand[start] > 0.05))
    # 20 mm/s for 0.1 s, a slip of 2 mm; the force rises by 10 % 60 ms after it began.
    slid = np.clip((np.arange(num) - onset) * 0.002 * 0.020, 0.0, 0.002)
    still = {"physics__object_height_m": hand + 0.01 - slid, "physics__pad_force_n": np.full((num, 2), 2.0)}
    assert verify(_changed(good, **still))["reaction_s"] == 0.5
    answered = np.full((num, 2), 2.0)
    answered[onset + 30 :] = 2.2
    outcome = verify(_changed(good, **still | {"physics__pad_force_n": answered}))
    # The 10 ms mean passes 10 mm/s when half of it has seen the slip: 6 ms after its beginning at the most.
    assert outcome["reaction_s"] == pytest.approx(0.060, abs=0.007)
    firm = verify(_changed(good, **still | {"physics__object_height_m": hand + 0.01}))
    assert np.isnan(firm["reaction_s"])


def test_the_required_force_of_a_mass_beside_the_pads_counts_what_keeps_it_from_turning(good):
    # 14.2 mm beside the middle, as far as the pads' corners: sqrt(2) times the force.
    aside = verify(_changed(good, offset_m=np.array(0.0142)))
    assert aside["hold_force_ratio"] == pytest.approx(verify(good)["hold_force_ratio"] / np.sqrt(2.0))
