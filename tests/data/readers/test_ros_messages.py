"""Every kind of message becomes the channel it should, with values in SI; what cannot be held is said by name."""

import io
import logging
import math

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from logs.mcap import Log, write_ros
from logs.ros2 import START_NS, cloud, header, quaternion, ros, transform, vector
from PIL import Image

from genba.data.readers import message_tracks
from genba.data.readers.mcap import McapReader
from genba.errors import FormatError, ReaderError
from genba.spec.conformance import check_episode

TICK_NS = 100_000_000


@pytest.fixture
def read(tmp_path, caplog):
    """Write messages ``(topic, message)`` a tenth of a second apart, read them back: facts and the one episode."""

    def run(*found, **options):
        path = write_ros(tmp_path / "log.mcap", [(t, START_NS + i * TICK_NS, m) for i, (t, m) in enumerate(found)])
        reader = McapReader()
        facts = reader.embodiment(path, **options)
        with caplog.at_level(logging.WARNING):
            (episode,) = reader.read(path, **options)
        check_episode(facts, episode)
        return facts, episode

    return run


def stamp(tick=0):
    return header(START_NS + tick * TICK_NS)


def units(channel):
    return {dimension.name: dimension.unit for dimension in channel.dimensions}


def column(facts, episode, name, dimension):
    names = [d.name for d in facts.channel(name).dimensions]
    return episode.streams[name].values[:, names.index(dimension)]


def test_joint_states_are_named_by_joint_whatever_their_order(read):
    def state(names, position):
        return ros(
            "sensor_msgs/JointState", header=stamp(), name=names, position=np.array(position), velocity=np.zeros(0),
            effort=np.array(position) * 10,
        )  # fmt: skip

    facts, episode = read(
        ("/joints", state(["Arm-A", "b"], [1.0, 2.0])),
        ("/joints", state(["b", "Arm-A"], [4.0, 3.0])),
        ("/joints", state(["b"], [5.0])),
    )
    assert units(facts.channel("joints")) == {
        "arm_a_position": "rad", "b_position": "rad", "arm_a_effort": "N*m", "b_effort": "N*m"
    }  # fmt: skip
    # The third message says nothing of the first joint.
    np.testing.assert_array_equal(column(facts, episode, "joints", "arm_a_position"), [1, 3, np.nan])
    np.testing.assert_array_equal(column(facts, episode, "joints", "b_effort"), [20, 40, 50])


def test_imu_keeps_its_numbers_and_constant_covariances_are_calibration(read):
    def imu(covariance):
        return ros(
            "sensor_msgs/Imu", header=stamp(), orientation=quaternion(), angular_velocity=vector(1, 2, 3),
            linear_acceleration=vector(0, 0, 9.81), orientation_covariance=np.eye(3).ravel() * covariance,
            angular_velocity_covariance=np.zeros(9), linear_acceleration_covariance=np.zeros(9),
        )  # fmt: skip

    facts, episode = read(("/imu", imu(1)), ("/imu", imu(1)))
    assert units(facts.channel("imu"))["angular_velocity_x"] == "rad/s"
    assert units(facts.channel("imu"))["linear_acceleration_z"] == "m/s^2"
    assert len(facts.channel("imu").dimensions) == 4 + 3 + 3
    assert episode.metadata.calibration["imu.orientation_covariance"] == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    facts, episode = read(("/imu", imu(1)), ("/imu", imu(2)))
    np.testing.assert_array_equal(column(facts, episode, "imu", "orientation_covariance_0"), [1, 2])
    assert len(facts.channel("imu").dimensions) == 4 + 3 + 3 + 9
    assert "imu.orientation_covariance" not in episode.metadata.calibration


