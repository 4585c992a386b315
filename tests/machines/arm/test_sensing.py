"""What the arm's sensors make of the truth."""

import numpy as np

from genba.machines.arm.sensing import SENSING, Sensors
from genba.registry import task

ARM = task("arm/grip@1").embodiment


def test_a_sensor_reads_the_end_of_its_range_where_the_truth_lies_beyond():
    felt = Sensors(SENSING, 0.0, ARM.telemetry)
    # fingers pressed 12 mm past closed, faster than the encoder reads; then what lies within
    felt.measure("gripper", 0, np.array([70.0, -0.012, -1.5]))
    felt.measure("gripper", 1, np.array([0.5, 0.03, 0.25]))
    values = felt.arrived(10**9)["gripper"].values
    np.testing.assert_array_equal(values, np.array([[70.0, 0.0, -1.0], [0.5, 0.03, 0.25]], values.dtype))
