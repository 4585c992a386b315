"""Vector's text logs: hexadecimal and decimal, absolute and relative, classic and FD."""

import pytest

from genba.data.readers.asc import AscReader
from genba.data.readers.dbc import EXTENDED_ID
from genba.errors import FormatError

HEAD = "date Sat Sep 30 15:06:13.191 2017\nbase hex  timestamps absolute\ninternal events logged\n// version 9.0.0\n"
LINES = """Begin Triggerblock Sat Sep 30 15:06:13.191 2017
   0.000000 Start of measurement
   0.010000 1  1F4             Rx   d 8 00 11 22 33 44 55 66 F7  Length = 244000 BitCount = 124 ID = 500
   0.015991 2  18FEF100x       Tx   d 2 0A FF
   0.017000 1  1F4             Rx   r
   0.018000 1  ErrorFrame
   0.019000 1  Statistic: D 1 R 0 XD 0 XR 0 E 0 O 0 B 0.1%
   0.020000 CANFD   1 Rx        123  Status_Name  1 0 9 12 00 01 02 03 04 05 06 07 08 09 0a 0b  0 0 1000 0
   0.021000 CANFD   1 Tx   1FFFFFFFx  0 0 2  2 FE FF  0 0 1000 0
   0.022000 Li 1  LIN event
End TriggerBlock
"""


def frames(path, text):
    path.write_text(text)
    return list(AscReader().frames(path))


def test_every_kind_of_line(tmp_path):
    (found,) = frames(tmp_path / "x.asc", HEAD + LINES)
    assert found.times_ns.tolist() == [10_000_000, 15_991_000, 20_000_000, 21_000_000]
    assert [found.buses[i] for i in found.bus] == ["1", "2", "1", "1"]
    assert found.address.tolist() == [0x1F4, 0x18FEF100 | EXTENDED_ID, 0x123, 0x1FFFFFFF | EXTENDED_ID]
    assert found.lengths.tolist() == [8, 2, 12, 2]
    assert bytes(found.data[0, :9]) == bytes.fromhex("00112233445566F700")
    assert bytes(found.data[2, :13]) == bytes(range(12)) + b"\0"
    assert bytes(found.data[3, :2]) == b"\xfe\xff"
    # Start, remote, error, statistic, LIN.
    assert found.num_left_out == 5


def test_decimal_and_relative(tmp_path):
    head = HEAD.replace("hex  timestamps absolute", "dec  timestamps relative")
    lines = "   1.5 1  500   Rx   d 3 0 255 16\n   0.25 Start of x\n   0.5 1  500   Rx   d 1 7\n"
    (found,) = frames(tmp_path / "x.asc", head + lines)
    # 1.5 s, then 0.25 + 0.5 s later.
    assert found.times_ns.tolist() == [1_500_000_000, 2_250_000_000]
    assert found.address.tolist() == [500, 500]
    assert bytes(found.data[0, :3]) == bytes([0, 255, 16])


def test_header_says_when_it_was_started(tmp_path):
    reader, path = AscReader(), tmp_path / "x.asc"
    path.write_text(HEAD + LINES)
    assert reader.recognises(path)
    assert reader.started(path) == "started Sat Sep 30 15:06:13.191 2017 (no time zone)"
    for content in ("", "hello", "base hex", "date today\n0.1 1 1F4 Rx d 0\n"):
        path.write_text(content)
        assert not reader.recognises(path)
    with pytest.raises(FormatError, match=r"no line 'base hex.dec timestamps absolute.relative', expected one"):
        list(reader.frames(path))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0.1 1 1F4 Rx d", "expected a length"),
        ("0.1 1 1F4 Rx d G 00", "a length of 0 to F"),
        ("0.1 1 1F4 Rx d 2 00", "as many bytes of data as the line says"),
        ("0.1 1 1F4 Rx d 2 00 100", "data bytes, 0 to 255"),
        ("0.1 1 1F4 Rx d 2 00 Length", "data bytes, 0 to 255"),
        ("0.1 a 1F4 Rx d 1 00", "a channel number"),
        ("0.1 1 Engine Rx d 1 00", "an id as a number below 0x800, or of 29 bits and with an x behind it"),
        ("0.1 1 800 Rx d 1 00", "an id as a number below 0x800"),
        ("0.1 1 20000000x Rx d 1 00", "an id as a number"),
        ("0.1 CANFD 1 Rx 123 1 0 f", "CANFD channel Rx|Tx id"),
        ("0.1 CANFD 1 Rx 123 1 0 f 65 00", "a length of at most 64 bytes"),
        ("0.1 CANFD 1 Rx 123 Name 1 0 f 64 00 00", "as many bytes of data as the line says"),
        ("garbage", "expected an event that begins with its time"),
    ],
)
def test_other_lines_are_refused_where_they_stand(tmp_path, line, message):
    with pytest.raises(FormatError, match=f"at byte {len(HEAD)}: got .*{message}"):
        frames(tmp_path / "x.asc", HEAD + line + "\n")