def test_place_on_the_earth_keeps_millimetres(read):
    def fix(latitude):
        return ros(
            "sensor_msgs/NavSatFix", header=stamp(), status=ros("sensor_msgs/NavSatStatus", status=0, service=1),
            latitude=latitude, longitude=139.7, altitude=40.0, position_covariance=np.zeros(9),
            position_covariance_type=0,
        )  # fmt: skip

    north = 35.6 + np.array([0, 1e-8, 0.01])
    facts, episode = read(*(("/gnss", fix(float(latitude))) for latitude in north))
    (origin,) = episode.metadata.calibration["gnss.latitude.origin"]
    got = column(facts, episode, "gnss", "latitude").astype(np.float64) + origin
    # 1e-10 rad is 0.6 mm on the ground; a plain float32 would be off by 3e-8 rad, 0.2 m.
    np.testing.assert_allclose(got, np.deg2rad(north), atol=1e-10)
    assert units(facts.channel("gnss"))["latitude"] == "rad"
    assert origin == math.radians(35.6)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (lambda: ros("sensor_msgs/Temperature", header=stamp(), temperature=20.0, variance=0.0), {"temperature": (293.15, "K"), "variance": (0, "1")}),
        (lambda: ros("sensor_msgs/FluidPressure", header=stamp(), fluid_pressure=101325.0, variance=0.0), {"fluid_pressure": (101325, "Pa"), "variance": (0, "1")}),
        (lambda: ros("geometry_msgs/Twist", linear=vector(1, 2, 3), angular=vector(4, 5, 6)),
         {"linear_x": (1, "m/s"), "linear_y": (2, "m/s"), "linear_z": (3, "m/s"), "angular_x": (4, "rad/s"), "angular_y": (5, "rad/s"), "angular_z": (6, "rad/s")}),
        (lambda: ros("geometry_msgs/WrenchStamped", header=stamp(), wrench=ros("geometry_msgs/Wrench", force=vector(1, 2, 3), torque=vector(4, 5, 6))),
         {"wrench_force_x": (1, "N"), "wrench_force_y": (2, "N"), "wrench_force_z": (3, "N"), "wrench_torque_x": (4, "N*m"), "wrench_torque_y": (5, "N*m"), "wrench_torque_z": (6, "N*m")}),
        (lambda: ros("geometry_msgs/Pose", position=ros("geometry_msgs/Point", x=1.0, y=2.0, z=3.0), orientation=quaternion()),
         {"position_x": (1, "m"), "position_y": (2, "m"), "position_z": (3, "m"), "orientation_x": (0, "1"), "orientation_y": (0, "1"), "orientation_z": (0, "1"), "orientation_w": (1, "1")}),
        (lambda: ros("sensor_msgs/Range", header=stamp(), radiation_type=1, field_of_view=0.5, min_range=0.25, max_range=4.0, range=1.5),
         {"radiation_type": (1, "1"), "field_of_view": (0.5, "rad"), "min_range": (0.25, "m"), "max_range": (4, "m"), "range": (1.5, "m")}),
        (lambda: ros("std_msgs/Bool", data=True), {"data": (1, "1")}),
        (lambda: ros("std_msgs/Int64", data=-7), {"data": (-7, "1")}),
        (lambda: ros("std_msgs/Float32MultiArray", layout=ros("std_msgs/MultiArrayLayout", dim=[], data_offset=0), data=np.array([1.5, 2.5], np.float32)),
         {"layout_data_offset": (0, "1"), "data_0": (1.5, "1"), "data_1": (2.5, "1")}),
    ],
)  # fmt: skip
def test_message_becomes_telemetry_in_si(read, message, expected):
    facts, episode = read(("/topic", message()), ("/topic", message()))
    assert units(facts.channel("topic")) == {name: unit for name, (_, unit) in expected.items()}
    values = [value for value, _ in expected.values()]
    np.testing.assert_array_equal(episode.streams["topic"].values, np.array([values, values], np.float32))


