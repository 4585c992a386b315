"""Lines of can-utils become frames, classic and FD; other lines are refused where they stand."""

import gzip

import pytest

from genba.data.readers import token_lines
from genba.data.readers.candump import CandumpReader
from genba.data.readers.dbc import EXTENDED_ID
from genba.data.readers.token_lines import MAX_LINE_BYTES
from genba.errors import FormatError

LINES = """(1436509052.249713) vcan0 044#2A366C2BBA
(1436509052.449847) vcan0 18FEF100#0102030405060708 R
(1436509052.650004) can1 123##1000102030405060708090A0B
(1436509052.7) can1 123#
(1436509052.800000000) can1 123#R8
(1436509052.900000001) can1 20000004#0000000000000000
(1436509053) can1 123#1122334455667788_E T
"""


def frames(path, text=LINES):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(CandumpReader().frames(path))


def test_every_kind_of_line(tmp_path):
    (found,) = frames(tmp_path / "x.log")
    # The remote frame and the error frame are left out.
    assert found.num_left_out == 2
    assert found.times_ns.tolist() == [
        1436509052_249713000, 1436509052_449847000, 1436509052_650004000, 1436509052_700000000, 1436509053_000000000,
    ]  # fmt: skip
    assert [found.buses[i] for i in found.bus] == ["vcan0", "vcan0", "can1", "can1", "can1"]
    assert found.address.tolist() == [0x44, 0x18FEF100 | EXTENDED_ID, 0x123, 0x123, 0x123]
    assert found.lengths.tolist() == [5, 8, 12, 0, 8]
    assert found.data.shape == (5, 64)
    assert bytes(found.data[0, :6]) == b"\x2a\x36\x6c\x2b\xba\0"
    assert bytes(found.data[2, :13]) == bytes(range(12)) + b"\0"
    assert bytes(found.data[4, :8]) == bytes.fromhex("1122334455667788")


def test_gzip_reads_the_same(tmp_path):
    reader, plain, packed = CandumpReader(), tmp_path / "x.log", tmp_path / "x.log.gz"
    plain.write_text(LINES)
    packed.write_bytes(gzip.compress(LINES.encode()))
    assert reader.recognises(plain) and reader.recognises(packed)
    for one, two in zip(reader.frames(plain), reader.frames(packed), strict=True):
        assert one.times_ns.tolist() == two.times_ns.tolist() and one.data.tolist() == two.data.tolist()
    packed.write_bytes(gzip.compress(LINES.encode())[:-9])
    with pytest.raises(FormatError, match="not a whole gzip file"):
        list(reader.frames(packed))


def test_text_that_grows_out_of_all_proportion_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(token_lines, "FREE_BYTES", 1 << 20)
    path = tmp_path / "bomb.gz"
    # 3.6 MB of one line repeated: gzip makes it about 1/500 of that.
    path.write_bytes(gzip.compress(b"(1.0) can0 123#11\n" * 200_000, 9))
    with pytest.raises(FormatError, match="text of more than 200 times the file's size"):
        for _ in CandumpReader().frames(path):
            pass


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("(1.5) can0", r"at byte 18: got '\(1\.5\) can0', expected \(seconds\.fraction\) interface id#data"),
        ("1.5 can0 123#00", r"at byte 18: got '1\.5 can0 123#00', expected \(seconds"),
        ("(1.5) can0 123#00 X", "at byte 18: "),
        ("(1x5) can0 123#00", "at byte 18: "),
        ("(99999999999999.5) can0 123#00", "at byte 18: "),
        ("(1.5) can0 12345", "id of 3 or 8 digits"),
        ("(1.5) can0 1234#00", "id of 3 or 8 digits"),
        ("(1.5) can0 12G#00", "id of 3 or 8 digits"),
        ("(1.5) can0 8FF#00", "expected an id below 0x800"),
        ("(1.5) can0 123#0", "whole bytes of data, at most 8, or 64 after ##"),
        ("(1.5) can0 123#001122334455667788", "whole bytes of data, at most 8"),
        ("(1.5) can0 123##0" + "00" * 65, "at most 8, or 64 after ##"),
        ("(1.5) can0 123##", "one hexadecimal digit of flags"),
        ("(1.5) can0 123#0Z", "data in hexadecimal digits"),
        ("\xff\x00", "at byte 18: "),
    ],
)
def test_other_lines_are_refused_where_they_stand(tmp_path, line, message):
    # The first line has 18 bytes.
    with pytest.raises(FormatError, match=message):
        frames(tmp_path / "x.log", b"(1.0) can0 123#11\n" + line.encode("latin-1") + b"\n")


def test_line_without_end_is_refused(tmp_path):
    with pytest.raises(FormatError, match=f"a line of more than {MAX_LINE_BYTES} bytes"):
        frames(tmp_path / "x.log", b"(1.0) can0 123#11\n" + b"0" * (MAX_LINE_BYTES + 1))


def test_other_files_are_not_recognised(tmp_path):
    reader, path = CandumpReader(), tmp_path / "x"
    for content in (b"", b"hello", b"\x1f\x8b broken", b"(1.0) can0 123 00", bytes(5000), b"time,value\n1,2\n"):
        path.write_bytes(content)
        assert not reader.recognises(path)
