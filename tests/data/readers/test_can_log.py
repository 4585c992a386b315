"""Any CAN log with a DBC becomes telemetry: the same from every format, as cantools decodes it, held to given facts."""

import importlib
import logging
import math
import shutil

import cantools
import numpy as np
import pytest
from logs.can_messages import DBC, messages

from genba.config import to_toml
from genba.errors import FormatError, ReaderError
from genba.registry import READERS, resolve
from genba.spec.conformance import check_episode
from genba.spec.embodiment import Embodiment

FORMATS = ("asc", "blf", "candump")

formats = pytest.mark.parametrize("name", FORMATS)


@pytest.fixture
def log(name, tmp_path):
    """The reader of a format, a log of it and the options to read it with."""
    path, options = importlib.import_module(f"logs.{name}").write_log(tmp_path)
    return resolve(READERS[name])(), path, options


@formats
def test_every_signal_is_what_cantools_decodes(log, tmp_path):
    reader, path, options = log
    assert reader.recognises(path)
    facts, episode = reader.embodiment(path, **options), next(reader.read(path, **options))
    check_episode(facts, episode)
    database = cantools.database.load_file(options["dbc"])
    si = {"rpm": (2 * math.pi / 60, 0), "degC": (1, 273.15), "bar": (1e5, 0), "%": (0.01, 0)}
    checked = 0
    for channel, name in (
        ("engine_data", "EngineData"),
        ("mux_data", "MuxData"),
        ("extended", "Extended"),
        ("fd_data", "FdData"),
    ):
        message, stream = database.get_message_by_name(name), episode.streams[channel]
        frames = [m for m in messages() if m.arbitration_id == message.frame_id and not m.is_remote_frame]
        assert len(stream) == len(frames) >= 4
        for row, frame in zip(stream.values, frames, strict=True):
            # A multiplexer that selects nothing is an error to cantools, and no value here.
            selects = name != "MuxData" or frame.data[0] & 15 in (0, 1)
            decoded = message.decode(frame.data, allow_truncated=True) if selects else {"Kind": frame.data[0] & 15}
            for value, signal in zip(row, message.signals, strict=True):
                scale, offset = si.get(signal.unit, (1, 0))
                expected = decoded[signal.name] * scale + offset if signal.name in decoded else math.nan
                np.testing.assert_equal(value, np.float32(expected))
                checked += 1
    # 8 engine frames of 4 signals, 4 of 3, 4 of 1, 4 of 1.
    assert checked == 8 * 4 + 4 * 3 + 4 + 4


@formats
def test_clocks_are_those_that_were_written(log):
    reader, path, options = log
    episode = next(reader.read(path, **options))
    # ASC and BLF count from their first frame, candump from 1970; they keep 1 µs, 1 ns and 1 µs. Frames are 5 ms apart.
    begin = 1_700_000_000 * 10**9 if reader.name == "candump" else 0
    expected = [begin + 5_000_000 * i for i in range(24) if i % 6 == 1]
    np.testing.assert_allclose(episode.streams["mux_data"].times_ns - begin, np.array(expected) - begin, atol=500)


def test_three_formats_of_one_drive_give_one_machine(tmp_path):
    facts = []
    for name in FORMATS:
        path, options = importlib.import_module(f"logs.{name}").write_log(tmp_path)
        facts.append(resolve(READERS[name])().embodiment(path, **options))
    assert facts[0] == facts[1] == facts[2]
    assert facts[0].id.startswith("log/can-")
    channels = {channel.name: channel for channel in facts[0].telemetry}
    assert list(channels) == ["engine_data", "mux_data", "fd_data", "extended"]
    # The DBC states a cycle of 20 ms; MuxData comes every 30 ms: 33.3 Hz, of R10 31.5 is nearest.
    assert channels["engine_data"].rate_hz == 50.0
    assert channels["mux_data"].rate_hz == 31.5
    # 16 bits by 0.25 rpm; 8 bits from -40 degC on; 16 signed bits by 0.5 N*m.
    speed, temperature, torque, mystery = channels["engine_data"].dimensions
    assert (speed.name, speed.unit, speed.low) == ("engine_speed", "rad/s", 0.0)
    assert speed.high == pytest.approx(65535 * 0.25 * 2 * math.pi / 60)
    assert (temperature.unit, temperature.low, temperature.high) == ("K", pytest.approx(233.15), 488.15)
    assert (torque.unit, torque.low, torque.high) == ("N*m", -16384.0, 16383.5)
    assert (mystery.unit, mystery.high) == ("1", 255.0)


