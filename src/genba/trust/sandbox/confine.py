"""The supervisor's process: from a request on one descriptor to an exit status, or a report on another of why not.

It is a process of its own, with one thread and little in its memory, started for one run. In this order it opens the log,
gives names their addresses, gives up every privilege, puts itself under the file rules of the run, forks, and supervises;
the child adds what cuts it off, and executes the command. Everything that the command starts ends with it. Whatever
fails before the command is executed ends the run: the child never runs open. If this process dies, the kernel answers
the calls that it would have answered with "no such call".

Not here: the caller's side (``run``).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import stat
import struct
import sys
from pathlib import Path
from typing import Any, NoReturn

from genba.config import build
from genba.errors import GenbaError, SandboxError, StorageError
from genba.trust.sandbox import hosts, kernel, landlock
from genba.trust.sandbox.bpf import system_call_filter
from genba.trust.sandbox.log import EgressLog
from genba.trust.sandbox.policy import Policy
from genba.trust.sandbox.supervisor import Supervisor
from genba.trust.sandbox.syscalls import current_architecture

#: Exit status of a run that was stopped because its log could not be written.
STOPPED = 125
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_OF_A_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
_POLL_MS = 500


def main(request_descriptor: int, report_descriptor: int) -> int:
    """Run one request; what keeps it from starting is written to the report."""
    with os.fdopen(request_descriptor, "rb") as file:
        request = json.load(file)
    with os.fdopen(report_descriptor, "w", encoding="utf-8") as report:
        try:
            return _run(request)
        except GenbaError as error:
            report.write(str(error))
        except OSError as error:
            report.write(f"the kernel refused a part of the sandbox: {error}")
    return STOPPED


def _run(request: dict[str, Any]) -> int:
    policy = build(request["policy"], Policy, where="the request", path="policy")
    command, keep = list(request["command"]), list(request["keep"])
    log = EgressLog(Path(request["log"]), sync=request["sync"], run=request["run"])
    _check_descriptors(keep)
    architecture = current_architecture()
    log.start(
        command,
        policy,
        is_enforced=True,
        supervisor=os.getpid(),
        user=os.getuid(),
        kernel=os.uname().release,
        landlock=landlock.abi_version(),
        sync=request["sync"],
    )
    try:
        child, listener = _start(command, dict(request["environment"]), keep, policy, Path(request["hosts"]))
    except (OSError, SandboxError) as error:
        log.end(STOPPED, f"not run: {error}")
        raise
    supervisor = Supervisor(listener, policy, log, architecture)
    try:
        status = _supervise(child, listener, supervisor)
    except StorageError as error:
        _end_everything(listener)
        print(f"genba sandbox: {error}", file=sys.stderr)
        return STOPPED
    _end_everything(listener)
    log.end(status)
    return status


def _start(
    command: list[str], environment: dict[str, str], keep: list[int], policy: Policy, hosts_file: Path
) -> tuple[int, int]:
    """Confine this process, fork the command, and return its process and the descriptor of its notifications."""
    if names := policy.names():
        hosts.install(names, hosts_file)
    kernel.adopt_orphans()
    kernel.forbid_new_privileges()
    kernel.drop_capabilities()
    readable, writable = [one.path for one in policy.readable], [one.path for one in policy.writable]
    landlock.restrict_files(readable, writable)
    program = system_call_filter(current_architecture())
    supervisor_id = os.getpid()
    # What arrives before there is a command to pass it on to waits until there is.
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    # A terminal sends these to the command as well; the supervisor ends when the command does.
    for number in _OF_A_TERMINAL:
        signal.signal(number, signal.SIG_IGN)
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        try:
            kernel.die_with_parent(signal.SIGKILL)
            if os.getppid() != supervisor_id:
                os._exit(STOPPED)
            ours.close()
            _become(command, environment, keep, readable, writable, program, theirs)
        except BaseException as error:
            theirs.sendall(b"E" + str(error).encode()[:4000])
        finally:
            os._exit(STOPPED)
    theirs.close()
    with ours:
        answer = ours.recv(4096)
        if answer[:1] != b"L":
            os.waitpid(child, 0)
            raise SandboxError(f"the command cannot be confined here: {answer[1:].decode() or 'it ended at once'}")
        listener = kernel.copy_descriptor(child, child, struct.unpack_from("<i", answer, 1)[0])
        kernel.set_dumpable(False)
        ours.sendall(b"G")
        if failed := ours.recv(4096):
            os.waitpid(child, 0)
            raise SandboxError(f"{command[0]}: cannot be executed: {failed[1:].decode()}")
    return child, listener


def _become(
    command: list[str],
    environment: dict[str, str],
    keep: list[int],
    readable: list[str],
    writable: list[str],
    program: bytes,
    parent: socket.socket,
) -> NoReturn:
    """In the child: add what cuts it off from everything, hand the notifications over, and execute the command."""
    kernel.close_all_on_exec(3)
    for descriptor in keep:
        os.set_inheritable(descriptor, True)
    landlock.restrict_files(readable, writable, is_cut_off=True)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, *_OF_A_TERMINAL):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    listener = kernel.install_filter(program)
    parent.sendall(b"L" + struct.pack("<i", listener))
    if parent.recv(1) != b"G":
        os._exit(STOPPED)
    os.close(listener)
    os.execvpe(command[0], command, environment)


def _supervise(child: int, listener: int, supervisor: Supervisor) -> int:
    """Answer until the command ends; return its exit status, 128 + N where signal N ended it."""

    def forward(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in _FORWARDED:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    waiting = select.poll()
    ended = os.pidfd_open(child)
    waiting.register(listener, select.POLLIN)
    waiting.register(ended, select.POLLIN)
    while True:
        events = dict(waiting.poll(_POLL_MS))
        _reap_orphans(child)
        if supervisor.failure is not None:
            raise StorageError(f"the supervisor failed: {supervisor.failure}") from supervisor.failure
        if ended in events:
            os.close(ended)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            return status if status >= 0 else 128 - status
        if events.get(listener, 0) & select.POLLIN:
            supervisor.answer_next()
        elif listener in events:
            waiting.unregister(listener)


def _reap_orphans(child: int) -> None:
    while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
        if found.si_pid == child:
            return
        os.waitpid(found.si_pid, 0)


def _end_everything(listener: int) -> None:
    """End every process that the command left behind; from here on their connects fail."""
    os.close(listener)
    while True:
        for process_id in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                # The name of a program stands in parentheses and may hold anything; what follows it is fixed.
                after = Path(f"/proc/{name}/stat").read_text(errors="replace").rpartition(")")[2].split()
                if int(after[1]) == os.getpid():
                    found.append(int(name))
    return found


def _check_descriptors(keep: list[int]) -> None:
    """Refuse sockets to other hosts that the command would inherit without anybody having said so."""
    for descriptor in (0, 1, 2):
        try:
            is_socket = stat.S_ISSOCK(os.fstat(descriptor).st_mode)
        except OSError:
            continue
        if is_socket and descriptor not in keep:
            with socket.socket(fileno=os.dup(descriptor)) as one:
                if one.family != socket.AF_UNIX:
                    raise SandboxError(
                        f"descriptor {descriptor} is a socket of {one.family.name}, through which data could leave; "
                        "expected a file, a pipe or a terminal"
                    )
