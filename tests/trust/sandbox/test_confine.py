"""Where a part of the sandbox is refused, or breaks in between, the command does not begin, and the reason is said."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from genba.errors import SandboxError, StorageError
from genba.trust.sandbox import confine, hosts, kernel, landlock, support
from genba.trust.sandbox import run as run_module
from genba.trust.sandbox.bpf import system_call_filter
from genba.trust.sandbox.log import EgressLog, read_log
from genba.trust.sandbox.policy import Policy, runtime_paths
from genba.trust.sandbox.supervisor import Supervisor
from genba.trust.sandbox.syscalls import current_architecture

pytestmark = pytest.mark.usefixtures("enforcing")
NOBODY = 65534


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


def in_a_process(work: Callable[[], str]) -> str:
    """Return what ``work`` returns or raises, in a process that it may confine."""
    told_in, told_out = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told_in)
        try:
            said = work()
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        os.write(told_out, said.encode())
        os._exit(0)
    os.close(told_out)
    with os.fdopen(told_in) as file:
        said = file.read()
    os.waitpid(child, 0)
    return said


@pytest.fixture
def began() -> Iterator[Path]:
    """What the command makes, where it may write, once it has begun."""
    path = Path(f"/dev/shm/genba-test-began-{os.getpid()}")
    yield path
    path.unlink(missing_ok=True)


def confined(tmp_path: Path, began: Path) -> str:
    """Run a command as the supervisor's process does; return its status and the report."""
    readable, writable = runtime_paths()
    policy = Policy(readable=readable, writable=writable)
    request = {
        "command": ["touch", str(began)],
        "keep": [],
        "policy": dataclasses.asdict(policy),
        "log": str(tmp_path / "log"),
        "sync": "end",
        "run": "test",
        "hosts": str(tmp_path / "hosts"),
        "environment": dict(os.environ),
    }
    request_in, request_out = os.pipe()
    report_in, report_out = os.pipe()
    with os.fdopen(request_out, "w") as file:
        json.dump(request, file)
    status = confine.main(request_in, report_out)
    with os.fdopen(report_in) as file:
        return f"{status}: {file.read()}"


