"""Vector's binary logs: every kind of object, containers of both methods, hostile lengths."""

import struct
import zlib

import can
import pytest

from genba.data.readers import blf
from genba.data.readers.blf import MAX_CONTAINER_BYTES, BlfReader
from genba.data.readers.dbc import EXTENDED_ID
from genba.errors import FormatError

HEAD = struct.pack("<4sI", b"LOGG", 144) + bytes(32) + struct.pack("<8H", 2017, 9, 6, 30, 15, 6, 13, 191) + bytes(88)


def item(kind, body, time=0, ticks=2, size=None):
    head = struct.pack("<4sHHIIIHHQ", b"LOBJ", 32, 1, size or 32 + len(body), kind, ticks, 0, 0, time)
    return head + body + bytes(len(body) % 4)


def classic(channel, address, data, flags=0, dlc=None):
    return struct.pack("<HBBI8s", channel, flags, len(data) if dlc is None else dlc, address, data)


def fd(channel, address, data, valid=None):
    head = struct.pack("<HBBIIBBB5x", channel, 0, 15, address, 0, 0, 1, len(data) if valid is None else valid)
    return head + data.ljust(64, b"\0")


def fd_64(channel, address, data, flags=0x1000):
    return struct.pack("<BBBBIIIIIIIHBBI", channel, 15, len(data), 0, address, 0, flags, 0, 0, 0, 0, 0, 0, 0, 0) + data


def container(content, method=2, size=None):
    body = zlib.compress(content) if method == 2 else content
    body = struct.pack("<H6xI4x", method, len(content) if size is None else size) + body
    return struct.pack("<4sHHII", b"LOBJ", 16, 1, 16 + len(body), 10) + body + bytes(len(body) % 4)


def frames(path, data):
    path.write_bytes(HEAD + data)
    return list(BlfReader().frames(path))


OBJECTS = (
    item(1, classic(1, 0x123, b"LOBJLOBJ"), time=5)
    + item(86, classic(2, 0x9ABCDEF0, b"\1\2") + bytes(8), time=7, ticks=1)
    + item(100, fd(1, 0x100, bytes(range(12))), time=100_000)
    + item(101, fd_64(3, 0x80000001, b"\xff" * 64 + b"\7"[:0]), time=200_000)
    + item(65, b"some text....")
    + item(1, classic(1, 0x123, b"", flags=0x80, dlc=8), time=300_000)
    + item(101, fd_64(3, 0x5, b"", flags=0x10), time=300_001)
)


@pytest.mark.parametrize("method", [0, 2])
def test_every_kind_of_object(tmp_path, method):
    (found,) = frames(tmp_path / "x.blf", container(OBJECTS, method))
    # 7 ticks of 10 µs.
    assert found.times_ns.tolist() == [5, 70_000, 100_000, 200_000]
    assert [found.buses[i] for i in found.bus] == ["1", "2", "1", "3"]
    # The upper bits of an id are flags: 0x9ABCDEF0 is 0x1ABCDEF0 with 29 bits.
    assert found.address.tolist() == [0x123, 0x1ABCDEF0 | EXTENDED_ID, 0x100, 1 | EXTENDED_ID]
    assert found.lengths.tolist() == [8, 2, 12, 64]
    assert bytes(found.data[0, :9]) == b"LOBJLOBJ\0"
    assert bytes(found.data[1, :9]) == b"\1\2" + bytes(7)
    assert bytes(found.data[2, :13]) == bytes(range(12)) + b"\0"
    assert bytes(found.data[3]) == b"\xff" * 64
    # The text and the two remote frames.
    assert found.num_left_out == 3


@pytest.mark.parametrize("cut", [1, 15, 16, 31, 40, 47, 49, 60, 200])
def test_object_goes_on_in_the_next_container(tmp_path, cut):
    whole = frames(tmp_path / "x.blf", container(OBJECTS))
    parts = frames(tmp_path / "x.blf", container(OBJECTS[:cut]) + container(OBJECTS[cut:]))
    assert [time for part in parts for time in part.times_ns.tolist()] == whole[0].times_ns.tolist()
    assert [bytes(row[:8]) for part in parts for row in part.data] == [bytes(row[:8]) for row in whole[0].data]


