"""What the sweeps show, against who was really there: boxes, tracks, and the route that a planner makes of its channel."""

from __future__ import annotations

import math

import numpy as np
import pytest

from genba.machines.vehicle.lidar import MOUNT_Z_M, sweep
from genba.machines.vehicle.lidar_planner import LidarPlanner
from genba.machines.vehicle.perception import path_ahead
from genba.machines.vehicle.simulator import VehicleEnv
from genba.machines.vehicle.tracks import HIDDEN_S, SILENT_S, Tracker, filled_out, find_boxes
from genba.machines.vehicle.traffic_process import CAR, PERSON
from genba.machines.vehicle.verifier import verify
from genba.runtime.executor import Executor
from genba.runtime.loop import run_episode
from genba.spec.units import SECOND_NS, to_ns

SENSOR = np.zeros(3)


def seen(*boxes: tuple[float, ...], seed: int = 0) -> np.ndarray:
    """Return what a sensor at the origin sees of boxes (x, y, heading, half length, half width, height)."""
    eye = np.array([0.0, 0.0, MOUNT_Z_M, 0.0])
    points, _ = sweep(eye, np.array(boxes), np.random.default_rng(seed))
    points = points[:, :2].astype(np.float64)
    return points[np.argsort(np.arctan2(points[:, 1], points[:, 0]), kind="stable")]


def car(x: float, y: float, heading: float) -> tuple[float, ...]:
    return x, y, heading, 2.25, 0.9, 1.5


@pytest.mark.parametrize(("x", "y", "heading"), [(15.0, 0.0, 0.0), (12.0, 8.0, 1.2), (20.0, -6.0, 2.2)])
def test_a_car_whose_sides_are_seen_at_30_degrees_or_more_is_found_where_it_is(x, y, heading):
    (box,) = find_boxes(seen(car(x, y, heading)), SENSOR)
    # Noise of 2 cm, a return per 0.75 degrees (0.26 m at 20 m, twice that along a side at 30 degrees), angles tried every
    # 3.9 degrees.
    assert math.hypot(box[0] - x, box[1] - y) < 0.35
    assert abs(math.remainder(box[2] - heading, math.pi)) < 0.1
    assert box[3] == pytest.approx(4.5, abs=0.35) and box[4] == pytest.approx(1.8, abs=0.35) and not box[5]


def test_a_person_is_small_a_wall_is_long_and_two_things_apart_are_two():
    boxes = find_boxes(seen((10.0, 0.0, 0.0, 0.25, 0.25, 1.75), (30.0, 20.0, 0.0, 14.0, 1.0, 9.0)), SENSOR)
    assert len(boxes) == 2
    person, wall = boxes
    assert math.hypot(person[0] - 10.0, person[1]) < 0.15 and person[3] == 0.5
    assert wall[5] == 1.0 and wall[3] > 20.0


def test_what_is_not_seen_is_added_away_from_the_sensor():
    # Only the rear of a car is seen, 10 m ahead, 1.8 m wide: its 4.5 m lie beyond.
    rear = np.stack([np.full(7, 10.0), np.linspace(-0.9, 0.9, 7)], 1)
    assert filled_out(rear, 0.0, 4.5, 1.8, SENSOR) == pytest.approx((12.25, 0.0, 4.5, 1.8))


def test_a_track_learns_a_speed_keeps_who_is_hidden_and_goes_on_in_silence():
    tracker, speed = Tracker(), 8.0
    for k in range(10):  # crosses from right to left, 15 m ahead
        tracker.sweep(k * SECOND_NS // 10, seen(car(15.0, -8.0 + speed * 0.1 * k, math.pi / 2), seed=k), SENSOR)
    now_ns = 9 * SECOND_NS // 10
    # At first its end was seen at a flat angle, with returns too far apart to be of one piece: the longest is the car.
    row = max(tracker.rows(now_ns), key=lambda row: row[6])
    assert row[1] == CAR and row[5] == pytest.approx(speed, abs=1.0)
    assert abs(row[4] - math.pi / 2) < 0.15
    # Half a second later, with no sweep, it is 4 m on; 2.2 s after the last sweep nothing is believed any more.
    (later,) = (other for other in tracker.rows(now_ns + SECOND_NS // 2) if other[0] == row[0])
    assert later[3] - row[3] == pytest.approx(0.5 * row[5], abs=0.3)
    assert len(tracker.rows(now_ns + to_ns(SILENT_S))) > 0
    assert len(tracker.rows(now_ns + to_ns(SILENT_S) + 1)) == 0
    # Sweeps that do not show it: hidden, then forgotten.
    nothing = np.zeros((0, 2))
    tracker.sweep(now_ns + to_ns(HIDDEN_S), nothing, SENSOR)
    assert row[0] in tracker.rows(now_ns + to_ns(HIDDEN_S))[:, 0]
    tracker.sweep(now_ns + to_ns(HIDDEN_S) + 1, nothing, SENSOR)
    assert len(tracker.rows(now_ns + to_ns(HIDDEN_S) + 1)) == 0


def test_who_stands_stands_and_a_person_who_walks_walks():
    tracker = Tracker()
    for k in range(10):
        person = (12.0, -2.0 + 0.15 * k, 0.0, 0.25, 0.25, 1.75)
        tracker.sweep(k * SECOND_NS // 10, seen(car(15.0, 8.0, 0.0), person, seed=k), SENSOR)
    rows = tracker.rows(9 * SECOND_NS // 10)
    (parked,), (walker,) = rows[rows[:, 1] == CAR], rows[rows[:, 1] == PERSON]
    assert parked[5] == 0.0
    assert walker[5] == pytest.approx(1.5, abs=0.5) and abs(walker[4] - math.pi / 2) < 0.4


def test_the_route_channel_gives_back_the_route(env: VehicleEnv):
    step = env.reset(0)
    world, path = env.world, path_ahead(step.samples["route"].values[-1].astype(np.float64))
    c, s = math.cos(world.ego.heading_rad), math.sin(world.ego.heading_rad)
    for ahead_m in (0.0, 10.0, 25.0):
        x, y, _, _ = path.at(ahead_m)
        x, y = world.ego.x_m + x * c - y * s, world.ego.y_m + x * s + y * c
        along_m, lateral_m = world.path.project(x, y, world.along_m + ahead_m)
        # Localisation is off by 3 cm and 3 mrad: 3 standard deviations at 25 m are 0.24 m; waypoints are 3 m apart.
        assert abs(lateral_m) < 0.25 and along_m - world.along_m == pytest.approx(ahead_m, abs=0.3)


class Hidden:
    """The environment without a view into it."""

    def __init__(self, env: VehicleEnv) -> None:
        self.embodiment = env.embodiment


def test_the_planner_crosses_by_its_sensors_alone(env: VehicleEnv):
    executor = Executor(LidarPlanner(Hidden(env)), env.embodiment, enforce_deadline=False)
    run = run_episode(env, executor, seed=0, max_steps=800)
    assert run.terminated and verify(env.trace())["success"] == 1.0
