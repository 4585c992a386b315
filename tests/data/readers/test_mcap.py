"""MCAP logs: clocks, options, cuts, JSON and Protobuf; a log is never read by halves or differently in silence."""

import base64
import logging
import re

import numpy as np
import pytest
from logs.mcap import GAUGE_SET, Log, proto_class, write_log, write_ros
from logs.ros2 import START_NS, header, messages, ros

from genba.config import to_toml
from genba.data.readers import message_log
from genba.data.readers.mcap import McapReader, McapSource
from genba.data.readers.mcap_container import McapFile
from genba.data.readers.message_log import LogOptions, MessageLog
from genba.data.writers import foxglove_schemas
from genba.errors import FormatError, ReaderError
from genba.spec.conformance import check_episode

SECOND_NS = 10**9


def read(path, **options):
    reader = McapReader()
    facts = reader.embodiment(path, **options)
    episodes = list(reader.read(path, **options))
    for episode in episodes:
        check_episode(facts, episode)
    return facts, episodes


def temperature(stamp_ns, value=0.0):
    return ros("sensor_msgs/Temperature", header=header(stamp_ns), temperature=value, variance=0.0)


def flags(path, times_ns, topic="/x"):
    """Write ``std_msgs/Int64`` (no capture time) counting up, at these log times."""
    return write_ros(path, [(topic, int(t), ros("std_msgs/Int64", data=i)) for i, t in enumerate(times_ns)])


def test_made_log_reads_whole_with_three_encodings(tmp_path):
    path, options = write_log(tmp_path)
    assert McapReader().recognises(path)
    facts, (episode,) = read(path, **options)
    assert set(episode.streams) == {
        "action", "arm_joint_states", "camera_compressed", "camera_raw", "door", "gauge", "gnss", "imu", "lidar",
        "tf_map_from_base",
    }  # fmt: skip
    sent = [m.linear.x for topic, _, m in messages() if topic == "/cmd_vel"]
    np.testing.assert_array_equal(episode.streams["action"].values[:, 0], np.array(sent, np.float32))
    assert [d.name for d in facts.action.continuous][:3] == ["linear_x", "linear_y", "linear_z"]
    frames = [m.data for topic, _, m in messages() if topic == "/camera/raw"]
    np.testing.assert_array_equal(episode.streams["camera_raw"].values, np.reshape(frames, (5, 16, 24, 3)))
    assert facts.control.period_s == 0.02
    assert "/log.data (text)" in episode.metadata.source


def test_episode_and_facts_are_named_by_their_content(tmp_path):
    path, options = write_log(tmp_path)
    facts, (episode,) = read(path, **options)
    assert episode.metadata.episode_id.startswith(f"{facts.id}/mcap/")
    again, (same,) = read(path, **options)
    assert (again, same.metadata) == (facts, episode.metadata)
    (tmp_path / "other").mkdir()
    other, (different,) = read(write_log(tmp_path / "other", seed=1)[0], **options)
    assert different.metadata.episode_id.split("/")[-1] != episode.metadata.episode_id.split("/")[-1]
    assert to_toml(other).replace(other.id, "") == to_toml(facts).replace(facts.id, "") or other.id != facts.id


def test_capture_time_is_the_clock_where_it_is_sane(tmp_path, caplog):
    late_ns = 5_000_000
    log = [("/temp", START_NS + i * SECOND_NS + late_ns, temperature(START_NS + i * SECOND_NS)) for i in range(3)]
    path = write_ros(tmp_path / "log.mcap", log)
    captured = [START_NS + i * SECOND_NS for i in range(3)]
    assert read(path)[1][0].streams["temp"].times_ns.tolist() == captured
    assert read(path, clock="capture")[1][0].streams["temp"].times_ns.tolist() == captured
    assert read(path, clock="log")[1][0].streams["temp"].times_ns.tolist() == [t + late_ns for t in captured]
    assert not caplog.text
    # What carries no capture time but gives no samples does not stand in the way.
    log.append(("/note", START_NS, ros("std_msgs/String", data="start")))
    path = write_ros(tmp_path / "log.mcap", log)
    assert read(path, clock="capture")[1][0].streams["temp"].times_ns.tolist() == captured


