"""A real minute of driving reads as its own recorder decoded it; what does not fit is refused by name."""

import logging
import shutil

import numpy as np
import pytest
from logs.comma2k19 import DBC, save, write_log

from genba.data.readers.boxes import rotation
from genba.data.readers.comma2k19 import EMBODIMENT_ID, FRAMES, POSE, RADAR, RECEIVERS, SOURCES, Comma2k19Reader
from genba.errors import FormatError, ReaderError
from genba.spec.conformance import check_episode
from genba.spec.embodiment import load_embodiment


@pytest.fixture
def log(tmp_path):
    """A made log of 8 frames and a second of everything else, and its DBC."""
    return write_log(tmp_path)[0]


def save_array(log, name, array):
    save(log, f"{FRAMES}/{name}", array)


def read(log, dbc=None, **options):
    return next(Comma2k19Reader().read(log, dbc=dbc or log.parent / "car.dbc", **options))


def test_real_minute_equals_what_its_recorder_decoded(samples):
    log = samples / "vehicle" / "comma2k19"
    episode = read(log, samples / "vehicle" / "dbc" / "toyota_2017.dbc")
    check_episode(load_embodiment(EMBODIMENT_ID), episode)
    own = log / "processed_log" / "CAN"
    steering, wheels = episode.streams["steering_angle"], episode.streams["wheel_speeds"]
    # The recorder gives degrees and m/s in float64; ours are SI in float32, whose rounding is 6e-8 of the value.
    np.testing.assert_allclose(
        steering.values[:, 0], np.deg2rad(np.load(own / "steering_angle" / "value")), rtol=1e-7, atol=1e-12
    )
    np.testing.assert_allclose(wheels.values, np.load(own / "wheel_speed" / "value"), rtol=1e-7)
    np.testing.assert_allclose(wheels.values.mean(1), np.load(own / "speed" / "value")[:, 0], rtol=3e-7)
    for stream, name in ((steering, "steering_angle"), (wheels, "wheel_speed")):
        np.testing.assert_array_equal(stream.times_ns, np.rint(np.load(own / name / "t") * 1e9).astype(np.int64))


def test_real_minute_keeps_every_clock(samples):
    episode = read(samples / "vehicle" / "comma2k19", samples / "vehicle" / "dbc" / "toyota_2017.dbc")
    facts = load_embodiment(EMBODIMENT_ID)
    assert set(episode.streams) == {channel.name for channel in facts.channels} >= set(SOURCES)
    for channel in (*facts.telemetry, *facts.entities):
        stream = episode.streams[channel.name]
        rate_hz = (len(stream) - 1) / (stream.times_ns[-1] - stream.times_ns[0]) * 1e9
        assert rate_hz == pytest.approx(channel.rate_hz, rel=0.01)


def test_real_minute_keeps_what_the_recorder_sensed(samples):
    log = samples / "vehicle" / "comma2k19"
    episode = read(log, samples / "vehicle" / "dbc" / "toyota_2017.dbc")

    def own(name):
        return np.load(log / name)

    inertial = "processed_log/IMU"
    for channel, columns, name, si in (
        ("accelerometer", slice(0, 3), "accelerometer", 1.0),
        ("gyroscope", slice(0, 3), "gyro", 1.0),
        ("gyroscope", slice(3, 6), "gyro_bias", 1.0),
        ("magnetometer", slice(0, 3), "magnetometer", 1e-6),
    ):
        stream = episode.streams[channel]
        np.testing.assert_allclose(stream.values[:, columns], own(f"{inertial}/{name}/value") * si, rtol=1e-7)
        np.testing.assert_array_equal(stream.times_ns, np.rint(own(f"{inertial}/{name}/t") * 1e9).astype(np.int64))
    # The radar's rows in their order, each time put together again from its cycle's and its delay.
    radar = episode.streams["radar"]
    theirs = own(f"{RADAR}/value")
    np.testing.assert_allclose(radar.values[:, :5], theirs[:, [5, 0, 1, 2, 6]] - [0x210, 0, 0, 0, 0], rtol=1e-7)
    begun_ns = np.repeat(radar.times_ns, np.diff(radar.splits))
    # float32 of a delay below 3 ms is within 0.2 ns.
    assert np.abs(begun_ns + radar.values[:, 5] * 1e9 - np.rint(own(f"{RADAR}/t") * 1e9)).max() < 1
    # Places and turns put back on the earth by what the calibration says.
    earth_from_start = np.reshape(episode.metadata.calibration["earth_from_start"], (4, 4))
    turn, place = earth_from_start[:3, :3], earth_from_start[:3, 3]
    pose = episode.streams["pose"]
    # float32 keeps a place within 2 km to 0.1 mm, a speed below 32 m/s to 2e-6 m/s.
    np.testing.assert_allclose(pose.values[:, 4:7] @ turn.T + place, own(f"{POSE}/frame_positions"), rtol=0, atol=1e-3)
    np.testing.assert_allclose(pose.values[:, 7:] @ turn.T, own(f"{POSE}/frame_velocities"), rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        turn @ rotation(pose.values[:, :4]), rotation(own(f"{POSE}/frame_orientations")), rtol=0, atol=1e-6
    )


