"""MDF 4 files of asammdf read as asammdf reads them; what is no number is named; formulas are never evaluated."""

import logging
import math
import struct
import zlib
from datetime import UTC, datetime

import numpy as np
import pytest
from asammdf import MDF
from logs.mdf4 import signal, signals, write_log

from genba.config import to_toml
from genba.data.readers.mdf4 import Mdf4Reader
from genba.errors import FormatError, ReaderError
from genba.spec.conformance import check_episode

STARTED = datetime(2026, 3, 1, 8, 0, 0, tzinfo=UTC)
STARTED_NS = int(STARTED.timestamp()) * 10**9


def read(path, **options):
    return next(Mdf4Reader().read(path, **options))


def written(path, groups, *, compression=0, **save):
    with MDF(version="4.10") as mdf:
        mdf.start_time = STARTED
        for name, group in groups.items():
            mdf.append(group, acq_name=name, comment="")
        mdf.save(path, overwrite=True, compression=compression, **save)
    return path


@pytest.mark.parametrize("compression", [0, 1, 2])
def test_every_group_is_a_channel_on_its_own_clock(tmp_path, compression):
    path, wrote = written(tmp_path / "x.mf4", signals(), compression=compression), signals()
    reader = Mdf4Reader()
    assert reader.recognises(path)
    facts, episode = reader.embodiment(path), read(path)
    check_episode(facts, episode)
    assert facts.id.startswith("log/mdf4-")
    assert {c.name: c.rate_hz for c in facts.telemetry} == {"engine": 100.0, "bench": 16.0}
    engine, bench = episode.streams["engine"], episode.streams["bench"]
    assert engine.times_ns.tolist() == [STARTED_NS + 1_000_000 + 10_000_000 * i for i in range(40)]
    assert bench.times_ns.tolist() == [STARTED_NS + 62_500_000 * i for i in range(8)]
    speed, torque, oil = wrote["engine"]
    expected = np.stack(
        [(speed.samples * 0.25 + 10.0) * (2 * math.pi / 60), torque.samples, oil.samples + 273.15], -1
    ).astype(np.float32)
    np.testing.assert_array_equal(engine.values, expected)
    np.testing.assert_array_equal(
        bench.values[:, 0], (wrote["bench"][0].samples.astype(np.float64) * 1e3).astype(np.float32)
    )
    speed, torque, oil = facts.telemetry[0].dimensions
    assert [(d.name, d.unit) for d in (speed, torque, oil)] == [
        ("engine_speed", "rad/s"),
        ("torque", "N*m"),
        ("oil_temp", "K"),
    ]
    # 16 bits by 0.25 rpm and 10 more; 8 signed bits.
    assert (speed.low, speed.high) == pytest.approx((10 * 2 * math.pi / 60, (65535 * 0.25 + 10) * 2 * math.pi / 60))
    assert (oil.low, oil.high) == pytest.approx((273.15 - 128, 273.15 + 127))


def test_two_files_of_one_structure_are_one_machine(tmp_path):
    first, _ = write_log(tmp_path)
    (tmp_path / "other").mkdir()
    second, _ = write_log(tmp_path / "other", seed=1)
    assert Mdf4Reader().embodiment(first) == Mdf4Reader().embodiment(second)
    assert read(first).metadata.episode_id != read(second).metadata.episode_id


CONVERSIONS = {
    "none": None,
    "linear": {"a": -2.0, "b": 7.0},
    "rational": {"P1": 0.0, "P2": 2.0, "P3": 1.0, "P4": 0.0, "P5": 0.0, "P6": 4.0},
    "interpolated": {f"{k}_{i}": v for i, (r, p) in enumerate([(0, 0.0), (100, 10.0), (200, -5.0)]) for k, v in (("raw", r), ("phys", p))}
    | {"interpolation": True},
    "table": {f"{k}_{i}": v for i, (r, p) in enumerate([(0, 0.0), (100, 10.0), (200, -5.0)]) for k, v in (("raw", r), ("phys", p))}
    | {"interpolation": False},
    "ranges": {"lower_0": 0, "upper_0": 99, "phys_0": 1.0, "lower_1": 100, "upper_1": 150, "phys_1": 2.0, "default": -1.0},
}  # fmt: skip


