"""Answers the calls that the filter hands over: copies the address, decides on the copy, and makes the call itself.

The confined command waits inside its system call. The supervisor reads the address out of its memory once, takes a
descriptor of its own for the same socket, makes sure that both still belong to the call that waits, decides, writes the
log line, and connects, binds or listens with the address that it decided on. What the command does to its memory or
its descriptors meanwhile changes nothing. The call in the command never runs.

Read next: ``decide`` for what is said, ``confine`` for the process that this runs in.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from genba.errors import GenbaError, StorageError
from genba.trust.sandbox import kernel
from genba.trust.sandbox.bpf import AF_UNIX
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
from genba.trust.sandbox.log import FREE_REFUSALS, REFUSAL_PAUSE_S, EgressLog
from genba.trust.sandbox.policy import PathRule, Policy
from genba.trust.sandbox.syscalls import SUPERVISED, X32_BIT, Architecture

#: Calls that wait for another host at the same time; one more fails with EAGAIN.
MAX_WAITING = 1024

_SO_TYPE, _SO_PROTOCOL, _SO_DOMAIN, _SO_PASSRIGHTS = 3, 38, 39, 83
_SOCK_NONBLOCK, _SOCK_CLOEXEC = 0x800, 0x80000
#: How often an accept that waits looks whether its caller got a signal, in milliseconds.
_ACCEPT_POLL_MS = 200
#: Lets the kernel deliver a signal and then repeat the call or not, as the program asked. Source: include/linux/errno.h
_ERESTARTSYS = 512
_CLOCK_REALTIME_COARSE = 5
#: TCP_LISTEN in /proc/net/tcp. Source: include/net/tcp_states.h
_LISTENING = "0A"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Caller:
    """The thread that waits."""

    notification: kernel.Notification
    process_id: int
    program: str
    umask: int


class Supervisor:
    """Answers for one run, on one thread; connections that have to wait get threads of their own."""

    def __init__(self, listener: int, policy: Policy, log: EgressLog, architecture: Architecture) -> None:
        self._listener, self._policy, self._log, self._architecture = listener, policy, log, architecture
        self._home = os.open(".", os.O_PATH | os.O_CLOEXEC)
        self._own: dict[FileIdentity, int] = {}
        self._listening: dict[int, set[int]] = {}
        self._waiting = threading.BoundedSemaphore(MAX_WAITING)
        #: What went wrong on a thread of its own; the run ends with it.
        self.failure: Exception | None = None
        self._free_refusals, self._refilled_s = float(FREE_REFUSALS), time.monotonic()

    def answer_next(self) -> None:
        """Receive one waiting call and answer it.

        Raises:
            StorageError: the log cannot be written; the call was not made.
        """
        notification = kernel.receive(self._listener)
        if notification is None:
            return
        try:
            caller = _look_up(notification)
        except OSError as error:
            # The thread died, or cannot be looked at; without knowing who asks nothing is done.
            kernel.respond(self._listener, notification.id, error=error.errno or errno.EPERM)
            return
        try:
            self._answer(caller)
        except StorageError:
            kernel.respond(self._listener, notification.id, error=errno.EPERM)
            raise
        except (OSError, ValueError) as error:
            number = error.errno if isinstance(error, OSError) and error.errno else errno.EPERM
            name = self._name(notification)
            self._refuse(caller, name, Decision(is_allowed=False, reason=f"cannot be examined: {error}", error=number))

    def _name(self, notification: kernel.Notification) -> str:
        if notification.audit != self._architecture.audit:
            return f"system call {notification.number} of architecture {notification.audit:#x}"
        if self._architecture.has_x32 and notification.number & X32_BIT:
            return f"x32 system call {notification.number ^ X32_BIT}"
        return self._architecture.name_of(notification.number)

    def _answer(self, caller: _Caller) -> None:
        name = self._name(caller.notification)
        if name not in SUPERVISED:
            self._refuse(caller, name, decide_call(name, caller.notification.arguments))
            return
        arguments = caller.notification.arguments
        has_address = name in ("connect", "bind")
        raw = self._copy_address(caller, arguments[1], _signed(arguments[2])) if has_address else b""
        descriptor = kernel.copy_descriptor(caller.notification.thread_id, caller.process_id, _signed(arguments[0]))
        with socket.socket(fileno=descriptor) as own:
            # Only now is it certain that memory and descriptor were those of the thread that waits.
            if not kernel.is_waiting(self._listener, caller.notification.id):
                return
            facts = SocketFacts(
                family=own.getsockopt(socket.SOL_SOCKET, _SO_DOMAIN),
                type=own.getsockopt(socket.SOL_SOCKET, _SO_TYPE),
                protocol=own.getsockopt(socket.SOL_SOCKET, _SO_PROTOCOL),
            )
            if name == "connect" and facts.family == AF_UNIX:
                self._unix_connect(caller, own, facts, raw)
            elif name == "connect":
                self._connect(caller, own, decide_connect(self._policy, facts, raw, self._is_own_port))
            elif name == "bind" and facts.family == AF_UNIX:
                self._unix_bind(caller, own, facts, raw)
            elif name == "bind":
                decision = decide_bind(self._policy, facts, raw)
                if self._note(caller, name, decision):
                    self._respond(caller, kernel.bind(own.fileno(), decision.raw))
            elif name == "listen":
                self._listen(caller, own, facts, _signed(arguments[1]))
            else:
                self._accept(caller, own, facts, arguments[3] & 0xFFFFFFFF if name == "accept4" else 0)

    def _copy_address(self, caller: _Caller, address: int, length: int) -> bytes:
        if not 0 <= length <= MAX_ADDRESS_BYTES:
            raise OSError(errno.EINVAL, f"an address of {length} bytes")
        return kernel.read_memory(caller.notification.thread_id, address, length) if length else b""

    def _connect(self, caller: _Caller, own: socket.socket, decision: Decision) -> None:
        if self._note(caller, "connect", decision):
            self._connect_to(caller, own, decision.raw)

    def _connect_to(self, caller: _Caller, own: socket.socket, raw: bytes, *held: int) -> None:
        """Connect, here or on a thread of its own where the socket would wait for its other end."""
        descriptor = own.detach()
        if not os.get_blocking(descriptor):
            self._finish_connect(caller, descriptor, raw, held)
        else:
            self._on_a_thread(self._finish_connect, caller, (descriptor, *held), descriptor, raw, held)

    def _finish_connect(self, caller: _Caller, descriptor: int, raw: bytes, held: tuple[int, ...]) -> None:
        try:
            self._respond(caller, kernel.connect(descriptor, raw))
        finally:
            for one in (descriptor, *held):
                os.close(one)

    def _on_a_thread(
        self, function: Callable[..., None], caller: _Caller, owned: tuple[int, ...], *arguments: Any
    ) -> None:
        """Call ``function``, which closes what it was given, on a thread of its own; where too many wait, fail the call."""
        if not self._waiting.acquire(blocking=False):
            for one in owned:
                os.close(one)
            self._respond(caller, errno.EAGAIN)
            return

        def work() -> None:
            # Signals are for the thread that supervises; one here would break off a connect.
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            try:
                function(caller, *arguments)
            except (GenbaError, OSError) as error:
                self.failure = error
                self._respond(caller, errno.EPERM)
            finally:
                self._waiting.release()

        threading.Thread(target=work, daemon=True).start()

    def _listen(self, caller: _Caller, own: socket.socket, facts: SocketFacts, backlog: int) -> None:
        local = kernel.local_address(own.fileno())
        decision = decide_listen(self._policy, facts, local)
        if not self._note(caller, "listen", decision):
            return
        error = kernel.listen(own.fileno(), backlog)
        if error == 0 and facts.family != AF_UNIX:
            self._listening.setdefault(int.from_bytes(local[2:4], "big"), set()).add(os.fstat(own.fileno()).st_ino)
        self._respond(caller, error)

    def _is_own_port(self, port: int) -> bool | None:
        """Return whether everybody who listens on a port of this host, by whichever address, is this command."""
        now = _listeners(port)
        return now <= self._listening.get(port, set()) if now else None

    def _accept(self, caller: _Caller, own: socket.socket, facts: SocketFacts, flags: int) -> None:
        """Take a connection for the command, here or on a thread of its own where the socket would wait for one."""
        if flags & ~(_SOCK_NONBLOCK | _SOCK_CLOEXEC):
            self._respond(caller, errno.EINVAL)
            return
        listening = own.detach()
        if not os.get_blocking(listening):
            self._accept_from(caller, listening, facts, flags, False)
        else:
            self._on_a_thread(self._accept_from, caller, (listening,), listening, facts, flags, True)

    def _accept_from(self, caller: _Caller, listening: int, facts: SocketFacts, flags: int, is_waiting: bool) -> None:
        try:
            ready = select.poll()
            ready.register(listening, select.POLLIN)
            while True:
                if is_waiting and not ready.poll(_ACCEPT_POLL_MS):
                    if not kernel.is_waiting(self._listener, caller.notification.id):
                        return
                    if _has_signal(caller.notification.thread_id):
                        self._respond(caller, _ERESTARTSYS)
                        return
                    continue
                taken, peer, error = kernel.accept(listening, is_blocking=not flags & _SOCK_NONBLOCK)
                if error:
                    self._respond(caller, error)
                    return
                try:
                    decision = decide_accept(self._policy, facts, peer)
                    if not decision.is_allowed:
                        self._slow_down()
                    self._write(caller, "accept", decision)
                    if decision.is_allowed:
                        self._hand_in(caller, taken, peer, is_closed_on_exec=bool(flags & _SOCK_CLOEXEC))
                        return
                finally:
                    os.close(taken)
        finally:
            os.close(listening)

    def _hand_in(self, caller: _Caller, taken: int, peer: bytes, *, is_closed_on_exec: bool) -> None:
        """Give the command a connection, and the address of its other end where it asked for that."""
        _, place, length_place, *_ = caller.notification.arguments
        thread_id = caller.notification.thread_id
        if not kernel.is_waiting(self._listener, caller.notification.id):
            return
        if place:
            try:
                room = max(struct.unpack("<i", kernel.read_memory(thread_id, length_place, 4))[0], 0)
                kernel.write_memory(thread_id, length_place, struct.pack("<i", len(peer)))
                if peer[:room]:
                    kernel.write_memory(thread_id, place, peer[:room])
            except OSError as error:
                self._respond(caller, error.errno or errno.EFAULT)
                return
        if error := kernel.hand_in(self._listener, caller.notification.id, taken, is_closed_on_exec=is_closed_on_exec):
            self._respond(caller, error)

    def _unix_connect(self, caller: _Caller, own: socket.socket, facts: SocketFacts, raw: bytes) -> None:
        path = unix_path(facts, raw)
        if isinstance(path, Decision):
            self._refuse(caller, "connect", path)
            return
        with _opened(f"/proc/{caller.notification.thread_id}/cwd", os.O_DIRECTORY) as folder:
            # The file is held while it is judged and connected to, so its name may lead elsewhere meanwhile.
            try:
                target = os.open(path, os.O_PATH | os.O_CLOEXEC, dir_fd=folder.descriptor)
            except OSError as error:
                reason, number = error.strerror or "cannot be found", error.errno or errno.EACCES
                self._refuse(
                    caller,
                    "connect",
                    Decision(is_allowed=False, reason=reason, address=f"unix:{path}", error=number),
                )
                return
        try:
            found = _identity(target)
            decision = decide_unix_connect(path, found, self._own, self._listed())
            if not self._note(caller, "connect", decision):
                return
            if found not in self._own:
                self._keep_descriptors_out(own)
            held, target = target, -1
            self._connect_to(caller, own, _unix_address(f"/proc/self/fd/{held}"), held)
        finally:
            if target >= 0:
                os.close(target)

    def _unix_bind(self, caller: _Caller, own: socket.socket, facts: SocketFacts, raw: bytes) -> None:
        path = unix_path(facts, raw)
        if isinstance(path, Decision):
            self._refuse(caller, "bind", path)
            return
        parent, name = os.path.split(path)
        with (
            _opened(f"/proc/{caller.notification.thread_id}/cwd", os.O_DIRECTORY) as folder,
            _opened(parent or ".", os.O_DIRECTORY, folder.descriptor) as place,
        ):
            decision = decide_unix_bind(self._policy, path, os.readlink(f"/proc/self/fd/{place.descriptor}"))
            if not self._note(caller, "bind", decision):
                return
            began_ns = time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)
            # By the path as written, so that the socket knows its name; this process stands under the same file rules,
            # so a folder that is swapped meanwhile for one outside does not help.
            umask = os.umask(caller.umask)
            os.fchdir(folder.descriptor)
            try:
                error = kernel.bind(own.fileno(), _unix_address(path))
            finally:
                os.fchdir(self._home)
                os.umask(umask)
            if error == 0:
                self._remember(name, place.descriptor, began_ns)
            self._respond(caller, error)

    def _remember(self, name: str, folder: int, began_ns: int) -> None:
        """Keep hold of a socket file that this command made, so that no other can get its number."""
        for identity, descriptor in list(self._own.items()):
            if os.fstat(descriptor).st_nlink == 0:
                os.close(self._own.pop(identity))
        try:
            made = os.open(name, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
        except OSError:
            return
        # Somebody else's socket, moved over ours within this instant, is older than the bind.
        if stat.S_ISSOCK(os.fstat(made).st_mode) and kernel.birth_ns(made) >= began_ns:
            self._own[_identity(made)] = made
        else:
            os.close(made)

    def _listed(self) -> Iterator[tuple[PathRule, FileIdentity]]:
        for rule in self._policy.sockets:
            try:
                status = os.stat(rule.path)
            except OSError:
                continue
            yield rule, FileIdentity(device=status.st_dev, inode=status.st_ino)

    @staticmethod
    def _keep_descriptors_out(own: socket.socket) -> None:
        """Have the kernel refuse descriptors that a listed service would hand in (Linux 6.16 and later)."""
        try:
            own.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 0)
        except OSError as error:
            if error.errno != errno.ENOPROTOOPT:
                raise

    def _note(self, caller: _Caller, operation: str, decision: Decision) -> bool:
        """Write the line of a decision and return whether to go on; a refusal is answered here."""
        if not decision.is_allowed:
            self._refuse(caller, operation, decision)
            return False
        self._write(caller, operation, decision)
        return True

    def _refuse(self, caller: _Caller, operation: str, decision: Decision) -> None:
        self._slow_down()
        self._write(caller, operation, decision)
        self._respond(caller, decision.error)

    def _slow_down(self) -> None:
        """Wait where refusals come faster than their log lines should."""
        now_s = time.monotonic()
        refill = (now_s - self._refilled_s) / REFUSAL_PAUSE_S
        self._free_refusals, self._refilled_s = min(FREE_REFUSALS, self._free_refusals + refill) - 1, now_s
        if self._free_refusals < 0:
            time.sleep(REFUSAL_PAUSE_S)

    def _write(self, caller: _Caller, operation: str, decision: Decision) -> None:
        self._log.attempt(operation, decision, process=caller.process_id, program=caller.program)

    def _respond(self, caller: _Caller, error: int) -> None:
        kernel.respond(self._listener, caller.notification.id, error=error)


class _opened:
    """A path held open without being read, as long as a ``with`` lasts."""

    def __init__(self, path: str, flags: int, folder: int | None = None) -> None:
        self.descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC | flags, dir_fd=folder)

    def __enter__(self) -> _opened:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)


def _look_up(notification: kernel.Notification) -> _Caller:
    with open(f"/proc/{notification.thread_id}/status", encoding="utf-8", errors="backslashreplace") as file:
        facts = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    return _Caller(
        notification=notification,
        process_id=int(facts["Tgid"]),
        program=facts["Name"],
        umask=int(facts["Umask"], 8),
    )


def _listeners(port: int) -> set[int]:
    """Return the inodes of the TCP sockets that listen on a port of this host."""
    found = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/self/net/{table}", encoding="ascii") as file:
            next(file)
            for line in file:
                # Columns: number, local address and port in hex, remote one, state, ..., inode. Source: proc_net_tcp.rst
                columns = line.split()
                if columns[3] == _LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                    found.add(int(columns[9]))
    return found


def _has_signal(thread_id: int) -> bool:
    """Return whether a thread that waits has a signal to handle."""
    try:
        with open(f"/proc/{thread_id}/status", encoding="utf-8", errors="backslashreplace") as file:
            facts = dict(line.split(":\t", 1) for line in file if line.startswith(("Sig", "Shd")))
    except OSError:
        return False
    pending, shared, blocked, caught = (int(facts[name], 16) for name in ("SigPnd", "ShdPnd", "SigBlk", "SigCgt"))
    return bool((pending | shared) & ~blocked & caught)


def _identity(descriptor: int) -> FileIdentity:
    status = os.fstat(descriptor)
    if not stat.S_ISSOCK(status.st_mode):
        raise OSError(errno.ECONNREFUSED, "not a socket")
    return FileIdentity(device=status.st_dev, inode=status.st_ino)


def _unix_address(path: str) -> bytes:
    data = os.fsencode(path)
    if len(data) > 107:
        raise OSError(errno.EINVAL, "a path of more than 107 bytes")
    return struct.pack("<H", AF_UNIX) + data + b"\0"


def _signed(argument: int) -> int:
    """Return an argument as the kernel reads a C ``int``: its low 32 bits, signed."""
    low = argument & 0xFFFFFFFF
    return low - (1 << 32) if low >> 31 else low
