"""What says yes and no: pure functions from a policy, the facts of a socket and an address to a decision.

They read no memory, open no file and make no call, so every branch is tested without a kernel. An address that is let
through is built anew from what was decided on; the caller's own bytes are never passed on.

Source: ``struct sockaddr_in``, ``sockaddr_in6``, ``sockaddr_un`` (``include/uapi/linux/in.h``, ``in6.h``, ``un.h``).
Read next: ``supervisor``, which asks and acts.
"""

from __future__ import annotations

import errno
import ipaddress
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from genba.trust.sandbox.bpf import (
    AF_INET,
    AF_INET6,
    AF_NETLINK,
    AF_UNIX,
    IPPROTO_TCP,
    NETLINK_ROUTE,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    SOCKET_OPTIONS,
    TERMINAL_REQUESTS,
)
from genba.trust.sandbox.policy import LOOPBACK, Endpoint, PathRule, Policy, is_beneath
from genba.trust.sandbox.syscalls import REFUSED

#: The longest address that the kernel takes (``struct sockaddr_storage``), in bytes.
MAX_ADDRESS_BYTES = 128

#: Where a command may listen for itself: on loopback, or, as torch's store does, everywhere; who comes in, ``accept`` decides.
_FOR_ITSELF = (*LOOPBACK, "0.0.0.0", "::")
_OWN_PORT, _FOR_OWN_PORT = "a port that this command listens on", "for processes of this command"

_FAMILY = struct.Struct("<H")
_INET = struct.Struct("<HH4s8x")
_INET6 = struct.Struct("<HHI16sI")
#: What the kernel takes as an IPv6 address at least: without the scope. Source: SIN6_LEN_RFC2133.
_INET6_LEAST_BYTES = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class SocketFacts:
    """What a socket really is, as the kernel says of the socket itself."""

    family: int
    """SO_DOMAIN."""
    type: int
    """SO_TYPE."""
    protocol: int
    """SO_PROTOCOL."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """One answer, with what the log says about it."""

    is_allowed: bool
    """Whether the call is made."""
    reason: str
    """Why, in words; names the permission's source where it is allowed."""
    address: str = ""
    """What was asked for, readable."""
    raw: bytes = b""
    """The address to use, built from what was decided on; empty where none is."""
    error: int = 0
    """The errno that a refused call fails with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileIdentity:
    """One file, whatever its name."""

    device: int
    """Of the file system."""
    inode: int
    """In it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Host:
    address: str
    port: int
    raw: bytes

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def decide_connect(
    policy: Policy, facts: SocketFacts, raw: bytes, is_own_port: Callable[[int], bool | None] = lambda _: False
) -> Decision:
    """Decide whether a socket may connect to a raw address.

    Unix sockets need to be found first: ``decide_unix_connect``.

    Args:
        policy: what may be reached.
        facts: the socket.
        raw: the address.
        is_own_port: whether this command, and nobody else, listens on a port of this host; None where nobody does.
    """
    found = _host(facts, raw)
    if isinstance(found, Decision):
        return found
    rule = _match(policy.endpoints, found.address, lambda one: one.low_port <= found.port <= one.high_port)
    if rule is None and policy.has_own_ports and found.address in LOOPBACK:
        is_own = is_own_port(found.port)
        if is_own:
            return Decision(is_allowed=True, reason=_OWN_PORT, address=str(found), raw=found.raw)
        if is_own is None:
            # The kernel's own answer: whoever waits for a process of this command to listen tries again.
            return _refuse("nobody listens on this port", str(found), errno.ECONNREFUSED)
    if rule is None:
        return _refuse("not an allowed endpoint", str(found))
    return Decision(is_allowed=True, reason=f"endpoint {rule} ({rule.source})", address=str(found), raw=found.raw)