def test_battery_charge_comes_in_coulomb(read):
    numbers = dict.fromkeys(("voltage", "current", "capacity", "design_capacity", "percentage"), 1.0)
    battery = ros(
        "sensor_msgs/BatteryState", header=stamp(), charge=2.0, temperature=20.0, power_supply_status=0,
        power_supply_health=0, power_supply_technology=0, present=True, cell_voltage=np.array([3.5, 3.75], np.float32),
        cell_temperature=np.zeros(0, np.float32), location="slot", serial_number="7", **numbers,
    )  # fmt: skip
    facts, episode = read(("/battery", battery))
    # 2 Ah are 7200 A s.
    np.testing.assert_array_equal(column(facts, episode, "battery", "charge"), [7200])
    np.testing.assert_array_equal(column(facts, episode, "battery", "cell_voltage_1"), [3.75])
    assert units(facts.channel("battery"))["charge"] == "C"
    assert "/battery.location (text), /battery.serial_number (text)" in episode.metadata.source


def test_odometry_has_pose_and_twist_in_their_units(read):
    pose = ros("geometry_msgs/Pose", position=ros("geometry_msgs/Point", x=1.0, y=2.0, z=3.0), orientation=quaternion())
    twist = ros("geometry_msgs/Twist", linear=vector(4, 5, 6), angular=vector(7, 8, 9))
    odometry = ros(
        "nav_msgs/Odometry", header=stamp(), child_frame_id="base",
        pose=ros("geometry_msgs/PoseWithCovariance", pose=pose, covariance=np.zeros(36)),
        twist=ros("geometry_msgs/TwistWithCovariance", twist=twist, covariance=np.zeros(36)),
    )  # fmt: skip
    facts, episode = read(("/odom", odometry))
    assert units(facts.channel("odom"))["pose_pose_position_z"] == "m"
    assert units(facts.channel("odom"))["twist_twist_angular_z"] == "rad/s"
    np.testing.assert_array_equal(episode.streams["odom"].values, [[1, 2, 3, 0, 0, 0, 1, 4, 5, 6, 7, 8, 9]])
    assert facts.channel("odom").frame == "base"


def test_trajectory_is_flattened_and_shorter_ones_are_filled_with_nan(read):
    def trajectory(count):
        points = [
            ros(
                "trajectory_msgs/JointTrajectoryPoint", positions=np.array([i, i + 0.5]), velocities=np.zeros(0),
                accelerations=np.zeros(0), effort=np.zeros(0),
                time_from_start=ros("builtin_interfaces/Duration", sec=i, nanosec=500_000_000),
            )
            for i in range(count)
        ]  # fmt: skip
        return ros("trajectory_msgs/JointTrajectory", header=stamp(), joint_names=["a", "b"], points=points)

    facts, episode = read(("/plan", trajectory(2)), ("/plan", trajectory(1)))
    assert units(facts.channel("plan")) == {
        "points_0_positions_0": "rad", "points_0_positions_1": "rad", "points_0_time_from_start": "s",
        "points_1_positions_0": "rad", "points_1_positions_1": "rad", "points_1_time_from_start": "s",
    }  # fmt: skip
    nan = np.nan
    np.testing.assert_array_equal(
        episode.streams["plan"].values, [[0, 0.5, 0.5, 1, 1.5, 1.5], [0, 0.5, 0.5, nan, nan, nan]]
    )
    assert "/plan.joint_names[] (text)" in episode.metadata.source


def test_list_that_is_too_long_is_left_out_by_name(read):
    array = ros(
        "std_msgs/Float64MultiArray", layout=ros("std_msgs/MultiArrayLayout", dim=[], data_offset=3), data=np.zeros(513)
    )
    facts, episode = read(("/long", array))
    assert list(units(facts.channel("long"))) == ["layout_data_offset"]
    assert "/long.data (a longer list than is held)" in episode.metadata.source


def test_number_that_float32_would_blur_is_stored_from_an_origin(read):
    # UTM northings of 4.5e6 m: float32 steps are 0.5 m there.
    sent = 4.5e6 + np.array([0.125, 0.25, 100.0])
    facts, episode = read(*(("/northing", ros("std_msgs/Float64", data=float(v))) for v in sent))
    (origin,) = episode.metadata.calibration["northing.data.origin"]
    np.testing.assert_array_equal(column(facts, episode, "northing", "data").astype(np.float64) + origin, sent)


