"""Callers that die, lie or ask too much at the worst moment: a real process under the real filter, whose calls are answered here."""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import mmap
import os
import resource
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from genba.errors import StorageError
from genba.trust.sandbox import kernel
from genba.trust.sandbox import supervisor as supervisor_module
from genba.trust.sandbox.bpf import AF_UNIX, system_call_filter
from genba.trust.sandbox.log import EgressLog, read_log
from genba.trust.sandbox.policy import PathRule, Policy, parse_endpoint
from genba.trust.sandbox.supervisor import Supervisor
from genba.trust.sandbox.syscalls import X32_BIT, current_architecture

pytestmark = pytest.mark.usefixtures("enforcing")

LOCAL = Policy(endpoints=(parse_endpoint("127.0.0.1:*", "test"),))
_libc = ctypes.CDLL(None, use_errno=True)


class Caller:
    """A process under the filter; ``work`` runs in it and returns its exit status, e.g. an errno."""

    def __init__(self, work: Callable[[], int]) -> None:
        ours, theirs = socket.socketpair()
        self._id, self._is_ended = os.fork(), False
        if self._id == 0:
            status = 255
            try:
                kernel.forbid_new_privileges()
                listener = kernel.install_filter(system_call_filter(current_architecture()))
                socket.send_fds(theirs, [b"x"], [listener])
                os.close(listener)
                status = work()
            except OSError as error:
                status = error.errno or 255
            finally:
                os._exit(status)
        theirs.close()
        with ours:
            _, (self.listener,), _, _ = socket.recv_fds(ours, 1, 1)

    def wait_for_call(self) -> None:
        """Return once a call of it waits for an answer."""
        waiting = select.poll()
        waiting.register(self.listener, select.POLLIN)
        assert waiting.poll(30_000) == [(self.listener, select.POLLIN)]

    def kill(self) -> None:
        """End it, whatever it waits for."""
        os.kill(self._id, signal.SIGKILL)
        self.status()

    def status(self) -> int:
        """Return its exit status."""
        self._is_ended = True
        return os.waitstatus_to_exitcode(os.waitpid(self._id, 0)[1])

    def close(self) -> None:
        """Leave nothing of it behind."""
        if not self._is_ended:
            self.kill()
        os.close(self.listener)


@pytest.fixture
def calling() -> Iterator[Callable[[Callable[[], int]], Caller]]:
    """Starts callers, which end with the test."""
    made: list[Caller] = []

    def begin(work: Callable[[], int]) -> Caller:
        made.append(Caller(work))
        return made[-1]

    yield begin
    for one in made:
        one.close()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "egress.jsonl"


def supervising(caller: Caller, log: Path, policy: Policy = LOCAL) -> Supervisor:
    return Supervisor(caller.listener, policy, EgressLog(log), current_architecture())


def attempts(log: Path) -> list[tuple[str, str]]:
    return [(line["operation"], line["decision"]) for line in read_log(log)]


def is_reached(server: socket.socket) -> bool:
    return bool(select.select([server], [], [], 0)[0])


def then(function: Callable[..., Any], after: Callable[[], None]) -> Callable[..., Any]:
    """Return the function with something that happens in the instant after it."""

    def both(*arguments: Any, **named: Any) -> Any:
        found = function(*arguments, **named)
        after()
        return found

    return both


def test_caller_that_died_before_its_call_was_taken_is_passed_over(calling, server, log):
    caller = calling(lambda: socket.socket().connect_ex(server.getsockname()))
    caller.wait_for_call()
    caller.kill()
    supervising(caller, log).answer_next()
    assert attempts(log) == []
    assert not is_reached(server)


@pytest.mark.parametrize(
    ("step", "noted"), [("receive", []), ("read_memory", [("connect", "refused")]), ("copy_descriptor", [])]
)
def test_caller_that_dies_while_it_is_examined_connects_nowhere(calling, server, log, monkeypatch, step, noted):
    caller = calling(lambda: socket.socket().connect_ex(server.getsockname()))
    caller.wait_for_call()
    supervisor = supervising(caller, log)
    monkeypatch.setattr(kernel, step, then(getattr(kernel, step), caller.kill))
    supervisor.answer_next()
    # What could not be examined is refused, and noted as refused.
    assert attempts(log) == noted
    assert not is_reached(server)


