"""A real log reads as its tables say; a made one gives derived numbers; what does not fit is refused by name."""

import shutil

import numpy as np
import pyarrow as pa
import pytest
from logs.argoverse2 import PERIOD_NS, START_NS, poses, write, write_log
from pyarrow import feather

from genba.data.readers.argoverse2 import ANNOTATIONS, CATEGORIES, EXTRINSICS, POSES, Argoverse2Reader
from genba.data.readers.boxes import box_dimensions
from genba.errors import FormatError, ReaderError


@pytest.fixture
def log(tmp_path):
    return write_log(tmp_path)[0]


def read(log, **options):
    return next(Argoverse2Reader().read(log, **options))


def test_real_log_equals_its_tables(samples):
    (log,) = (samples / "vehicle" / "av2").iterdir()
    episode = read(log)
    lidar, boxes, pose = (episode.streams[name] for name in ("lidar", "boxes", "ego_pose"))
    files = sorted((log / "sensors" / "lidar").iterdir())
    assert lidar.times_ns.tolist() == [int(file.stem) for file in files]
    for i, file in enumerate(files):
        table = feather.read_table(file)
        names = ("x", "y", "z", "intensity", "laser_number", "offset_ns")
        theirs = np.stack([table[name].to_numpy().astype(np.float64) for name in names], -1) * [1, 1, 1, 1, 1, 1e-9]
        # Half floats and bytes are exact in float32.
        np.testing.assert_array_equal(lidar.sample(i)[:, :5], theirs[:, :5])
        np.testing.assert_allclose(lidar.sample(i)[:, 5], theirs[:, 5], rtol=1e-7)
    table = feather.read_table(log / ANNOTATIONS).to_pydict()
    assert len(boxes.values) == len(table["category"]) == 11364
    # The set is in the order of time, so rows are too.
    assert np.repeat(boxes.times_ns, np.diff(boxes.splits)).tolist() == table["timestamp_ns"]
    assert [CATEGORIES[int(category)] for category in boxes.values[:, 0]] == table["category"]
    tracks = sorted(set(table["track_uuid"]))
    assert [tracks[int(track)] for track in boxes.values[:, 1]] == table["track_uuid"]
    np.testing.assert_allclose(boxes.values[:, 2], table["tx_m"], rtol=1e-7)
    np.testing.assert_allclose(boxes.values[:, 12], table["num_interior_pts"])
    own = feather.read_table(log / POSES).to_pydict()
    assert pose.times_ns.tolist() == own["timestamp_ns"]
    np.testing.assert_allclose(
        pose.values[:, [0, 3, 4, 6]], np.stack([own[n] for n in ("qw", "qz", "tx_m", "tz_m")], 1), rtol=1e-7
    )
    assert (episode.metadata.site, episode.metadata.jurisdiction) == ("PIT", "US-PA")
    assert len(episode.metadata.calibration) == 11 + 9


def test_facts_agree_with_the_code(log):
    facts = Argoverse2Reader().embodiment(log)
    (boxes,) = facts.entities
    assert boxes.dimensions[:-1] == box_dimensions(len(CATEGORIES), 500.0)
    assert list(CATEGORIES) == sorted(set(CATEGORIES))


def test_made_log_gives_derived_numbers(log):
    episode = read(log)
    assert episode.streams["lidar"].times_ns.tolist() == [START_NS, START_NS + PERIOD_NS, START_NS + 2 * PERIOD_NS]
    boxes = episode.streams["boxes"]
    assert boxes.times_ns.tolist() == [START_NS, START_NS + PERIOD_NS]
    assert boxes.splits.tolist() == [0, 1, 3]
    # Second row of the table: BUS is the 7th category, track "b" the second of two, 2 m long, at (10, 1, 0), 6 returns.
    np.testing.assert_array_equal(boxes.sample(0), [[6, 1, 10, 1, 0, 2, 2, 2, 1, 0, 0, 0, 6]])
    np.testing.assert_array_equal(boxes.sample(1)[:, :2], [[6, 1], [29, 0]])
    assert episode.metadata.calibration == {
        "base_from_up_lidar": (1, 0, 0, 1.35, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1),
        "ring_front_center.intrinsics": (0, 1, 2, 3, 4, 5, 6),
    }
    # sha256 of "{}"
    assert (
        "PIT_city_47896.json sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        in episode.metadata.source
    )


