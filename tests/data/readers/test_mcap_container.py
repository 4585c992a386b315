"""Records, chunks and check sums: every way of writing reads as the ``mcap`` library reads it; damage is named by offset."""

import hashlib

import lz4.frame
import pytest
import zstandard
from logs.mcap import Log, write_ros
from logs.ros2 import messages
from mcap.reader import make_reader
from mcap.writer import CompressionType, IndexType

from genba.data.readers import mcap_container
from genba.data.readers.mcap_container import MAGIC, McapFile, unpack
from genba.errors import FormatError, ReaderError

WAYS = {
    "zstd": {"compression": CompressionType.ZSTD},
    "lz4": {"compression": CompressionType.LZ4, "chunk_size": 500},
    "uncompressed": {"compression": CompressionType.NONE},
    "no chunks": {"use_chunking": False},
    "data check sum": {"enable_data_crcs": True},
    "no check sums": {"enable_crcs": False},
    "no summary": {
        "index_types": IndexType.NONE, "repeat_channels": False, "repeat_schemas": False, "use_statistics": False,
        "use_summary_offsets": False,
    },
}  # fmt: skip


def write(tmp_path, **options):
    return write_ros(tmp_path / "log.mcap", messages(num=4), **options)


def flip(path, offset, bit=1):
    data = bytearray(path.read_bytes())
    data[offset] ^= bit
    path.write_bytes(data)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_writing_gives_the_messages_that_the_library_gives(tmp_path, way):
    path = write(tmp_path, **WAYS[way])
    with path.open("rb") as stream:
        # log_time_order would sort; the order of the file is what is promised here.
        expected = [
            (channel.topic, schema.name, message.log_time, message.data)
            for schema, channel, message in make_reader(stream).iter_messages(log_time_order=False)
        ]
    file = McapFile(path)
    got = [(m.channel.topic, m.channel.schema.name, m.log_ns, m.data) for m in file.messages()]
    assert got == expected
    assert len(got) == sum(1 for _ in messages(num=4))
    assert file.is_finished
    assert file.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_second_reading_without_check_sums_gives_the_same(tmp_path):
    file = McapFile(write(tmp_path))
    assert list(file.messages()) == list(file.messages(verify=False))


def test_flipped_bit_in_a_chunk_is_found_by_its_check_sum(tmp_path):
    path = write(tmp_path, compression=CompressionType.NONE, chunk_size=4096)
    first = next(McapFile(path).messages())
    at = path.read_bytes().index(first.data)
    flip(path, at)
    with pytest.raises(FormatError, match=r"chunk: got check sum .* expected") as caught:
        list(McapFile(path).messages())
    assert caught.value.offset == first.offset


def test_flipped_bit_in_the_data_section_is_found_by_its_check_sum(tmp_path):
    path = write(tmp_path, use_chunking=False, enable_data_crcs=True)
    flip(path, path.read_bytes().index(next(McapFile(path).messages()).data))
    with pytest.raises(FormatError, match="data section: got check sum"):
        list(McapFile(path).messages())


def test_flipped_bit_in_the_summary_or_an_attachment_is_found(tmp_path):
    log = Log(tmp_path / "log.mcap")
    log.json("/a", 1, {"x": 1})
    log.writer.add_attachment(0, 0, "map.bin", "application/octet-stream", b"walls and doors")
    log.writer.add_metadata("site", {"town": "Aichi"})
    path = log.finish()
    whole = path.read_bytes()
    assert McapFile(path).metadata == [("site", {"town": "Aichi"})]
    flip(path, whole.index(b"walls"))
    with pytest.raises(FormatError, match="attachment: got check sum"):
        McapFile(path)
    path.write_bytes(whole)
    # The attachment's name stands again in the summary's index.
    flip(path, whole.rindex(b"map.bin"))
    with pytest.raises(FormatError, match="summary: got check sum"):
        McapFile(path)