def test_one_connect_more_than_may_wait_is_told_to_try_again(calling, server, log, monkeypatch):
    monkeypatch.setattr(supervisor_module, "MAX_WAITING", 0)
    caller = calling(lambda: socket.socket().connect_ex(server.getsockname()))
    caller.wait_for_call()
    supervising(caller, log).answer_next()
    assert caller.status() == errno.EAGAIN
    assert not is_reached(server)


def test_connection_is_closed_where_its_caller_died_before_it_was_handed_in(calling, server, log, monkeypatch):
    server.setblocking(False)
    caller = calling(lambda: server.accept()[0].fileno())
    with socket.create_connection(server.getsockname(), 10) as client:
        caller.wait_for_call()
        monkeypatch.setattr(kernel, "accept", then(kernel.accept, caller.kill))
        supervising(caller, log).answer_next()
        assert client.recv(1) == b""
    assert attempts(log) == [("accept", "allowed")]


def test_accept_whose_caller_died_waits_no_longer(calling, server, log):
    caller = calling(lambda: server.accept()[0].fileno())
    caller.wait_for_call()
    before = set(threading.enumerate())
    supervising(caller, log).answer_next()
    (thread,) = set(threading.enumerate()) - before
    caller.kill()
    thread.join(30)
    assert not thread.is_alive()
    # Who comes now waits for the next accept.
    with socket.create_connection(server.getsockname(), 10):
        assert is_reached(server)


def accepted(server: socket.socket, place: int | None, length: Any, flags: int) -> int:
    """Make the bare call; return 0 or the errno."""
    taken = _libc.accept4(server.fileno(), ctypes.c_void_p(place), length, ctypes.c_int(flags))
    return 0 if taken >= 0 else ctypes.get_errno()


@pytest.mark.parametrize(
    ("place", "length", "flags", "expected"),
    [
        (None, None, 0, 0),
        # No process has anything at address 1.
        (1, ctypes.c_void_p(1), 0, errno.EFAULT),
        (1, ctypes.byref(ctypes.c_int(16)), 0, errno.EFAULT),
        (1, ctypes.byref(ctypes.c_int(0)), 0, 0),
        (1, ctypes.byref(ctypes.c_int(-1)), 0, 0),
        (None, None, 1, errno.EINVAL),
    ],
)
def test_accept_gets_what_the_kernel_would_give(calling, server, log, place, length, flags, expected):
    server.setblocking(False)
    caller = calling(lambda: accepted(server, place, length, flags))
    with socket.create_connection(server.getsockname(), 10):
        caller.wait_for_call()
        supervising(caller, log).answer_next()
        assert caller.status() == expected


def test_caller_without_room_for_a_connection_is_told(calling, server, log):
    def without_room() -> int:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        return accepted(server, None, None, 0)

    server.setblocking(False)
    caller = calling(without_room)
    with socket.create_connection(server.getsockname(), 10) as client:
        caller.wait_for_call()
        supervising(caller, log).answer_next()
        assert caller.status() == errno.EMFILE
        assert client.recv(1) == b""


def test_nothing_is_connected_or_taken_in_where_the_log_is_full(calling, server):
    caller = calling(lambda: socket.socket().connect_ex(server.getsockname()))
    caller.wait_for_call()
    with pytest.raises(StorageError, match="/dev/full: No space left on device; without a log the command is stopped"):
        supervising(caller, Path("/dev/full")).answer_next()
    assert caller.status() == errno.EPERM
    assert not is_reached(server)
    # An accept that waits does so on a thread of its own, whose failure ends the run.
    caller = calling(lambda: server.accept()[0].fileno())
    caller.wait_for_call()
    supervisor = supervising(caller, Path("/dev/full"))
    supervisor.answer_next()
    assert supervisor.failure is None
    with socket.create_connection(server.getsockname(), 10) as client:
        assert client.recv(1) == b""
    assert caller.status() == errno.EPERM
    assert isinstance(supervisor.failure, StorageError)


