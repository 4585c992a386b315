"""What is written as a LeRobotDataset says what LeRobot expects, and comes back bit for bit; or nothing is written."""

import contextlib
import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from logs import lerobot as pictures
from random_episodes import random_episode

from genba.data.readers.lerobot import LeRobotReader
from genba.data.video_files import CODECS, VideoFile, VideoWriter
from genba.data.writers.lerobot import LeRobotWriter
from genba.errors import DataError, FormatError, ReaderError, SpecError, StorageError
from genba.spec.embodiment import load_embodiment
from genba.spec.episode import Episode
from genba.spec.streams import Stream, dense
from genba.trust.digest import digest_file

EVERYTHING = Path(__file__).parents[2] / "model" / "everything.toml"
TABLE = "data/chunk-000/file-000.parquet"


@pytest.fixture(scope="module")
def facts():
    return load_embodiment(EVERYTHING)


@pytest.fixture(scope="module")
def episodes(facts):
    """Every modality, a channel that one episode lacks, an empty stream, labels in one episode."""
    made = [
        random_episode(facts, 0, num_steps=20),
        random_episode(facts, 1, num_steps=15, labelled=True, instruction="put it down"),
        random_episode(facts, 2, num_steps=25, absent=frozenset({"force", "lidar"})),
    ]
    empty = {"force": Stream(np.zeros(0, np.int64), np.zeros((0, 1), np.float32))}
    made.append(Episode(made[0].metadata, {**made[0].streams, **empty}))
    return made


@pytest.fixture(scope="module")
def written(facts, episodes, tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "dataset"
    LeRobotWriter().write(path, facts, iter(episodes))
    return path


def assert_same(one, two):
    # Not by ==: an outcome may be NaN.
    assert repr(one.metadata) == repr(two.metadata)
    assert sorted(one.streams) == sorted(two.streams)
    for name, stream in one.streams.items():
        other = two.streams[name]
        np.testing.assert_array_equal(other.times_ns, stream.times_ns, err_msg=name)
        assert (other.values.dtype, other.values.shape) == (stream.values.dtype, stream.values.shape), name
        # Bytes, so that even a NaN's bits count.
        assert other.values.tobytes() == stream.values.tobytes(), name
        assert (stream.splits is None) == (other.splits is None)
        if stream.splits is not None:
            np.testing.assert_array_equal(other.splits, stream.splits, err_msg=name)


def test_every_episode_comes_back_bit_for_bit(facts, episodes, written):
    reader = LeRobotReader()
    assert reader.recognises(written)
    assert reader.embodiment(written) == facts
    for one, two in zip(episodes, reader.read(written), strict=True):
        assert_same(one, two)


def test_base_rows_show_the_newest_sample_at_each_control_step(facts, episodes, written):
    table = pq.read_table(written / TABLE)
    index = table.column("episode_index").to_numpy()
    clock = pq.read_table(written / "streams/_clock/chunk-000/file-000.parquet")
    for number, episode in enumerate(episodes):
        rows = table.filter(index == number)
        times_ns = clock.filter(clock.column("episode_index").to_numpy() == number).column("t_ns").to_pylist()
        sampled = [episode.streams[name] for name in ("joints", "force", "front", "action") if name in episode.streams]
        begin_ns = max(int(stream.times_ns[0]) for stream in sampled if len(stream))
        # Control steps are those of the action; rows begin where every channel has a sample.
        assert times_ns == [t for t in episode.streams["action"].times_ns.tolist() if t >= begin_ns]
        for row, time_ns in zip(rows.to_pylist(), times_ns, strict=True):
            state = []
            for name, size in (("joints", 3), ("force", 1)):
                stream = episode.streams.get(name)
                past = [i for i, t in enumerate(stream.times_ns) if t <= time_ns] if stream is not None else []
                state += stream.values[past[-1]].tolist() if past else [np.nan] * size
            np.testing.assert_array_equal(np.float32(row["observation.state"]), np.float32(state))
            step = episode.streams["action"].times_ns.tolist().index(time_ns)
            np.testing.assert_array_equal(np.float32(row["action"]), episode.streams["action"].values[step])
        assert rows.column("frame_index").to_pylist() == list(range(len(rows)))
        np.testing.assert_allclose(rows.column("timestamp").to_numpy(), np.arange(len(rows)) / 10, rtol=1e-7)


def test_frames_of_a_lossless_video_are_the_newest_at_each_row(facts, episodes, tmp_path):
    path = tmp_path / "dataset"
    LeRobotWriter(codec="h264-lossless").write(path, facts, episodes)
    for episode, shown in zip(episodes, LeRobotReader().read(path, streams="base"), strict=True):
        front, action = episode.streams["front"], episode.streams["action"]
        times_ns = action.times_ns[len(action) - len(shown.streams["front"]) :]
        expected = [front.values[[i for i, t in enumerate(front.times_ns) if t <= time_ns][-1]] for time_ns in times_ns]
        np.testing.assert_array_equal(shown.streams["front"].values, expected)


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="this system has no such schedules")
@pytest.mark.parametrize("codec", sorted(CODECS))
def test_no_encoder_leaves_a_thread_on_another_schedule(codec, tmp_path):
    # As root, SVT-AV1 puts whoever opens it on the real-time schedule, at the highest priority.
    before = os.sched_getscheduler(0)
    during = set()
    writer = VideoWriter(tmp_path / "a.mp4", codec=codec, rate_hz=10, height=64, width=64, keyframe_every=2)
    writer.add_episode(np.zeros((3, 64, 64, 3), np.uint8))
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):
            during.add(os.sched_getscheduler(int(task)))
    writer.close()
    assert during == {before}
    assert os.sched_getscheduler(0) == before


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_every_codec_keeps_each_frame_at_its_row(codec, facts, tmp_path):
    camera = dataclasses.replace(facts.camera[0], height=pictures.HEIGHT, width=pictures.WIDTH)
    seeing = dataclasses.replace(facts, camera=(camera,))
    made, number = [], 0
    for length in (5, 4, 7):
        plain = random_episode(seeing, length, num_steps=length, absent=frozenset({"joints", "force"}))
        times_ns = plain.streams["action"].times_ns
        frames = np.stack([pictures.picture(number + i) for i in range(length)])
        made.append(Episode(plain.metadata, {**plain.streams, "front": Stream(times_ns, frames)}))
        number += length
    LeRobotWriter(codec=codec).write(tmp_path / "dataset", seeing, made)
    shown = [e.streams["front"].values for e in LeRobotReader().read(tmp_path / "dataset", streams="base")]
    assert [pictures.number_in(image) for images in shown for image in images] == list(range(number))


