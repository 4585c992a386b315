"""The field's scores by numbers worked out by hand, just inside and just outside each bound."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from genba.machines.vehicle.scores import driving_score, fit, has_time, is_at_fault, is_comfortable, pdm_score

LANE = [np.array([[-50.0, 0.0], [50.0, 0.0]])]
PERSON, CAR = 2.0, 0.0


def outline(x: float, y: float, heading: float, rear: float, front: float, half_width: float) -> shapely.Polygon:
    along = np.array([np.cos(heading), np.sin(heading)])
    across = np.array([-along[1], along[0]])
    corners = [(front, half_width), (rear, half_width), (rear, -half_width), (front, -half_width)]
    return shapely.Polygon([np.array([x, y]) + a * along + b * across for a, b in corners])


def ego(speed_mps: float, heading: float = 0.0) -> tuple[np.ndarray, shapely.Polygon]:
    """The car with its rear axle at the origin: it reaches from -0.9 m to 3.7 m, 0.925 m to either side."""
    return np.array([0.0, 0.0, 0.0, heading, speed_mps]), outline(0.0, 0.0, heading, -0.9, 3.7, 0.925)


def car(x: float, y: float, heading: float, speed_mps: float) -> tuple[np.ndarray, shapely.Polygon]:
    row = np.array([7.0, CAR, x, y, heading, speed_mps, 4.5, 1.8])
    return row, outline(x, y, heading, -2.25, 2.25, 0.9)


@pytest.mark.parametrize(
    ("ego_speed", "other", "fault"),
    [
        (0.05, car(4.5, 0.0, np.pi / 2, 8.0), False),  # it stood
        (0.06, car(4.5, 0.0, np.pi / 2, 8.0), True),  # its front, between 3.6 m and 5.4 m ahead
        (5.0, car(1.5, 3.1, -np.pi / 2, 0.05), True),  # the other stood
        (5.0, car(1.5, 3.1, -np.pi / 2, 8.0), False),  # its left side, between 0.6 m and 2.4 m, in its lane
        (5.0, car(-3.0, 0.0, 0.0, 8.0), False),  # from behind
    ],
)
def test_whose_fault_a_touch_was(ego_speed, other, fault):
    state, body = ego(ego_speed)
    assert body.intersects(other[1])
    assert is_at_fault(state, body, *other, LANE) is fault


def test_a_side_that_is_touched_counts_where_no_lane_holds_the_whole_car():
    state, body = ego(5.0)
    other = car(1.5, 3.1, -np.pi / 2, 8.0)
    # The right side is at -0.925 m: 1.895 m from a lane along y = 0.97 m, 1.905 m from one along 0.98 m; 1.9 m is in it.
    for y, fault in ((0.97, False), (0.98, True)):
        assert is_at_fault(state, body, *other, [LANE[0] + [0.0, y]]) is fault


@pytest.mark.parametrize(("gap_m", "enough"), [(9.6, True), (9.4, False)])
def test_time_to_what_stands_ahead_is_its_distance_over_the_speed(gap_m, enough):
    state, body = ego(10.0)
    # At 10 m/s 9.5 m take 0.95 s; its rear is 2.25 m before its middle, our bumper 3.7 m ahead.
    row, other = car(3.7 + gap_m + 2.25, 0.0, 0.0, 0.0)
    assert has_time(state[None], np.array([body]), row[None], np.array([other])) is enough


def test_who_crosses_takes_time_too_and_who_is_behind_or_met_by_a_car_that_stands_does_not_count():
    state, body = ego(10.0)
    # Aimed at our side: 0.9 m/s closer per 1 m/s; from 8 m beside it its front (2.25 m on) has 4.825 m to our side.
    for speed, enough in ((4.9, True), (5.2, False)):  # 4.825 / 0.95 = 5.08 m/s
        row, other = car(8.0, 8.0, -np.pi / 2, speed)
        assert has_time(state[None], np.array([body]), row[None], np.array([other])) is enough
    row, other = car(-6.0, 0.0, 0.0, 30.0)
    assert has_time(state[None], np.array([body]), row[None], np.array([other]))
    still, body = ego(0.0)
    row, other = car(8.0, 0.0, np.pi, 9.0)
    assert has_time(still[None], np.array([body]), row[None], np.array([other]))


def test_fits_give_back_a_parabola_and_its_slopes_to_the_ends():
    t = np.arange(20) * 0.1
    for window in (5, 7, 15):
        np.testing.assert_allclose(fit(3 * t**2 - t, window, 2, 0, 0.1), 3 * t**2 - t, atol=1e-9)
        np.testing.assert_allclose(fit(3 * t**2 - t, window, 2, 1, 0.1), 6 * t - 1, atol=1e-9)
    np.testing.assert_allclose(fit(t**3, 5, 3, 2, 0.1), 6 * t, atol=1e-8)


def driven(**columns: np.ndarray | float) -> np.ndarray:
    steps = max(np.size(values) for values in columns.values())
    state = np.zeros((steps, 9))
    for name, values in columns.items():
        state[:, {"heading": 3, "speed": 4, "acceleration": 5, "yaw_rate": 7}[name]] = values
    return state


T = np.arange(-4, 5) * 0.1


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        (driven(acceleration=np.full(20, 2.39)), driven(acceleration=np.full(20, 2.41))),
        (driven(acceleration=np.full(20, -4.04)), driven(acceleration=np.full(20, -4.06))),
        # a straight line is what the fits give back: its slope is the jerk
        (driven(acceleration=4.1 * T - 1.0), driven(acceleration=4.2 * T - 1.0)),
        (driven(speed=10.0, yaw_rate=np.full(20, 0.488)), driven(speed=10.0, yaw_rate=np.full(20, 0.490))),
        (driven(heading=0.94 * np.arange(20) * 0.1), driven(heading=0.96 * np.arange(20) * 0.1)),
        (driven(heading=0.5 * 1.92 * T**2), driven(heading=0.5 * 1.94 * T**2)),
    ],
    ids=["speeding up", "braking", "jerk", "sideways", "yaw rate", "yaw acceleration"],
)
def test_each_bound_of_comfort_holds_just_inside_and_breaks_just_outside(inside, outside):
    assert is_comfortable(inside, 0.1)
    assert not is_comfortable(outside, 0.1)


def test_the_pdm_score_weighs_as_navsim_does():
    kept = {"is_at_fault": False, "off_road": False, "progress": 0.8, "has_time": True, "comfortable": False}
    assert pdm_score(**kept) == pytest.approx((5 * 0.8 + 5) / 12)  # 0.75
    assert pdm_score(**{**kept, "comfortable": True, "progress": 1.0}) == 1.0
    assert pdm_score(**{**kept, "is_at_fault": True}) == pdm_score(**{**kept, "off_road": True}) == 0.0


def test_the_driving_score_multiplies_what_each_infraction_leaves():
    clean = {"progress": 0.8, "hit": [], "ran_red": False, "ran_stop": False, "off_road_share": 0.0}
    assert driving_score(**clean) == 0.8
    assert driving_score(**{**clean, "hit": [PERSON], "ran_red": True}) == pytest.approx(0.8 * 0.5 * 0.7)
    assert driving_score(**{**clean, "ran_stop": True}) == pytest.approx(0.8 * 0.8)
    assert driving_score(**{**clean, "hit": [CAR, CAR], "off_road_share": 0.25}) == pytest.approx(0.8 * 0.75 * 0.36)