def test_cameras_are_read_at_their_own_times(log):
    import simplejpeg

    folder = log / "sensors" / "cameras" / "ring_side_left"
    folder.mkdir(parents=True)
    frame = np.full((1550, 2048, 3), 90, np.uint8)
    (folder / f"{START_NS + 17}.jpg").write_bytes(simplejpeg.encode_jpeg(frame, quality=50, colorspace="RGB"))
    stream = read(log).streams["ring_side_left"]
    assert stream.times_ns.tolist() == [START_NS + 17]
    assert np.abs(stream.values.astype(int) - 90).max() <= 1
    (folder / "1.jpg").write_bytes(simplejpeg.encode_jpeg(frame[:64, :64], colorspace="RGB"))
    with pytest.raises(FormatError, match=r"1\.jpg: got 64 x 64 pixels, expected 1550 x 2048"):
        read(log)


def test_log_is_named_by_its_content(log, tmp_path):
    first = read(log).metadata.episode_id
    assert first.startswith("vehicle/argoverse2@1/")
    again, _ = write_log(tmp_path / "again")
    assert read(again).metadata.episode_id == first
    other, _ = write_log(tmp_path / "other", seed=1)
    assert read(other).metadata.episode_id != first


def test_what_was_not_downloaded_is_left_out(log):
    (log / ANNOTATIONS).unlink()
    shutil.rmtree(log / "sensors")
    assert set(read(log).streams) == {"ego_pose"}


def test_damage_is_named(log):
    sweep = log / "sensors" / "lidar" / f"{START_NS}.feather"
    data = sweep.read_bytes()
    sweep.write_bytes(data[: len(data) // 2])
    with pytest.raises(FormatError, match=rf"{START_NS}\.feather: not a feather file"):
        read(log)
    sweep.write_bytes(b"")
    with pytest.raises(FormatError, match="not a feather file"):
        read(log)
    write(sweep, {"x": np.zeros(2), "y": np.zeros(2)})
    with pytest.raises(FormatError, match="got columns x, y, expected also z, intensity, laser_number, offset_ns"):
        read(log)
    kinds = dict.fromkeys(("intensity", "laser_number", "offset_ns"), np.zeros(2, np.int32))
    write(sweep, {"x": np.array([0, 301.0]), "y": np.zeros(2), "z": np.zeros(2), **kinds})
    with pytest.raises(FormatError, match=r"point 1: got \[301\.0, .* expected numbers within 300 m"):
        read(log)
    write(sweep, {"x": ["a", "b"], "y": np.zeros(2), "z": np.zeros(2), **kinds})
    with pytest.raises(FormatError, match="got string where numbers of float32 are expected"):
        read(log)
    write(sweep, {"x": pa.array([1.0, None]), "y": np.zeros(2), "z": np.zeros(2), **kinds})
    with pytest.raises(FormatError, match="got empty cells"):
        read(log)
    sweep.rename(sweep.with_name("first.feather"))
    with pytest.raises(FormatError, match=r"first\.feather: got a name that is no time in nanoseconds"):
        read(log)


def test_tables_that_do_not_fit_are_named(log):
    write(log / POSES, {"timestamp_ns": np.array([5, 4]), **poses(2, x_m=0.0)})
    with pytest.raises(FormatError, match="row 1: got a time before the row above"):
        read(log)
    write(log / POSES, {"timestamp_ns": np.array([4, 5]), **poses(2, x_m=1e300)})
    with pytest.raises(FormatError, match=r"values that its format does not allow: .*ego_pose\.x: got values from inf"):
        read(log)
    write(log / POSES, {"timestamp_ns": np.array([4, 5]), **poses(2, x_m=0.0)})
    write(log / EXTRINSICS, {"sensor_name": ["a\nb"], **poses(1, x_m=0.0)})
    with pytest.raises(FormatError, match="expected a readable name"):
        read(log)


def test_unknown_option_is_refused(log):
    with pytest.raises(ReaderError, match="argoverse2: unknown option 'agrement'; did you mean 'agreement'"):
        read(log, agrement="x")
