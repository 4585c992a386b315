"""The car's own guard: what it lets pass and what it does not, just inside and just outside; and in the simulator."""

from __future__ import annotations

import math

import numpy as np
import pytest
from seen_from_the_car import SPEED_MPS, observation_of

from genba.guard import for_embodiment
from genba.machines.vehicle.baselines import ConstantSpeed
from genba.machines.vehicle.bicycle import FRONT_M, GRAVITY_MPS2, MU
from genba.machines.vehicle.collision_guard import (
    BRAKING_MPS2,
    HELD_S,
    LIGHT_BRAKING_MPS2,
    LIGHT_GAP_M,
    NUM_ALARMS,
    NUM_SEEN,
    OFF_ARC_RAD,
    PERSON_BRAKING_MPS2,
    CollisionGuard,
)
from genba.machines.vehicle.simulator import GREEN, RED, VehicleEnv
from genba.machines.vehicle.verifier import verify
from genba.runtime.executor import Executor
from genba.runtime.loop import run_episode
from genba.spec.action import Action
from genba.spec.protocols import Guard, Verdict

#: half length, half width and height of a car and of a person
CAR, PERSON = (2.25, 0.9, 1.5), (0.25, 0.25, 1.75)
#: a world in which the car comes to a red light
RED_SEED = 1
#: for so many sweeps everybody is believed, and found in the way often enough
ENOUGH = NUM_SEEN + NUM_ALARMS


def check(
    guard: CollisionGuard, *, acceleration=1.0, steering=0.0, steps=ENOUGH, first=0, boxes=(), **scene
) -> Verdict:
    """Let the car come along for some control steps; return the last verdict, when ``boxes``, who stand, are as given."""
    verdict = Verdict(Action())
    for step in range(steps):
        to_go_m = (steps - 1 - step) * 0.1 * SPEED_MPS
        now = [(x + to_go_m, *rest) for x, *rest in boxes]
        proposed = Action(np.array([acceleration, steering], np.float32))
        verdict = guard.check(proposed, observation_of(first + step, boxes=now, **scene))
    return verdict


def at_front(gap_m: float, half_length_m: float) -> float:
    """Return where the middle of somebody is, seen from the rear axle, whose near side is ``gap_m`` before the bumper."""
    return FRONT_M + gap_m + half_length_m


def stopping_m(braking: float) -> float:
    """Return how far the car goes: ``HELD_S`` at its speed and then braking."""
    return SPEED_MPS * HELD_S + SPEED_MPS**2 / (2 * braking)


@pytest.mark.parametrize(
    ("body", "braking", "reason"),
    [(CAR, BRAKING_MPS2, "lidar:vehicle ahead"), (PERSON, PERSON_BRAKING_MPS2, "lidar:person ahead")],
)
def test_it_brakes_for_who_stands_ahead_where_that_is_needed_and_not_before(body, braking, reason):
    # The margins (0.5 m and 0.08 m/s, 0.05 m for people who stand) and an error of 0.3 m of a box fit into 1.5 m.
    near, far = stopping_m(braking) - 1.5, stopping_m(braking) + 3.0
    for gap_m, refused in ((near, True), (far, False)):
        box = (at_front(gap_m, body[0]), 0.0, 0.0, *body)
        verdict = check(CollisionGuard(), acceleration=0.0, boxes=[box])
        assert verdict.reasons == ((reason,) if refused else ())
        acceleration = verdict.action.continuous[0]
        assert bool(acceleration < 0) is refused
        # As mild as suffices: at the least what stops the car in the gap, at most the next step of braking but one.
        if refused:
            assert 0.8 * SPEED_MPS**2 / (2 * gap_m) < -acceleration < 1.3 * SPEED_MPS**2 / (2 * (gap_m - 1.5)) + 1.5


def test_one_sweep_is_not_enough_to_brake_and_who_stands_beside_the_lane_is_no_reason():
    ahead = (at_front(6.0, CAR[0]), 0.0, 0.0, *CAR)
    assert check(CollisionGuard(), boxes=[ahead], steps=1).reasons == ()
    assert check(CollisionGuard(), boxes=[ahead]).reasons == ("lidar:vehicle ahead",)
    # Half widths of 0.93 m and 0.9 m, a margin of 0.25 m and an error of the box of 0.3 m: clear from 2.4 m on.
    beside = (at_front(6.0, CAR[0]), 2.6, 0.0, *CAR)
    assert check(CollisionGuard(), boxes=[beside]).reasons == ()


