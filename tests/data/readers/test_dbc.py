"""Compiled signals decode as cantools does, for any bytes."""

import cantools
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genba.data.readers.dbc import EXTENDED_ID, Dbc
from genba.errors import ReaderError

HEAD = 'VERSION ""\n\nNS_ :\n\nBS_:\n\nBU_: XXX\n\n'

#: name, start, length, order (0 big endian, 1 little), sign, scale, offset
PLACES = [
    ("intel_inside_a_byte", 2, 5, 1, "+", 1, 0),
    ("intel_signed_across_bytes", 5, 13, 1, "-", 0.01, -67.67),
    ("intel_whole_frame", 0, 64, 1, "+", 1, 0),
    ("intel_whole_frame_signed", 0, 64, 1, "-", 1, 0),
    ("motorola_inside_a_byte", 6, 3, 0, "-", 2, 1),
    ("motorola_signed_across_bytes", 3, 12, 0, "-", 1.5, 0),
    ("motorola_unaligned_end", 35, 12, 0, "+", 0.244, -125),
    ("motorola_whole_frame", 7, 64, 0, "-", 1, 0),
    ("motorola_one_bit", 60, 1, 0, "+", 1, 0),
]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A DBC with one message per signal, so that none overlap."""
    path = tmp_path_factory.mktemp("dbc") / "mixed.dbc"
    text = HEAD
    for i, (name, start, length, order, sign, scale, offset) in enumerate(PLACES):
        text += f"BO_ {256 + i} M_{name}: 8 XXX\n"
        text += f' SG_ {name} : {start}|{length}@{order}{sign} ({scale},{offset}) [0|0] "m" XXX\n\n'
    path.write_text(text)
    return path


@settings(max_examples=40, deadline=None)
@given(data=st.lists(st.binary(min_size=8, max_size=8), min_size=1, max_size=8))
def test_any_signal_decodes_as_cantools_does(mixed, data):
    dbc, reference = Dbc(mixed), cantools.database.load_file(mixed)
    frames = np.frombuffer(b"".join(data), np.uint8).reshape(-1, 8)
    for name, *_ in PLACES:
        got = dbc.message(f"M_{name}").signal(name).decode(frames)
        message = reference.get_message_by_name(f"M_{name}")
        expected = [float(message.decode(frame, decode_choices=False)[name]) for frame in data]
        np.testing.assert_allclose(got, expected, rtol=1e-15, err_msg=name)


def test_hand_computed_motorola_signal(mixed):
    # Start bit 3 of byte 0, 12 bits: the low nibble of byte 0, then byte 1. 0xA_F9C -> 0xF9C = -100; -100 * 1.5 = -150.
    frame = np.array([[0xAF, 0x9C, 0, 0, 0, 0, 0, 0]], np.uint8)
    signal = Dbc(mixed).message("M_motorola_signed_across_bytes").signal("motorola_signed_across_bytes")
    assert signal.decode(frame).tolist() == [-150.0]


def test_hand_computed_intel_signal(mixed):
    # Start bit 5, 13 bits: (byte 0 >> 5) | byte 1 << 3 | (byte 2 & 3) << 11 = 7 + 8 + 0 = 15; 15 * 0.01 - 67.67.
    frame = np.array([[0xE0, 0x01, 0, 0, 0, 0, 0, 0]], np.uint8)
    signal = Dbc(mixed).message("M_intel_signed_across_bytes").signal("intel_signed_across_bytes")
    np.testing.assert_allclose(signal.decode(frame), [0.15 - 67.67])


def test_names_are_refused_with_the_nearest(mixed):
    dbc = Dbc(mixed)
    with pytest.raises(
        ReaderError, match=r"mixed\.dbc: no message 'M_motorola_one_bits'; did you mean 'M_motorola_one_"
    ):
        dbc.message("M_motorola_one_bits")
    with pytest.raises(ReaderError, match="no signal 'motorola_two_bit'; did you mean 'motorola_one_bit'"):
        dbc.message("M_motorola_one_bit").signal("motorola_two_bit")


#: every message is 64 bytes: multiplexing (nested, with ranges), IEEE numbers, signals far back, ids of 29 bits
ODD = (
    HEAD
    + """BO_ 256 MUX: 64 XXX
 SG_ plain : 56|8@1- (1,0) [0|0] "" XXX
 SG_ kind M : 0|2@1+ (1,0) [0|0] "" XXX
 SG_ first m0 : 8|16@1- (0.5,3) [0|0] "" XXX
 SG_ second m1M : 8|2@1+ (1,0) [0|0] "" XXX
 SG_ inner m1 : 23|12@0- (1,0) [0|0] "" XXX
 SG_ ranged m0 : 40|9@1+ (2,0) [0|0] "" XXX

BO_ 257 FLOAT: 64 XXX
 SG_ intel32 : 0|32@1- (1,0) [0|0] "" XXX
 SG_ motorola32 : 39|32@0- (0.1,7) [0|0] "" XXX
 SG_ intel64 : 69|64@1- (1,0) [0|0] "" XXX
 SG_ motorola64 : 167|64@0- (1,0) [0|0] "" XXX
 SG_ far : 496|16@1- (0.25,-3) [0|0] "" XXX

BO_ 2566844673 WIDE: 64 XXX
 SG_ intel : 4|64@1+ (1,0) [0|0] "" XXX
 SG_ intel_signed : 101|63@1- (1,0) [0|0] "" XXX
 SG_ motorola : 194|64@0- (1,0) [0|0] "" XXX
 SG_ motorola_signed : 273|60@0- (1,0) [0|0] "" XXX

