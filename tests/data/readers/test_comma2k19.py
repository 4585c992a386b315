"""A real minute of driving reads as its own recorder decoded it; what does not fit is refused by name."""

import logging
import shutil
from functools import partial

import numpy as np
import pytest

from genba.data.readers.comma2k19 import EMBODIMENT_ID, FRAMES, SOURCES, Comma2k19Reader
from genba.errors import ReaderError
from genba.spec.conformance import check_episode
from genba.spec.embodiment import load_embodiment

DBC = """VERSION ""

NS_ :

BS_:

BU_: XXX

BO_ 36 KINEMATICS: 8 XXX
 SG_ YAW_RATE : 1|10@0+ (0.244,-125) [0|0] "deg/s" XXX
 SG_ ACCEL_X : 17|10@0+ (0.03589,-18.375) [0|0] "m/s^2" XXX
 SG_ ACCEL_Y : 33|10@0+ (0.03589,-18.375) [0|0] "m/s^2" XXX

BO_ 37 STEER_ANGLE_SENSOR: 8 XXX
 SG_ STEER_ANGLE : 3|12@0- (1.5,0) [0|0] "deg" XXX
 SG_ STEER_FRACTION : 39|4@0- (0.1,0) [0|0] "deg" XXX
 SG_ STEER_RATE : 35|12@0- (1,0) [0|0] "deg/s" XXX

BO_ 170 WHEEL_SPEEDS: 8 XXX
 SG_ WHEEL_SPEED_FR : 6|15@0+ (0.01,-67.67) [0|0] "km/h" XXX
 SG_ WHEEL_SPEED_FL : 22|15@0+ (0.01,-67.67) [0|0] "km/h" XXX
 SG_ WHEEL_SPEED_RR : 38|15@0+ (0.01,-67.67) [0|0] "km/h" XXX
 SG_ WHEEL_SPEED_RL : 54|15@0+ (0.01,-67.67) [0|0] "km/h" XXX

BO_ 180 SPEED: 8 XXX
 SG_ SPEED : 47|16@0+ (0.01,0) [0|0] "km/h" XXX
"""

#: 8 frames, 10 ms apart: every message twice; the steering frame says 1.5 deg * 2 + 0.1 deg * -1 = 2.9 deg
STEERING = bytes([0x00, 0x02, 0, 0, 0xF0, 0, 0, 0])
#: 6767 * 0.01 - 67.67 = 0 km/h front right; (6767 + 3600) * 0.01 - 67.67 = 36 km/h = 10 m/s on the others
WHEELS = np.array([6767, 10367, 10367, 10367], ">u2").tobytes()


@pytest.fixture
def log(tmp_path):
    """A made log of 8 frames, and its DBC."""
    folder = tmp_path / "log"
    (folder / FRAMES).mkdir(parents=True)
    save = partial(save_array, folder)
    save("t", 100.0 + 0.01 * np.arange(8))
    save("src", np.zeros(8, np.int64))
    save("address", np.array([36, 37, 170, 180] * 2))
    save("data", np.array([b"\x02\x00" * 4, STEERING, WHEELS, b"\x00" * 8] * 2, "S8"))
    (tmp_path / "car.dbc").write_text(DBC)
    return folder


def save_array(folder, name, array):
    with (folder / FRAMES / name).open("wb") as file:
        np.save(file, array)


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
    assert set(episode.streams) == {channel.name for channel in facts.telemetry} == set(SOURCES)
    for channel in facts.telemetry:
        stream = episode.streams[channel.name]
        rate_hz = (len(stream) - 1) / (stream.times_ns[-1] - stream.times_ns[0]) * 1e9
        assert rate_hz == pytest.approx(channel.rate_hz, rel=0.01)


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
    assert first.episode_id.startswith("vehicle/toyota-can@1/comma2k19/")
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
    with pytest.raises(ReaderError, match=r"src: got int64\[7\], expected \[8\] as in t"):
        read(log)
    (log / FRAMES / "src").write_bytes(b"not an array")
    with pytest.raises(ReaderError, match="src: at byte 0: not a NumPy array"):
        read(log)
    shutil.rmtree(log / FRAMES)
    assert not Comma2k19Reader().recognises(log)
