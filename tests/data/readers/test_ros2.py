"""ROS 2 bags in both storages and every compression give what ``rosbags`` reads; a bag that is not whole is refused."""

import shutil
import sqlite3

import numpy as np
import pytest
import zstandard
from logs.mcap import write_ros
from logs.ros2 import START_NS, STORE, messages, ros, write_bag, write_log
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from genba.data.readers.mcap import McapReader
from genba.data.readers.ros2 import Ros2Reader
from genba.errors import FormatError, ReaderError
from genba.spec.conformance import check_episode


def read(path, **options):
    reader = Ros2Reader()
    facts = reader.embodiment(path, **options)
    (episode,) = reader.read(path, **options)
    check_episode(facts, episode)
    return facts, episode


def equal(one, two):
    assert set(one.streams) == set(two.streams)
    for name, stream in one.streams.items():
        np.testing.assert_array_equal(two.streams[name].times_ns, stream.times_ns)
        np.testing.assert_array_equal(two.streams[name].values, stream.values)


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_bag_gives_what_rosbags_reads(tmp_path, storage):
    path = write_bag(tmp_path, messages(), storage=storage)
    assert Ros2Reader().recognises(path)
    _, episode = read(path, clock="log")
    with AnyReader([path], default_typestore=STORE) as bag:
        for topic, name, field in (("/cmd_vel", "cmd_vel", "linear"), ("/imu", "imu", "angular_velocity")):
            sent = [
                (time_ns, getattr(bag.deserialize(raw, c.msgtype), field))
                for c, time_ns, raw in bag.messages([c for c in bag.connections if c.topic == topic])
            ]
            assert episode.streams[name].times_ns.tolist() == [time_ns for time_ns, _ in sent]
            at = 0 if name == "cmd_vel" else 4
            expected = np.array([[v.x, v.y, v.z] for _, v in sent], np.float32)
            np.testing.assert_array_equal(episode.streams[name].values[:, at : at + 3], expected)


def test_same_messages_give_the_same_episode_in_every_container(tmp_path):
    bag, mcap = write_bag(tmp_path, messages()), write_ros(tmp_path / "log.mcap", messages())
    facts, episode = read(bag, action="/cmd_vel")
    reader = McapReader()
    (other,) = reader.read(mcap, action="/cmd_vel")
    assert [c.name for c in reader.embodiment(mcap, action="/cmd_vel").channels] == [c.name for c in facts.channels]
    assert other.metadata.embodiment_id == episode.metadata.embodiment_id
    equal(episode, other)
    # One .db3 file without its metadata is a log as well.
    equal(episode, read(next(bag.glob("*.db3")), action="/cmd_vel")[1])


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compressed_bag_reads_as_the_plain_one(tmp_path, mode):
    plain = read(write_bag(tmp_path, messages()))[1]
    path = tmp_path / "packed"
    writer = Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for topic, log_ns, message in messages():
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], log_ns, STORE.serialize_cdr(message, kind))
    equal(plain, read(path)[1])


def test_bag_of_several_files_is_one_log(tmp_path):
    found = sorted(messages(), key=lambda item: item[1])
    whole = write_bag(tmp_path, found)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    parts = [write_bag(tmp_path / name, part) for name, part in (("one", found[:40]), ("two", found[40:]))]
    joined = tmp_path / "joined"
    joined.mkdir()
    for i, part in enumerate(parts):
        shutil.copy(next(part.glob("*.db3")), joined / f"bag_{i}.db3")
    text = (whole / "metadata.yaml").read_text()
    (joined / "metadata.yaml").write_text(text.replace("  - bag.db3\n", "  - bag_0.db3\n  - bag_1.db3\n", 1))
    equal(read(whole)[1], read(joined)[1])
    shutil.copy(joined / "bag_0.db3", joined / "bag_1.db3")
    with pytest.raises(FormatError, match=r"message_count: got \d+, expected 80 as in the storage files"):
        read(joined)