SIG_VALTYPE_ 257 intel32 : 1;
SIG_VALTYPE_ 257 motorola32 : 1;
SIG_VALTYPE_ 257 intel64 : 2;
SIG_VALTYPE_ 257 motorola64 : 2;
SG_MUL_VAL_ 256 first kind 0-0;
SG_MUL_VAL_ 256 second kind 1-1;
SG_MUL_VAL_ 256 inner second 1-2;
SG_MUL_VAL_ 256 ranged kind 0-0, 2-3;
"""
)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A DBC of multiplexed, real and wide signals."""
    path = tmp_path_factory.mktemp("dbc") / "odd.dbc"
    path.write_text(ODD)
    return Dbc(path), cantools.database.load_file(path)


@settings(max_examples=60, deadline=None)
@given(data=st.lists(st.binary(min_size=64, max_size=64), min_size=1, max_size=6), length=st.integers(0, 64))
@pytest.mark.parametrize("name", ["FLOAT", "WIDE"])
def test_any_number_decodes_bit_for_bit_as_cantools_does(odd, name, data, length):
    dbc, reference = odd
    frames = np.frombuffer(b"".join(data), np.uint8).reshape(-1, 64)
    message = reference.get_message_by_name(name)
    lengths = np.full(len(data), length)
    got = {signal: s.decode(frames, lengths) for signal, s in dbc.message(name).signals.items()}
    for i, frame in enumerate(data):
        expected = message.decode(frame[:length], decode_choices=False, allow_truncated=True)
        for signal, values in got.items():
            np.testing.assert_equal(values[i], float(expected.get(signal, np.nan)), err_msg=signal)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(min_size=64, max_size=64), kind=st.integers(0, 3), second=st.integers(0, 3))
def test_what_a_multiplexer_does_not_select_is_missing(odd, data, kind, second):
    dbc, reference = odd
    frame = np.frombuffer(data, np.uint8).copy()
    frame[0] = frame[0] & 0xFC | kind
    frame[1] = frame[1] & 0xFC | second
    got = {name: s.decode(frame[None])[0] for name, s in dbc.message("MUX").signals.items()}
    there = {"plain", "kind"} | ({"first", "ranged"} if kind == 0 else {"second"} if kind == 1 else {"ranged"})
    there |= {"inner"} if kind == 1 and second in (1, 2) else set()
    assert {name for name, value in got.items() if not np.isnan(value)} == there
    if kind != 1 or second in (1, 2):
        expected = reference.get_message_by_name("MUX").decode(bytes(frame), decode_choices=False)
        assert {name: got[name] for name in there} == {name: float(value) for name, value in expected.items()}


def test_hand_computed_numbers(odd):
    dbc, _ = odd
    frame = np.zeros((1, 64), np.uint8)
    # 1.5 is 0x3FC00000 in IEEE 754, -2 is 0xC0000000.
    frame[0, :8] = [0, 0, 0xC0, 0x3F, 0xC0, 0, 0, 0]
    message = dbc.message("FLOAT")
    assert message.signal("intel32").decode(frame).tolist() == [1.5]
    assert message.signal("motorola32").decode(frame).tolist() == [-2 * 0.1 + 7]
    # 64 bits that begin at bit 4: the upper half of byte 0 and the lower half of byte 8.
    frame[0, :9] = [0x10, 0, 0, 0, 0, 0, 0, 0, 0x08]
    assert dbc.message("WIDE").signal("intel").decode(frame).tolist() == [float(1 + (8 << 60))]


def test_limits_are_what_the_bits_can_hold(odd):
    dbc, _ = odd
    assert dbc.message("MUX").signal("first").limits == (-32768 * 0.5 + 3, 32767 * 0.5 + 3)
    assert dbc.message("MUX").signal("ranged").limits == (0.0, 1022.0)
    assert dbc.message("FLOAT").signal("intel64").limits == (-np.finfo(np.float32).max, np.finfo(np.float32).max)


def test_ids_of_29_bits_never_equal_ids_of_11(odd):
    dbc, _ = odd
    assert dbc.addresses == {256: "MUX", 257: "FLOAT", 2566844673: "WIDE"}
    wide = dbc.message("WIDE")
    assert wide.is_extended and wide.frame_id == 2566844673 - EXTENDED_ID and wide.address == 2566844673


def test_what_cannot_be_compiled_is_refused(tmp_path):
    path = tmp_path / "odd.dbc"
    path.write_text(
        HEAD
        + 'BO_ 258 WIDE: 16 XXX\n SG_ wide : 4|65@1+ (1,0) [0|0] "" XXX\n\n'
        + 'BO_ 259 REAL: 16 XXX\n SG_ real : 0|24@1- (1,0) [0|0] "" XXX\n\n'
        + "SIG_VALTYPE_ 259 real : 1;\n"
    )
    dbc = Dbc(path)
    with pytest.raises(ReaderError, match=r"WIDE\.wide: got 65 bits, expected 1 to 64"):
        dbc.message("WIDE")
    with pytest.raises(ReaderError, match=r"REAL\.real: got a number of 24 bits, expected 16, 32 or 64"):
        dbc.message("REAL")


def test_file_that_is_no_dbc_is_refused(tmp_path):
    with pytest.raises(ReaderError, match="no such file, expected a DBC"):
        Dbc(tmp_path / "none.dbc")
    path = tmp_path / "text.dbc"
    path.write_text("hello")
    with pytest.raises(ReaderError, match=r"text\.dbc: not a DBC"):
        Dbc(path)
