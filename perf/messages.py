"""Print how many messages of a log one core reads per CPU-second, beside the libraries that others read such logs with.

    python perf/messages.py [--seconds N]

A made log: joints at 500 Hz, an IMU at 200 Hz, commands at 50 Hz, a LiDAR of 2,000 points and two cameras of 160 x 160 (JPEG) at 10 Hz. ``genba`` is the
whole way from the file to an episode, read twice (facts, then samples) with every check sum; ``mcap`` only takes the messages out of their container; ``mcap +
rosbags`` also decodes each to an object, which is not yet an array. Nothing is asserted: the numbers depend on the machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import simplejpeg
from mcap.reader import make_reader

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from logs.mcap import write_ros
from logs.ros2 import START_NS, STORE, cloud, header, quaternion, ros, vector, write_bag

from genba.data.readers.mcap import McapReader
from genba.data.readers.mcap_container import McapFile
from genba.data.readers.ros2 import Ros2Reader

_JOINTS = [f"joint_{i}" for i in range(7)]


def messages(seconds: int, *, with_sensors: bool) -> Iterator[tuple[str, int, object]]:
    """Yield the messages of ``seconds`` seconds in order of time."""
    rng = np.random.default_rng(0)
    found: list[tuple[str, int, object]] = []
    for topic, rate_hz in (
        ("/joints", 500),
        ("/imu", 200),
        ("/cmd", 50),
        ("/lidar", 10),
        ("/left", 10),
        ("/right", 10),
    ):
        if topic in ("/lidar", "/left", "/right") and not with_sensors:
            continue
        found += [(topic, START_NS + i * 10**9 // rate_hz, None) for i in range(seconds * rate_hz)]
    points = np.zeros(2000, [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4")])
    covariance = np.zeros(9)
    for topic, time_ns, _ in sorted(found, key=lambda item: item[1]):
        head = header(time_ns)
        match topic:
            case "/joints":
                yield topic, time_ns, ros(
                    "sensor_msgs/JointState", header=head, name=_JOINTS, position=rng.normal(size=7),
                    velocity=rng.normal(size=7), effort=rng.normal(size=7),
                )  # fmt: skip
            case "/imu":
                yield topic, time_ns, ros(
                    "sensor_msgs/Imu", header=head, orientation=quaternion(), angular_velocity=vector(*rng.normal(size=3)),
                    linear_acceleration=vector(*rng.normal(size=3)), orientation_covariance=covariance,
                    angular_velocity_covariance=covariance, linear_acceleration_covariance=covariance,
                )  # fmt: skip
            case "/cmd":
                yield topic, time_ns, ros("geometry_msgs/Twist", linear=vector(1, 0, 0), angular=vector(0, 0, 1))
            case "/lidar":
                for name in ("x", "y", "z", "intensity"):
                    points[name] = rng.normal(size=2000)
                yield topic, time_ns, cloud(time_ns, points)
            case _:
                image = simplejpeg.encode_jpeg(rng.integers(0, 256, (160, 160, 3), np.uint8))
                yield (
                    topic,
                    time_ns,
                    ros("sensor_msgs/CompressedImage", header=head, format="jpeg", data=np.frombuffer(image, np.uint8)),
                )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=40, help="how long the made log is")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        for what, with_sensors in (("telemetry", False), ("telemetry, cameras, LiDAR", True)):
            here = Path(folder) / ("sensors" if with_sensors else "telemetry")
            here.mkdir()
            found = list(messages(seconds, with_sensors=with_sensors))
            path = write_ros(here / "log.mcap", found)
            bag = write_bag(here, found)
            print(f"{what}: {len(found)} messages, {path.stat().st_size / 1e6:.1f} MB")
            ways: dict[str, Callable[[], int]] = {
                "genba mcap": lambda path=path: _episodes(McapReader(), path),
                "genba ros2 (sqlite3)": lambda bag=bag: _episodes(Ros2Reader(), bag),
                "genba, container only": lambda path=path: sum(1 for _ in McapFile(path).messages()),
                "mcap, container only": lambda path=path: _library(path, decode=False),
                "mcap + rosbags": lambda path=path: _library(path, decode=True),
            }
            for name, way in ways.items():
                begin = time.process_time()
                way()
                used = time.process_time() - begin
                print(f"  {name:<24}{len(found) / used:>12,.0f} messages per CPU-second")


def _episodes(reader: McapReader | Ros2Reader, path: Path) -> int:
    return sum(len(stream) for episode in reader.read(path, action="/cmd") for stream in episode.streams.values())


def _library(path: Path, *, decode: bool) -> int:
    count = 0
    with path.open("rb") as stream:
        for schema, _, message in make_reader(stream, validate_crcs=True).iter_messages(log_time_order=False):
            if decode:
                assert schema is not None
                STORE.deserialize_cdr(message.data, schema.name)
            count += 1
    return count


if __name__ == "__main__":
    main()