def test_infinite_number_becomes_nan_and_is_said(read, caplog):
    _, episode = read(*(("/x", ros("std_msgs/Float64", data=v)) for v in (1.0, math.inf, -math.inf)))
    np.testing.assert_array_equal(episode.streams["x"].values[:, 0], [1, np.nan, np.nan])
    assert "/x.data (2 infinite values became NaN)" in caplog.text


@pytest.mark.parametrize(
    ("encoding", "pixel", "rgb"),
    [("rgb8", (1, 2, 3), (1, 2, 3)), ("bgr8", (1, 2, 3), (3, 2, 1)), ("mono8", (7,), (7, 7, 7)),
     ("rgba8", (1, 2, 3, 4), (1, 2, 3)), ("bgra8", (1, 2, 3, 4), (3, 2, 1)), ("8UC3", (1, 2, 3), (3, 2, 1))],
)  # fmt: skip
def test_raw_image_is_rgb_whatever_its_encoding_and_padding(read, encoding, pixel, rgb):
    height, width, step = 8, 9, 9 * len(pixel) + 5
    rows = np.full((height, step), 255, np.uint8)
    rows[:, : width * len(pixel)] = np.tile(pixel, width)
    image = ros(
        "sensor_msgs/Image", header=stamp(), height=height, width=width, encoding=encoding, is_bigendian=0, step=step,
        data=rows.ravel(),
    )  # fmt: skip
    facts, episode = read(("/cam", image))
    assert (facts.channel("cam").height, facts.channel("cam").width) == (8, 9)
    np.testing.assert_array_equal(episode.streams["cam"].values, np.broadcast_to(np.array(rgb, np.uint8), (1, 8, 9, 3)))
    assert ("/cam.alpha" in episode.metadata.source) == (len(pixel) == 4)


def compressed(data, said="jpeg"):
    return ros("sensor_msgs/CompressedImage", header=stamp(), format=said, data=np.frombuffer(data, np.uint8))


def png(frame):
    out = io.BytesIO()
    Image.fromarray(frame).save(out, "PNG")
    return out.getvalue()


def test_compressed_images_decode_and_png_keeps_every_pixel(read):
    frame = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    jpeg = simplejpeg.encode_jpeg(frame)
    _, episode = read(("/png", compressed(png(frame), "rgb8; png compressed")), ("/jpeg", compressed(jpeg)))
    np.testing.assert_array_equal(episode.streams["png"].values[0], frame)
    np.testing.assert_array_equal(episode.streams["jpeg"].values[0], simplejpeg.decode_jpeg(jpeg))


def test_images_that_8_bit_rgb_cannot_hold_are_left_out_by_name(read):
    depth = ros(
        "sensor_msgs/Image", header=stamp(), height=8, width=8, encoding="16UC1", is_bigendian=0, step=16,
        data=np.zeros(128, np.uint8),
    )  # fmt: skip
    deep = png(np.zeros((8, 8), np.uint16))
    _, episode = read(
        ("/depth", depth), ("/deep", compressed(deep, "png")), ("/h264", compressed(b"\x00\x00\x00\x01", "h264")),
        ("/x", ros("std_msgs/Bool", data=True)),
    )  # fmt: skip
    assert set(episode.streams) == {"x"}
    for reason in (
        "/depth (sensor_msgs/msg/Image: images encoded as '16UC1'",
        "/deep (sensor_msgs/msg/CompressedImage: PNG images of 16 bits",
        "/h264 (sensor_msgs/msg/CompressedImage: images of format 'h264'",
    ):
        assert reason in episode.metadata.source
    with pytest.raises(ReaderError, match=r"/depth .*cannot be held: images encoded as '16UC1'"):
        read(("/depth", depth), topics="/depth")