def test_what_passes_passes_unchanged_and_a_harder_braking_than_its_own_stays():
    verdict = check(CollisionGuard(), acceleration=0.5, steering=0.01)
    assert verdict.reasons == () and verdict.action.continuous.tolist() == [np.float32(0.5), np.float32(0.01)]
    ahead = (at_front(12.0, CAR[0]), 0.0, 0.0, *CAR)
    braking = check(CollisionGuard(), acceleration=-7.5, boxes=[ahead])
    assert braking.reasons == () and braking.action.continuous[0] == -7.5


def test_it_stops_for_red_at_the_last_comfortable_moment_and_goes_on_green():
    # Held for one control step and then 3 m/s^2: 9 + 13.5 m to 0.3 m before the line.
    last_m = SPEED_MPS * 0.1 + SPEED_MPS**2 / (2 * LIGHT_BRAKING_MPS2) + LIGHT_GAP_M
    late = check(CollisionGuard(), stop_line_m=last_m - 0.5, colour=RED)
    assert late.reasons == ("signal:red",)
    assert -1.25 * LIGHT_BRAKING_MPS2 < late.action.continuous[0] < -LIGHT_BRAKING_MPS2
    assert check(CollisionGuard(), stop_line_m=last_m + 0.5, colour=RED).reasons == ()
    assert check(CollisionGuard(), stop_line_m=last_m - 0.5, colour=GREEN).reasons == ()


def test_wheels_that_lead_away_from_the_route_are_turned_back():
    inside = check(CollisionGuard(), steering=OFF_ARC_RAD - 0.01)
    assert inside.reasons == () and inside.action.continuous[1] == np.float32(OFF_ARC_RAD - 0.01)
    outside = check(CollisionGuard(), steering=OFF_ARC_RAD + 0.01)
    # The route goes straight on from the car: so does the arc back to it.
    assert outside.reasons == ("route:aside",) and outside.action.continuous[1] == pytest.approx(0.0, abs=1e-6)


def test_it_slows_before_a_bend_that_is_too_narrow_for_the_speed():
    # A radius of 6 m allows 5.2 m/s at 4.5 m/s^2 sideways; from 9 m/s, 8 m before it, that is 3.4 m/s^2 of braking.
    assert check(CollisionGuard(), bend=(8.0, 6.0)).reasons == ("route:bend",)
    assert check(CollisionGuard(), bend=(25.0, 6.0)).reasons == ()


def test_braking_that_achieves_less_than_asked_teaches_it_the_grip_and_it_begins_earlier():
    guard = CollisionGuard()
    assert guard.grip_mps2 == pytest.approx(MU * GRAVITY_MPS2)
    check(guard, acceleration=-6.0, sensed_mps2=-2.4, steps=6)
    assert guard.grip_mps2 == pytest.approx(2.4, abs=0.05)
    # 4 m/s^2 would be enough for this car; nine tenths of 2.4 m/s^2 are not.
    gap_m = stopping_m(BRAKING_MPS2) + 3.0
    ahead = (at_front(gap_m, CAR[0]), 0.0, 0.0, *CAR)
    assert check(CollisionGuard(), acceleration=0.0, boxes=[ahead]).reasons == ()
    assert check(guard, acceleration=0.0, boxes=[ahead], first=6).reasons == ("lidar:vehicle ahead",)
    guard.reset()
    assert guard.grip_mps2 == pytest.approx(MU * GRAVITY_MPS2)
    # What was not asked for is not missing.
    check(guard, acceleration=-2.5, sensed_mps2=-2.4, steps=6)
    assert guard.grip_mps2 == pytest.approx(MU * GRAVITY_MPS2)


def test_what_it_cannot_judge_it_leaves_to_the_guards_after_it():
    guard = CollisionGuard()
    assert isinstance(guard, Guard)
    silent = observation_of(0, without=("route",))
    action = Action(np.array([3.0, 0.5], np.float32))
    assert guard.check(action, silent) == Verdict(action)
    not_a_number = Action(np.array([math.nan, 0.5], np.float32))
    assert guard.check(not_a_number, observation_of(1)).action is not_a_number


def test_a_driver_who_is_blind_to_lights_does_not_run_one_with_it(env: VehicleEnv):
    outcomes = []
    for own in (None, CollisionGuard()):
        executor = Executor(
            ConstantSpeed(env), env.embodiment, guard=for_embodiment(env.embodiment, own), enforce_deadline=False
        )
        run = run_episode(env, executor, seed=RED_SEED, max_steps=300)
        outcomes.append((verify(env.trace())["ran_red"], run.log.interventions["signal:red"] > 0))
    assert outcomes == [(1.0, False), (0.0, True)]
