"""The units of messages whose types say them, and how to bring to SI what is not.

A unit is found by a message's schema and the beginning of a number's path. Types that state no unit are not here: their numbers are in
``1``. Read next: ``si``, which says what foreign units are; ``ros_messages``.

Source: common_interfaces, control_msgs, trajectory_msgs and ackermann_msgs of ROS 2, whose units are those of REP 103; Foxglove
schemas, https://docs.foxglove.dev.
"""

from __future__ import annotations

from collections.abc import Mapping

from genba.data.readers.si import SPELLINGS, Conversion

_DEGREES, _CELSIUS, _AMPERE_HOURS = SPELLINGS["deg"], SPELLINGS["degC"], SPELLINGS["Ah"]

_TWIST = {"linear": Conversion("m/s"), "angular": Conversion("rad/s")}
_ACCELERATION = {"linear": Conversion("m/s^2"), "angular": Conversion("rad/s^2")}
_WRENCH = {"force": Conversion("N"), "torque": Conversion("N*m")}
_POSE = {"position": Conversion("m")}
_POINT = {"x": Conversion("m"), "y": Conversion("m"), "z": Conversion("m")}
_JOINTS = {
    "positions": Conversion("rad"),
    "velocities": Conversion("rad/s"),
    "accelerations": Conversion("rad/s^2"),
    "effort": Conversion("N*m"),
    "time_from_start": Conversion("s"),
}
_PLACE = {"latitude": _DEGREES, "longitude": _DEGREES, "altitude": Conversion("m")}


def _under(prefix: str, units: Mapping[str, Conversion]) -> dict[str, Conversion]:
    return {f"{prefix}.{path}": unit for path, unit in units.items()}


#: Schema -> beginning of a path -> unit.
UNITS: dict[str, dict[str, Conversion]] = {
    "sensor_msgs/Imu": {"angular_velocity": Conversion("rad/s"), "linear_acceleration": Conversion("m/s^2")},
    "sensor_msgs/MagneticField": {"magnetic_field": Conversion("T")},
    "sensor_msgs/NavSatFix": _PLACE,
    "foxglove/LocationFix": _PLACE,
    "sensor_msgs/Temperature": {"temperature": _CELSIUS},
    "sensor_msgs/FluidPressure": {"fluid_pressure": Conversion("Pa")},
    "sensor_msgs/Illuminance": {"illuminance": Conversion("lx")},
    "sensor_msgs/Range": {
        "field_of_view": Conversion("rad"),
        "min_range": Conversion("m"),
        "max_range": Conversion("m"),
        "range": Conversion("m"),
    },
    "sensor_msgs/BatteryState": {
        "voltage": Conversion("V"),
        "temperature": _CELSIUS,
        "current": Conversion("A"),
        "charge": _AMPERE_HOURS,
        "capacity": _AMPERE_HOURS,
        "design_capacity": _AMPERE_HOURS,
        "cell_voltage": Conversion("V"),
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
    "geometry_msgs/Pose2D": {"x": Conversion("m"), "y": Conversion("m"), "theta": Conversion("rad")},
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
        "steering_angle": Conversion("rad"),
        "steering_angle_velocity": Conversion("rad/s"),
        "speed": Conversion("m/s"),
        "acceleration": Conversion("m/s^2"),
        "jerk": Conversion("m/s^3"),
    },
}
UNITS["ackermann_msgs/AckermannDriveStamped"] = _under("drive", UNITS["ackermann_msgs/AckermannDrive"])
