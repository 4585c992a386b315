"""The units of messages whose types say them, and how to bring to SI what is not.

A unit is found by a message's schema and the beginning of a number's path. Types that state no unit are not here: their numbers are in
``1``. Read next: ``ros_messages``.

Source: common_interfaces, control_msgs, trajectory_msgs and ackermann_msgs of ROS 2, whose units are those of REP 103; Foxglove
schemas, https://docs.foxglove.dev.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

#: Symbol of ``spec.units``, what to multiply with and what to add then.
Unit = tuple[str, float, float]

_DEGREES = ("rad", math.pi / 180, 0.0)
_CELSIUS = ("K", 1.0, 273.15)
_AMPERE_HOURS = ("C", 3600.0, 0.0)


def si(unit: str) -> Unit:
    """Return a unit that needs no conversion."""
    return unit, 1.0, 0.0


_TWIST = {"linear": si("m/s"), "angular": si("rad/s")}
_ACCELERATION = {"linear": si("m/s^2"), "angular": si("rad/s^2")}
_WRENCH = {"force": si("N"), "torque": si("N*m")}
_POSE = {"position": si("m")}
_POINT = {"x": si("m"), "y": si("m"), "z": si("m")}
_JOINTS = {
    "positions": si("rad"),
    "velocities": si("rad/s"),
    "accelerations": si("rad/s^2"),
    "effort": si("N*m"),
    "time_from_start": si("s"),
}
_PLACE = {"latitude": _DEGREES, "longitude": _DEGREES, "altitude": si("m")}


def _under(prefix: str, units: Mapping[str, Unit]) -> dict[str, Unit]:
    return {f"{prefix}.{path}": unit for path, unit in units.items()}


#: Schema -> beginning of a path -> unit.
UNITS: dict[str, dict[str, Unit]] = {
    "sensor_msgs/Imu": {"angular_velocity": si("rad/s"), "linear_acceleration": si("m/s^2")},
    "sensor_msgs/MagneticField": {"magnetic_field": si("T")},
    "sensor_msgs/NavSatFix": _PLACE,
    "foxglove/LocationFix": _PLACE,
    "sensor_msgs/Temperature": {"temperature": _CELSIUS},
    "sensor_msgs/FluidPressure": {"fluid_pressure": si("Pa")},
    "sensor_msgs/Illuminance": {"illuminance": si("lx")},
    "sensor_msgs/Range": {
        "field_of_view": si("rad"),
        "min_range": si("m"),
        "max_range": si("m"),
        "range": si("m"),
    },
    "sensor_msgs/BatteryState": {
        "voltage": si("V"),
        "temperature": _CELSIUS,
        "current": si("A"),
        "charge": _AMPERE_HOURS,
        "capacity": _AMPERE_HOURS,
        "design_capacity": _AMPERE_HOURS,
        "cell_voltage": si("V"),
        "cell_temperature": _CELSIUS,
    },
    "geometry_msgs/Twist": _TWIST,
    "geometry_msgs/TwistStamped": _under("twist", _TWIST),
    "geometry_msgs/TwistWithCovariance": _under("twist", _TWIST),
    "geometry_msgs/TwistWithCovarianceStamped": _under("twist.twist", _TWIST),
    "geometry_msgs/Accel": _ACCELERATION,
    "geometry_msgs/AccelStamped": _under("accel", _ACCELERATION),
    "geometry_msgs/AccelWithCovarianceStamped": _under("accel.accel", _ACCELERATION),
    "geometry_msgs/Wrench": _WRENCH,
    "geometry_msgs/WrenchStamped": _under("wrench", _WRENCH),
    "geometry_msgs/Point": _POINT,
    "geometry_msgs/PointStamped": _under("point", _POINT),
    "geometry_msgs/Pose": _POSE,
    "geometry_msgs/Pose2D": {"x": si("m"), "y": si("m"), "theta": si("rad")},
    "geometry_msgs/PoseStamped": _under("pose", _POSE),
    "geometry_msgs/PoseWithCovariance": _under("pose", _POSE),
    "geometry_msgs/PoseWithCovarianceStamped": _under("pose.pose", _POSE),
    "nav_msgs/Odometry": _under("pose.pose", _POSE) | _under("twist.twist", _TWIST),
    "foxglove/Pose": _POSE,
    "foxglove/PoseInFrame": _under("pose", _POSE),
    "trajectory_msgs/JointTrajectory": _under("points", _JOINTS),
    "trajectory_msgs/JointTrajectoryPoint": _JOINTS,
    "control_msgs/JointTrajectoryControllerState": {
        f"{part}.{path}": unit
        for part in ("desired", "actual", "error", "reference", "feedback", "output")
        for path, unit in _JOINTS.items()
    },
    "ackermann_msgs/AckermannDrive": {
        "steering_angle": si("rad"),
        "steering_angle_velocity": si("rad/s"),
        "speed": si("m/s"),
        "acceleration": si("m/s^2"),
        "jerk": si("m/s^3"),
    },
}
UNITS["ackermann_msgs/AckermannDriveStamped"] = _under("drive", UNITS["ackermann_msgs/AckermannDrive"])