def test_objects_outside_containers_and_zeros_at_the_end(tmp_path):
    found = frames(tmp_path / "x.blf", item(1, classic(1, 0x1, b"\5")) + container(OBJECTS) + bytes(70_000))
    assert [len(part.times_ns) for part in found] == [1, 4]


def test_log_of_many_containers_reads_as_it_was_written(tmp_path):
    path = tmp_path / "long.blf"
    with can.BLFWriter(str(path), compression_level=1) as log:
        for i in range(9000):
            log.on_message_received(
                can.Message(timestamp=1e9 + i / 1000, arbitration_id=i % 2048, data=i.to_bytes(8, "big"), channel=1, is_extended_id=False)
            )  # fmt: skip
    found = list(BlfReader().frames(path))
    # 48 bytes each in containers of 128 KiB: 9000 * 48 / 131072 = 3.3.
    assert len(found) == 4
    assert [n for part in found for n in part.data.view(">u8")[:, 0].tolist()] == list(range(9000))
    assert BlfReader().recognises(path)
    assert BlfReader().started(path) == "started 2001-09-09 01:46:40.000 (no time zone)"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"JUNKJUNKJUNKJUNK", "at byte 144: got b'JUNK', expected an object"),
        (
            item(1, b"", size=2**32 - 1),
            r"at byte 144: got an object of 4294967295 bytes, expected 16 to the 32 that are",
        ),
        (item(1, b"", size=3), "got an object of 3 bytes"),
        (container(OBJECTS, 7), "at byte 144: got a container of method 7"),
        (container(OBJECTS, size=5), r"got 6 bytes or more from a container, expected 5"),
        (container(OBJECTS, size=10**4), "expected 10000"),
        (container(OBJECTS, size=MAX_CONTAINER_BYTES + 1), "expected method 0 or 2 .zlib. and at most 67108864 bytes"),
        (container(OBJECTS)[:32] + b"\xff" * (len(container(OBJECTS)) - 32), "a container that zlib cannot unpack"),
        (
            container(b"nothing of this format, 40 bytes of text"),
            "got b'noth', expected an object .* at byte 0 of what",
        ),
        (
            container(item(1, b"1234")),
            "at byte 144: the object at byte 0 of what is packed here: expected a frame with all",
        ),
        (container(item(100, fd(1, 1, b"", 65))), "as many bytes of data as the frame says, at most 64"),
        (container(item(101, fd_64(1, 1, b"\1" * 8)[:-1])), "as many bytes of data as the frame says"),
        (container(item(1, classic(1, 1, b"\1"), time=2**64 - 1)), "a time below 292 years"),
        (container(item(1, classic(1, 1, b"\1"), ticks=3)), "a time in ticks of 10 µs"),
        (container(OBJECTS[:-8]), "bytes after the begin of an object; the log was cut"),
    ],
)
def test_hostile_bytes_are_refused_where_they_are(tmp_path, data, message):
    with pytest.raises(FormatError, match=message):
        frames(tmp_path / "x.blf", data)


def test_containers_that_grow_out_of_all_proportion_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(blf, "MAX_CONTAINER_BYTES", 1 << 17)
    monkeypatch.setattr(blf, "MAX_RATIO", 10)
    # 2000 equal objects are 96 kB and a hundredth of that packed: four of them are more than 128 kB + 10 * 4 kB.
    bomb = container(item(1, classic(1, 1, b"\1")) * 2000)
    with pytest.raises(FormatError, match="unpacks to more than 10 times its size"):
        frames(tmp_path / "x.blf", bomb * 4)


def test_other_files_are_not_recognised(tmp_path):
    path = tmp_path / "x.blf"
    for content in (b"", b"LOGG", b"LOGG" + bytes(4), b"hello world, a text"):
        path.write_bytes(content)
        assert not BlfReader().recognises(path)
    path.write_bytes(b"LOGG" + b"\xff" * 4 + bytes(140))
    with pytest.raises(FormatError, match="at byte 4: got a header of 4294967295 bytes, expected 40 to the file's 148"):
        list(BlfReader().frames(path))