def test_listed_socket_that_is_gone_is_no_socket_to_connect_to(calling, tmp_path, log):
    path = tmp_path / "gone"
    policy = Policy(sockets=(PathRule(path=str(path), source="test"),))
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "there"))
        other.listen()
        caller = calling(lambda: socket.socket(socket.AF_UNIX).connect_ex(str(tmp_path / "there")))
        caller.wait_for_call()
        supervising(caller, log, policy).answer_next()
        assert caller.status() == errno.EACCES
        assert not is_reached(other)


@pytest.mark.parametrize("name", [b"\0abstract", None], ids=["abstract", "beside a writable folder"])
def test_unix_socket_is_made_nowhere_else(calling, tmp_path, log, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "beside").mkdir()
    policy = Policy(writable=(PathRule(path=str(tmp_path / "out"), source="test"),))
    place = name or str(tmp_path / "beside" / "socket")

    def work() -> int:
        socket.socket(socket.AF_UNIX).bind(place)
        return 0

    caller = calling(work)
    caller.wait_for_call()
    supervising(caller, log, policy).answer_next()
    assert caller.status() == errno.EACCES
    assert attempts(log) == [("bind", "refused")]
    assert list((tmp_path / "beside").iterdir()) == []


@pytest.mark.parametrize("kind", ["longest", "too long", "no socket"])
def test_unix_address_is_what_the_kernel_takes(calling, tmp_path, log, kind):
    # sun_path holds 108 bytes, the last of them zero.
    path = tmp_path / "no-socket" if kind == "no socket" else Path("/tmp") / ("x" * (102 if kind == "longest" else 103))
    path.unlink(missing_ok=True)
    policy = Policy(writable=(PathRule(path=str(path.parent), source="test"),))

    def work() -> int:
        with socket.socket(socket.AF_UNIX) as one:
            if kind == "no socket":
                return one.connect_ex(str(path))
            # As libraries may write it: without the zero at the end.
            address = AF_UNIX.to_bytes(2, "little") + os.fsencode(path)
            return 0 if _libc.bind(one.fileno(), address, len(address)) == 0 else ctypes.get_errno()

    if kind == "no socket":
        path.touch()
    caller = calling(work)
    caller.wait_for_call()
    supervising(caller, log, policy).answer_next()
    expected = {"longest": 0, "too long": errno.EINVAL, "no socket": errno.ECONNREFUSED}[kind]
    assert caller.status() == expected
    path.unlink(missing_ok=True)


@pytest.mark.parametrize("bit", ["architecture", "x32"])
def test_call_by_other_numbers_is_named_and_refused(calling, server, log, monkeypatch, bit):
    caller = calling(lambda: socket.socket().connect_ex(server.getsockname()))
    caller.wait_for_call()
    supervisor = supervising(caller, log)
    receive = kernel.receive

    def otherwise(listener: int) -> kernel.Notification | None:
        found = receive(listener)
        assert found is not None
        if bit == "architecture":
            return dataclasses.replace(found, audit=0x40000003)
        return dataclasses.replace(found, number=found.number | X32_BIT)

    if bit == "x32" and not current_architecture().has_x32:
        pytest.skip("this processor has no x32 calls")
    monkeypatch.setattr(kernel, "receive", otherwise)
    supervisor.answer_next()
    assert caller.status() == errno.EPERM
    (line,) = read_log(log)
    assert line["operation"].startswith("x32 system call" if bit == "x32" else "system call")
    assert line["decision"] == "refused"
    assert not is_reached(server)


def test_refusals_beyond_a_thousand_are_slowed_down(calling, server, log, monkeypatch):
    waited = []
    monkeypatch.setattr(supervisor_module.time, "sleep", waited.append)
    monkeypatch.setattr(supervisor_module, "FREE_REFUSALS", 1)
    monkeypatch.setattr(supervisor_module, "REFUSAL_PAUSE_S", 3600.0)

    def twice() -> int:
        return [socket.socket().connect_ex(("127.0.0.1", port)) for port in (1, 2)][-1]

    caller = calling(twice)
    supervisor = supervising(caller, log, Policy())
    for _ in range(2):
        caller.wait_for_call()
        supervisor.answer_next()
    assert caller.status() == errno.EACCES
    # The first was free; the second came long before an hour was over.
    assert waited == [3600.0]