def test_damaged_images_are_refused_with_topic_and_offset(read):
    frame = np.zeros((16, 24, 3), np.uint8)
    jpeg = simplejpeg.encode_jpeg(frame)
    with pytest.raises(FormatError, match=r"/cam.*: not a whole JPEG"):
        read(("/cam", compressed(jpeg[: len(jpeg) // 2])))
    broken = bytearray(png(frame))
    broken[50] ^= 255
    with pytest.raises(FormatError, match=r"/cam.*: not a whole PNG"):
        read(("/cam", compressed(bytes(broken))))
    huge = png(frame)[:16] + (100_000).to_bytes(4, "big") * 2 + png(frame)[24:]
    with pytest.raises(FormatError, match="got an image of 100000 x 100000 pixels, expected 1 to 50000000"):
        read(("/cam", compressed(huge)))
    short = ros(
        "sensor_msgs/Image", header=stamp(), height=9, width=8, encoding="rgb8", is_bigendian=0, step=24,
        data=np.zeros(24 * 8, np.uint8),
    )  # fmt: skip
    with pytest.raises(FormatError, match="got 192 bytes for 9 rows of 24 bytes") as caught:
        read(("/cam", short))
    assert caught.value.offset is not None


def test_camera_that_changes_its_size_is_refused(read):
    small, large = (compressed(simplejpeg.encode_jpeg(np.zeros((16, w, 3), np.uint8))) for w in (16, 24))
    with pytest.raises(ReaderError, match="/cam: got images of 16 x 16 and 24 x 16 pixels, expected one size"):
        read(("/cam", small), ("/cam", large))


@pytest.mark.parametrize("order", ["<", ">"])
def test_point_cloud_reads_every_datatype_in_both_byte_orders(read, order):
    kinds = [
        ("x", "f8"),
        ("y", "f4"),
        ("z", "f4"),
        ("a", "i1"),
        ("b", "u1"),
        ("c", "i2"),
        ("d", "u2"),
        ("e", "i4"),
        ("f", "u4"),
        ("g", "f4"),
        ("Norm", "f4", (2,)),
    ]
    points = np.zeros(3, [(name, order + kind, *shape) for name, kind, *shape in kinds])
    points["x"], points["y"], points["z"] = [1, 2, 3], [4, 5, 6], [7, 8, 9]
    for i, name in enumerate("abcdefg"):
        points[name] = [i, i + 1, i + 2]
    points["Norm"] = [[0.5, 0.25]] * 3
    facts, episode = read(("/lidar", cloud(START_NS, points, is_bigendian=order == ">")))
    channel = facts.channel("lidar")
    assert [a.name for a in channel.attributes] == [*"abcdefg", "norm_0", "norm_1"]
    first = [1, 4, 7, *range(7), 0.5, 0.25]
    np.testing.assert_array_equal(episode.streams["lidar"].sample(0)[0], first)
    assert episode.streams["lidar"].sample(0).shape == (3, 12)
    assert channel.frame == "lidar"


def test_points_without_a_place_are_left_out_and_rows_may_be_padded(read):
    organised = np.zeros((2, 3), [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("skip", "V4")])
    organised["x"] = [[1, np.nan, 3], [4, 5, np.inf]]
    plain = organised[["x", "y", "z"]]
    padded = b"".join(row.tobytes() + b"\xee" * 7 for row in plain)
    sent = cloud(START_NS, plain, row_step=3 * 16 + 7, data=np.frombuffer(padded, np.uint8))
    _, episode = read(("/lidar", sent), ("/lidar", cloud(START_NS + TICK_NS, plain[:1, 1:2])))
    np.testing.assert_array_equal(episode.streams["lidar"].values[:, 0], [1, 3, 4, 5])
    # The second cloud has no point with a place: an empty sweep, but a sweep.
    assert episode.streams["lidar"].splits.tolist() == [0, 4, 4]


def test_packed_colour_becomes_three_attributes(read):
    points = np.zeros(1, [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4")])
    points["rgb"] = 0x00102030
    facts, episode = read(("/cloud", cloud(START_NS, points)))
    assert [a.name for a in facts.channel("cloud").attributes] == ["red", "green", "blue"]
    np.testing.assert_array_equal(episode.streams["cloud"].values[0, 3:], [0x10, 0x20, 0x30])


def test_attribute_that_float32_would_blur_is_left_out_by_name(read):
    kinds = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("timestamp", "<f8"), ("t", "<u4"), ("gain", "<f8")]
    points = np.zeros(2, kinds)
    points["gain"] = 0.1
    # Seconds since 1970 within a tenth of a second are lost in float32 (steps of 128 s); nanoseconds in the sweep are not.
    points["timestamp"], points["t"] = [1.7e9, 1.7e9 + 0.1], [0, 99_999_999]
    facts, episode = read(("/lidar", cloud(START_NS, points)))
    assert [a.name for a in facts.channel("lidar").attributes] == ["t", "gain"]
    assert "/lidar.timestamp (float32 would round it by up to 64)" in episode.metadata.source


@pytest.mark.parametrize(
    ("change", "message"),
    [({"point_step": 0}, "0 bytes each"), ({"row_step": 5}, "5 a row"), ({"width": 1000}, "1000 points"), ({"height": 2**31}, "in 24 bytes")],
)  # fmt: skip
def test_cloud_that_does_not_fit_its_data_is_left_out_by_name(read, change, message):
    points = np.zeros(2, [("x", "<f4"), ("y", "<f4"), ("z", "<f4")])
    with pytest.raises(ReaderError, match=message):
        read(("/lidar", cloud(START_NS, points, **change)), topics="/lidar")


def test_scan_becomes_points_at_their_angles(read):
    scan = ros(
        "sensor_msgs/LaserScan", header=stamp(), angle_min=0.0, angle_max=math.pi, angle_increment=math.pi / 4,
        time_increment=0.0, scan_time=0.1, range_min=0.5, range_max=10.0,
        ranges=np.array([1, 2, math.inf, 0.1, 4], np.float32), intensities=np.array([10, 20, 30, 40, 50], np.float32),
    )  # fmt: skip
    facts, episode = read(("/scan", scan))
    # 0 and 180 degrees and 2 m at 45 degrees; the third has no return, the fourth is nearer than range_min.
    expected = [[1, 0, 0, 10], [math.sqrt(2), math.sqrt(2), 0, 20], [-4, 0, 0, 50]]
    np.testing.assert_allclose(episode.streams["scan"].values, expected, atol=1e-6)
    assert [a.name for a in facts.channel("scan").attributes] == ["intensity"]
    assert "/scan.scan_time (of each ray)" in episode.metadata.source


def test_static_transforms_are_calibration_and_moving_ones_telemetry(read):
    def tf(*transforms):
        return ros("tf2_msgs/TFMessage", transforms=list(transforms))

    facts, episode = read(
        (
            "/tf_static",
            tf(transform(START_NS, "base", "cam", (1, 2, 3)), transform(START_NS, "base", "lidar", (0, 0, 1))),
        ),
        ("/tf", tf(transform(START_NS, "map", "base", (1, 0, 0)), transform(START_NS + 5, "base", "hand", (0, 1, 0)))),
        ("/tf", tf(transform(START_NS + 7, "map", "base", (2, 0, 0)))),
    )
    assert episode.metadata.calibration == {
        "base_from_cam": (1, 2, 3, 0, 0, 0, 1),
        "base_from_lidar": (0, 0, 1, 0, 0, 0, 1),
    }
    assert set(episode.streams) == {"tf_map_from_base", "tf_base_from_hand"}
    # Each transform has a clock of its own.
    assert episode.streams["tf_map_from_base"].times_ns.tolist() == [START_NS, START_NS + 7]
    assert episode.streams["tf_base_from_hand"].times_ns.tolist() == [START_NS + 5]
    np.testing.assert_array_equal(column(facts, episode, "tf_map_from_base", "translation_x"), [1, 2])


def test_camera_info_that_never_changes_is_calibration(read):
    info = ros(
        "sensor_msgs/CameraInfo", header=stamp(), height=480, width=640, distortion_model="plumb_bob", d=np.zeros(5),
        k=np.arange(9.0), r=np.eye(3).ravel(), p=np.zeros(12), binning_x=0, binning_y=0,
        roi=ros("sensor_msgs/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )  # fmt: skip
    _, episode = read(("/cam/info", info), ("/cam/info", info), ("/x", ros("std_msgs/Bool", data=True)))
    assert set(episode.streams) == {"x"}
    assert episode.metadata.calibration["cam_info.k"] == tuple(range(9))
    assert episode.metadata.calibration["cam_info.width"] == (640,)


def test_topics_whose_names_meet_get_numbers(read):
    facts, _ = read(*((topic, ros("std_msgs/Bool", data=True)) for topic in ("/a/b", "/a_b")))
    assert [channel.name for channel in facts.telemetry] == ["a_b", "a_b_2"]
    # What an episode calls its actions comes from the option alone.
    facts, episode = read(("/action", ros("std_msgs/Bool", data=True)))
    assert set(episode.streams) == {"action_2"}
    assert not facts.action.continuous


def test_drawings_and_unknown_encodings_are_left_out_by_name(tmp_path):
    log = Log(tmp_path / "log.mcap")
    log.json("/x", START_NS, {"x": 1})
    log.add("/flat", START_NS, b"1234", encoding="flatbuffer", schema="F", described=("flatbuffer", b"?"))
    log.add("/odd", START_NS, b"1234", encoding="cdr", schema="a/msg/B", described=("ros2msg", b"Missing m\n"))
    (episode,) = McapReader().read(log.finish())
    assert "/flat (F: its encoding (flatbuffer described by flatbuffer) is not known)" in episode.metadata.source
    assert "/odd (a/msg/B: no definition of a/msg/Missing)" in episode.metadata.source


def test_places_beyond_any_sensor_are_left_out_by_name(read):
    points = np.zeros(2, [("x", "<f8"), ("y", "<f4"), ("z", "<f4")])
    points["x"] = [1.0, 1e200]
    _, episode = read(("/lidar", cloud(START_NS, points)), ("/x", ros("std_msgs/Bool", data=True)))
    assert set(episode.streams) == {"x"}
    assert "/lidar (sensor_msgs/msg/PointCloud2: clouds with points beyond 1e+07 m)" in episode.metadata.source


def test_frames_that_are_too_many_for_memory_lie_in_a_file(read, monkeypatch):
    monkeypatch.setattr(message_tracks, "MEMORY_BYTES", 1000)
    frames = np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3), np.uint8)
    _, episode = read(*(("/cam", compressed(png(frame), "png")) for frame in frames))
    assert isinstance(episode.streams["cam"].values, np.memmap)
    np.testing.assert_array_equal(episode.streams["cam"].values, frames)


@settings(deadline=None)
@given(st.floats(1e-30, 1e30))
def test_round_number_is_the_least_one_that_is_not_below(value):
    found = message_tracks.round_up(value)
    digit = found / 10 ** math.floor(math.log10(found) + 1e-9)
    assert round(digit) in (1, 2, 5)
    # The next smaller of 1, 2, 5, 10 ... is at most 2.5 times less, and below the value.
    assert value <= found * (1 + 1e-8)
    assert found < 2.5 * value * (1 + 1e-8)


def test_limits_hold_every_value_with_a_tenth_to_spare(read):
    facts, _ = read(*(("/x", ros("std_msgs/Float64", data=v)) for v in (-3.0, 4.6)))
    (dimension,) = facts.channel("x").dimensions
    # 1.1 * 4.6 = 5.06, and the next round number is 10; what went below zero may go as far.
    assert (dimension.low, dimension.high) == (-10.0, 10.0)
    facts, _ = read(*(("/x", ros("std_msgs/Float64", data=v)) for v in (0.5, 4.5)))
    # 1.1 * 4.5 = 4.95; what was never below zero stays there.
    (dimension,) = facts.channel("x").dimensions
    assert (dimension.low, dimension.high) == (0.0, 5.0)
    # A damaged number next to nothing must not make limits that are both 0.
    facts, _ = read(("/x", ros("std_msgs/Float64", data=1e-310)))
    (dimension,) = facts.channel("x").dimensions
    assert (dimension.low, dimension.high) == (0.0, 1.0)
