"""The filter over system calls that runs in the kernel, built by hand.

A filter over system calls sees numbers, not memory: it can read a protocol or a flag, never the address that a pointer
leads to. So it lets pass what is harmless by its numbers, and hands everything else to the supervisor (``USER_NOTIF``),
which reads the address and answers. It holds no list of hosts. Nothing it does not understand passes.

Source: classic BPF as in ``include/uapi/linux/filter.h``; ``struct seccomp_data`` in ``include/uapi/linux/seccomp.h``.
Read next: ``syscalls`` for the numbers, ``decide`` for what the supervisor says to each call handed to it.
"""

from __future__ import annotations

import errno
import struct

from genba.trust.sandbox.syscalls import NEWEST, REFUSED, SUPERVISED, X32_BIT, Architecture

ALLOW, USER_NOTIF, ERRNO = 0x7FFF0000, 0x7FC00000, 0x00050000

# Where struct seccomp_data keeps things; both architectures are little-endian, so the low half of an argument is first.
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

_LOAD_WORD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP_EQUAL, _JUMP_GREATER, _JUMP_ANY_BIT = 0x15, 0x25, 0x45

#: families, types and protocols. Source: include/linux/socket.h, include/linux/net.h, include/uapi/linux/in.h
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
SOCK_STREAM, SOCK_SEQPACKET, _TYPE_MASK = 1, 5, 0xF
IPPROTO_TCP, NETLINK_ROUTE = 6, 0
MSG_FASTOPEN = 0x20000000
#: clone flags that make a namespace (new mount, cgroup, UTS, IPC, user, PID, network). Source: linux/sched.h
CLONE_NEW = 0x7E020000

#: (level, option) of setsockopt that would lead packets elsewhere or undo what the supervisor set, and why
SOCKET_OPTIONS: dict[tuple[int, int], str] = {
    (0, 4): "IP_OPTIONS can route packets through a host of the sender's choice",
    **{
        (41, option): "IPv6 extension headers can route packets through a host of the sender's choice"
        for option in (3, 4, 5, 6, 54, 55, 57, 59)
    },
    (6, 23): "TCP_FASTOPEN carries data before anybody has decided",
    (6, 30): "TCP_FASTOPEN_CONNECT carries data before anybody has decided",
    (6, 31): "TCP_ULP turns the socket into another protocol",
    (1, 50): "SO_ATTACH_BPF brings code into the kernel",
    (1, 52): "SO_ATTACH_REUSEPORT_EBPF brings code into the kernel",
    (1, 83): "SO_PASSRIGHTS would let a listed service hand descriptors in",
}
#: ioctl requests that type into a terminal, so that the caller's shell runs it later
TERMINAL_REQUESTS = {0x5412: "TIOCSTI types into the caller's terminal", 0x541C: "TIOCLINUX types into a console"}

_Line = tuple[int, int | str, int | str, int]


class _Program:
    """Instructions with named places to jump to; a jump's distance is filled in at the end."""

    def __init__(self) -> None:
        self._lines: list[_Line] = []
        self._places: dict[str, int] = {}

    def add(self, code: int, value: int, if_true: int | str = 0, if_false: int | str = 0) -> None:
        self._lines.append((code, if_true, if_false, value))

    def place(self, name: str) -> None:
        self._places[name] = len(self._lines)

    def assemble(self) -> bytes:
        out = bytearray()
        for here, (code, if_true, if_false, value) in enumerate(self._lines):
            jumps = [self._places[to] - here - 1 if isinstance(to, str) else to for to in (if_true, if_false)]
            assert all(0 <= jump <= 255 for jump in jumps), f"instruction {here} jumps {jumps}"
            out += struct.pack("<HBBI", code, *jumps, value)
        return bytes(out)


def system_call_filter(architecture: Architecture) -> bytes:
    """Return the filter over system calls for one architecture, as an array of ``struct sock_filter``.

    Integer arguments are compared by their low 32 bits, as the kernel reads them: bits above are ignored there, so a
    filter that compared all 64 could be walked past.
    """
    program = _Program()
    program.add(_LOAD_WORD, _ARCHITECTURE)
    program.add(_JUMP_EQUAL, architecture.audit, 1, 0)
    program.add(_RETURN, USER_NOTIF)
    program.add(_LOAD_WORD, _NUMBER)
    if architecture.has_x32:
        program.add(_JUMP_ANY_BIT, X32_BIT, 0, 1)
        program.add(_RETURN, USER_NOTIF)
    program.add(_JUMP_GREATER, NEWEST, 0, 1)
    program.add(_RETURN, ERRNO | errno.ENOSYS)
    # A thread is made by every program; its flags lie in memory. Libraries fall back to clone, whose flags are seen.
    program.add(_JUMP_EQUAL, _known(architecture, "clone3"), 0, 1)
    program.add(_RETURN, ERRNO | errno.ENOSYS)
    for name in (*SUPERVISED, *REFUSED):
        number = architecture.number(name)
        if number is not None:
            program.add(_JUMP_EQUAL, number, 0, 1)
            program.add(_RETURN, USER_NOTIF)
    _add_socket(program, _known(architecture, "socket"))
    _add_socketpair(program, _known(architecture, "socketpair"))
    for name, argument in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
        _add_if_any_bit(program, _known(architecture, name), argument, MSG_FASTOPEN)
    _add_if_any_bit(program, _known(architecture, "clone"), 0, CLONE_NEW)
    _add_if_any_bit(program, _known(architecture, "prlimit64"), 0, 0xFFFFFFFF)
    _add_setsockopt(program, _known(architecture, "setsockopt"))
    _add_ioctl(program, _known(architecture, "ioctl"))
    program.add(_RETURN, ALLOW)
    return program.assemble()


