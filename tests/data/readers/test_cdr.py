"""Decoding by layouts gives what ``rosbags`` gives message by message; damaged messages are refused by row."""

import numpy as np
import pytest
from logs.ros2 import STORE, header, messages, ros

from genba.data.readers.cdr import CdrDecoder
from genba.data.readers.message_batches import MessageError
from genba.data.readers.ros_definitions import DefinitionError, parse_definition, standard_definition
from genba.errors import ReaderError

EVERYTHING = """
bool a
byte b
char c
int8 d
uint8 e
int16 f
uint16 g
int32 h
uint32 i
int64 j
uint64 k
float32 l
float64 m
string text
float64[3] fixed
float32[] open
uint8[<=4] bounded
string[] texts
Inner[2] inners
Inner[] more
Empty nothing
float64 last
================================================================================
MSG: my_msgs/Inner
uint8 tag
float64 value
string[<=2] labels
================================================================================
MSG: my_msgs/Empty
"""


@pytest.fixture(scope="module")
def everything():
    """A store that knows ``my_msgs/msg/Everything``, and how messages of it are made."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.EMPTY)
    store.register(
        get_types_from_msg(
            EVERYTHING.replace("MSG: my_msgs/Empty\n", "MSG: my_msgs/Empty\nuint8 dummy\n"), "my_msgs/msg/Everything"
        )
    )

    def make(rng):
        inner, empty = store.types["my_msgs/msg/Inner"], store.types["my_msgs/msg/Empty"]

        def inners(count):
            return [
                inner(
                    tag=int(rng.integers(256)),
                    value=float(rng.normal()),
                    labels=["x" * int(rng.integers(3))] * int(rng.integers(3)),
                )
                for _ in range(count)
            ]

        limits = {
            name: np.iinfo(name) for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
        }
        integer = {name: int(rng.integers(i.min, i.max, endpoint=True, dtype=name)) for name, i in limits.items()}
        return store.types["my_msgs/msg/Everything"](
            a=bool(rng.integers(2)), b=integer["uint8"] // 2, c=integer["uint8"] // 2, d=integer["int8"], e=integer["uint8"],
            f=integer["int16"], g=integer["uint16"], h=integer["int32"], i=integer["uint32"], j=integer["int64"],
            k=integer["uint64"], l=float(np.float32(rng.normal())), m=float(rng.normal()),
            text="é" * int(rng.integers(4)), fixed=rng.normal(size=3), open=rng.normal(size=rng.integers(3)).astype(np.float32),
            bounded=rng.integers(0, 256, rng.integers(5)).astype(np.uint8), texts=["ab", ""][: rng.integers(3)],
            inners=inners(2), more=inners(int(rng.integers(3))), nothing=empty(dummy=0), last=float(rng.normal()),
        )  # fmt: skip

    return store, make


def leaves(message, path=""):
    """Flatten a message of rosbags: path -> number, array or text."""
    out = {}
    for name in message.__dataclass_fields__.keys() - {"__msgtype__"}:
        value, here = getattr(message, name), f"{path}.{name}" if path else name
        if hasattr(value, "__dataclass_fields__"):
            out |= leaves(value, here)
        elif isinstance(value, list):
            for i, item in enumerate(value):
                out |= {f"{here}[{i}]": item} if isinstance(item, str) else leaves(item, f"{here}[{i}]")
        else:
            out[here] = value
    return out


@pytest.mark.parametrize("little_endian", [True, False])
def test_every_type_decodes_as_rosbags_decodes_it(everything, little_endian):
    store, make = everything
    rng = np.random.default_rng(0)
    sent = [make(rng) for _ in range(200)]
    blobs = [bytes(store.serialize_cdr(m, m.__msgtype__, little_endian=little_endian)) for m in sent]
    decoder = CdrDecoder(parse_definition("my_msgs/Everything", EVERYTHING, "ros2msg"), lambda path: path == "text")
    rows, compared = [], 0
    for batch in decoder.decode(blobs):
        for at, row in enumerate(batch.rows.tolist()):
            expected = leaves(store.deserialize_cdr(blobs[row], "my_msgs/msg/Everything"))
            expected.pop("nothing.dummy")
            texts = {path for path, value in expected.items() if isinstance(value, str)}
            arrays = {p for p, v in expected.items() if isinstance(v, np.ndarray)}
            assert batch.texts == {"text": expected["text"]}
            assert set(batch.unheld) == texts - {"text"}
            assert set(batch.numbers) == {p for p in set(expected) - texts if p not in arrays or len(expected[p])}
            for path, values in batch.numbers.items():
                np.testing.assert_array_equal(values[at], expected[path], err_msg=path)
                compared += 1
            rows.append(row)
    assert sorted(rows) == list(range(200))
    assert compared > 200 * 18


def test_messages_that_agree_come_in_one_batch_and_others_in_their_own():
    def joints(*names):
        state = ros(
            "sensor_msgs/JointState", header=header(5), name=list(names), position=np.arange(2.0),
            velocity=np.zeros(0), effort=np.zeros(0),
        )  # fmt: skip
        return bytes(STORE.serialize_cdr(state, "sensor_msgs/msg/JointState"))

    decoder = CdrDecoder(standard_definition("sensor_msgs/JointState"), lambda path: path.startswith("name"))
    blobs = [joints("ab", "cd"), joints("cd", "ab"), joints("ab", "cd"), joints("abcd", "")]
    batches = list(decoder.decode(blobs))
    assert sorted(batch.rows.tolist() for batch in batches) == [[0, 2], [1], [3]]
    assert {tuple(b.texts.values()) for b in batches} == {("ab", "cd"), ("cd", "ab"), ("abcd", "")}


def test_second_version_of_cdr_aligns_eight_bytes_to_four():
    # float32 1.0, then float64 2.0: version 1 has 4 bytes of padding between them, version 2 none.
    definition = parse_definition("a/B", "float32 x\nfloat64 y\n", "ros2msg")
    one = b"\x00\x01\x00\x00" + np.float32(1).tobytes() + bytes(4) + np.float64(2).tobytes()
    two = b"\x00\x07\x00\x00" + np.float32(1).tobytes() + np.float64(2).tobytes()
    for blob in (one, two):
        (batch,) = CdrDecoder(definition, lambda path: False).decode([blob])
        assert (float(batch.numbers["x"][0]), float(batch.numbers["y"][0])) == (1.0, 2.0)


def test_idl_gives_the_tree_that_msg_gives():
    idl = """================================================================================
