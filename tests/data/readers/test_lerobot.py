"""Data sets that LeRobot would write read as what was put in, frame by frame; whatever disagrees in them is named."""

import json
import logging
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from logs import lerobot as made

from genba.config import to_toml
from genba.data.readers.lerobot import LeRobotReader
from genba.data.vault import Vault
from genba.errors import FormatError, ReaderError
from genba.spec.conformance import check_episode

INFO = "meta/info.json"
TABLE = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
VIDEO = "videos/observation.images.top/chunk-000/file-000.mp4"


@pytest.fixture(scope="module")
def made_v3(tmp_path_factory):
    return made.write_v3(tmp_path_factory.mktemp("v3") / "dataset")


@pytest.fixture(scope="module")
def made_v21(tmp_path_factory):
    return made.write_v21(tmp_path_factory.mktemp("v21") / "dataset")


@pytest.fixture
def v3(made_v3, tmp_path):
    """A data set that a test may change."""
    return shutil.copytree(made_v3, tmp_path / "dataset")


@pytest.fixture
def v21(made_v21, tmp_path):
    return shutil.copytree(made_v21, tmp_path / "dataset")


def read(root, **options):
    return list(LeRobotReader().read(root, **options))


def change_info(root, change):
    info = json.loads((root / INFO).read_text())
    change(info)
    (root / INFO).write_text(json.dumps(info))


def change_table(root, file, change):
    """Write a Parquet file again with each row, a dict, as ``change`` leaves it."""
    table = pq.read_table(root / file)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), root / file)


def setting(row, key, value):
    return lambda rows: rows[row].update({key: value})


def test_numpy_pyarrow_and_pyav_are_enough_to_read_and_write(made_v3, made_v21, tmp_path):
    """In a Python without everything that LeRobot itself needs."""
    code = (
        "import sys\n"
        "class Nothing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in sys.argv[4].split():\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Nothing())\n"
        "from pathlib import Path\n"
        "from genba.data.readers.lerobot import LeRobotReader\n"
        "from genba.data.writers.lerobot import LeRobotWriter\n"
        "for root in sys.argv[1:3]:\n"
        "    reader = LeRobotReader()\n"
        "    episodes = list(reader.read(Path(root)))\n"
        "    LeRobotWriter().write(Path(sys.argv[3], Path(root).parent.name), reader.embodiment(Path(root)), episodes)\n"
        "    print(len(episodes))\n"
    )
    command = [sys.executable, "-c", code, str(made_v3), str(made_v21), str(tmp_path)]
    command += ["torch torchvision torchcodec datasets huggingface_hub lerobot pandas PIL cv2 h5py simplejpeg polars"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(len(read(made_v3))), str(len(read(made_v21)))]


@pytest.mark.parametrize("version", ["v3", "v21"])
def test_every_value_comes_back_at_its_time(version, request):
    root = request.getfixturevalue(f"made_{version}")
    reader = LeRobotReader()
    assert reader.recognises(root)
    facts = reader.embodiment(root)
    episodes = read(root)
    assert [len(episode.streams["state"]) for episode in episodes] == list(made.LENGTHS)
    for index, episode in enumerate(episodes):
        check_episode(facts, episode)
        truth, length = made.values(0, index), made.LENGTHS[index]
        # 20 frames a second: one every 50,000,000 ns, from 0.
        times_ns = 50_000_000 * np.arange(length)
        for channel, key in {
            "state": "observation.state",
            "pose": "observation.pose",
            "count": "observation.count",
            "contact": "observation.contact",
            "action": "action",
        }.items():
            stream = episode.streams[channel]
            np.testing.assert_array_equal(stream.values, truth[key].reshape(length, -1).astype(np.float32))
            np.testing.assert_array_equal(stream.times_ns, times_ns)
        # What followed an action was not there before it: one frame later.
        np.testing.assert_array_equal(episode.streams["next_reward"].values[:, 0], truth["next.reward"])
        np.testing.assert_array_equal(episode.streams["next_reward"].times_ns, times_ns + 50_000_000)
        wrist = [made.wrist(0, index, frame) for frame in range(length)]
        np.testing.assert_array_equal(episode.streams["wrist"].values, wrist)
        assert episode.metadata.instruction == made.task_of(index)
        assert episode.metadata.outcome == {"success": 1.0}