@pytest.mark.parametrize("kind", CONVERSIONS)
def test_conversions_are_those_of_asammdf(tmp_path, kind):
    raw, times = np.arange(0, 250, 7).astype(np.uint8), np.arange(36) / 10
    if kind == "ranges":
        # Of whole numbers asammdf takes the range before; see the next test.
        raw = raw.astype(np.float64)
    path = written(tmp_path / "x.mf4", {"g": [signal(raw, times, "x", "", CONVERSIONS[kind])]})
    with MDF(path) as mdf:
        expected = mdf.get("x").samples.astype(np.float32)
    np.testing.assert_array_equal(read(path).streams["g"].values[:, 0], expected)


def test_ranges_hold_their_upper_end_for_whole_numbers(tmp_path):
    raw = np.array([0, 99, 100, 150, 151], np.uint8)
    path = written(tmp_path / "x.mf4", {"g": [signal(raw, np.arange(5) / 10, "x", "", CONVERSIONS["ranges"])]})
    # ASAM MDF 4.1: from lower to upper, both included; else the default.
    assert read(path).streams["g"].values[:, 0].tolist() == [1.0, 1.0, 2.0, 2.0, -1.0]


@pytest.mark.parametrize(
    "dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", ">u2", ">i4", ">f4", ">f8", ">u8"]
)
def test_every_type_of_number(tmp_path, dtype):
    kind = np.dtype(dtype)
    info = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    values = np.array([info.min, info.max, 0, 1], kind)
    path = written(tmp_path / "x.mf4", {"g": [signal(values, np.arange(4) / 10, "x")]})
    with np.errstate(over="ignore"):
        expected = values.astype(np.float64).astype(np.float32)
    expected[~np.isfinite(expected)] = np.nan
    np.testing.assert_array_equal(read(path).streams["g"].values[:, 0], expected)


def test_what_is_no_number_in_time_is_named_and_texts_of_numbers_stay_numbers(tmp_path, caplog):
    times = np.arange(4) / 10
    marker = tmp_path / "evaluated"
    texts = {"val_0": 0, "text_0": b"off", "val_1": 1, "text_1": b"on", "default": b"?"}
    group = [
        signal(np.array([0, 1, 1, 0], np.uint8), times, "switch", "", texts),
        signal(np.array([b"a", b"b", b"c", b"d"]), times, "word", encoding="latin-1"),
        signal(np.arange(12, dtype=np.uint8).reshape(4, 3), times, "triple"),
        signal(np.arange(4.0), times, "formula", "", {"formula": f"open({str(marker)!r}, 'w')"}),
    ]
    path = written(tmp_path / "x.mf4", {"g": group})
    with caplog.at_level(logging.WARNING):
        stream = read(path).streams["g"]
    assert stream.values[:, 0].tolist() == [0.0, 1.0, 1.0, 0.0]
    assert stream.values.shape == (4, 1)
    assert "'word' in group 'g' at byte" in caplog.text
    assert "'triple' in group 'g' at byte" in caplog.text
    assert "(a formula, which is never evaluated)" in caplog.text
    assert not marker.exists()


def test_marked_values_are_missing_and_unknown_units_are_said(tmp_path, caplog):
    invalid = np.array([False, True, False])
    group = [signal(np.array([1, 2, 3], np.uint16), np.arange(3) / 10, "x", "furlong", invalidation_bits=invalid)]
    stream = read(written(tmp_path / "x.mf4", {"g": group})).streams["g"]
    np.testing.assert_array_equal(stream.values[:, 0], [1.0, np.nan, 3.0])
    assert "unit 'furlong' of x is not known: kept as plain numbers" in caplog.text


def test_facts_can_be_given_and_are_held(tmp_path):
    path, _ = write_log(tmp_path)
    derived, whole = Mdf4Reader().embodiment(path), read(path)
    file = tmp_path / "facts.toml"
    file.write_text(to_toml(derived).replace(derived.id, "vehicle/bench@1"))
    told = read(path, embodiment=file)
    assert told.metadata.embodiment_id == "vehicle/bench@1"
    np.testing.assert_array_equal(told.streams["engine"].values, whole.streams["engine"].values)
    file.write_text(file.read_text().replace('"oil_temp"', '"oil_tmp"'))
    with pytest.raises(ReaderError, match=r"engine\.oil_tmp: the log has no such dimension; did you mean 'oil_temp'"):
        read(path, embodiment=file)
    with pytest.raises(ReaderError, match="unknown option 'dbc'"):
        read(path, dbc="x")