def test_bag_without_definitions_takes_the_standard_ones(tmp_path):
    path = write_bag(tmp_path, messages())
    expected = read(path)[1]
    with sqlite3.connect(next(path.glob("*.db3"))) as database:
        database.execute("DELETE FROM message_definitions")
    equal(expected, read(path)[1])
    equal(expected, read(path, distribution="jazzy")[1])
    with pytest.raises(ReaderError, match="distribution: no 'jassy'; did you mean 'jazzy'"):
        read(path, distribution="jassy")


def test_bag_is_not_taken_for_another_log(tmp_path):
    path, _ = write_log(tmp_path)
    database = next(path.glob("*.db3"))
    assert Ros2Reader().recognises(database)
    assert not McapReader().recognises(path)
    assert not McapReader().recognises(database)
    other = tmp_path / "other.db3"
    with sqlite3.connect(other) as made:
        made.execute("CREATE TABLE topics (id INTEGER)")
    assert not Ros2Reader().recognises(other)
    other.write_bytes(b"SQLite format 3\x00" + b"\xff" * 100)
    assert not Ros2Reader().recognises(other)
    (tmp_path / "metadata.yaml").write_text("name: something else\n")
    assert not Ros2Reader().recognises(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("rosbag2_bagfile_information:", "- rosbag2_bagfile_information:"), "not the metadata of a bag"),
        (("rosbag2_bagfile_information:", "rosbag2_bagfile_information: ["), "not the metadata of a bag"),
        (("storage_identifier: sqlite3", "storage_identifier: leveldb"), "got 'leveldb', expected sqlite3 or mcap"),
        (("  - bag.db3\n", "  - ../../bag_7.db3\n"), "relative_file_paths: names bag_7.db3, which is not there"),
        (("  - bag.db3\n", "  - 5\n"), r"relative_file_paths: got \[5\]"),
        (("compression_mode: ''", "compression_mode: rar"), "compression: got '' by 'rar', expected zstd"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(tmp_path, change, message):
    path, _ = write_log(tmp_path)
    place = path / "metadata.yaml"
    text = place.read_text()
    assert change[0] in text
    place.write_text(text.replace(*change, 1))
    with pytest.raises(FormatError, match=message) as caught:
        read(path)
    assert caught.value.path == place


def test_storage_that_is_damaged_or_unfinished_is_refused(tmp_path):
    path, _ = write_log(tmp_path)
    storage = next(path.glob("*.db3"))
    whole = storage.read_bytes()
    storage.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="SQLite: "):
        read(path)
    storage.write_bytes(whole)
    beside = storage.with_name(storage.name + "-wal")
    beside.write_bytes(b"pages")
    with pytest.raises(FormatError, match=r"did not finish: bag.db3-wal lies beside it"):
        read(path)
    beside.unlink()
    with sqlite3.connect(storage) as database:
        database.execute("UPDATE messages SET data = x'00010000' WHERE topic_id = 2")
    with pytest.raises(FormatError, match=r"got 0 bytes left in the message") as caught:
        read(path)
    assert caught.value.path == path
    with sqlite3.connect(storage) as database:
        database.execute("UPDATE messages SET topic_id = 99")
    with pytest.raises(FormatError, match="message 1: got topic 99"):
        read(path)


def test_packed_message_that_grows_without_end_is_refused(tmp_path, monkeypatch):
    from genba.data.readers import ros2

    path = write_bag(tmp_path, [("/x", START_NS, ros("std_msgs/Bool", data=True))])
    monkeypatch.setattr(ros2, "MESSAGE_LIMIT", 1000)
    with sqlite3.connect(next(path.glob("*.db3"))) as database:
        database.execute("UPDATE messages SET data = ?", (zstandard.compress(bytes(1_000_000)),))
    place = path / "metadata.yaml"
    text = place.read_text().replace("compression_mode: ''", "compression_mode: MESSAGE")
    place.write_text(text.replace("compression_format: ''", "compression_format: zstd"))
    with pytest.raises(FormatError, match="/x: a message unpacks to more than 1000 bytes"):
        read(path)