def test_names_of_dimensions_are_those_of_the_data_set(made_v3):
    facts = LeRobotReader().embodiment(made_v3)
    names = {channel.name: [d.name for d in channel.dimensions] for channel in facts.telemetry}
    assert names == {
        "state": ["x", "y", "gripper_pos"],
        "pose": ["pose_0_0", "pose_0_1", "pose_1_0", "pose_1_1"],
        "count": ["count"],
        "contact": ["left", "right"],
        "next_reward": ["reward"],
        "next_success": ["success"],
    }
    assert [(c.name, c.height, c.width, c.rate_hz) for c in facts.camera] == [
        ("top", 64, 96, 20.0),
        ("wrist", 8, 10, 20.0),
    ]
    assert [d.name for d in facts.action.continuous] == ["dx", "dy"]
    assert facts.control.period_s == 1 / 20


def test_limits_are_those_of_all_values_with_a_tenth_to_spare(made_v3):
    facts = LeRobotReader().embodiment(made_v3)
    actions = np.concatenate([made.values(0, i)["action"] for i in range(3)])
    for i, dimension in enumerate(facts.action.continuous):
        low, high = float(actions[:, i].min()), float(actions[:, i].max())
        assert dimension.low == pytest.approx(low - 0.1 * (high - low))
        assert dimension.high == pytest.approx(high + 0.1 * (high - low))
        assert dimension.on_fault == "hold"
    contact = facts.channel("contact").dimensions
    assert [(d.low, d.high) for d in contact] == [(0.0, 1.0)] * 2


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"g": "2", "bf": "0"}),
        # Frames that are stored in another order than they are shown in, and one key frame for all of them.
        ("libx264", {"g": "250", "bf": "3"}),
        ("libx265", {"g": "6", "x265-params": "log-level=none"}),
        ("libsvtav1", {"g": "2", "crf": "30", "preset": "12"}),
        ("mpeg4", {"g": "5"}),
    ],
)
def test_each_frame_is_exactly_the_one_of_its_row(codec, options, v3):
    made.write_video(v3 / VIDEO, range(sum(made.LENGTHS)), codec, options)
    episodes = read(v3)
    numbers = [made.number_in(image) for episode in episodes for image in episode.streams["top"].values]
    assert numbers == list(range(sum(made.LENGTHS)))


def test_each_frame_of_v21_is_exactly_the_one_of_its_row(made_v21):
    numbers = [made.number_in(image) for episode in read(made_v21) for image in episode.streams["top"].values]
    assert numbers == list(range(sum(made.LENGTHS)))


def test_both_versions_are_the_same_machine_and_the_same_numbers(made_v3, made_v21):
    one, two = LeRobotReader().embodiment(made_v3), LeRobotReader().embodiment(made_v21)
    assert one == two
    assert one.id.startswith("log/lerobot-toy-arm-")


def test_what_has_no_channel_is_named(v3, caplog):
    def flag_depth(info):
        info["features"]["observation.images.wrist"]["info"] = {"is_depth_map": True}

    change_info(v3, flag_depth)
    with caplog.at_level(logging.WARNING):
        episode = read(v3)[0]
    assert "feature observation.note is left out: string per frame" in caplog.text
    assert "feature observation.images.wrist is left out: a depth map" in caplog.text
    assert "wrist" not in episode.streams
    assert episode.metadata.source.endswith("episode 0; left out: observation.note, observation.images.wrist")


def test_tasks_that_change_within_an_episode_become_a_channel(v3, caplog):
    change_table(v3, TABLE, setting(6, "task_index", 1))
    change_table(v3, EPISODES, setting(0, "tasks", list(made.TASKS)))
    with caplog.at_level(logging.WARNING):
        episode = read(v3)[0]
    assert episode.streams["task"].values[:, 0].tolist() == [0, 0, 0, 0, 0, 0, 1]
    assert episode.metadata.instruction == made.TASKS[0]
    assert "the first is its instruction, channel task says when" in caplog.text


