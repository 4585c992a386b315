"""Names and rates of a derived machine are the same ones every time, and fit an embodiment."""

import numpy as np
import pytest

from genba.data.readers.derived import as_si, derive, distinct_names, nominal_rate_hz, telemetry
from genba.data.readers.plain_names import snake_case
from genba.data.readers.si import Conversion
from genba.spec.embodiment import Dimension


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("STEER_ANGLE", "steer_angle"),
        ("EngineSpeed", "engine_speed"),
        ("ABSStatus2", "abs_status2"),
        ("P1 [bar]", "p1_bar"),
        ("__x__", "x"),
        ("温度", "unnamed"),
        ("", "unnamed"),
        ("Größe", "gr_e"),
    ],
)
def test_snake_case(name, plain):
    assert snake_case(name) == plain
    Dimension(name=plain, unit="m", low=0.0, high=1.0)


def test_names_that_come_out_alike_are_numbered_and_streams_that_are_no_channel_are_avoided():
    assert distinct_names(["Speed", "speed", "SPEED", "speed_2"]) == ["speed", "speed_2", "speed_3", "speed_2_2"]
    assert distinct_names(["Action", "label", "Trace"]) == ["action_2", "label_2", "trace_2"]
    assert distinct_names(["action"], ()) == ["action"]


@pytest.mark.parametrize(
    ("step_ns", "rate_hz"),
    [
        (10_000_000, 100.0),
        (12_048_000, 80.0),
        (20_300_000, 50.0),
        (10**9, 1.0),
        (7 * 10**9, 0.16),
        (1_000, 1_000_000.0),
    ],
)
def test_rates_fall_on_preferred_numbers(step_ns, rate_hz):
    # 83 Hz lies between 80 and 100, nearer to 80; one step of a minute's gap does not count.
    times_ns = np.cumsum([0, *[step_ns] * 20, 60 * 10**9, *[step_ns] * 20])
    assert nominal_rate_hz(times_ns) == pytest.approx(rate_hz)


def test_clock_without_steps_has_a_rate():
    assert nominal_rate_hz(np.zeros(0, np.int64)) == nominal_rate_hz(np.array([5, 5])) == 1.0


def test_id_follows_from_the_key_alone():
    channel = telemetry("x", 10.0, [Dimension(name="x", unit="m", low=0.0, high=1.0)])
    assert derive("can", "A.", [channel], [1, "a"]).id == derive("can", "B.", [channel], [1, "a"]).id
    assert derive("can", "A.", [channel], [1, "b"]).id != derive("can", "A.", [channel], [1, "a"]).id


def test_what_float32_cannot_hold_is_missing():
    # 4e38 is beyond float32's 3.4e38.
    values = as_si(np.array([1.0, 4e35, np.inf, np.nan]), Conversion("m", 1e3, 0.0))
    np.testing.assert_array_equal(values, np.array([1e3, np.nan, np.nan, np.nan], np.float32))
