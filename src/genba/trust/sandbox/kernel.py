"""The system calls that Python has no function for, by ctypes: filters, notifications, descriptors of other processes.

Each function makes one call and raises ``OSError`` where the kernel says no. No decision is made here. The module
imports on every system; a call on a system without it raises ``SandboxError``.

Source: ``include/uapi/linux/seccomp.h``, ``prctl.h``, ``capability.h``, ``stat.h`` (Linux 6.1).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from dataclasses import dataclass

from genba.trust.sandbox.syscalls import current_architecture

_SECCOMP_SET_MODE_FILTER, _SECCOMP_GET_ACTION_AVAILABLE = 1, 2
_NEW_LISTENER, _WAIT_KILLABLE = 1 << 3, 1 << 5
_RECEIVE, _SEND, _ID_VALID, _ADD_DESCRIPTOR = 0xC0502100, 0xC0182101, 0x40082102, 0x40182103
_ANSWER_WITH_IT = 1 << 1
_SOCK_NONBLOCK, _SOCK_CLOEXEC = 0x800, 0x80000
_NOTIFICATION, _RESPONSE = struct.Struct("<QIIiIQ6Q"), struct.Struct("<Qqii")
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP = 1, 4, 24
_PR_SET_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38
_PIDFD_THREAD = os.O_EXCL if hasattr(os, "O_EXCL") else 0
_CLOSE_ON_EXEC = 4
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Notification:
    """One system call of the confined command that waits for an answer."""

    id: int
    """What the kernel calls it; valid until it is answered or its thread has died."""
    thread_id: int
    """The thread that called."""
    number: int
    """Of the system call."""
    audit: int
    """The architecture by whose numbers it was made."""
    arguments: tuple[int, ...]
    """Six, 64 bits each."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_void_p))