def test_whole_numbers_that_float32_rounds_are_said(v3, caplog):
    change_table(v3, TABLE, setting(0, "observation.count", 2**24 + 1))
    with caplog.at_level(logging.WARNING):
        read(v3)
    assert "observation.count of episode 0: 1 whole numbers beyond 2**24 are rounded" in caplog.text


def test_episodes_are_named_by_content_wherever_they_stand(v3, tmp_path):
    facts = tmp_path / "facts.toml"
    facts.write_text(to_toml(LeRobotReader().embodiment(v3)))
    before = [episode.metadata.episode_id for episode in read(v3)]
    assert len(set(before)) == 3
    # The data set loses its last episode: the others keep their names.
    length = made.LENGTHS[2]
    change_table(v3, TABLE, lambda rows: rows.__delitem__(slice(-length, None)))
    change_table(v3, EPISODES, lambda rows: rows.pop())
    change_info(v3, lambda info: info.update(total_episodes=2, total_frames=12))
    assert [e.metadata.episode_id for e in read(v3, embodiment=facts)] == before[:2]
    # One number changes: that episode is another.
    change_table(v3, TABLE, setting(0, "observation.count", 5))
    after = [e.metadata.episode_id for e in read(v3, embodiment=facts)]
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_episodes_survive_the_vault(made_v3, tmp_path):
    reader, vault = LeRobotReader(), Vault.open(tmp_path / "vault", create=True)
    vault.keep_embodiment(reader.embodiment(made_v3))
    for episode in reader.read(made_v3, owner="lab", jurisdiction="JP"):
        vault.append(episode)
        stored = vault.read(episode.metadata.episode_id)
        assert stored.metadata == episode.metadata
        assert (stored.metadata.owner, stored.metadata.jurisdiction) == ("lab", "JP")
        np.testing.assert_array_equal(stored.streams["state"].values, episode.streams["state"].values)


def test_facts_that_the_user_gives_are_held_to(made_v3, tmp_path):
    text = to_toml(LeRobotReader().embodiment(made_v3)).replace("log/lerobot-toy-arm", "arm/mine")
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert read(made_v3, embodiment=path)[0].metadata.embodiment_id.startswith("arm/mine")
    for old, new, message in [
        ('name = "state"', 'name = "joints"', r"has no channel 'state'"),
        (
            'name = "gripper_pos"',
            'name = "grip"',
            r"state: got \['x', 'y', 'gripper_pos'\], expected \['x', 'y', 'grip'\]",
        ),
        ("height = 64", "height = 66", r"top: got \[64, 96\], expected \[66, 96\]"),
        ('name = "dy"', 'name = "dz"', r"action: got \['dx', 'dy'\], expected \['dx', 'dz'\]"),
        ("period_s = 0.05", "period_s = 0.04", r"a control period of 0\.05 s, expected 0\.04 s"),
        ("high = 1.0\n", "high = 0.5\n", r"contact\.left: got values from 0 to 1, expected 0 to 0\.5"),
    ]:
        changed = text.replace(old, new)
        if "0.5" in new:
            changed = text.replace(
                'name = "left", unit = "1", low = 0.0, high = 1.0', 'name = "left", unit = "1", low = 0.0, high = 0.5'
            )
        assert changed != text, old
        path.write_text(changed)
        with pytest.raises(ReaderError, match=message):
            read(made_v3, embodiment=path)
    with pytest.raises(ReaderError, match="option embodiment: no embodiment 'arm/none@1'"):
        read(made_v3, embodiment="arm/none@1")


def test_options_are_checked(made_v3):
    with pytest.raises(ReaderError, match="unknown option 'embodyment'; did you mean 'embodiment'"):
        read(made_v3, embodyment="x")
    with pytest.raises(ReaderError, match="option streams: got 'all', expected 'native' or 'base'"):
        read(made_v3, streams="all")
    with pytest.raises(ReaderError, match=r"got 'native', but there is no meta/provenance\.json"):
        read(made_v3, streams="native")


