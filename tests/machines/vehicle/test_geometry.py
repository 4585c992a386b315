"""Compiled boxes against shapely's polygons, paths against circles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from genba.machines.vehicle.geometry import corners, distance_to_segments, overlap
from genba.machines.vehicle.path import CURVE_ACCELERATION_MPS2, make_path

numbers = st.floats(-4, 4, allow_nan=False)
angles = st.floats(-math.pi, math.pi, allow_nan=False)
halves = st.floats(0.2, 3, allow_nan=False)


@settings(max_examples=150, deadline=None)
@given(numbers, numbers, angles, halves, halves, angles, halves, halves)
def test_overlap_agrees_with_shapely(x, y, heading, length, width, other_heading, other_length, other_width):
    a = shapely.Polygon(corners(0.0, 0.0, other_heading, other_length, other_width))
    b = shapely.Polygon(corners(x, y, heading, length, width))
    gap_m, shared_m2 = a.distance(b), a.intersection(b).area
    assume(gap_m > 1e-6 or shared_m2 > 1e-6)  # a bare touch is decided by rounding
    assert overlap(0.0, 0.0, other_heading, other_length, other_width, x, y, heading, length, width) == (gap_m == 0)


def test_distance_to_segments_counts_the_nearest_end_or_foot():
    segments = np.array([[0.0, 0.0, 10.0, 0.0], [0.0, 50.0, 1.0, 50.0]])
    assert distance_to_segments(4.0, 3.0, segments) == pytest.approx(3.0)
    assert distance_to_segments(13.0, 4.0, segments) == pytest.approx(5.0)


def test_a_quarter_circle_has_its_curvature_and_the_speed_that_it_allows():
    radius_m = 12.0
    angle = np.linspace(-math.pi / 2, math.pi / 2, 100)
    path = make_path(radius_m * np.stack([np.cos(angle), np.sin(angle)], 1), stop_m=0.0, goal_m=10.0)
    middle = len(path.points) // 2
    assert path.points[middle, 3] == pytest.approx(1 / radius_m, rel=0.02)
    assert path.speed_mps[middle] == pytest.approx(math.sqrt(CURVE_ACCELERATION_MPS2 * radius_m), rel=0.02)
    x, y, heading, _ = path.points[middle]
    along_m, lateral_m = path.project(x - 0.7 * math.sin(heading), y + 0.7 * math.cos(heading), middle * 0.5)
    assert (along_m, lateral_m) == (pytest.approx(middle * 0.5), pytest.approx(0.7))
