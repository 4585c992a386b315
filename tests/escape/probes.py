"""Ways out, each really tried: ``python probes.py FACTS`` tries all those that ``FACTS`` (JSON) asks for.

A probe returns where it got what it wanted, raises ``OSError`` where it was refused, and ``Absent`` where this computer has no
such thing. Each runs in a process of its own. Standard library alone: it also runs under the system's Python as a user
without rights. Nothing here speaks to any host but this one.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import fcntl
import json
import mmap
import os
import platform
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
#: written here by hand, apart from the table under test
NUMBER = {
    "socket": (41, 198),
    "connect": (42, 203),
    "clone": (56, 220),
    "shmget": (29, 194),
    "add_key": (248, 217),
    "ptrace": (101, 117),
    "mq_open": (240, 180),
    "process_vm_readv": (310, 270),
    "kcmp": (312, 272),
    "seccomp": (317, 277),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "bpf": (321, 280),
    "prlimit64": (302, 261),
    "setns": (308, 268),
    "pidfd_open": (434, 434),
    "clone3": (435, 435),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "io_uring_setup": (425, 425),
    "fsopen": (430, 430),
    "unshare": (272, 97),
    "mount": (165, 40),
    "chroot": (161, 51),
    "open_tree": (428, 428),
}
PROBES: dict[str, Callable[[Any], None]] = {}
#: probe -> the operation that the log must name; absent where the kernel refuses without asking the supervisor
OPERATION: dict[str, str] = {}
NEEDS_ROOT: set[str] = set()


class Absent(Exception):
    """This computer has no such thing."""


def probe(operation: str = "", *, needs_root: bool = False) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    def add(function: Callable[[Any], None]) -> Callable[[Any], None]:
        name = function.__name__
        PROBES[name] = function
        if operation:
            OPERATION[name] = operation
        if needs_root:
            NEEDS_ROOT.add(name)
        return function

    return add


def call(name: str, *arguments: Any) -> int:
    plain = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    out = LIBC.syscall(ctypes.c_long(NUMBER[name][0 if X86 else 1]), *plain)
    if out < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return out


def sockaddr(host: str, port: int) -> bytes:
    return struct.pack("<H", 2) + struct.pack(">H", port) + socket.inet_aton(host) + bytes(8)


def leak(connected: socket.socket) -> None:
    connected.sendall(b"leak")
    connected.close()


# TCP, by every way that a program can ask for it


@probe("connect")
def tcp(facts: Any) -> None:
    leak(socket.create_connection(facts.tcp, 5))


@probe("connect")
def tcp_not_blocking(facts: Any) -> None:
    one = socket.socket()
    one.setblocking(False)
    error = one.connect_ex(tuple(facts.tcp))
    if error not in (0, errno.EINPROGRESS):
        raise OSError(error, os.strerror(error))
    select.select([], [one], [], 5)
    leak(one)


@probe("connect")
def child_process(facts: Any) -> None:
    code = f"import socket; s = socket.create_connection({tuple(facts.tcp)}, 5); s.sendall(b'leak')"
    if subprocess.run([sys.executable, "-I", "-c", code], stderr=subprocess.DEVNULL).returncode:
        raise PermissionError(errno.EACCES, "the child failed")


@probe("connect")
def raw_system_call(facts: Any) -> None:
    one = call("socket", 2, 1, 0)
    call("connect", one, sockaddr(*facts.tcp), 16)
    os.write(one, b"leak")


@probe("connect")
def ipv6(facts: Any) -> None:
    leak(socket.create_connection(facts.tcp6, 5))


@probe("connect")
def ipv4_inside_ipv6(facts: Any) -> None:
    one = socket.socket(socket.AF_INET6)
    one.connect((f"::ffff:{facts.tcp[0]}", facts.tcp[1]))
    leak(one)


@probe("connect")
def address_of_all_zeros(facts: Any) -> None:
    # To the kernel 0.0.0.0 is this host.
    leak(socket.create_connection(("0.0.0.0", facts.local_tcp[1]), 5))


@probe("connect")
def other_port_of_an_allowed_host(facts: Any) -> None:
    leak(socket.create_connection(facts.local_tcp, 5))


@probe("connect")
def address_exchanged_during_the_call(facts: Any) -> None:
    """Another process rewrites the address all the time, between one that is allowed and one that is not."""
    page = mmap.mmap(-1, mmap.PAGESIZE)
    foreign, allowed = sockaddr(*facts.tcp), sockaddr(*facts.allowed)
    page[:16] = allowed
    rewriter = os.fork()
    while rewriter == 0:
        page[:16] = foreign
        page[:16] = allowed
    address = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    reached = tries = 0
    try:
        while tries < facts.races and not reached:
            tries += 1
            with socket.socket() as one:
                try:
                    call("connect", one.fileno(), address, 16)
                except OSError:
                    continue
                # What the kernel really connected to, whatever the memory says now.
                reached += one.getpeername() == tuple(facts.tcp)
    finally:
        os.kill(rewriter, signal.SIGKILL)
        os.waitpid(rewriter, 0)
    if not reached:
        raise PermissionError(errno.EACCES, f"not reached in {tries} tries")
    leak(socket.create_connection(facts.tcp, 5))


@probe("sendto")
def fast_open(facts: Any) -> None:
    one = socket.socket()
    one.sendto(b"leak", 0x20000000, tuple(facts.tcp))
    one.close()


@probe("sendmsg")
def fast_open_by_sendmsg(facts: Any) -> None:
    one = socket.socket()
    one.sendmsg([b"leak"], [], 0x20000000, tuple(facts.tcp))
    one.close()


@probe("setsockopt")
def fast_open_on_connect(facts: Any) -> None:
    socket.socket().setsockopt(socket.IPPROTO_TCP, 30, 1)


@probe("setsockopt", needs_root=True)
def source_route(facts: Any) -> None:
    # Loose source and record route through another host: option 131, 7 bytes, pointer 4; padded with an end of list.
    route = bytes([131, 7, 4]) + socket.inet_aton(facts.tcp[0]) + b"\0"
    socket.socket().setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, route)


@probe("setsockopt")
def ipv6_source_route(facts: Any) -> None:
    one = socket.socket(socket.AF_INET6)
    # Segment routing header (type 4, RFC 8754) over two addresses, one still to come: next header, length in 8 bytes,
    # type, segments left, last entry, flags, tag, addresses.
    header = struct.pack("<BBBBBBH", 0, 4, 4, 1, 1, 0, 0) + 2 * socket.inet_pton(socket.AF_INET6, "::1")
    one.setsockopt(socket.IPPROTO_IPV6, 57, header)


@probe("bind")
def listen_on_every_address(facts: Any) -> None:
    one = socket.socket()
    one.bind(("0.0.0.0", 0))
    one.listen()


@probe("listen")
def listen_without_an_address(facts: Any) -> None:
    socket.socket().listen()


# Sockets that are not TCP


@probe("socket")
def mptcp(facts: Any) -> None:
    try:
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
    except OSError as error:
        if error.errno in (errno.EPROTONOSUPPORT, errno.ENOPROTOOPT):
            raise Absent("no MPTCP") from error
        raise
    one.connect(tuple(facts.tcp))
    leak(one)


@probe("socket")
def sctp(facts: Any) -> None:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)
    except OSError as error:
        if error.errno == errno.EPROTONOSUPPORT:
            raise Absent("no SCTP") from error
        raise


@probe("socket")
def udp(facts: Any) -> None:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"leak", tuple(facts.udp))


@probe("socket")
def udp_with_more_bits_than_the_kernel_reads(facts: Any) -> None:
    one = call("socket", 2 | 1 << 33, 2 | 1 << 35, 1 << 40)
    socket.socket(fileno=one).sendto(b"leak", tuple(facts.udp))


@probe("socket")
def dns_tunnel(facts: Any) -> None:
    question = b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + b"\4leak\7foreign\7invalid\0" + b"\0\1\0\1"
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.connect(tuple(facts.udp))
    one.send(question)


@probe("socket")
def netlink_of_sockets(facts: Any) -> None:
    socket.socket(16, socket.SOCK_RAW, 4)


@probe("socket")
def vsock(facts: Any) -> None:
    try:
        socket.socket(40, socket.SOCK_STREAM)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            raise Absent("no vsock") from error
        raise


@probe("socket", needs_root=True)
def raw_socket(facts: Any) -> None:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)


@probe("socket", needs_root=True)
def packet_socket(facts: Any) -> None:
    socket.socket(17, socket.SOCK_RAW)


@probe("connect")
def unix_path(facts: Any) -> None:
    one = socket.socket(socket.AF_UNIX)
    one.connect(facts.unix_path)
    leak(one)


@probe("connect")
def unix_path_behind_a_link(facts: Any) -> None:
    # In a folder that the command may write, named like a socket of its own.
    link = f"{facts.scratch}/innocent-{os.getpid()}"
    os.symlink(facts.unix_path, link)
    one = socket.socket(socket.AF_UNIX)
    one.connect(link)
    leak(one)


@probe("connect")
def unix_abstract(facts: Any) -> None:
    one = socket.socket(socket.AF_UNIX)
    one.connect("\0" + facts.unix_abstract)
    leak(one)


@probe("socket")
def unix_datagram(facts: Any) -> None:
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"leak", facts.unix_datagram)


@probe("socketpair")
def unix_datagram_pair(facts: Any) -> None:
    socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b"leak", facts.unix_datagram)


@probe("bind")
def unix_abstract_for_others_to_come_in(facts: Any) -> None:
    socket.socket(socket.AF_UNIX).bind(f"\0genba-probe-{os.getpid()}")


@probe("bind")
def unix_path_in_another_owners_folder(facts: Any) -> None:
    socket.socket(socket.AF_UNIX).bind(f"{facts.other_owner}/door-{os.getpid()}")


# Descriptors from outside


@probe()
def inherited_descriptor(facts: Any) -> None:
    os.write(facts.inherited, b"leak")


@probe()
def descriptor_from_a_listed_service(facts: Any) -> None:
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(2)
    one.connect(facts.service)
    got = array.array("i")
    _, ancillary, _, _ = one.recvmsg(16, socket.CMSG_LEN(4))
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            got.frombytes(data[:4])
    if not got:
        raise PermissionError(errno.EPERM, "no descriptor arrived")
    os.write(got[0], b"leak")


# Around the filter


@probe("io_uring_setup")
def io_uring(facts: Any) -> None:
    try:
        call("io_uring_setup", 4, ctypes.create_string_buffer(256))
    except OSError as error:
        if error.errno == errno.ENOSYS:
            raise Absent("no io_uring") from error
        raise


@probe("system call 359 of architecture 0x40000003")
def system_calls_of_32_bits(facts: Any) -> None:
    if not X86:
        raise Absent("x86-64 only")
    # push rbx; mov eax, 359 (socket); mov ebx, 2; mov ecx, 1; xor edx, edx; int 0x80; pop rbx; cdqe; ret
    code = bytes.fromhex("53 b867010000 bb02000000 b901000000 31d2 cd80 5b 4898 c3")
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    out = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
    if out == -errno.ENOSYS:
        raise Absent("no 32-bit calls")
    if out < 0:
        raise OSError(-out, os.strerror(-out))


@probe()
def supervisor_of_its_own(facts: Any) -> None:
    lines = ctypes.create_string_buffer(struct.pack("<HBBI", 6, 0, 0, 0x7FFF0000), 8)
    LIBC.prctl(38, 1, 0, 0, 0)
    call("seccomp", 1, 1 << 3, struct.pack("<HxxxxxxQ", 1, ctypes.addressof(lines)))


@probe()
def clone3_with_a_namespace(facts: Any) -> None:
    # struct clone_args: flags first (CLONE_NEWUSER), exit_signal fifth (SIGCHLD)
    if call("clone3", struct.pack("<11Q", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0), 88) == 0:
        os._exit(0)


@probe("clone")
def clone_with_a_namespace(facts: Any) -> None:
    if call("clone", 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)


@probe("unshare")
def unshare_a_network(facts: Any) -> None:
    call("unshare", 0x10000000 | 0x40000000)


@probe("fsopen", needs_root=True)
def new_mount(facts: Any) -> None:
    call("fsopen", b"tmpfs\0", 0)


@probe("mount", needs_root=True)
def old_mount(facts: Any) -> None:
    with contextlib.suppress(PermissionError):
        # Open, so that the host's mounts stay as they are; within, this is refused already and the next is tried all the same.
        call("unshare", 0x00020000)
    call("mount", b"none\0", b"/\0", 0, 1 << 19 | 1 << 14, 0)


@probe("chroot", needs_root=True)
def other_root(facts: Any) -> None:
    call("chroot", b"/\0")


@probe("setns", needs_root=True)
def other_namespace(facts: Any) -> None:
    with open("/proc/self/ns/net") as file:
        call("setns", file.fileno(), 0)


@probe("bpf", needs_root=True)
def code_in_the_kernel(facts: Any) -> None:
    # BPF_MAP_CREATE of an array of one 4-byte value
    call("bpf", 0, struct.pack("<IIII", 2, 4, 4, 1) + bytes(112), 128)


@probe("perf_event_open", needs_root=True)
def performance_counters(facts: Any) -> None:
    # A software event (the clock) of this process.
    call("perf_event_open", struct.pack("<IIQ", 1, 112, 0) + bytes(96), 0, -1, -1, 0)


@probe("userfaultfd")
def page_faults(facts: Any) -> None:
    call("userfaultfd", 1)


@probe("ioctl")
def typing_into_the_terminal(facts: Any) -> None:
    _main, side = os.openpty()
    os.setsid()
    fcntl.ioctl(side, 0x540E, 0)
    fcntl.ioctl(side, 0x5412, b"x")


# Other processes: the supervisor, or a stranger of the same user


@probe("ptrace")
def trace(facts: Any) -> None:
    # PTRACE_SEIZE: does not stop it, and ends with this process.
    call("ptrace", 0x4206, facts.target, 0, 0)


@probe("process_vm_readv")
def read_its_memory(facts: Any) -> None:
    buffer = ctypes.create_string_buffer(8)
    local = struct.pack("<QQ", ctypes.addressof(buffer), 8)
    call("process_vm_readv", facts.target, local, 1, struct.pack("<QQ", facts.memory, 8), 1, 0)


@probe("pidfd_getfd")
def take_its_descriptor(facts: Any) -> None:
    call("pidfd_getfd", call("pidfd_open", facts.target, 0), 1, 0)


@probe()
def open_its_memory(facts: Any) -> None:
    with open(f"/proc/{facts.target}/mem", "r+b"):
        pass


@probe()
def open_its_descriptors(facts: Any) -> None:
    os.listdir(f"/proc/{facts.target}/fd")


@probe()
def signal_it(facts: Any) -> None:
    os.kill(facts.target, signal.SIGCONT)


@probe("prlimit64")
def starve_it(facts: Any) -> None:
    # The number of pending signals, at its most: changes nothing that the stranger needs.
    old = ctypes.create_string_buffer(16)
    call("prlimit64", facts.target, 11, 0, old)
    call("prlimit64", facts.target, 11, old, 0)


@probe("kcmp")
def compare_with_it(facts: Any) -> None:
    call("kcmp", os.getpid(), facts.target, 1, 0, 0)


@probe("process_madvise", needs_root=True)
def page_it_out(facts: Any) -> None:
    target = call("pidfd_open", facts.target, 0)
    call("process_madvise", target, struct.pack("<QQ", facts.memory & ~4095, 4096), 1, 20, 0)


# Memory shared past the file system


@probe("shmget")
def shared_memory(facts: Any) -> None:
    call("shmget", os.getpid(), 4096, 0o1600)


@probe("mq_open")
def message_queue(facts: Any) -> None:
    call("mq_open", b"genba-probe\0", os.O_CREAT | os.O_RDWR, 0o600, 0)


@probe("add_key")
def kernel_keyring(facts: Any) -> None:
    call("add_key", b"user\0", b"genba-probe\0", b"leak", 4, -4)


# Files


@probe()
def read_another_owners_data(facts: Any) -> None:
    with open(f"{facts.other_owner}/episode") as file:
        file.read()


@probe()
def read_it_through_a_link(facts: Any) -> None:
    link = f"{facts.scratch}/link-{os.getpid()}"
    os.symlink(f"{facts.other_owner}/episode", link)
    with open(link) as file:
        file.read()


@probe()
def read_it_through_a_hard_link(facts: Any) -> None:
    link = f"{facts.scratch}/hard-{os.getpid()}"
    os.link(f"{facts.other_owner}/episode", link)
    with open(link) as file:
        file.read()


@probe()
def read_it_through_a_process(facts: Any) -> None:
    with open(f"/proc/{os.getpid()}/root{facts.other_owner}/episode") as file:
        file.read()


@probe()
def write_into_another_owners_folder(facts: Any) -> None:
    with open(f"{facts.other_owner}/new-{os.getpid()}", "w") as file:
        file.write("leak")


@probe()
def rewrite_the_log(facts: Any) -> None:
    with open(facts.log, "a") as file:
        file.write("{}\n")


@probe(needs_root=True)
def make_a_disk(facts: Any) -> None:
    path = f"{facts.scratch}/disk-{os.getpid()}"
    os.mknod(path, 0o60600, os.makedev(7, 0))
    os.remove(path)


@probe()
def set_user_id_program(facts: Any) -> None:
    if not facts.set_user_id:
        raise Absent("no set-user-id program: only root can make one")
    shown = subprocess.run([facts.set_user_id], capture_output=True, text=True).stdout
    if "euid=0" not in shown:
        raise PermissionError(errno.EPERM, shown)


def main() -> None:
    facts = _Facts(json.loads(sys.argv[1]))
    if facts.target is None:
        # Inside, the supervisor is what this program's parent is.
        facts.target = os.getppid()
    print(json.dumps({name: _try(name, facts) for name in facts.names}))


class _Facts:
    def __init__(self, table: dict[str, Any]) -> None:
        self.__dict__.update(table)


def _try(name: str, facts: Any) -> list[str]:
    """Return ["open"], ["refused", why] or ["absent", why] of one probe in its own process."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            PROBES[name](facts)
            out = ["open"]
        except Absent as error:
            out = ["absent", str(error)]
        except OSError as error:
            out = ["refused", str(error)]
        except BaseException as error:
            out = ["broken", repr(error)]
        os.write(write, json.dumps(out).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        text = file.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else ["refused", "the process was ended"]


if __name__ == "__main__":
    main()
