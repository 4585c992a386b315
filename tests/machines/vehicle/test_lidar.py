"""The caster against distances worked out by hand and against a slow, different algorithm."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genba.machines.vehicle.lidar import AZIMUTHS_RAD, DROP_OUT, ELEVATIONS_RAD, GROUND_M, NUM_COLUMNS, cast, sweep

SLOPES = np.tan(ELEVATIONS_RAD)


def test_a_wall_straight_ahead_is_as_far_as_its_near_face():
    # The wall's centre is 20 m ahead and it is 2 m deep: its face is at 19 m. Beside it, at angle a, 19 / cos(a).
    boxes = np.array([[20.0, 0.0, 0.0, 1.0, 8.0, 9.0]])
    distance, _, hit = cast(np.array([0.0, 0.0, 1.7, 0.0]), boxes, AZIMUTHS_RAD, SLOPES, 60.0)
    assert distance[0] == pytest.approx(19.0)
    assert distance[10] == pytest.approx(19.0 / math.cos(AZIMUTHS_RAD[10]))
    # It is seen within atan(8 / 19) = 22.83 degrees of straight ahead: columns 0.75 degrees apart, 30 on either side.
    assert (hit >= 0).sum() == 2 * int(math.degrees(math.atan2(8, 19)) / 0.75) + 1
    assert np.isinf(distance[NUM_COLUMNS // 2])


def test_what_stands_behind_is_hidden_and_the_nearer_returns():
    boxes = np.array([[30.0, 0.0, 0.0, 1.0, 1.0, 9.0], [10.0, 0.0, 0.0, 0.25, 1.0, 9.0]])
    distance, _, hit = cast(np.array([0.0, 0.0, 1.7, 0.0]), boxes, AZIMUTHS_RAD[:1], SLOPES, 60.0)
    assert hit[0] == 1 and distance[0] == pytest.approx(9.75)


def test_returns_beyond_the_range_and_on_the_ground_are_dropped():
    sensor = np.array([0.0, 0.0, 1.7, 0.0])
    far = np.array([[62.0, 0.0, 0.0, 1.0, 8.0, 9.0]])
    assert cast(sensor, far, AZIMUTHS_RAD[:1], SLOPES, 60.0)[2][0] == -1
    kerb = np.array([[10.0, 0.0, 0.0, 1.0, 8.0, GROUND_M / 2]])
    assert cast(sensor, kerb, AZIMUTHS_RAD[:1], SLOPES, 60.0)[2][0] == -1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_every_column_equals_a_march_along_its_beams(seed: int):
    random = np.random.default_rng(seed)
    count = 4
    boxes = np.stack(
        [
            *random.uniform(-25, 25, (2, count)),
            random.uniform(-math.pi, math.pi, count),
            random.uniform(0.3, 4.0, count),
            random.uniform(0.3, 2.0, count),
            random.uniform(1.0, 4.0, count),
        ],
        axis=1,
    )
    boxes = boxes[np.hypot(boxes[:, 0], boxes[:, 1]) > 6.0]
    sensor = np.array([0.0, 0.0, 1.7, random.uniform(-math.pi, math.pi)])
    columns = random.choice(NUM_COLUMNS, 6, replace=False)
    distance, _, _ = cast(sensor, boxes, AZIMUTHS_RAD[columns], SLOPES, 60.0)
    step_m = 0.01
    along = np.arange(0.0, 60.0, step_m)
    for i, column in enumerate(columns):
        angle = sensor[3] + AZIMUTHS_RAD[column]
        x, y = along * math.cos(angle), along * math.sin(angle)
        first = np.inf
        for slope in SLOPES:
            z = sensor[2] + along * slope
            for bx, by, heading, half_length, half_width, height in boxes:
                u = (x - bx) * math.cos(heading) + (y - by) * math.sin(heading)
                v = -(x - bx) * math.sin(heading) + (y - by) * math.cos(heading)
                inside = (np.abs(u) <= half_length) & (np.abs(v) <= half_width) & (z <= height) & (z >= GROUND_M)
                if inside.any():
                    first = min(first, along[np.argmax(inside)])
        # A march finds a wall up to one step late, and may step over a corner that it grazes or the last
        # centimetre above the ground; then the caster says nearer, never farther.
        assert distance[i] <= first + 1e-9
        if np.isfinite(first) and abs(distance[i] - first) > 2 * step_m:
            grazed = np.isfinite(distance[i])
            assert grazed and distance[i] < first


def test_noise_and_losses_have_the_size_they_claim():
    # A ring of walls: every column returns, at a known distance.
    boxes = np.array(
        [
            [20.0, 0, 0, 1.0, 30.0, 9],
            [-20.0, 0, 0, 1.0, 30.0, 9],
            [0, 20.0, 0, 30.0, 1.0, 9],
            [0, -20.0, 0, 30.0, 1.0, 9],
        ]
    )
    sensor = np.array([0.0, 0.0, 1.7, 0.0])
    random = np.random.default_rng(0)
    errors, kept, total = [], 0, 0
    for _ in range(40):
        points, returns = sweep(sensor, boxes, random)
        errors.append(
            np.linalg.norm(points, axis=1)
            - 19.0 / np.abs(points[:, :2] / np.linalg.norm(points, axis=1)[:, None]).max(1)
        )
        kept += len(points)
        total += NUM_COLUMNS
        assert returns.sum() == len(points)
    # Binomial with p = 1 %: five standard deviations of 19,200 draws are 0.36 %.
    assert 1 - kept / total == pytest.approx(DROP_OUT, abs=0.0036)
    assert np.concatenate(errors).std() == pytest.approx(0.02, rel=0.1)