IDL: a/msg/B
module a { module msg { struct C { double x; sequence<float, 3> y; }; struct B { a::msg::C c; string s; octet o; }; }; };
"""
    msg = "C c\nstring s\nbyte o\n================\nMSG: a/C\nfloat64 x\nfloat32[<=3] y\n"
    assert parse_definition("a/msg/B", idl, "ros2idl") == parse_definition("a/B", msg, "ros2msg")


def test_standard_messages_are_known_by_name_and_others_refused():
    assert dict(standard_definition("std_msgs/msg/Header").fields).keys() == {"stamp", "frame_id"}
    with pytest.raises(DefinitionError, match="no definition of my_msgs/msg/Pump"):
        standard_definition("my_msgs/Pump")
    with pytest.raises(ReaderError, match="no ROS 2 distribution 'hamble'; did you mean 'humble'"):
        standard_definition("std_msgs/Header", "hamble")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A a\n===\nMSG: p/A\nB b\n===\nMSG: p/B\nA a\n", "nested more than 32 deep, or that contain themselves"),
        ("wstring s\n", "no definition of p/msg/wstring"),
        ("float64 1x\n", "not a ros2msg definition"),
        ("\x00\xff", "not a ros2msg definition"),
    ],
)
def test_definition_that_cannot_be_used_is_refused(text, message):
    with pytest.raises(DefinitionError, match=message):
        parse_definition("p/M", text, "ros2msg")


def test_damaged_messages_are_refused_by_row():
    definition = standard_definition("sensor_msgs/Imu")
    good = next(
        bytes(STORE.serialize_cdr(m, "sensor_msgs/msg/Imu")) for topic, _, m in messages(num=1) if topic == "/imu"
    )
    # The frame's length stands after head (4), sec (4) and nanosec (4).
    huge = good[:12] + b"\xff\xff\xff\x7f" + good[16:]
    for blob, message in (
        (good[:-8], r"linear_acceleration_covariance: got 64 bytes left in the message, expected 72"),
        (good + bytes(4), "expected .* as its definition and lengths say"),
        (b"\x00\x03" + good[2:], "got encapsulation 0003, expected plain CDR"),
        (huge, "header.frame_id: got .* expected 2147483647"),
        (b"\x00", "got 1 bytes, expected at least 4"),
    ):
        with pytest.raises(MessageError, match=message) as caught:
            list(CdrDecoder(definition, lambda path: False).decode([good, blob]))
        assert caught.value.row == 1


def test_sequence_that_announces_more_than_is_there_is_refused_at_once():
    definition = standard_definition("tf2_msgs/TFMessage")
    with pytest.raises(MessageError, match="transforms: got 4294967295 items where 0 bytes are left"):
        list(CdrDecoder(definition, lambda path: False).decode([b"\x00\x01\x00\x00\xff\xff\xff\xff"]))