# --- files made by hand: what asammdf does not write ---


def block(kind, links, data):
    return (
        struct.pack("<4sIQQ", b"##" + kind, 0, 24 + 8 * len(links) + len(data), len(links))
        + struct.pack(f"<{len(links)}q", *links)
        + data
    )


def by_hand(path, *, records, id_bytes=0, groups, data_block=None, magic=b"MDF     ", loop=False):
    """Write a file with one data group; ``groups``: (id, cycles, flags, bytes, [(name, CN data)])."""
    out = bytearray(magic + b"4.10    " + bytes(48))

    def put(kind, links, data):
        out.extend(bytes(-len(out) % 8))
        at = len(out)
        out.extend(block(kind, links, data))
        return at

    put(b"HD", [0] * 6, struct.pack("<QhhBBBB", STARTED_NS, 0, 0, 0, 0, 0, 0) + bytes(16))
    data_at = put(b"DT", [], records) if data_block is None else put(*data_block)
    before = 0
    for key, cycles, flags, size, channels in reversed(groups):
        below = 0
        for name, data in reversed(channels):
            text = put(b"TX", [], name.encode() + b"\0")
            below = put(b"CN", [below, 0, text, 0, 0, 0, 0, 0], data)
            if loop:
                out[below + 24 : below + 32] = struct.pack("<q", below)
        text = put(b"TX", [], b"hand\0")
        before = put(b"CG", [before, below, text, 0, 0, 0], struct.pack("<QQHHIII", key, cycles, flags, 0, 0, size, 0))
    dg = put(b"DG", [0, before, data_at, 0], bytes([id_bytes]) + bytes(7))
    out[64 + 24 : 64 + 32] = struct.pack("<q", dg)
    path.write_bytes(out)
    return path


def cn(kind, sync, dtype, bit, byte, bits):
    return struct.pack("<BBBBIIII", kind, sync, dtype, bit, byte, bits, 0, 0) + bytes(48)


CLOCK = ("t", cn(2, 1, 4, 0, 0, 64))


def test_records_of_several_groups_are_sorted_out(tmp_path):
    a = [(1, struct.pack("<dB", 0.5 * i, 10 + i)) for i in range(3)]
    b = [(2, struct.pack("<dh", 0.25 * i, -i)) for i in range(2)]
    text = (3, struct.pack("<I", 5) + b"hello")
    records = b"".join(bytes([key]) + data for key, data in (a[0], b[0], text, a[1], a[2], b[1]))
    path = by_hand(
        tmp_path / "x.mf4", records=records, id_bytes=1,
        groups=[
            (1, 3, 0, 9, [CLOCK, ("x", cn(0, 0, 0, 0, 8, 8))]),
            (2, 2, 0, 10, [CLOCK, ("y", cn(0, 0, 2, 0, 8, 16))]),
            (3, 1, 1, 0, []),
        ],
    )  # fmt: skip
    streams = read(path).streams
    assert list(streams) == ["hand", "hand_2"]
    assert streams["hand"].values[:, 0].tolist() == [10.0, 11.0, 12.0]
    assert streams["hand_2"].values[:, 0].tolist() == [0.0, -1.0]
    assert (streams["hand_2"].times_ns - STARTED_NS).tolist() == [0, 250_000_000]


