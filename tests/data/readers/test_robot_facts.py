"""Facts derived from a log are deterministic, have room for every value, and never collide."""

import dataclasses

import numpy as np
import pytest

from genba.data.readers.robot_facts import (
    Ranges,
    action_dimensions,
    control,
    dimensions,
    distinct_names,
    named_by_content,
    to_float32,
)
from genba.errors import FormatError
from genba.spec.embodiment import Embodiment, TelemetryChannel


def machine(high=1.0):
    dimension = dimensions(["x"], [(0.0, high)])
    channel = TelemetryChannel(name="state", rate_hz=10.0, frame="none", history_s=0.1, dimension=dimension)
    return Embodiment(id="log/unnamed@1", description="made", control=control(10.0), telemetry=(channel,))


def test_names_are_plain_and_distinct():
    assert distinct_names(["Gripper.pos", "gripper pos", "-", "関節", "gripper_pos_2"]) == [
        "gripper_pos",
        "gripper_pos_2",
        "unnamed",
        "unnamed_2",
        "gripper_pos_2_2",
    ]


def test_limits_leave_a_tenth_of_the_range_and_missing_values_aside():
    ranges = Ranges()
    ranges.add("a", np.array([[1.0, 5.0, np.nan], [3.0, 5.0, np.nan]], np.float32))
    ranges.add("a", np.array([[2.0, 5.0, np.nan], [np.nan, 5.0, np.nan]], np.float32))
    # 1 to 3: 0.2 on each side. Always 5: a tenth of 5. Never a number: -1 to 1.
    assert ranges.limits("a") == [pytest.approx((0.8, 3.2)), pytest.approx((4.5, 5.5)), (-1.0, 1.0)]


def test_what_is_safe_is_not_invented():
    above, around = action_dimensions(["a", "b"], [(2.0, 3.0), (-1.0, 1.0)])
    assert (above.on_fault, above.safe) == ("hold", 2.0)
    assert (around.on_fault, around.safe) == ("hold", 0.0)


def test_ids_say_the_facts():
    one, same, other = (named_by_content("Test Arm", machine(high)) for high in (1.0, 1.0, 2.0))
    assert one == same
    assert one.id.startswith("log/test-arm-")
    assert one.id.endswith("@1")
    assert other.id != one.id
    # The id itself is not part of what it says.
    assert named_by_content("Test Arm", dataclasses.replace(one)) == one


def test_numbers_become_float32_or_are_refused(tmp_path):
    values, inexact = to_float32(tmp_path, "x", np.array([[2**24], [2**24 + 1]]))
    assert values.dtype == np.float32
    assert inexact == 1
    # A signalling NaN, as damaged files hold them.
    nan = np.array([0x7FF4000000000001], np.uint64).view(np.float64)
    assert np.isnan(to_float32(tmp_path, "x", nan)[0]).all()
    with pytest.raises(FormatError, match=r"x: row 1: got 1e\+300, expected a number that float32 holds"):
        to_float32(tmp_path, "x", np.array([0.0, 1e300]))