@pytest.mark.parametrize(
    ("stamps", "why"), [((0, 0), "not set"), ((5 * SECOND_NS, 6 * SECOND_NS), r"up to 169999999\d s from")]
)
def test_capture_time_of_another_clock_is_not_used_and_said(tmp_path, caplog, stamps, why):
    log = [("/temp", START_NS + i * SECOND_NS, temperature(stamp)) for i, stamp in enumerate(stamps)]
    path = write_ros(tmp_path / "log.mcap", log)
    with caplog.at_level(logging.WARNING):
        _, (episode,) = read(path)
    assert episode.streams["temp"].times_ns.tolist() == [START_NS, START_NS + SECOND_NS]
    assert re.search(why, caplog.text)
    if stamps[0]:
        # Simulated time is right where everything carries it: it may be asked for.
        assert read(path, clock="capture")[1][0].streams["temp"].times_ns.tolist() == list(stamps)
    else:
        with pytest.raises(ReaderError, match="/temp: got messages without a capture time"):
            read(path, clock="capture")


def test_samples_out_of_order_are_sorted_and_said_and_equal_times_stay_in_order(tmp_path, caplog):
    times_ns = START_NS + np.array([0, 3, 1, 3, 4]) * 100_000_000
    with caplog.at_level(logging.WARNING):
        _, (episode,) = read(flags(tmp_path / "log.mcap", times_ns))
    np.testing.assert_array_equal(episode.streams["x"].values[:, 0], [0, 2, 1, 3, 4])
    assert episode.streams["x"].times_ns.tolist() == sorted(times_ns.tolist())
    assert "/x: 2 of 5 samples were out of order; sorted" in caplog.text


def test_messages_of_changing_length_keep_the_order_of_the_log(tmp_path, caplog):
    """They are decoded length by length, which must not show: neither in their order nor as a clock that jumps."""
    lengths = [1, 2, 1, 3, 2, 1]
    # The third and the fourth have the same time.
    times_ns = [START_NS + t * 10 * SECOND_NS for t in (0, 1, 2, 2, 3, 4)]
    log = [
        ("/x", time_ns, ros("std_msgs/Int32MultiArray", layout=ros("std_msgs/MultiArrayLayout", dim=[], data_offset=i), data=np.zeros(n, np.int32)))
        for i, (time_ns, n) in enumerate(zip(times_ns, lengths, strict=True))
    ]  # fmt: skip
    with caplog.at_level(logging.WARNING):
        _, (episode,) = read(write_ros(tmp_path / "log.mcap", log))
    np.testing.assert_array_equal(episode.streams["x"].values[:, 0], range(6))
    assert episode.streams["x"].times_ns.tolist() == times_ns
    np.testing.assert_array_equal(np.isfinite(episode.streams["x"].values[:, 1:]).sum(1), lengths)
    assert not caplog.text


def test_clock_that_jumps_back_far_is_refused(tmp_path):
    path = flags(tmp_path / "log.mcap", [START_NS, START_NS + 5 * SECOND_NS, START_NS + 3 * SECOND_NS])
    with pytest.raises(ReaderError, match=r"/x: got a clock that jumps back by 2\.000 s after sample 1"):
        read(path)