def test_bits_inside_bytes_and_clocks_without_bytes(tmp_path):
    # A virtual clock counts records in seconds. 0xA5 0x3C: bits 2 to 5 of 0xA5 are 1001; the signed nibble above is -6.
    path = by_hand(
        tmp_path / "x.mf4", records=b"\xa5\x3c\xff\x00",
        groups=[(0, 2, 0, 2, [
            ("t", cn(3, 1, 0, 0, 0, 0)), ("a", cn(0, 0, 0, 2, 0, 4)), ("b", cn(0, 0, 2, 4, 0, 4)), ("c", cn(0, 0, 1, 4, 0, 12)),
        ])],
    )  # fmt: skip
    stream = read(path).streams["hand"]
    assert (stream.times_ns - STARTED_NS).tolist() == [0, 10**9]
    # Big endian 0xA53C >> 4 = 0xA53, 0xFF00 >> 4 = 0xFF0.
    assert stream.values.tolist() == [[0b1001, -6.0, 0xA53], [0b1111, -1.0, 0xFF0]]


ONE = [(0, 2, 0, 9, [CLOCK, ("x", cn(0, 0, 0, 0, 8, 8))])]
TWO_RECORDS = struct.pack("<dBdB", 0.0, 1, 1.0, 2)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"records": TWO_RECORDS[:-1]}, r"got 1 records of 9 bytes, expected 2; the file was cut"),
        ({"records": struct.pack("<dBdB", 0.0, 1, math.nan, 2)}, "got a time that is no number"),
        ({"loop": True}, "got a chain of CN blocks that comes back to itself"),
        ({"groups": [(0, 2, 0, 9, [CLOCK, ("x", cn(0, 0, 0, 0, 9, 8))])]}, r"'x': got bytes 9 to 10 of a record of 9"),
        ({"groups": [(0, 2**62, 0, 0, [("t", cn(3, 1, 0, 0, 0, 0))])]}, "values and more, expected at most 1000 times"),
        ({"groups": [(0, 2, 0, 9, [CLOCK])]}, "got no channel group with a clock, samples and numbers"),
        ({"groups": [(0, 2, 0, 9, [("x", cn(0, 0, 0, 0, 8, 8))])]}, "got no channel group with a clock"),
        ({"groups": ONE * 2}, "got the record id 0 for a second group"),
        ({"id_bytes": 3}, "got record ids of 3 bytes, expected 0, 1, 2, 4 or 8"),
        ({"id_bytes": 1, "records": b"\7" + bytes(9)}, "a record of the unknown id 7 at byte 0"),
        ({"id_bytes": 1, "records": bytes(9)}, "the group's data end inside a record of id 0"),
        ({"data_block": (b"DZ", [], struct.pack("<2sBxIQQ", b"DT", 0, 0, 18, 3) + b"abc")}, "zlib cannot unpack"),
        ({"data_block": (b"DZ", [], struct.pack("<2sBxIQQ", b"DT", 0, 0, 2**60, 3) + b"abc")}, "more than 200 times"),
        (
            {"data_block": (b"DZ", [], struct.pack("<2sBxIQQ", b"DT", 0, 0, 5, 11) + zlib.compress(b"123"))},
            "got 3 bytes from a DZ block, expected 5",
        ),
        (
            {"data_block": (b"DL", [0, 2**40], b"")},
            r"got a link to byte 1099511627776, expected a DT or DZ block in the file",
        ),
        ({"data_block": (b"LD", [0, 0], bytes(16))}, r"got b'##LD', expected a DT or DZ block"),
        ({"magic": b"UnFinMF "}, "at byte 0: the recorder did not close this file"),
        ({"magic": b"MDF3    "}, "at byte 0: got b'MDF3    4.10    ', expected 'MDF     4.'"),
    ],
)
def test_hostile_files_are_refused_where_they_are_wrong(tmp_path, told, message):
    path = by_hand(tmp_path / "x.mf4", **{"records": TWO_RECORDS, "groups": ONE, **told})
    with pytest.raises(FormatError, match=message):
        read(path)


def test_cut_files_raise_nothing_else(tmp_path):
    path, _ = write_log(tmp_path)
    whole, cut = path.read_bytes(), tmp_path / "cut.mf4"
    for length in range(0, len(whole) - 1, max(1, len(whole) // 60)):
        cut.write_bytes(whole[:length])
        with pytest.raises(FormatError, match=r"cut\.mf4: "):
            read(cut)


def test_other_files_are_not_recognised(tmp_path):
    path = tmp_path / "x.mf4"
    for content in (b"", b"MDF     3.30    ", b"hello"):
        path.write_bytes(content)
        assert not Mdf4Reader().recognises(path)