def test_other_folders_and_versions_are_told_apart(v3, tmp_path):
    reader = LeRobotReader()
    (tmp_path / "meta").mkdir()
    assert not reader.recognises(tmp_path)
    (tmp_path / INFO).write_text("{}")
    assert not reader.recognises(tmp_path)
    (tmp_path / INFO).write_text("[" * 100_000)
    assert not reader.recognises(tmp_path)
    change_info(v3, lambda info: info.update(codebase_version="v2.0"))
    assert reader.recognises(v3)
    with pytest.raises(ReaderError, match=r"got codebase_version 'v2\.0', expected v3\.0 or v2\.1"):
        read(v3)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (TABLE, lambda rows: rows.pop(), r"file-000\.parquet: episode 2: got 8 rows, expected 9 as its length says"),
        (TABLE, setting(9, "frame_index", 7), "episode 1: row 2: got frame_index 7, expected 2"),
        (TABLE, setting(9, "index", 3), "episode 1: row 2: got index 3, expected 9"),
        (
            TABLE,
            setting(9, "timestamp", 0.2),
            r"row 2: got timestamp 0\.200000 s, expected 0\.100000 s: frame_index / fps \(20\)",
        ),
        (TABLE, setting(9, "task_index", 9), "episode 1: got task_index 9, expected one of the 2 tasks"),
        (
            TABLE,
            setting(9, "task_index", 0),
            r"episode 1: got tasks \['箱を置く', 'lift the box'\], expected of \['箱を置く'\]",
        ),
        (TABLE, setting(9, "episode_index", 0), r"episode 0: got its rows in pieces \(again from row 9\)"),
        (TABLE, setting(9, "action", [np.inf, 0]), "action of episode 1: row 2: got inf, expected a number"),
        (
            TABLE,
            setting(9, "observation.pose", [[1.0], [2.0]]),
            r"observation\.pose of episode 1: got a list of 1, expected 2",
        ),
        (TABLE, setting(9, "observation.pose", None), r"observation\.pose of episode 1: got 1 rows without a value"),
        (
            TABLE,
            setting(9, "observation.images.wrist", {"bytes": b"x" * 9}),
            "frame 2: got bytes of no known image format",
        ),
        (TABLE, setting(9, "observation.images.wrist", {"path": "a.png"}), "frame 2: got no bytes, expected an image"),
        (EPISODES, setting(1, "length", 6), r"episode 1: got dataset_from_index 7 to 12 and length 6"),
        (EPISODES, lambda rows: rows.pop(), "total_episodes: got 3, expected 2"),
        (EPISODES, setting(1, "episode_index", 5), "got episode_index 2 at place 1, expected 0, 1, 2"),
        (EPISODES, setting(1, "data/file_index", 4), r"data/chunk-000/file-004\.parquet: no such file"),
        (EPISODES, setting(1, "videos/observation.images.top/file_index", 4), r"chunk-000/file-004\.mp4: no such file"),
        (
            EPISODES,
            setting(1, "videos/observation.images.top/from_timestamp", 0.36),
            r"file-000\.mp4: frame 0 of episode 1: got none at 0\.360000 s, expected one within 0\.0001 s \(the nearest "
            r"stands at 0\.350000 s; 21 frames from 0\.000000 s to 1\.000000 s\)",
        ),
        (
            EPISODES,
            setting(1, "videos/observation.images.top/to_timestamp", 0.7),
            r"from_timestamp 0\.350000 s to to_timestamp 0\.700000 s, expected 0\.250000 s for 5 rows at 20 Hz",
        ),
    ],
)
def test_files_that_disagree_are_named_with_both_numbers(file, change, message, v3):
    change_table(v3, file, change)
    with pytest.raises(FormatError, match=message):
        read(v3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": 0}, "fps: got 0.0, expected more than 0"),
        ({"fps": "20"}, "fps: got '20', expected a finite number"),
        ({"fps": 10**400}, "fps: got 1000000"),
        ({"total_frames": 20}, "total_frames: got 20, expected 21"),
        ({"robot_type": "\ud800"}, "robot_type: got '.*', expected text"),
        ({"robot_type": 7}, "robot_type: got 7, expected text"),
        ({"features": []}, "features: got list, expected an object"),
        ({"data_path": "../x/{chunk_index}"}, r"data_path: got '\.\./x/0', expected a path inside the data set"),
        ({"data_path": "/etc/passwd"}, "data_path: got '/etc/passwd', expected a path inside the data set"),
        (
            {"data_path": "{chunk_index.__class__}"},
            r"data_path: got '\{chunk_index.__class__\}', expected a path inside",
        ),
        ({"data_path": "{chunk_index:099999999d}"}, r"expected a path inside"),
        ({"data_path": "{other}"}, r"data_path: got \{other\}, expected one of chunk_index, file_index"),
        ({"video_path": None}, "video_path: got None, expected a path"),
    ],
)
def test_a_description_that_cannot_be_is_refused(change, message, v3):
    change_info(v3, lambda info: info.update(change))
    with pytest.raises(FormatError, match=message):
        read(v3)


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("action", {"shape": [3]}, "action of episode 0: got a list of 2, expected 3"),
        ("action", {"shape": [2, 1]}, "action of episode 0: got float, expected lists of 1"),
        ("action", {"shape": [0]}, r"features\.action\.shape: got \[0\], expected one to five positive sizes"),
        ("action", {"dtype": "object"}, r"features\.action\.dtype: got 'object', expected a number type"),
        ("observation.images.top", {"shape": [64, 98, 3]}, "got 64 x 96 pixels, expected 64 x 98 as info.json says"),
        ("observation.images.wrist", {"shape": [9, 10, 3]}, "frame 0: got 8 x 10 pixels, expected 9 x 10"),
        ("observation.absent", {"dtype": "float32", "shape": [1]}, "got no column 'observation.absent', expected one"),
    ],
)
def test_features_that_are_not_as_described_are_refused(key, change, message, v3):
    change_info(v3, lambda info: info["features"].setdefault(key, {}).update(change))
    with pytest.raises(FormatError, match=message):
        read(v3)


