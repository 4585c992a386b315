"""What says yes and no, branch by branch, just inside and just outside each limit."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from genba.trust.sandbox.decide import (
    MAX_ADDRESS_BYTES,
    Decision,
    FileIdentity,
    SocketFacts,
    decide_accept,
    decide_bind,
    decide_call,
    decide_connect,
    decide_listen,
    decide_unix_bind,
    decide_unix_connect,
    unix_path,
)
from genba.trust.sandbox.policy import Endpoint, PathRule, Policy
from genba.trust.sandbox.syscalls import REFUSED

OWN = Policy(has_own_ports=True)
TCP = SocketFacts(family=2, type=1, protocol=6)
TCP6 = SocketFacts(family=10, type=1, protocol=6)
UNIX = SocketFacts(family=1, type=1, protocol=0)
NETLINK = SocketFacts(family=16, type=3, protocol=0)

SITE = Endpoint(host="site-a", low_port=9000, high_port=9010, source="agreement A", addresses=("10.1.0.5", "fd00::5"))
POLICY = Policy(
    endpoints=(Endpoint(host="10.1.0.4", low_port=443, high_port=443, source="site", addresses=("10.1.0.4",)), SITE),
    binds=(
        Endpoint(host="127.0.0.1", low_port=0, high_port=0, source="picked", addresses=("127.0.0.1",)),
        Endpoint(host="127.0.0.1", low_port=29500, high_port=29501, source="ranks", addresses=("127.0.0.1",)),
        Endpoint(host="::", low_port=29400, high_port=29400, source="store", addresses=("::",)),
    ),
    writable=(PathRule(path="/data/out", source="command line"),),
)


def v4(host: str, port: int, family: int = 2) -> bytes:
    """A ``struct sockaddr_in``: family in host order, port in network order, address, eight bytes of nothing."""
    return struct.pack("<H", family) + struct.pack(">H", port) + socket.inet_aton(host) + bytes(8)


def v6(host: str, port: int, *, flow: int = 0, scope: int = 0) -> bytes:
    """A ``struct sockaddr_in6``: family, port, flow, address, scope."""
    head = struct.pack("<H", 10) + struct.pack(">HI", port, flow)
    return head + socket.inet_pton(socket.AF_INET6, host) + struct.pack("<I", scope)


@pytest.mark.parametrize(
    ("raw", "source"),
    [
        (v4("10.1.0.4", 443), "site"),
        (v4("10.1.0.5", 9000), "agreement A"),
        (v4("10.1.0.5", 9010), "agreement A"),
        (v4("10.1.0.5", 9005) + bytes(12), "agreement A"),
    ],
)
def test_allowed_endpoint_is_connected_by_an_address_made_from_the_decision(raw: bytes, source: str):
    said = decide_connect(POLICY, TCP, raw)
    assert said.is_allowed
    assert f"({source})" in said.reason
    assert said.raw == raw[:16]
    assert said.error == 0


@pytest.mark.parametrize(
    "raw",
    [
        v4("10.1.0.5", 8999),
        v4("10.1.0.5", 9011),
        v4("10.1.0.4", 442),
        v4("10.1.0.4", 444),
        v4("10.1.0.4", 9000),
        v4("10.1.0.3", 443),
        v4("0.0.0.0", 443),
        v4("127.0.0.1", 29500),
    ],
)
def test_address_beside_the_allowed_ones_is_refused_by_its_name(raw: bytes):
    said = decide_connect(POLICY, TCP, raw)
    host, port = socket.inet_ntoa(raw[4:8]), struct.unpack(">H", raw[2:4])[0]
    assert said == Decision(
        is_allowed=False, reason="not an allowed endpoint", address=f"{host}:{port}", error=errno.EACCES
    )


def test_ipv6_endpoint_is_allowed_and_its_flow_and_scope_are_not_passed_on():
    said = decide_connect(POLICY, TCP6, v6("fd00::5", 9000, flow=7, scope=3))
    assert said.is_allowed
    assert said.address == "[fd00::5]:9000"
    assert said.raw == v6("fd00::5", 9000)


def test_ipv6_address_without_a_scope_is_long_enough_and_one_byte_less_is_not():
    # RFC 2133 had no scope: 2 + 2 + 4 + 16 = 24 bytes.
    assert decide_connect(POLICY, TCP6, v6("fd00::5", 9000)[:24]).is_allowed
    said = decide_connect(POLICY, TCP6, v6("fd00::5", 9000)[:23])
    assert (said.is_allowed, said.error, said.address) == (False, errno.EINVAL, "23 bytes")


def test_ipv4_address_inside_ipv6_is_judged_as_ipv4():
    said = decide_connect(POLICY, TCP6, v6("::ffff:10.1.0.5", 9001))
    assert said.is_allowed
    assert said.address == "10.1.0.5:9001"
    assert said.raw == v6("::ffff:10.1.0.5", 9001)
    assert not decide_connect(POLICY, TCP6, v6("::ffff:10.1.0.6", 9001)).is_allowed
    # The deprecated form without ffff is another address.
    assert not decide_connect(POLICY, TCP6, v6("::10.1.0.5", 9001)).is_allowed


def test_longest_address_is_the_kernels():
    # sizeof(struct sockaddr_storage)
    assert MAX_ADDRESS_BYTES == 128


def test_ipv4_address_of_fifteen_bytes_is_too_short():
    said = decide_connect(POLICY, TCP, v4("10.1.0.4", 443)[:15])
    assert (said.is_allowed, said.error, said.reason) == (False, errno.EINVAL, "too short for an address")


@pytest.mark.parametrize("raw", [b"", b"\x02"])
def test_address_without_a_family_is_too_short(raw: bytes):
    said = decide_connect(POLICY, TCP, raw)
    assert (said.is_allowed, said.error, said.address) == (False, errno.EINVAL, f"{len(raw)} bytes")


@pytest.mark.parametrize(
    ("facts", "raw"), [(TCP6, v4("10.1.0.4", 443)), (TCP, v6("fd00::5", 9000)), (TCP, bytes(16)), (TCP, b"\x0a\0")]
)
def test_address_of_another_family_is_refused_so_nothing_is_disconnected_or_reread(facts: SocketFacts, raw: bytes):
    said = decide_connect(POLICY, facts, raw)
    assert (said.is_allowed, said.error) == (False, errno.EAFNOSUPPORT)
    assert f"family {struct.unpack('<H', raw[:2])[0]} on a socket of family {facts.family}" in said.reason


@pytest.mark.parametrize(
    "facts",
    [
        SocketFacts(family=2, type=2, protocol=17),
        SocketFacts(family=2, type=1, protocol=262),
        SocketFacts(family=2, type=5, protocol=6),
        SocketFacts(family=40, type=1, protocol=6),
        NETLINK,
    ],
)
@pytest.mark.parametrize("decide", [decide_connect, decide_listen])
def test_socket_that_is_not_tcp_is_refused_even_to_an_allowed_address(facts: SocketFacts, decide):
    said = decide(POLICY, facts, v4("10.1.0.4", 443, facts.family))
    assert (said.is_allowed, said.error, said.reason) == (False, errno.EPERM, "not a TCP socket")
    assert said.address == f"family {facts.family} type {facts.type} protocol {facts.protocol}"


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 0), ("127.0.0.1", 29500), ("127.0.0.1", 29501)])
def test_listed_address_may_be_bound(host: str, port: int):
    said = decide_bind(POLICY, TCP, v4(host, port))
    assert said.is_allowed
    assert said.raw == v4(host, port)
    assert ("picked" if port == 0 else "ranks") in said.reason


@pytest.mark.parametrize(
    ("host", "port"), [("127.0.0.1", 29499), ("127.0.0.1", 29502), ("0.0.0.0", 29500), ("10.1.0.4", 443)]
)
def test_other_address_may_not_be_bound(host: str, port: int):
    said = decide_bind(POLICY, TCP, v4(host, port))
    assert (said.is_allowed, said.error, said.address) == (False, errno.EACCES, f"{host}:{port}")
    assert said.reason == "not an allowed address to listen on"


def test_every_address_may_be_bound_where_it_is_listed_as_such():
    assert decide_bind(POLICY, TCP6, v6("::", 29400)).is_allowed
    assert not decide_bind(POLICY, TCP6, v6("::", 29401)).is_allowed
    # The IPv4 form of "every address" is another one, and not listed.
    assert not decide_bind(POLICY, TCP, v4("0.0.0.0", 29400)).is_allowed


def test_bind_that_cannot_be_read_is_refused():
    assert decide_bind(POLICY, TCP, b"\x02").error == errno.EINVAL


def test_list_of_interfaces_may_be_bound_and_other_netlink_not():
    raw = struct.pack("<HHII", 16, 0, 0, 0)
    assert decide_bind(POLICY, NETLINK, raw) == Decision(
        is_allowed=True, reason="reads the kernel's list of interfaces", address="netlink", raw=raw
    )
    assert not decide_bind(POLICY, SocketFacts(family=16, type=3, protocol=4), raw).is_allowed


@pytest.mark.parametrize(("port", "source"), [(29500, "ranks"), (41234, "picked")])
def test_bound_socket_may_listen_also_on_a_port_that_the_kernel_picked(port: int, source: str):
    # 41234 is in no rule, but one lets the kernel pick.
    said = decide_listen(POLICY, TCP, v4("127.0.0.1", port))
    assert said.is_allowed
    assert said.address == f"127.0.0.1:{port}"
    # The first rule that fits is named; the one that lets the kernel pick stands first.
    assert "picked" in said.reason
    only_ranks = Policy(binds=POLICY.binds[1:])
    assert decide_listen(only_ranks, TCP, v4("127.0.0.1", port)).is_allowed == (source == "ranks")


@pytest.mark.parametrize("port", [29499, 29502])
def test_port_beside_the_rule_may_not_be_listened_on(port: int):
    said = decide_listen(Policy(binds=POLICY.binds[1:]), TCP, v4("127.0.0.1", port))
    assert (said.is_allowed, said.error) == (False, errno.EACCES)
    assert said.reason == "not an allowed address to listen on"


@pytest.mark.parametrize("port", [29500, 29501])
def test_first_and_last_port_of_a_rule_may_be_listened_on(port: int):
    assert decide_listen(Policy(binds=POLICY.binds[1:]), TCP, v4("127.0.0.1", port)).is_allowed


def test_socket_without_an_address_may_not_listen():
    anywhere = Policy(
        binds=(Endpoint(host="0.0.0.0", low_port=0, high_port=65535, source="x", addresses=("0.0.0.0",)),)
    )
    said = decide_listen(anywhere, TCP, v4("0.0.0.0", 0))
    assert not said.is_allowed
    assert "bind it first" in said.reason
    assert decide_listen(anywhere, TCP, v4("0.0.0.0", 1)).is_allowed


def test_unix_socket_may_listen_where_its_bind_was_allowed():
    assert decide_listen(POLICY, UNIX, b"\x01\x00/data/out/s\0").is_allowed


@pytest.mark.parametrize(
    ("facts", "peer", "is_allowed"),
    [
        (TCP, v4("10.1.0.4", 50000), True),
        (TCP, v4("127.0.0.1", 50000), True),
        (TCP, v4("10.1.0.6", 443), False),
        (TCP6, v6("fd00::5", 1), True),
        (TCP6, v6("::ffff:10.1.0.5", 1), True),
        (TCP6, v6("::ffff:10.1.0.6", 1), False),
        (TCP6, v6("::", 1), False),
    ],
)
def test_connection_comes_in_from_an_endpoint_at_any_of_its_ports(facts: SocketFacts, peer: bytes, is_allowed: bool):
    said = decide_accept(POLICY, facts, peer)
    assert said.is_allowed == is_allowed
    assert said.reason == ("comes from an allowed endpoint" if is_allowed else "not the address of an allowed endpoint")
    assert said.address.endswith(f":{struct.unpack('>H', peer[2:4])[0]}")


def test_connection_by_a_unix_socket_comes_in_and_an_unreadable_one_does_not():
    assert decide_accept(POLICY, UNIX, b"").is_allowed
    assert decide_accept(POLICY, TCP, b"").error == errno.EINVAL


@pytest.mark.parametrize("kind", [1, 5])
def test_path_of_a_unix_address_ends_at_its_zero(kind: int):
    facts = SocketFacts(family=1, type=kind, protocol=0)
    assert unix_path(facts, b"\x01\x00/run/a\0garbage") == "/run/a"
    assert unix_path(facts, b"\x01\x00relative") == "relative"


def test_path_that_is_no_utf8_keeps_its_bytes():
    path = unix_path(UNIX, b"\x01\x00/\xff")
    assert isinstance(path, str)
    assert path.encode("utf-8", "surrogateescape") == b"/\xff"


@pytest.mark.parametrize("raw", [b"\x01\x00", b"\x01\x00\0name\xff", b"\x01\x00\0"])
def test_abstract_and_absent_names_are_refused(raw: bytes):
    said = unix_path(UNIX, raw)
    assert isinstance(said, Decision)
    assert (said.is_allowed, said.error) == (False, errno.EACCES)
    assert "abstract" in said.reason
    assert said.address == "unix:@" + raw[3:].decode("utf-8", "backslashreplace")


@pytest.mark.parametrize("raw", [b"", b"\x01", b"\x02\x00/run/a"])
def test_address_that_is_not_of_a_unix_socket_is_refused(raw: bytes):
    said = unix_path(UNIX, raw)
    assert isinstance(said, Decision)
    assert (said.is_allowed, said.error) == (False, errno.EINVAL)


def test_datagram_socket_of_unix_is_refused_whatever_its_address():
    said = unix_path(SocketFacts(family=1, type=2, protocol=0), b"\x01\x00/run/a")
    assert isinstance(said, Decision)
    assert not said.is_allowed
    assert "type 2" in said.reason


def test_unix_connect_goes_by_the_file_and_not_by_its_name():
    mine, service, other = (FileIdentity(device=1, inode=one) for one in (10, 20, 30))
    listed = [(PathRule(path="/run/broker", source="agreement A"), service)]
    own = decide_unix_connect("/x", mine, [mine], listed)
    assert (own.is_allowed, own.reason) == (True, "a socket of this command")
    said = decide_unix_connect("/x", service, [mine], listed)
    assert said.is_allowed
    assert said.reason == "socket /run/broker (agreement A)"
    # Named like the listed one, but another file.
    refused = decide_unix_connect("/run/broker", other, [mine], listed)
    assert (refused.is_allowed, refused.error, refused.address) == (False, errno.EACCES, "unix:/run/broker")
    # The same inode number of another file system is another file.
    assert not decide_unix_connect("/x", FileIdentity(device=2, inode=20), [], listed).is_allowed


@pytest.mark.parametrize(
    ("folder", "is_allowed"),
    [("/data/out", True), ("/data/out/a/b", True), ("/data/outside", False), ("/data", False), ("/", False)],
)
def test_unix_socket_may_be_made_beneath_a_writable_folder_only(folder: str, is_allowed: bool):
    said = decide_unix_bind(POLICY, "whatever", folder)
    assert said.is_allowed == is_allowed
    assert said.address == "unix:whatever"
    assert ("(command line)" in said.reason) == is_allowed


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused_call_says_why(name: str):
    said = decide_call(name, (0,) * 6)
    assert said == Decision(is_allowed=False, reason=REFUSED[name], error=errno.EPERM)


@pytest.mark.parametrize(
    ("name", "arguments", "reason", "address"),
    [
        ("socket", (2 | 1 << 32, 2 | 0x80800, 17), "only TCP", "family 2 type 2 protocol 17"),
        ("socketpair", (1, 2, 0), "only TCP", "family 1 type 2 protocol 0"),
        ("sendto", (3, 0, 0, 0x20000000), "MSG_FASTOPEN", ""),
        ("sendmsg", (3, 0, 0x20000000), "MSG_FASTOPEN", ""),
        ("sendmmsg", (3, 0, 1, 0x20000000), "MSG_FASTOPEN", ""),
        ("setsockopt", (3, 0, 4), "IP_OPTIONS", "level 0 option 4"),
        ("setsockopt", (3, 41, 57), "IPv6 extension headers", "level 41 option 57"),
        ("setsockopt", (3, 0, 5), "not understood", "level 0 option 5"),
        ("ioctl", (3, 0x5412 | 1 << 32), "TIOCSTI", "request 0x5412"),
        ("ioctl", (3, 1), "not understood", "request 0x1"),
        ("clone", (0x10000011,), "makes a namespace", "flags 0x10000011"),
        ("prlimit64", (77,), "limits of another process", "process 77"),
        ("x32 system call 41", (), "not understood", ""),
        ("system call 999", (0,), "not understood", ""),
    ],
)
def test_call_refused_for_its_arguments_says_which(name: str, arguments: tuple[int, ...], reason: str, address: str):
    said = decide_call(name, arguments)
    assert not said.is_allowed
    assert said.reason.startswith(reason)
    assert said.address == address
    assert said.error == errno.EPERM


@pytest.mark.parametrize(("facts", "raw"), [(TCP, v4("127.0.0.1", 4000)), (TCP6, v6("::1", 4000))])
def test_command_may_reach_the_ports_that_it_alone_listens_on(facts: SocketFacts, raw: bytes):
    said = decide_connect(OWN, facts, raw, lambda port: port == 4000)
    assert said.is_allowed
    assert said.reason == "a port that this command listens on"
    assert said.raw[: len(raw)] == raw
    # A port that others listen on, one that nobody does, and a policy that says nothing of own ports.
    assert decide_connect(OWN, facts, raw, lambda _: False).error == errno.EACCES
    waiting = decide_connect(OWN, facts, raw, lambda _: None)
    assert (waiting.is_allowed, waiting.error) == (False, errno.ECONNREFUSED)
    assert decide_connect(Policy(), facts, raw, lambda _: True).error == errno.EACCES


@pytest.mark.parametrize("host", ["127.0.0.2", "10.1.0.4", "0.0.0.0"])
def test_own_ports_are_those_at_the_loopback_address_alone(host: str):
    assert decide_connect(OWN, TCP, v4(host, 4000), lambda _: True).error == errno.EACCES


@pytest.mark.parametrize("port", [0, 4000])
def test_command_may_listen_for_itself_on_loopback_and_everywhere_and_nowhere_else(port: int):
    for facts, raw in ((TCP, v4("127.0.0.1", port)), (TCP, v4("0.0.0.0", port)), (TCP6, v6("::", port))):
        said = decide_bind(OWN, facts, raw)
        assert (said.is_allowed, said.reason) == (True, "for processes of this command")
        assert not decide_bind(Policy(), facts, raw).is_allowed
        if port:
            assert decide_listen(OWN, facts, raw).is_allowed
            assert not decide_listen(Policy(), facts, raw).is_allowed
    for host in ("127.0.0.2", "10.1.0.4"):
        assert not decide_bind(OWN, TCP, v4(host, port)).is_allowed
        assert not decide_listen(OWN, TCP, v4(host, 4000)).is_allowed


def test_who_comes_in_to_an_own_port_comes_from_this_host_or_an_allowed_endpoint():
    assert decide_accept(OWN, TCP, v4("127.0.0.1", 5000)).is_allowed
    assert decide_accept(OWN, TCP6, v6("::1", 5000)).is_allowed
    assert not decide_accept(OWN, TCP, v4("127.0.0.2", 5000)).is_allowed
    assert not decide_accept(OWN, TCP, v4("10.1.0.4", 5000)).is_allowed
    assert not decide_accept(Policy(), TCP, v4("127.0.0.1", 5000)).is_allowed


def test_what_an_agreement_names_is_decided_by_it_also_where_own_ports_are_allowed():
    named = Endpoint(host="127.0.0.1", low_port=7000, high_port=7000, source="agreement B", addresses=("127.0.0.1",))
    both, raw = Policy(has_own_ports=True, endpoints=(named,), binds=(named,)), v4("127.0.0.1", 7000)
    # Nobody of this command listens there: what the agreement names is a service of its own.
    for is_own in (None, True, False):
        said = decide_connect(both, TCP, raw, lambda _, is_own=is_own: is_own)
        assert (said.is_allowed, "(agreement B)" in said.reason) == (True, True)
    for decide in (decide_bind, decide_listen):
        said = decide(both, TCP, raw)
        assert (said.is_allowed, "(agreement B)" in said.reason) == (True, True)