def test_real_fixes_lie_where_the_pose_does(samples):
    log = samples / "vehicle" / "comma2k19"
    streams = read(log, samples / "vehicle" / "dbc" / "toyota_2017.dbc").streams
    fixes, pose = streams["gnss_ublox"], streams["pose"]
    at = np.clip(np.searchsorted(pose.times_ns, fixes.times_ns), 0, len(pose) - 1)
    # Two independent ways to a place: satellite fixes turned by WGS 84 here, poses as the authors computed them. At 20 m/s
    # and 50 ms between poses, and 3 m of a fix's own error, less than 5 m lie between them.
    assert np.linalg.norm(fixes.values[:, :3] - pose.values[at, 4:7], axis=1).max() < 5
    utc = np.load(log / RECEIVERS["gnss_ublox"] / "value")[:, 3] / 1e3
    np.testing.assert_allclose(fixes.values[:, 5], utc - utc[0], rtol=0, atol=1e-5)


def test_made_places_are_where_they_were_put(log):
    episode = read(log)
    pose, fixes = episode.streams["pose"], episode.streams["gnss_ublox"]
    # 2 m further east each time, at 40 m/s; the device looks east, its right is south, its down is down.
    np.testing.assert_allclose(pose.values[:3, 4:], [[2.0 * i, 0, 0, 40, 0, 0] for i in range(3)], atol=1e-4)
    np.testing.assert_allclose(rotation(pose.values[0, :4]), [[1, 0, 0], [0, -1, 0], [0, 0, -1]], atol=1e-6)
    # The fixes lie 5 - 1.2 m above the first pose. A thousandth of a degree of latitude at the equator is
    # a (1 - e^2) pi / 180,000 = 110.574 m, and bearing 90 degrees is pi / 2.
    np.testing.assert_allclose(fixes.values[0], [0, 0, 3.8, 9, np.pi / 2, 0], atol=1e-4)
    np.testing.assert_allclose(fixes.values[1, [1, 5]], [110.574, 0.1], atol=1e-3)
    assert episode.metadata.calibration["utc_start_s"] == (1.5e9,)


def test_radar_cycles_are_told_by_their_gaps(log):
    radar = read(log).streams["radar"]
    assert radar.times_ns.tolist() == [100_000_000_000, 100_050_000_000]
    assert radar.splits.tolist() == [0, 3, 4]
    np.testing.assert_allclose(radar.values[2], [5, 55, 4, -3, 0, 0.002], rtol=1e-6)


def test_what_a_log_lacks_is_left_out(log):
    for folder in (POSE, RADAR, *RECEIVERS.values(), "processed_log/IMU"):
        shutil.rmtree(log / folder)
    episode = read(log)
    assert set(episode.streams) == set(SOURCES)
    assert episode.metadata.calibration == {}


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (
            "processed_log/IMU/gyro_bias/t",
            7.0 + np.arange(104),
            "gyro_bias/t: got times of their own, expected those of .*gyro",
        ),
        (
            "processed_log/IMU/magnetometer/value",
            np.zeros((10, 2)),
            r"got float64\[10, 2\], expected numbers \[10, 3\] as in t",
        ),
        ("processed_log/IMU/magnetometer/value", np.full((10, 3), np.inf), r"expected numbers \[10, 3\] as in t"),
        ("global_pose/frame_positions", np.zeros((20, 3)), "the first place: .* expected one near the ground"),
        ("processed_log/CAN/radar/value", np.full((4, 7), 1e9), "values that its format does not allow: .*radar.slot"),
        (
            "processed_log/CAN/radar/t",
            np.array([0.0, 1.0, np.nan, 2.0]),
            r"radar/t: got float64\[4\], expected finite times",
        ),
    ],
)
def test_streams_that_do_not_fit_are_named(log, name, values, message):
    save(log, name, values)
    with pytest.raises(FormatError, match=message):
        read(log)


def test_array_that_promises_more_than_its_file_is_refused_before_any_room_is_made(log):
    path = log / FRAMES / "t"
    data = path.read_bytes()
    # The same length of header: 8 samples become 8 billion times a thousand, and twelve blanks go.
    path.write_bytes(data.replace(b"'shape': (8,), }" + b" " * 12, b"'shape': (8000000000000,), }"))
    with pytest.raises(
        FormatError, match=r"t: at byte 128: got 64 bytes of values, expected those of float64\[8000000000000\]"
    ):
        read(log)