def decide_bind(policy: Policy, facts: SocketFacts, raw: bytes) -> Decision:
    """Decide whether a socket may take a raw address of this host; paths need ``decide_unix_bind``."""
    if facts == SocketFacts(family=AF_NETLINK, type=facts.type, protocol=NETLINK_ROUTE):
        return Decision(is_allowed=True, reason="reads the kernel's list of interfaces", address="netlink", raw=raw)
    found = _host(facts, raw)
    if isinstance(found, Decision):
        return found
    rule = _match(policy.binds, found.address, lambda one: one.low_port <= found.port <= one.high_port)
    if rule is None and policy.has_own_ports and found.address in _FOR_ITSELF:
        return Decision(is_allowed=True, reason=_FOR_OWN_PORT, address=str(found), raw=found.raw)
    if rule is None:
        return _refuse("not an allowed address to listen on", str(found))
    return Decision(is_allowed=True, reason=f"bind {rule} ({rule.source})", address=str(found), raw=found.raw)


def decide_listen(policy: Policy, facts: SocketFacts, local: bytes) -> Decision:
    """Decide whether a socket whose own address is ``local`` may accept connections.

    A socket without an address would listen on every one that the host has. A port that the kernel picked passes where
    the rule lets it pick.
    """
    if facts.family == AF_UNIX:
        return Decision(is_allowed=True, reason="its address was decided when it was bound", address="unix")
    found = _host(facts, local)
    if isinstance(found, Decision):
        return found
    if found.port == 0:
        return _refuse("would listen on every address of this host; bind it first", str(found))
    rule = _match(
        policy.binds,
        found.address,
        lambda one: one.low_port == 0 or one.low_port <= found.port <= one.high_port,
    )
    if rule is None and policy.has_own_ports and found.address in _FOR_ITSELF:
        return Decision(is_allowed=True, reason=_FOR_OWN_PORT, address=str(found))
    if rule is None:
        return _refuse("not an allowed address to listen on", str(found))
    return Decision(is_allowed=True, reason=f"bind {rule} ({rule.source})", address=str(found))


def decide_accept(policy: Policy, facts: SocketFacts, peer: bytes) -> Decision:
    """Decide whether a connection from the raw address ``peer`` may come in through a socket that listens."""
    if facts.family == AF_UNIX:
        return Decision(is_allowed=True, reason="came in by a socket of this command", address="unix")
    found = _host(facts, peer)
    if isinstance(found, Decision):
        return found
    if found.address not in policy.peers():
        return _refuse("not the address of an allowed endpoint", str(found))
    return Decision(is_allowed=True, reason="comes from an allowed endpoint", address=str(found))


def unix_path(facts: SocketFacts, raw: bytes) -> str | Decision:
    """Return the path of a unix socket's address, or the refusal of an address that has none."""
    if facts.type not in (SOCK_STREAM, SOCK_SEQPACKET):
        return _refuse(f"a unix socket of type {facts.type} sends to any name", "unix")
    if len(raw) < 2 or _FAMILY.unpack_from(raw)[0] != AF_UNIX:
        return _refuse("not the address of a unix socket", "unix", errno.EINVAL)
    name = raw[2:]
    if not name or name[0] == 0:
        shown = name[1:].decode("utf-8", "backslashreplace")
        return _refuse("abstract names are open to every process of this host", f"unix:@{shown}")
    return name.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def decide_unix_connect(
    path: str,
    found: FileIdentity,
    own: Iterable[FileIdentity],
    listed: Iterable[tuple[PathRule, FileIdentity]],
) -> Decision:
    """Decide whether the socket file that ``path`` led to may be connected to.

    Args:
        path: as the command wrote it.
        found: the file that it led to.
        own: socket files that this command itself made.
        listed: socket files of the policy, as they are now.
    """
    address = f"unix:{path}"
    if found in own:
        return Decision(is_allowed=True, reason="a socket of this command", address=address)
    for rule, identity in listed:
        if identity == found:
            return Decision(is_allowed=True, reason=f"socket {rule.path} ({rule.source})", address=address)
    return _refuse("not a listed socket", address)


