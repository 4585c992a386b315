"""Scenes keep every sensor's clock, poses and boxes; tables that lead nowhere are refused by name."""

import json
import shutil

import numpy as np
import pytest
import simplejpeg
from logs.nuscenes import PERIODS_US, RADAR, START_US, VERSION, pcd, write_log

from genba.data.readers.nuscenes import NuScenesReader
from genba.errors import FormatError, ReaderError


@pytest.fixture
def root(tmp_path):
    return write_log(tmp_path)[0]


def read(root, **options):
    return list(NuScenesReader().read(root, **options))


def change(root, table, alter):
    """Alter a table's rows in place."""
    path = root / VERSION / f"{table}.json"
    rows = json.loads(path.read_text())
    alter(rows)
    path.write_text(json.dumps(rows))


def test_every_sensor_keeps_its_own_clock(root):
    for i, episode in enumerate(read(root)):
        start_us = START_US + i * 20_000_000
        for channel, period_us in PERIODS_US.items():
            times_us = range(start_us, start_us + 1_000_000, period_us)
            stream = episode.streams[channel.lower()]
            assert stream.times_ns.tolist() == [time_us * 1000 for time_us in times_us]
        poses = episode.streams["ego_pose"]
        every_us = sorted(t for p in PERIODS_US.values() for t in range(start_us, start_us + 1_000_000, p))
        assert poses.times_ns.tolist() == [time_us * 1000 for time_us in every_us]
        # 10 m/s along x from 390 m on
        np.testing.assert_allclose(poses.values[:, 4], 390 + (np.array(every_us) - start_us) * 1e-5, rtol=1e-7)
        assert episode.streams["boxes"].times_ns.tolist() == [start_us * 1000, (start_us + 500_000) * 1000]


def test_values_equal_the_files(root):
    episode = read(root)[0]
    rows = json.loads((root / VERSION / "sample_data.json").read_text())
    for channel in PERIODS_US:
        mine = sorted((r for r in rows if f"/0__{channel}__" in r["filename"]), key=lambda r: r["timestamp"])
        stream = episode.streams[channel.lower()]
        for i, row in enumerate(mine):
            data = (root / row["filename"]).read_bytes()
            if channel.startswith("LIDAR"):
                np.testing.assert_array_equal(stream.sample(i), np.frombuffer(data, "<f4").reshape(-1, 5))
            elif channel.startswith("CAM"):
                np.testing.assert_array_equal(stream.values[i], simplejpeg.decode_jpeg(data))
            else:
                points = np.frombuffer(data[data.index(b"DATA binary\n") + 12 :], RADAR)
                theirs = np.stack([points[name].astype(np.float32) for name in RADAR.names], -1)
                np.testing.assert_array_equal(stream.sample(i), theirs)


def test_boxes_stand_in_the_map_as_annotated(root):
    boxes = read(root)[0].streams["boxes"]
    # Categories by name: human.pedestrian.adult is 0, vehicle.car 1; instances i0 and i2 are cars. Size was (w, l, h).
    np.testing.assert_allclose(boxes.sample(1)[:, :2], [[1, 0], [0, 1], [1, 2]])
    np.testing.assert_allclose(
        boxes.sample(1)[2], [1, 2, 402, 1101, 0.5, 4.5, 1.9, 1.6, 1, 0, 0, 0, 20, 2, 4], rtol=1e-6
    )


def test_facts_say_what_the_set_has(root):
    facts = NuScenesReader().embodiment(root)
    assert {c.name: c.rate_hz for c in facts.points} == {"lidar_top": 20.0, "radar_front": 13.0}
    (camera,) = facts.camera
    assert (camera.name, camera.rate_hz, camera.height, camera.width) == ("cam_front", 12.0, 24, 32)
    assert facts.description.endswith("boxes: human.pedestrian.adult, vehicle.car.")
    assert [d.name for d in facts.points[1].attributes][2:5] == ["rcs", "vx", "vy"]


def test_calibration_and_place_come_from_the_tables(root):
    metadata = read(root)[0].metadata
    # A quarter turn about z: the lidar's x is the car's y.
    lidar = np.reshape(metadata.calibration["base_from_lidar_top"], (4, 4))
    np.testing.assert_allclose(lidar @ [2, 0, 0, 1], [1, 2, 1.8, 1], atol=1e-12)
    assert metadata.calibration["cam_front.intrinsics"] == (20, 0, 16, 0, 20, 12, 0, 0, 1)
    assert (metadata.site, metadata.jurisdiction, metadata.owner) == ("singapore-onenorth", "SG", "unknown")
    assert "maps/one.png sha256:" in metadata.source
    assert read(root, owner="fleet", site="here")[0].metadata.site == "here"


def test_scenes_are_parts_that_are_read_alone(root):
    reader = NuScenesReader()
    assert reader.parts(root) == ["scene-0000", "scene-0001"]
    (alone,) = read(root, part="scene-0001")
    assert alone.metadata == read(root)[1].metadata
    with pytest.raises(ReaderError, match="no scene 'scene-1'; did you mean 'scene-0001'"):
        read(root, part="scene-1")


def test_scenes_are_named_by_content(root, tmp_path):
    ids = [episode.metadata.episode_id for episode in read(root)]
    assert len(set(ids)) == 2
    again, _ = write_log(tmp_path / "again")
    assert [episode.metadata.episode_id for episode in read(again)] == ids
    # What has changed is another episode, though every file of the sensors is the same.
    change(again, "sample_annotation", lambda rows: rows[0].update(num_lidar_pts=77))
    changed = [episode.metadata.episode_id for episode in read(again)]
    assert changed[0] != ids[0]
    assert changed[1] == ids[1]


