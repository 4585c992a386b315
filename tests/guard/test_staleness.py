"""A silent channel is reported; a blind machine stops; both counted from the newest sample seen."""

from __future__ import annotations

import dataclasses

import numpy as np
import toy

from genba.guard import StalenessGuard, for_embodiment
from genba.spec.action import Action
from genba.spec.embodiment import load_embodiment
from genba.spec.observation import Observation
from genba.spec.streams import dense, ragged
from genba.spec.units import MILLISECOND_NS

#: the control period is 50 ms, longer than the cart's 10 ms and as long as the goal's: 5 periods are 250 ms
MAX_AGE_NS = 250 * MILLISECOND_NS
PUSH = Action(np.array([4.0], np.float32))


def observed(time_ns: int, **newest_ns: int) -> Observation:
    widths = {"cart": 2, "goal": 1}
    return Observation(
        "toy/cart@1", time_ns, {name: dense([t], np.zeros((1, widths[name]))) for name, t in newest_ns.items()}
    )


def test_age_is_permitted_up_to_the_limit_and_reported_just_beyond():
    guard = StalenessGuard(toy.CART_FACTS)
    assert guard.check(PUSH, observed(MAX_AGE_NS, cart=MAX_AGE_NS, goal=0)).reasons == ()
    verdict = guard.check(PUSH, observed(MAX_AGE_NS + 1, cart=MAX_AGE_NS, goal=0))
    assert verdict.reasons == ("goal:stale",)
    assert verdict.action is PUSH


def test_a_channel_cut_out_of_the_observation_ages_from_its_last_sample():
    guard = StalenessGuard(toy.CART_FACTS)
    guard.check(PUSH, observed(0, cart=0, goal=0))
    assert guard.check(PUSH, observed(MAX_AGE_NS, cart=MAX_AGE_NS)).reasons == ()
    assert guard.check(PUSH, observed(MAX_AGE_NS + 1, cart=MAX_AGE_NS)).reasons == ("goal:stale",)


def test_a_channel_that_never_spoke_ages_from_the_first_check_and_reset_begins_anew():
    guard = StalenessGuard(toy.CART_FACTS)
    guard.check(PUSH, observed(0, cart=0))
    assert guard.check(PUSH, observed(MAX_AGE_NS + 1, cart=MAX_AGE_NS)).reasons == ("goal:stale",)
    guard.reset()
    assert guard.check(PUSH, observed(MAX_AGE_NS + 1, cart=MAX_AGE_NS)).reasons == ()


def test_a_blind_machine_gets_its_action_on_a_fault():
    guard = for_embodiment(toy.CART_FACTS)
    guard.check(PUSH, observed(0, cart=0, goal=0))
    verdict = guard.check(PUSH, observed(MAX_AGE_NS + 1))
    assert verdict.reasons == ("cart:stale", "goal:stale", "all:stale")
    assert verdict.action.continuous[0] == 0.0  # safe, and 4 N away: within the 5 N per step of the rate limit


def _needed():
    """The cart, which must not be driven without knowing where it is; 100 Hz, so that stuck means ten samples alike."""
    cart, goal = toy.CART_FACTS.telemetry
    return dataclasses.replace(toy.CART_FACTS, telemetry=(dataclasses.replace(cart, needed=True), goal))


def _moving(num: int, stuck: int, time_ns: int = 10**9) -> Observation:
    values = np.arange(2.0 * num).reshape(num, 2)
    values[num - stuck :] = values[num - stuck]
    period_ns = 10 * MILLISECOND_NS
    times = [time_ns - (num - 1 - i) * period_ns for i in range(num)]
    return Observation("toy/cart@1", time_ns, {"cart": dense(times, values), "goal": dense([time_ns], [[1.0]])})


def test_a_needed_channel_may_repeat_itself_nine_times_and_not_ten():
    guard = StalenessGuard(_needed())
    assert guard.check(PUSH, _moving(20, 9)).reasons == ()
    verdict = guard.check(PUSH, _moving(20, 10))
    assert verdict.reasons == ("cart:stuck",)
    assert StalenessGuard(toy.CART_FACTS).check(PUSH, _moving(20, 10)).reasons == ()