def test_log_is_cut_where_nothing_was_recorded(tmp_path):
    seconds = [0, 1, 2, 12, 13, 30]
    path = flags(tmp_path / "log.mcap", START_NS + np.array(seconds) * SECOND_NS)
    assert len(read(path)[1]) == 1
    _, episodes = read(path, split="9.5")
    got = [((e.streams["x"].times_ns - START_NS) // SECOND_NS).tolist() for e in episodes]
    assert got == [[0, 1, 2], [12, 13], [30]]
    assert len({e.metadata.episode_id for e in episodes}) == 3
    # A gap of exactly the given length is none.
    assert len(read(path, split=10)[1]) == 2


def test_log_is_cut_into_lengths_and_nothing_is_lost(tmp_path):
    seconds = [0, 1, 2, 12, 13, 30]
    path = flags(tmp_path / "log.mcap", START_NS + np.array(seconds) * SECOND_NS)
    _, episodes = read(path, length=2)
    got = [((e.streams["x"].times_ns - START_NS) // SECOND_NS).tolist() for e in episodes]
    # Stretches of two seconds from the start on; those without a sample are no episodes.
    assert got == [[0, 1], [2], [12, 13], [30]]
    assert [e.metadata.episode_id[-26:-20] for e in episodes] == ["000000", "000001", "000002", "000003"]


def test_slow_topic_does_not_keep_old_episodes_open(tmp_path, monkeypatch):
    """Episodes come out while the log is read, in order, though a topic's messages wait to be decoded together."""
    monkeypatch.setattr(message_log, "FLUSH_ALL_MESSAGES", 50)
    fast = [("/fast", START_NS + i * 10_000_000, ros("std_msgs/Int64", data=i)) for i in range(1000)]
    slow = [("/slow", START_NS + i * SECOND_NS + 1, ros("std_msgs/Bool", data=True)) for i in range(10)]
    path = write_ros(tmp_path / "log.mcap", sorted(fast + slow, key=lambda item: item[1]))
    opened = 0

    def count(messages):
        nonlocal opened
        for message in messages:
            opened += 1
            yield message

    log = MessageLog(McapSource(McapFile(path)), LogOptions(length_s=1.0))
    plain = log._source.messages
    monkeypatch.setattr(log._source, "messages", lambda *, verify: count(plain(verify=verify)))
    told = dict.fromkeys(("owner", "site", "jurisdiction", "agreement"), "unknown")
    seen = [(opened, len(e.streams["fast"]), len(e.streams["slow"])) for e in log.episodes("mcap", told)]
    assert [(fast, slow) for _, fast, slow in seen] == [(100, 1)] * 10
    # 101 messages a second: an episode is complete at the first flush after its last message.
    assert all(at <= 101 * (i + 1) + 50 for i, (at, _, _) in enumerate(seen))


def test_times_that_span_months_are_refused(tmp_path):
    path = flags(tmp_path / "log.mcap", [1, START_NS])
    with pytest.raises(
        ReaderError, match="got times that span 19676 days, expected at most 31; cut the log with split"
    ):
        read(path)
    assert len(read(path, split=1000)[1]) == 2


def test_only_chosen_topics_are_read(tmp_path):
    path, _ = write_log(tmp_path)
    facts, (episode,) = read(path, topics="/imu, /gauge")
    assert set(episode.streams) == {"imu", "gauge"}
    _, (whole,) = read(path)
    # The same bytes, but not the same episode.
    assert episode.metadata.episode_id.split("/")[-1] != whole.metadata.episode_id.split("/")[-1]
    assert read(path, topics=("/imu", "/gauge"))[0] == facts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"topics": "/imo"}, "no messages on topic '/imo'; did you mean '/imu'"),
        ({"action": "/cmd_val"}, "no messages on topic '/cmd_val'; did you mean '/cmd_vel'"),
        ({"action": "/lidar"}, "action: /lidar holds no numbers"),
        ({"topics": "/cmd_vel", "action": "/cmd_vel"}, "got only actions, expected a channel beside them"),
        (
            {"topics": "/log"},
            r"/log \(std_msgs/msg/String\).*|nothing in it that a channel can hold: /log.data \(text\)",
        ),
        ({"clock": "gps"}, "clock: got 'gps', expected auto, capture or log"),
        ({"split": "often"}, "split: got 'often', expected seconds"),
        ({"length": -1}, "length: got -1, expected 0 to 1e\\+09 seconds"),
        ({"partial": "some"}, "partial: got 'some', expected true or false"),
        ({"topic": "/imu"}, "unknown option 'topic'; did you mean 'topics'"),
        ({"embodiment": "arm/panda@9"}, "embodiment: no embodiment 'arm/panda@9'"),
    ],
)
def test_option_that_does_not_fit_is_refused(tmp_path, options, message):
    path, _ = write_log(tmp_path)
    with pytest.raises(ReaderError, match=message):
        read(path, **options)


def test_log_is_held_to_facts_that_the_user_names(tmp_path):
    path, options = write_log(tmp_path)
    facts, (derived,) = read(path, **options)
    mine = tmp_path / "robot.toml"
    text = to_toml(facts).replace(facts.id, "robot/mobile-arm@1")
    # The facts may put dimensions in another order than the log has them.
    text = (
        text.replace("shoulder_position", "x")
        .replace("elbow_position", "shoulder_position")
        .replace('"x"', '"elbow_position"')
    )
    mine.write_text(text)
    named, (episode,) = read(path, **options, embodiment=str(mine))
    assert named.id == episode.metadata.embodiment_id == "robot/mobile-arm@1"
    order = [1, 0, 2, 3]
    np.testing.assert_array_equal(
        episode.streams["arm_joint_states"].values, derived.streams["arm_joint_states"].values[:, order]
    )
    for change, message in (
        (("elbow_velocity", "wrist_velocity"), "without wrist_velocity and with elbow_velocity, expected those of robot/mobile-arm@1 arm_joint_states"),
        (('name = "imu"', 'name = "imu_2"'), "/imu: robot/mobile-arm@1 has no channel 'imu'; did you mean 'imu_2'"),
        (("width = 24", "width = 32"), "got images of 24 x 16, expected 32 x 16"),
        (("linear_x", "forward"), "without forward and with linear_x, expected those of robot/mobile-arm@1 action"),
    ):  # fmt: skip
        assert change[0] in text
        mine.write_text(text.replace(*change))
        with pytest.raises(ReaderError, match=message):
            read(path, **options, embodiment=str(mine))