@formats
def test_what_is_left_out_or_missing_is_said(log, caplog):
    reader, path, options = log
    with caplog.at_level(logging.INFO):
        list(reader.read(path, **options))
    assert "units that are not known, kept as plain numbers: 'furlong' of EngineData.Mystery" in caplog.text
    assert "1 of 8 frames of EngineData are shorter than its 8 bytes" in caplog.text
    # 24 data frames, 4 of an id that the DBC does not know; the remote frame (and ASC's start line) beside them.
    assert "24 frames, 20 of messages of machine.dbc" in caplog.text


@formats
def test_episode_is_named_by_content_and_twice_the_same(log, tmp_path):
    reader, path, options = log
    first, again = next(reader.read(path, **options)), next(type(reader)().read(path, **options))
    assert first.metadata == again.metadata
    (tmp_path / "other").mkdir()
    other, told = importlib.import_module(f"logs.{reader.name}").write_log(tmp_path / "other", seed=1)
    assert next(reader.read(other, **told)).metadata.episode_id != first.metadata.episode_id
    copy = shutil.copy(path, tmp_path / "copy")
    assert next(reader.read(copy, **options)).metadata.episode_id == first.metadata.episode_id


@formats
def test_facts_can_be_given_and_are_held(log, tmp_path):
    reader, path, options = log
    derived = reader.embodiment(path, **options)
    engine = derived.telemetry[0]
    torque, speed = engine.dimension[2], engine.dimension[0]
    facts = Embodiment(
        id="vehicle/mine@1", description="Mine.", control=derived.control,
        telemetry=(type(engine)(name="engine_data", rate_hz=50.0, frame="none", history_s=1.0, dimension=(torque, speed)),),
    )  # fmt: skip
    file = tmp_path / "mine.toml"
    file.write_text(to_toml(facts))
    assert reader.embodiment(path, **options, embodiment=file) == facts
    whole, part = next(reader.read(path, **options)), next(reader.read(path, **options, embodiment=file))
    assert list(part.streams) == ["engine_data"]
    np.testing.assert_array_equal(part.streams["engine_data"].values, whole.streams["engine_data"].values[:, [2, 0]])
    for change, message in (
        (
            ("engine_speed", "engine_sped"),
            r"engine_data\.engine_sped: the log has no such dimension; did you mean 'engine_sp",
        ),
        (("engine_data", "engine_date"), r"has a channel 'engine_date', the log has none; did you mean 'engine_data'"),
        (('"N*m"', '"N"'), r"engine_data\.torque: got 'N\*m' in the log, expected 'N'"),
    ):
        file.write_text(to_toml(facts).replace(*change))
        with pytest.raises(ReaderError, match=message):
            list(reader.read(path, **options, embodiment=file))
    with pytest.raises(ReaderError, match="option embodiment: no embodiment 'vehicle/toyota'"):
        reader.embodiment(path, **options, embodiment="vehicle/toyota")


@formats
def test_options_are_checked(log):
    reader, path, options = log
    with pytest.raises(ReaderError, match="give them with --dbc FILE"):
        reader.embodiment(path)
    with pytest.raises(ReaderError, match="unknown option 'buss'; did you mean 'bus'"):
        list(reader.read(path, **options, buss=1))
    with pytest.raises(ReaderError, match="option bus: got '7', expected a bus of the log; known: "):
        list(reader.read(path, **options, bus="7"))
    with pytest.raises(ReaderError, match="No such file or directory, expected a log of the format"):
        list(reader.read(path.with_name("none"), **options))