def test_made_log_gives_hand_computed_numbers(log):
    episode = read(log)
    steering, wheels = episode.streams["steering_angle"], episode.streams["wheel_speeds"]
    np.testing.assert_allclose(steering.values[:, 0], np.deg2rad([2.9, 2.9]), rtol=1e-6)
    assert steering.times_ns.tolist() == [100_010_000_000, 100_050_000_000]
    # The bus says front right first; the channel says front left first.
    np.testing.assert_allclose(wheels.values, [[10.0, 0.0, 10.0, 10.0]] * 2, atol=1e-6)
    np.testing.assert_allclose(episode.streams["motion"].values[0, 0], np.deg2rad(512 * 0.244 - 125), rtol=1e-5)


def test_frames_of_other_buses_are_left_out(log):
    save_array(log, "src", np.array([0, 0, 0, 0, 0, 128, 0, 0]))
    assert len(read(log).streams["steering_angle"]) == 1


def test_frames_out_of_order_are_sorted_and_said(log, caplog):
    t = 100.0 + 0.01 * np.arange(8)
    straight = read(log)
    # The two steering frames (1 and 5) change places.
    save_array(log, "t", t[[0, 5, 2, 3, 4, 1, 6, 7]])
    with caplog.at_level(logging.WARNING):
        episode = read(log)
    assert episode.streams["steering_angle"].times_ns.tolist() == straight.streams["steering_angle"].times_ns.tolist()
    assert "2 of 8 frames were out of order, by up to 0.030000 s; sorted" in caplog.text


def test_clock_that_starts_again_is_refused(log):
    save_array(log, "t", np.array([100.0, 100.01, 100.02, 100.03, 5.0, 5.01, 5.02, 5.03]))
    with pytest.raises(ReaderError, match=r"jumps back by 95\.030 s after frame 3.*split the log there"):
        read(log)


def test_log_is_named_by_its_content(log):
    first = read(log).metadata
    assert first.episode_id.startswith("vehicle/toyota-can@2/comma2k19/")
    assert read(log).metadata == first
    save_array(log, "t", 200.0 + 0.01 * np.arange(8))
    assert read(log).metadata.episode_id != first.episode_id


def test_owner_and_place_can_be_told(log):
    metadata = read(log, owner="fleet", site="Aichi", jurisdiction="JP", agreement="2026-07").metadata
    assert (metadata.owner, metadata.site, metadata.jurisdiction, metadata.agreement) == (
        "fleet",
        "Aichi",
        "JP",
        "2026-07",
    )
    with pytest.raises(ReaderError, match="unknown option 'onwer'; did you mean 'owner'"):
        read(log, onwer="fleet")


def test_missing_dbc_is_asked_for(log):
    with pytest.raises(ReaderError, match="give them with --dbc FILE"):
        next(Comma2k19Reader().read(log))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("BO_ 37 ", "BO_ 38 "), r"car\.dbc: message STEER_ANGLE_SENSOR \(0x26\): got its frames on no bus"),
        (("BO_ 170 WHEEL_SPEEDS", "BO_ 170 WHEELS"), "no message 'WHEEL_SPEEDS'"),
        (("SG_ STEER_RATE", "SG_ STEER_SPEED"), "STEER_ANGLE_SENSOR: no signal 'STEER_RATE'"),
        (("WHEEL_SPEEDS: 8", "WHEEL_SPEEDS: 12"), r"WHEEL_SPEEDS \(0xAA\): got frames of 8 bytes in .*, expected 12"),
        (('(1.5,0) [0|0] "deg"', '(1.5,0) [0|0] "rad"'), "STEER_ANGLE: got unit 'rad', expected 'deg'"),
    ],
)
def test_dbc_of_another_car_is_refused(log, change, message):
    assert change[0] in DBC
    (log.parent / "car.dbc").write_text(DBC.replace(*change))
    with pytest.raises(ReaderError, match=message):
        read(log)


def test_frames_on_another_bus_are_named(log):
    save_array(log, "src", np.ones(8, np.int64))
    with pytest.raises(ReaderError, match=r"on buses \[1\] only .* expected some on bus 0"):
        read(log)


def test_damaged_arrays_are_named(log):
    assert Comma2k19Reader().recognises(log)
    save_array(log, "src", np.zeros(7, np.int64))
    with pytest.raises(ReaderError, match=r"src: got \[7\], expected \[8\] as in t"):
        read(log)
    (log / FRAMES / "src").write_bytes(b"not an array")
    with pytest.raises(ReaderError, match="src: at byte 0: not a NumPy array"):
        read(log)
    shutil.rmtree(log / FRAMES)
    assert not Comma2k19Reader().recognises(log)