@pytest.mark.parametrize("operation", ["bind", "listen", "connect"])
def test_what_no_rule_allows_is_refused_and_noted(calling, log, operation):
    def work() -> int:
        with socket.socket(socket.AF_UNIX if operation == "connect" else socket.AF_INET) as one:
            if operation == "connect":
                # A name that is no file: no rule could name it.
                return one.connect_ex(b"\0abstract")
            one.bind(("127.0.0.1", 0)) if operation == "bind" else one.listen()
        return 0

    caller = calling(work)
    caller.wait_for_call()
    supervising(caller, log, Policy()).answer_next()
    assert caller.status() == errno.EACCES
    assert attempts(log) == [(operation, "refused")]


def test_thread_that_is_no_more_has_no_signal():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert not supervisor_module._has_signal(child)


def test_refusal_of_descriptors_that_fails_is_not_passed_over():
    # An old kernel does not know the option; any other answer means that nobody knows whether it holds.
    with socket.socket(socket.AF_UNIX) as one:
        one.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            Supervisor._keep_descriptors_out(one)


def test_kernel_that_cannot_refuse_descriptors_is_gone_on_with():
    class Older:
        def setsockopt(self, *_: object) -> None:
            raise OSError(errno.ENOPROTOOPT, "Protocol not available")

    assert Supervisor._keep_descriptors_out(Older()) is None


class TestKernel:
    def test_memory_that_ends_within_what_is_asked_for_is_not_half_read(self):
        page = mmap.PAGESIZE
        with mmap.mmap(-1, 2 * page) as pages:
            pages[:page] = b"x" * page
            held = ctypes.c_char.from_buffer(pages)
            address = ctypes.addressof(held)
            del held
            # 0: neither read nor written (PROT_NONE).
            assert _libc.mprotect(ctypes.c_void_p(address + page), page, 0) == 0
            assert kernel.read_memory(os.getpid(), address, page) == b"x" * page
            with pytest.raises(OSError, match=f"only {page} of {page + 1} bytes"):
                kernel.read_memory(os.getpid(), address, page + 1)

    """What the kernel says no to is an error with the name of the call."""

    def test_action_that_it_does_not_know_is_said(self):
        assert not kernel.has_filter_action(0x12345678)

    def test_process_is_named_whole_where_threads_have_no_name(self, monkeypatch):
        # A flag that no kernel knows stands for one before 6.9.
        monkeypatch.setattr(kernel, "_PIDFD_THREAD", 1 << 20)
        with open("/proc/self/status") as file:
            copied = kernel.copy_descriptor(-1, os.getpid(), file.fileno())
            assert os.path.sameopenfile(copied, file.fileno())
        os.close(copied)

    def test_file_without_a_time_of_birth_has_none(self):
        place = os.open("/proc/self/status", os.O_PATH)
        assert kernel.birth_ns(place) == 0
        os.close(place)

    @pytest.mark.parametrize(
        ("attempt", "number", "name"),
        [
            (lambda: kernel.local_address(-1), errno.EBADF, "getsockname"),
            (lambda: kernel.unshare(1), errno.EINVAL, "unshare"),
            (lambda: kernel.mount("/proc", "/absent", None, 0), errno.ENOENT, "mount over /absent"),
            (lambda: kernel.die_with_parent(9999), errno.EINVAL, "prctl"),
            (lambda: kernel.read_memory(os.getpid(), 1, 4), errno.EFAULT, "process_vm_readv"),
            (lambda: kernel.write_memory(os.getpid(), 1, b"x"), errno.EFAULT, "process_vm_writev"),
        ],
    )
    def test_refusal_names_the_call(self, attempt, number, name):
        with pytest.raises(OSError, match=name) as caught:
            attempt()
        assert caught.value.errno == number