def _known(architecture: Architecture, name: str) -> int:
    number = architecture.number(name)
    assert number is not None, f"{architecture.name} has no {name}"
    return number


def _argument(index: int) -> int:
    return _ARGUMENTS + 8 * index


def _add_if_any_bit(program: _Program, number: int, argument: int, mask: int) -> None:
    """Hand call ``number`` over where any bit of ``mask`` is set in the argument; let it pass otherwise."""
    program.add(_JUMP_EQUAL, number, 0, 4)
    program.add(_LOAD_WORD, _argument(argument))
    program.add(_JUMP_ANY_BIT, mask, 0, 1)
    program.add(_RETURN, USER_NOTIF)
    program.add(_RETURN, ALLOW)


def _add_socket(program: _Program, number: int) -> None:
    """Let streams of the three families pass, and the kernel's list of routes; hand over every other socket."""
    program.add(_JUMP_EQUAL, number, 0, "socket end")
    program.add(_LOAD_WORD, _argument(0))
    program.add(_JUMP_EQUAL, AF_UNIX, "socket unix", 0)
    program.add(_JUMP_EQUAL, AF_INET, "socket inet", 0)
    program.add(_JUMP_EQUAL, AF_INET6, "socket inet", 0)
    program.add(_JUMP_EQUAL, AF_NETLINK, "socket netlink", 0)
    program.place("socket refused")
    program.add(_RETURN, USER_NOTIF)
    program.place("socket unix")
    program.add(_LOAD_WORD, _argument(1))
    program.add(_AND, _TYPE_MASK)
    program.add(_JUMP_EQUAL, SOCK_STREAM, "socket allowed", 0)
    # Connected in pairs, never by address; a datagram socket could send to any name without a connect.
    program.add(_JUMP_EQUAL, SOCK_SEQPACKET, "socket allowed", "socket no")
    program.place("socket inet")
    program.add(_LOAD_WORD, _argument(1))
    program.add(_AND, _TYPE_MASK)
    program.add(_JUMP_EQUAL, SOCK_STREAM, 0, "socket no")
    program.add(_LOAD_WORD, _argument(2))
    program.add(_JUMP_EQUAL, 0, "socket allowed", 0)
    program.add(_JUMP_EQUAL, IPPROTO_TCP, "socket allowed", "socket no")
    program.place("socket netlink")
    program.add(_LOAD_WORD, _argument(2))
    program.add(_JUMP_EQUAL, NETLINK_ROUTE, "socket allowed", "socket no")
    program.place("socket no")
    program.add(_RETURN, USER_NOTIF)
    program.place("socket allowed")
    program.add(_RETURN, ALLOW)
    program.place("socket end")


def _add_socketpair(program: _Program, number: int) -> None:
    program.add(_JUMP_EQUAL, number, 0, "pair end")
    program.add(_LOAD_WORD, _argument(0))
    program.add(_JUMP_EQUAL, AF_UNIX, 0, "pair refused")
    program.add(_LOAD_WORD, _argument(1))
    program.add(_AND, _TYPE_MASK)
    program.add(_JUMP_EQUAL, SOCK_STREAM, "pair allowed", 0)
    program.add(_JUMP_EQUAL, SOCK_SEQPACKET, "pair allowed", "pair refused")
    program.place("pair refused")
    program.add(_RETURN, USER_NOTIF)
    program.place("pair allowed")
    program.add(_RETURN, ALLOW)
    program.place("pair end")


def _add_setsockopt(program: _Program, number: int) -> None:
    program.add(_JUMP_EQUAL, number, 0, "option end")
    levels = sorted({level for level, _ in SOCKET_OPTIONS})
    for level in levels:
        program.add(_LOAD_WORD, _argument(1))
        program.add(_JUMP_EQUAL, level, 0, f"after level {level}")
        program.add(_LOAD_WORD, _argument(2))
        for option in sorted(option for one, option in SOCKET_OPTIONS if one == level):
            program.add(_JUMP_EQUAL, option, 0, 1)
            program.add(_RETURN, USER_NOTIF)
        program.add(_RETURN, ALLOW)
        program.place(f"after level {level}")
    program.add(_RETURN, ALLOW)
    program.place("option end")


def _add_ioctl(program: _Program, number: int) -> None:
    program.add(_JUMP_EQUAL, number, 0, "ioctl end")
    program.add(_LOAD_WORD, _argument(1))
    for request in TERMINAL_REQUESTS:
        program.add(_JUMP_EQUAL, request, 0, 1)
        program.add(_RETURN, USER_NOTIF)
    program.add(_RETURN, ALLOW)
    program.place("ioctl end")