def test_several_versions_are_told_apart(root):
    shutil.copytree(root / VERSION, root / "v1.0-test")
    with pytest.raises(ReaderError, match=r"got tables of v1\.0-mini, v1\.0-test; say which with option version"):
        read(root)
    assert len(read(root, version="v1.0-test")) == 2
    with pytest.raises(ReaderError, match=r"no tables of version 'v1\.0-tset'; did you mean 'v1\.0-test'"):
        read(root, version="v1.0-tset")


def test_set_without_annotations_has_no_boxes(root):
    for table in ("sample_annotation", "instance", "category", "visibility", "map"):
        (root / VERSION / f"{table}.json").unlink()
    assert all("boxes" not in episode.streams for episode in read(root))


def test_radar_that_saw_nothing_has_an_empty_sweep(root):
    nothing = np.zeros(1, RADAR)
    nothing["x"] = np.nan
    path = sorted((root / "samples" / "RADAR_FRONT").iterdir())[0]
    path.write_bytes(pcd(nothing))
    assert len(read(root)[0].streams["radar_front"].sample(0)) == 0


@pytest.mark.parametrize(
    ("table", "alter", "message"),
    [
        ("sample_data", lambda rows: rows[0].update(sample_token="x"), "row 'd0LIDAR_TOP0': points to sample 'x', which is not there"),
        ("sample_data", lambda rows: rows[0].update(filename="../../x"), "filename: got '../../x', expected a path inside"),
        ("sample_data", lambda rows: rows[0].update(filename="/etc/passwd"), "filename: got '/etc/passwd', expected a path inside"),
        ("sample_data", lambda rows: rows[0].update(timestamp=2**62), "timestamp: got '4611686018427387904', expected microseconds"),
        ("sample_data", lambda rows: rows[0].pop("timestamp"), "timestamp: got 'NoneType', expected int"),
        ("sample_data", lambda rows: rows[-1].update(width=31), r"cam_front: got frames of sizes .*, expected one size"),
        ("sample_data", lambda rows: rows.append(rows[0]), r"got \d+ rows with \d+ tokens, expected one token each"),
        ("sample_data", lambda rows: rows.clear(), "got no sample_data of it, expected some"),
        ("ego_pose", lambda rows: rows[3].update(rotation=[1, 0, 0]), "rotation: got '3 values', expected '?4 numbers"),
        ("ego_pose", lambda rows: rows[3].update(translation=[1e60, 0, 0]), r"ego_pose\.x: got values from .*inf, expected"),
        ("calibrated_sensor", lambda rows: rows[2].update(camera_intrinsic=[1]), "camera_intrinsic: got 1, expected 9 numbers or none"),
        ("sensor", lambda rows: rows[0].update(modality="sonar"), "expected one of camera, lidar, radar"),
        ("scene", lambda rows: rows[1].update(name="scene-0000"), "got two scenes of one name"),
        ("scene", lambda rows: rows[1].update(name="a\ud800"), "expected a readable text"),
        ("category", lambda rows: rows[1].update(name="vehicle.car"), "got two categories of one name"),
        ("instance", lambda rows: rows[0].update(category_token="c9"), "points to category 'c9', which is not there"),
    ],
)  # fmt: skip
def test_tables_that_do_not_fit_are_named(root, table, alter, message):
    change(root, table, alter)
    with pytest.raises(FormatError, match=message):
        read(root)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"token": 1}', "[" * 100_000, '["a"]'])
def test_table_that_is_none_is_named(root, text):
    (root / VERSION / "ego_pose.json").write_text(text)
    with pytest.raises(FormatError, match=r"ego_pose\.json: "):
        read(root)


def test_damaged_files_are_named(root):
    lidar, radar, camera = (sorted((root / "samples" / channel).iterdir())[0] for channel in PERIODS_US)
    whole = lidar.read_bytes()
    lidar.write_bytes(whole[:-3])
    with pytest.raises(FormatError, match=r"pcd\.bin: at byte 780: got 797 bytes, expected whole points of 20"):
        read(root)
    lidar.unlink()
    with pytest.raises(FormatError, match=r"pcd\.bin: cannot be read \(No such file"):
        read(root)
    lidar.write_bytes(whole)
    sweep = radar.read_bytes()
    for data, message in (
        (sweep[:-1], r"expected 301; is it cut\?"),
        (sweep.replace(b"POINTS 7", b"POINTS 999999999999"), r"got 301 bytes of points, expected \d+; is it cut"),
        (sweep.replace(b"DATA binary", b"DATA ascii"), "got DATA ascii, expected binary"),
        (sweep.replace(b"dyn_prop", b"dyn_prob"), "expected also dyn_prop"),
        (sweep.replace(b"SIZE 4", b"SIZE x"), "not the header of a PCD"),
        (b"\0" * 50, "got no DATA line"),
    ):
        radar.write_bytes(data)
        with pytest.raises(FormatError, match=message):
            read(root)
    radar.write_bytes(sweep)
    camera.write_bytes(camera.read_bytes()[:200])
    with pytest.raises(FormatError, match="not a whole JPEG"):
        read(root)


def test_damage_in_one_scene_leaves_the_others(root):
    path = next(path for path in (root / "sweeps" / "LIDAR_TOP").iterdir() if path.name.startswith("0__"))
    path.write_bytes(b"x")
    with pytest.raises(FormatError, match="expected whole points"):
        read(root, part="scene-0000")
    assert len(read(root, part="scene-0001")) == 1