def test_kernel_that_refuses_a_part_runs_nothing(tmp_path, began, monkeypatch):
    assert in_a_process(lambda: confined(tmp_path, began)) == "0: "
    began.unlink()
    for part, said in (
        ("adopt_orphans", "the kernel refused a part of the sandbox: [Errno 1] Operation not permitted"),
        ("close_all_on_exec", "the command cannot be confined here: [Errno 1] Operation not permitted"),
        ("install_filter", "the command cannot be confined here: [Errno 1] Operation not permitted"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(kernel, part, refuse)
            assert in_a_process(lambda: confined(tmp_path, began)) == f"{confine.STOPPED}: {said}"
        assert not began.exists()
    ends = [(line["status"], line["reason"][:8]) for line in read_log(tmp_path / "log") if line["event"] == "end"]
    assert ends == [(0, ""), *[(confine.STOPPED, "not run:")] * 3]


def test_command_does_not_begin_where_its_supervisor_died_first(tmp_path, began, monkeypatch):
    told_in, told_out = os.pipe()

    def orphaned(number: int) -> None:
        # In the child, just before it would be told of its parent's death by the kernel.
        os.kill(os.getppid(), signal.SIGKILL)
        while os.getppid() == supervisor:
            select.select([], [], [], 0.01)
        die_with_parent(number)
        os.write(told_out, b"x")

    die_with_parent = kernel.die_with_parent
    monkeypatch.setattr(kernel, "die_with_parent", orphaned)
    kernel.adopt_orphans()
    supervisor = 0

    def work() -> str:
        nonlocal supervisor
        supervisor = os.getpid()
        return confined(tmp_path, began)

    assert in_a_process(work) == ""
    os.close(told_out)
    with os.fdopen(told_in, "rb") as file:
        assert file.read() == b"x"
    orphan, status = os.waitpid(-1, 0)
    assert orphan and os.waitstatus_to_exitcode(status) == confine.STOPPED
    assert not began.exists()


def test_command_does_not_begin_where_its_supervisor_says_nothing(tmp_path):
    def become() -> str:
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            ours.close()
            kernel.forbid_new_privileges()
            readable, writable = ([one.path for one in rules] for rules in runtime_paths())
            program = system_call_filter(current_architecture())
            confine._become(["true"], dict(os.environ), [], readable, writable, program, theirs)
        theirs.close()
        assert ours.recv(16)[:1] == b"L"
        ours.close()
        return str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    assert in_a_process(become) == str(confine.STOPPED)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [(None, "0"), (StorageError("log: full"), "StorageError: the supervisor failed: log: full")],
)
def test_supervision_goes_on_where_nobody_under_the_filter_is_left_until_the_command_ends_or_it_fails(
    tmp_path, failure, expected
):
    def work() -> str:
        ours, theirs = socket.socketpair()
        if os.fork() == 0:
            kernel.forbid_new_privileges()
            socket.send_fds(theirs, [b"x"], [kernel.install_filter(system_call_filter(current_architecture()))])
            os._exit(0)
        _, (listener,), _, _ = socket.recv_fds(ours, 1, 1)
        os.wait()
        supervisor = Supervisor(listener, Policy(), EgressLog(tmp_path / "log"), current_architecture())
        supervisor.failure = failure
        with subprocess.Popen(["sleep", "0.3"]) as command:
            return str(confine._supervise(command.pid, listener, supervisor))

    assert in_a_process(work) == expected


def test_standard_descriptors_may_be_closed_or_unix_sockets(tmp_path):
    def work() -> str:
        one, _ = socket.socketpair()
        os.dup2(one.fileno(), 0)
        os.close(2)
        confine._check_descriptors([])
        return "passed"

    assert in_a_process(work) == "passed"


def test_interrupt_of_the_terminal_is_passed_on_once_the_command_ended(tmp_path):
    code = """
        import signal, sys
        from pathlib import Path
        from genba.trust.sandbox.policy import Policy
        from genba.trust.sandbox.run import run_sandboxed
        # A shell that starts this in the background has it ignore the signal.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run_sandboxed(["sh", "-c", "echo begun; sleep 60"], Policy(), Path(sys.argv[1]))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "log")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline() == "begun\n"
        os.killpg(process.pid, signal.SIGINT)
        assert "KeyboardInterrupt" in process.stderr.read()
        assert process.wait() == -signal.SIGINT
    # 128 + 2: the signal ended the command, and the supervisor wrote that down.
    assert [line["status"] for line in read_log(tmp_path / "log") if line["event"] == "end"] == [130]


def test_orphans_of_the_command_are_taken_away_and_the_command_is_left_to_be_asked():
    def work() -> str:
        def ended(status: int) -> int:
            child = os.fork()
            if child == 0:
                os._exit(status)
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
            return child

        orphan, command = ended(3), ended(4)
        confine._reap_orphans(command)
        left = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
        try:
            os.waitpid(orphan, os.WNOHANG)
        except ChildProcessError:
            return f"{left}, orphan gone"
        return f"{left}, orphan left"

    assert in_a_process(work) == "4, orphan gone"


NAMES = {"site-a.example": ("10.0.0.1",)}


def test_user_without_rights_gets_names_in_a_namespace_of_its_own_or_is_told_the_lines(monkeypatch):
    made = Path(f"/dev/shm/genba-test-hosts-{os.getpid()}")

    def install() -> str:
        if os.geteuid() == 0:
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        hosts.install(NAMES, made)
        return Path(hosts.HOSTS).read_text().splitlines()[0]

    refused = "names cannot be given to the command alone"
    try:
        said = in_a_process(install)
        assert said == "10.0.0.1 site-a.example" or refused in said
        with monkeypatch.context() as patch:
            patch.setattr(kernel, "unshare", refuse)
            said = in_a_process(install)
    finally:
        made.unlink(missing_ok=True)
    assert refused in said and said.endswith("instead of names: 10.0.0.1 site-a.example")


def test_who_may_not_unshare_mounts_gets_names_as_itself_in_a_user_namespace():
    made, unshare = Path(f"/dev/shm/genba-test-own-hosts-{os.getpid()}"), kernel.unshare

    def only_with_users(flags: int) -> None:
        if flags == hosts._NEW_MOUNTS:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        unshare(flags)

    def install() -> str:
        user = os.geteuid()
        kernel.unshare = only_with_users
        hosts.install(NAMES, made)
        is_same = os.geteuid() == user
        return f"{Path(hosts.HOSTS).read_text().splitlines()[0]} {is_same}"

    try:
        said = in_a_process(install)
    finally:
        made.unlink(missing_ok=True)
    if "names cannot be given" in said:
        pytest.skip(f"no user namespaces on this computer: {said}")
    assert said == "10.0.0.1 site-a.example True"


def test_names_that_the_hosts_own_file_has_need_nothing(tmp_path, monkeypatch):
    (tmp_path / "hosts").write_text("10.0.0.1 site-a.example\n")
    monkeypatch.setattr(hosts, "HOSTS", str(tmp_path / "hosts"))
    hosts.install(NAMES, tmp_path / "made")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (OSError(errno.ENOSYS, "no such call"), 0),
        (OSError(errno.EOPNOTSUPP, "switched off"), 0),
        (SandboxError("not Linux"), 0),
    ],
)
def test_kernel_without_landlock_has_version_zero(monkeypatch, answer, expected):
    def call(*_: object) -> int:
        raise answer

    monkeypatch.setattr(kernel, "call", call)
    assert landlock.abi_version() == expected


def test_question_for_landlock_that_fails_is_no_answer(monkeypatch):
    def call(*_: object) -> int:
        raise OSError(errno.EINVAL, "bad flag")

    monkeypatch.setattr(kernel, "call", call)
    with pytest.raises(OSError, match="bad flag"):
        landlock.abi_version()


def test_trial_that_cannot_be_run_says_why(monkeypatch):
    def run(*_: object) -> int:
        raise SandboxError("no trial here")

    monkeypatch.setattr(run_module, "run_sandboxed", run)
    assert support.try_for_real() == "no trial here"
    monkeypatch.setattr(run_module, "run_sandboxed", lambda *_: 4)
    assert support.try_for_real() == "an address that is not allowed was reached"
    monkeypatch.setattr(run_module, "run_sandboxed", lambda *_: 9)
    assert support.try_for_real() == "the trial ended with status 9"


def test_facts_that_this_kernel_does_not_tell_are_absent(tmp_path, monkeypatch):
    assert support._status("NoSuchLine") == ""
    monkeypatch.setattr(support, "Path", lambda path: tmp_path / "absent")
    assert (support._yama(), support._has_namespaces()) == (-1, False)
