"""Drives keep every stream's clock, frames their boxes; a real frame reads; what does not fit is refused by name."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from logs.kitti import HEIGHT, NUM_SWEEPS, START_NS, WIDTH, write_frames, write_log
from PIL import Image

from genba.config import to_toml
from genba.data.readers.boxes import rotation
from genba.data.readers.kitti import KittiReader
from genba.errors import FormatError, ReaderError


@pytest.fixture
def drive(tmp_path):
    return write_log(tmp_path)[0]


@pytest.fixture
def frames(tmp_path):
    return write_frames(tmp_path)


def read(path, **options):
    return list(KittiReader().read(path, **options))


def test_real_frame_equals_its_files(samples):
    folder = samples / "vehicle" / "kitti"
    (episode,) = read(folder)
    theirs = np.fromfile(folder / "000008.bin", "<f4").reshape(-1, 4)
    np.testing.assert_array_equal(episode.streams["velodyne"].values, theirs)
    with Image.open(folder / "000008.png") as image:
        np.testing.assert_array_equal(episode.streams["image_2"].values[0], np.asarray(image))
    # The text beside it is a projection: 4 x 4, of which the last row says nothing.
    own = np.array((folder / "000008.txt").read_text().split(), float)
    assert episode.metadata.calibration == {"image_2_from_rectified": tuple(own[:12])}


def test_drive_keeps_every_clock_to_the_nanosecond(drive):
    (episode,) = read(drive)
    for name, n, period_ns, count in (
        ("image_00", 0, 103_000_001, 4),
        ("image_02", 1, 103_000_007, 4),
        ("velodyne", 2, 103_000_013, 4),
        ("oxts", 3, 50_000_003, 8),
    ):
        stream = episode.streams[name]
        assert stream.times_ns.tolist() == [START_NS + 1000 * n + i * period_ns for i in range(count)]
    assert episode.streams["image_00"].values.shape == (NUM_SWEEPS, HEIGHT, WIDTH, 3)
    for i in range(NUM_SWEEPS):
        theirs = np.fromfile(drive / "velodyne_points" / "data" / f"{i:010d}.bin", "<f4").reshape(-1, 4)
        np.testing.assert_array_equal(episode.streams["velodyne"].sample(i), theirs)
        with Image.open(drive / "image_00" / "data" / f"{i:010d}.png") as image:
            assert (episode.streams["image_00"].values[i] == np.asarray(image)[..., None]).all()


def test_drive_places_are_metres_north_of_the_start(drive):
    (episode,) = read(drive)
    place = episode.streams["oxts"].values[:, :3]
    # 1e-5 degrees of latitude at 49 degrees: the meridian's radius a (1 - e^2) / (1 - e^2 sin^2)^1.5 = 6,371,930 m, and 110 m
    # above the ellipsoid: 6,372,040 m * 1e-5 * pi / 180 = 1.11213 m.
    np.testing.assert_allclose(place[:, 1], 1.11213 * np.arange(8), atol=1e-4)
    np.testing.assert_allclose(place[:, [0, 2]], 0, atol=1e-5)
    theirs = np.array((drive / "oxts" / "data" / "0000000003.txt").read_text().split(), float)
    np.testing.assert_allclose(episode.streams["oxts"].values[3, 3:], theirs[3:], rtol=1e-6)


def test_drive_takes_its_days_calibration(drive):
    (episode,) = read(drive)
    calibration = episode.metadata.calibration
    assert calibration["camera_from_velodyne"] == (1, 0, 0, 0.1, 0, 1, 0, 0.2, 0, 0, 1, 0.3)
    assert calibration["velodyne_from_imu"] == (1, 0, 0, -0.8, 0, 1, 0, 0.3, 0, 0, 1, -0.8)
    assert calibration["image_2_from_rectified"] == (20, 0, 20, 1, 0, 20, 12, 2, 0, 0, 1, 3)
    assert calibration["calib_cam_to_cam.D_02"] == (-0.3, 0.2, 0.001, 0.002, -0.07)
    for file in drive.parent.glob("calib*.txt"):
        file.unlink()
    assert set(read(drive)[0].metadata.calibration) == {"earth_from_start"}


def test_sweeps_that_the_set_lacks_are_left_out_and_said(drive, caplog):
    (drive / "velodyne_points" / "data" / "0000000001.bin").unlink()
    with caplog.at_level(logging.WARNING):
        (episode,) = read(drive)
    kept = [START_NS + 2000 + i * 103_000_013 for i in (0, 2, 3)]
    assert episode.streams["velodyne"].times_ns.tolist() == kept
    assert "1 of 4 time stamps have no file; left out" in caplog.text


def test_sweeps_as_text_are_the_same_points(drive):
    binary = read(drive)[0].streams["velodyne"]
    for path in sorted((drive / "velodyne_points" / "data").iterdir()):
        points = np.fromfile(path, "<f4").reshape(-1, 4)
        # Nine digits bring every float32 back.
        lines = (" ".join(f"{v:.9g}" for v in point) for point in points)
        path.with_suffix(".txt").write_text("\n".join(lines))
        path.unlink()
    np.testing.assert_array_equal(read(drive)[0].streams["velodyne"].values, binary.values)


def test_frames_hold_boxes_as_they_were_drawn(frames):
    episodes = read(frames)
    assert len(episodes) == 3
    car, ignored = episodes[0].streams["boxes"].values
    # category, no track, centre half a height (0.75 m) above the bottom at y = 1.6 (down is positive), length, width, height
    np.testing.assert_allclose(car[[0, 2, 3, 4, 5, 6, 7]], [0, 2, 0.85, 20, 4.2, 1.8, 1.5], rtol=1e-6)
    assert np.isnan(car[1])
    # Turned by -90 degrees about the downward y, its length points ahead (z), its left (y of the box) to the camera's left (-x).
    np.testing.assert_allclose(rotation(car[8:12]), [[0, -1, 0], [0, 0, -1], [1, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(car[12:19], [0.1, 1, -1.67, 10, 5, 30, 20], rtol=1e-6)
    assert ignored[0] == 8
    assert np.isnan(ignored[1:15]).all()
    np.testing.assert_array_equal(ignored[15:19], [1, 2, 3, 4])
    assert episodes[0].metadata.calibration["camera_from_velodyne"] == (0, -1, 0, 0, 0, 0, -1, 0, 1, 0, 0, 0)


def test_pictures_of_several_sizes_have_a_channel_each(frames):
    facts = KittiReader().embodiment(frames)
    assert [(c.name, c.height) for c in facts.camera] == [("image_2_24x40", 24), ("image_2_25x40", 25)]
    names = [next(name for name in episode.streams if name.startswith("image")) for episode in read(frames)]
    assert names == ["image_2_24x40", "image_2_24x40", "image_2_25x40"]


def test_frames_are_parts_that_are_read_alone(frames):
    reader = KittiReader()
    assert reader.parts(frames) == ["000000", "000001", "000002"]
    (alone,) = read(frames, part="000001")
    assert alone.metadata == read(frames)[1].metadata
    with pytest.raises(ReaderError, match="no frame '000009'"):
        read(frames, part="000009")


def test_equal_cars_get_equal_ids_and_others_not(drive, tmp_path):
    facts = KittiReader().embodiment(drive)
    other, _ = write_log(tmp_path / "second", seed=1)
    assert KittiReader().embodiment(other) == facts
    assert read(other)[0].metadata.episode_id != read(drive)[0].metadata.episode_id
    shutil.rmtree(other / "oxts")
    assert KittiReader().embodiment(other).id != facts.id


def test_log_is_held_to_facts_that_are_given(drive, tmp_path):
    facts = KittiReader().embodiment(drive)
    (tmp_path / "facts.toml").write_text(to_toml(facts).replace("range_max_m = 120.0", "range_max_m = 5.0"))
    with pytest.raises(ReaderError, match=r"does not fit the facts that were given: .*beyond range_max_m = 5\.0 m"):
        read(drive, embodiment=tmp_path / "facts.toml")
    with pytest.raises(ReaderError, match=r"option embodiment: .*no such file"):
        read(drive, embodiment=tmp_path / "nothing.toml")


def test_only_what_is_one_is_recognised(drive, frames, tmp_path):
    reader = KittiReader()
    assert reader.recognises(drive)
    assert reader.recognises(frames)
    for no_log in (drive.parent, drive / "image_00", tmp_path, frames / "velodyne", tmp_path / "x", Path("x" * 5000)):
        assert not reader.recognises(no_log)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("velodyne_points/data/0000000002.bin", b"\0" * 40, r"at byte 32: got 40 bytes, expected whole points of 16"),
        ("velodyne_points/data/0000000002.bin", np.array([0, 0, 0, 0, np.nan, 0, 0, 0], "<f4").tobytes(), r"at byte 16: point 1: got \[nan"),
        ("velodyne_points/data/0000000002.bin", np.array([1e38] * 4, "<f4").tobytes(), "point 0: .* expected numbers within 120 m"),
        ("velodyne_points/data/0000000009.bin", b"", r"got 5 files, expected some, each with one of 4 time stamps"),
        ("velodyne_points/timestamps.txt", b"2011-09-26 13:02:25.0\nnoon\n", "line 2: got 'noon', no time"),
        ("velodyne_points/timestamps.txt", b"2011-09-26 13:02:25.0\n2011-09-26 13:02:24.9\n", "line 2: got a time before"),
        ("oxts/data/0000000001.txt", b"1 2 3", "line 1: got 3 numbers, expected 30"),
        ("oxts/data/0000000001.txt", b"1\n2\n", "got 2 lines, expected one of 30 numbers"),
        ("oxts/data/0000000001.txt", b"x " * 30, "could not convert string to float: 'x', expected 30 numbers"),
        ("image_02/data/0000000003.png", b"GIF89a", "expected the first bytes of a JPEG or a PNG"),
        ("image_02/data/0000000003.png", b"\x89PNG\r\n\x1a\n", "not a whole PNG: it has no header"),
        ("../calib_velo_to_cam.txt", b"R: 1 2 3\n", "got R of 3 and T of 0 numbers, expected 9 and 3"),
    ],
)  # fmt: skip
def test_damage_is_named(drive, name, data, message):
    (drive / name).write_bytes(data)
    with pytest.raises(FormatError, match=message):
        read(drive)


def test_cut_and_foreign_pictures_are_named(drive):
    path = drive / "image_02" / "data" / "0000000003.png"
    data = path.read_bytes()
    path.write_bytes(data[:-30])
    with pytest.raises(FormatError, match=r"0000000003\.png: not a whole PNG"):
        read(drive)
    # A header that claims 100,000 x 100,000 pixels is refused by the file's size, before any room is made.
    path.write_bytes(data[:16] + (100_000).to_bytes(4, "big") * 2 + data[24:])
    with pytest.raises(FormatError, match=r"got 100000 x 100000 pixels in \d+ bytes, expected a camera's frame"):
        read(drive)
    Image.new("RGBA", (WIDTH, HEIGHT)).save(path)
    with pytest.raises(FormatError, match="got a PNG of mode RGBA, expected 8-bit RGB or grey"):
        read(drive)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Lorry" + " 0" * 14, "line 1: got 'Lorry' and 14 numbers, expected a kind of thing and 14 or 15"),
        ("Car 1 2", "line 1: got 'Car' and 2 numbers"),
        ("Car" + " 1e300" * 14, "none of them beyond 1e30"),
        ("Car 0 7" + " 0" * 12, r"values that its format does not allow: .*boxes\.occlusion"),
    ],
)
def test_labels_that_are_none_are_named(frames, text, message):
    (frames / "label_2" / "000000.txt").write_text(text)
    with pytest.raises(FormatError, match=message):
        read(frames)