class _Span(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def call(name: str, *arguments: int | ctypes.Array[ctypes.c_char] | bytes | None) -> int:
    """Make system call ``name``; integers are passed as 64 bits, buffers by address.

    Raises:
        OSError: the kernel refused.
        SandboxError: not Linux, or a processor without a table of numbers.
    """
    number = current_architecture().number(name)
    assert number is not None
    plain = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    out = _libc.syscall(ctypes.c_long(number), *plain)
    if out < 0:
        _raise(name)
    return out


def install_filter(program: bytes) -> int:
    """Put this thread under a filter over system calls for good; return the descriptor that its notifications come by.

    A process that has no privileges must have given up getting any (``forbid_new_privileges``).
    """
    lines = ctypes.create_string_buffer(program, len(program))
    filter_ = _Program(len(program) // 8, ctypes.addressof(lines))
    # Killable only: a timer's signal must not make the caller repeat a connect that the supervisor has begun.
    flags = _NEW_LISTENER | _WAIT_KILLABLE
    return call("seccomp", _SECCOMP_SET_MODE_FILTER, flags, ctypes.string_at(ctypes.addressof(filter_), 16))


def has_filter_action(action: int) -> bool:
    """Return whether the kernel's filters know ``action``."""
    try:
        call("seccomp", _SECCOMP_GET_ACTION_AVAILABLE, 0, struct.pack("<I", action))
    except OSError:
        return False
    return True


def receive(listener: int) -> Notification | None:
    """Return the next call that waits; None where its thread died in between."""
    # A later kernel may write more than it is known for; what is behind must not be overwritten.
    buffer = bytearray(512)
    try:
        fcntl.ioctl(listener, _RECEIVE, buffer)
    except FileNotFoundError:
        return None
    id_, thread_id, _, number, audit, _, *arguments = _NOTIFICATION.unpack_from(buffer)
    return Notification(id=id_, thread_id=thread_id, number=number, audit=audit, arguments=tuple(arguments))


def respond(listener: int, notification_id: int, *, value: int = 0, error: int = 0) -> None:
    """Let a waiting call return ``value``, or fail with ``error`` (an errno); a thread that died is no error."""
    buffer = bytearray(512)
    _RESPONSE.pack_into(buffer, 0, notification_id, value, -error, 0)
    try:
        fcntl.ioctl(listener, _SEND, buffer)
    except FileNotFoundError:
        return


def is_waiting(listener: int, notification_id: int) -> bool:
    """Return whether the call still waits: only then is what was read by its thread's number really that thread's."""
    try:
        fcntl.ioctl(listener, _ID_VALID, bytearray(struct.pack("<Q", notification_id)))
    except FileNotFoundError:
        return False
    return True


def read_memory(process_id: int, address: int, length: int) -> bytes:
    """Return a copy of another process's memory.

    Raises:
        OSError: nothing is there, or that process may not be looked into.
    """
    buffer = ctypes.create_string_buffer(length)
    local = _Span(ctypes.addressof(buffer), length)
    remote = _Span(address, length)
    got = _libc.process_vm_readv(
        process_id, ctypes.byref(local), ctypes.c_ulong(1), ctypes.byref(remote), ctypes.c_ulong(1), ctypes.c_ulong(0)
    )
    if got < 0:
        _raise("process_vm_readv")
    if got != length:
        raise OSError(14, f"only {got} of {length} bytes are readable at {address:#x}")
    return buffer.raw


def write_memory(process_id: int, address: int, data: bytes) -> None:
    """Write into another process's memory.

    Raises:
        OSError: nothing is there, or that process may not be written into.
    """
    buffer = ctypes.create_string_buffer(data, len(data))
    local, remote = _Span(ctypes.addressof(buffer), len(data)), _Span(address, len(data))
    got = _libc.process_vm_writev(
        process_id, ctypes.byref(local), ctypes.c_ulong(1), ctypes.byref(remote), ctypes.c_ulong(1), ctypes.c_ulong(0)
    )
    if got != len(data):
        _raise("process_vm_writev")


def copy_descriptor(thread_id: int, process_id: int, descriptor: int) -> int:
    """Return a descriptor of our own for what ``descriptor`` is in another process's thread."""
    try:
        target = call("pidfd_open", thread_id, _PIDFD_THREAD)
    except OSError:
        # Before Linux 6.9 only a whole process can be named. A thread with descriptors of its own then gets a decision
        # about another socket of the same process, never about one from outside.
        target = call("pidfd_open", process_id, 0)
    try:
        return call("pidfd_getfd", target, descriptor, 0)
    finally:
        os.close(target)


def connect(descriptor: int, address: bytes) -> int:
    """Connect a socket to a raw address; return 0 or the errno. May wait as long as the socket does."""
    return _errno_of(_libc.connect(descriptor, address, ctypes.c_uint(len(address))))


def bind(descriptor: int, address: bytes) -> int:
    """Bind a socket to a raw address; return 0 or the errno."""
    return _errno_of(_libc.bind(descriptor, address, ctypes.c_uint(len(address))))


def listen(descriptor: int, backlog: int) -> int:
    """Let a socket accept connections; return 0 or the errno."""
    return _errno_of(_libc.listen(descriptor, ctypes.c_int(backlog)))


def local_address(descriptor: int) -> bytes:
    """Return the raw address that a socket has taken."""
    buffer, length = ctypes.create_string_buffer(128), ctypes.c_uint(128)
    if _libc.getsockname(descriptor, buffer, ctypes.byref(length)) < 0:
        _raise("getsockname")
    return buffer.raw[: length.value]


def accept(descriptor: int, *, is_blocking: bool) -> tuple[int, bytes, int]:
    """Take the next connection; return its descriptor and the raw address of its other end, or -1 and the errno."""
    buffer, length = ctypes.create_string_buffer(128), ctypes.c_uint(128)
    flags = _SOCK_CLOEXEC | (0 if is_blocking else _SOCK_NONBLOCK)
    out = _libc.accept4(descriptor, buffer, ctypes.byref(length), ctypes.c_int(flags))
    return (-1, b"", ctypes.get_errno()) if out < 0 else (out, buffer.raw[: length.value], 0)


def hand_in(listener: int, notification_id: int, descriptor: int, *, is_closed_on_exec: bool) -> int:
    """Let a waiting call return a copy of our ``descriptor``; return 0 or the errno, where it still waits."""
    flags = _SOCK_CLOEXEC if is_closed_on_exec else 0
    try:
        fcntl.ioctl(
            listener, _ADD_DESCRIPTOR, struct.pack("<QIIII", notification_id, _ANSWER_WITH_IT, descriptor, 0, flags)
        )
    except OSError as error:
        return error.errno or 1
    return 0


def forbid_new_privileges() -> None:
    """From here on no program that this thread or a child executes gains anything: no set-user-id, no capabilities."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """Give up every capability of this process, also those that root gets back by executing a program."""
    capability = 0
    # The first that the kernel does not know ends it.
    while _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) >= 0:
        capability += 1
    call("capset", struct.pack("<Ii", _CAPABILITY_VERSION_3, 0), bytes(24))


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send this process ``signal_number`` when its parent dies."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)


def set_dumpable(value: bool) -> None:
    """Say whether other processes of the same user may look into this one."""
    _prctl(_PR_SET_DUMPABLE, int(value))


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    _prctl(_PR_SET_SUBREAPER, 1)


def close_all_on_exec(first: int) -> None:
    """Mark every descriptor from ``first`` on to be closed when a program is executed."""
    call("close_range", first, 0xFFFFFFFF, _CLOSE_ON_EXEC)


def birth_ns(descriptor: int) -> int:
    """Return when the file behind ``descriptor`` was made, in Unix nanoseconds; 0 where the file system keeps no such time."""
    empty_path, birth = 0x1000, 0x800
    buffer = ctypes.create_string_buffer(256)
    call("statx", descriptor, b"\0", empty_path, birth, buffer)
    if not struct.unpack_from("<I", buffer.raw)[0] & birth:
        return 0
    seconds, nanoseconds = struct.unpack_from("<qI", buffer.raw, 80)
    return seconds * 1_000_000_000 + nanoseconds


def unshare(flags: int) -> None:
    """Leave the namespaces that ``flags`` name for new ones."""
    if _libc.unshare(ctypes.c_int(flags)) < 0:
        _raise("unshare")


def mount(source: str, target: str, kind: str | None, flags: int) -> None:
    """Mount ``source`` over ``target``."""
    kind_bytes = None if kind is None else kind.encode()
    if _libc.mount(os.fsencode(source), os.fsencode(target), kind_bytes, ctypes.c_ulong(flags), None) < 0:
        _raise(f"mount over {target}")


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) < 0:
        _raise("prctl")


def _errno_of(result: int) -> int:
    return ctypes.get_errno() if result < 0 else 0


def _raise(name: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{name}: {os.strerror(number)}")