def test_unfinished_log_is_read_as_far_as_it_is_whole_when_asked_for(tmp_path):
    path = flags(tmp_path / "log.mcap", START_NS + np.arange(100) * SECOND_NS)
    whole = path.read_bytes()
    # Recorders write a chunk at a time; one whose chunks are small is cut between them.
    stream = Log(tmp_path / "small.mcap", chunk_size=1000)
    for i in range(100):
        stream.ros("/x", START_NS + i * SECOND_NS, ros("std_msgs/Int64", data=i))
    small = stream.finish()
    small.write_bytes(small.read_bytes()[:2000])
    with pytest.raises(FormatError, match="What is whole is read with partial=true"):
        read(small)
    _, (episode,) = read(small, partial=True)
    count = len(episode.streams["x"])
    assert 0 < count < 100
    np.testing.assert_array_equal(episode.streams["x"].values[:, 0], np.arange(count))
    path.write_bytes(whole)
    assert len(read(path, partial="true")[1][0].streams["x"]) == 100


def test_empty_log_says_so(tmp_path):
    with pytest.raises(ReaderError, match="nothing in it that a channel can hold: it holds no messages"):
        read(Log(tmp_path / "log.mcap").finish())


def test_json_is_flattened_by_what_it_shows(tmp_path):
    log = Log(tmp_path / "log.mcap")
    log.json("/door", START_NS, {"isOpen": True, "hinge": {"angleRad": 0.5, "pins": [1, None]}, "label": "A"})
    log.json("/door", START_NS + 1, {"isOpen": False, "hinge": {"pins": [3, 4]}, "items": [{"a": 1}, {"a": 2}]})
    log.json("/door", START_NS + 2, {"isOpen": None})
    facts, (episode,) = read(log.finish())
    assert [d.name for d in facts.channel("door").dimensions] == [
        "is_open", "hinge_angle_rad", "hinge_pins_0", "hinge_pins_1", "items_0_a", "items_1_a"
    ]  # fmt: skip
    nan = np.nan
    np.testing.assert_array_equal(
        episode.streams["door"].values, [[1, 0.5, 1, nan, nan, nan], [0, nan, 3, 4, 1, 2], [nan] * 6]
    )
    assert "/door.label (text)" in episode.metadata.source


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "not JSON"),
        (b"[1]", "got a JSON list, expected an object"),
        (b"\xff", "not JSON"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "got values nested more than 64 deep"),
        (b'{"a":' * 100_000, "not JSON"),
        (b'{"a": 1' + b"0" * 400 + b"}", "not JSON"),
    ],
)  # fmt: skip
def test_json_that_is_damaged_is_refused_by_topic_and_offset(tmp_path, data, message):
    log = Log(tmp_path / "log.mcap", use_chunking=False)
    log.json("/door", START_NS, {"x": 1})
    log.json("/door", START_NS, data)
    path = log.finish()
    with pytest.raises(FormatError, match=rf"/door \(\): .*{message}") as caught:
        read(path)
    assert path.read_bytes()[caught.value.offset + 31 :].startswith(data)


def test_protobuf_is_flattened_by_its_own_description(tmp_path):
    gauge = proto_class(GAUGE_SET, "plant.Gauge")
    log = Log(tmp_path / "log.mcap")
    log.proto("/gauge", START_NS, gauge(reading={"celsius": 20.5}, history=[1, 2], serial="A"), GAUGE_SET)
    log.proto("/gauge", START_NS + 1, gauge(history=[3], is_open=True), GAUGE_SET)
    facts, (episode,) = read(log.finish())
    assert [d.name for d in facts.channel("gauge").dimensions] == [
        "reading_celsius", "reading_counts", "history_0", "history_1", "is_open"
    ]  # fmt: skip
    # A number that was not sent is 0; a message that was not sent is missing.
    np.testing.assert_array_equal(episode.streams["gauge"].values, [[20.5, 0, 1, 2, 0], [np.nan, np.nan, 3, np.nan, 1]])
    assert "/gauge.serial (text)" in episode.metadata.source


@pytest.mark.parametrize(
    ("data", "descriptors", "message"),
    [
        (b"\xff\xff", GAUGE_SET, r"/gauge \(plant.Gauge\): not a message of its type"),
        (b"", b"\xff\xff", "its FileDescriptorSet cannot be used"),
        (b"", GAUGE_SET.replace(b"Gauge", b"Gouge"), "its FileDescriptorSet cannot be used"),
    ],
)
def test_protobuf_that_is_damaged_is_refused(tmp_path, data, descriptors, message):
    log = Log(tmp_path / "log.mcap")
    log.add("/gauge", START_NS, data, encoding="protobuf", schema="plant.Gauge", described=("protobuf", descriptors))
    with pytest.raises(ReaderError, match=message):
        read(log.finish())