@pytest.mark.parametrize("way", ["zstd", "no chunks"])
def test_cut_file_is_refused_wherever_it_is_cut_and_the_way_out_is_named(tmp_path, way):
    path = write(tmp_path, **WAYS[way])
    whole = path.read_bytes()
    for cut in range(len(MAGIC), len(whole), max(1, len(whole) // 150)):
        path.write_bytes(whole[:cut])
        with pytest.raises(FormatError, match=r"did not finish it. What is whole is read with partial=true"):
            McapFile(path)


def test_what_is_whole_of_an_unfinished_file_is_read_when_asked_for(tmp_path):
    path = write(tmp_path, chunk_size=2000)
    expected = list(McapFile(path).messages())
    starts = sorted({message.offset for message in expected})
    # Cut in the middle of the third chunk: the messages of the first two are whole.
    path.write_bytes(path.read_bytes()[: starts[2] + 100])
    file = McapFile(path, partial=True)
    assert list(file.messages()) == [m for m in expected if m.offset < starts[2]]
    assert not file.is_finished


def test_length_beyond_the_file_is_refused_before_it_is_read(tmp_path):
    path = write(tmp_path, use_chunking=False)
    data = bytearray(path.read_bytes())
    at = next(McapFile(path).messages()).offset
    data[at + 1 : at + 9] = (1 << 62).to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(FormatError, match=f"a record of {1 << 62} bytes where .* are left") as caught:
        McapFile(path)
    assert caught.value.offset == at


def test_record_that_could_not_be_held_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path)
    monkeypatch.setattr(mcap_container, "RECORD_LIMIT", 100)
    with pytest.raises(FormatError, match=r"got a record of .* bytes, expected at most 100"):
        McapFile(path)
    monkeypatch.undo()
    monkeypatch.setattr(mcap_container, "CHUNK_LIMIT", 100)
    with pytest.raises(FormatError, match="bytes to unpack to, expected at most 100"):
        list(McapFile(path).messages())


@pytest.mark.parametrize(("name", "pack"), [("zstd", zstandard.compress), ("lz4", lz4.frame.compress)])
def test_unpacking_stops_one_byte_beyond_what_was_promised(name, pack):
    packed = pack(bytes(10_000_000))
    assert len(unpack(packed, name, 1000)) == 1001
    assert unpack(packed, name, 10_000_000) == bytes(10_000_000)
    with pytest.raises((ValueError, RuntimeError, EOFError)):
        unpack(b"not a frame", name, 1000)


def test_chunk_that_is_not_what_it_says_is_refused(tmp_path):
    path = write(tmp_path, enable_crcs=False)
    data, at = bytearray(path.read_bytes()), next(McapFile(path).messages()).offset
    # A chunk record: kind, length, two times, then its size when unpacked.
    size = int.from_bytes(data[at + 25 : at + 33], "little")
    for wrong, message in (
        (size - 1, f"got {size} bytes when unpacked"),
        (size + 1, f"got {size} bytes when unpacked"),
    ):
        data[at + 25 : at + 33] = wrong.to_bytes(8, "little")
        path.write_bytes(data)
        with pytest.raises(FormatError, match=message):
            list(McapFile(path).messages())
    data[at + 25 : at + 33] = size.to_bytes(8, "little")
    path.write_bytes(bytes(data).replace(b"zstd", b"lz5_"))
    with pytest.raises(FormatError, match="got compression 'lz5_', expected 'lz4', 'zstd' or none"):
        list(McapFile(path).messages())


def test_message_of_a_channel_that_nobody_described_is_refused(tmp_path):
    path = write(tmp_path, use_chunking=False, enable_crcs=False)
    at = next(McapFile(path).messages()).offset
    flip(path, at + 9, 0x80)
    with pytest.raises(FormatError, match=r"got a message of channel \d+, which was not described") as caught:
        list(McapFile(path).messages())
    assert caught.value.offset == at


def test_what_is_not_mcap_is_refused(tmp_path):
    (tmp_path / "log.mcap").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(FormatError, match="got no MCAP magic"):
        McapFile(tmp_path / "log.mcap")
    with pytest.raises(ReaderError, match="cannot be read"):
        McapFile(tmp_path / "nothing.mcap")
