"""A small ROS 2 bag written by ``rosbags``: an arm on wheels with joints, IMU, camera, LiDAR, GNSS and commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import simplejpeg
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.ROS2_HUMBLE)
START_NS = 1_700_000_000_000_000_000


def ros(schema: str, /, **fields: object) -> object:
    """Make a message, e.g. ``ros("sensor_msgs/Imu", ...)``."""
    package, kind = schema.split("/")
    return STORE.types[f"{package}/msg/{kind}"](**fields)


def header(time_ns: int, frame_id: str = "base") -> object:
    stamp = ros("builtin_interfaces/Time", sec=time_ns // 10**9, nanosec=time_ns % 10**9)
    return ros("std_msgs/Header", stamp=stamp, frame_id=frame_id)


def vector(x: float, y: float, z: float) -> object:
    return ros("geometry_msgs/Vector3", x=float(x), y=float(y), z=float(z))


def quaternion(x: float = 0.0, y: float = 0.0, z: float = 0.0, w: float = 1.0) -> object:
    return ros("geometry_msgs/Quaternion", x=float(x), y=float(y), z=float(z), w=float(w))


def cloud(time_ns: int, points: np.ndarray, **changes: object) -> object:
    """Make a ``PointCloud2`` of a structured array ``[points]`` or ``[height, width]``."""
    numbers = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}
    assert points.dtype.fields is not None
    fields = [
        ros("sensor_msgs/PointField", name=name, offset=offset, datatype=numbers[dtype.base.str[1:]],
            count=int(np.prod(dtype.shape, dtype=int)))
        for name, (dtype, offset) in points.dtype.fields.items()
    ]  # fmt: skip
    height, width = points.shape if points.ndim == 2 else (1, len(points))
    given = {
        "header": header(time_ns, "lidar"),
        "height": height,
        "width": width,
        "fields": fields,
        "is_bigendian": False,
        "point_step": points.dtype.itemsize,
        "row_step": points.dtype.itemsize * width,
        "data": np.frombuffer(points.tobytes(), np.uint8),
        "is_dense": True,
    }
    return ros("sensor_msgs/PointCloud2", **(given | changes))


def transform(time_ns: int, parent: str, child: str, place: tuple[float, float, float]) -> object:
    moved = ros("geometry_msgs/Transform", translation=vector(*place), rotation=quaternion())
    return ros("geometry_msgs/TransformStamped", header=header(time_ns, parent), child_frame_id=child, transform=moved)


def messages(seed: int = 0, num: int = 10) -> Iterator[tuple[str, int, object]]:
    """Yield topic, log time and message: ``num`` ticks of 20 ms, captured 1 ms before they were logged."""
    rng = np.random.default_rng(seed)
    static = ros("tf2_msgs/TFMessage", transforms=[transform(START_NS, "base", "lidar", (0.1, 0.0, 0.5))])
    yield "/tf_static", START_NS, static
    for tick in range(num):
        capture_ns = START_NS + tick * 20_000_000
        log_ns = capture_ns + 1_000_000
        head = header(capture_ns)
        yield "/arm/joint_states", log_ns, ros(
            "sensor_msgs/JointState", header=header(capture_ns, ""), name=["shoulder", "elbow"],
            position=rng.uniform(-1, 1, 2), velocity=rng.uniform(-1, 1, 2), effort=np.zeros(0),
        )  # fmt: skip
        yield "/imu", log_ns, ros(
            "sensor_msgs/Imu", header=head, orientation=quaternion(),
            angular_velocity=vector(*rng.uniform(-1, 1, 3)), linear_acceleration=vector(0, 0, 9.81),
            orientation_covariance=np.eye(3).ravel(), angular_velocity_covariance=np.zeros(9),
            linear_acceleration_covariance=np.zeros(9),
        )  # fmt: skip
        yield "/cmd_vel", log_ns, ros("geometry_msgs/Twist", linear=vector(tick * 0.1, 0, 0), angular=vector(0, 0, 0.5))
        yield "/log", log_ns, ros("std_msgs/String", data=f"tick {tick}")
        moved = transform(capture_ns, "map", "base", (tick * 0.1, 0.0, 0.0))
        yield "/tf", log_ns, ros("tf2_msgs/TFMessage", transforms=[moved])
        if tick % 2:
            continue
        frame = rng.integers(0, 256, (16, 24, 3), np.uint8)
        yield "/camera/raw", log_ns, ros(
            "sensor_msgs/Image", header=header(capture_ns, "camera"), height=16, width=24, encoding="rgb8",
            is_bigendian=0, step=72, data=frame.ravel(),
        )  # fmt: skip
        jpeg = np.frombuffer(simplejpeg.encode_jpeg(frame), np.uint8)
        yield (
            "/camera/compressed",
            log_ns,
            ros("sensor_msgs/CompressedImage", header=header(capture_ns, "camera"), format="jpeg", data=jpeg),
        )
        points = np.zeros(30, [("x", "<f4"), ("y", "<f4"), ("z", "<f4")])
        for name in "xyz":
            points[name] = rng.uniform(0, 10, 30)
        yield "/lidar", log_ns, cloud(capture_ns, points)
        yield "/gnss", log_ns, ros(
            "sensor_msgs/NavSatFix", header=head, status=ros("sensor_msgs/NavSatStatus", status=0, service=1),
            latitude=35.6 + tick * 1e-6, longitude=139.7, altitude=40.0, position_covariance=np.zeros(9),
            position_covariance_type=0,
        )  # fmt: skip


def write_bag(
    folder: Path, found: Iterator[tuple[str, int, object]] | list[tuple[str, int, object]], *, storage: str = "sqlite3"
) -> Path:
    """Write messages as a bag in ``folder / "bag"``."""
    path = folder / "bag"
    plugin = StoragePlugin.SQLITE3 if storage == "sqlite3" else StoragePlugin.MCAP
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        connections = {}
        for topic, log_ns, message in found:
            kind = message.__msgtype__  # type: ignore[attr-defined]
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], log_ns, STORE.serialize_cdr(message, kind))
    return path


def write_log(folder: Path, seed: int = 0) -> tuple[Path, dict[str, object]]:
    """Write a bag whose ``/cmd_vel`` is the machine's action."""
    return write_bag(folder, messages(seed)), {"action": "/cmd_vel"}