def decide_unix_bind(policy: Policy, path: str, real_folder: str) -> Decision:
    """Decide whether a socket file may be made at ``path``, whose folder is really ``real_folder``."""
    for rule in policy.writable:
        if is_beneath(real_folder, rule.path):
            return Decision(is_allowed=True, reason=f"in {rule.path} ({rule.source})", address=f"unix:{path}")
    return _refuse("not in a folder that may be written", f"unix:{path}")


def decide_call(name: str, arguments: tuple[int, ...]) -> Decision:
    """Return the refusal of a call that the filter handed over and that is not about an address."""
    low = [one & 0xFFFFFFFF for one in arguments]
    if name in REFUSED:
        return _refuse(REFUSED[name], "", errno.EPERM)
    if name in ("socket", "socketpair"):
        kind = f"family {low[0]} type {low[1] & 0xF} protocol {low[2]}"
        return _refuse("only TCP, unix streams and the kernel's list of interfaces", kind, errno.EPERM)
    if name in ("sendto", "sendmsg", "sendmmsg"):
        return _refuse("MSG_FASTOPEN connects and sends before anybody has decided", "", errno.EPERM)
    if name == "setsockopt":
        shown = f"level {low[1]} option {low[2]}"
        return _refuse(SOCKET_OPTIONS.get((low[1], low[2]), "not understood"), shown, errno.EPERM)
    if name == "ioctl":
        return _refuse(TERMINAL_REQUESTS.get(low[1], "not understood"), f"request {low[1]:#x}", errno.EPERM)
    if name == "clone":
        return _refuse("makes a namespace", f"flags {low[0]:#x}", errno.EPERM)
    if name == "prlimit64":
        return _refuse("limits of another process", f"process {low[0]}", errno.EPERM)
    return _refuse("not understood", "", errno.EPERM)


def _host(facts: SocketFacts, raw: bytes) -> _Host | Decision:
    """Return the host and port of a raw address that fits the socket, or the refusal."""
    if facts.family not in (AF_INET, AF_INET6) or facts.type != SOCK_STREAM or facts.protocol != IPPROTO_TCP:
        return _refuse(
            "not a TCP socket", f"family {facts.family} type {facts.type} protocol {facts.protocol}", errno.EPERM
        )
    if len(raw) < _FAMILY.size:
        return _refuse("too short for an address", f"{len(raw)} bytes", errno.EINVAL)
    family = _FAMILY.unpack_from(raw)[0]
    if family != facts.family:
        return _refuse(f"an address of family {family} on a socket of family {facts.family}", "", errno.EAFNOSUPPORT)
    if len(raw) < (_INET.size if family == AF_INET else _INET6_LEAST_BYTES):
        return _refuse("too short for an address", f"{len(raw)} bytes", errno.EINVAL)
    port = int.from_bytes(raw[2:4], "big")
    if family == AF_INET:
        packed = raw[4:8]
        return _Host(
            address=str(ipaddress.IPv4Address(packed)),
            port=port,
            raw=_INET.pack(AF_INET, _FAMILY.unpack(raw[2:4])[0], packed),
        )
    packed = raw[8:24]
    parsed = ipaddress.IPv6Address(packed)
    return _Host(
        address=str(parsed.ipv4_mapped or parsed),
        port=port,
        raw=_INET6.pack(AF_INET6, _FAMILY.unpack(raw[2:4])[0], 0, packed, 0),
    )


def _match(rules: Iterable[Endpoint], address: str, has_port: Callable[[Endpoint], bool]) -> Endpoint | None:
    return next((one for one in rules if address in one.addresses and has_port(one)), None)


def _refuse(reason: str, address: str, error: int = errno.EACCES) -> Decision:
    return Decision(is_allowed=False, reason=reason, address=address, error=error)