@formats
def test_dbc_of_another_machine_is_refused(log):
    reader, path, options = log
    other = DBC.replace("BO_ 256 ", "BO_ 257 ").replace("BO_ 512 ", "BO_ 513 ").replace("2566844672", "2566844673")
    options["dbc"].write_text(other.replace("BO_ 768 ", "BO_ 769 "))
    with pytest.raises(
        ReaderError, match=r"got 24 frames on bus .*, expected some of a message of .*is it this machine's"
    ):
        reader.embodiment(path, **options)


@formats
def test_cut_log_raises_nothing_else_and_reads_no_more_than_it_has(log, tmp_path):
    reader, path, options = log
    whole, cut = path.read_bytes(), tmp_path / "cut"
    for length in range(0, len(whole), max(1, len(whole) // 40)):
        cut.write_bytes(whole[:length])
        said, num_samples = str(cut), 0
        try:
            num_samples = sum(len(stream) for stream in next(reader.read(cut, **options)).streams.values())
        except ReaderError as error:
            said = str(error)
        assert str(cut) in said
        assert num_samples <= 20


def candump(tmp_path, *lines):
    path = tmp_path / "hand.log"
    path.write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "machine.dbc").write_text(DBC)
    return resolve(READERS["candump"])(), path, {"dbc": tmp_path / "machine.dbc"}


def test_several_buses_must_be_told_apart(tmp_path):
    reader, path, options = candump(
        tmp_path,
        "(1.0) can0 100#0001020304050607",
        "(1.1) can1 100#0001020304050607",
        "(1.2) can1 100#0001020304050607",
    )
    with pytest.raises(
        ReaderError, match=r"on buses can0 \(1\), can1 \(2\), expected one bus; name it with --option bus=c"
    ):
        reader.embodiment(path, **options)
    one, two = (next(reader.read(path, **options, bus=bus)) for bus in ("can0", "can1"))
    assert (len(one.streams["engine_data"]), len(two.streams["engine_data"])) == (1, 2)
    assert one.metadata.episode_id != two.metadata.episode_id


def test_frames_out_of_order_are_sorted_and_a_clock_that_starts_again_is_refused(tmp_path, caplog):
    reader, path, options = candump(
        tmp_path,
        "(1.00) can0 100#0100000000000000",
        "(1.02) can0 100#0300000000000000",
        "(1.01) can0 100#0200000000000000",
    )
    stream = next(reader.read(path, **options)).streams["engine_data"]
    assert stream.times_ns.tolist() == [1_000_000_000, 1_010_000_000, 1_020_000_000]
    # Raw 1, 2, 3 by 0.25 rpm.
    np.testing.assert_allclose(stream.values[:, 0], np.array([0.25, 0.5, 0.75]) * 2 * math.pi / 60, rtol=1e-6)
    assert "1 of 3 frames were out of order; sorted" in caplog.text
    reader, path, options = candump(tmp_path, "(9.5) can0 100#00", "(8.4) can0 100#00")
    with pytest.raises(FormatError, match=r"jumps back by 1\.100 s before data frame 1.*split the log there"):
        reader.embodiment(path, **options)


def test_cycle_that_is_no_time_is_measured(tmp_path):
    reader, path, options = candump(tmp_path, "(1.0) can0 100#00", "(1.1) can0 100#00")
    options["dbc"].write_text(
        DBC.replace("INT 0 65535", "STRING")
        .replace('GenMsgCycleTime" 0', 'GenMsgCycleTime" ""')
        .replace("256 20", '256 "fast"')
    )
    assert reader.embodiment(path, **options).telemetry[0].rate_hz == 10.0


def test_floats_that_are_no_numbers_are_missing(tmp_path):
    # IEEE 754, little endian: 1.5, infinity, not a number.
    reader, path, options = candump(
        tmp_path, *(f"(1.0) can0 18FF0000#{bits}" for bits in ("0000C03F", "0000807F", "0000C07F"))
    )
    options["dbc"].write_text(DBC.replace("2566844672", str(0x98FF0000)))
    np.testing.assert_array_equal(
        next(reader.read(path, **options)).streams["extended"].values[:, 0], [1.5, np.nan, np.nan]
    )
