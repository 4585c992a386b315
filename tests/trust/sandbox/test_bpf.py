"""The filter program, run by an interpreter of their own here, for both architectures; no kernel is asked."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest

from genba.errors import SandboxError
from genba.trust.sandbox import syscalls
from genba.trust.sandbox.bpf import ALLOW, ERRNO, SOCKET_OPTIONS, USER_NOTIF, system_call_filter
from genba.trust.sandbox.syscalls import AARCH64, NEWEST, REFUSED, SUPERVISED, X86_64, Architecture

NO_SUCH_CALL = ERRNO | errno.ENOSYS
BOTH = [X86_64, AARCH64]


def run(program: bytes, data: bytes) -> int:
    """Run classic BPF over ``data``, whose words are little-endian.

    Source: the instruction set of ``Documentation/networking/filter.rst`` as far as it is used.
    """
    lines = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    at, accumulator = 0, 0
    while True:
        code, if_true, if_false, value = lines[at]
        at += 1
        if code == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif code == 0x54:
            accumulator &= value
        elif code == 0x06:
            return value
        else:
            holds = {0x15: accumulator == value, 0x25: accumulator > value, 0x45: bool(accumulator & value)}[code]
            at += if_true if holds else if_false


PROGRAMS = {one.name: system_call_filter(one) for one in BOTH}


def said(architecture: Architecture, number: int, *arguments: int, audit: int | None = None) -> int:
    data = struct.pack("<iIQ", number if number < 2**31 else number - 2**32, audit or architecture.audit, 0)
    data += struct.pack("<6Q", *arguments, *(0,) * (6 - len(arguments)))
    return run(PROGRAMS[architecture.name], data)


def test_answers_are_the_kernels():
    # SECCOMP_RET_ALLOW, _USER_NOTIF and _ERRNO of include/uapi/linux/seccomp.h
    assert (ALLOW, USER_NOTIF, ERRNO) == (0x7FFF0000, 0x7FC00000, 0x00050000)


@pytest.mark.parametrize("one", BOTH)
def test_program_is_within_what_the_kernel_takes(one: Architecture):
    # BPF_MAXINSNS is 4096 instructions of 8 bytes.
    assert len(system_call_filter(one)) % 8 == 0
    assert len(system_call_filter(one)) // 8 <= 4096


@pytest.mark.parametrize("one", BOTH)
@pytest.mark.parametrize("name", [*REFUSED, *SUPERVISED])
def test_named_call_is_handed_over(one: Architecture, name: str):
    number = one.number(name)
    if number is None:
        assert name in ("iopl", "ioperm", "modify_ldt", "uselib")
    else:
        assert said(one, number) == USER_NOTIF


@pytest.mark.parametrize("one", BOTH)
def test_calls_beyond_the_table_do_not_exist(one: Architecture):
    assert said(one, NEWEST) == ALLOW
    assert said(one, NEWEST + 1) == NO_SUCH_CALL
    assert said(one, 2**32 - 1) == (USER_NOTIF if one.has_x32 else NO_SUCH_CALL)


def test_other_architectures_are_handed_over_whatever_they_call():
    # 0x40000003 is i386, 0x40000028 is 32-bit ARM. Source: include/uapi/linux/audit.h
    assert said(X86_64, 1, audit=0x40000003) == USER_NOTIF
    assert said(AARCH64, 1, audit=0x40000028) == USER_NOTIF
    assert said(X86_64, 0x40000000 | 41, 2, 1, 0) == USER_NOTIF
    assert said(X86_64, 0x40000000) == USER_NOTIF
    assert said(AARCH64, 0x40000000 | 198, 2, 1, 0) == NO_SUCH_CALL


@pytest.mark.parametrize("one", BOTH)
def test_ordinary_calls_pass(one: Architecture):
    # read, write, openat, execve, futex of each
    for number in {"x86_64": (0, 1, 257, 59, 202), "aarch64": (63, 64, 56, 221, 98)}[one.name]:
        assert said(one, number) == ALLOW


@pytest.mark.parametrize("one", BOTH)
@pytest.mark.parametrize(
    ("family", "kind", "protocol", "passes"),
    [
        (1, 1, 0, True),
        (1, 5, 0, True),
        (1, 2, 0, False),
        (1, 3, 0, False),
        (2, 1, 0, True),
        (2, 1, 6, True),
        (2, 1 | 0x80000 | 0x800, 6, True),
        (2, 1, 132, False),
        (2, 1, 262, False),
        (2, 2, 0, False),
        (2, 2, 17, False),
        (2, 3, 1, False),
        (2, 5, 0, False),
        (10, 1, 0, True),
        (10, 1, 262, False),
        (10, 2, 0, False),
        (16, 3, 0, True),
        (16, 2, 0, True),
        (16, 3, 4, False),
        (16, 3, 12, False),
        (0, 1, 0, False),
        (17, 3, 0, False),
        (38, 5, 0, False),
        (40, 1, 0, False),
        (43, 1, 0, False),
    ],
)
def test_sockets_pass_by_family_type_and_protocol(
    one: Architecture, family: int, kind: int, protocol: int, passes: bool
):
    number = one.number("socket")
    assert number is not None
    assert said(one, number, family, kind, protocol) == (ALLOW if passes else USER_NOTIF)
    # Bits beyond the 32 that the kernel reads change nothing.
    high = 0xABCD << 32
    assert said(one, number, family | high, kind | high, protocol | high) == (ALLOW if passes else USER_NOTIF)


@pytest.mark.parametrize("one", BOTH)
@pytest.mark.parametrize(("family", "kind", "passes"), [(1, 1, True), (1, 5, True), (1, 2, False), (2, 1, False)])
def test_pairs_pass_by_family_and_type(one: Architecture, family: int, kind: int, passes: bool):
    number = one.number("socketpair")
    assert number is not None
    assert said(one, number, family, kind | 0x80000, 0) == (ALLOW if passes else USER_NOTIF)


@pytest.mark.parametrize("one", BOTH)
@pytest.mark.parametrize(("name", "argument"), [("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)])
def test_sending_passes_unless_it_opens_fast(one: Architecture, name: str, argument: int):
    number = one.number(name)
    assert number is not None
    plain, fast = [0] * 6, [0] * 6
    # Every flag but MSG_FASTOPEN, and MSG_NOSIGNAL with it.
    plain[argument], fast[argument] = 0xDFFFFFFF, 0x20004000
    assert said(one, number, *plain) == ALLOW
    assert said(one, number, *fast) == USER_NOTIF


@pytest.mark.parametrize("one", BOTH)
def test_argument_that_looks_like_the_number_of_a_call_is_an_argument(one: Architecture):
    for name, argument in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3), ("clone", 0)):
        number = one.number(name)
        assert number is not None
        for other in range(NEWEST):
            assert said(one, number, *(0,) * argument, other) == ALLOW, (name, other)


@pytest.mark.parametrize("one", BOTH)
def test_processes_and_threads_pass_and_namespaces_do_not(one: Architecture):
    clone, clone3 = one.number("clone"), one.number("clone3")
    assert clone is not None and clone3 is not None
    # glibc's fork and pthread_create
    assert said(one, clone, 0x01200011) == ALLOW
    assert said(one, clone, 0x003D0F00) == ALLOW
    for bit in (17, 25, 26, 27, 28, 29, 30):
        assert said(one, clone, 1 << bit | 17) == USER_NOTIF
    assert said(one, clone3) == NO_SUCH_CALL


@pytest.mark.parametrize("one", BOTH)
def test_limits_of_this_process_pass_and_others_do_not(one: Architecture):
    number = one.number("prlimit64")
    assert number is not None
    assert said(one, number, 0, 7) == ALLOW
    assert said(one, number, 1 << 32, 7) == ALLOW
    assert said(one, number, 4242, 7) == USER_NOTIF


#: level -> options, from include/uapi/linux/in.h, in6.h, tcp.h and asm-generic/socket.h: IP_OPTIONS; SO_ATTACH_BPF,
#: SO_ATTACH_REUSEPORT_EBPF, SO_PASSRIGHTS; TCP_FASTOPEN, _CONNECT, TCP_ULP; IPv6's 2292 options and headers
REFUSED_OPTIONS = {0: {4}, 1: {50, 52, 83}, 6: {23, 30, 31}, 41: {3, 4, 5, 6, 54, 55, 57, 59}}


@pytest.mark.parametrize("one", BOTH)
def test_socket_options_pass_but_for_the_listed_ones(one: Architecture):
    number = one.number("setsockopt")
    assert number is not None
    assert {(level, option) for level, options in REFUSED_OPTIONS.items() for option in options} == set(SOCKET_OPTIONS)
    for level in (0, 1, 2, 6, 7, 41, 42, 255):
        for option in range(90):
            expected = USER_NOTIF if option in REFUSED_OPTIONS.get(level, ()) else ALLOW
            assert said(one, number, 3, level, option) == expected, (level, option)


@pytest.mark.parametrize("one", BOTH)
def test_typing_into_a_terminal_is_handed_over_and_its_size_is_not(one: Architecture):
    number = one.number("ioctl")
    assert number is not None
    assert said(one, number, 0, 0x5412) == USER_NOTIF
    assert said(one, number, 0, 0x5412 | 1 << 40) == USER_NOTIF
    assert said(one, number, 0, 0x541C) == USER_NOTIF
    assert said(one, number, 0, 0x5413) == ALLOW


def test_numbers_are_those_of_this_computers_headers():
    headers = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm-generic/unistd.h")
    for column, header in enumerate(headers):
        if not header.is_file():
            pytest.skip(f"no {header}")
        text = header.read_text()
        found = dict(re.findall(r"#define __NR_(\w+)\s+(\d+)", text)) or {}
        for name, numbers in syscalls._NUMBERS.items():
            if name in found:
                assert numbers[column] == int(found[name]), (name, header)
            elif numbers[column] is not None and numbers[column] <= 450:
                # The generic header writes calls that have a 32-bit twin through another name; none of ours is one.
                pytest.fail(f"{header} has no {name}")


def test_names_and_numbers_lead_to_each_other():
    for one in BOTH:
        for name in syscalls._NUMBERS:
            number = one.number(name)
            assert number is None or one.name_of(number) == name
        assert one.name_of(9999) == "system call 9999"


def test_system_without_a_table_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(SandboxError, match="this system is darwin; the sandbox needs Linux"):
        syscalls.current_architecture()
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(
        SandboxError, match="runs on riscv64 with 64-bit pointers; the sandbox knows 64-bit x86_64 and aarch64"
    ):
        syscalls.current_architecture()
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("sys.maxsize", 2**31 - 1)
    with pytest.raises(SandboxError, match="with 32-bit pointers"):
        syscalls.current_architecture()
    monkeypatch.undo()
