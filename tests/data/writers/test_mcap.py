"""What goes out comes back: every modality bit for bit, and other people's libraries open the files."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from logs.mcap import proto_class
from mcap.reader import make_reader
from PIL import Image
from random_episodes import random_episode
from toy import CART_FACTS, LINES_FACTS

from genba.data.ingest import find_logs
from genba.data.readers.mcap import McapReader
from genba.data.vault import Vault
from genba.data.writers.mcap import McapWriter
from genba.errors import DataError, FormatError, ReaderError, SpecError
from genba.spec.embodiment import load_embodiment
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.streams import Stream

EVERYTHING = load_embodiment(Path(__file__).parents[2] / "model" / "everything.toml")


def back(path, **options):
    reader = McapReader()
    assert reader.recognises(path)
    (episode,) = reader.read(path, **options)
    return reader.embodiment(path, **options), episode


def identical(one, two):
    # NaN is no number: repr compares outcomes with it as well.
    assert repr(one.metadata) == repr(two.metadata)
    assert set(one.streams) == set(two.streams)
    for name, stream in one.streams.items():
        other = two.streams[name]
        assert other.times_ns.tolist() == stream.times_ns.tolist(), name
        assert (other.values.dtype, other.values.shape) == (stream.values.dtype, stream.values.shape), name
        # Bytes, not numbers: every NaN and every sign of zero comes back as it was.
        assert other.values.tobytes() == np.ascontiguousarray(stream.values).tobytes(), name
        assert (stream.splits is None) == (other.splits is None), name
        if stream.splits is not None:
            assert other.splits.tolist() == stream.splits.tolist(), name


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("facts", [EVERYTHING, CART_FACTS, LINES_FACTS], ids=lambda facts: facts.id)
def test_episode_comes_back_as_it_was(tmp_path, facts, seed):
    episode = random_episode(facts, seed, labelled=seed == 1, missing=0.2)
    McapWriter().write(tmp_path / "out.mcap", facts, [episode])
    embodiment, read = back(tmp_path / "out.mcap")
    assert embodiment == facts
    identical(episode, read)


def test_every_bit_of_a_float_survives(tmp_path):
    bits = np.array([0x7FC00001, 0xFFC12345, 0x80000000, 0x00000001, 0x7F800001, 0x41200000], np.uint32)
    values = np.repeat(bits, 2).reshape(-1, 2).view(np.float32)
    streams = {"cart": Stream(np.arange(len(values)), values)}
    episode = Episode(EpisodeMetadata(episode_id="a", embodiment_id=CART_FACTS.id), streams)
    McapWriter().write(tmp_path / "out.mcap", CART_FACTS, [episode])
    identical(episode, back(tmp_path / "out.mcap")[1])


def test_streams_without_samples_come_back_empty(tmp_path):
    full = random_episode(EVERYTHING, 0)
    streams = {name: stream.slice(0, 0) if name != "joints" else stream for name, stream in full.streams.items()}
    episode = Episode(full.metadata, streams)
    McapWriter().write(tmp_path / "out.mcap", EVERYTHING, [episode])
    identical(episode, back(tmp_path / "out.mcap")[1])


def test_points_keep_their_attributes(tmp_path):
    import dataclasses

    from genba.spec.embodiment import Dimension

    (lidar,) = EVERYTHING.points
    attributes = (
        Dimension(name="intensity", unit="1", low=0, high=1),
        Dimension(name="ring", unit="1", low=0, high=63),
    )
    facts = dataclasses.replace(EVERYTHING, points=(dataclasses.replace(lidar, attribute=attributes),))
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(size=(7, 3)), rng.uniform(size=(7, 2))], -1).astype(np.float32)
    streams = {"lidar": Stream(np.array([5, 6]), values, np.array([0, 7, 7]))}
    episode = Episode(EpisodeMetadata(episode_id="a", embodiment_id=facts.id), streams)
    McapWriter().write(tmp_path / "out.mcap", facts, [episode])
    identical(episode, back(tmp_path / "out.mcap")[1])


def test_several_episodes_become_a_folder_that_is_imported_as_it_was(tmp_path):
    episodes = [random_episode(CART_FACTS, seed) for seed in range(3)]
    McapWriter().write(tmp_path / "out", CART_FACTS, episodes)
    logs = find_logs(tmp_path / "out")
    assert [(path.name, reader.name) for path, reader in logs] == [(f"{i:06d}.mcap", "mcap") for i in range(3)]
    vault = Vault.open(tmp_path / "vault", create=True)
    for path, reader in logs:
        vault.keep_embodiment(reader.embodiment(path))
        for episode in reader.read(path):
            vault.append(episode)
    for episode in episodes:
        identical(episode, vault.read(episode.metadata.episode_id))


def test_other_libraries_open_what_is_written(tmp_path):
    episode = random_episode(EVERYTHING, 0)
    McapWriter().write(tmp_path / "out.mcap", EVERYTHING, [episode])
    found = {}
    with (tmp_path / "out.mcap").open("rb") as stream:
        for schema, channel, message in make_reader(stream, validate_crcs=True).iter_messages():
            decoded = proto_class(schema.data, schema.name).FromString(message.data)
            found.setdefault(channel.topic, []).append((message.log_time, decoded, schema.name, channel))
    joints = episode.streams["joints"]
    assert [time_ns for time_ns, *_ in found["/joints"]] == joints.times_ns.tolist()
    got = [[m.angle_0, m.angle_1, m.mode] for _, m, _, _ in found["/joints"]]
    np.testing.assert_array_equal(got, joints.values)
    assert found["/joints"][0][3].metadata["units"] == "rad,rad,id"
    _, image, name, _ = found["/front"][0]
    assert (name, image.format, image.frame_id) == ("foxglove.CompressedImage", "png", "base")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(image.data))), episode.streams["front"].values[0])
    time_ns, cloud, name, _ = found["/lidar"][1]
    assert (name, cloud.point_stride, [f.name for f in cloud.fields]) == ("foxglove.PointCloud", 12, ["x", "y", "z"])
    assert cloud.timestamp.seconds * 10**9 + cloud.timestamp.nanos == time_ns
    np.testing.assert_array_equal(np.frombuffer(cloud.data, "<f4").reshape(-1, 3), episode.streams["lidar"].sample(1))
    _, orders, _, _ = found["/orders"][0]
    np.testing.assert_array_equal(
        np.array([[row.due, row.family] for row in orders.rows]).reshape(-1, 2), episode.streams["orders"].sample(0)
    )
    assert {"/action", "/action/sequence", "/action/line", "/duration"} <= set(found)


def test_messages_are_in_the_order_of_time(tmp_path):
    McapWriter().write(tmp_path / "out.mcap", EVERYTHING, [random_episode(EVERYTHING, 0)])
    with (tmp_path / "out.mcap").open("rb") as stream:
        times_ns = [m.log_time for _, _, m in make_reader(stream).iter_messages(log_time_order=False)]
    assert times_ns == sorted(times_ns)


def test_jpeg_frames_are_close_and_smaller(tmp_path):
    smooth = np.broadcast_to(np.linspace(0, 255, 24).astype(np.uint8)[:, None], (3, 20, 24, 3)).copy()
    episode = Episode(
        EpisodeMetadata(episode_id="a", embodiment_id=EVERYTHING.id), {"front": Stream(np.arange(3), smooth)}
    )
    McapWriter(images="jpeg").write(tmp_path / "out.mcap", EVERYTHING, [episode])
    got = back(tmp_path / "out.mcap")[1].streams["front"].values
    assert np.abs(got.astype(int) - smooth).max() <= 6
    with pytest.raises(DataError, match="images: got 'gif', expected png or jpeg"):
        McapWriter(images="gif")


def test_owner_can_be_told_but_nothing_that_is_in_the_file(tmp_path):
    episode = random_episode(CART_FACTS, 0)
    McapWriter().write(tmp_path / "out.mcap", CART_FACTS, [episode])
    metadata = back(tmp_path / "out.mcap", owner="plant")[1].metadata
    assert (metadata.owner, metadata.site) == ("plant", episode.metadata.site)
    with pytest.raises(ReaderError, match="it holds an episode with its facts; got topics, expected no such option"):
        back(tmp_path / "out.mcap", topics="/cart")


def test_export_is_written_whole_or_not_at_all(tmp_path):
    good = random_episode(CART_FACTS, 0)
    late = Episode(good.metadata, {"cart": Stream(np.array([-5]), np.zeros((1, 2), np.float32))})
    wide = Episode(good.metadata, {"cart": Stream(np.array([5]), np.zeros((1, 3), np.float32))})
    for episodes, path, error, message in (
        ([good, late], "out", DataError, "cart: got a time of -5 ns, expected 0 or more in MCAP"),
        ([good, wide], "out", SpecError, r"got float32\[1, 3\], expected float32\[any, 2\]"),
        ([good, good], "out.mcap", DataError, "one .mcap file holds one episode; give the name of a folder"),
        ([], "out", DataError, "got no episodes, expected at least one"),
    ):
        with pytest.raises(error, match=message):
            McapWriter().write(tmp_path / path, CART_FACTS, episodes)
        assert list(tmp_path.iterdir()) == []
    McapWriter().write(tmp_path / "out", CART_FACTS, [good])
    with pytest.raises(DataError, match="out: exists already, expected a new name"):
        McapWriter().write(tmp_path / "out", CART_FACTS, [good])


def rewrite(path, change):
    """Write an exported file again, without check sums, its records changed by ``change(kind, value)``."""
    from mcap.stream_reader import StreamReader
    from mcap.writer import Writer

    records = list(StreamReader(io.BytesIO(path.read_bytes())).records)
    with path.open("wb") as out:
        writer = Writer(out, enable_crcs=False)
        writer.start()
        schemas, channels = {}, {}
        for record in records:
            kind = type(record).__name__
            if kind == "Metadata":
                writer.add_metadata(record.name, change("metadata", dict(record.metadata)))
            elif kind == "Schema" and record.id not in schemas:
                schemas[record.id] = writer.register_schema(record.name, record.encoding, record.data)
            elif kind == "Channel" and record.id not in channels:
                metadata = change("channel", dict(record.metadata))
                channels[record.id] = writer.register_channel(
                    record.topic, record.message_encoding, schemas[record.schema_id], metadata
                )
            elif kind == "Message" and (data := change("message", record.data)) is not None:
                writer.add_message(channels[record.channel_id], record.log_time, data, record.publish_time)
        writer.finish()


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("metadata", lambda m: {k: v.replace("genba-mcap@1", "genba-mcap@9") for k, v in m.items()}, "got format 'genba-mcap@9'"),
        ("metadata", lambda m: {k: v.replace('"streams"', "") for k, v in m.items() if k != "streams"}, "not what was written there: KeyError"),
        ("metadata", lambda m: {k: v.replace('"samples":', '"samples":1') for k, v in m.items()}, r"got \d+ samples, expected 1\d+ as the episode"),
        ("metadata", lambda m: {k: v.replace('"shape":[2]', '"shape":[-2]') for k, v in m.items()}, r"got shape \(-2,\)"),
        ("metadata", lambda m: {k: v.replace("period_s", "perod_s") for k, v in m.items()}, "unknown key; did you mean 'period_s'"),
        ("channel", lambda m: m | {"genba.stream": "cat"}, "got stream 'cat', which the episode has not"),
        ("message", lambda data: data + b"\x00", "expected a multiple of"),
        ("message", lambda data: b"\x00" * len(data), "got fields of another message"),
    ],
)  # fmt: skip
def test_file_that_was_changed_is_refused(tmp_path, kind, change, message):
    path = tmp_path / "out.mcap"
    McapWriter().write(path, CART_FACTS, [random_episode(CART_FACTS, 0)])
    rewrite(path, lambda k, value: change(value) if k == kind else value)
    with pytest.raises(FormatError, match=message) as caught:
        back(path)
    assert caught.value.path == path


def test_place_that_was_damaged_is_refused_by_its_range(tmp_path):
    path = tmp_path / "out.mcap"
    far = Episode(
        EpisodeMetadata(episode_id="a", embodiment_id=EVERYTHING.id),
        {"lidar": Stream(np.array([5]), np.array([[1.0, 2.0, 3.0]], np.float32), np.array([0, 1]))},
    )
    McapWriter().write(path, EVERYTHING, [far])
    point = np.array([1, 2, 3], "<f4").tobytes()
    rewrite(path, lambda kind, v: v.replace(point, np.array([3e38, 2, 3], "<f4").tobytes()) if kind == "message" else v)
    with pytest.raises(FormatError, match="lidar: got a return beyond range_max_m"):
        back(path)
    rewrite(path, lambda kind, v: v.replace(b"\x00\x00\x00\x40", b"\x01\x00\x80\x7f") if kind == "message" else v)
    with pytest.raises(FormatError, match="lidar: got a point whose place is not finite"):
        back(path)
    nowhere = Stream(np.array([5]), np.array([[np.nan, 2.0, 3.0]], np.float32), np.array([0, 1]))
    with pytest.raises(DataError, match="lidar: got a point whose place is not finite"):
        McapWriter().write(tmp_path / "new.mcap", EVERYTHING, [Episode(far.metadata, {"lidar": nowhere})])


def test_unfinished_export_is_another_episode(tmp_path):
    path = tmp_path / "out.mcap"
    episode = random_episode(CART_FACTS, 0)
    McapWriter().write(path, CART_FACTS, [episode])
    whole = path.read_bytes()
    # Cut off the summary: every message is there, but nobody said so.
    path.write_bytes(whole[: len(whole) - 100])
    with pytest.raises(FormatError, match="What is whole is read with partial=true"):
        back(path)
    _, read = back(path, partial=True)
    assert re.fullmatch(re.escape(episode.metadata.episode_id) + "/partial-[0-9a-f]{12}", read.metadata.episode_id)