def test_foxglove_messages_mean_the_same_in_protobuf_and_json(tmp_path):
    points = np.array([[1, 2, 3, 0.5], [np.nan, 0, 0, 0]], "<f4")
    fields = [
        {"name": name, "offset": 4 * i, "type": foxglove_schemas.FLOAT32}
        for i, name in enumerate(("x", "y", "z", "intensity"))
    ]
    # A quarter turn about z, then 10 m along x: (1, 2, 3) goes to (-2 + 10, 1, 3).
    half = float(np.sqrt(0.5))
    place = {"position": {"x": 10.0, "y": 0.0, "z": 0.0}, "orientation": {"x": 0.0, "y": 0.0, "z": half, "w": half}}
    described = foxglove_schemas.point_cloud().SerializeToString()
    cloud = proto_class(described, "foxglove.PointCloud")(
        timestamp={"seconds": START_NS // SECOND_NS, "nanos": 7}, frame_id="lidar", pose=place, point_stride=16,
        fields=fields, data=points.tobytes(),
    )  # fmt: skip
    log = Log(tmp_path / "log.mcap")
    log.proto("/proto", START_NS, cloud, described)
    value = {
        "timestamp": {"sec": START_NS // SECOND_NS, "nsec": 7}, "frame_id": "lidar", "pose": place, "point_stride": 16,
        "fields": fields, "data": base64.b64encode(points.tobytes()).decode(),
    }  # fmt: skip
    log.json("/json", START_NS, value, schema="foxglove.PointCloud")
    log.json(
        "/pose",
        START_NS,
        {"timestamp": {"sec": START_NS // SECOND_NS, "nsec": 9}, "frame_id": "map", "pose": place},
        schema="foxglove.PoseInFrame",
    )
    facts, (episode,) = read(log.finish())
    for name in ("proto", "json"):
        np.testing.assert_allclose(episode.streams[name].values, [[8, 1, 3, 0.5]], atol=1e-6)
        assert episode.streams[name].times_ns.tolist() == [START_NS + 7]
        assert facts.channel(name).frame == "lidar"
    assert [(d.name, d.unit) for d in facts.channel("pose").dimensions][:2] == [
        ("pose_position_x", "m"),
        ("pose_position_y", "m"),
    ]
    assert episode.streams["pose"].times_ns.tolist() == [START_NS + 9]


def test_owner_and_place_can_be_told(tmp_path):
    path, _ = write_log(tmp_path)
    _, (episode,) = read(path, owner="plant", site="Aichi", jurisdiction="JP", agreement="2026-07")
    metadata = episode.metadata
    assert (metadata.owner, metadata.site, metadata.jurisdiction, metadata.agreement) == (
        "plant",
        "Aichi",
        "JP",
        "2026-07",
    )


def test_several_publishers_of_one_topic_are_one_channel(tmp_path):
    log = Log(tmp_path / "log.mcap")
    for i in range(4):
        # A new channel for each message, as after a publisher was started again.
        log._channels.clear()
        log.ros("/cmd", START_NS + i, ros("geometry_msgs/Vector3", x=float(i), y=0.0, z=0.0))
    _, (episode,) = read(log.finish())
    np.testing.assert_array_equal(episode.streams["cmd"].values[:, 0], range(4))


def test_moving_and_static_transforms_of_foxglove_are_read(tmp_path):
    log = Log(tmp_path / "log.mcap")
    value = {
        "timestamp": {"sec": START_NS // SECOND_NS, "nsec": 0}, "parent_frame_id": "map", "child_frame_id": "base",
        "translation": {"x": 1, "y": 2, "z": 3}, "rotation": {"x": 0, "y": 0, "z": 0, "w": 1},
    }  # fmt: skip
    log.json("/move", START_NS, value, schema="foxglove.FrameTransform")
    log.json(
        "/moves",
        START_NS,
        {"transforms": [value, value | {"child_frame_id": "arm"}]},
        schema="foxglove.FrameTransforms",
    )
    _, (episode,) = read(log.finish())
    assert set(episode.streams) == {"move_map_from_base", "moves_map_from_base", "moves_map_from_arm"}
    np.testing.assert_array_equal(episode.streams["moves_map_from_arm"].values, [[1, 2, 3, 0, 0, 0, 1]])
