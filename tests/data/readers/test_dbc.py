"""Compiled signals decode as cantools does, for any bytes."""

import cantools
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genba.data.readers.dbc import Dbc
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


def test_what_cannot_be_compiled_is_refused(tmp_path):
    path = tmp_path / "odd.dbc"
    path.write_text(
        HEAD
        + 'BO_ 256 MUX: 8 XXX\n SG_ kind M : 0|4@1+ (1,0) [0|0] "" XXX\n SG_ part m1 : 8|8@1+ (1,0) [0|0] "" XXX\n\n'
        + 'BO_ 257 FLOAT: 8 XXX\n SG_ real : 0|32@1- (1,0) [0|0] "" XXX\n\n'
        + 'BO_ 258 WIDE: 16 XXX\n SG_ wide : 4|64@1+ (1,0) [0|0] "" XXX\n\n'
        + "SIG_VALTYPE_ 257 real : 1;\n"
    )
    dbc = Dbc(path)
    with pytest.raises(ReaderError, match=r"MUX\.part: got a multiplexed signal"):
        dbc.message("MUX")
    with pytest.raises(ReaderError, match=r"FLOAT\.real: got a floating-point signal"):
        dbc.message("FLOAT")
    with pytest.raises(ReaderError, match=r"WIDE\.wide: got 64 bits over more than 8 bytes"):
        dbc.message("WIDE")


def test_file_that_is_no_dbc_is_refused(tmp_path):
    with pytest.raises(ReaderError, match="no such file, expected a DBC"):
        Dbc(tmp_path / "none.dbc")
    path = tmp_path / "text.dbc"
    path.write_text("hello")
    with pytest.raises(ReaderError, match=r"text\.dbc: not a DBC"):
        Dbc(path)
