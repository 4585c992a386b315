"""A way round: looked for only where one is stuck, bent past who blocks, free of who comes, and over afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from seen_from_the_car import observation_of

from genba.machines.vehicle.bicycle import FRONT_M, WIDTH_M
from genba.machines.vehicle.lidar import MOUNT_X_M
from genba.machines.vehicle.perception import LATERAL, NUM_WAYPOINTS, REMAINING
from genba.machines.vehicle.simulator import DARK, GREEN, RED
from genba.machines.vehicle.way_round import STOOD_S, WayRound
from genba.spec.protocols import Router

#: a car that stands across the lane's width, its rear 4 m before the bumper, and how much later than ``STOOD_S`` it is passed
BLOCKING = (FRONT_M + 4.0 + 2.25, 0.0, 0.0, 2.25, 0.9, 1.5)
SECONDS = STOOD_S + 2.0


def stand(router: WayRound, seconds: float = SECONDS, *, boxes=(BLOCKING,), **scene):
    """Let the car stand before a scene; return what came last, and what policy and guard are shown of it."""
    for step in range(round(seconds * 10)):
        came = observation_of(step, boxes=boxes, speed_mps=0.0, **scene)
        shown, watched = router.see(came)
    return came, shown, watched


def left_of(observation) -> np.ndarray:
    return observation.streams["route"].values[-1, NUM_WAYPOINTS : 2 * NUM_WAYPOINTS]


def test_the_route_is_bent_past_who_blocks_it_and_back_after_the_car_has_stood():
    router = WayRound()
    assert isinstance(router, Router)
    came, shown, watched = stand(router, STOOD_S)
    assert shown is came and watched is came
    came, shown, watched = stand(WayRound())
    assert (left_of(shown) == left_of(watched)).all() and (left_of(came) == 0.0).all()
    # Beside the blocking car (6 m to 13 m ahead of the axle) there must be room for two halves: 0.93 m and 0.9 m.
    assert left_of(shown)[2:4].min() > (WIDTH_M + 1.8) / 2
    # 13 m, the car's own rear and 1 m, 11 m to swing back: over at 27 m.
    assert abs(left_of(shown)[-1]) < 0.3
    assert abs(shown.streams["route"].values[-1, LATERAL]) < 0.3


def test_the_policy_is_not_shown_who_is_passed_and_the_guard_is():
    beside = (30.0, 8.0, 0.0, 2.25, 0.9, 1.5)
    came, shown, watched = stand(WayRound(), boxes=(BLOCKING, beside))
    assert (watched.streams["lidar"].sample(-1) == came.streams["lidar"].sample(-1)).all()
    assert (came.streams["lidar"].sample(-1)[:, 0] < 20.0).any()
    points = shown.streams["lidar"].sample(-1)
    assert len(points) > 0 and (points[:, 0] + MOUNT_X_M > 25.0).all()


@pytest.mark.parametrize(
    "scene",
    [
        {"stop_line_m": 5.0, "colour": RED},
        {"stop_line_m": 5.0, "colour": DARK},
        {"boxes": ()},
        # two lanes to the left are taken too
        {"boxes": (BLOCKING, (8.0, 3.2, 0.0, 6.0, 0.9, 1.5), (8.0, 6.0, 0.0, 6.0, 0.9, 1.5))},
    ],
    ids=["red", "no light before the line", "nobody there", "no room beside"],
)
def test_there_is_no_way_round_where_one_has_to_wait(scene):
    came, shown, watched = stand(WayRound(), **scene)
    assert shown is came and watched is came


def test_at_green_before_the_line_one_may_go_round():
    came, shown, _ = stand(WayRound(), stop_line_m=5.0, colour=GREEN)
    assert shown is not came


def test_who_comes_on_the_other_lane_is_waited_for_where_it_is_seen():
    # 8 m/s towards the car. When a way round is first looked for it is 24 m away, where the sweeps show it past who blocks (from
    # 4 m behind a car that is 1.8 m wide, the middle of the lane beside is hidden from about 30 m on).
    router, begun_m = WayRound(), []
    for step in range(round(STOOD_S * 10) + 25):
        ahead_m = 24.0 - 0.8 * (step - STOOD_S * 10)
        came = observation_of(step, boxes=(BLOCKING, (ahead_m, 3.2, np.pi, 2.25, 0.9, 1.5)), speed_mps=0.0)
        if router.see(came)[0] is not came:
            begun_m.append(ahead_m)
    # From a stand the car is a length out after 2.9 s (half of 1.2 m/s^2 times 2.9 s squared is 5 m); who is nearer than 20 m
    # (2.5 s) is past it by then, so that it may begin from there on, and not before.
    assert begun_m and max(begun_m) <= 20.0
    assert stand(WayRound(), STOOD_S + 0.1)[1].streams["route"].values[-1, NUM_WAYPOINTS + 2] > 1.0


def test_the_way_round_ends_where_it_is_back_on_the_route():
    router = WayRound()
    came, shown, _ = stand(router)
    assert shown is not came
    steps = round(SECONDS * 10)
    begun_m = came.streams["route"].values[-1, REMAINING]
    # Driven on: 10 m further it still counts; 40 m further the car is past it.
    for driven_m, is_bent in ((10.0, True), (40.0, False)):
        steps += 1
        came = observation_of(steps, speed_mps=3.0, remaining_m=float(begun_m) - driven_m)
        assert (router.see(came)[0] is not came) is is_bent
    router = WayRound()
    stand(router)
    router.reset()
    came = observation_of(steps + 1, speed_mps=0.0)
    assert router.see(came)[0] is came