def test_a_video_without_a_frame_for_each_row_is_refused(v21):
    path = v21 / "videos/chunk-000/observation.images.top/episode_000001.mp4"
    made.write_video(path, range(4), "libx264", {"g": "2"})
    with pytest.raises(FormatError, match=r"episode_000001\.mp4: episode 1: got 4 frames, expected 5"):
        read(v21)
    path.unlink()
    with pytest.raises(FormatError, match=r"episode_000001\.mp4: no such file, expected a video"):
        read(v21)


def test_a_codec_that_is_not_known_is_refused(v3):
    data = (v3 / VIDEO).read_bytes()
    assert data.count(b"avc1") >= 1
    (v3 / VIDEO).write_bytes(data.replace(b"avc1", b"zzzz"))
    with pytest.raises(FormatError, match=r"file-000\.mp4: got a codec that this FFmpeg does not know"):
        read(v3)


@pytest.mark.parametrize("file", [INFO, TABLE, EPISODES, VIDEO, "meta/tasks.parquet"])
def test_cut_and_foreign_files_are_named(file, v3):
    data = (v3 / file).read_bytes()
    for damaged in (data[: len(data) // 2], b"", b"hello"):
        (v3 / file).write_bytes(damaged)
        with pytest.raises(FormatError, match=file.rpartition("/")[2].replace(".", r"\.")):
            read(v3)
    (v3 / file).unlink()
    with pytest.raises(FormatError, match=r"no such file|got no file, expected"):
        read(v3)


def test_half_a_character_is_refused_where_it_stands(v21):
    path = v21 / "meta/tasks.jsonl"
    path.write_text(path.read_text().replace("lift the box", "lift \\ud800"))
    with pytest.raises(FormatError, match=r"tasks\.jsonl: got task 0: 'lift \\ud800', expected"):
        read(v21)


def test_a_claim_of_rows_beyond_the_files_size_is_refused(v3):
    # Four million equal numbers take a few kilobytes once encoded.
    table = pa.table({"episode_index": np.zeros(4_000_000, np.int64)})
    pq.write_table(table, v3 / TABLE, row_group_size=len(table), compression="zstd")
    with pytest.raises(FormatError, match=r"file-000\.parquet: got 4000000 rows in \d+ bytes, expected far fewer"):
        read(v3)