def test_description_is_what_lerobot_expects(written, episodes):
    info = json.loads((written / "meta/info.json").read_text())
    lengths = [row["length"] for row in pq.read_table(written / "meta/episodes/chunk-000/file-000.parquet").to_pylist()]
    assert info["codebase_version"] == "v3.0"
    assert (info["fps"], info["total_episodes"], info["total_frames"]) == (10, 4, sum(lengths))
    assert info["features"]["observation.state"] == {
        "dtype": "float32",
        "shape": [4],
        "names": ["joints.angle_0", "joints.angle_1", "joints.mode", "force.normal"],
    }
    video = info["features"]["observation.images.front"]
    assert (video["dtype"], video["shape"]) == ("video", [20, 24, 3])
    assert (video["info"]["video.codec"], video["info"]["video.pix_fmt"], video["info"]["video.g"]) == (
        "h264",
        "yuv420p",
        2,
    )
    tasks = pq.read_table(written / "meta/tasks.parquet")
    assert tasks.to_pydict() == {"task_index": [0, 1], "task": ["hold 現場", "put it down"]}
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    # One row group per episode, so any of them is read by itself.
    metadata = pq.ParquetFile(written / TABLE).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == lengths


def test_statistics_are_those_of_the_rows(written):
    statistics = json.loads((written / "meta/stats.json").read_text())
    values = np.array(pq.read_table(written / TABLE).column("action").to_pylist())
    action = statistics["action"]
    np.testing.assert_allclose(action["min"], values.min(0))
    np.testing.assert_allclose(action["max"], values.max(0))
    np.testing.assert_allclose(action["mean"], values.mean(0))
    np.testing.assert_allclose(action["std"], values.std(0))
    assert action["count"] == [len(values)]
    rows = pq.read_table(written / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    first = values[: rows[0]["length"]]
    for name, share in {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}.items():
        np.testing.assert_allclose(rows[0][f"stats/action/{name}"], np.quantile(first, share, axis=0))
        # Of the whole they are the episodes', weighed by their rows.
        parts = [np.array(row[f"stats/action/{name}"]) * row["length"] for row in rows]
        np.testing.assert_allclose(action[name], np.sum(parts, axis=0) / len(values))
    image = statistics["observation.images.front"]
    assert np.shape(image["mean"]) == (3, 1, 1)
    assert np.min(image["min"]) >= 0
    assert np.max(image["max"]) <= 1
    # Numbers that are missing (NaN) are left aside, not spread: the range is that of the numbers there are.
    state = np.array(pq.read_table(written / TABLE).column("observation.state").to_pylist())
    assert np.isnan(state).any()
    np.testing.assert_allclose(statistics["observation.state"]["max"], np.nanmax(state, axis=0))


def test_provenance_names_terms_and_every_file(written, episodes):
    record = json.loads((written / "meta/provenance.json").read_text())
    assert record["owners"] == ["genba"]
    assert record["agreements"] == ["genba-demo"]
    assert record["jurisdictions"] == ["none"]
    files = {p.relative_to(written).as_posix() for p in written.rglob("*") if p.is_file()}
    assert set(record["files"]) == files - {"meta/provenance.json"}
    assert all(digest_file(written / name) == digest for name, digest in record["files"].items())


def test_data_set_that_was_changed_since_is_not_taken_for_what_it_was(facts, episodes, tmp_path):
    path = tmp_path / "dataset"
    LeRobotWriter().write(path, facts, episodes[:1])
    table = pq.read_table(path / TABLE)
    pq.write_table(table, path / TABLE, compression="zstd")
    with pytest.raises(
        FormatError, match=r"file-000\.parquet: got sha256:.*changed since.*add the option streams=base"
    ):
        list(LeRobotReader().read(path))
    (episode,) = LeRobotReader().read(path, streams="base")
    # Whose it is still holds.
    assert (episode.metadata.owner, episode.metadata.agreement) == ("genba", "genba-demo")
    with pytest.raises(ReaderError, match="the data set brings its own facts; add the option streams=base"):
        LeRobotReader().embodiment(path, embodiment=EVERYTHING)


def test_tables_that_nobody_named_are_refused(facts, episodes, tmp_path):
    path = tmp_path / "dataset"
    LeRobotWriter().write(path, facts, episodes[:1])
    source = path / "streams/force/chunk-000/file-000.parquet"
    source.with_name("file-001.parquet").write_bytes(source.read_bytes())
    with pytest.raises(FormatError, match=r"file-001\.parquet: got a table that meta/provenance\.json does not name"):
        list(LeRobotReader().read(path))


def test_terms_can_be_told_anew_when_it_is_read(written):
    episode = next(LeRobotReader().read(written, owner="plant", agreement="2026-07"))
    assert (episode.metadata.owner, episode.metadata.agreement, episode.metadata.site) == (
        "plant",
        "2026-07",
        "simulation",
    )


def test_a_data_set_read_and_written_again_keeps_its_features(tmp_path):
    reader, source = LeRobotReader(), pictures.write_v3(tmp_path / "source")
    LeRobotWriter(codec="h264-lossless").write(tmp_path / "copy", reader.embodiment(source), reader.read(source))
    old, new = (json.loads((p / "meta/info.json").read_text())["features"] for p in (source, tmp_path / "copy"))
    assert new["observation.state"]["names"] == ["x", "y", "gripper_pos"]
    assert new["observation.images.top"]["shape"] == old["observation.images.top"]["shape"]
    for one, two in zip(reader.read(source), reader.read(tmp_path / "copy"), strict=True):
        assert_same(one, two)


def test_files_go_on_in_the_next_one_when_they_are_full(facts, tmp_path):
    camera = dataclasses.replace(facts.camera[0], height=160, width=160)
    large = dataclasses.replace(facts, id="test/large@1", camera=(camera,))
    made = [random_episode(large, seed, num_steps=20) for seed in range(4)]
    path = tmp_path / "dataset"
    LeRobotWriter(codec="h264-lossless", data_file_mb=1, video_file_mb=1).write(path, large, made)
    rows = pq.read_table(path / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    # A frame of noise is 76.8 kB, so 20 of them fill a file: each episode has its own.
    assert [row["videos/observation.images.front/file_index"] for row in rows] == [0, 1, 2, 3]
    assert [row["videos/observation.images.front/from_timestamp"] for row in rows] == [0.0] * 4
    assert len(list((path / "streams/front/chunk-000").iterdir())) == 4
    for one, two in zip(made, LeRobotReader().read(path), strict=True):
        assert_same(one, two)
    assert len(list(LeRobotReader().read(path, streams="base"))) == 4


def test_odd_sides_keep_full_colour_resolution(facts, tmp_path):
    odd = dataclasses.replace(facts, camera=(dataclasses.replace(facts.camera[0], height=21, width=25),))
    LeRobotWriter().write(tmp_path / "dataset", odd, [random_episode(odd, 0, num_steps=20)])
    video = VideoFile(tmp_path / "dataset/videos/observation.images.front/chunk-000/file-000.mp4")
    assert (video.height, video.width) == (21, 25)
    info = json.loads((tmp_path / "dataset/meta/info.json").read_text())
    assert info["features"]["observation.images.front"]["info"]["video.pix_fmt"] == "yuv444p"


def test_machine_that_only_senses_is_written_on_a_grid_of_its_control_period(facts, tmp_path):
    sensing = dataclasses.replace(facts, action=dataclasses.replace(facts.action, continuous=(), choice=()), camera=())
    times_ns = np.array([5, 80_000_000, 120_000_000, 390_000_000], np.int64)
    made = random_episode(facts, 0, num_steps=4)
    streams = {"force": dense(times_ns, [[1.0], [2.0], [3.0], [4.0]])}
    metadata = dataclasses.replace(made.metadata, embodiment_id=sensing.id)
    LeRobotWriter().write(tmp_path / "dataset", sensing, [Episode(metadata, streams)])
    # Rows at 5, 100,000,005, 200,000,005 and 300,000,005 ns.
    table = pq.read_table(tmp_path / "dataset" / TABLE)
    assert [row[3] for row in table.column("observation.state").to_pylist()] == [1.0, 2.0, 3.0, 3.0]
    assert "action" not in table.column_names
    clock = pq.read_table(tmp_path / "dataset/streams/_clock/chunk-000/file-000.parquet")
    assert clock.column("t_ns/force").to_pylist() == [5, 80_000_000, 120_000_000, 120_000_000]
    assert clock.column("t_ns/joints").to_pylist() == [None] * 4


def test_another_rate_can_be_asked_for(facts, episodes, tmp_path):
    LeRobotWriter(rate_hz=20).write(tmp_path / "dataset", facts, episodes[:1])
    assert json.loads((tmp_path / "dataset/meta/info.json").read_text())["fps"] == 20
    clock = pq.read_table(tmp_path / "dataset/streams/_clock/chunk-000/file-000.parquet").column("t_ns").to_numpy()
    assert set(np.diff(clock).tolist()) == {50_000_000}


def test_nothing_is_left_behind_when_an_episode_does_not_fit(facts, episodes, tmp_path):
    def broken():
        yield episodes[0]
        yield Episode(episodes[1].metadata, {**episodes[1].streams, "wings": episodes[1].streams["force"]})

    with pytest.raises(SpecError, match="no channel 'wings'"):
        LeRobotWriter().write(tmp_path / "dataset", facts, broken())
    assert list(tmp_path.iterdir()) == []


def test_refused_by_the_disk_leaves_nothing(facts, episodes, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match=r"could not write the data set: .*nothing of it is left behind"):
        LeRobotWriter().write(tmp_path / "file" / "dataset", facts, episodes)


def test_what_the_format_cannot_hold_is_refused_by_name(facts, episodes, tmp_path):
    path = tmp_path / "dataset"
    with pytest.raises(DataError, match="got no episode, expected at least one"):
        LeRobotWriter().write(path, facts, [])
    blind = random_episode(facts, 5, absent=frozenset({"front"}))
    with pytest.raises(DataError, match=r"000005: got frames of \[\], expected \['front'\] as in the first episode"):
        LeRobotWriter().write(path, facts, [episodes[0], blind])
    late = {"force": dense([int(episodes[0].end_ns) + 1], [[1.0]])}
    with pytest.raises(DataError, match="got no control step at which every channel has a sample"):
        LeRobotWriter().write(path, facts, [Episode(episodes[0].metadata, {**episodes[0].streams, **late})])
    slow = dataclasses.replace(facts, control=dataclasses.replace(facts.control, period_s=0.3))
    with pytest.raises(
        DataError, match=r"a control period of 0\.3 s, which is no whole number of rows per second.*give rate_hz"
    ):
        LeRobotWriter().write(path, slow, episodes)
    with pytest.raises(DataError, match="codec: got 'h265'; did you mean 'h264'"):
        LeRobotWriter(codec="h265")
    with pytest.raises(DataError, match="expected at least 1"):
        LeRobotWriter(rate_hz=0)
    path.mkdir()
    with pytest.raises(DataError, match="is there already"):
        LeRobotWriter().write(path, facts, episodes)
