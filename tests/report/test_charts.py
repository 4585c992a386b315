"""Charts: what is drawn stands where the numbers say, and stays inside the drawing."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from genba.report.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Series,
    curves,
    histogram,
    seconds,
    shown_range,
    smooth,
)

EDGES_S = tuple(10.0 ** (-4 + i / 10) for i in range(61))


def _polylines(svg: str) -> list[list[tuple[float, float]]]:
    ElementTree.fromstring(svg)
    found = re.findall(r'<polyline [^>]*points="([^"]*)"', svg)
    return [[tuple(map(float, pair.split(","))) for pair in points.split()] for points in found]


def test_a_line_goes_from_corner_to_corner():
    # Linear from 0 to 4 over steps 0 to 100: ticks 0, 1, ... 4, so the ends are the corners of the plot.
    (line,) = _polylines(curves([Series(name="a", x=[0, 100], y=[0.0, 4.0], style="model")], label="a"))
    assert line == [(LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, TOP)]


def test_a_decade_is_as_tall_as_the_next():
    (line,) = _polylines(curves([Series(name="a", x=[0, 1, 2], y=[0.01, 0.1, 1.0], style="model")], label="a"))
    heights = [y for _, y in line]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.11)  # one decimal is written


@settings(max_examples=100)
@example(y=[5e-324], from_zero=False)
@example(y=[2.0, 2.3e-308], from_zero=False)
@example(y=[1e6, 1e6 + 1e-9], from_zero=True)
@given(
    y=st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(math.nan)), min_size=1, max_size=30),
    from_zero=st.booleans(),
)
def test_any_numbers_stay_inside_the_drawing(y, from_zero):
    svg = curves([Series(name="a", x=list(range(len(y))), y=y, style="model")], label="a < b & c", from_zero=from_zero)
    for line in _polylines(svg) if svg else []:
        for x, height in line:
            assert LEFT - 0.1 <= x <= WIDTH - RIGHT + 0.1
            assert TOP - 0.1 <= height <= HEIGHT - BOTTOM + 0.1


def test_nothing_to_draw_is_nothing():
    assert curves([Series(name="a", x=[0, 1], y=[math.nan, math.nan], style="raw")], label="a") == ""


def test_a_histogram_has_a_bar_for_each_bin_that_counted_and_marks_the_late_ones():
    counts = [0] * 60
    counts[10], counts[25] = 100, 1  # 1 ms to 1.26 ms, and 31.6 ms to 39.8 ms: later than 20 ms
    svg = histogram(counts, EDGES_S, shown_s=(1e-4, 1e-1), deadline_s=0.02, style="model", label="x")
    bars = [e.attrib for e in ElementTree.fromstring(svg).iter("rect")]
    assert [bar["class"] for bar in bars] == ["bar model", "bar model late"]
    # Heights are square roots of counts: 1 of 100 is a tenth as tall.
    assert float(bars[1]["height"]) == pytest.approx(float(bars[0]["height"]) / 10, abs=0.1)
    assert "deadline 20\N{NO-BREAK SPACE}ms" in svg


def test_one_time_axis_holds_every_count_and_the_deadline():
    fast, slow = [0] * 60, [0] * 60
    fast[12], slow[41] = 1, 1  # 1.6 ms; 1.26 s to 1.58 s
    assert shown_range([fast, slow], EDGES_S, 0.02) == (1e-3, 10.0)
    assert shown_range([fast], EDGES_S, 5.0) == (1e-3, 10.0)


def test_the_trailing_mean_looks_back_a_twentieth():
    # 40 points: each the mean of the last two; NaN are left out.
    y = [float(i) for i in range(40)]
    assert smooth(y)[:3] == [0.0, 0.5, 1.5]
    assert smooth([math.nan, *y[1:]])[:2] == pytest.approx([math.nan, 1.0], nan_ok=True)


@pytest.mark.parametrize(
    ("value_s", "text"),
    [(0.00025, "250 µs"), (0.0042, "4.2 ms"), (0.99999, "1 s"), (1.5, "1.5 s"), (119.9, "2 min"), (125, "2 min 5 s"), (14400, "4 h"), (math.nan, "–"), (0, "0 s")],
)  # fmt: skip
def test_times_have_the_unit_that_suits_them(value_s, text):
    assert seconds(value_s).replace("\N{NO-BREAK SPACE}", " ") == text