def test_a_needed_channel_that_is_silent_or_not_a_number_stops_the_machine():
    guard = for_embodiment(_needed())
    guard.check(PUSH, observed(0, cart=0, goal=0))
    verdict = guard.check(PUSH, observed(MAX_AGE_NS + 1, cart=0, goal=MAX_AGE_NS + 1))
    assert "cart:stale" in verdict.reasons
    assert verdict.action.continuous[0] == 0.0
    broken = _moving(3, 1)
    broken.streams["cart"].values[-1, 0] = np.nan
    guard.reset()
    verdict = guard.check(PUSH, broken)
    assert "cart:nan" in verdict.reasons
    assert verdict.action.continuous[0] == 0.0


def _swept(*sweeps: np.ndarray, went_back: tuple[str, ...] = ()) -> Observation:
    """The urban car after these sweeps, 100 ms apart, its bus and route in order."""
    now_ns = 10**9
    times = [now_ns - (len(sweeps) - 1 - i) * 100 * MILLISECOND_NS for i in range(len(sweeps))]
    streams = {"lidar": ragged(times, list(sweeps)), "telemetry": dense([now_ns], np.ones((1, 4)))}
    return Observation("vehicle/urban-car@1", now_ns, streams, went_back=went_back)


def _sweep(num: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((num, 3)).astype(np.float32)


DRIVE = Action(np.array([1.0, 0.1], np.float32))


def test_an_empty_sweep_is_wrong_after_twenty_returns_and_not_after_nineteen_and_stays_wrong_until_one_returns():
    car, none = load_embodiment("vehicle/urban-car@1"), _sweep(0)
    for num, reasons in ((19, ()), (20, ("lidar:empty",))):
        guard = StalenessGuard(car)
        assert guard.check(DRIVE, _swept(_sweep(num))).reasons == ()
        assert guard.check(DRIVE, _swept(_sweep(num), none)).reasons == reasons
        assert guard.check(DRIVE, _swept(none, none, none, none)).reasons == reasons
        assert guard.check(DRIVE, _swept(none, _sweep(1))).reasons == ()
    guard = StalenessGuard(car)
    assert guard.check(DRIVE, _swept(none)).reasons == ()  # an empty road


def test_a_sweep_that_repeats_the_one_before_or_holds_no_numbers_stops_a_car_that_needs_it():
    car, first = load_embodiment("vehicle/urban-car@1"), _sweep(30)
    bent = first.copy()
    bent[7, 2] = np.nextafter(bent[7, 2], np.float32(9))
    assert StalenessGuard(car).check(DRIVE, _swept(first, bent)).reasons == ()
    bent[7, 2] = np.nan
    for sweeps, reason in (((first, first), "lidar:stuck"), ((first, bent), "lidar:nan")):
        verdict = StalenessGuard(car).check(DRIVE, _swept(*sweeps))
        assert verdict.reasons == (reason,)
        assert verdict.action.continuous[0] == -4.0
    free = dataclasses.replace(car, points=(dataclasses.replace(car.points[0], needed=False),))
    assert StalenessGuard(free).check(DRIVE, _swept(first, first)).reasons == ()


def test_a_clock_that_jumps_back_is_said_and_stops_the_machine_where_the_channel_is_needed():
    car = load_embodiment("vehicle/urban-car@1")
    verdict = StalenessGuard(car).check(DRIVE, _swept(_sweep(30), went_back=("lidar", "signal")))
    assert verdict.reasons == ("lidar:back", "signal:back")
    assert verdict.action.continuous[0] == -4.0
    verdict = StalenessGuard(car).check(DRIVE, _swept(_sweep(30), went_back=("signal",)))
    assert verdict.reasons == ("signal:back",) and verdict.action is DRIVE


def test_a_silent_twin_is_reported_and_the_policy_goes_on():
    facts = load_embodiment("arm/panda-grip@1")
    guard = StalenessGuard(facts)
    times = np.arange(8) * 10 * MILLISECOND_NS
    rng = np.random.default_rng(0)
    felt = rng.normal([3.0, 0.5, 0.0, 0.0, 0.0, 0.0], 0.05, (8, 6))
    action = Action(np.array([3.0, 0.0], np.float32))
    verdict = guard.check(action, Observation(facts.id, int(times[-1]), {"touch": dense(times, felt)}))
    assert "touch.normal_right:silent" in verdict.reasons
    assert verdict.action is action
    guard.reset()
    alive = rng.normal([3.0, 0.5, 0.0, 3.0, 0.5, 0.0], 0.05, (8, 6))
    reasons = guard.check(action, Observation(facts.id, int(times[-1]), {"touch": dense(times, alive)})).reasons
    assert not [reason for reason in reasons if reason.endswith(":silent")]
